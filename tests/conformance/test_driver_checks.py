"""The conformance kit finds nothing at our daemon and at the stand-in, and every planted fault."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tensor_pool.cli.conformance.bus import Bus
from tensor_pool.cli.conformance.check import Outcome, run_checks
from tensor_pool.cli.conformance.driver import DRIVER_CHECKS
from tensor_pool.cli.conformance.driver_world import DriverWorld
from tensor_pool.cli.conformance.stand_in import StandInDriver, StandInLease, StandInOptions
from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    LeaseRevokeReason,
    Message,
    Mode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmDriverShutdown,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    ShutdownReason,
)
from tests.conformance.stand_ins import running
from tests.driver.daemons import CHANNEL, Daemon
from tests.protocol.transport.media_driver import media_driver

__all__ = ["media_driver"]

pytestmark = pytest.mark.process

PERIOD_S, LEASE_S = 0.1, 0.4
STREAM = 10_000
TOKEN = "until tomorrow"


@pytest.fixture
def shm_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="conformance-", dir="/dev/shm") as name:
        yield Path(name)


def test_our_daemon_holds_every_requirement_that_can_be_seen(
    media_driver: MediaDriverProcess, shm_dir: Path
) -> None:
    """The program, run as others run it: every check holds, none is left out."""
    daemon = Daemon(
        shm_dir,
        shm_dir / "pools",
        media_driver.directory,
        settings={
            "policies.announce_period_ms": round(PERIOD_S * 1000),
            "policies.lease_keepalive_interval_ms": round(LEASE_S * 1000 / 4),
            "policies.lease_expiry_grace_intervals": 4,
            "policies.shutdown_token": TOKEN,
            "driver.descriptor_stream_id_range": "31000-31099",
            "driver.control_stream_id_range": "32000-32099",
        },
    ).ready()
    try:
        command = [sys.executable, "-m", "tensor_pool.cli", "conformance", "driver", "--json"]
        command += ["--aeron-dir", media_driver.directory, "--control-channel", CHANNEL]
        command += ["--control-stream-id", str(daemon.control_stream_id)]
        command += ["--announce-period", str(PERIOD_S), "--token", TOKEN, "--timeout", "2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        outcomes = [json.loads(line) for line in done.stdout.splitlines()]
        assert [one for one in outcomes if one["verdict"] != "holds"] == [], done.stderr
        assert done.returncode == 0
        assert len(outcomes) == len(DRIVER_CHECKS)
        assert daemon.wait() == 0  # the last check stopped it
    finally:
        daemon.close()


def _outcomes(
    kind: type[StandInDriver], control_stream_id: int, aeron_dir: str, shm_dir: Path
) -> list[Outcome]:
    control = (CHANNEL, control_stream_id)
    options = StandInOptions(lease_s=LEASE_S, announce_period_s=PERIOD_S, token=TOKEN)
    with running(kind(Bus(aeron_dir), control, shm_dir, options)):
        bus = Bus(aeron_dir)
        world = DriverWorld(
            bus,
            control=control,
            announce=control,
            qos=(CHANNEL, 1299),
            stream_id=STREAM,
            announce_period_s=PERIOD_S,
            token=TOKEN,
        )
        try:
            return run_checks(DRIVER_CHECKS, world, lambda _: None)
        finally:
            bus.close()


def test_an_independent_driver_holds_them_too(
    media_driver: MediaDriverProcess, shm_dir: Path
) -> None:
    """The kit's own stand-in shares no code with our driver."""
    outcomes = _outcomes(StandInDriver, 1261, media_driver.directory, shm_dir)
    assert [str(one) for one in outcomes if one.verdict != "holds"] == []


class FaultyDriver(StandInDriver):
    """Breaks thirteen rules; `FAULTS` names the checks that must find them."""

    given = 0

    def announcement(self) -> ShmPoolAnnounce:
        return msgspec.structs.replace(super().announcement(), producer_id=0)

    def refusal(self, request: ShmAttachRequest) -> tuple[str, str] | None:
        refusal = super().refusal(request)
        if refusal is not None and refusal[1] == "unsupported publish_mode":
            return "REJECTED", refusal[1]
        if refusal is not None and refusal[1] == "unknown role":
            return "INVALID_PARAMS", "bad role"
        return refusal

    def send(self, message: Message | bytes) -> None:
        if isinstance(message, ShmAttachResponse) and message.code:
            message = msgspec.structs.replace(message, lease_id=0)
        if isinstance(message, ShmDriverShutdown):
            message = msgspec.structs.replace(message, reason=ShutdownReason.NORMAL)
        super().send(message)

    def notice(self, lease: StandInLease, reason: LeaseRevokeReason, text: str) -> ShmLeaseRevoked:
        notice = super().notice(lease, reason, text)
        if reason is LeaseRevokeReason.EXPIRED:
            return msgspec.structs.replace(notice, reason=LeaseRevokeReason.REVOKED)
        return notice

    def on_keepalive(self, keepalive: ShmLeaseKeepalive) -> None:
        lease = self.leases.get(keepalive.lease_id)  # a foreign one is not answered
        if lease is not None:
            lease.expiry_ns = self.expiry()  # also for a keepalive of another client

    def refresh(self) -> None:
        if self.producer() is None:
            super().refresh()

    def make_region(
        self, path: Path, kind: int, pool_id: int, slot_bytes: int, stride: int
    ) -> None:
        super().make_region(path, kind, pool_id, slot_bytes, stride)
        path.chmod(0o666)

    def on_hello(self, hello: ConsumerHello) -> None:
        if not hello.descriptor_channel and not hello.control_channel:
            answer = ConsumerConfig(STREAM, hello.consumer_id, True, Mode.STREAM)
            if hello.descriptor_stream_id == hello.control_stream_id == 0:
                self.send(answer)
                return
        super().on_hello(hello)

    def on_detach(self, request: ShmDetachRequest) -> None:
        ended = request.lease_id not in self.leases and request.role is Role.PRODUCER
        super().on_detach(request)
        if ended:
            lease: Any = StandInLease(request.lease_id, request.client_id, request.role, 0, 0, 0)
            self.send(self.notice(lease, LeaseRevokeReason.DETACHED, "again"))

    def assigned(
        self,
        half: tuple[str, int],
        range_: tuple[int, int] | None,
        lease: StandInLease,
        which: int,
    ) -> int:
        number = super().assigned(half, range_, lease, which)
        if number and not lease.descriptors:
            self.given += 1
            return 31_100 + self.given
        return number


FAULTS = {
    "announce_contents",
    "refusal_row_2",
    "refusal_row_4",
    "refusal_fields",
    "expiry",
    "wrong_keepalives",
    "foreign_keepalive",
    "stamps_with_producer",
    "modes",
    "plain_hello",
    "second_detach",
    "requested_number",
    "right_token",
    "texts",
}


def test_every_planted_fault_is_found_and_nothing_else(
    media_driver: MediaDriverProcess, shm_dir: Path
) -> None:
    outcomes = _outcomes(FaultyDriver, 1262, media_driver.directory, shm_dir)
    broken = {one.name: one.text for one in outcomes if one.verdict == "broken"}
    assert set(broken) == FAULTS, broken
    assert all(broken.values())
