"""D-070: every reason to refuse an attach, in its order, with its exact words."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tensor_pool.driver.core.configuration import IdRange, Pool, Profile
from tensor_pool.driver.core.events import Producer
from tensor_pool.driver.core.ports import ProvisionError, ProvisionFailure
from tensor_pool.protocol.wire import (
    HugepagesPolicy,
    PublishMode,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmPoolAnnounce,
)
from tensor_pool.protocol.wire.attach_refusals import ATTACH_REFUSALS
from tests.driver.core.harness import MS, STREAM, Rig, make_config

REJECTED = ResponseCode.REJECTED
INVALID = ResponseCode.INVALID_PARAMS
DYNAMIC = {"stream_id_range": IdRange(20000, 20001)}
POOLS = Profile(header_nslots=8, payload_pools=(Pool(pool_id=1, stride_bytes=64),))


@dataclass
class Row:
    """One row of the table: how to make it hold, and its answer.

    `config` and `prepare` set the scene, `request` makes the request; a later row's parts are
    applied over an earlier one's in the tests of pairs.
    """

    number: str
    code: ResponseCode
    text: str
    request: dict[str, Any] = field(default_factory=dict)
    driver: dict[str, Any] = field(default_factory=dict)
    policies: dict[str, Any] = field(default_factory=dict)
    profiles: dict[str, Profile] | None = None
    prepare: Callable[[Rig], object] = lambda rig: None
    on_hugetlbfs: bool = False


def drain(rig: Rig) -> None:
    rig.granted(900, stream_id=10001)
    rig.driver.request_shutdown()
    rig.cycle()


def close_stream(rig: Rig) -> None:
    """Drain a stream, which no request does while the driver runs."""
    rig.stream().dispatch("DriverDraining")


def seat_producer(rig: Rig) -> None:
    """A producer, by hand where the profile lets none in."""
    if rig.config.profiles["camera"].payload_pools:
        rig.granted(70, Role.PRODUCER)
    else:
        rig.stream().producer = Producer(lease_id=1, client_id=70)


def fail_provisioning(rig: Rig) -> None:
    rig.store.faults.permission = True


ROWS = [
    Row("1", REJECTED, "driver draining", prepare=drain),
    Row("2", INVALID, "unknown role", {"role": 9}),
    Row("3", INVALID, "client_id must be non-zero", {"client_id": 0}),
    Row("4", ResponseCode.UNSUPPORTED, "unsupported publish_mode", {"publish_mode": 3}),
    Row("5", INVALID, "unknown hugepages policy", {"require_hugepages": 3}),
    Row(
        "6",
        REJECTED,
        "hugepages required but unavailable",
        {"require_hugepages": HugepagesPolicy.HUGEPAGES},
    ),
    Row(
        "7",
        REJECTED,
        "hugepages required by driver policy",
        {"require_hugepages": HugepagesPolicy.STANDARD},
        on_hugetlbfs=True,
    ),
    Row(
        "8b",
        REJECTED,
        "client_id already attached",
        {"client_id": 7},
        prepare=lambda rig: rig.granted(7, stream_id=10001),
    ),
    Row(
        "9",
        REJECTED,
        "lease limit reached",
        policies={"max_leases": 1},
        prepare=lambda rig: rig.snapshot().leases or rig.granted(8, stream_id=10001),
    ),
    Row("10", REJECTED, "stream not provisioned", {"stream_id": 555}),
    Row(
        "11",
        INVALID,
        "stream_id_range not configured",
        {"stream_id": 555},
        policies={"allow_dynamic_streams": True},
    ),
    Row(
        "12",
        INVALID,
        "stream_id outside stream_id_range",
        {"stream_id": 555},
        DYNAMIC,
        {"allow_dynamic_streams": True},
    ),
    Row(
        "13",
        INVALID,
        "stream_id_range exhausted",
        {"stream_id": 0},
        DYNAMIC,
        {"allow_dynamic_streams": True},
        prepare=lambda rig: [rig.granted(client, stream_id=0) for client in (91, 92)],
    ),
    Row(
        "14",
        INVALID,
        "profile not found",
        profiles={"other": POOLS},
    ),
    Row("15", REJECTED, "stream draining", prepare=close_stream),
    Row("16", REJECTED, "layout_version mismatch", {"expected_layout_version": 2}),
    Row(
        "17",
        INVALID,
        "stream has no payload pools",
        profiles={"camera": Profile(header_nslots=8, payload_pools=())},
    ),
    Row(
        "18",
        REJECTED,
        "producer already attached",
        {"role": Role.PRODUCER},
        prepare=seat_producer,
    ),
    Row(
        "19",
        REJECTED,
        "stream not provisioned",
        {"publish_mode": PublishMode.REQUIRE_EXISTING},
    ),
    Row(
        "20",
        REJECTED,
        "node_id unavailable",
        {"desired_node_id": 5},
        prepare=lambda rig: rig.granted(71, stream_id=10001, desired_node_id=5),
    ),
    Row(
        "21",
        ResponseCode.INTERNAL_ERROR,
        "failed to provision SHM: mkdir failed: EACCES",
        prepare=fail_provisioning,
    ),
]
BY_NUMBER = {row.number: row for row in ROWS}


def scene(*rows: Row) -> tuple[Rig, ShmAttachRequest]:
    """A driver in which all given rows hold for the returned request."""
    driver: dict[str, Any] = {}
    policies: dict[str, Any] = {}
    request: dict[str, Any] = {"client_id": 1}
    profiles = None
    for row in reversed(rows):
        driver |= row.driver
        policies |= row.policies
        request |= row.request
        profiles = row.profiles or profiles
    rig = Rig(
        make_config(driver=driver, policies=policies, profiles=profiles),
        on_hugetlbfs=any(row.on_hugetlbfs for row in rows),
    )
    for row in rows:
        row.prepare(rig)
    return rig, rig.request(**request)


def test_D_070_the_rows_here_are_those_of_the_table() -> None:
    """Driver, these tests and the page "When an attach is refused" agree on every text."""
    table = {one.row: one for one in ATTACH_REFUSALS if not one.row.startswith("D-")}
    assert list(table) == [row.number for row in ROWS]
    for row in ROWS:
        reason = table[row.number]
        assert row.code is reason.code
        assert row.text.startswith(reason.text)
        assert row.text == reason.text or reason.text.endswith(": ")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.number)
def test_D_070_each_row_refuses_with_its_code_and_text(row: Row) -> None:
    """D-070, D-075, D-187"""
    rig, request = scene(row)
    before = rig.snapshot()
    answer = rig.ask(request)
    assert answer == ShmAttachResponse(request.correlation_id, row.code, error_message=row.text)
    assert rig.snapshot() == before
    name = f"attach_refused_{row.code.name.lower()}"
    assert rig.metrics[name] == 1


# Pairs that no request and no driver can fall under at once.
EXCLUSIVE = {
    ("6", "7"),  # a policy is one or the other
    ("7", "8b"),
    ("10", "11"),  # dynamic streams are allowed or not
    ("11", "12"),  # the range is set or not
    ("12", "13"),  # the stream id is 0 or not
    ("13", "14"),  # tested with a missing default profile below
    ("18", "19"),  # an Init stream has no producer
}
PAIRS = [(a, b) for a, b in itertools.pairwise(ROWS) if (a.number, b.number) not in EXCLUSIVE]


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda row: row.number)
def test_of_two_reasons_the_earlier_row_answers(first: Row, second: Row) -> None:
    """D-070"""
    rig, request = scene(first, second)
    before = rig.snapshot()
    answer = rig.ask(request)
    assert answer is not None
    assert (answer.code, answer.error_message) == (first.code, first.text)
    assert rig.snapshot() == before


def test_exhausted_range_is_reported_before_a_missing_default_profile() -> None:
    """D-070"""
    config = make_config(
        driver=DYNAMIC, policies={"allow_dynamic_streams": True, "default_profile": "camera"}
    )
    rig = Rig(config)
    rig.granted(91, stream_id=0)
    rig.granted(92, stream_id=0)
    config.profiles.clear()
    answer = rig.attach(1, stream_id=0)
    assert answer.error_message == "stream_id_range exhausted"


def test_dynamic_stream_without_a_default_profile_is_refused() -> None:
    """D-070"""
    config = make_config(driver=DYNAMIC, policies={"allow_dynamic_streams": True})
    rig = Rig(config)
    config.profiles.clear()
    assert rig.attach(1, stream_id=0).error_message == "profile not found"


def test_repeated_request_of_a_live_lease_stays_without_an_answer() -> None:
    """D-070, D-186"""
    rig = Rig()
    request = rig.request(client_id=7)
    assert rig.ask(request).code is ResponseCode.OK
    before = rig.snapshot()
    assert rig.ask(request) is None
    assert rig.snapshot() == before
    assert rig.metrics["attach_duplicates"] == 1


def test_repeated_request_for_any_stream_is_recognised_by_the_stream_it_was_granted() -> None:
    """D-070"""
    rig = Rig(make_config(driver=DYNAMIC, policies={"allow_dynamic_streams": True}))
    request = rig.request(client_id=7, stream_id=0)
    granted = rig.ask(request)
    assert rig.ask(request) is None
    named = rig.request(
        client_id=7, stream_id=granted.stream_id, correlation_id=request.correlation_id
    )
    assert rig.ask(named) is None


@pytest.mark.parametrize(
    "change",
    [{"stream_id": 10001}, {"role": Role.PRODUCER}, {"correlation_id": 999}],
    ids=lambda change: next(iter(change)),
)
def test_D_081_a_client_id_has_one_lease_whatever_stream_and_role(change: dict[str, Any]) -> None:
    """D-070, D-081"""
    rig = Rig()
    request = rig.request(client_id=7)
    rig.ask(request)
    values = {name: getattr(request, name) for name in request.__struct_fields__}
    answer = rig.ask(ShmAttachRequest(**(values | change)))
    assert answer.error_message == "client_id already attached"


def test_D_071_require_existing_and_no_mode_never_provision() -> None:
    rig = Rig()
    for mode in (PublishMode.REQUIRE_EXISTING, None):
        for role in Role:
            assert rig.attach(1, role, publish_mode=mode).error_message == "stream not provisioned"
    assert rig.store.calls == [("open", 0, 0)]
    rig.granted(1)
    assert rig.attach(2, publish_mode=PublishMode.REQUIRE_EXISTING).code is ResponseCode.OK
    assert rig.attach(3, publish_mode=None).code is ResponseCode.OK


def test_D_071_producer_on_an_existing_stream_bumps_the_epoch_in_either_mode() -> None:
    rig = Rig()
    first = rig.granted(1)
    second = rig.granted(2, Role.PRODUCER, publish_mode=PublishMode.REQUIRE_EXISTING)
    assert second.epoch > first.epoch


@pytest.mark.parametrize("role", Role)
def test_D_072_failed_provisioning_leaves_the_stream_as_it_was(role: Role) -> None:
    rig = Rig()
    rig.granted(1)
    rig.detach(rig.granted(2), 2, Role.CONSUMER)
    before = rig.snapshot()
    rig.store.faults.permission = True
    answer = rig.attach(3, Role.PRODUCER)
    assert answer.code is ResponseCode.INTERNAL_ERROR
    assert rig.snapshot() == before
    rig.store.faults.permission = False
    assert rig.attach(3, role).code is ResponseCode.OK


def test_D_072_failed_provisioning_removes_the_dynamic_stream_made_for_it() -> None:
    rig = Rig(make_config(driver=DYNAMIC, policies={"allow_dynamic_streams": True}))
    rig.store.faults.permission = True
    before = len(rig.snapshot().streams)
    rig.attach(1, stream_id=20001)
    after = rig.snapshot()
    assert len(after.streams) == before
    rig.store.faults.permission = False
    assert rig.granted(1, stream_id=20001).stream_id == 20001


def test_D_075_a_refusal_carries_nothing_but_code_and_text() -> None:
    rig = Rig()
    answer = rig.attach(0)
    for name in answer.__struct_fields__:
        if name not in ("correlation_id", "code", "error_message"):
            assert getattr(answer, name) in (None, (), ""), name


def test_D_076_error_texts_are_ascii_and_cut() -> None:
    rig = Rig()

    def refuse(operation: str, stream_id: int, epoch: int) -> None:
        if operation == "provision":
            raise ProvisionError(ProvisionFailure.OTHER, "ü" * 5000)

    rig.store.on_call = refuse
    text = rig.attach(1).error_message
    assert text == ("failed to provision SHM: " + "?" * 5000)[:1024]


def test_D_077_of_two_producers_in_one_batch_the_second_is_refused() -> None:
    rig = Rig()
    for client in (1, 2):
        rig.say(rig.request(client_id=client, role=Role.PRODUCER))
    rig.cycle()
    rig.settle()
    answers = rig.heard(ShmAttachResponse)
    assert [a.code for a in answers] == [ResponseCode.OK, ResponseCode.REJECTED]
    assert answers[1].error_message == "producer already attached"


def test_D_073_a_grant_uses_at_most_one_epoch() -> None:
    rig = Rig()
    granted = rig.granted(1, Role.PRODUCER)
    provisions = [call for call in rig.store.calls if call[0] == "provision"]
    assert provisions == [("provision", STREAM, granted.epoch)]
    rig.granted(2)
    assert [call for call in rig.store.calls if call[0] == "provision"] == provisions


def test_D_074_ok_carries_everything_a_client_needs() -> None:
    """D-074, D-082"""
    rig = Rig()
    request = rig.request(client_id=3)
    now = rig.clock.monotonic_ns()
    answer = rig.ask(request)
    (lease,) = rig.snapshot().leases
    assert answer.correlation_id == request.correlation_id
    assert answer.code is ResponseCode.OK
    assert answer.lease_id == lease.lease_id
    assert answer.lease_expiry_timestamp_ns == lease.expiry_ns == now + 3_000_000_000
    assert answer.stream_id == STREAM
    assert answer.epoch == rig.stream().epoch
    assert answer.layout_version == 1
    assert answer.header_nslots == 8
    assert answer.header_slot_bytes == 256
    assert answer.node_id == lease.node_id == 1
    assert answer.header_region_uri
    assert [p.pool_id for p in answer.payload_pools] == [1, 2]
    assert [p.stride_bytes for p in answer.payload_pools] == [4096, 65536]
    assert {p.pool_nslots for p in answer.payload_pools} == {8}
    assert all(p.region_uri for p in answer.payload_pools)
    assert answer.error_message == ""
    (announce,) = rig.heard(ShmPoolAnnounce)
    assert announce.payload_pools == answer.payload_pools


def test_D_194_the_log_names_the_holder_of_a_stream_and_its_age(caplog: Any) -> None:
    """D-194: client, lease and how long; the wire text stays as specified."""
    rig = Rig()
    lease = rig.granted(1, Role.PRODUCER)
    rig.clock.advance(2_500 * MS)
    caplog.set_level("INFO")
    rig.attach(2, Role.PRODUCER)
    assert f"client 1 holds it under lease {lease.lease_id} for 2.5 s" in caplog.text
