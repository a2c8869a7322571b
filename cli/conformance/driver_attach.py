"""Checks of the answers to attach requests (D-060 to D-077, D-160, M-200 to M-223)."""

from __future__ import annotations

import struct
import time
from typing import Any

from tensor_pool.protocol.wire import (
    LeaseRevokeReason,
    PublishMode,
    ResponseCode,
    Role,
    ShmAttachResponse,
    ShmDetachResponse,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    encode,
)

from .check import Broken, Check, NotSeen, check, want
from .driver_world import DriverWorld

__all__ = ["ATTACH_CHECKS"]

ATTACH_CHECKS: list[Check[DriverWorld]] = []

_NULLED = (
    "lease_id",
    "lease_expiry_timestamp_ns",
    "stream_id",
    "epoch",
    "layout_version",
    "header_nslots",
    "header_slot_bytes",
    "node_id",
)


def _refusal(world: DriverWorld, **changes: Any) -> ShmAttachResponse:
    answer = world.ask(world.request(**changes)).message
    assert isinstance(answer, ShmAttachResponse)
    return answer


def _refused(
    world: DriverWorld, codes: tuple[ResponseCode, ...], text: str, **changes: Any
) -> None:
    """Send a request that must be refused with one of the codes and, of ours, with the text."""
    answer = _refusal(world, **changes)
    names = " or ".join(code.name for code in codes)
    want(answer.code in codes, f"answered {answer.code.name}, expected {names}")
    want(
        answer.error_message == text,
        f"the text is {answer.error_message!r}, expected {text!r}",
    )


@check(ATTACH_CHECKS, "D-071 D-070", "without a publish mode an unprovisioned stream is refused")
def absent_publish_mode(world: DriverWorld) -> None:
    request = world.request(publish_mode=None)
    answer = world.ask(request).message
    assert isinstance(answer, ShmAttachResponse)
    if answer.code is ResponseCode.OK:
        world.give_back(request, answer)
        raise NotSeen("the stream is provisioned already; start the driver anew")
    want(answer.code is ResponseCode.REJECTED, f"answered {answer.code.name}, expected REJECTED")
    _refused(
        world,
        (ResponseCode.REJECTED,),
        "stream not provisioned",
        publish_mode=PublishMode.REQUIRE_EXISTING,
    )


@check(ATTACH_CHECKS, "D-074 M-200 M-220", "an OK answer has every field, and copies correlationId")
def grant_fields(world: DriverWorld) -> None:
    with world.attached() as lease:
        answer = lease.answer
        missing = [name for name in _NULLED if getattr(answer, name) is None]
        want(not missing, f"null in an OK answer: {', '.join(missing)}")
        want(answer.lease_id != 0, "leaseId is 0")
        want(answer.stream_id == world.stream_id, f"streamId is {answer.stream_id}")
        want(answer.layout_version == 1, f"layoutVersion is {answer.layout_version}")
        want(answer.header_slot_bytes == 256, f"headerSlotBytes is {answer.header_slot_bytes}")
        want(answer.payload_pools, "there is no payload pool")
        want(answer.header_region_uri, "headerRegionUri is empty")
        want(answer.error_message == "", f"errorMessage is {answer.error_message!r}")
        want(lease.duration_ns > 0, "leaseExpiryTimestampNs is not in the future")


@check(ATTACH_CHECKS, "D-090 D-150", "a grant is announced at once, after its answer")
def grant_order(world: DriverWorld) -> None:
    mark = len(world.bus.heard)
    with world.attached() as lease:
        place = world.bus.heard.index(lease.heard)
        world.expect(
            place + 1,
            ShmPoolAnnounce,
            lambda one: one.stream_id == world.stream_id and one.epoch == lease.answer.epoch,
            "the announce of a grant",
        )
        early = [
            one
            for at, _, one in world.announces(mark)
            if at < place and one.epoch == lease.answer.epoch and one.epoch not in _known(world)
        ]
        want(not early, "the epoch was announced before the attach was answered")


def _known(world: DriverWorld) -> set[int]:
    return {lease.answer.epoch or 0 for lease in world.granted[:-1]}


@check(ATTACH_CHECKS, "D-075 M-221", "a refusal carries nulls, no pools and no URI")
def refusal_fields(world: DriverWorld) -> None:
    answer = _refusal(world, expected_layout_version=99)
    filled = [name for name in _NULLED if getattr(answer, name) is not None]
    want(not filled, f"not null in a refusal: {', '.join(filled)}")
    want(answer.payload_pools == (), "a refusal lists payload pools")
    want(answer.header_region_uri == "", "a refusal carries a region URI")
    want(answer.error_message, "a refusal has no errorMessage")


def _row(
    number: str, claim: str, codes: tuple[ResponseCode, ...], text: str, **changes: Any
) -> None:
    def run(world: DriverWorld) -> None:
        _refused(world, codes, text, **changes)

    ATTACH_CHECKS.append(Check(f"refusal_row_{number}", ("D-070", "M-223"), claim, run))


_INVALID, _REJECTED = (ResponseCode.INVALID_PARAMS,), (ResponseCode.REJECTED,)
_row("2", "an undefined role is refused", _INVALID, "unknown role", role=9)
_row("3", "clientId 0 is refused", _INVALID, "client_id must be non-zero", client_id=0)
_row(
    "4",
    "an undefined publish mode is refused",
    (ResponseCode.UNSUPPORTED,),
    "unsupported publish_mode",
    publish_mode=9,
)
_row(
    "5",
    "an undefined hugepages policy is refused",
    _INVALID,
    "unknown hugepages policy",
    require_hugepages=9,
)
_row(
    "16",
    "another layout version is refused",
    _REJECTED,
    "layout_version mismatch",
    expected_layout_version=2,
)


@check(
    ATTACH_CHECKS, "D-070 D-165", "a stream that is neither configured nor in the range is refused"
)
def unknown_stream(world: DriverWorld) -> None:
    answer = _refusal(world, stream_id=2**32 - 3)
    allowed = {
        (ResponseCode.REJECTED, "stream not provisioned"),
        (ResponseCode.INVALID_PARAMS, "stream_id outside stream_id_range"),
        (ResponseCode.INVALID_PARAMS, "stream_id_range not configured"),
    }
    want(
        (answer.code, answer.error_message) in allowed,
        f"answered {answer.code.name} {answer.error_message!r}",
    )


@check(ATTACH_CHECKS, "D-070 M-202", "a repeated attach request is not answered again")
def silent_duplicate(world: DriverWorld) -> None:
    request = world.request()
    heard = world.ask(request)
    answer = heard.message
    assert isinstance(answer, ShmAttachResponse)
    want(answer.code is ResponseCode.OK, f"the first was refused: {answer.error_message!r}")
    try:
        mark = world.send(encode(request))
        world.answers_still()
        again = world.since(
            mark, ShmAttachResponse, lambda one: one.correlation_id == request.correlation_id
        )
        want(not again, "the same request was answered twice")
    finally:
        world.give_back(request, answer)


@check(ATTACH_CHECKS, "D-070 D-081", "a clientId in use is refused, whatever the role")
def client_in_use(world: DriverWorld) -> None:
    with world.attached() as lease:
        for role in Role:
            _refused(
                world,
                _REJECTED,
                "client_id already attached",
                client_id=lease.client_id,
                role=role,
            )


@check(ATTACH_CHECKS, "D-070 D-077", "a second producer is refused while the first lease is active")
def second_producer(world: DriverWorld) -> None:
    with world.attached(Role.PRODUCER) as lease:
        _refused(world, _REJECTED, "producer already attached", role=Role.PRODUCER)
        world.keepalive(lease)


@check(ATTACH_CHECKS, "D-160", "every grant carries a node id of its own")
def node_ids_differ(world: DriverWorld) -> None:
    with world.attached() as one, world.attached() as other:
        want(
            one.answer.node_id != other.answer.node_id,
            f"two leases have node id {one.answer.node_id}",
        )


@check(ATTACH_CHECKS, "D-161", "a node id in use is refused")
def node_id_in_use(world: DriverWorld) -> None:
    with world.attached() as lease:
        _refused(world, _REJECTED, "node_id unavailable", desired_node_id=lease.answer.node_id)


@check(ATTACH_CHECKS, "D-162", "a client that comes back gets its node id again")
def node_id_again(world: DriverWorld) -> None:
    with world.attached() as lease:
        first = lease.answer.node_id
    with world.attached(client_id=lease.client_id) as again:
        want(
            again.answer.node_id == first,
            f"the client had node id {first} and got {again.answer.node_id}",
        )


@check(ATTACH_CHECKS, "D-163", "a node id that was just released is not given to another client")
def node_id_cools_down(world: DriverWorld) -> None:
    with world.attached() as lease:
        released = lease.answer.node_id
    with world.attached() as other:
        want(other.answer.node_id != released, f"node id {released} was given away at once")


@check(ATTACH_CHECKS, "D-070 D-096", "refusals change nothing: the epoch stays")
def refusals_change_nothing(world: DriverWorld) -> None:
    before = world.epoch_now()
    for changes in (
        {"role": 9},
        {"client_id": 0},
        {"publish_mode": 9},
        {"expected_layout_version": 2, "role": Role.PRODUCER},
    ):
        _refusal(world, **changes)
    after = world.epoch_now()
    want(before == after, f"epoch {before} became {after} although every request was refused")


@check(ATTACH_CHECKS, "D-061 M-050", "a request of a newer schema version is answered UNSUPPORTED")
def newer_version(world: DriverWorld) -> None:
    data = bytearray(encode(world.request()))
    data[6:8] = struct.pack("<H", 2)
    answer = world.ask(bytes(data)).message
    assert isinstance(answer, ShmAttachResponse)
    want(answer.code is ResponseCode.UNSUPPORTED, f"answered {answer.code.name}")


@check(ATTACH_CHECKS, "M-050 D-060", "a longer block and bytes behind the message are skipped")
def longer_block(world: DriverWorld) -> None:
    data = bytearray(encode(world.request(expected_layout_version=99), checked=False))
    data[0:2] = struct.pack("<H", 27 + 5)
    answer = world.ask(bytes(data) + b"\xaa" * 12).message
    assert isinstance(answer, ShmAttachResponse)
    want(
        answer.code is ResponseCode.REJECTED,
        f"answered {answer.code.name} {answer.error_message!r} instead of layout_version mismatch",
    )


@check(ATTACH_CHECKS, "D-060 M-050 M-052", "truncated, foreign and mangled messages do no harm")
def garbage(world: DriverWorld) -> None:
    whole = encode(world.request())
    header = struct.Struct("<4H")
    mark = len(world.bus.heard)
    for data in (
        b"\x01",
        whole[:7],
        whole[:20],
        header.pack(3, 1, 901, 1) + whole[8:],
        header.pack(27, 1, 999, 1) + whole[8:],
        header.pack(27, 200, 901, 1) + whole[8:],
        header.pack(0xFFFF, 1, 901, 1) + whole[8:],
        header.pack(25, 5, 901, 2) + bytes(25),
        header.pack(39, 2, 900, 1) + bytes(39) + b"\xff\xff\xff\xff",
    ):
        world.send(data)
    world.answers_still()
    answers = world.since(
        mark,
        ShmAttachResponse,
        lambda one: one.correlation_id == struct.unpack_from("<q", whole, 8)[0],
    )
    want(not answers, "a mangled attach request was answered as if it were whole")


@check(
    ATTACH_CHECKS, "D-062 M-201", "answers and notices on the control stream do not move a driver"
)
def echoes(world: DriverWorld) -> None:
    with world.attached() as lease:
        notice = ShmLeaseRevoked(
            time.monotonic_ns(),
            lease.lease_id,
            world.stream_id,
            lease.client_id,
            Role.CONSUMER,
            LeaseRevokeReason.REVOKED,
        )
        world.send(encode(notice))
        world.send(encode(ShmDetachResponse(world.correlation_id(), ResponseCode.OK)))
        world.answers_still()
    # `attached` detached it: the lease was still there, or this had been refused.
    _, answer = world.detach(lease)
    if not isinstance(answer.message, ShmDetachResponse):
        raise Broken("no answer to a detach")
