"""Recordings of several streams: one file, parts of it, the last seconds; replayed in step."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory

from tensor_pool.cli.commands import mcap_file
from tensor_pool.cli.commands._mcap_reader import Recording
from tensor_pool.cli.commands._recording_writer import (
    LastOnRequest,
    OneFile,
    Parts,
    Received,
)
from tensor_pool.cli.commands.mcap_file import RecordedFrame, RecordedMetadata, RecordingWriter
from tensor_pool.cli.commands.record import _Losses
from tensor_pool.cli.support.amounts import Amount, parse_amount
from tensor_pool.cli.support.exit_status import CommandError
from tensor_pool.client.image_format import ImageFormat
from tensor_pool.client.metadata import AttributeValue
from tests.cli.pools import PATIENCE_S, DriverProcess, run, until

SECOND = 10**9
STREAMS = [20060, 20061]


def picture(stream_id: int, number: int) -> np.ndarray:
    return np.random.default_rng((stream_id, number)).integers(0, 256, (12, 20, 3), np.uint8)


def frame(stream_id: int, seq: int, array: np.ndarray | None = None, **changes: Any) -> Any:
    array = picture(stream_id, seq) if array is None else array
    values = {
        "stream_id": stream_id,
        "epoch": 7,
        "seq": seq,
        "trace_id": 0,
        "timestamp_ns": None,
        "meta_version": 1,
        "dtype": array.dtype.name.upper(),
        "shape": array.shape,
        "strides": array.strides,
        "order": "ROW",
        "payload": array.tobytes(),
    }
    return RecordedFrame(**(values | changes))


def metadata(stream_id: int, encoding: str, name: str = "cam") -> RecordedMetadata:
    attributes = ImageFormat(encoding=encoding).attributes()
    return RecordedMetadata(
        stream_id=stream_id,
        epoch=7,
        version=1,
        name=name,
        summary="",
        attributes={k: AttributeValue("text/plain", v.encode()) for k, v in attributes.items()},
    )


def outlet_of(kind: type, path: Path, *limit: Amount) -> Any:
    def make_writer(file: Any) -> RecordingWriter:
        return RecordingWriter(file, {one: {} for one in STREAMS}, compression="lz4")

    return kind(path, make_writer, STREAMS, *limit)


def frames_in(path: Path, stream_id: int | None = None) -> list[RecordedFrame]:
    with Recording(path) as recording:
        return [f for _, f in recording.frames() if stream_id in (None, f.stream_id)]


def end_of(path: Path) -> dict[str, int]:
    with path.open("rb") as file:
        records = {m.name: m.metadata for m in make_reader(file).iter_metadata()}
    return {k: int(v) for k, v in records["tensorpool.recording.end"].items()}


def images_in(path: Path) -> list[tuple[str, Any]]:
    """Topic and image of each message that a reader without a word of ours decodes."""
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        topics = [c.topic for c in reader.get_summary().channels.values() if c.topic[:5] != "/tens"]
        return [(c.topic, image) for _, c, _, image in reader.iter_decoded_messages(topics)]


def with_images(path: Path) -> tuple[Path, list[RecordedFrame]]:
    """A recording of images of every kind, and the frames that were put into it."""
    bgr = [frame(STREAMS[0], seq) for seq in range(3)]
    depth = frame(STREAMS[1], 0, np.arange(24, dtype=np.uint16).reshape(4, 6), meta_version=None)
    tensor = frame(STREAMS[1], 1, np.arange(6, dtype=np.int64), meta_version=None)
    padded = frame(STREAMS[0], 3, payload=bytes(2000), strides=(100, 3, 1))
    unknown = frame(STREAMS[0], 4, meta_version=2)
    columns_first = frame(STREAMS[0], 5, strides=(1, 12, 240))
    more_bytes = frame(STREAMS[0], 6, payload=bytes(721))
    others = (padded, unknown, columns_first, more_bytes)
    frames = [bgr[0], depth, bgr[1], tensor, bgr[2], *others]
    with path.open("wb") as file:
        streams = {STREAMS[0]: {"source": "left camera"}, STREAMS[1]: {}}
        writer = RecordingWriter(file, streams, compression="none", images=True)
        writer.add_metadata(metadata(STREAMS[0], "bgr8"))
        for one in frames:
            writer.add(one)
        writer.finish({"frames": len(frames), "lost": 0})
    return path, frames


def test_images_are_read_by_others_and_every_frame_is_lossless(tmp_path: Path) -> None:
    path, frames = with_images(tmp_path / "run.mcap")
    assert frames_in(path) == frames
    found = images_in(path)
    assert [topic for topic, _ in found] == ["/left_camera", "/stream_20061", *["/left_camera"] * 2]
    assert [image.encoding for _, image in found] == ["bgr8", "mono16", "bgr8", "bgr8"]
    assert [image.data for _, image in found] == [frames[n].payload for n in (0, 1, 2, 4)]
    assert (found[1][1].width, found[1][1].height, found[1][1].step) == (6, 4, 12)
    data = path.read_bytes()
    assert all(data.count(frames[n].payload) == 1 for n in (0, 2, 4)), "pixels are stored once"


def test_a_recording_of_images_that_is_cut_anywhere_has_whole_frames_and_is_repaired(
    tmp_path: Path,
) -> None:
    path, cut = tmp_path / "run.mcap", tmp_path / "cut.mcap"
    with path.open("wb") as file:
        writer = RecordingWriter(file, {one: {} for one in STREAMS}, compression="lz4", images=True)
        writer.add_metadata(metadata(STREAMS[0], "bgr8"))
        frames = [frame(s, n, meta_version=None) for n in range(9) for s in STREAMS]
        for number, one in enumerate(frames):
            writer.add(one)
            if number % 3 == 2:
                writer._writer.flush()
        writer.finish({})
    data = path.read_bytes()
    for length in range(len(data) // 4, len(data) - 1, 487):
        cut.write_bytes(data[:length])
        found = frames_in(cut)
        assert found == frames[: len(found)]
        assert len(found) % 3 == 0
    cut.write_bytes(data[: len(data) // 2])
    before = frames_in(cut)
    images = len(before)
    assert before
    assert run("record", "--repair", str(cut)).status == 0
    assert frames_in(cut) == before
    assert len(images_in(cut)) == images
    assert end_of(cut)["frames"] == len(before)
    assert end_of(cut)["lost.20061"] == 0


def test_parts_are_whole_files_with_the_metadata_and_the_losses_of_their_own_frames(
    tmp_path: Path,
) -> None:
    """Each loss is counted in one part: the sum is that of the recording."""
    outlet = outlet_of(Parts, tmp_path / "run.mcap", Amount(seconds=2.0))
    outlet.write(Received(metadata(STREAMS[0], "bgr8"), 0))
    #            stream, second, losses of the stream until then
    for number, (index, second, lost) in enumerate(
        [(0, 1, 5), (1, 1, 0), (0, 2, 5), (0, 3, 7), (1, 4, 1), (0, 5, 8), (0, 6, 8)]
    ):
        outlet.write(Received(frame(STREAMS[index], number), second * SECOND, lost))
    outlet.finish({STREAMS[0]: 9, STREAMS[1]: 1})
    assert outlet.paths == [tmp_path / f"run-000{n}.mcap" for n in range(3)]
    assert [[f.seq for f in frames_in(path)] for path in outlet.paths] == [
        [0, 1, 2],
        [3, 4],
        [5, 6],
    ]
    assert [(end_of(p)["lost.20060"], end_of(p)["lost.20061"]) for p in outlet.paths] == [
        (0, 0),
        (2, 1),
        (2, 0),
    ]
    assert (outlet.lost[STREAMS[0]], outlet.lost[STREAMS[1]]) == (4, 1)
    for path in outlet.paths:
        with Recording(path) as recording:
            assert recording.is_whole
            assert [m.stream_id for m in recording.metadata] == [STREAMS[0]]


@pytest.mark.parametrize("flush_s", [0.0, 3600.0], ids=["written", "not written yet"])
def test_parts_of_a_size_are_not_larger_than_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush_s: float
) -> None:
    monkeypatch.setattr(mcap_file, "_FLUSH_PERIOD_S", flush_s)
    outlet = outlet_of(Parts, tmp_path / "run.mcap", Amount(nbytes=10_000))
    for seq in range(100):
        outlet.write(Received(frame(STREAMS[seq % 2], seq), (seq + 1) * SECOND))
    outlet.finish({})
    assert [f.seq for path in outlet.paths for f in frames_in(path)] == list(range(100))
    assert len(outlet.paths) > 5
    index_at_the_end = 4000
    assert max(p.stat().st_size for p in outlet.paths) < 10_000 + index_at_the_end


def test_the_last_seconds_are_written_on_each_request_and_no_file_is_overwritten(
    tmp_path: Path,
) -> None:
    (tmp_path / "run-0003.mcap").write_bytes(b"of yesterday")
    outlet = outlet_of(LastOnRequest, tmp_path / "run.mcap", Amount(seconds=3.0))
    assert "no frame" in outlet.snapshot()
    outlet.write(Received(metadata(STREAMS[0], "bgr8"), SECOND))
    for second in range(1, 11):
        outlet.write(
            Received(frame(STREAMS[second % 2], second), second * SECOND, lost=second // 4)
        )
    assert "the last 3.0 s, 4 frames" in outlet.snapshot()
    outlet.write(Received(frame(STREAMS[1], 11), 11 * SECOND, lost=3))
    outlet.snapshot()
    first, second = outlet.paths
    assert [p.name for p in outlet.paths] == ["run-0004.mcap", "run-0005.mcap"]
    assert [f.seq for f in frames_in(first)] == [7, 8, 9, 10]
    assert [f.seq for f in frames_in(second)] == [8, 9, 10, 11]
    assert end_of(first)["lost.20060"] == 0  # seconds 8 and 10
    assert end_of(first)["lost.20061"] == 1  # seconds 7 and 9
    with Recording(second) as recording:
        assert [m.version for m in recording.metadata] == [1]


def test_the_memory_for_the_last_seconds_has_a_limit(tmp_path: Path) -> None:
    frame_bytes = len(frame(STREAMS[0], 0).payload)
    outlet = outlet_of(LastOnRequest, tmp_path / "run.mcap", Amount(nbytes=5 * frame_bytes))
    for second in range(20):
        outlet.write(Received(frame(STREAMS[0], second), second * SECOND))
    outlet.snapshot()
    assert [f.seq for f in frames_in(outlet.paths[0])] == [15, 16, 17, 18, 19]


def test_a_forced_recording_replaces_the_old_file_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    path.write_bytes(b"old")
    outlet = outlet_of(OneFile, path)
    outlet.write(Received(frame(STREAMS[0], 0), SECOND))
    assert path.read_bytes() == b"old"
    outlet.finish({})
    assert len(frames_in(path)) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1GiB", Amount(nbytes=1 << 30)),
        ("500 mb", Amount(nbytes=500_000_000)),
        ("60s", Amount(seconds=60.0)),
        ("1.5min", Amount(seconds=90.0)),
    ],
)
def test_an_amount_is_a_size_or_a_time(text: str, amount: Amount) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("a", "b", "run.mcap", "--split", "60"), "'60' is neither a size nor a time"),
        (("a", "run.mcap", "--last", "0s"), "'0s' is neither a size nor a time"),
        (("a", "run.mcap", "--last", "1s", "--split", "1s"), "exclude each other"),
        (("a", "run.mcap", "--last", "1s", "--force"), "--force overwrites one file"),
        (("10000", "10001"), "OUT is missing: 10001 is the id of a stream"),
        (("10000",), "STREAM and OUT are needed"),
    ],
)
def test_wrong_usage_has_its_reason(arguments: Sequence[str], text: str) -> None:
    outcome = run("record", *arguments)
    assert outcome.status == 2
    assert text in " ".join(outcome.stderr.replace("│", " ").split())


def test_parts_of_an_old_recording_are_not_mixed_with_new_ones(tmp_path: Path) -> None:
    (tmp_path / "run-0007.mcap").touch()
    outcome = run("record", "10000", str(tmp_path / "run.mcap"), "--split", "1s")
    assert outcome.status == 2
    assert "run-0007.mcap: exists; remove the files of that recording" in outcome.stderr


def test_without_the_sdk_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "foxglove", None)
    monkeypatch.setitem(sys.modules, "foxglove.messages", None)
    outcome = run("record", "10000", str(tmp_path / "run.mcap"), "--images")
    assert outcome.status == 2
    assert "of the extra foxglove: pip install foxglove-sdk" in outcome.stderr


@pytest.fixture(scope="module")
def recording(pool: DriverProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of two cameras, by the command; frames of the second one were left out."""
    out = tmp_path_factory.mktemp("several") / "run.mcap"
    streams = [str(stream_id) for stream_id in STREAMS]
    with (
        pool.client() as client,
        client.producer(STREAMS[0]) as left,
        client.producer(STREAMS[1]) as right,
        pool.running("record", *streams, str(out), "--count", "20", "--images") as recorder,
    ):
        left.set_metadata("left camera")
        left.set_image_format("bgr8")
        for camera in (left, right):
            assert camera.wait_for_consumers(1, timeout=PATIENCE_S)
        began_ns = time.monotonic_ns()
        for number in range(10):
            stamp = began_ns + number * 20_000_000
            left.publish(picture(STREAMS[0], number), timestamp_ns=stamp)
            seq = 3 * number if number > 5 else None
            right.publish(picture(STREAMS[1], number), timestamp_ns=stamp + 5_000_000, seq=seq)
        outcome = recorder.outcome()
    assert outcome.status == 4, outcome
    assert f"recorded 20 frames of streams {streams[0]}, {streams[1]}" in outcome.stdout
    assert f"18 frames are missing in stream {streams[1]} (gap 18)" in outcome.stderr
    assert f"missing in stream {streams[0]}" not in outcome.stderr
    return out


@pytest.mark.process
def test_several_streams_are_recorded_bit_for_bit_with_the_losses_of_each(recording: Path) -> None:
    for stream_id in STREAMS:
        found = frames_in(recording, stream_id)
        assert len(found) == 10
        assert all(np.array_equal(f.array(), picture(stream_id, n)) for n, f in enumerate(found))
    assert end_of(recording) == {
        "frames": 20,
        "lost": 18,
        "frames.20060": 10,
        "lost.20060": 0,
        "frames.20061": 10,
        "lost.20061": 18,
    }
    images = images_in(recording)
    assert {topic for topic, _ in images} == {"/left_camera", f"/stream_{STREAMS[1]}"}
    assert len(images) == 20
    left = [image for topic, image in images if topic == "/left_camera"]
    assert [image.data for image in left] == [picture(STREAMS[0], n).tobytes() for n in range(10)]
    assert {image.encoding for image in left} == {"bgr8"}


@pytest.mark.process
def test_the_losses_before_each_frame_are_known_when_it_comes(pool: DriverProcess) -> None:
    """So each part of a recording has its own."""
    with (
        pool.client() as client,
        client.producer(20065) as producer,
        client.consumer(20065) as consumer,
    ):
        assert producer.wait_for_consumers(1, timeout=PATIENCE_S)
        losses = _Losses(consumer)
        first = producer.publish(np.zeros(8)).seq
        numbers = [first, *(producer.publish(np.zeros(8), seq=first + n).seq for n in (1, 4, 5, 9))]
        found = []
        for number in numbers:
            received = consumer.receive(PATIENCE_S)
            assert received is not None
            assert received.seq == number
            recorded = RecordedFrame.of(received, 20065)
            assert recorded is not None
            found.append(losses.before(recorded))
    assert found == [0, 0, 2, 2, 5]


@pytest.mark.process
def test_a_stream_of_several_is_exported_by_its_source(recording: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "run.npz")
    outcome = run("export", str(recording), out)
    assert (outcome.status, "choose one with --stream" in outcome.stderr) == (2, True), outcome
    assert run("export", str(recording), out, "--stream", "left camera").status == 0
    with np.load(out) as found:
        assert np.array_equal(found["frames"][3], picture(STREAMS[0], 3))
    assert run("export", str(recording), str(tmp_path / "all.mcap")).status == 0
    assert len(images_in(tmp_path / "all.mcap")) == 20
    info = run("replay", str(recording), "--info", "--json").json
    assert [(s["stream_id"], s["frames"]) for s in info["streams"]] == [(20060, 10), (20061, 10)]


@pytest.mark.process
def test_streams_are_replayed_in_step_and_a_signal_pauses_all_of_them(
    pool: DriverProcess, recording: Path
) -> None:
    targets = ("--stream", "left camera=20062", "--stream", "20061=20063")
    with (
        pool.running("replay", str(recording), *targets, "--wait", "1", "--speed", "0.1") as replay,
        pool.client() as client,
        client.consumer(20062, attach_timeout=PATIENCE_S) as left,
        client.consumer(20063, attach_timeout=PATIENCE_S) as right,
    ):
        found: dict[int, list[tuple[np.ndarray, int]]] = {20062: [], 20063: []}

        def take() -> int:
            for consumer in (left, right):
                while (one := consumer.receive(0.01)) is not None:
                    found[consumer.stream_id].append((one.copy(), one.timestamp_ns))
            return sum(map(len, found.values()))

        until(lambda: take() >= 4, "the first frames")
        replay.interrupt(signal.SIGUSR1)
        assert replay.process.stderr is not None
        assert "paused" in replay.process.stderr.readline()
        time.sleep(0.1)
        before = take()
        time.sleep(0.8)  # four frames would come
        assert take() == before < 20
        replay.interrupt(signal.SIGUSR1)
        until(lambda: take() == 20, "all frames")
        outcome = replay.outcome()
    assert outcome.status == 0, outcome
    for stream_id, target in zip(STREAMS, found, strict=True):
        arrays = [array for array, _ in found[target]]
        assert all(np.array_equal(a, picture(stream_id, n)) for n, a in enumerate(arrays))
    apart = [later - first for (_, first), (_, later) in zip(*found.values(), strict=True)]
    # 5 ms at a tenth of the speed; a pause or a busy machine lies between few of the pairs.
    assert sorted(apart)[5] == pytest.approx(50_000_000, abs=2)


@pytest.mark.process
def test_one_of_several_streams_is_replayed_alone(pool: DriverProcess, recording: Path) -> None:
    arguments = ("--stream", "20061=20064", "--rate", "2000", "--linger", "0")
    outcome = pool.run("replay", str(recording), *arguments)
    assert "replayed 10 frames" in outcome.stdout, outcome
    assert "to stream 20064" in outcome.stdout
    outcome = pool.run("replay", str(recording), "--stream", "20064")
    assert outcome.status == 2
    assert "holds several streams; give --stream RECORDED=20064" in outcome.stderr
    outcome = pool.run("replay", str(recording), "--rate", "5")
    assert "--rate is for one stream" in outcome.stderr


@contextlib.contextmanager
def cameras(pool: DriverProcess) -> Iterator[None]:
    """Two producers that never stop."""
    stop = threading.Event()
    with pool.client() as client, contextlib.ExitStack() as stack:
        producers = [stack.enter_context(client.producer(stream_id)) for stream_id in STREAMS]

        def publish() -> None:
            number = 0
            while not stop.wait(0.01):
                for producer in producers:
                    producer.publish(picture(producer.stream_id, number % 50))
                number += 1

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@pytest.mark.process
def test_a_signal_has_the_last_seconds_written_while_the_recording_goes_on(
    pool: DriverProcess, tmp_path: Path
) -> None:
    out = tmp_path / "incident.mcap"
    streams = map(str, STREAMS)
    with (
        cameras(pool),
        pool.running("record", *streams, str(out), "--last", "30s") as recorder,
    ):
        for stream_id in STREAMS:
            until(lambda s=stream_id: pool.has_consumer(s), "the recorder's attach")
        assert recorder.process.stdout is not None
        for name in ("incident-0000.mcap", "incident-0001.mcap"):
            recorder.interrupt(signal.SIGUSR1)
            while name not in (line := recorder.process.stdout.readline()):
                assert line.endswith("no frame is there to keep\n"), line
                recorder.interrupt(signal.SIGUSR1)
        recorder.interrupt()
        outcome = recorder.outcome()
    assert outcome.status in (0, 4), outcome
    for name in ("incident-0000.mcap", "incident-0001.mcap"):
        with Recording(tmp_path / name) as found:
            assert found.is_whole
            assert len(found)
    assert not out.exists()


class AtTerminal:
    """A command that has a terminal of its own, as one that a person has typed."""

    def __init__(self, pool: DriverProcess, *arguments: str) -> None:
        self._terminal, end = os.openpty()
        command = [sys.executable, "-m", "tensor_pool.cli", *arguments]
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command, "--config", str(pool.config)],
            stdin=end,
            stdout=end,
            stderr=end,
        )
        os.close(end)
        self.shown = ""

    def type(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def read_until(self, text: str) -> None:
        """Read what it prints up to a text."""
        while text not in self.shown:
            with contextlib.suppress(OSError):
                if data := os.read(self._terminal, 4096):
                    self.shown += data.decode(errors="replace")
                    continue
            raise AssertionError(f"it ended without {text!r}: {self.shown}")
        self.shown = self.shown.partition(text)[2]

    def status(self) -> int:
        with contextlib.suppress(OSError):
            while os.read(self._terminal, 4096):
                pass
        os.close(self._terminal)
        return self._process.wait(PATIENCE_S)


@pytest.mark.process
def test_the_space_bar_pauses_a_replay_and_goes_on(pool: DriverProcess, recording: Path) -> None:
    targets = ("--stream", "20060=20062", "--linger", "0")
    replay = AtTerminal(pool, "replay", str(recording), *targets, "--speed", "0.1", "--loop")
    replay.read_until("frames, ")
    replay.type(b" ")
    replay.read_until("paused; the space bar or SIGUSR1 goes on")
    replay.type(b" ")
    replay.read_until("frames, ")  # the progress of what goes on
    replay.type(b"\x03")
    assert replay.status() == 0


@pytest.mark.process
def test_the_progress_of_a_recording_is_shown_at_a_terminal(
    pool: DriverProcess, tmp_path: Path
) -> None:
    with cameras(pool):
        out = str(tmp_path / "run.mcap")
        recorder = AtTerminal(pool, "record", *map(str, STREAMS), out, "--split", "1MiB")
        recorder.read_until("recording; Ctrl-C ends it")
        recorder.read_until(" frames, ")
        recorder.read_until(" lost")
        recorder.type(b"\x03")
        assert recorder.status() in (0, 4)
    assert frames_in(tmp_path / "run-0000.mcap")


def test_a_full_disk_names_the_file_and_the_whole_ones_before_it(tmp_path: Path) -> None:
    outlet = outlet_of(Parts, tmp_path / "run.mcap", Amount(seconds=1.0))
    outlet.write(Received(frame(STREAMS[0], 0), SECOND))
    outlet.write(Received(frame(STREAMS[0], 1), 3 * SECOND))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    outlet._file.writer.add = full
    with pytest.raises(CommandError) as raised:
        outlet.write(Received(frame(STREAMS[0], 2), 3 * SECOND))
    assert str(raised.value) == (
        f"{tmp_path / 'run-0001.mcap'}: {os.strerror(28)}; nothing was recorded in it;"
        " 1 files before it are whole"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["run-0000.mcap"]
