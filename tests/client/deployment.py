"""A real deployment for tests: a daemon with its own directories, and processes that use it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensor_pool.client import connect

WORKER = Path(__file__).with_name("worker.py")
PATIENCE_S = 40.0
STREAM = 10_000
CONFIG = """
[policies]
announce_period_ms = 300
lease_keepalive_interval_ms = 300
lease_expiry_grace_intervals = 3
[profiles.small]
header_nslots = 64
payload_pools = [{ pool_id = 1, stride_bytes = 4096 }, { pool_id = 2, stride_bytes = 1048576 }]
[streams.camera]
stream_id = 10000
profile = "small"
"""


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.01)


class Process:
    """A child whose lines are collected."""

    def __init__(self, command: list[str]) -> None:
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        self.lines.extend(iter(self.child.stdout.readline, ""))

    @property
    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def latest(self, key: str) -> Any:
        return next((s[key] for s in reversed(self.said) if key in s), None)

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()

    def finish(self) -> dict[str, Any]:
        """Ask it to end; its last words."""
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return self.said[-1]

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self._reader.join(5)
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                pipe.close()


class Deployment:
    """A daemon with its own directories, and the processes that use it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.base = directory / "regions"
        self.base.mkdir()
        self.aeron_dir = str(directory / "aeron")
        self.config = directory / "driver.toml"
        self.config.write_text(CONFIG)
        self.endpoints = {
            "aeron_dir": self.aeron_dir,
            "allowed_base_dirs": [str(self.base)],
            "media_driver_timeout": 2.0,
            "announce_period": 0.3,
            "driver_liveness_timeout": 1.5,
            "reattach_after_shutdown": 0.2,
            "backoff_max": 0.4,
        }
        self.processes: list[Process] = []

    def daemon(self) -> Process:
        daemon = self._start(
            "-m",
            "tensor_pool.cli",
            "driver",
            "--config",
            str(self.config),
            "--log-level",
            "error",
            "--set",
            f"driver.aeron_dir={self.aeron_dir}",
            "--set",
            f"shm.base_dir={self.base}",
        )
        until(lambda: any("driver ready" in line for line in daemon.lines), "daemon ready")
        return daemon

    def worker(self, role: str, **settings: Any) -> Process:
        worker = self._start(str(WORKER), role, json.dumps(self.endpoints | settings))
        until(lambda: worker.latest("ready"), f"{role} ready")
        return worker

    def connect(self) -> Any:
        return connect(**self.endpoints)

    def _start(self, *arguments: str) -> Process:
        process = Process([sys.executable, *arguments])
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in reversed(self.processes):
            process.close()
        shutil.rmtree(self.directory, ignore_errors=True)
