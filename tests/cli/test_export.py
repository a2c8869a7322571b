"""`export`: recordings as other programs read them, compared bit by bit where it is lossless."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import zarr
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory
from PIL import Image

from tensor_pool.cli.commands.mcap_file import RecordedFrame, RecordedMetadata, RecordingWriter
from tensor_pool.client.image_format import ImageFormat
from tensor_pool.client.metadata import AttributeValue
from tests.cli.pools import run

BEGAN_NS = 1_795_000_000_000_000_000
GAPS_NS = (0, 40_000_000, 200_000_000, 240_000_000)


def recording(path: Path, arrays: Sequence[np.ndarray], encoding: str = "") -> Path:
    """A recording of the arrays, with an image format."""
    attributes = ImageFormat(encoding=encoding).attributes() if encoding else {}
    with path.open("wb") as file:
        writer = RecordingWriter(file, {10000: {"source": "left camera"}}, compression="lz4")
        writer.add_metadata(
            RecordedMetadata(
                stream_id=10000,
                epoch=7,
                version=1,
                name="left camera",
                summary="",
                attributes={
                    k: AttributeValue("text/plain", v.encode()) for k, v in attributes.items()
                },
            )
        )
        for seq, array in enumerate(arrays):
            writer.add(
                RecordedFrame(
                    stream_id=10000,
                    epoch=7,
                    seq=seq,
                    trace_id=0,
                    timestamp_ns=BEGAN_NS + GAPS_NS[seq],
                    meta_version=1,
                    dtype=array.dtype.name.upper(),
                    shape=array.shape,
                    strides=array.strides,
                    order="ROW",
                    payload=array.tobytes(),
                )
            )
        writer.finish({"frames": len(arrays), "lost": 0})
    return path


def colours(height: int = 32, width: int = 48) -> list[np.ndarray]:
    """Frames of one colour each, far apart, so that a lossy codec keeps them apart."""
    return [
        np.full((height, width, 3), c, np.uint8) for c in ((250, 0, 0), (0, 250, 0), (9, 9, 250))
    ]


def messages(path: Path) -> list[tuple[str, str, int, object]]:
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        return [
            (schema.name, channel.topic, message.log_time, decoded)
            for schema, channel, message, decoded in reader.iter_decoded_messages()
        ]


@pytest.mark.parametrize(
    ("encoding", "dtype", "shape"),
    [
        ("bgr8", np.uint8, (4, 6, 3)),
        ("mono16", np.uint16, (4, 6)),
        ("32FC1", np.float32, (4, 6)),
        ("bayer_rggb8", np.uint8, (4, 6)),
        ("yuv422_yuy2", np.uint8, (4, 6, 2)),
    ],
)
def test_another_reader_finds_the_images_of_an_exported_mcap_bit_for_bit(
    tmp_path: Path, encoding: str, dtype: type, shape: tuple[int, ...]
) -> None:
    random = np.random.default_rng(3)
    arrays = [(random.random(shape) * 250).astype(dtype) for _ in GAPS_NS]
    source = recording(tmp_path / "run.mcap", arrays, encoding)
    outcome = run("export", str(source), str(tmp_path / "images.mcap"))
    assert outcome.status == 0, outcome
    found = messages(tmp_path / "images.mcap")
    assert len(found) == len(arrays)
    for (schema, topic, log_time, image), array, gap_ns in zip(found, arrays, GAPS_NS, strict=True):
        assert (schema, topic) == ("foxglove.RawImage", "/left_camera")
        assert log_time == BEGAN_NS + gap_ns == image.timestamp.ToNanoseconds()
        assert (image.encoding, image.width, image.height) == (encoding, 6, 4)
        assert image.step == array.strides[0]
        assert image.data == array.tobytes()


def test_a_tensor_without_an_image_format_is_exported_as_a_picture_of_it(tmp_path: Path) -> None:
    source = recording(tmp_path / "run.mcap", [np.arange(24, dtype=np.int64).reshape(4, 6)])
    assert run("export", str(source), str(tmp_path / "images.mcap")).status == 0
    ((_, _, _, image),) = messages(tmp_path / "images.mcap")
    assert (image.encoding, image.step) == ("mono8", 6)
    assert (image.data[0], image.data[-1]) == (0, 255)


@pytest.mark.parametrize("name", ["run.mp4", "run.mkv"])
def test_a_video_has_every_frame_at_its_time(tmp_path: Path, name: str) -> None:
    source = recording(tmp_path / "run.mcap", colours(33, 49), "bgr8")
    outcome = run("export", str(source), str(tmp_path / name))
    assert outcome.status == 0, outcome
    assert "exported 3 frames of left camera" in outcome.stdout
    with av.open(str(tmp_path / name)) as container:
        frames = list(container.decode(video=0))
    assert [(frame.width, frame.height) for frame in frames] == [(48, 32)] * 3
    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.2], abs=0.002)
    for frame, bgr in zip(frames, colours(), strict=True):
        assert np.abs(frame.to_ndarray(format="bgr24").astype(int) - bgr[0, 0]).max() < 12


@pytest.mark.parametrize(
    ("kind", "array"),
    [
        ("png", np.arange(96, dtype=np.uint8).reshape(4, 8, 3)),
        ("png", (np.arange(32, dtype=np.uint16) * 2000).reshape(4, 8)),
        ("tiff", (np.arange(32, dtype=np.uint16) * 2000).reshape(4, 8)),
        ("tiff", np.arange(32, dtype=np.float32).reshape(4, 8) / 7),
    ],
)
def test_pictures_keep_their_pixels(tmp_path: Path, kind: str, array: np.ndarray) -> None:
    source = recording(tmp_path / "run.mcap", [array, array + 1])
    out = tmp_path / "pictures"
    assert run("export", str(source), str(out), "--to", kind).status == 0
    assert sorted(path.name for path in out.iterdir()) == [f"000000.{kind}", f"000001.{kind}"]
    for number in range(2):
        with Image.open(out / f"00000{number}.{kind}") as picture:
            assert np.array_equal(np.asarray(picture), array + number)


def test_arrays_have_the_frames_their_times_and_numbers(tmp_path: Path) -> None:
    arrays = [np.full((2, 3, 5), k, np.int16) for k in range(4)]
    source = recording(tmp_path / "run.mcap", arrays)
    out = tmp_path / "run.npz"
    assert run("export", str(source), str(out), "--first", "1", "--count", "2").status == 0
    with np.load(out) as found:
        assert np.array_equal(found["frames"], np.stack(arrays[1:3]))
        assert found["seq"].tolist() == [1, 2]
        assert found["timestamps_ns"].tolist() == [BEGAN_NS + gap for gap in GAPS_NS[1:3]]


def test_a_zarr_group_has_the_frames_a_chunk_each(tmp_path: Path) -> None:
    arrays = [np.full((2, 3, 5), k, np.int16) for k in range(4)]
    source = recording(tmp_path / "run.mcap", arrays)
    out = tmp_path / "run.zarr"
    assert run("export", str(source), str(out), "--first", "1", "--count", "2").status == 0
    group = zarr.open_group(out, mode="r")
    assert np.array_equal(group["frames"][:], np.stack(arrays[1:3]))
    assert group["frames"].chunks == (1, 2, 3, 5)
    assert group["seq"][:].tolist() == [1, 2]
    assert group["timestamps_ns"][:].tolist() == [BEGAN_NS + gap for gap in GAPS_NS[1:3]]
    assert group.attrs["source"] == "left camera"
    assert run("export", str(source), str(out)).status == 2
    assert run("export", str(source), str(out), "--force").status == 0
    assert zarr.open_group(out, mode="r")["frames"].shape == (4, 2, 3, 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.mcap", "run.zarr"]


def test_a_directory_that_is_not_a_zarr_group_is_not_overwritten(tmp_path: Path) -> None:
    source = recording(tmp_path / "run.mcap", colours())
    (tmp_path / "run.zarr").mkdir()
    (tmp_path / "run.zarr" / "mine").touch()
    outcome = run("export", str(source), str(tmp_path / "run.zarr"), "--force")
    assert outcome.status == 2
    assert "not a Zarr group" in outcome.stderr
    assert (tmp_path / "run.zarr" / "mine").exists()


@pytest.mark.parametrize("name", ["run.npz", "run.zarr"])
def test_frames_of_several_kinds_make_no_array_and_leave_no_file(tmp_path: Path, name: str) -> None:
    source = recording(tmp_path / "run.mcap", [np.zeros((2, 3)), np.zeros((2, 4))])
    outcome = run("export", str(source), str(tmp_path / name))
    assert outcome.status == 2
    assert "frame 1 is float64 (2, 4), those before are float64 (2, 3)" in outcome.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run.mcap"]


def test_an_existing_file_and_an_unknown_form_are_wrong_usage(tmp_path: Path) -> None:
    source = recording(tmp_path / "run.mcap", colours())
    (tmp_path / "run.npz").write_bytes(b"mine")
    outcome = run("export", str(source), str(tmp_path / "run.npz"))
    assert (outcome.status, (tmp_path / "run.npz").read_bytes()) == (2, b"mine")
    assert "--force overwrites it" in outcome.stderr
    outcome = run("export", str(source), str(tmp_path / "run.avi"))
    assert outcome.status == 2
    assert "a directory with --to png" in outcome.stderr


@pytest.mark.parametrize(
    ("module", "out", "text"),
    [
        ("foxglove", "images.mcap", "of the extra foxglove: pip install foxglove-sdk"),
        ("zarr", "run.zarr", "of the extra zarr: pip install zarr"),
        ("av", "run.mp4", "of the extra tools: pip install av"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, out: str, text: str
) -> None:
    source = recording(tmp_path / "run.mcap", colours())
    monkeypatch.setitem(sys.modules, module, None)
    outcome = run("export", str(source), str(tmp_path / out))
    assert outcome.status == 2
    assert text in outcome.stderr
    assert not (tmp_path / out).exists()
