"""The conductor's side of a producer: mapping, metadata, QoS, and its known consumers."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Hashable, Iterator
from typing import Any, Protocol

from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.errors import ConfigError, TransportError
from tensor_pool.protocol.transport.ports import OfferResult, Publication, Transport
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    LeaseRevokeReason,
    PublishMode,
    QosConsumer,
    QosProducer,
    Role,
    ShmLeaseRevoked,
    TraceLinkSet,
    TraceParent,
)
from tensor_pool.protocol.wire.channel_terms import with_short_terms

from ..attachment.announce_filter import AcceptedAnnounce
from ..attachment.attachment import Attachment
from ..attachment.counter_names import PRODUCER_COUNTERS
from ..attachment.epoch_mapping import StreamMapping
from ..attachment.events import RoleEvent
from ..attachment.grant import Grant
from ..attachment.ports import AttachmentConductor
from ..blobs import BlobMessage
from ..config import ns
from ..doorbell import BellRope, bell_name
from ..metadata import Metadata
from ..shared_streams import LogicalStream
from .descriptor_streams import DescriptorStreams
from .known_consumers import AssignedDescriptors, KnownConsumers
from .machine import ProducerMachine
from .progress import NO_PROGRESS, ProgressPolicy, policy_for
from .slot_writer import SlotWriter

__all__ = ["ProducerAttachment"]

_log = logging.getLogger("tensor_pool.client")

_DEFAULT_MAX_LOANS = 8
_STALE_INTERVALS = 5  # of W-166
_ACTIVITY = "activity"
_QOS = "qos"
_METADATA = "metadata"
_BLOBS = "blobs"
_CONSUMERS = "consumers"
_CONSUMERS_PERIOD_NS = 500_000_000
_ROPE_KEPT_NS = 1_000_000_000  # a publishing thread may still hold the previous tuple of bells


class ProducerHandle(Protocol):
    """The producer in the application's hands, as far as its conductor exchanges things in it."""

    metadata: Metadata
    _state: SlotWriter | None
    _descriptors: DescriptorStreams
    _progress: ProgressPolicy
    _bells: tuple[Any, ...]

    def _connect(self, publication: Publication | None) -> None: ...

    def _assign(
        self, wide: AssignedDescriptors | None, private: tuple[AssignedDescriptors, ...]
    ) -> None: ...

    def _install(self, state: SlotWriter, max_loans: int) -> None: ...

    def _uninstall(self) -> None: ...

    def _retire(self, publication: Publication) -> None: ...


class ProducerAttachment(Attachment):
    """One producer as its conductor sees it."""

    producer: ProducerHandle

    def __init__(
        self,
        conductor: AttachmentConductor,
        *,
        stream_id: int,
        client_id: int,
        publish_mode: PublishMode,
        desired_node_id: int | None,
        stream_name: str = "",
    ) -> None:
        super().__init__(
            conductor,
            role=Role.PRODUCER,
            stream_id=stream_id,
            client_id=client_id,
            publish_mode=publish_mode,
            desired_node_id=desired_node_id,
            stream_name=stream_name,
            counters=Counters(PRODUCER_COUNTERS),
        )
        self._machine = ProducerMachine(self)
        self._epoch = 0
        self._blobs: deque[Iterator[BlobMessage]] = deque()
        self._unsent: BlobMessage | None = None
        self._progress_publication: Publication | None = None
        self._ropes: dict[int, BellRope] = {}
        self._loose_ropes: list[tuple[int, BellRope]] = []
        self._without_bell: set[int] = set()
        self.consumers = KnownConsumers(
            stale_after_ns=_STALE_INTERVALS
            * ns(max(self.config.hello_interval, self.config.qos_interval)),
            open_publication=lambda *address: conductor.transport.add_publication(*address),
            retire=lambda publication: self.producer._retire(publication),
            count=self.count,
            on_change=self._on_consumers_changed,
        )

    def serve(self, producer: ProducerHandle) -> None:
        """Work for this handle from now on. Raises TransportError."""
        self.producer = producer
        self.conductor.subscribe(LogicalStream.QOS)
        self.on_transport(self.conductor.transport)
        self.timers.arm(_QOS, 0)
        self.timers.arm(_CONSUMERS, _CONSUMERS_PERIOD_NS)

    @property
    def machine(self) -> ProducerMachine:
        return self._machine

    @property
    def is_ready(self) -> bool:
        return self._machine.current is ProducerMachine.Active

    @property
    def needs_clients(self) -> bool:
        return True  # the hellos of its consumers

    @property
    def needs_reports(self) -> bool:
        return True  # of its consumers

    def metrics(self) -> dict[str, int]:
        counted = self.counters.snapshot()
        counted["frames_published"] = self.producer._descriptors.published
        counted["bad_message"] += self.conductor.counters["bad_message"]
        return counted

    def finish(self) -> None:
        """The attachment is over: close what it opened."""
        self.consumers.clear()
        for rope in (*self._ropes.values(), *(rope for _, rope in self._loose_ropes)):
            rope.close()
        self._ropes.clear()
        self._loose_ropes.clear()
        for publication in (self.producer._descriptors.publication, self._progress_publication):
            if publication is not None:
                self.producer._retire(publication)
        self.producer._connect(None)
        self._progress_publication = None
        super().finish()

    # Transport

    def on_transport(self, transport: Transport) -> None:
        """Open the descriptor publication; after a loss, anew. Raises TransportError."""
        self.conductor.subscribe(LogicalStream.QOS)
        self._connect_shared(transport, with_short_terms(self.config.descriptor_channel))

    def _connect_shared(self, transport: Transport, channel: str) -> None:
        self.producer._connect(transport.add_publication(channel, self.config.descriptor_stream_id))

    def _lengthen_shared(self) -> None:
        """All consumers read the shared stream: give it the terms that are configured."""
        shared = self.producer._descriptors.publication
        if shared is None or shared.channel == self.config.descriptor_channel:
            return
        try:
            self._connect_shared(self.conductor.transport, self.config.descriptor_channel)
        except TransportError as error:
            _log.warning("stream %d keeps short terms: %s", self.stream_id, error)
        else:
            self.producer._retire(shared)

    def lose_transport(self) -> None:
        super().lose_transport()
        self._progress_publication = None
        self.consumers.forget_publications()

    # Messages

    def on_accepted_announce(self, announce: AcceptedAnnounce) -> None:
        """Another producer or a newer epoch owns the stream: stop (C-023)."""
        if self.is_ready and (
            announce.epoch > self._epoch
            or (announce.epoch == self._epoch and announce.producer_id != self.client_id)
        ):
            self._machine.dispatch(RoleEvent.STALE_EPOCH)
        state = self.producer._state
        if state is not None and announce.epoch == self._epoch:
            state.mapping.clock_domain = announce.clock_domain

    def on_foreign_notice(self, notice: ShmLeaseRevoked) -> None:
        if notice.role is Role.CONSUMER and notice.reason in LeaseRevokeReason:
            self.consumers.on_lease_ended(notice.client_id)

    def on_consumer_hello(self, hello: ConsumerHello) -> None:
        """A consumer of the stream lives, and has sent its options."""
        self.counters.inc("hellos_received")
        self.consumers.on_hello(hello, self.now())
        if hello.consumer_id not in self._ropes:
            self._take_rope(hello.consumer_id)

    def on_consumer_config(self, config: ConsumerConfig) -> None:
        """The driver assigned or withdrew per-consumer streams (C-083)."""
        self.consumers.on_config(config, self.now())

    def on_qos_consumer(self, qos: QosConsumer) -> None:
        self.consumers.on_report(qos, self.now())

    def count_readers(self) -> int:
        """Consumers that reported the epoch that is published now."""
        if not self.is_ready:
            return 0
        entries = list(self.consumers.entries.values())
        return sum(entry.epoch == self._epoch for entry in entries)

    # ProducerPort

    def map_granted(self, grant: Grant) -> StreamMapping:
        nslots = grant.regions.header_nslots
        limit = max(1, nslots // 2)
        if self.config.max_loans > limit and self.config.max_loans != _DEFAULT_MAX_LOANS:
            raise ConfigError(
                f"max_loans: {self.config.max_loans} must be at most half the {nslots} slots of"
                f" stream {grant.regions.stream_id}"
            )
        return self.conductor.mapping_rules.map_granted(grant.regions, writable=True)

    def start_publishing(self, mapping: StreamMapping) -> None:
        self._epoch = mapping.epoch
        if self.consumers.wide_descriptors is None:
            self._lengthen_shared()
        self.timers.arm(_ACTIVITY, ns(self.config.announce_period))
        max_loans = min(self.config.max_loans, max(1, mapping.nslots // 2))
        self.producer._install(SlotWriter(mapping), max_loans)
        if self.producer.metadata.version:
            self.announce_metadata()

    def stop_publishing(self) -> None:
        self.producer._uninstall()

    # Timers

    def on_role_timer(self, name: Hashable) -> None:
        if name == _QOS:
            self.timers.arm(_QOS, ns(self.config.qos_interval))
            self._send_qos()
        elif name == _ACTIVITY:
            self._refresh_activity()
        elif name == _METADATA:
            self._send_metadata()
        elif name == _BLOBS:
            self._send_blobs()
        elif name == _CONSUMERS:
            self.timers.arm(_CONSUMERS, _CONSUMERS_PERIOD_NS)
            now = self.now()
            self.consumers.drop_stale(now)
            self._close_loose_ropes(now)

    def _refresh_activity(self) -> None:
        """Refresh the stamps, which some drivers leave to the producer (W-053)."""
        state = self.producer._state
        if not self.is_ready or state is None:
            return  # armed again with the next mapping
        self.timers.arm(_ACTIVITY, ns(self.config.announce_period))
        state.mapping.refresh_activity()

    def _send_qos(self) -> None:
        state = self.producer._state
        if not self.is_ready or state is None:
            return
        qos = QosProducer(
            stream_id=self.stream_id,
            producer_id=self.client_id,
            epoch=state.epoch,
            current_seq=state.next_seq,
        )
        if self.conductor.send(LogicalStream.QOS, qos) is OfferResult.ACCEPTED:
            self.counters.inc("qos_sent")

    def announce_metadata(self) -> None:
        """Send the metadata in the next cycle, both messages, until they are accepted (C-081)."""
        self.timers.arm(_METADATA, 0)

    def _send_metadata(self) -> None:
        if not self.is_ready:
            return  # armed again with the next mapping
        for message in self.producer.metadata.messages(self.stream_id, self.client_id, self._epoch):
            result = self.conductor.send(LogicalStream.METADATA, message)
            if result is not OfferResult.ACCEPTED:
                retry_ns = 0 if result is not OfferResult.NOT_CONNECTED else ns(0.05)
                self.timers.arm(_METADATA, retry_ns)
                return
        self.counters.inc("metadata_sent")
        self.timers.arm(_METADATA, ns(self.config.announce_period))

    def link_traces(self, epoch: int, seq: int, trace_id: int, parents: tuple[int, ...]) -> None:
        """Send a TraceLinkSet in the next cycle, once; a refused one is dropped (S-153)."""
        message = TraceLinkSet(
            stream_id=self.stream_id,
            epoch=epoch,
            seq=seq,
            trace_id=trace_id,
            parents=tuple(TraceParent(parent) for parent in parents),
        )

        def send() -> None:
            if self.conductor.send(LogicalStream.METADATA, message) is not OfferResult.ACCEPTED:
                self.counters.inc("trace_links_dropped")

        self.request(send)

    def send_blob(self, messages: Iterator[BlobMessage]) -> None:
        """Send a blob's messages as the transport takes them, one blob after the other."""
        self._blobs.append(messages)
        self.timers.arm(_BLOBS, 0)

    def _send_blobs(self) -> None:
        while self._blobs:
            if self._unsent is None:
                self._unsent = next(self._blobs[0], None)
            if self._unsent is None:
                self._blobs.popleft()
                continue
            result = self.conductor.send(LogicalStream.METADATA, self._unsent)
            if result in (OfferResult.BACK_PRESSURED, OfferResult.ADMIN_ACTION):
                self.timers.arm(_BLOBS, 0)
                return
            self._unsent = None

    # Consumers: bells and progress

    def _take_rope(self, consumer_id: int) -> None:
        name = bell_name(
            self.config.aeron_dir,
            f"{self.config.control_channel} {self.config.control_stream_id}",
            self.stream_id,
            consumer_id,
        )
        try:
            self._ropes[consumer_id] = BellRope(name)
        except OSError as error:
            if consumer_id not in self._without_bell:
                self._without_bell.add(consumer_id)
                self.counters.inc("bells_missing")
                if self.counters["bells_missing"] == 1:
                    _log.info(
                        "stream %d: consumer %d cannot be woken by a bell, it looks for frames by"
                        " itself: %s",
                        *(self.stream_id, consumer_id, error),
                    )
        else:
            self._without_bell.discard(consumer_id)
            self._exchange_bells()

    def _exchange_bells(self) -> None:
        bells: tuple[Any, ...] = tuple(rope.semaphore for rope in self._ropes.values())
        self.producer._bells = bells

    def _close_loose_ropes(self, now: int) -> None:
        while self._loose_ropes and now - self._loose_ropes[0][0] > _ROPE_KEPT_NS:
            self._loose_ropes.pop(0)[1].close()

    def _on_consumers_changed(self) -> None:
        gone = [c for c in self._ropes if c not in self.consumers.entries]
        for consumer_id in gone:
            self._loose_ropes.append((self.now(), self._ropes.pop(consumer_id)))
        if gone:
            self._exchange_bells()
        self._without_bell &= self.consumers.entries.keys()
        self.producer._assign(self.consumers.wide_descriptors, self.consumers.private_descriptors())
        self.producer._progress = (
            policy_for(interested, self.config, self._progress_targets(interested))
            if (interested := self.consumers.interested())
            else NO_PROGRESS
        )

    def _progress_targets(self, interested: list[Any]) -> tuple[Publication, ...]:
        """Private control streams, and the shared one if some consumer has no other (W-183)."""
        targets = [entry.control for entry in interested if entry.control is not None]
        if any(entry.control is None for entry in interested):
            if self._progress_publication is None:
                with contextlib.suppress(TransportError):
                    self._progress_publication = self.conductor.transport.add_publication(
                        self.config.control_channel, self.config.control_stream_id
                    )
            if self._progress_publication is not None:
                targets.append(self._progress_publication)
        return tuple(targets)
