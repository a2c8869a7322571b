"""A driver as the authority over per-consumer streams (D-166 to D-170, W-160 to W-168)."""

from __future__ import annotations

from typing import Any

from tensor_pool.protocol.wire import ConsumerConfig, Mode

from .check import Check, NotSeen, check, want
from .driver_world import DriverWorld, Lease

__all__ = ["STREAM_CHECKS"]

STREAM_CHECKS: list[Check[DriverWorld]] = []
_CHANNEL = "aeron:ipc?term-length=64k"


def _asked(world: DriverWorld, lease: Lease, **changes: Any) -> ConsumerConfig:
    mark = world.hello(lease, **changes)
    heard = world.expect(
        mark,
        ConsumerConfig,
        lambda one: one.consumer_id == lease.client_id and one.stream_id == world.stream_id,
        "the ConsumerConfig that answers a hello with a request",
    )
    assert isinstance(heard.message, ConsumerConfig)
    return heard.message


def _granted(world: DriverWorld, lease: Lease, **changes: Any) -> ConsumerConfig:
    config = _asked(world, lease, descriptor_channel=_CHANNEL, **changes)
    if config.descriptor_stream_id == 0 and not config.descriptor_channel:
        raise NotSeen("the driver grants no private descriptor streams (their range is unset)")
    return config


@check(STREAM_CHECKS, "D-166", "a hello of a client without a lease is not answered")
def unmatched_hello(world: DriverWorld) -> None:
    lease = world.attach()
    world.detach(lease)
    mark = world.hello(lease, descriptor_channel=_CHANNEL, descriptor_stream_id=31_001)
    world.answers_still()
    want(not world.configs(mark, lease.client_id), "a hello without a lease was answered")


@check(STREAM_CHECKS, "D-167 W-161", "a hello without a request is not answered")
def plain_hello(world: DriverWorld) -> None:
    with world.attached() as lease:
        mark = world.hello(lease)
        world.answers_still()
        want(not world.configs(mark, lease.client_id), "a hello without a request was answered")


@check(STREAM_CHECKS, "D-167 W-161 M-110", "half a request declines both streams")
def half_request(world: DriverWorld) -> None:
    with world.attached() as lease:
        for changes in (
            {"descriptor_channel": _CHANNEL, "descriptor_stream_id": 0},
            {"control_stream_id": 32_001},
        ):
            whole = {"descriptor_channel": _CHANNEL, "descriptor_stream_id": 31_001}
            config = _asked(world, lease, **{**whole, **changes})
            want(
                not (config.descriptor_stream_id or config.control_stream_id),
                f"{changes} was granted {config.descriptor_stream_id}, {config.control_stream_id}",
            )
            want(
                not (config.descriptor_channel or config.control_channel),
                "a declined stream carries a channel",
            )


@check(
    STREAM_CHECKS, "D-168 W-163", "a granted stream keeps its channel, and its number on repetition"
)
def stable_grant(world: DriverWorld) -> None:
    with world.attached() as lease:
        first = _granted(world, lease, descriptor_stream_id=31_001)
        want(
            first.descriptor_channel == _CHANNEL,
            f"asked for {_CHANNEL}, granted {first.descriptor_channel}",
        )
        want(
            0 < first.descriptor_stream_id < 2**31,
            f"granted number {first.descriptor_stream_id}",
        )
        again = _granted(world, lease, descriptor_stream_id=first.descriptor_stream_id)
        want(
            again.descriptor_stream_id == first.descriptor_stream_id,
            f"{first.descriptor_stream_id} became {again.descriptor_stream_id} on repetition",
        )


@check(
    STREAM_CHECKS, "D-168 W-163", "the requested number is granted if it is in the range and free"
)
def requested_number(world: DriverWorld) -> None:
    with world.attached() as lease:
        # Some number of the range, and free again once this lease has ended.
        number = _granted(world, lease, descriptor_stream_id=1, max_rate_hz=7).descriptor_stream_id
    with world.attached() as other:
        config = _granted(world, other, descriptor_stream_id=number, max_rate_hz=7)
        want(
            config.descriptor_stream_id == number,
            f"asked for {number}, which is free; granted {config.descriptor_stream_id}",
        )


@check(STREAM_CHECKS, "D-170", "two consumers with a rate cap get different numbers")
def numbers_differ(world: DriverWorld) -> None:
    with world.attached() as one, world.attached() as other:
        first = _granted(world, one, descriptor_stream_id=31_001, max_rate_hz=5)
        second = _granted(world, other, descriptor_stream_id=31_001, max_rate_hz=5)
        want(
            first.descriptor_stream_id != second.descriptor_stream_id,
            f"both got {first.descriptor_stream_id}",
        )


@check(STREAM_CHECKS, "D-168 W-161", "an unusable channel or number is declined, on its own")
def unusable_request(world: DriverWorld) -> None:
    with world.attached() as lease:
        for changes in (
            {"descriptor_channel": "aeron:udp?endpoint=192.0.2.1:9", "descriptor_stream_id": 1},
            {"descriptor_channel": _CHANNEL, "descriptor_stream_id": 2**31},
        ):
            config = _asked(world, lease, **changes)
            want(
                not config.descriptor_stream_id and not config.descriptor_channel,
                f"{changes} was granted {config.descriptor_channel} {config.descriptor_stream_id}",
            )


@check(
    STREAM_CHECKS, "D-169 W-173", "a ConsumerConfig names the hello's mode and lets memory be used"
)
def config_fields(world: DriverWorld) -> None:
    with world.attached() as lease:
        config = _asked(
            world,
            lease,
            mode=Mode.RATE_LIMITED,
            max_rate_hz=10,
            descriptor_channel=_CHANNEL,
            descriptor_stream_id=31_001,
        )
        want(config.mode is Mode.RATE_LIMITED, f"mode is {config.mode.name}")
        want(config.use_shm, "useShm is FALSE")
        for name in ("descriptor", "control"):
            number = getattr(config, f"{name}_stream_id")
            channel = getattr(config, f"{name}_channel")
            want(bool(number) == bool(channel), f"the {name} pair is half set (M-120)")
