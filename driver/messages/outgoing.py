"""The proxy: encodes the driver's messages and sends them, now or later (§15).

Control messages and announces have a publication each, or share one when they are configured to
go to the same channel and stream; then they also share one queue, so that they stay in order.
A slow reader can delay messages but never block the driver or lose a notice (D-175).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from tensor_pool.protocol.transport.ports import OfferResult, Publication
from tensor_pool.protocol.wire import (
    Message,
    ResponseCode,
    ShmAttachResponse,
    ShmPoolAnnounce,
    encode,
)

from ..core.configuration import PoliciesTable
from ..core.events import DriverEvent, Revocation
from ..core.ports import Clock, Metrics, PublishOutcome, Target
from .outbox import KINDS, Entry, Kind, Outbox

__all__ = ["UNDELIVERABLE", "Proxy"]

UNDELIVERABLE = "attach response undeliverable"
FINAL_FLUSH_NS = 500_000_000
FINAL_PAUSE_NS = 1_000_000

_log = logging.getLogger(__name__)

_SENT = {
    Kind.ATTACH_RESPONSE: "attach_responses",
    Kind.DETACH_RESPONSE: "detach_responses",
    Kind.CONFIG: "configs_sent",
    Kind.NOTICE: "lease_revoked",
    Kind.ANNOUNCE: "announces",
}
_DROPPED = {
    Kind.ATTACH_RESPONSE: "attach_response_drops",
    Kind.DETACH_RESPONSE: "detach_response_drops",
    Kind.CONFIG: "config_drops",
    Kind.DISCOVERY: "discovery_answer_drops",
    Kind.ANNOUNCE: "announce_drops",
}
_RETRY = (OfferResult.BACK_PRESSURED, OfferResult.ADMIN_ACTION)


class Proxy:
    """Publisher of the driver. Before `connect` and after `disconnect` it drops everything.

    `sent` is called with each message that the transport has taken.
    """

    def __init__(
        self,
        policies: PoliciesTable,
        clock: Clock,
        metrics: Metrics,
        post: Callable[[DriverEvent, object], None],
        sent: Callable[[Message], None] | None = None,
    ) -> None:
        self._limit = policies.outbox_limit
        self._response_ttl_ns = policies.response_ttl_ms * 1_000_000
        self._clock = clock
        self._metrics = metrics
        self._post = post
        self._sent = sent
        self._control_publication: Publication | None = None
        self._announce_publication: Publication | None = None
        self._control = Outbox()
        self._announce = self._control
        self._held: dict[int, Entry] = {}  # announces that wait for a notice, by stream
        self._has_failed = False
        self._is_lost = False

    def connect(self, control: Publication, announce: Publication) -> None:
        """Publish from now on; both may be the same publication."""
        self._control_publication = control
        self._announce_publication = announce
        self._announce = self._control if announce is control else Outbox()
        self._is_lost = self._has_failed = False

    def lose(self) -> None:
        """Drop all waiting messages but notices, which `connect` sends later (D-146)."""
        self._is_lost = True
        self.disconnect()
        waiting = [*self._control.take_all(), *self._held.values()]
        if self._announce is not self._control:
            waiting += self._announce.take_all()
            self._announce = self._control
        self._held.clear()
        for entry in waiting:
            if entry.kind is Kind.NOTICE:
                self._control.append(entry)
            else:
                self._drop(entry)
        self._gauge()

    def disconnect(self) -> None:
        """Drop everything from now on."""
        self._control_publication = self._announce_publication = None

    @property
    def control_backlog(self) -> int:
        """Messages waiting in the control outbox."""
        if self._announce is self._control:
            return len(self._control) - self._control.announces
        return len(self._control)

    @property
    def announce_backlog(self) -> int:
        """Announces waiting in the announce outbox."""
        return self._announce.announces + len(self._held)

    @property
    def is_full(self) -> bool:
        """Return whether no further answer could be queued (D-066)."""
        return self.control_backlog >= self._limit

    def publish(self, target: Target, message: Message) -> PublishOutcome:
        """Offer at once if nothing waits before this message; else queue it (D-171, D-173).

        Only an attach response raises what encoding or the transport did not foresee: its
        request can still be refused (D-064). Any other message is dropped then, since its
        event has happened.
        """
        entry = Entry(KINDS[type(message)], message, self._clock.monotonic_ns())
        if self._is_lost:
            return self._publish_later(entry)
        if target is Target.ANNOUNCE:
            return self._publish_announce(entry)
        return self._publish_in_order(entry, self._control, self._control_publication)

    @property
    def has_backlog(self) -> bool:
        """Return whether messages wait to be offered again."""
        return bool(self._control or self._announce or self._held)

    def flush(self) -> int:
        """Drop answers that are too old, then offer what waits until an offer fails (D-172).

        Returns how many messages left.
        """
        if self._is_lost or not self.has_backlog:
            return 0
        self._drop_stale_responses()
        left = self._flush(self._control, self._control_publication)
        for stream_id in [s for s in self._held if not self._control.has_notice(s)]:
            self._announce.append(self._held.pop(stream_id))
        if self._announce is not self._control:
            left += self._flush(self._announce, self._announce_publication)
        self._gauge()
        return left

    def flush_finally(self, pause: Callable[[], None]) -> None:
        """Keep flushing for at most 500 ms, then drop what remains (D-176).

        `pause` lets about a millisecond pass.
        """
        give_up_ns = self._clock.monotonic_ns() + FINAL_FLUSH_NS
        for _ in range(FINAL_FLUSH_NS // FINAL_PAUSE_NS):
            self.flush()
            if self._is_lost or not self._waiting() or self._clock.monotonic_ns() >= give_up_ns:
                break
            pause()
        remaining = self._waiting()
        if remaining:
            self._metrics.inc("shutdown_flush_drops", remaining)
            _log.warning("%d messages could not be delivered before the stop", remaining)
        self._control = Outbox()
        self._announce = (
            self._control if self._announce_publication is self._control_publication else Outbox()
        )
        self._held.clear()
        self._gauge()

    def _publish_later(self, entry: Entry) -> PublishOutcome:
        """Keep a notice for the time when the transport is back; drop anything else."""
        if entry.kind is not Kind.NOTICE:
            self._drop(entry)
            return PublishOutcome.DROPPED
        self._control.append(entry)
        self._gauge()
        return PublishOutcome.QUEUED

    def _publish_announce(self, entry: Entry) -> PublishOutcome:
        if self._announce is not self._control and self._control.has_notice(entry.stream_id):
            # The notice is the cause of this epoch and goes first, whatever publication (D-091).
            self._announce.discard_announce(entry.stream_id)
            self._held[entry.stream_id] = entry
            self._gauge()
            return PublishOutcome.QUEUED
        return self._publish_in_order(entry, self._announce, self._announce_publication)

    def _publish_in_order(
        self, entry: Entry, outbox: Outbox, publication: Publication | None
    ) -> PublishOutcome:
        if not outbox:
            must_answer = entry.kind is Kind.ATTACH_RESPONSE
            outcome = (self._offer if must_answer else self._offer_safely)(entry, publication)
            if outcome is not PublishOutcome.QUEUED:
                return outcome
        if self.is_full and entry.kind in (
            Kind.ATTACH_RESPONSE,
            Kind.DETACH_RESPONSE,
            Kind.CONFIG,
            Kind.DISCOVERY,
        ):
            self._drop(entry)
            return PublishOutcome.DROPPED
        outbox.append(entry)
        self._gauge()
        return PublishOutcome.QUEUED

    def _flush(self, outbox: Outbox, publication: Publication | None) -> int:
        left = 0
        while (entry := outbox.head()) is not None:
            self._metrics.inc("publish_retries")
            if self._offer_safely(entry, publication) is PublishOutcome.QUEUED:
                break
            outbox.pop()
            left += 1
        return left

    def _offer_safely(self, entry: Entry, publication: Publication | None) -> PublishOutcome:
        try:
            return self._offer(entry, publication)
        except Exception:  # noqa: BLE001 - counted and logged
            self._metrics.inc("handler_errors")
            _log.exception("a message could not be sent", extra={"kind": entry.kind.value})
            self._drop(entry)
            return PublishOutcome.DROPPED

    def _offer(self, entry: Entry, publication: Publication | None) -> PublishOutcome:
        """Hand one message to the transport; QUEUED means that it has to wait."""
        if publication is None:
            self._drop(entry)
            return PublishOutcome.DROPPED
        result = publication.offer(self._encoded(entry))
        if result is OfferResult.ACCEPTED:
            if (name := _SENT.get(entry.kind)) is not None:
                self._metrics.inc(name)
            if self._sent is not None:
                self._sent(entry.message)
            return PublishOutcome.SENT
        if result in _RETRY:
            return PublishOutcome.QUEUED
        if result is OfferResult.NOT_CONNECTED:
            if entry.kind is not Kind.ANNOUNCE:
                return PublishOutcome.QUEUED
            self._drop(entry)
            return PublishOutcome.DROPPED
        self._drop(entry)
        self._fail(publication, result)
        return PublishOutcome.DROPPED

    def _encoded(self, entry: Entry) -> bytes:
        message = entry.message
        if isinstance(message, ShmPoolAnnounce):
            now = self._clock.monotonic_ns()
            stamped = msgspec.structs.replace(message, announce_timestamp_ns=now)
            return encode(stamped, checked=False)
        if entry.data is None:
            entry.data = encode(message, checked=False)
        return entry.data

    def _drop_stale_responses(self) -> None:
        before_ns = self._clock.monotonic_ns() - self._response_ttl_ns
        while (entry := self._control.pop_response_queued_before(before_ns)) is not None:
            self._drop(entry)

    def _drop(self, entry: Entry) -> None:
        if (name := _DROPPED.get(entry.kind)) is not None:
            self._metrics.inc(name)
        message = entry.message
        if (
            isinstance(message, ShmAttachResponse)
            and message.code == ResponseCode.OK
            and message.lease_id is not None
        ):
            self._post(DriverEvent.REVOKE_LEASE, Revocation(message.lease_id, UNDELIVERABLE))

    def _fail(self, publication: Publication, result: OfferResult) -> None:
        if not self._has_failed:
            self._has_failed = True
            text = (
                f"publication {publication.channel} stream {publication.stream_id}: {result.value}"
            )
            self._post(DriverEvent.TRANSPORT_LOST, text)

    def _waiting(self) -> int:
        return self.control_backlog + self.announce_backlog

    def _gauge(self) -> None:
        self._metrics.set("outbox_control", self.control_backlog)
        self._metrics.set("outbox_announce", self.announce_backlog)
