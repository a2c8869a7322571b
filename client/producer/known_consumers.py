"""The known consumers of a producer, and the descriptor streams that they read.

The driver assigns these streams by ConsumerConfig; the producer opens and closes the publications,
one for each channel and number however many consumers read it (C-083, W-160 to W-167). Hellos and
QoS reports show that a consumer lives; a hello has its rate and its request for progress.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.ports import OfferResult, Publication
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    QosConsumer,
    StreamRequest,
    has_half_set_pair,
    stream_request,
)
from tensor_pool.protocol.wire.stream_pairs import STREAM_WIDE_ID

from ..rate_gate import RateGate

__all__ = ["AssignedDescriptors", "ConsumerEntry", "KnownConsumers", "assigned", "offer_patiently"]

_log = logging.getLogger("tensor_pool.client")

_ADMIN_RETRIES = 16  # a term rotation takes one or two
_MAX_CONSUMERS = 4096  # known at once; hellos are not authenticated

type _Address = tuple[str, int]


def offer_patiently(
    offer: Callable[[bytearray], OfferResult], descriptor: bytearray
) -> OfferResult:
    """Offer, and again while the transport goes on to its next term; wait for nothing else."""
    result = offer(descriptor)
    for _ in range(_ADMIN_RETRIES):
        if result is not OfferResult.ADMIN_ACTION:
            break
        result = offer(descriptor)
    return result


class AssignedDescriptors:
    """An assigned descriptor stream, its readers and its rate cap (W-165, W-170).

    Readers are consumer ids; STREAM_WIDE_ID stands for all consumers that come. The cap is that of
    a single reader; a stream with several carries every frame.
    """

    __slots__ = ("_gate", "publication", "readers")

    def __init__(self, publication: Publication) -> None:
        self.publication = publication
        self.readers: set[int] = set()
        self._gate: RateGate | None = None

    def cap(self, rate_hz: int) -> None:
        """Send at most `rate_hz` descriptors a second; 0 removes the cap."""
        if not rate_hz:
            self._gate = None
        elif self._gate is None or self._gate.period_ns != 1_000_000_000 // rate_hz:
            self._gate = RateGate(rate_hz)

    def offer(self, descriptor: bytearray, now: int) -> OfferResult | None:
        """Send unless the cap forbids it; None if it did."""
        gate = self._gate
        if gate is not None and not gate.is_due(now):
            return None
        result = offer_patiently(self.publication.offer, descriptor)
        if gate is not None and result is OfferResult.ACCEPTED:
            gate.advance(now)
        return result


class ConsumerEntry:
    """The state of one consumer of the stream, as its producer has received it."""

    def __init__(self, consumer_id: int) -> None:
        self.consumer_id = consumer_id
        self.heard_ns = 0
        self.epoch = 0  # that it has mapped, by its latest report
        self.max_rate_hz = 0
        self.hello: ConsumerHello | None = None
        self.control: Publication | None = None
        self.descriptor_address: _Address | None = None
        self.control_address: _Address | None = None

    @property
    def wants_progress(self) -> bool:
        return self.hello is not None and bool(self.hello.supports_progress)


class KnownConsumers:
    """All consumers of one producer's stream.

    `open_publication` opens a per-consumer publication; `retire` closes one that a publishing
    thread may still be using. `on_change` is called whenever something that publishing depends on
    changed.
    """

    def __init__(
        self,
        *,
        stale_after_ns: int,
        open_publication: Callable[[str, int], Publication],
        retire: Callable[[Publication], None],
        count: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        self.entries: dict[int, ConsumerEntry] = {}
        self.descriptors: dict[_Address, AssignedDescriptors] = {}
        self._stale_after_ns = stale_after_ns
        self._open = open_publication
        self._retire = retire
        self._count = count
        self._on_change = on_change
        self._wide: _Address | None = None

    def on_hello(self, hello: ConsumerHello, now: int) -> None:
        """A consumer lives and has sent its options; a request no longer made is withdrawn."""
        if len(self.entries) >= _MAX_CONSUMERS and hello.consumer_id not in self.entries:
            return
        entry = self._entry(hello.consumer_id)
        entry.heard_ns = now
        before = entry.hello
        entry.hello = hello
        entry.max_rate_hz = hello.max_rate_hz
        self._apply_rate(entry)
        changed = before != hello
        if not hello.descriptor_channel and entry.descriptor_address is not None:
            self._close_descriptors(entry)
        if not hello.control_channel and entry.control is not None:
            self._close_control(entry)
        if changed:
            self._on_change()

    def on_report(self, qos: QosConsumer, now: int) -> None:
        """A QoS report of a consumer."""
        if (entry := self.entries.get(qos.consumer_id)) is not None:
            entry.heard_ns = now
            entry.epoch = qos.epoch

    def on_config(self, config: ConsumerConfig, now: int) -> None:
        """The driver's answer: open, move, keep or close; a half-set pair changes nothing."""
        if has_half_set_pair(config):
            self._count("bad_message")
            return
        descriptor = assigned(config.descriptor_channel, config.descriptor_stream_id)
        control = assigned(config.control_channel, config.control_stream_id)
        if config.consumer_id == STREAM_WIDE_ID:
            if self._wide != descriptor:
                self._leave(self._wide, STREAM_WIDE_ID)
                self._wide = descriptor if self._join(descriptor, STREAM_WIDE_ID) else None
                self._on_change()
            return
        entry = self._entry(config.consumer_id)
        entry.heard_ns = max(entry.heard_ns, now)
        changed = False
        if descriptor != (entry.descriptor_address or ("", 0)):
            changed = True
            self._close_descriptors(entry)
            if self._join(descriptor, entry.consumer_id):
                entry.descriptor_address = descriptor
                self._apply_rate(entry)
        if control != (entry.control_address or ("", 0)):
            changed = True
            self._close_control(entry)
            entry.control = self._try_open(control)
            entry.control_address = control if entry.control is not None else None
        if changed:
            self._on_change()

    def on_lease_ended(self, consumer_id: int) -> None:
        """The consumer detached or lost its lease."""
        entry = self.entries.pop(consumer_id, None)
        if entry is not None:
            self._close(entry)
            self._on_change()

    def drop_stale(self, now: int) -> int:
        """Forget consumers that were silent for too long; returns how many (W-166)."""
        stale = [e for e in self.entries.values() if now - e.heard_ns > self._stale_after_ns]
        for entry in stale:
            self.on_lease_ended(entry.consumer_id)
        return len(stale)

    def clear(self) -> None:
        """Forget all consumers, and close what was opened for them."""
        for consumer_id in list(self.entries):
            self.on_lease_ended(consumer_id)
        self._leave(self._wide, STREAM_WIDE_ID)
        self._wide = None

    def forget_publications(self) -> None:
        """The transport is gone with everything on it; configs will come anew."""
        self.entries.clear()
        self.descriptors.clear()
        self._wide = None
        self._on_change()

    @property
    def wide_descriptors(self) -> AssignedDescriptors | None:
        """The descriptor stream that all consumers share by assignment, if it is open."""
        return self.descriptors.get(self._wide) if self._wide is not None else None

    def private_descriptors(self) -> tuple[AssignedDescriptors, ...]:
        """The other assigned descriptor streams that are open."""
        return tuple(d for address, d in self.descriptors.items() if address != self._wide)

    def interested(self) -> list[ConsumerEntry]:
        """Return the live consumers that asked for progress."""
        return [e for e in self.entries.values() if e.wants_progress]

    def _entry(self, consumer_id: int) -> ConsumerEntry:
        entry = self.entries.get(consumer_id)
        if entry is None:
            entry = self.entries[consumer_id] = ConsumerEntry(consumer_id)
        return entry

    def _apply_rate(self, entry: ConsumerEntry) -> None:
        descriptors = self.descriptors.get(entry.descriptor_address or ("", 0))
        if descriptors is not None:
            hz = entry.max_rate_hz if descriptors.readers == {entry.consumer_id} else 0
            descriptors.cap(hz)

    def _join(self, address: _Address, reader: int) -> bool:
        """Have the stream open for a reader; False if it cannot be opened, or is none."""
        descriptors = self.descriptors.get(address)
        if descriptors is None:
            publication = self._try_open(address)
            if publication is None:
                return False
            descriptors = self.descriptors[address] = AssignedDescriptors(publication)
        descriptors.readers.add(reader)
        if len(descriptors.readers) > 1:
            descriptors.cap(0)
        return True

    def _leave(self, address: _Address | None, reader: int) -> None:
        """The reader is gone; without any other the stream is closed."""
        descriptors = self.descriptors.get(address) if address is not None else None
        if address is None or descriptors is None:
            return
        descriptors.readers.discard(reader)
        if not descriptors.readers:
            del self.descriptors[address]
            self._count("private_streams_closed")
            self._on_change()  # so that no new frame uses it
            self._retire(descriptors.publication)

    def _try_open(self, address: _Address) -> Publication | None:
        if not address[0]:
            return None
        try:
            publication = self._open(*address)
        except TransportError as error:
            self._count("private_streams_failed")
            _log.warning("per-consumer stream %s %d cannot be opened: %s", *address, error)
            return None
        self._count("private_streams_opened")
        return publication

    def _close(self, entry: ConsumerEntry) -> None:
        self._close_descriptors(entry)
        self._close_control(entry)

    def _close_descriptors(self, entry: ConsumerEntry) -> None:
        self._leave(entry.descriptor_address, entry.consumer_id)
        entry.descriptor_address = None
        self._on_change()

    def _close_control(self, entry: ConsumerEntry) -> None:
        if entry.control is not None:
            self._count("private_streams_closed")
            self._retire(entry.control)
        entry.control = None
        entry.control_address = None
        self._on_change()


def assigned(channel: str, stream_id: int) -> tuple[str, int]:
    """The stream of a pair that is not half set; ("", 0) for none."""
    if stream_request(channel, stream_id) is StreamRequest.REQUESTED:
        return (channel, stream_id)
    return ("", 0)
