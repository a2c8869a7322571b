"""Growth with the number of streams and of consumers: counters, memory, CPU, time to attach.

    python benchmarks/scale.py --streams 10 100 1000 --consumers 1 10 100 500

The driver is the `tensor-pool driver` program. For N streams one program has N producers and
another has N consumers. For N consumers of one stream there is a program with the producer and one
program for each consumer. Every consumer must receive a frame, and no lease may be lost in the
seconds of `--hold`; the exit status is 1 otherwise. `--json FILE` keeps the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tensor_pool.client import Consumer, Producer, connect
from tensor_pool.client.config import ClientConfig
from tensor_pool.protocol.transport.counters_file import counters_used

FIRST_STREAM = 20_000
_PATIENCE_S = 300.0
_STARTS_AT_ONCE = 4  # programs
_LONGEST_WAIT_FOR_FRAME_S = 30.0
_SUBSCRIBER_POSITION = 4  # the type of a counter
_DRIVER = (sys.executable, "-m", "tensor_pool.cli", "driver")
_CONFIG = """
[driver]
aeron_dir = "{directory}/aeron"
stream_id_range = "20000-29999"
[shm]
base_dir = "{directory}/regions"
[policies]
allow_dynamic_streams = true
[profiles.small]
header_nslots = 16
payload_pools = [{{ pool_id = 1, stride_bytes = 64 }}]
"""


class Row(msgspec.Struct):
    """The figures of one size."""

    streams: int
    consumers: int
    programs: int
    counters: int
    positions: int
    log_buffers_mib: float
    regions_mib: float
    program_mib: float
    driver_mib: float
    program_cpu: float
    driver_cpu: float
    attach_ms: float
    longest_attach_ms: float
    received: int
    losses: int


class Program:
    """A child process of this file; it gets commands by lines and answers each with JSON."""

    def __init__(self, kind: str, directory: str, streams: int) -> None:
        self.kind = kind
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--program", kind, directory, "--streams", str(streams)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def command(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a program with {self.kind} ended: see its error above")
        return json.loads(line)

    def ask(self, command: str) -> Any:
        self.command(command)
        return self.answer()

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self) -> None:
        self._process.wait()


def run_program(kind: str, directory: str, streams: int) -> None:
    """Attach, then obey the parent until its pipe ends."""
    config = ClientConfig(
        aeron_dir=f"{directory}/aeron", allowed_base_dirs=(f"{directory}/regions",)
    )
    handles: list[Producer | Consumer] = []
    times: list[float] = []
    with connect(config, wait=_PATIENCE_S) as pool:
        for stream_id in range(FIRST_STREAM, FIRST_STREAM + streams):
            began = time.monotonic()
            if kind == "producers":
                handles.append(pool.producer(stream_id, attach_timeout=_PATIENCE_S))
            else:
                handles.append(pool.consumer(stream_id, attach_timeout=_PATIENCE_S))
            times.append(time.monotonic() - began)
        print(json.dumps(times), flush=True)
        for command in sys.stdin:
            if command == "publish\n":
                result: object = [
                    h.publish(b"x").status.name for h in handles if isinstance(h, Producer)
                ]
            elif command == "receive\n":
                wait = _LONGEST_WAIT_FOR_FRAME_S
                result = sum(
                    h.receive(timeout=wait) is not None for h in handles if isinstance(h, Consumer)
                )
            else:
                result = sum(handle.metrics()["attaches"] - 1 for handle in handles)
            print(json.dumps(result), flush=True)


@contextmanager
def driver() -> Iterator[tuple[str, int]]:
    """A running daemon: its directory and process id."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="tp-scale-") as directory:
        config = Path(directory, "driver.toml")
        config.write_text(_CONFIG.format(directory=directory))
        process = subprocess.Popen(
            [*_DRIVER, "--config", str(config), "--log-level", "warning"],
            stdout=subprocess.DEVNULL,
        )
        try:
            while not Path(directory, "regions").exists():
                if process.poll() is not None:
                    raise RuntimeError("the driver did not start: see its error above")
                time.sleep(0.1)
            yield directory, process.pid
        finally:
            process.terminate()
            process.wait()


def allocated_mib(directory: Path, pattern: str) -> float:
    """Shared memory that files have been given."""
    files = (file.stat() for file in directory.rglob(pattern) if file.is_file())
    return sum(status.st_blocks * 512 for status in files) / (1 << 20)


def private_mib(pid: int) -> float:
    """Memory of a process that is not a file, nor shared."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = [int(line.split()[1]) for line in lines if line.startswith("Anonymous:")]
    return sum(kib) / 1024


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(streams: int, consumers_each: int, hold_s: float) -> Row:
    """Attach everything, let it rest for `hold_s`, publish once on each stream."""
    with ExitStack() as opened:
        directory, driver_pid = opened.enter_context(driver())
        programs: list[Program] = []

        def end() -> None:
            for program in programs:
                program.end()
            for program in programs:
                program.wait()

        opened.callback(end)
        programs.append(Program("producers", directory, streams))
        times: list[float] = programs[0].answer()
        for first in range(0, consumers_each, _STARTS_AT_ONCE):
            some = [
                Program("consumers", directory, streams)
                for _ in range(min(_STARTS_AT_ONCE, consumers_each - first))
            ]
            programs += some
            for program in some:
                times += program.answer()

        def cpu() -> tuple[float, float]:
            return sum(cpu_seconds(program.pid) for program in programs), cpu_seconds(driver_pid)

        time.sleep(2)
        before, began = cpu(), time.monotonic()
        time.sleep(hold_s)
        shares = [(a - b) / (time.monotonic() - began) for a, b in zip(cpu(), before, strict=True)]
        programs[0].ask("publish")
        for program in programs[1:]:
            program.command("receive")
        received = sum(program.answer() for program in programs[1:])
        losses = sum(program.ask("losses") for program in programs)
        types = counters_used(f"{directory}/aeron")
        return Row(
            streams=streams,
            consumers=streams * consumers_each,
            programs=len(programs),
            counters=len(types),
            positions=types.count(_SUBSCRIBER_POSITION),
            log_buffers_mib=allocated_mib(Path(directory, "aeron"), "*.logbuffer"),
            regions_mib=allocated_mib(Path(directory, "regions"), "*"),
            program_mib=sum(private_mib(program.pid) for program in programs) / len(programs),
            driver_mib=private_mib(driver_pid),
            program_cpu=shares[0],
            driver_cpu=shares[1],
            attach_ms=sum(times) / len(times) * 1000,
            longest_attach_ms=max(times) * 1000,
            received=received,
            losses=losses,
        )


_COLUMNS = (
    ("streams", "{:d}", 7),
    ("consumers", "{:d}", 9),
    ("programs", "{:d}", 8),
    ("counters", "{:d}", 8),
    ("positions", "{:d}", 9),
    ("log_buffers_mib", "{:.0f}", 8),
    ("regions_mib", "{:.1f}", 8),
    ("program_mib", "{:.0f}", 9),
    ("driver_mib", "{:.0f}", 9),
    ("program_cpu", "{:.0%}", 9),
    ("driver_cpu", "{:.0%}", 9),
    ("attach_ms", "{:.0f}", 7),
    ("longest_attach_ms", "{:.0f}", 8),
    ("received", "{:d}", 8),
    ("losses", "{:d}", 6),
)
_TITLES = (
    "streams", "consumers", "programs", "counters", "positions", "logs MiB", "shm MiB",
    "prog. MiB", "drv. MiB", "progs CPU", "drv. CPU", "ms mean", "ms worst", "received", "losses",
)  # fmt: skip


def main() -> int:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description="How a pool grows")
    parser.add_argument("--streams", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--consumers", type=int, nargs="*", default=[1, 10, 100, 500])
    parser.add_argument("--hold", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write the figures to FILE.")
    parser.add_argument("--program", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.program:
        run_program(*arguments.program, *arguments.streams)
        return 0
    print(
        *(f"{title:>{width}}" for title, (_, _, width) in zip(_TITLES, _COLUMNS, strict=True)),
        flush=True,
    )
    rows = []
    for streams, consumers in [(n, 1) for n in arguments.streams] + [
        (1, n) for n in arguments.consumers
    ]:
        row = measure(streams, consumers, arguments.hold)
        rows.append(row)
        cells = ((form.format(getattr(row, name)), width) for name, form, width in _COLUMNS)
        print(*(f"{text:>{width}}" for text, width in cells), flush=True)
        if arguments.json:
            arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(rows)) + b"\n")
    return 0 if all(row.received == row.consumers and not row.losses for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
