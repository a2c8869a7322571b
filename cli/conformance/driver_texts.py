"""Checks of texts and load, over everything that a driver has sent (D-016, D-065, D-076, D-187)."""

from __future__ import annotations

import time
from pathlib import Path

from tensor_pool.protocol.wire import ResponseCode, ShmAttachResponse, encode
from tensor_pool.protocol.wire.attach_refusals import ATTACH_REFUSALS

from .check import Check, NotSeen, check, want
from .driver_world import DriverWorld

__all__ = ["TEXT_CHECKS"]

TEXT_CHECKS: list[Check[DriverWorld]] = []


@check(TEXT_CHECKS, "D-016", "a message of several fragments is handled once")
def fragmented(world: DriverWorld) -> None:
    with world.attached() as lease:
        channel = f"aeron:ipc?alias={'x' * 3000}"
        mark = world.hello(lease, descriptor_channel=channel, descriptor_stream_id=31_001)
        world.answers_still()
        found = world.configs(mark, lease.client_id)
        want(len(found) == 1, f"{len(found)} answers to one hello of 3 kB")


@check(TEXT_CHECKS, "D-065", "a flood of requests does not hold announces up")
def flood(world: DriverWorld) -> None:
    period = world.announce_period_s
    with world.attached() as lease:
        mark = len(world.bus.heard)
        request = encode(world.request(expected_layout_version=99), checked=False)
        end = time.monotonic() + 20 * period
        sent = 0
        while time.monotonic() < end and len(world.announces(mark)) < 3:
            if sent % 50 == 0:
                world.keepalive(lease)
            world.send(request)
            sent += 1
        world.answers_still()
        seen = len(world.announces(mark))
        want(seen >= 3, f"{seen} announces in 20 periods with {sent} requests")


@check(TEXT_CHECKS, "D-076 D-187 M-223", "texts of refusals are those of the table, with its codes")
def texts(world: DriverWorld) -> None:
    refusals = [
        one for _, _, one in world.since(0, ShmAttachResponse) if one.code is not ResponseCode.OK
    ]
    if not refusals:
        raise NotSeen("no request was refused yet")
    for one in refusals:
        text = one.error_message
        want(
            text.isascii() and len(text) <= 1024, f"the text {text[:80]!r} is not ASCII or too long"
        )
        known = [row for row in ATTACH_REFUSALS if text.startswith(row.text)]
        codes = {row.code for row in known}
        want(known, f"no requirement has the text {text!r}")
        want(one.code in codes, f"{text!r} came with {one.code.name}")


@check(TEXT_CHECKS, "D-120 W-045 W-021", "URIs require huge pages on a file system of them only")
def hugepages(world: DriverWorld) -> None:
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    with world.attached() as lease:
        answer = lease.answer
        for uri in (answer.header_region_uri, *(pool.region_uri for pool in answer.payload_pools)):
            path, _, parameter = uri.removeprefix("shm:file?path=").partition("|")
            around = [one for one in mounts if path.startswith(one[0].rstrip("/") + "/")]
            kind = max(around, key=lambda one: len(one[0]))[1] if around else ""
            wanted = "require_hugepages=true" if kind == "hugetlbfs" else ""
            want(parameter == wanted, f"{path} lies on {kind}; the parameter is {parameter!r}")


@check(TEXT_CHECKS, "D-177", "the driver publishes nothing on the QoS stream")
def no_qos(world: DriverWorld) -> None:
    if world.qos is None:
        raise NotSeen("the QoS stream is not known")
    own = [one for one in world.bus.heard if (one.channel, one.stream_id) == world.qos]
    sessions = {
        one.session_id for one in world.bus.heard if isinstance(one.message, ShmAttachResponse)
    }
    want(not [one for one in own if one.session_id in sessions], "it published there")
    want(world.qos == world.control or not own, f"{len(own)} messages came on the QoS stream")
