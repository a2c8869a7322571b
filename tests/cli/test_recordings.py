"""Recordings keep what they promise when recorder, disk or clock do not."""

from __future__ import annotations

import datetime
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import mcap.reader
import numpy as np
import pytest

from tensor_pool.cli.commands._mcap_reader import Recording
from tensor_pool.cli.commands._recording_writer import OneFile, Received
from tensor_pool.cli.commands.mcap_file import (
    COMPRESSIONS,
    RecordedFrame,
    RecordedMetadata,
    RecordingWriter,
)
from tensor_pool.cli.commands.record import _Gaps, _Writing
from tensor_pool.cli.support.exit_status import CommandError
from tensor_pool.cli.support.replacing import replaced
from tensor_pool.client import PublishMode
from tensor_pool.client.consumer.consumer import Consumer
from tensor_pool.client.metadata import AttributeValue, SourceMetadata
from tensor_pool.protocol.clock import SimulatedClock
from tests.cli.pools import Command, DriverProcess, run, until

NOON_NS = round(datetime.datetime(2026, 11, 28, 12, tzinfo=datetime.UTC).timestamp()) * 10**9
UPTIME_NS = 5000 * 10**9
SECOND = 10**9


def frame(seq: int, *, epoch: int = 7, timestamp_ns: int | None = None) -> RecordedFrame:
    return RecordedFrame(
        stream_id=10000,
        epoch=epoch,
        seq=seq,
        trace_id=0,
        timestamp_ns=timestamp_ns,
        meta_version=1,
        dtype="UINT8",
        shape=(2000,),
        strides=(1,),
        order="ROW",
        payload=np.random.default_rng(seq).integers(0, 256, 2000, np.uint8).tobytes(),
    )


def clock_at_noon() -> SimulatedClock:
    return SimulatedClock(UPTIME_NS, NOON_NS)


def written(frames: int, *, seconds_apart: float, compression: str = "lz4") -> bytes:
    """A finished recording with two versions of metadata."""
    file, clock = io.BytesIO(), clock_at_noon()
    writer = RecordingWriter(file, {10000: {}}, compression=compression, clock=clock)
    for version in (1, 2):
        writer.add_metadata(
            RecordedMetadata(
                stream_id=10000,
                epoch=7,
                version=version,
                name="cam",
                summary="",
                attributes={"raw": AttributeValue("application/octet-stream", b"\xff\x00")},
            )
        )
    for seq in range(frames):
        clock.advance(round(seconds_apart * SECOND))
        writer.add(frame(seq))
    writer.finish({"frames": frames, "lost": 0})
    return file.getvalue()


@pytest.mark.parametrize(
    ("stamp", "captured"),
    [
        (UPTIME_NS - 20 * 10**6, NOON_NS - 20 * 10**6),  # CLOCK_MONOTONIC of this host
        (NOON_NS - 3 * 10**6, NOON_NS - 3 * 10**6),  # PTP or NTP, ns since 1970
        (NOON_NS + 37 * SECOND, NOON_NS + 37 * SECOND),  # PTP in TAI
        (NOON_NS - 30 * 86400 * SECOND, NOON_NS - 30 * 86400 * SECOND),  # an older recording
        (123_456, NOON_NS),  # a counter of the camera
        (UPTIME_NS + 7200 * SECOND, NOON_NS),  # monotonic time of another host
        (1 << 63, NOON_NS),  # the year 2262: a replay would wait for it
        ((1 << 64) - 2, NOON_NS),
        (None, NOON_NS),
    ],
)
def test_the_capture_time_is_right_for_a_stamp_of_any_clock(
    tmp_path: Path, stamp: int | None, captured: int
) -> None:
    path = tmp_path / "run.mcap"
    with path.open("wb") as file:
        writer = RecordingWriter(file, {10000: {}}, compression="none", clock=clock_at_noon())
        writer.add(frame(0, timestamp_ns=stamp))
        writer.finish({})
    with path.open("rb") as file:
        ((_, _, message),) = mcap.reader.make_reader(file).iter_messages()
    assert message.publish_time == captured
    with Recording(path) as recording:
        ((_, found),) = recording.frames()
    assert found.timestamp_ns == stamp


def test_the_time_of_recording_is_that_of_the_receipt(tmp_path: Path) -> None:
    """A slow disk does not move it."""
    disk_goes_on, received = threading.Event(), []

    class SlowWriter(RecordingWriter):
        def add(self, *args: Any, received_ns: int = 1 << 63, **kwargs: Any) -> None:
            disk_goes_on.wait()
            received.append(received_ns)

    outlet = OneFile(
        tmp_path / "run.mcap",
        lambda file: SlowWriter(file, {10000: {}}, compression="none"),
        [10000],
    )
    writing = _Writing(outlet)
    for seq in range(3):
        writing.put(Received(frame(seq), time.monotonic_ns()))
    by_now = time.monotonic_ns()
    disk_goes_on.set()
    writing.close({})
    assert len(received) == 3
    assert received == sorted(received)
    assert received[-1] <= by_now


def test_a_frame_is_logged_at_its_receipt(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    with path.open("wb") as file:
        writer = RecordingWriter(file, {10000: {}}, compression="none", clock=clock_at_noon())
        for seconds in (3, 2):
            writer.add(frame(seconds), received_ns=UPTIME_NS - seconds * SECOND)
        writer.finish({})
    with Recording(path) as recording:
        assert recording.started_at_ns == NOON_NS - 3 * SECOND
        assert recording.duration_s == 1.0


def test_a_step_of_the_wall_clock_does_not_stretch_a_recording(tmp_path: Path) -> None:
    path, clock = tmp_path / "run.mcap", clock_at_noon()
    with path.open("wb") as file:
        writer = RecordingWriter(file, {10000: {}}, compression="none", clock=clock)
        for seq in range(3):
            writer.add(frame(seq, timestamp_ns=clock.monotonic_ns()))
            clock.advance(SECOND // 10)
            clock.step_realtime(3600 * SECOND)
        writer.finish({})
    with Recording(path) as recording:
        assert recording.duration_s == pytest.approx(0.2)
        assert [time_ns - NOON_NS for time_ns, _ in recording.frames()] == [
            0,
            SECOND // 10,
            SECOND // 5,
        ]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_recording_that_ends_anywhere_is_read_up_to_its_last_whole_chunk(
    tmp_path: Path, compression: str
) -> None:
    """Every frame that is read is the right one, and no more than a second of frames is lost."""
    data = written(40, seconds_apart=0.3, compression=compression)
    path = tmp_path / "cut.mcap"
    path.write_bytes(data)
    with Recording(path) as whole:
        assert whole.is_whole
        assert len(whole) == 40
        ends = [chunk.offset for chunk in whole._chunks][1:]
    readable = set()
    for length in {*range(8, len(data), 997), *ends, *(end - 1 for end in ends), len(data) - 1}:
        path.write_bytes(data[:length])
        try:
            with Recording(path) as recording:
                assert not recording.is_whole
                found = [one for _, one in recording.frames()]
                assert [m.version for m in recording.metadata] == [1, 2]
        except CommandError:
            assert length <= ends[0]  # not even the first chunk is whole
            continue
        assert found == [frame(seq) for seq in range(len(found))]
        at_least = 4 * sum(end <= length for end in ends)
        assert len(found) >= at_least, length
        readable.add(len(found))
    assert len(ends) >= 9
    assert readable >= set(range(4, 37, 4))


def test_a_repaired_recording_is_whole_and_has_every_readable_frame(tmp_path: Path) -> None:
    data = written(40, seconds_apart=0.3)
    path = tmp_path / "run.mcap"
    path.write_bytes(data[: len(data) * 2 // 3])
    with Recording(path) as recording:
        before = list(recording.timed_frames())
        metadata = recording.metadata
    assert 20 < len(before) < 40
    outcome = run("record", "--repair", str(path))
    assert outcome.status == 0, outcome
    assert f"{len(before)} frames" in outcome.stdout
    with Recording(path) as recording:
        assert recording.is_whole
        assert list(recording.timed_frames()) == before
        assert recording.metadata == metadata
    assert list(tmp_path.iterdir()) == [path]
    assert "nothing to repair" in run("record", "--repair", str(path)).stdout


@pytest.mark.parametrize("content", [b"", b"\x89MCAP0\r\n", b"something else entirely"])
def test_what_cannot_be_repaired_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.mcap"
    path.write_bytes(content)
    outcome = run("record", "--repair", str(path))
    assert outcome.status == 2
    assert outcome.stderr.startswith(f"tensor-pool: {path}: ")
    assert path.read_bytes() == content


def test_holes_within_an_epoch_are_counted_and_a_new_epoch_is_not_one() -> None:
    gaps = _Gaps()
    ends = [gaps.add(1, seq) for seq in (100, 101, 104, 105)]
    assert gaps.count == 2
    assert gaps.add(2, 40)
    assert not any(ends)
    gaps.add(2, 42)
    assert gaps.count == 3


def test_a_file_is_replaced_only_by_a_complete_one(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("old")
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(OSError, match="no room"), replaced(link) as file:
        file.write(b"half")
        raise OSError("no room")
    assert path.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.toml", "link"]
    with replaced(link) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.process
def test_the_frames_of_a_killed_recorder_are_replayed_and_repaired(
    pool: DriverProcess, camera: Command, tmp_path: Path
) -> None:
    out = tmp_path / "run.mcap"

    with pool.running("record", "10000", str(out)) as recorder:
        until(lambda: len(versions_in(out)) > 20, "20 frames in the file")
        busy = run("record", "--repair", str(out))
        assert (busy.status, "still writes" in busy.stderr) == (2, True), busy
        recorder.process.kill()
        recorder.process.wait()
    frames = len(versions_in(out))
    replayed = pool.run("replay", str(out), "--stream", "20003", "--rate", "2000", "--linger", "0")
    assert replayed.status == 0, replayed
    assert f"replayed {frames} frames" in replayed.stdout
    assert "record --repair" in replayed.stderr
    assert run("record", "--repair", str(out)).status == 0
    info = run("replay", str(out), "--info", "--json")
    assert info.status == 0, info
    assert (info.json["frames"], info.json["whole"], info.stderr) == (frames, True, "")


@pytest.mark.process
def test_a_forced_recording_of_nothing_keeps_the_old_file(
    pool: DriverProcess, tmp_path: Path
) -> None:
    out = tmp_path / "run.mcap"
    out.write_text("precious")
    with pool.client() as client, client.producer(20004):
        outcome = pool.run("record", "20004", str(out), "--force", "--idle", "0.3")
    assert outcome.status == 1, outcome
    assert out.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.process
@pytest.mark.parametrize("replaces", [False, True], ids=["new file", "--force"])
def test_a_full_disk_names_the_file_and_the_frames_that_are_safe(
    pool: DriverProcess, picture: Path, tmp_path: Path, replaces: bool
) -> None:
    """A limit of the file size stands for a full disk: the write fails in the same way.

    Two chunks of at most 4 MiB fit below the limit.
    """
    out = tmp_path / "run.mcap"
    if replaces:
        out.write_text("precious")
    limited = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000,) * 2);"
        "sys.argv[0] = 'tensor-pool'; runpy.run_module('tensor_pool.cli', run_name='__main__')"
    )
    record = ["record", "20008", str(out), "--compression", "none", "--config", str(pool.config)]
    with pool.running("publish", "20008", str(picture), "--loop", "--rate", "1000"):
        done = subprocess.run(
            [sys.executable, "-c", limited, *record, *(["--force"] if replaces else [])],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1, done
    files = [p for p in tmp_path.iterdir() if not replaces or p != out]
    assert len(files) == 1, done
    (file,) = files
    assert f"{file}: {os.strerror(27)}" in done.stderr
    with Recording(file) as recording:
        assert len(recording) > 500
        assert f"; {len(recording)} frames are safe" in done.stderr
    if replaces:
        assert out.read_text() == "precious"


@pytest.mark.process
def test_frames_that_the_producer_left_out_are_the_losses_of_the_recording(
    pool: DriverProcess, tmp_path: Path
) -> None:
    """Sequences before the first recorded frame are not lost; later holes are, one for one."""
    out = tmp_path / "run.mcap"
    with pool.client() as client, client.producer(20005) as producer:
        for _ in range(100):
            producer.publish(np.zeros(8), seq=producer.publish(np.zeros(8)).seq + 5)
        with pool.running("record", "20005", str(out), "--count", "6") as recorder:
            assert producer.wait_for_consumers(1, timeout=30)
            for _ in range(3):  # fewer sequences than the ring has slots: none is overwritten
                result = producer.publish(np.zeros(8))
                producer.publish(np.zeros(8), seq=result.seq + 4)  # 3 are left out
            outcome = recorder.outcome()
    assert outcome.status == 4, outcome
    with Recording(out) as recording:
        numbers = [one.seq - result.seq for _, one in recording.frames()]
    assert numbers == [-10, -6, -5, -1, 0, 4]
    holes = 9
    assert f"{holes} frames are missing" in outcome.stderr
    with out.open("rb") as file:
        records = {m.name: m.metadata for m in mcap.reader.make_reader(file).iter_metadata()}
    assert records["tensorpool.recording.end"] == {"frames": "6", "lost": str(holes)}


def versions_in(path: Path) -> list[int | None]:
    """The metadata version of each frame that can be read."""
    try:
        with Recording(path) as recording:
            return [one.meta_version for _, one in recording.frames()]
    except CommandError:
        return []


def seen_in_replay(
    pool: DriverProcess,
    path: Path,
    viewer: Consumer,
    first: str,
    complete: Callable[[Container[str]], bool],
) -> SourceMetadata:
    """The metadata that a replay from a frame on publishes, as a consumer receives it."""
    found: list[SourceMetadata] = []

    def has_come() -> bool:
        viewer.receive(0.05)
        metadata = viewer.metadata
        if metadata is not None and complete(metadata.attributes or ()):
            found.append(metadata)
        return bool(found)

    arguments = ("--first", first, "--stream", "20007", "--wait", "1", "--linger", "60")
    with pool.running("replay", str(path), *arguments) as replay:
        until(has_come, "the recorded metadata")
        replay.interrupt()
        assert replay.outcome().status == 0
    return found[0]


@pytest.mark.process
def test_metadata_is_recorded_and_replayed_with_the_frames_that_name_it(
    pool: DriverProcess, tmp_path: Path
) -> None:
    out = tmp_path / "run.mcap"
    raw = bytes(range(256))
    with pool.client() as client, client.producer(20006) as producer:
        producer.set_metadata("front", "summary", {"pixel format": "BGR8", "raw": raw})
        stop = threading.Event()

        def publish() -> None:
            while not stop.wait(0.05):
                producer.publish(np.zeros(8))

        thread = threading.Thread(target=publish)
        thread.start()
        with pool.running("record", "20006", str(out)) as recorder:
            until(lambda: 1 in versions_in(out), "a frame of version 1 in the file")
            producer.set_attribute("exposure_us", "text/plain", 1600)
            until(lambda: 2 in versions_in(out), "a frame of version 2 in the file")
            recorder.interrupt()
            assert recorder.outcome().status in (0, 4)
        stop.set()
        thread.join()
        last = str(len(versions_in(out)) - 1)
        with client.consumer(20007, publish_mode=PublishMode.EXISTING_OR_CREATE) as viewer:
            before = seen_in_replay(pool, out, viewer, "0", lambda names: "raw" in names)
            after = seen_in_replay(pool, out, viewer, last, lambda names: "exposure_us" in names)
    assert (before.name, before.summary) == ("front", "summary")
    assert before.attributes["pixel format"].text == "BGR8"
    assert before.attributes["raw"].value == raw
    assert "exposure_us" not in before.attributes
    assert after.attributes["exposure_us"].text == "1600"
    assert (before.version, after.version) == (1, 2)
