"""A deployment to be broken: media driver, daemon, producers, consumers, each its own process.

A process that dies is started again after a moment, as a service manager would. Everything lies
in one directory below /dev/shm; the regions on a small file system of their own where one can be
mounted.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from tensor_pool.client.doorbell import bell_name
from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tests.chaos.processes import Child, Holdings

__all__ = ["Deployment", "Member"]

FILE_SYSTEM_BYTES = 96 << 20
_RESTART_S = 0.3
_MEMBER = str(Path(__file__).with_name("member.py"))
_FIRST_STREAM = 10_000
_CONFIG = """
[policies]
announce_period_ms = 300
lease_keepalive_interval_ms = 300
lease_expiry_grace_intervals = 3
shutdown_timeout_ms = 1500
cleanup_shm_on_exit = true
[profiles.small]
header_nslots = 32
payload_pools = [{ pool_id = 1, stride_bytes = 4096 }, { pool_id = 2, stride_bytes = 131072 }]
"""
_STREAM = """
[streams.s{0}]
stream_id = {0}
profile = "small"
"""
REGIONS_OF_AN_EPOCH = 3


class Member:
    """A place for a producer or consumer, and the process that fills it now."""

    def __init__(self, role: str, stream_id: int, name: str) -> None:
        self.role = role
        self.stream_id = stream_id
        self.name = name
        self.child: Child | None = None
        self.start_at = 0.0
        self.is_spared = False
        """True if faults leave its process alone."""


class Deployment:
    """Starts everything at once; `tend()` keeps it going, `close()` ends it."""

    def __init__(self, seed: int, *, streams: int = 2, consumers: int = 2, rate_hz: float = 100.0):
        self.rng = random.Random(seed)
        self.directory = Path(tempfile.mkdtemp(prefix="tp-chaos-", dir="/dev/shm"))
        self.base = self.directory / "regions"
        self.base.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={FILE_SYSTEM_BYTES}", "tmpfs"]
        mounted = subprocess.run([*command, str(self.base)], capture_output=True, check=False)
        self.is_mounted = mounted.returncode == 0
        self.aeron_dir = str(self.directory / "aeron")
        self.stream_ids = range(_FIRST_STREAM, _FIRST_STREAM + streams)
        self._config = self.directory / "driver.toml"
        self._config.write_text(_CONFIG + "".join(_STREAM.format(s) for s in self.stream_ids))
        self._errors = (self.directory / "errors.log").open("wb")
        self._member_seeds = itertools.count(seed << 20)
        self._rate_hz = rate_hz
        self.endpoints = {
            "aeron_dir": self.aeron_dir,
            "allowed_base_dirs": [str(self.base)],
            "media_driver_timeout": 2.0,
            "announce_period": 0.3,
            "driver_liveness_timeout": 1.5,
            "reattach_after_shutdown": 0.2,
            "backoff_max": 0.4,
        }
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.media_driver: MediaDriverProcess | None = MediaDriverProcess(self.aeron_dir)
        self.media_driver_away = 0.0
        self.daemon: Child | None = None
        self._daemon_start_at = 0.0
        self.members = [
            member
            for s in self.stream_ids
            for member in (
                Member("producer", s, f"producer of {s}"),
                *(Member("consumer", s, f"consumer {n} of {s}") for n in range(consumers)),
            )
        ]
        self.tend()

    # Keeping it going

    def tend(self) -> None:
        """Start what is missing and due; note who ended without being asked to."""
        now = time.monotonic()
        if self.media_driver is None and now >= self.media_driver_away:
            self.restart_media_driver()
        if self.daemon is not None and not self.daemon.runs:
            # Without its media driver a daemon ends, with status 1; its manager starts it again.
            status = self.daemon.process.returncode
            if status not in (0, 1, -9, -15):
                self.problems.append(f"the daemon ended with {status}")
            self.daemon.kill()
            self.daemon = None
            self._daemon_start_at = now + _RESTART_S
        if self.daemon is None and self.media_driver is not None and now >= self._daemon_start_at:
            self.daemon = self._start_daemon()
        for member in self.members:
            child = member.child
            if child is not None and not child.runs:
                self.problems.append(f"{member.name} ended with {child.process.returncode}")
                self._let_go(member)
            if member.child is None and now >= member.start_at:
                member.child = self._start_member(member)

    def _start_daemon(self) -> Child:
        self.counts["daemons started"] += 1
        command = ["-m", "tensor_pool.cli", "driver", "--config", str(self._config)]
        command += ["--log-level", "error", "--set", "driver.media_driver=external"]
        command += ["--set", f"driver.aeron_dir={self.aeron_dir}"]
        command += ["--set", f"shm.base_dir={self.base}"]
        return Child("daemon", command, self._errors)

    def _start_member(self, member: Member) -> Child:
        self.counts[f"{member.role}s started"] += 1
        settings = {
            "role": member.role,
            "stream_id": member.stream_id,
            "rate_hz": self._rate_hz,
            "seed": next(self._member_seeds),
            **self.endpoints,
        }
        return Child(member.name, [_MEMBER, json.dumps(settings)], self._errors)

    def restart_media_driver(self) -> None:
        with contextlib.suppress(TransportError):
            self.media_driver = MediaDriverProcess(self.aeron_dir)

    # Breaking it

    def kill_media_driver(self, away_s: float) -> None:
        if self.media_driver is not None:
            self.media_driver.kill()
            self.media_driver = None
            self.media_driver_away = time.monotonic() + away_s

    def kill_daemon(self) -> None:
        if self.daemon is not None:
            self.daemon.kill()

    def end_daemon(self) -> None:
        if self.daemon is not None and self.daemon.end() is None:
            self.problems.append("the daemon did not end on SIGTERM")

    def kill_member(self, member: Member, away_s: float) -> None:
        if member.child is not None:
            member.child.kill()
            self._let_go(member, away_s)

    def end_member(self, member: Member, away_s: float) -> None:
        if member.child is not None:
            status = member.child.end()
            if status != 0:
                self.problems.append(f"{member.name} ended with {status} on SIGTERM")
            self._let_go(member, away_s)

    def _let_go(self, member: Member, away_s: float = _RESTART_S) -> None:
        child = member.child
        assert child is not None
        child.kill()
        self._account(member, child)
        member.child = None
        member.start_at = time.monotonic() + away_s

    def _account(self, member: Member, child: Child) -> None:
        last = child.last
        done = "frames published" if member.role == "producer" else "frames verified"
        self.counts[done] += last.get("done", 0)
        self.counts["frames corrupt"] += last.get("corrupt", 0)
        self.counts["overwritten while read"] += last.get("overwritten", 0)
        self.problems += [f"{member.name}: {example}" for example in last.get("examples", [])]
        for counter, value in last.get("metrics", {}).items():
            if counter in ("attaches", "remaps", "transport_losses", "drops_gap", "drops_late"):
                self.counts[f"{member.role}s' {counter}"] += value

    # Looking at it

    def wait_until_well(self, bound_s: float) -> float | None:
        """Seconds until every producer publishes and every consumer verifies new frames.

        None, and a problem each, if that takes longer than the bound.
        """
        began = time.monotonic()
        before: dict[int, int] = {}
        waiting = list(self.members)
        while time.monotonic() - began < bound_s:
            self.tend()
            waiting = [m for m in self.members if not self._has_moved(m, began, before)]
            if not waiting:
                return time.monotonic() - began
            time.sleep(0.02)
        for member in waiting:
            last = member.child.last if member.child is not None else None
            self.problems.append(f"{member.name} is not well after {bound_s:g} s: {last}")
        return None

    def _has_moved(self, member: Member, since: float, before: dict[int, int]) -> bool:
        """True if the present process has got frames through after its first report since then."""
        child = member.child
        if child is None or not child.runs or child.last.get("at", 0.0) < since:
            return False
        done = child.last.get("done", 0)
        return bool(done > before.setdefault(child.pid, done))

    def holdings(self) -> dict[str, Holdings]:
        """The holdings of each process that runs now."""
        children = [m.child for m in self.members] + [self.daemon]
        found = {}
        for child in children:
            if child is not None and child.runs:
                with contextlib.suppress(OSError, IndexError):
                    found[child.name] = Holdings(child.pid, str(self.base))
        return found

    def region_leaks(self) -> list[str]:
        """Processes that map more region files than those of the epochs they use."""
        leaks = []
        for name, holdings in self.holdings().items():
            epochs = len(self.stream_ids) if name == "daemon" else 1
            if holdings.regions > epochs * REGIONS_OF_AN_EPOCH:
                leaks.append(f"{name} maps {holdings.regions} region files")
        return leaks

    def bells(self) -> list[str]:
        """Doorbells of this deployment that exist."""
        config = "aeron:ipc?term-length=4m 1000"
        prefix = bell_name(self.aeron_dir, config, 0, 0).rpartition("-")[0].rpartition("-")[0]
        return sorted(path.name for path in Path("/dev/shm").glob(f"sem.{prefix[1:]}-*"))

    # Ending it

    def end(self) -> None:
        """End everything in order, clients first; notes what would not end and what is left."""
        for member in self.members:
            self.end_member(member, 1e9)
        if self.daemon is not None:
            status = self.daemon.end()
            if status != 0:
                self.problems.append(f"the daemon ended with {status} on SIGTERM")
            self.daemon = None
        if self.media_driver is not None:
            self.media_driver.close()
            self.media_driver = None
        self.problems += [f"left behind: {left}" for left in self._left()]

    def _left(self) -> list[str]:
        files = [str(path) for path in self.base.rglob("*") if path.is_file()]
        aeron = [self.aeron_dir] if Path(self.aeron_dir).exists() else []
        processes = []
        for proc in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.directory).encode() in (proc / "cmdline").read_bytes():
                    processes.append(f"process {proc.name}")
        return [*files, *aeron, *self.bells(), *processes]

    def look_at_error_log(self) -> None:
        """Note an exception or the stacks of a hanging process among what went to stderr."""
        log = (self.directory / "errors.log").read_text(errors="replace")
        for mark in ("Traceback", "Current thread", "Thread 0x"):
            if mark in log:
                self.problems.append(f"on stderr:\n{log[log.index(mark) :][:6000]}")
                break

    def close(self) -> None:
        """End what still runs, whatever it does, and remove everything."""
        for member in self.members:
            if member.child is not None:
                member.child.kill()
        if self.daemon is not None:
            self.daemon.kill()
        if self.media_driver is not None:
            self.media_driver.close()
        self._errors.close()
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self.base)], check=True)
        shutil.rmtree(self.directory, ignore_errors=True)
