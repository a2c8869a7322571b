"""Our tools beside a driver of another make: what they print is true, and they touch nothing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tensor_pool.cli.conformance.bus import Bus
from tensor_pool.cli.conformance.stand_in import StandInDriver, StandInOptions
from tensor_pool.client import ClientConfig, PublishMode, connect
from tensor_pool.driver.config.layout import Layout
from tensor_pool.driver.core.configuration import ShmTable
from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tests.conformance.stand_ins import running
from tests.interop.pool import frame
from tests.protocol.transport.media_driver import media_driver

__all__ = ["media_driver"]

pytestmark = pytest.mark.process

CHANNEL = "aeron:ipc?term-length=256k"
STREAM = 10_000


class OtherDriver(StandInDriver):
    """Another make: our directories without our lock, null slotBytes, no shutdown by message."""

    root = Path()

    def _stream_directory(self) -> Path:
        return self.root / str(self.options.stream_id)

    def superblock(self, kind: int, pool_id: int, slot_bytes: int, stride: int, now: int) -> bytes:
        block = bytearray(super().superblock(kind, pool_id, slot_bytes, stride, now))
        if kind == 2:
            block[32:36] = b"\xff" * 4
        return bytes(block)


def run_tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tensor_pool.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_tools_beside_a_driver_of_another_make(media_driver: MediaDriverProcess) -> None:
    """W-012, W-054: 640 KiB slots with null slotBytes; gc and shutdown end with status 3."""
    control = 1271
    with tempfile.TemporaryDirectory(prefix="interop-", dir="/dev/shm") as name:
        base = Path(name)
        driver = OtherDriver(
            Bus(media_driver.directory),
            (CHANNEL, control),
            base,
            StandInOptions(nslots=4, strides=(640 << 10,), token="theirs"),
        )
        driver.root = Path(Layout.of(ShmTable(base_dir=name)).namespace_dir)
        config = ClientConfig(
            aeron_dir=media_driver.directory,
            control_channel=CHANNEL,
            control_stream_id=control,
            allowed_base_dirs=(name,),
        )
        where = ["--aeron-dir", media_driver.directory, "--control-channel", CHANNEL]
        where += ["--control-stream-id", str(control), "--base-dir", name]
        with (
            running(driver),
            connect(config) as pool,
            pool.producer(STREAM) as producer,
            pool.consumer(STREAM, publish_mode=PublishMode.EXISTING_OR_CREATE) as consumer,
        ):
            assert producer.publish(frame(7))
            received = consumer.receive(timeout=10)
            assert received is not None
            assert (received.copy() == frame(7)).all()

            inspected = run_tool("shm", "inspect", str(driver.root / str(STREAM)))
            assert inspected.returncode == 0, inspected
            assert "4 slots of 640" in inspected.stdout

            files = sorted(base.rglob("*"))
            collected = run_tool("shm", "gc", "--keep", "0", *where)
            assert collected.returncode == 3, collected
            assert "a driver that does not take the lock of ours runs" in collected.stderr
            assert [path for path in files if not path.exists()] == []

            stopped = run_tool("shutdown", "--token", "ours", "--timeout", "1", *where)
            assert stopped.returncode == 3, stopped
            assert "does not handle ShmDriverShutdownRequest" in stopped.stderr
            assert producer.publish(frame(8))
