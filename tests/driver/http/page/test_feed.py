"""The entries of the page's timeline, from the real driver on a simulated clock."""

from __future__ import annotations

import threading

import pytest

from tensor_pool.driver.runtime.transition_feed import FeedRecord, TransitionFeed
from tensor_pool.driver.runtime.transition_log import TransitionLog
from tensor_pool.hsm import observed_by
from tensor_pool.protocol.wire import Role
from tests.driver.core.harness import SECOND, STREAM, Rig, make_config


@pytest.fixture
def feed() -> TransitionFeed:
    return TransitionFeed(lambda: 1234)


def told(feed: TransitionFeed, since: int = 0, *kinds: str) -> list[tuple[str, str, str]]:
    return [
        (record.kind, record.machine, record.text)
        for record in feed.since(since)
        if not kinds or record.kind in kinds
    ]


def last_number(feed: TransitionFeed) -> int:
    return feed.since(0)[-1].number


def test_a_grant_and_its_end_by_silence_are_shown_with_the_epochs(feed: TransitionFeed) -> None:
    rig = Rig(observer=feed)
    started = last_number(feed)
    answer = rig.granted(7, Role.PRODUCER)
    lease = f"lease {answer.lease_id}"
    assert told(feed, started, "grant", "epoch") == [
        ("epoch", f"stream {STREAM}", f"epoch {answer.epoch}"),
        ("grant", lease, "granted to producer 7"),
    ]
    (grant,) = [record for record in feed.since(started) if record.kind == "grant"]
    assert grant == FeedRecord(
        number=grant.number,
        at_ms=1234,
        kind="grant",
        machine=lease,
        chart="LeaseLifecycle",
        text="granted to producer 7",
        origin="Live.Unattached",
        target="Live.Active",
        event="ATTACH_OK",
        stream_id=STREAM,
        client_id=7,
        lease_id=str(answer.lease_id),
    )
    before = last_number(feed)
    rig.run(20 * SECOND, 100_000_000)
    epoch = rig.stream().epoch
    assert epoch != answer.epoch
    assert told(feed, before) == [
        ("state", f"stream {STREAM}", "ProducerAttached → Ready"),
        ("epoch", f"stream {STREAM}", f"epoch {epoch}"),
        ("end", lease, "of producer 7 expired, its client fell silent"),
        ("state", lease, "Expired → Closed"),
    ]


def test_returned_and_revoked_leases_differ(feed: TransitionFeed) -> None:
    rig = Rig(observer=feed)
    rig.granted(1, Role.PRODUCER)
    returned, revoked = rig.granted(2), rig.granted(3)
    before = last_number(feed)
    rig.detach(returned, 2, Role.CONSUMER)
    rig.driver.revoke_lease(revoked.lease_id, "maintenance")
    rig.settle()
    assert told(feed, before, "end") == [
        ("end", f"lease {returned.lease_id}", "of consumer 2 returned by its client"),
        ("end", f"lease {revoked.lease_id}", "of consumer 3 revoked by the driver"),
    ]


def test_a_refusal_is_shown_with_its_reason_and_nothing_else_of_the_attempt(
    feed: TransitionFeed,
) -> None:
    rig = Rig(observer=feed)
    rig.granted(1, Role.PRODUCER)
    before = last_number(feed)
    answer = rig.attach(2, Role.PRODUCER)
    assert told(feed, before) == [
        ("refusal", "attach by client 2", f"refused ({answer.code.name}): {answer.error_message}")
    ]


def test_keepalives_and_ticks_are_not_shown(feed: TransitionFeed) -> None:
    rig = Rig(observer=feed)
    lease = rig.granted(1, Role.PRODUCER)
    before = last_number(feed)
    for _ in range(5):
        rig.run(SECOND // 2)
        rig.keepalive(lease, 1, Role.PRODUCER)
    rig.settle()
    assert feed.since(before) == []


def test_the_driver_itself_is_shown_until_it_stops(feed: TransitionFeed) -> None:
    rig = Rig(observer=feed)
    rig.driver.close()
    assert [text for kind, machine, text in told(feed) if machine == "driver"] == [
        "start → Init",
        "Init → Normal",
        "Normal → Draining",
        "Draining → Stopped",
    ]


def test_the_feed_is_bounded_and_numbers_go_on(feed: TransitionFeed) -> None:
    rig = Rig(make_config(policies={"node_id_reuse_cooldown_ms": 0}), observer=feed)
    for client_id in range(1, 200):
        rig.detach(rig.granted(client_id), client_id, Role.CONSUMER)
    records = feed.since(0)
    numbers = [record.number for record in records]
    assert len(records) == 400
    assert numbers == list(range(numbers[0], numbers[0] + 400))
    assert numbers[0] > 1
    assert feed._epochs.keys() <= {STREAM, STREAM + 1}


def test_the_feed_can_be_read_while_it_is_written(feed: TransitionFeed) -> None:
    rig = Rig(observer=feed)
    ended = threading.Event()
    errors: list[BaseException] = []

    def read() -> None:
        try:
            while not ended.is_set():
                numbers = [record.number for record in feed.since(0)]
                assert numbers == sorted(set(numbers))
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for client_id in range(1, 200):
        rig.detach(rig.granted(client_id), client_id, Role.CONSUMER)
    ended.set()
    reader.join()
    assert errors == []


def test_the_log_and_the_page_get_the_same(
    feed: TransitionFeed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    Rig(observer=observed_by(TransitionLog(), feed))
    logged = [r.transition for r in caplog.records if hasattr(r, "transition")]
    assert [(one["machine"], one["from"], one["to"]) for one in logged] == [
        (r.machine, r.origin, r.target) for r in feed.since(0) if r.kind == "state"
    ]
    assert logged
