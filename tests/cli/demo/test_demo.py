"""`tensor-pool demo` as a user runs it: real driver, real processes, real Aeron, real files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from tensor_pool.cli.demo.sources import Pictures
from tensor_pool.cli.demo.stage import Stage
from tensor_pool.cli.media.files import Picture

pytestmark = pytest.mark.process

COMMAND = [str(Path(sys.executable).parent / "tensor-pool"), "demo"]
MARK = "TENSOR_POOL_DEMO_TEST"


class Demo:
    """A running demo in a session of its own, as in a terminal, and all it starts marked."""

    def __init__(self, *arguments):
        self.mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, MARK: self.mark},
        )
        self.seen = ""

    def read_until(self, text):
        while text not in self.seen:
            line = self.process.stdout.readline()
            assert line, f"ended before {text!r}:\n{self.seen}\n{self.process.stderr.read()}"
            self.seen += line

    def interrupt(self, number=signal.SIGINT):
        """As the terminal does: to every process of the foreground group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def end(self):
        out, err = self.process.communicate(timeout=90)
        self.seen += out
        return self.process.returncode, err

    def processes(self):
        """Command lines by pid of everything that carries the mark."""
        wanted = f"{MARK}={self.mark}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and wanted in (entry / "environ").read_bytes():
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(entry.name)] = command
            except OSError:
                continue
        return found

    def files(self):
        """Return the files in shared memory under the demo's pid."""
        return list(Path("/dev/shm").glob(f"tensorpool-demo-{self.process.pid}-*"))

    def leftovers(self):
        return list(self.processes().values()) + self.files()


@pytest.fixture
def start():
    demos = []

    def start(*arguments):
        demos.append(Demo(*arguments))
        return demos[-1]

    yield start
    for demo in demos:
        if demo.process.poll() is None:
            demo.interrupt(signal.SIGTERM)
            demo.end()


def photographs(tmp_path):
    return []


def npy_file(tmp_path):
    np.save(tmp_path / "depth.npy", np.arange(5 * 120 * 160, dtype=np.float32).reshape(5, 120, 160))
    return ["--input", tmp_path / "depth.npy"]


@pytest.mark.parametrize("source", [photographs, npy_file])
def test_frames_flow_before_and_after_the_producer_is_killed(start, tmp_path, source):
    demo = start("--duration", 2, "--rate", 50, "--margin", 60, *source(tmp_path))
    status, err = demo.end()
    assert status == 0, demo.seen + err
    assert err == ""
    assert demo.leftovers() == []
    summary = demo.seen.partition("Summary")[2]
    assert "FAIL" not in summary
    assert "0 hash mismatches in" in summary
    assert "10 checks, 0 failed" in summary
    assert re.search(r"pages on http://127\.0\.0\.1:\d+/", demo.seen)
    received = int(re.search(r"mismatches in (\d+) frames", summary)[1])
    assert received > 50
    # The machines' own traces, in the order of what happened.
    told = demo.seen
    for transition in (
        r"driver: Init -> Serving\.Running\.Normal",
        r"lease \d+: Live\.Unattached -> Live\.Active",
        r"KILL  producer-1",
        r"lease \d+: Live\.Active -> Live\.Ended\.Expired",
        r"producer-2 takes over",
        r"stream 10000: Live\.Active\.Ready -> Live\.Active\.ProducerAttached",
        r"draining",
        r"driver: Serving\.Draining -> Stopped",
    ):
        match = re.search(transition, told)
        assert match, f"{transition} not in\n{told}"
        told = told[match.end() :]
    # The table, a line a second without a terminal.
    assert re.search(r"consumer-1 Mapped \d+/s \d\.\d\d GB/s p50 .* p99 .* drops", demo.seen)


@pytest.mark.parametrize(
    ("moment", "signals"),
    [
        ("source:", [signal.SIGINT]),
        ("KILL", [signal.SIGINT, signal.SIGINT]),
        ("draining", [signal.SIGTERM]),
    ],
)
def test_ctrl_c_or_sigterm_at_any_moment_ends_everything(start, moment, signals):
    demo = start("--duration", 2)
    demo.read_until(moment)
    for number in signals:
        demo.interrupt(number)
    status, err = demo.end()
    assert status == 128 + signals[0]
    name = signals[0].name
    assert err == f"tensor-pool demo: interrupted by {name}; everything is stopped and removed\n"
    assert demo.leftovers() == []


def test_ctrl_c_ends_a_demo_whose_children_are_stopped(start):
    """A stopped child ignores SIGTERM; without SIGKILL the demo would wait for it for ever."""
    demo = start("--duration", 20)
    demo.read_until("consumer-2: mapped")
    stopped = [pid for pid in demo.processes() if pid != demo.process.pid]
    assert stopped
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    demo.interrupt(signal.SIGINT)
    status, _ = demo.end()
    assert status == 128 + signal.SIGINT
    assert demo.leftovers() == []


def test_nothing_survives_a_demo_that_is_killed(start):
    """Its children notice, and remove their files; what is left is removed by the next demo."""
    demo = start("--duration", 20)
    demo.read_until("consumer-2: mapped")
    (root,) = demo.files()
    demo.process.kill()
    demo.end()
    deadline = time.monotonic() + 20
    while demo.processes():
        assert time.monotonic() < deadline, demo.processes()
        time.sleep(0.05)
    assert not (root / "aeron").exists()
    assert not [path for path in (root / "regions").rglob("*") if path.suffix]
    stage = Stage()
    stage.set_up(Pictures("test", (Picture("dot", np.zeros(1)),)))  # as the next demo would
    stage.clear()
    assert demo.leftovers() == []


def test_a_driver_that_dies_is_a_failure_reported_in_one_line(start):
    demo = start("--duration", 20)
    demo.read_until("consumer-2: mapped")
    (driver,) = [pid for pid, command in demo.processes().items() if "driver --config" in command]
    os.kill(driver, signal.SIGKILL)
    status, err = demo.end()
    assert status == 1
    assert len(err.splitlines()) == 1
    assert "driver ended with exit status -9" in err
    assert demo.leftovers() == []


def test_a_reader_that_goes_away_ends_everything(start):
    demo = start("--duration", 20)
    demo.read_until("driver ready")
    demo.process.stdout.close()
    assert demo.process.wait(timeout=90) == 141
    assert demo.process.stderr.read() == ""
    assert demo.leftovers() == []


def test_a_missing_input_is_one_clear_line_and_a_failure(start, tmp_path):
    demo = start("--input", tmp_path / "missing.png")
    status, err = demo.end()
    assert status == 2
    assert demo.seen == ""
    assert err == f"tensor-pool demo: {tmp_path}/missing.png: no such file or directory\n"
    assert demo.leftovers() == []


def test_an_unreadable_input_is_one_clear_line_and_a_failure(start, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"not a video" * 100)
    demo = start("--input", tmp_path / "clip.mp4")
    status, err = demo.end()
    assert status == 2
    assert len(err.splitlines()) == 1
    assert "clip.mp4" in err
