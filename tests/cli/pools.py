"""A daemon for the commands to talk to, and the commands themselves, here or as processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer.testing

from tensor_pool.cli.app import app
from tensor_pool.client.client import Client
from tensor_pool.client.connecting import connect
from tensor_pool.driver.config.for_clients import client_config_for
from tensor_pool.driver.config.load import load_config

PATIENCE_S = 90.0  # on a busy machine an interpreter alone takes 30 s to start
TOKEN = "open sesame"

CONFIG = """
[driver]
aeron_dir = "{aeron_dir}"
control_stream_id = {control_stream_id}
http_address = "{http_address}"
stream_id_range = "20000-20999"
[shm]
base_dir = "{base_dir}"
namespace = "{namespace}"
[policies]
allow_dynamic_streams = true
announce_period_ms = 200
lease_keepalive_interval_ms = 200
lease_expiry_grace_intervals = 10
shutdown_token = "{token}"
shutdown_timeout_ms = 500
cleanup_shm_on_exit = {cleanup}
[profiles.small]
header_nslots = 64
payload_pools = [{{ pool_id = 1, stride_bytes = 65536 }}]
[streams.first]
stream_id = 10000
profile = "small"
[streams.second]
stream_id = 10001
profile = "small"
"""


class Outcome:
    """The result of a command: exit status and output."""

    def __init__(self, status: int, stdout: str, stderr: str) -> None:
        self.status = status
        self.stdout = stdout
        self.stderr = stderr

    def __repr__(self) -> str:
        return f"exit status {self.status}\n{self.stdout}\n{self.stderr}"

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.stdout)

    @property
    def json_lines(self) -> list[Any]:
        """One JSON document a line."""
        return [json.loads(line) for line in self.stdout.splitlines()]


class Command:
    """A command as a process of its own."""

    def __init__(self, *arguments: str, environ: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tensor_pool.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environ or {})},
        )

    def interrupt(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def outcome(self) -> Outcome:
        """Wait for its end."""
        stdout, stderr = self.process.communicate(timeout=PATIENCE_S)
        return Outcome(self.process.returncode, stdout, stderr)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        self.process.wait()


def run(*arguments: str) -> Outcome:
    """A command in this process, which spares the start of an interpreter."""
    result = typer.testing.CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that another process does; fails when it never happens."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} never became true"
        time.sleep(0.01)


class DriverProcess:
    """`tensor-pool driver`, and the options of commands to reach it.

    `config` has no status page in it, so commands see what any driver of the protocol shows;
    `http` is the address of the page.
    """

    def __init__(
        self,
        directory: Path,
        aeron_dir: str,
        base_dir: Path,
        control_stream_id: int,
        *,
        cleanup: bool = True,
    ) -> None:
        self.base_dir = base_dir
        self.http = f"127.0.0.1:{_free_port()}"
        self.control_stream_id = control_stream_id
        values = {
            "aeron_dir": aeron_dir,
            "base_dir": base_dir,
            "control_stream_id": control_stream_id,
            "namespace": f"n{control_stream_id}",
            "token": TOKEN,
            "cleanup": str(cleanup).lower(),
        }
        self.config = directory / f"quiet-{control_stream_id}.toml"
        self.config.write_text(CONFIG.format(http_address="", **values))
        talkative = directory / f"driver-{control_stream_id}.toml"
        talkative.write_text(CONFIG.format(http_address=self.http, **values))
        self.command = Command("driver", "--log-level", "error", str(talkative))
        assert self.command.process.stdout is not None
        assert "driver ready" in self.command.process.stdout.readline()

    @property
    def namespace_dir(self) -> Path:
        (user,) = self.base_dir.glob("tensorpool-*")
        return user / f"n{self.control_stream_id}"

    def run(self, *arguments: str) -> Outcome:
        """Run a command in this process with the driver's configuration."""
        return run(*arguments, "--config", str(self.config))

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[Command]:
        """Start a command as a process with the driver's configuration."""
        command = Command(*arguments, "--config", str(self.config))
        try:
            yield command
        finally:
            command.close()

    def client(self) -> Client:
        """Return a client in this process."""
        config = load_config(self.config, environ={}).config
        return connect(client_config_for(config, config.driver.aeron_dir))

    def streams(self) -> dict[int, Any]:
        """The driver's own account of its streams."""
        outcome = self.run("streams", "--json", "--http", self.http, "--observe", "0")
        assert outcome.status == 0, outcome
        return {stream["stream_id"]: stream for stream in outcome.json}

    def has_producer(self, stream_id: int) -> bool:
        return self.streams()[stream_id]["producer"] is not None

    def has_consumer(self, stream_id: int) -> bool:
        return bool(self.streams()[stream_id]["consumers"])

    def close(self) -> None:
        self.command.interrupt(signal.SIGTERM)
        self.command.process.communicate(timeout=PATIENCE_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
