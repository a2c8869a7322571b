"""The input that the demo accepts, and the one line it prints about any other."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tensor_pool.cli.demo import sources
from tensor_pool.cli.demo.sources import load_pictures
from tensor_pool.cli.media.files import InputError


def picture(seed, shape=(40, 60, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def arrays(pictures):
    return [picture.array for picture in pictures.pictures]


def test_without_an_input_there_are_photographs():
    pictures = load_pictures(None)
    assert len(pictures.pictures) == 3
    for picture in pictures.pictures:
        assert picture.array.ndim == 3
        assert picture.array.dtype == np.uint8
        assert picture.array.std() > 10  # not an empty canvas


def test_a_directory_of_images_is_read_in_the_order_of_names(tmp_path):
    for name, seed in (("b.png", 2), ("a.png", 1), ("c.bmp", 3)):
        Image.fromarray(picture(seed)).save(tmp_path / name)
    Image.fromarray(picture(4)).save(tmp_path / "d.jpeg")
    (tmp_path / "notes.txt").write_text("not an image")
    loaded = load_pictures(tmp_path)
    assert [picture.name for picture in loaded.pictures] == ["a.png", "b.png", "c.bmp", "d.jpeg"]
    for seed, array in zip((1, 2, 3), arrays(loaded), strict=False):
        np.testing.assert_array_equal(array, picture(seed))
    assert arrays(loaded)[3].shape == (40, 60, 3)


def test_a_path_below_the_home_directory_may_begin_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.fromarray(picture(1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(arrays(load_pictures(Path("~/a.png")))[0], picture(1))


def test_a_single_image_and_unusual_modes_are_read(tmp_path):
    file = tmp_path / "palette.gif"
    Image.fromarray(picture(1)).convert("P").save(file)
    assert arrays(load_pictures(file))[0].shape == (40, 60, 3)
    file = tmp_path / "grey.png"
    Image.fromarray(picture(1, (40, 60))).save(file)
    np.testing.assert_array_equal(arrays(load_pictures(file))[0], picture(1, (40, 60)))


def test_an_image_is_turned_upright(tmp_path):
    file = tmp_path / "sideways.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by 90 degrees
    Image.fromarray(picture(1)).save(file, exif=exif)
    assert arrays(load_pictures(file))[0].shape == (60, 40, 3)


@pytest.mark.parametrize(
    ("shape", "frame_shape", "count"),
    [
        ((5, 40, 60, 3), (40, 60, 3), 5),
        ((5, 40, 60), (40, 60), 5),
        ((40, 60, 3), (40, 60, 3), 1),
        ((40, 60), (40, 60), 1),
        ((7,), (7,), 1),
        ((), (1,), 1),
    ],
)
def test_a_npy_file_is_one_frame_or_frames_along_its_first_axis(
    tmp_path, shape, frame_shape, count
):
    array = picture(1, shape)
    np.save(tmp_path / "a.npy", array)
    loaded = arrays(load_pictures(tmp_path / "a.npy"))
    assert [a.shape for a in loaded] == [frame_shape] * count
    np.testing.assert_array_equal(np.stack(loaded).reshape(shape), array)


def test_a_npz_file_is_its_arrays_one_after_the_other(tmp_path):
    np.savez(tmp_path / "a.npz", first=picture(1), second=np.arange(6.0).reshape(2, 3))
    loaded = load_pictures(tmp_path / "a.npz")
    assert [p.name for p in loaded.pictures] == ["a.npz:first", "a.npz:second"]
    assert arrays(loaded)[1].dtype == np.float64


def test_big_endian_and_fortran_arrays_keep_their_values(tmp_path):
    array = np.asfortranarray(np.arange(12, dtype=">u2").reshape(3, 4))
    np.save(tmp_path / "a.npy", array)
    (loaded,) = arrays(load_pictures(tmp_path / "a.npy"))
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == np.dtype("<u2")
    assert loaded.flags.c_contiguous


def test_a_video_is_its_frames(tmp_path):
    file = tmp_path / "clip.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in (0, 128, 255):
            frame = av.VideoFrame.from_ndarray(
                np.full((48, 64, 3), level, np.uint8), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    loaded = load_pictures(file)
    assert [a.shape for a in arrays(loaded)] == [(48, 64, 3)] * 3
    assert [round(a.mean() / 128) for a in arrays(loaded)] == [0, 1, 2]


def test_frames_that_do_not_fit_into_memory_are_left_out_and_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_SOURCE_BYTES", 3000)
    np.save(tmp_path / "a.npy", picture(1, (5, 10, 100)))
    loaded = load_pictures(tmp_path / "a.npy")
    assert len(loaded.pictures) == 3
    assert "first 3 pictures" in loaded.notes[0]


def test_an_unreadable_image_among_others_is_skipped_and_named(tmp_path):
    Image.fromarray(picture(1)).save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nonsense")
    loaded = load_pictures(tmp_path)
    assert len(loaded.pictures) == 1
    assert "broken.png" in loaded.notes[0]


def nothing_there(tmp_path):
    return tmp_path / "missing"


def empty_directory(tmp_path):
    return tmp_path


def only_broken_images(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.jpg").write_bytes(b"nonsense")
    return tmp_path


def broken_image(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nonsense")
    return tmp_path / "a.png"


def broken_npy(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"nonsense")
    return tmp_path / "a.npy"


def empty_npy(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"")
    return tmp_path / "a.npy"


def broken_npz(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK nonsense")
    return tmp_path / "a.npz"


def pickled_objects(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object))
    return tmp_path / "a.npy"


def unsupported_dtype(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3, np.complex128))
    return tmp_path / "a.npy"


def no_elements(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 3)))
    return tmp_path / "a.npy"


def no_frames(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 40, 60, 3)))
    return tmp_path / "a.npy"


def too_many_dimensions(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1,) * 10, np.uint8))
    return tmp_path / "a.npy"


def neither_image_nor_video(tmp_path):
    (tmp_path / "a.dat").write_bytes(b"nonsense" * 100)
    return tmp_path / "a.dat"


def empty_file(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    return tmp_path / "a.mp4"


def through_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    return tmp_path / "file" / "below"


@pytest.mark.parametrize(
    "case",
    [
        nothing_there,
        empty_directory,
        only_broken_images,
        broken_image,
        broken_npy,
        empty_npy,
        broken_npz,
        pickled_objects,
        unsupported_dtype,
        no_elements,
        no_frames,
        too_many_dimensions,
        neither_image_nor_video,
        empty_file,
        through_a_file,
    ],
)
def test_input_that_cannot_be_streamed_is_named_in_one_line(tmp_path, case):
    path = case(tmp_path)
    with pytest.raises(InputError) as caught:
        load_pictures(path)
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text


@pytest.mark.parametrize(("module", "name"), [("PIL", "a.png"), ("av", "a.mp4"), ("mahotas", None)])
def test_a_missing_optional_package_is_named_with_the_command_to_install_it(
    tmp_path, monkeypatch, module, name
):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    if name is None:
        monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
        path = None
    else:
        path = tmp_path / name
        path.write_bytes(b"x")
    with pytest.raises(InputError, match=r"pip install (pillow|av|mahotas)$"):
        load_pictures(path)
