"""Growth with the number of streams and of consumers: counters, memory, CPU, time to attach.

    python benchmarks/scale.py --streams 10 100 1000 --consumers 1 10 100 500

The driver is the `tensor-pool driver` program. For N streams one program has N producers and
another has N consumers. For N consumers of one stream there is a program with the producer and one
program for each consumer, unless `--programs` has them share some, each with one client. Every
consumer must receive a frame, and no lease may be lost in the seconds of `--hold`; the exit status
is 1 otherwise. `--json FILE` keeps the figures.
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

from tensor_pool.client import Client, Consumer, Producer, connect
from tensor_pool.client.config import ClientConfig
from tensor_pool.protocol.transport.counters_file import counters_used

FIRST_STREAM = 20_000
_PATIENCE_S = 300.0
_STARTS_AT_ONCE = 4  # programs
_ATTACHES_AT_ONCE = 20
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
announce_period_ms = {period_ms}
lease_keepalive_interval_ms = {period_ms}
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

    def __init__(
        self, kind: str, directory: str, streams: int, handles: int, period_s: float
    ) -> None:
        self.kind = kind
        settings = (kind, directory, str(streams), str(handles), str(period_s))
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--program", *settings],
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


def run_program(kind: str, directory: str, streams: int, consumers: int, period_s: float) -> None:
    """Attach so often to each stream, with one client; obey the parent until its pipe ends."""
    config = ClientConfig(
        aeron_dir=f"{directory}/aeron",
        allowed_base_dirs=(f"{directory}/regions",),
        announce_period=period_s,
        keepalive_interval=period_s,
        hello_interval=period_s,
        qos_interval=period_s,
        response_timeout=period_s,
        attach_timeout=_PATIENCE_S,
    )
    handles: list[Producer | Consumer] = []
    times: list[float] = []
    with ExitStack() as opened:
        pool = opened.enter_context(connect(config, wait=_PATIENCE_S))
        ids = [FIRST_STREAM + number for number in range(streams)] * consumers
        for first in range(0, len(ids), _ATTACHES_AT_ONCE):
            began = time.monotonic()
            some = [_begin(pool, kind, n) for n in ids[first : first + _ATTACHES_AT_ONCE]]
            for handle in some:
                while not handle.poll_ready():
                    if time.monotonic() - began > _PATIENCE_S:
                        raise RuntimeError(f"{handle} is not attached: {handle.last_error}")
                    time.sleep(0.002)
            times += [(time.monotonic() - began) / len(some)] * len(some)
            handles += some
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


def _begin(pool: Client, kind: str, stream_id: int) -> Producer | Consumer:
    if kind == "producers":
        return pool.begin_attach_producer(stream_id)
    return pool.begin_attach_consumer(stream_id)


@contextmanager
def driver(period_s: float) -> Iterator[tuple[str, int]]:
    """A running daemon: its directory and process id."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="tp-scale-") as directory:
        config = Path(directory, "driver.toml")
        config.write_text(_CONFIG.format(directory=directory, period_ms=round(period_s * 1000)))
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


def measure(
    streams: int, consumers_each: int, *, hold_s: float, most_programs: int, period_s: float
) -> Row:
    """Attach everything, let it rest for `hold_s`, publish once on each stream."""
    with ExitStack() as opened:
        directory, driver_pid = opened.enter_context(driver(period_s))
        programs: list[Program] = []

        def end() -> None:
            for program in programs:
                program.end()
            for program in programs:
                program.wait()

        opened.callback(end)
        programs.append(Program("producers", directory, streams, 1, period_s))
        times: list[float] = programs[0].answer()
        each = -(-consumers_each // most_programs)
        starting: list[Program] = []
        for first in range(0, consumers_each, each):
            handles = min(each, consumers_each - first)
            starting.append(Program("consumers", directory, streams, handles, period_s))
            programs.append(starting[-1])
            if len(starting) == _STARTS_AT_ONCE or first + handles == consumers_each:
                for program in starting:
                    times += program.answer()
                starting.clear()

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
    parser.add_argument(
        "--programs", type=int, default=500, metavar="N", help="Share N programs among consumers."
    )
    parser.add_argument(
        "--period",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="Announce and keep leases alive every SECONDS; more for a machine that is busy.",
    )
    parser.add_argument("--program", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.program:
        kind, directory, streams, handles, period = arguments.program
        run_program(kind, directory, int(streams), int(handles), float(period))
        return 0
    print(
        *(f"{title:>{width}}" for title, (_, _, width) in zip(_TITLES, _COLUMNS, strict=True)),
        flush=True,
    )
    rows = []
    sizes = [(n, 1) for n in arguments.streams] + [(1, n) for n in arguments.consumers]
    for streams, consumers in sizes:
        row = measure(
            streams,
            consumers,
            hold_s=arguments.hold,
            most_programs=arguments.programs,
            period_s=arguments.period,
        )
        rows.append(row)
        cells = ((form.format(getattr(row, name)), width) for name, form, width in _COLUMNS)
        print(*(f"{text:>{width}}" for text, width in cells), flush=True)
        if arguments.json:
            arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(rows)) + b"\n")
    return 0 if all(row.received == row.consumers and not row.losses for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
