"""The form of an attach response (C-040, C-041)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tensor_pool.client.attachment.grant import check_grant
from tensor_pool.protocol.errors import ProtocolViolationError
from tensor_pool.protocol.shm.uri import MAX_URI_BYTES
from tensor_pool.protocol.wire import PayloadPool, ResponseCode, ShmAttachResponse, encode
from tests.client.fake_driver import lines_of_maps
from tests.client.world import STREAM, World

NOW = 5_000


def response(**changes: Any) -> ShmAttachResponse:
    good = ShmAttachResponse(
        correlation_id=1,
        code=ResponseCode.OK,
        lease_id=3,
        lease_expiry_timestamp_ns=NOW + 1,
        stream_id=STREAM,
        epoch=1,
        layout_version=1,
        header_nslots=8,
        header_slot_bytes=256,
        payload_pools=(PayloadPool(1, 8, 64, "shm:file?path=/p"),),
        header_region_uri="shm:file?path=/h",
        node_id=4,
    )
    return msgspec.structs.replace(good, **changes)


def pools(*changes: dict[str, Any]) -> tuple[PayloadPool, ...]:
    good = PayloadPool(1, 8, 64, "shm:file?path=/p")
    return tuple(msgspec.structs.replace(good, **change) for change in changes)


def check(r: ShmAttachResponse, **changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "client_id": 9,
        "requested_stream_id": STREAM,
        "expected_layout_version": 1,
        "desired_node_id": None,
        "now": NOW,
    }
    return check_grant(r, **arguments | changes)


BROKEN: list[tuple[int, dict[str, Any]]] = [
    (1, {"lease_id": None}),
    (1, {"lease_id": 0}),
    (2, {"stream_id": None}),
    (2, {"stream_id": 0}),
    (2, {"stream_id": STREAM + 1}),
    (3, {"epoch": None}),
    (3, {"epoch": 0}),
    (4, {"layout_version": None}),
    (4, {"layout_version": 2}),
    (5, {"header_nslots": None}),
    (5, {"header_nslots": 0}),
    (5, {"header_nslots": 12}),
    (6, {"header_slot_bytes": None}),
    (6, {"header_slot_bytes": 512}),
    (7, {"payload_pools": ()}),
    (7, {"payload_pools": pools({}, {})}),
    (7, {"payload_pools": pools({"pool_id": 0})}),
    (8, {"payload_pools": pools({"pool_nslots": 16})}),
    (9, {"payload_pools": pools({"stride_bytes": 32})}),
    (9, {"payload_pools": pools({"stride_bytes": 96})}),
    (10, {"header_region_uri": ""}),
    (10, {"header_region_uri": "  "}),
    (10, {"header_region_uri": "shm:file?path=/" + "x" * MAX_URI_BYTES}),
    (10, {"payload_pools": pools({"region_uri": ""})}),
    (10, {"payload_pools": pools({"region_uri": "file:///x"})}),
    (11, {"lease_expiry_timestamp_ns": NOW}),
    (13, {"code": 9}),
]


def _name(value: object) -> str:
    return str(value)[:40]


@pytest.mark.parametrize(("rule", "change"), BROKEN, ids=_name)
def test_C_040_each_rule_refuses_by_its_number(rule: int, change: dict[str, Any]) -> None:
    """C-040, M-222."""
    with pytest.raises(ProtocolViolationError) as caught:
        check(response(**change))
    assert caught.value.rule == rule


def test_C_040_a_desired_node_id_must_be_granted() -> None:
    assert check(response(), desired_node_id=4).node_id == 4
    with pytest.raises(ProtocolViolationError) as caught:
        check(response(), desired_node_id=5)
    assert caught.value.rule == 12


def test_C_040_what_is_good_passes() -> None:
    assert check(response()).regions.epoch == 1
    assert check(response(lease_expiry_timestamp_ns=None)).expiry_ns is None
    assert check(response(stream_id=77), requested_stream_id=0).regions.stream_id == 77
    assert check(response(), expected_layout_version=0).lease_id == 3


@pytest.mark.parametrize(("rule", "change"), [b for b in BROKEN if b[0] not in (10, 13)], ids=_name)
def test_C_041_a_broken_response_maps_nothing_and_a_new_request_follows(
    world: World, rule: int, change: dict[str, Any]
) -> None:
    """C-040, C-041: fail closed, then attach anew through Backoff."""
    if "lease_expiry_timestamp_ns" in change:
        change = {"lease_expiry_timestamp_ns": 1}
    change_response: Callable[[ShmAttachResponse], bytes] = lambda r: encode(  # noqa: E731
        msgspec.structs.replace(r, **change), checked=False
    )
    world.driver.change_response = change_response
    consumer = world.client().begin_attach_consumer(STREAM)
    world.run(0.05)
    assert consumer.connection_state == "Backoff"
    assert consumer.metrics()["protocol_errors"] == 1
    assert isinstance(consumer.last_error, ProtocolViolationError)
    assert consumer.last_error.rule == rule
    assert list(lines_of_maps(world.base)) == []
    world.driver.change_response = lambda r: r
    world.run(0.3)
    assert consumer.poll_ready()
    assert len(world.driver.attach_requests) == 2


def test_C_034_the_lease_of_a_broken_response_is_returned(world: World) -> None:
    world.driver.change_response = lambda r: msgspec.structs.replace(r, epoch=0)
    consumer = world.client().begin_attach_consumer(STREAM)
    world.run(0.05)
    [detach] = world.driver.detach_requests
    assert detach.client_id == consumer.client_id
    assert world.driver.leases == {}


def test_C_016_an_own_response_that_cannot_be_decoded_is_a_protocol_error(world: World) -> None:
    """C-016, C-040 rule 13: only the correlation id could be read."""

    def broken(r: ShmAttachResponse) -> bytes:
        data = bytearray(encode(r))
        data[16:20] = (9).to_bytes(4, "little")  # code
        return bytes(data)

    world.driver.change_response = broken
    consumer = world.client().begin_attach_consumer(STREAM)
    world.run(0.05)
    assert consumer.connection_state == "Backoff"
    assert consumer.metrics()["protocol_errors"] == 1
    assert consumer.metrics()["bad_message"] == 1


def test_C_016_a_foreign_malformed_message_changes_nothing(world: World) -> None:
    """C-016, C-041."""
    producer, consumer = world.pair()
    before = (producer.state, consumer.state, len(world.driver.attach_requests))
    lease = world.driver.lease_of(consumer.client_id)
    good = encode(world.driver.response(123, lease))
    for data in (good[:-3], good[:20], b"\x01", b"\xff" * 80, good[:6] + b"\x09\x00" + good[8:]):
        world.say(1000, data)
    world.run(0.05)
    assert (producer.state, consumer.state, len(world.driver.attach_requests)) == before
    assert consumer.metrics()["protocol_errors"] == 0
    assert consumer.metrics()["bad_message"] >= 3


def test_C_016_a_long_error_text_is_accepted_and_cut(world: World) -> None:
    """C-016, M-204."""

    def long(r: ShmAttachResponse) -> bytes:
        data = encode(msgspec.structs.replace(r, error_message="x" * 1000))
        head, size = data[:-1004], 2000
        return head + size.to_bytes(4, "little") + b"y" * size

    world.driver.refusal = (ResponseCode.REJECTED, "no")
    world.driver.change_response = long
    consumer = world.client().begin_attach_consumer(STREAM)
    world.run(0.02)
    assert consumer.last_error is not None
    assert consumer.last_error.args[1] == "y" * 1024
