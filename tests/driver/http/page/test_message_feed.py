"""The messages of the page's sequence diagram."""

from __future__ import annotations

from tensor_pool.driver.core.driver_machine import DriverLifecycle
from tensor_pool.driver.core.stream_machine import StreamLifecycle
from tensor_pool.driver.runtime.message_feed import MessageFeed
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    LeaseRevokeReason,
    Message,
    Mode,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    ShutdownReason,
)

STREAM = 10_000
MACHINE = object.__new__(DriverLifecycle)


class Talk:
    """A feed, and a clock that goes on by 1 ms with each message."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.feed = MessageFeed(lambda: self.now_ms)

    def to_driver(self, message: Message) -> None:
        self.now_ms += 1
        self.feed.trace_dispatch_start(MACHINE, "event", message)

    def from_driver(self, message: Message) -> None:
        self.now_ms += 1
        self.feed.sent(message)

    def keepalive(self, lease_id: int = 5) -> None:
        self.to_driver(ShmLeaseKeepalive(lease_id, STREAM, 7, Role.PRODUCER, 0))

    def announce(self, epoch: int) -> None:
        self.from_driver(ShmPoolAnnounce(STREAM, 0, epoch, 0, 1, 1, 8, 256))  # type: ignore[arg-type]

    def shown(self) -> list[tuple[str, int, str, int]]:
        return [
            ("to" if r.to_driver else "all" if r.to_all else "from", r.client_id, r.text, r.count)
            for r in self.feed.since(0)
        ]


def test_D_199_a_lease_from_its_request_to_its_end() -> None:
    talk = Talk()
    talk.to_driver(ShmAttachRequest(1, STREAM, 7, Role.PRODUCER, 1))
    talk.from_driver(ShmAttachResponse(1, ResponseCode.OK, 5))
    talk.announce(1_000_042)
    talk.to_driver(ShmAttachRequest(2, STREAM, 8, Role.PRODUCER, 1))
    talk.from_driver(ShmAttachResponse(2, ResponseCode.REJECTED))
    talk.to_driver(ShmDetachRequest(3, 5, STREAM, 7, Role.PRODUCER))
    talk.from_driver(ShmDetachResponse(3, ResponseCode.OK))
    talk.from_driver(ShmLeaseRevoked(0, 6, STREAM, 9, Role.CONSUMER, LeaseRevokeReason.EXPIRED))
    talk.from_driver(ShmLeaseRevoked(0, 5, STREAM, 7, Role.PRODUCER, LeaseRevokeReason.DETACHED))
    talk.from_driver(ShmDriverShutdown(0, ShutdownReason.NORMAL))
    assert talk.shown() == [
        ("to", 7, "attach as producer", 1),
        ("from", 7, "granted", 1),
        ("all", 0, "announce epoch …000042", 1),
        ("to", 8, "attach as producer", 1),
        ("from", 8, "refused: REJECTED", 1),
        ("to", 7, "detach", 1),
        ("from", 7, "detached", 1),
        ("all", 9, "lease of consumer 9 ended: EXPIRED", 1),
        ("all", 7, "lease of producer 7 ended: DETACHED", 1),
        ("all", 0, "shutdown: NORMAL", 1),
    ]
    records = talk.feed.since(0)
    assert {record.stream_id for record in records[:-1]} == {STREAM}
    tones = {record.text: record.tone for record in records if record.tone}
    assert tones == {
        "granted": "good",
        "refused: REJECTED": "bad",
        "lease of consumer 9 ended: EXPIRED": "bad",
        "shutdown: NORMAL": "bad",
    }
    assert not talk.feed._askers


def test_D_199_repetitions_are_counted_and_sent_as_changes_of_one_record() -> None:
    talk = Talk()
    talk.keepalive()
    talk.keepalive(6)
    talk.announce(1)
    seen = talk.feed.since(0)[-1].revision
    talk.keepalive()
    talk.announce(1)
    talk.announce(2)
    changed = talk.feed.since(seen)
    assert [(r.text[:9], r.count, r.at_ms, r.last_ms) for r in changed] == [
        ("keepalive", 2, 1, 4),
        ("announce ", 2, 3, 5),
        ("announce ", 1, 6, 6),
    ]
    assert len(talk.feed.since(0)) == 4
    assert talk.feed.since(changed[-1].revision) == []


def test_D_199_the_configuration_of_all_consumers_is_shown_as_a_message_to_all() -> None:
    talk = Talk()
    for consumer_id in (0, 9):
        talk.from_driver(ConsumerConfig(STREAM, consumer_id, True, Mode.STREAM))
    assert talk.shown() == [("all", 0, "configuration", 1), ("from", 9, "configuration", 1)]


def test_D_199_a_message_is_shown_once_and_not_for_each_machine_that_gets_it() -> None:
    talk = Talk()
    hello = ConsumerHello(STREAM, 9, True, True, Mode.STREAM, 0, 1)
    talk.to_driver(hello)
    talk.to_driver(hello)
    talk.feed.trace_dispatch_start(object.__new__(StreamLifecycle), "event", hello)
    assert talk.shown() == [("to", 9, "hello", 2)]


def test_D_199_what_is_kept_is_bounded() -> None:
    talk = Talk()
    for lease_id in range(1200):
        talk.keepalive(lease_id)
        talk.to_driver(ShmAttachRequest(lease_id, STREAM, 7, Role.PRODUCER, 1))
    talk.keepalive(0)  # its first record is gone
    feed = talk.feed
    assert len(feed.since(0)) == 300
    assert feed.since(0)[-1].count == 1
    assert len(feed._repeated) <= 600
    assert len(feed._askers) == 1000
