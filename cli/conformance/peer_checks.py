"""Checks that producers and consumers have in common: attach, lease, what they must not send."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tensor_pool.protocol.wire import (
    ConsumerConfig,
    PublishMode,
    ShmAttachResponse,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
)

from .bus import Heard
from .check import Check, check, want
from .grants import BAD_FILES, BAD_GRANTS
from .peer_world import PeerWorld

__all__ = ["attach_checks", "grant_checks"]


def attach_checks[W: PeerWorld](goes_on: Callable[[W], str]) -> list[Check[W]]:
    """Return the checks of attach and lease; `goes_on` returns what shows that it does not work."""
    checks: list[Check[W]] = []

    @check(checks, "D-070 M-200 W-168 D-166", "attach requests have every field in its range")
    def attach_request(world: W) -> None:
        world.lease()
        for _, request in world.driver.requests:
            want(request.role is world.role, f"role is {request.role}")
            want(request.client_id, "clientId is 0")
            want(
                request.publish_mode is None or request.publish_mode in tuple(PublishMode),
                f"publishMode is {request.publish_mode}",
            )
            want(
                request.expected_layout_version in (0, 1),
                f"expectedLayoutVersion is {request.expected_layout_version}",
            )

    @check(checks, "M-202 D-070", "after a refusal it asks again, with another correlationId")
    def asks_again(world: W) -> None:
        world.lease()
        driver = world.driver
        asked = len(driver.requests)
        driver.refusals += [("REJECTED", "producer already attached"), ("REJECTED", "later")]
        world.revoke()
        ids = {world.next_request(asked + n)[1].correlation_id for n in range(3)}
        want(len(ids) == 3, "a correlationId was used twice")
        world.lease()

    @check(checks, "D-082 D-083 M-200", "keepalives come in time and fit the lease")
    def keepalives(world: W) -> None:
        lease = world.lease()
        lease_s = world.driver.options.lease_s
        mark = world.mark

        def kept() -> list[tuple[int, Heard, ShmLeaseKeepalive]]:
            return world.since(mark, ShmLeaseKeepalive, lambda one: one.lease_id == lease.lease_id)

        world.until(lambda: len(kept()) >= 3, 2 * lease_s)
        found = kept()
        want(len(found) >= 3, f"{len(found)} keepalives in two leases of {lease_s:g} s")
        for _, heard, one in found:
            seen = (one.stream_id, one.client_id, one.role)
            wanted = (world.stream_id, lease.client_id, world.role)
            want(seen == wanted, f"stream, client and role are {seen}, expected {wanted}")
            age_s = (heard.at_ns - one.client_timestamp_ns) / 1e9
            real_s = (time.time_ns() - one.client_timestamp_ns) / 1e9
            want(min(abs(age_s), abs(real_s)) < 5, "clientTimestampNs is of no known clock")

    @check(checks, "D-002 W-120 W-162", "it sends none of the driver's messages")
    def drivers_messages(world: W) -> None:
        world.lease()
        world.run_for(world.period_s)
        for kind in (
            ShmPoolAnnounce,
            ConsumerConfig,
            ShmAttachResponse,
            ShmDetachResponse,
            ShmLeaseRevoked,
            ShmDriverShutdown,
        ):
            found = world.since(0, kind)
            want(not found, f"it sent {kind.__name__}")

    @check(
        checks,
        "W-001 W-002 W-003 W-147 W-125 W-220",
        "messages for others, unknown and mangled ones do not move it",
    )
    def messages_for_others(world: W) -> None:
        lease = world.lease()
        asked = len(world.driver.requests)
        for what, message in world.others():
            world.send(message)
            world.run_for(0.05)
            want(len(world.driver.requests) == asked, f"{what} made it attach anew")
        for data in (
            b"\1",
            b"\0" * 40,
            bytes(range(200)),
            b"\xff" * 64,
            b"\x1b\0\x02\0\x85\x03\1\0",
        ):
            world.send(data)
        world.run_for(0.2)
        want(world.lease_now() is lease, "it lost its lease")
        problem = goes_on(world)
        want(not problem, problem)

    @check(checks, "W-148", "when its lease is revoked it stops at once, and attaches anew")
    def own_notice(world: W) -> None:
        _stops(world, world.revoke, goes_on)

    @check(checks, "W-148 D-021", "when the driver stops it stops at once, and attaches anew")
    def shutdown(world: W) -> None:
        world.lease()
        _stops(world, world.driver.shut_down, goes_on)

    return checks


def _stops[W: PeerWorld](world: W, end: Callable[[], object], goes_on: Callable[[W], str]) -> None:
    """End its lease by a message: nothing of the old epoch is used, a new lease is asked for."""
    problem = goes_on(world)
    want(not problem, problem)
    driver = world.driver
    asked = len(driver.requests)
    driver.answers = False
    try:
        end()
        world.run_for(max(0.1, world.period_s / 2))  # what was on its way, also on a busy machine
        before = world.mark
        ring = driver.regions.ring if driver.regions is not None else None
        words = ring.memory[64 : 1 << 14] if ring is not None else b""
        world.run_for(0.3)
        used = world.uses_after_end(before)
        want(not used, used)
        if ring is not None and driver.regions is not None and driver.regions.ring is ring:
            want(words == ring.memory[64 : 1 << 14], "it wrote to the regions afterwards")
    finally:
        driver.answers = True
    want(
        world.until(lambda: len(driver.requests) > asked, 5 * world.patience_s),
        f"it did not attach anew within {5 * world.patience_s:g} s",
    )
    world.lease()


def grant_checks[W: PeerWorld](_: type[W]) -> list[Check[W]]:
    """Return one check for each grant and each region that must not be used."""
    checks: list[Check[W]] = []

    def add(what: str, requirements: str, **how: Any) -> None:
        def run(world: W) -> None:
            world.lease()
            world.refuses(what, **how)

        name = what.removeprefix("a ").removeprefix("an ").replace(" ", "_")
        claim = f"with {what} the grant is not used, and it asks again"
        checks.append(Check(f"no_{name}", tuple(requirements.split()), claim, run))

    for what, (requirements, spoil) in BAD_GRANTS.items():
        add(what, requirements, spoil=spoil)
    for what, (requirements, prepare) in BAD_FILES.items():
        add(what, requirements, prepare=prepare)
    return checks
