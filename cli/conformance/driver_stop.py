"""Checks of the stop by message (D-140 to D-145, M-240), the last ones of a run."""

from __future__ import annotations

import time

from tensor_pool.protocol.wire import (
    ResponseCode,
    Role,
    ShmAttachResponse,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmDriverShutdownRequest,
    ShutdownReason,
    encode,
)

from .check import Check, NotSeen, check, want
from .driver_world import DriverWorld

__all__ = ["STOP_CHECKS"]

STOP_CHECKS: list[Check[DriverWorld]] = []


def _request(world: DriverWorld, token: str, text: str = "") -> ShmDriverShutdownRequest:
    return ShmDriverShutdownRequest(world.correlation_id(), ShutdownReason.ADMIN, token, text)


@check(STOP_CHECKS, "M-240 D-140", "a shutdown request with an empty or a wrong token is ignored")
def wrong_token(world: DriverWorld) -> None:
    for token in ("", "not the token", world.token + "x", "t" * 1024):
        mark = world.send(encode(_request(world, token), checked=False))
        world.answers_still()
        want(
            not world.since(mark, ShmDriverShutdown),
            "the driver announced its shutdown to a wrong token",
        )
    with world.attached():
        pass


@check(
    STOP_CHECKS,
    "D-140 D-141 D-021 D-023 D-042 D-143",
    "the right token drains, then stops the driver",
)
def right_token(world: DriverWorld) -> None:
    if not world.token:
        raise NotSeen("it ends the driver; give its token (--token) to look at it")
    lease, other = world.attach(), world.attach()
    mark = world.send(_request(world, world.token, "conformance"))
    refused = world.ask(world.request(role=Role.CONSUMER)).message
    assert isinstance(refused, ShmAttachResponse)
    want(refused.code is ResponseCode.REJECTED, f"an attach meanwhile got {refused.code.name}")
    detached = world.detach(other)[1].message
    assert isinstance(detached, ShmDetachResponse)
    want(detached.code is ResponseCode.OK, f"a detach meanwhile got {detached.code.name}")
    end = time.monotonic() + 10 * world.patience_s
    while time.monotonic() < end and not world.since(mark, ShmDriverShutdown):
        world.keepalive(lease)  # Draining ends early when the last lease expires
        world.bus.run_for(lease.duration_ns / 6e9)
    heard = world.expect(mark, ShmDriverShutdown, lambda _: True, "ShmDriverShutdown", 0.1)
    notice = heard.message
    assert isinstance(notice, ShmDriverShutdown)
    want(notice.reason is ShutdownReason.ADMIN, f"the reason is {notice.reason.name}")
    want(notice.error_message == "conformance", f"the text is {notice.error_message!r}")
    world.bus.run_for(0.3)
    count = len(world.since(mark, ShmDriverShutdown))
    want(count == 1, f"ShmDriverShutdown was sent {count} times")
    want(
        not world.notices(mark, lease.lease_id),
        "a lease that lived to the end got a notice beside ShmDriverShutdown",
    )
