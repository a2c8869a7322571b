"""`publish`, `record` and `replay` carry every bit of images, arrays and videos."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import av
import mcap.reader
import msgspec
import numpy as np
import pytest
from PIL import Image

from tensor_pool.cli.commands._mcap_reader import Recording
from tensor_pool.cli.commands.mcap_file import RecordedFrame
from tensor_pool.cli.media.files import read_pictures
from tensor_pool.client.image_format import image_format_of
from tests.cli.conftest import pixels
from tests.cli.pools import Command, DriverProcess, run, until

pytestmark = pytest.mark.process

FRAMES = 20
WAITING = "tensor-pool: stream 10001: stream not provisioned; waiting for a producer\n"


def hashes(arrays: Iterable[np.ndarray]) -> list[str]:
    """One for each frame, of its type, shape and bytes."""
    return [
        hashlib.sha256(repr((a.dtype.str, a.shape)).encode() + a.tobytes()).hexdigest()
        for a in arrays
    ]


def recorded(path: Path) -> list[RecordedFrame]:
    with Recording(path) as recording:
        return [frame for _, frame in recording.frames()]


def images(folder: Path) -> list[Path]:
    """Images of every depth that people have."""
    rng = np.random.default_rng(5)
    made = {
        "grey.png": rng.integers(0, 256, (30, 20), np.uint8),
        "colour.png": rng.integers(0, 256, (30, 20, 3), np.uint8),
        "transparent.png": rng.integers(0, 256, (30, 20, 4), np.uint8),
        "deep.png": rng.integers(0, 65536, (30, 20), np.uint16),
    }
    for name, image in made.items():
        Image.fromarray(image).save(folder / name)
    np.save(folder / "stack.npy", rng.normal(size=(4, 9, 7, 5)).astype(np.float32))
    return [*(folder / name for name in made), folder / "stack.npy"]


def video(folder: Path) -> list[Path]:
    """Twelve frames of a moving gradient."""
    path = folder / "clip.mp4"
    ramp = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=50)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            rgb = np.stack([ramp + 9 * number, ramp, 255 - ramp], axis=-1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return [path]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images, arrays and a video."""
    folder = tmp_path_factory.mktemp("files")
    return [*images(folder), *video(folder)]


@pytest.fixture(scope="module")
def recording(
    pool: DriverProcess, files: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the file that `record` wrote while `publish` published the files."""
    out = tmp_path_factory.mktemp("recording") / "run.mcap"
    carried(pool, out, FRAMES, ("publish", "10001", *map(str, files), "--name", "test"))
    return out


def wanted(files: list[Path]) -> list[str]:
    return hashes(picture.array for file in files for picture in read_pictures(file, []))


def test_what_is_published_and_recorded_has_the_same_hashes(
    files: list[Path], recording: Path
) -> None:
    assert len(wanted(files)) == FRAMES
    assert hashes(frame.array() for frame in recorded(recording)) == wanted(files)


def test_what_is_replayed_and_recorded_again_has_the_same_hashes(
    pool: DriverProcess, files: list[Path], recording: Path, tmp_path: Path
) -> None:
    """S-133: and the encoding."""
    again = tmp_path / "again.mcap"
    carried(pool, again, FRAMES, ("replay", str(recording), "--speed", "2"))
    assert hashes(frame.array() for frame in recorded(again)) == wanted(files)

    assert encodings(again)[-1] == "rgb8"


def test_S_133_published_images_and_videos_have_an_encoding(recording: Path) -> None:
    found = encodings(recording)
    assert found[-1] == "rgb8"  # the video comes last
    assert set(found) <= {"mono8", "rgb8", "rgba8", "mono16", ""}


def encodings(path: Path) -> list[str]:
    """Return the encoding of each version of the metadata, empty where there is none."""
    with Recording(path) as opened:
        formats = [image_format_of(version.attributes) for version in opened.metadata]
    return [found.encoding if found is not None else "" for found in formats]


def test_any_frame_of_a_recording_is_found_without_reading_the_others(
    files: list[Path], recording: Path
) -> None:
    every = wanted(files)
    with Recording(recording) as opened:
        assert len(opened) == FRAMES
        assert opened.stream_id == 10001
        for number in (0, 3, FRAMES - 1):
            ((_, frame),) = opened.frames(number, number + 1)
            assert hashes([frame.array()]) == [every[number]]
        assert opened.index_at(0.0) == 0
        assert opened.index_at(opened.duration_s) == FRAMES - 1
        assert opened.index_at(opened.duration_s + 1) == FRAMES


def test_a_recording_is_an_ordinary_mcap_file(recording: Path) -> None:
    with recording.open("rb") as file:
        reader = mcap.reader.make_reader(file)
        assert reader.get_header().profile == "tensorpool"
        messages = list(reader.iter_messages())
        assert [channel.topic for _, channel, _ in messages] == ["/tensorpool/10001"] * FRAMES
        first = msgspec.msgpack.decode(messages[0][2].data)
        assert first["shape"] == [30, 20]
        assert len(first["payload"]) == 600
        metadata = {one.name: one.metadata for one in reader.iter_metadata()}
        assert metadata["tensorpool.recording.end"] == {"frames": str(FRAMES), "lost": "0"}


def test_replay_info_prints_the_contents_of_a_recording(recording: Path) -> None:
    outcome = run("replay", str(recording), "--info", "--json")
    assert outcome.status == 0, outcome
    assert outcome.json["frames"] == FRAMES
    assert outcome.json["first_frame"] == {"shape": [30, 20], "dtype": "UINT8", "nbytes": 600}
    assert "frames of stream 10001" in run("replay", str(recording), "--info").stdout


def test_replay_of_a_part_publishes_only_that(pool: DriverProcess, recording: Path) -> None:
    arguments = ("--first", "2", "--count", "3", "--rate", "500", "--linger", "0")
    outcome = pool.run("replay", str(recording), *arguments, "--stream", "20001")
    assert outcome.status == 0, outcome
    assert "replayed 3 frames" in outcome.stdout
    assert "to stream 20001" in outcome.stdout


def test_replay_beyond_the_end_is_wrong_usage(pool: DriverProcess, recording: Path) -> None:
    outcome = pool.run("replay", str(recording), "--start", "1000")
    assert outcome.status == 2
    assert f"it has {FRAMES}" in outcome.stderr


@pytest.mark.parametrize("damage", ["not one", "flipped"])
def test_a_damaged_recording_is_refused_in_one_line(
    pool: DriverProcess, recording: Path, tmp_path: Path, damage: str
) -> None:
    data = bytearray(recording.read_bytes())
    if damage == "flipped":
        data[len(data) // 3] ^= 0xFF
    else:
        data = bytearray(b"nonsense" * 50)
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(data)
    outcome = pool.run("replay", str(broken), "--rate", "500", "--linger", "0")
    assert outcome.status == 2, outcome
    assert outcome.stderr.startswith(f"tensor-pool: {broken}: not a whole recording")
    assert outcome.stderr.count("\n") == 1


def test_record_keeps_an_existing_file_unless_forced(
    pool: DriverProcess, camera: Command, tmp_path: Path
) -> None:
    out = tmp_path / "run.mcap"
    out.write_text("precious")
    outcome = pool.run("record", "10000", str(out), "--count", "1")
    assert outcome.status == 2
    assert out.read_text() == "precious"
    forced = pool.run("record", "10000", str(out), "--count", "1", "--force")
    assert forced.status in (0, 4), forced
    assert len(recorded(out)) == 1


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_record_packs_as_asked(
    pool: DriverProcess, camera: Command, tmp_path: Path, compression: str
) -> None:
    out = tmp_path / "run.mcap"
    arguments = ("--count", "3", "--compression", compression)
    assert pool.run("record", "10000", str(out), *arguments).status in (0, 4)
    for frame in recorded(out):
        np.testing.assert_array_equal(frame.array(), pixels())


def test_ctrl_c_ends_a_recording_that_is_whole(
    pool: DriverProcess, camera: Command, tmp_path: Path
) -> None:
    out = tmp_path / "run.mcap"
    with pool.running("record", "10000", str(out)) as command:
        until(lambda: pool.has_consumer(10000), "the recorder's attach")
        assert pool.run("echo", "10000", "--count", "5").status == 0  # it has had them too
        command.interrupt()
        outcome = command.outcome()
    assert outcome.status in (0, 4), outcome
    assert "Traceback" not in outcome.stderr
    assert len(recorded(out)) > 1


def test_record_of_nothing_leaves_no_file(pool: DriverProcess, tmp_path: Path) -> None:
    out = tmp_path / "run.mcap"
    outcome = pool.run("record", "10001", str(out), "--idle", "0.2")
    assert outcome.status == 1
    assert not out.exists()


def test_replay_of_nothing_that_exists_is_one_line(pool: DriverProcess) -> None:
    outcome = pool.run("replay", "/nowhere/run.mcap")
    assert outcome.status == 2
    assert outcome.stderr == "tensor-pool: /nowhere/run.mcap: No such file or directory\n"


def carried(pool: DriverProcess, out: Path, count: int, source: tuple[str, ...]) -> None:
    """Record what a command publishes."""
    with (
        pool.running("record", "10001", str(out), "--count", str(count)) as recorder,
        pool.running(*source, "--wait", "1") as publisher,
    ):
        for command in (recorder, publisher):
            outcome = command.outcome()
            assert outcome.status == 0, outcome
            assert f" {count} frames" in outcome.stdout
            assert outcome.stderr.replace(WAITING, "") == ""
