"""The descriptor streams of a producer: where a committed frame is announced, and with what result.

There are up to three kinds: the stream-wide one that the driver assigns, the shared one of the
configuration, and a private one for each consumer that asked for it (C-083, W-160 to W-167).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.transport.ports import OfferResult, Publication

from .known_consumers import AssignedDescriptors, offer_patiently
from .results import PublishStatus

__all__ = ["LOG_PERIOD_NS", "DescriptorStreams"]

_log = logging.getLogger("tensor_pool.client")
LOG_PERIOD_NS = 1_000_000_000  # between two warnings about the same thing
_ACCEPTED = OfferResult.ACCEPTED
_NOT_CONNECTED = OfferResult.NOT_CONNECTED
_REFUSAL_COUNTERS = {
    OfferResult.BACK_PRESSURED: "descriptor_backpressured",
    OfferResult.ADMIN_ACTION: "descriptor_admin_action",
    OfferResult.NOT_CONNECTED: "descriptor_not_connected",
    OfferResult.CLOSED: "descriptor_closed",
    OfferResult.MAX_POSITION_EXCEEDED: "descriptor_max_position_exceeded",
    OfferResult.ERROR: "descriptor_errors",
}
_STALLED = "a subscriber does not poll, or the channel's term length is too small"
_REASONS = {
    OfferResult.CLOSED: "the connection to the media driver is gone; the client connects anew",
    OfferResult.NOT_CONNECTED: "no consumer is connected",
    OfferResult.MAX_POSITION_EXCEEDED: "the publication is used up; attach again",
    OfferResult.ERROR: "the transport reports an error",
}


def _offer_nowhere(_: bytearray) -> OfferResult:
    return OfferResult.CLOSED


class DescriptorStreams:
    """The publications that carry the descriptors of one producer.

    `Producer.publish` offers to `first_offer` and `second_offer` itself, because a call would cost
    every small frame; whatever these do not settle goes to `settle`. `published` counts the frames
    that reached a stream, and `refused` the descriptors in a row that reached none.
    """

    __slots__ = (
        "_counters",
        "_logged_ns",
        "_offers",
        "_stream_id",
        "_wide",
        "first_offer",
        "not_refused",
        "private",
        "publication",
        "published",
        "refused",
        "second_offer",
    )

    def __init__(self, stream_id: Callable[[], int], counters: Counters) -> None:
        self._stream_id = stream_id
        self._counters = counters
        self._logged_ns = -LOG_PERIOD_NS
        self._wide: Publication | None = None
        self.publication: Publication | None = None
        """The shared publication."""
        self.private: tuple[AssignedDescriptors, ...] = ()
        self.published = 0
        self.refused = 0
        self._arrange()

    def connect(self, publication: Publication | None) -> None:
        """Send by this shared publication from now on; None: by none."""
        self.publication = publication
        self._arrange()

    def assign(
        self, wide: AssignedDescriptors | None, private: tuple[AssignedDescriptors, ...]
    ) -> None:
        """Send on these streams too from now on."""
        self._wide = wide.publication if wide is not None else None
        self.private = private
        self._arrange()

    def _arrange(self) -> None:
        """Put the stream-wide publication first, if there is one, then the shared one."""
        publications = [p for p in (self._wide, self.publication) if p is not None]
        self._offers: tuple[Callable[[bytearray], OfferResult], ...] = tuple(
            p.offer for p in publications
        ) or (_offer_nowhere,)
        self.first_offer: Callable[[bytearray], object] = (
            publications[0].quick_offer if publications else _offer_nowhere
        )
        self.second_offer: Callable[[bytearray], object] | None = (
            publications[1].quick_offer if publications[1:] else None
        )
        self.not_refused: tuple[object, ...] = (True, *(p.not_connected for p in publications[1:]))

    def send_run(
        self, descriptor: bytearray, seq_cell: memoryview, seqs: range, now: int
    ) -> list[PublishStatus]:
        """Send one descriptor a sequence, which differ in nothing else, and return the statuses.

        A second stream without a subscriber at the first descriptor is left out for the others.
        """
        statuses = [PublishStatus.PUBLISHED] * len(seqs)
        first_offer, second_offer = self.first_offer, self.second_offer
        left_out: object = True  # the answer of a second stream that is not there
        is_plain = not self.private
        for place, seq in enumerate(seqs):
            seq_cell[0] = seq
            first: object = False
            second: object = False
            try:
                first = first_offer(descriptor)
                second = left_out if second_offer is None else second_offer(descriptor)
                if second is not True and second in self.not_refused:
                    left_out, second_offer = second, None
            except Exception:  # noqa: BLE001 - `offer` returns what it was
                pass
            if first is True and second in self.not_refused and is_plain and not self.refused:
                self.published += 1
            else:
                statuses[place] = self.settle(descriptor, (first is True, second is True), now)
        return statuses

    def send(self, descriptor: bytearray, now: int) -> PublishStatus:
        """Send a descriptor as `Producer.publish` does: first in the way that mostly suffices."""
        first: object = False
        second: object = False
        try:
            first = self.first_offer(descriptor)
            second = True if self.second_offer is None else self.second_offer(descriptor)
        except Exception:  # noqa: BLE001 - `offer` returns what it was
            pass
        if first is True and second in self.not_refused and not self.private and not self.refused:
            self.published += 1
            return PublishStatus.PUBLISHED
        return self.settle(descriptor, (first is True, second is True), now)

    def settle(self, descriptor: bytearray, is_sent: tuple[bool, bool], now: int) -> PublishStatus:
        """Send the descriptor wherever it is not sent yet, and count the refusals.

        `is_sent` is for the stream-wide and the shared stream, in this order.
        """
        results = [
            _ACCEPTED if sent else offer_patiently(offer, descriptor)
            for offer, sent in zip(self._offers, is_sent, strict=False)
        ]
        reached = _ACCEPTED in results
        if any(result is not _NOT_CONNECTED for result in results):
            # As a rule all consumers read the same one of the two.
            results = [result for result in results if result is not _NOT_CONNECTED]
        for private in self.private:
            private_result = private.offer(descriptor, now)
            if private_result is None or private_result is _ACCEPTED:
                reached = True
            else:
                results.append(private_result)
        no_reader = not reached and all(r is _NOT_CONNECTED for r in results)
        for refused in results:
            if refused is not _ACCEPTED and not (no_reader and refused is results[0]):
                self._counters.inc(_REFUSAL_COUNTERS[refused])
        if reached:
            self.published += 1
            if self.refused:
                _log.warning(
                    "stream %d: descriptors are accepted again, after %d that were not",
                    self._stream_id(),
                    self.refused,
                )
                self.refused = 0
            return PublishStatus.PUBLISHED
        if no_reader:
            self._counters.inc("drops_no_subscriber")
            return PublishStatus.NO_SUBSCRIBERS
        self.refused += 1
        if now - self._logged_ns >= LOG_PERIOD_NS:
            self._logged_ns = now
            _log.warning(
                "stream %d: descriptor not accepted (%s); %s",
                self._stream_id(),
                results[0].value,
                _REASONS.get(results[0], _STALLED),
            )
        return PublishStatus.BACK_PRESSURED
