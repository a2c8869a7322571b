"""The real daemon as a child process, and a client that speaks its messages by hand."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tensor_pool.protocol.transport.aeron import AeronTransport
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    Message,
    PublishMode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmLeaseKeepalive,
    WireError,
    decode,
    encode,
)

CHANNEL = "aeron:ipc?term-length=256k"
PATIENCE_S = 20.0
_control_stream_ids = itertools.count(1300)

PROFILE = """
[profiles.small]
header_nslots = 4
payload_pools = [{ pool_id = 1, stride_bytes = 4096 }, { pool_id = 2, stride_bytes = 16384 }]
[streams.left]
stream_id = 10000
profile = "small"
[streams.right]
stream_id = 10001
profile = "small"
"""


def until(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Wait for something that another process does; fails when it never happens."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} never became true"
        time.sleep(0.002)


# Template and schema id, as in the header, of what drivers send.
_FROM_DRIVER = frozenset(
    struct.pack("<HH", template_id, schema_id)
    for schema_id, template_id in ((900, 1), (900, 3), (901, 2), (901, 4), (901, 6), (901, 7))
)


class Daemon:
    """`tensor-pool driver` with a small configuration on a control stream of its own."""

    def __init__(
        self,
        directory: Path,
        base_dir: Path,
        aeron_dir: str | None,
        *,
        settings: dict[str, object] | None = None,
        environ: dict[str, str] | None = None,
        preexec: Callable[[], None] | None = None,
        control_stream_id: int | None = None,
        program: Iterable[str] = ("-m", "tensor_pool.cli"),
    ) -> None:
        self.control_stream_id = control_stream_id or next(_control_stream_ids)
        values: dict[str, object] = {
            "shm.base_dir": str(base_dir),
            "driver.control_channel": CHANNEL,
            "driver.control_stream_id": self.control_stream_id,
            **({"driver.aeron_dir": aeron_dir} if aeron_dir else {}),
            **(settings or {}),
        }
        config = directory / f"driver-{self.control_stream_id}.toml"
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        config.write_text("\n".join(lines) + PROFILE)
        self.config = config
        self.stderr_path = directory / f"driver-{self.control_stream_id}.log"
        with open(self.stderr_path, "ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, *program, "driver", "--config", str(config)],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, **(environ or {})},
                preexec_fn=preexec,
            )
        self.stdout: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.stdout.append(line)

    @property
    def pid(self) -> int:
        return self.process.pid

    def ready(self) -> Daemon:
        """Wait for the ready line."""
        until(lambda: bool(self.stdout) or self.process.poll() is not None, "ready")
        assert self.stdout, f"the daemon ended: {self.stderr}"
        return self

    @property
    def stderr(self) -> str:
        return self.stderr_path.read_text()

    @property
    def log(self) -> list[dict[str, Any]]:
        """Log records so far; a line that is not JSON is an error."""
        return [json.loads(line) for line in self.stderr.splitlines()]

    def transitions(self, machine: str) -> list[str]:
        """States that a machine came to rest in, in order."""
        found = [record["transition"] for record in self.log if "transition" in record]
        return [one["to"] for one in found if one["machine"] == machine]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Exit status."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return status

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        """End it whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


class HandClient:
    """Everything on a control stream, recorded, and requests written field by field."""

    def __init__(self, aeron_dir: str, control_stream_id: int) -> None:
        self.transport = AeronTransport.connect(aeron_dir, client_name="hand-client")
        self._subscription = self.transport.add_subscription(CHANNEL, control_stream_id)
        self._publication = self.transport.add_publication(CHANNEL, control_stream_id)
        self._ids = itertools.count(1)
        self.received: list[Message] = []
        until(lambda: self._publication.is_connected, "the connection")

    def send_bytes(self, message: bytes) -> None:
        until(lambda: self._publication.offer(message) is OfferResult.ACCEPTED, "sending")

    def send(self, message: Message) -> None:
        self.send_bytes(encode(message))

    def offer_once(self, message: bytes) -> OfferResult:
        return self._publication.offer(message)

    def stop_hearing(self) -> None:
        """Only send from now on; what is not subscribed to need not be polled either."""
        self._subscription.close()

    def poll(self) -> None:
        """Take what has arrived; only the driver's messages are kept."""
        while self._subscription.poll(self._on_message, 1000) == 1000:
            pass

    def _on_message(self, view: memoryview) -> None:
        if len(view) < 8 or bytes(view[2:6]) not in _FROM_DRIVER:
            return
        with contextlib.suppress(WireError):
            self.received.append(decode(bytes(view)))

    def expect[M](self, kind: type[M], fits: Callable[[M], bool] = lambda message: True) -> M:
        """The first message of a kind that fits, past or to come."""
        seen = 0
        found: list[M] = []

        def arrived() -> bool:
            nonlocal seen
            self.poll()
            found.extend(m for m in self.received[seen:] if isinstance(m, kind) and fits(m))
            seen = len(self.received)
            return bool(found)

        until(arrived, f"a {kind.__name__}")
        return found[0]

    def of(self, kind: type) -> list[Any]:
        self.poll()
        return [message for message in self.received if isinstance(message, kind)]

    def attach(
        self, stream_id: int = 10000, client_id: int = 77, role: Role = Role.PRODUCER
    ) -> ShmAttachResponse:
        correlation_id = next(self._ids)
        self.send(
            ShmAttachRequest(
                correlation_id=correlation_id,
                stream_id=stream_id,
                client_id=client_id,
                role=role,
                expected_layout_version=1,
                publish_mode=PublishMode.EXISTING_OR_CREATE,
            )
        )
        return self.expect(ShmAttachResponse, lambda one: one.correlation_id == correlation_id)

    def keepalive(
        self, lease_id: int, stream_id: int = 10000, client_id: int = 77, role: Role = Role.PRODUCER
    ) -> None:
        self.send(ShmLeaseKeepalive(lease_id, stream_id, client_id, role, time.monotonic_ns()))

    def detach(
        self, lease_id: int, stream_id: int = 10000, client_id: int = 77, role: Role = Role.PRODUCER
    ) -> int:
        correlation_id = next(self._ids)
        self.send(ShmDetachRequest(correlation_id, lease_id, stream_id, client_id, role))
        return correlation_id

    def close(self) -> None:
        self.transport.close()
