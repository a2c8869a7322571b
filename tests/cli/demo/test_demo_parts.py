"""The demo's parts by themselves: children, interruptions, the stage, the verdict."""

from __future__ import annotations

import io
import os
import queue
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from tensor_pool.cli.demo import stage as stage_module
from tensor_pool.cli.demo.children import Child, end_all
from tensor_pool.cli.demo.consumer import Tally
from tensor_pool.cli.demo.protocol import (
    ConsumerReport,
    EpochSeen,
    Manifest,
    ProducerReport,
    Ready,
    SourceFrame,
    content_digest,
    decode_report,
)
from tensor_pool.cli.demo.scoreboard import Scoreboard, Transition
from tensor_pool.cli.demo.sources import Pictures
from tensor_pool.cli.demo.stage import Stage
from tensor_pool.cli.demo.verdict import Outcome, judge
from tensor_pool.cli.media.files import InputError, Picture
from tensor_pool.cli.support.signals import Stop, StopRequestedError
from tensor_pool.driver.config.load import load_config

SECOND = 1_000_000_000
PATIENT = 'import signal, time; print("up", flush=True); time.sleep(60)'
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + PATIENT


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.01)


def wait_for_line(lines):
    line = lines.get(timeout=10)
    assert line.text == "up"


@pytest.mark.process
def test_children_are_asked_to_end_and_killed_when_they_do_not():
    lines = queue.SimpleQueue()
    children = [
        Child(name, [sys.executable, "-c", code], lines)
        for name, code in (("patient", PATIENT), ("stubborn", STUBBORN))
    ]
    for _ in children:
        wait_for_line(lines)
    assert end_all(children, patience_s=0.3) == ["stubborn"]
    assert [child.exit_status for child in children] == [-signal.SIGTERM, -signal.SIGKILL]
    assert end_all(children, patience_s=0) == []


@pytest.mark.process
def test_a_child_gets_its_input_and_both_its_outputs_are_read():
    lines = queue.SimpleQueue()
    code = "import sys; line = input(); print('out', line); print('err', line, file=sys.stderr)"
    child = Child("echo", [sys.executable, "-c", code], lines)
    child.tell("hello")
    said = {(line.stream, line.text) for line in (lines.get(timeout=10) for _ in range(4))}
    assert said == {
        ("stdout", "out hello"),
        ("stderr", "err hello"),
        ("stdout", None),
        ("stderr", None),
    }
    assert child.wait(time.monotonic() + 10)
    child.tell("too late")
    assert child.exit_status == 0
    assert child._process.stdin is not None
    assert child._process.stdin.closed  # else the text that is left is reported at some later time


@pytest.mark.process
def test_children_do_not_get_the_terminals_interrupt_but_end_when_the_demo_is_killed():
    code = f"""
import queue, sys, time
from tensor_pool.cli.demo.children import Child
lines = queue.SimpleQueue()
child = Child("c", [sys.executable, "-c", {PATIENT!r}], lines)
lines.get()
print(child.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, process_group=0
    )
    pid = int(parent.stdout.readline())
    assert os.getpgid(pid) != os.getpgid(parent.pid)
    parent.kill()
    parent.communicate()
    until(lambda: not os.path.exists(f"/proc/{pid}"))


@pytest.mark.process
def test_a_child_whose_parent_is_gone_already_does_not_start():
    done = subprocess.run(
        [sys.executable, "-m", "tensor_pool.cli.demo.tied", "1", "echo", "started"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")


def test_the_first_signal_decides_and_the_old_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with Stop(second_ends=False) as stop:
        stop.check()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(StopRequestedError, match="SIGTERM") as caught:
            stop.check()
    assert caught.value.exit_status == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def pictures(*shapes):
    return Pictures(
        "test",
        tuple(
            Picture(f"p{number}", np.full(shape, number, np.uint8))
            for number, shape in enumerate(shapes)
        ),
    )


def test_the_stage_holds_the_source_and_a_configuration_the_driver_accepts():
    stage = Stage()
    try:
        manifest = stage.set_up(pictures((10, 10), (100, 100, 3), (11, 11)))
        config = load_config(stage.config_file).config
        assert config.shm.base_dir == str(stage.base_dir)
        assert config.driver.aeron_dir == str(stage.aeron_dir)
        (profile,) = config.profiles.values()
        assert [pool.stride_bytes for pool in profile.payload_pools] == [128, 30016]
        written = msgspec.json.decode(
            (stage.source_folder / "manifest.json").read_bytes(), type=Manifest
        )
        assert written == manifest
        for number, frame in enumerate(manifest.frames):
            array = np.load(stage.source_folder / frame.file)
            assert (array.shape, array.dtype.str) == (frame.shape, frame.dtype)
            assert (array == number).all()
            assert content_digest(array) == frame.digest
        assert stage.root.parent == Path("/dev/shm")
    finally:
        stage.clear()
    assert not stage.root.exists()


def test_stages_of_two_demos_do_not_disturb_each_other():
    first, second = Stage(), Stage()
    try:
        first.set_up(pictures((10, 10)))
        second.set_up(pictures((10, 10)))  # sweeps abandoned stages, of which this is none
        assert first.config_file.exists()
        second.clear()
        assert first.config_file.exists()
    finally:
        first.clear()
        second.clear()


class ReceivedFrame:
    """As much of a Frame as a consumer of the demo looks at."""

    epoch = 1
    seq = 7
    timestamp_ns = 100

    def __init__(self, array, trace_id=1, *, valid=True):
        self.payload = memoryview(array).cast("B")
        self.shape, self.dtype, self.nbytes = array.shape, array.dtype, array.nbytes
        self.trace_id, self.valid = trace_id, valid


SENT = np.arange(12, dtype=np.uint16).reshape(3, 4)
MANIFEST = Manifest((SourceFrame("0.npy", (3, 4), "<u2", 24, content_digest(SENT)),))


def test_a_frame_as_sent_is_counted_with_its_latency():
    tally = Tally(MANIFEST)
    tally.take(ReceivedFrame(SENT), 350)
    report = tally.report("Mapped", {"gap": 1})
    assert (report.frames, report.nbytes, report.mismatches) == (1, 24, 0)
    assert (report.latency_p50_ns, report.latency_p99_ns) == (250, 250)
    assert report.epochs == (EpochSeen(epoch=1, frames=1, first_frame_ns=350),)
    assert report.drops == {"gap": 1}


def test_a_frame_read_from_the_ring_has_no_trace_id_and_is_found_by_its_content():
    """C-107: the first frames of an epoch may come without a descriptor."""
    tally = Tally(MANIFEST)
    tally.take(ReceivedFrame(SENT, trace_id=0), 350)
    report = tally.report("Mapped", {})
    assert (report.frames, report.mismatches) == (1, 0)


@pytest.mark.parametrize(
    "frame",
    [
        ReceivedFrame(SENT + (SENT == 11).astype(np.uint16)),
        ReceivedFrame(SENT.reshape(4, 3)),
        ReceivedFrame(SENT.view(np.int16)),
        ReceivedFrame(SENT + 1, trace_id=0),
        ReceivedFrame(SENT, trace_id=2),
    ],
    ids=["one element", "shape", "dtype", "no source", "unknown source"],
)
def test_a_frame_that_differs_in_anything_is_a_mismatch_and_described(frame):
    tally = Tally(MANIFEST)
    tally.take(frame, 350)
    report = tally.report("Mapped", {})
    assert (report.frames, report.mismatches) == (1, 1)
    assert "seq 7 of epoch 1" in report.first_mismatch


def test_a_frame_overwritten_while_it_was_read_proves_nothing_either_way():
    tally = Tally(MANIFEST)
    tally.take(ReceivedFrame(SENT + 1, valid=False), 350)
    report = tally.report("Mapped", {})
    assert (report.frames, report.mismatches) == (0, 0)


def test_latencies_are_of_the_last_interval_and_in_the_end_of_all():
    tally = Tally(MANIFEST)
    for latency in (10, 20, 30):
        tally.take(ReceivedFrame(SENT), 100 + latency)
    assert tally.report("Mapped", {}).latency_p50_ns == 20
    tally.take(ReceivedFrame(SENT), 500)
    assert tally.report("Mapped", {}).latency_p50_ns == 400
    final = tally.report("Closed", {}, final=True)
    assert (final.latency_p50_ns, final.latency_p99_ns) == (30, 400)


@pytest.mark.parametrize(
    ("free_mib", "slots"), [(24_000, 64), (300, 32), (60, 8)], ids=["plenty", "less", "little"]
)
def test_the_ring_is_as_long_as_memory_allows(monkeypatch, free_mib, slots):
    class Status:
        f_bavail, f_frsize = free_mib << 8, 4096

    monkeypatch.setattr(stage_module.os, "statvfs", lambda path: Status)
    stage = Stage()
    try:
        stage.set_up(pictures((1 << 21,)))
        text = stage.config_file.read_text()
        assert tomllib.loads(text)["profiles"]["demo"]["header_nslots"] == slots
    finally:
        stage.clear()


def test_too_little_shared_memory_is_reported_before_anything_is_made(monkeypatch):
    class Status:
        f_bavail, f_frsize = 10 << 8, 4096

    monkeypatch.setattr(stage_module.os, "statvfs", lambda path: Status)
    stage = Stage()
    with pytest.raises(InputError, match="48 MiB of /dev/shm, and 8 MiB are free"):
        stage.set_up(pictures((1 << 21,)))
    assert not stage.root.exists()


def test_reports_survive_the_line_between_processes():
    for report in (
        Ready(),
        ProducerReport(monotonic_ns=1, state="Active", frames=2, refused={"too_large": 1}),
        ConsumerReport(
            monotonic_ns=1, state="Mapped", epochs=(EpochSeen(epoch=1),), mapped_ns=(2,), final=True
        ),
    ):
        assert decode_report(msgspec.json.encode(report).decode()) == report


def consumer(**changes):
    report = ConsumerReport(
        monotonic_ns=9 * SECOND,
        state="Closed",
        frames=30,
        epochs=(
            EpochSeen(epoch=1, frames=10, first_frame_ns=1),
            EpochSeen(epoch=3, frames=20, first_frame_ns=int(6.7 * SECOND)),
        ),
        mapped_ns=(1, int(6.5 * SECOND), int(6.6 * SECOND)),
        final=True,
    )
    return msgspec.structs.replace(report, **changes)


def outcome(**changes):
    good = Outcome(
        expiry_s=1.5,
        source_frames=3,
        killed_ns=5 * SECOND,
        kill_status=-9,
        lease_ended_ns=int(6.4 * SECOND),
        lease_end="Live.Ended.Expired",
        epoch_before=1,
        consumers={"consumer-1": consumer(), "consumer-2": consumer()},
        driver_exit_status=0,
    )
    return msgspec.structs.replace(good, **changes)


def failures(outcome):
    return [check.text for check in judge(outcome) if not check.passed]


def test_a_good_run_passes_every_check():
    assert failures(outcome()) == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kill_status": 0}, "was killed"),
        ({"lease_ended_ns": None}, "never expired"),
        ({"lease_end": "Live.Ended.Detached"}, "Detached"),
        ({"lease_ended_ns": 9 * SECOND}, "after 4.00 s"),
        ({"driver_exit_status": 1}, "exit status 1"),
        ({"driver_exit_status": None}, "exit status None"),
        ({"left_behind": ["/dev/shm/x"]}, "/dev/shm/x"),
        ({"consumers": {"consumer-1": consumer()}}, "to the end"),
        ({"consumers": {}}, "none"),
    ],
)
def test_whatever_went_wrong_is_found(changes, complaint):
    assert any(complaint in text for text in failures(outcome(**changes)))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"mismatches": 1, "first_mismatch": "frame 7"}, "frame 7"),
        ({"final": False}, "to the end"),
        ({"mapped_ns": (1,)}, "consumer-2 never"),
        ({"epochs": consumer().epochs[:1]}, "consumer-2 never"),
        ({"epochs": consumer().epochs[1:]}, "frames before the kill"),
        (
            {
                "epochs": (
                    consumer().epochs[0],
                    EpochSeen(epoch=2, frames=1, first_frame_ns=int(7.6 * SECOND)),
                )
            },
            "consumer-2 after 2.60 s; --margin SECONDS allows more",
        ),
    ],
)
def test_one_bad_consumer_is_enough_to_fail(changes, complaint):
    consumers = {"consumer-1": consumer(), "consumer-2": consumer(**changes)}
    assert any(complaint in text for text in failures(outcome(consumers=consumers)))


def test_a_margin_is_for_late_recoveries_only():
    late = consumer(
        epochs=(
            consumer().epochs[0],
            EpochSeen(epoch=2, frames=1, first_frame_ns=int(7.6 * SECOND)),
        )
    )
    assert failures(outcome(margin_s=1.2, consumers={"consumer-1": late, "consumer-2": late})) == []
    never = {"consumer-1": consumer(epochs=consumer().epochs[:1]), "consumer-2": consumer()}
    (text,) = (t for t in failures(outcome(margin_s=60, consumers=never)) if "recovery" in t)
    assert "--margin" not in text


def test_the_scoreboard_shows_rates_drops_and_the_machines_alive():
    board = Scoreboard(("producer-1", "consumer-1"))
    for seconds, frames in ((1, 0), (2, 100)):
        board.on_report(
            "consumer-1",
            ConsumerReport(
                monotonic_ns=seconds * SECOND,
                state="Mapped",
                frames=frames,
                nbytes=frames * 10_000_000,
                drops={"gap": 2, "late": 0},
                latency_p50_ns=250_000,
                latency_p99_ns=2_500_000,
            ),
        )
    board.on_transition(Transition("lease 1", "", "Live.Active", "ATTACH_OK"))
    board.on_driver_message("lease 2 granted: client 7 is producer of stream 1, epoch 1, node 1")
    board.on_driver_message("stopping: waiting for clients to detach")
    board.on_transition(Transition("lease 2", "", "Live.Active", "ATTACH_OK"))
    board.on_transition(Transition("lease 1", "Live.Ended.Expired", "Closed", "CLOSE"))
    board.note("producer-1", "killed")
    line = board.line()
    assert "consumer-1 Mapped 100/s 1.00 GB/s p50 250 µs p99 2.50 ms drops gap=2" in line
    assert "producer-1 killed 0/s" in line
    assert line.endswith("| lease 2 (producer) Live.Active")


def test_the_scoreboard_stays_readable_at_80_columns_beside_100_consumers():
    """Those of other programs, which show as leases."""
    board = Scoreboard(("producer-1", "consumer-1"))
    for seconds in (1, 2):
        board.on_report(
            "consumer-1",
            ConsumerReport(
                monotonic_ns=seconds * SECOND,
                state="Mapped",
                frames=seconds * 12_345,
                nbytes=seconds * 10_000_000,
                drops={"gap": 1_234_567},
                latency_p50_ns=250_000,
                latency_p99_ns=2_500_000,
            ),
        )
    for number in range(100):
        board.on_transition(Transition(f"lease {2**62 + number}", "", "Live.Active", "ATTACH_OK"))
    output = io.StringIO()
    Console(width=80, file=output).print(board.table("a caption"))
    lines = output.getvalue().splitlines()
    (row,) = [line for line in lines if "consumer-1" in line]
    assert {"Mapped", "12345", "gap=1234567"} <= set(row.split())
    assert len(lines) < 24
    assert any("100 leases" in line and "Live.Active" in line for line in lines)
    assert board.line().endswith("| 100 leases Live.Active")
