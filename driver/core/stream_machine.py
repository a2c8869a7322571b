"""StreamLifecycle: one tensor pool, from the first epoch to the last (D-030).

**Init**: no current epoch, nothing to attach to or announce. **Active**: a current epoch, with a
producer writing to it (*ProducerAttached*) or none yet (*Ready*). **Draining**: the driver is
stopping; leases may end, but nothing is provisioned any more. **Closed**: the stream is gone.

The caller asks `accepts_provisioning()` before it provisions an epoch for the stream. A second
producer is refused before its event gets here, so such an event is only counted.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import NamedTuple

from tensor_pool.hsm import (
    ANY,
    HANDLED,
    ROOT,
    Machine,
    Outcome,
    State,
    on_event,
    on_initial,
)
from tensor_pool.protocol.wire import ClockDomain, PayloadPool, ShmPoolAnnounce

from .configuration import Profile
from .events import (
    Cause,
    NewEpoch,
    NoSuccessor,
    Producer,
    ProducerEnd,
    StreamEvent,
)
from .ports import Regions, Target
from .services import Services

__all__ = ["HEADER_SLOT_BYTES", "LAYOUT_VERSION", "NO_EPOCHS", "EpochSpan", "StreamLifecycle"]

LAYOUT_VERSION = 1
HEADER_SLOT_BYTES = 256
REMEMBERED_EPOCHS = 64

_log = logging.getLogger(__name__)


class EpochSpan(NamedTuple):
    """First and last of the epochs that this instance gave a stream; 0 for none."""

    first: int
    last: int


NO_EPOCHS = EpochSpan(0, 0)


class StreamLifecycle(Machine):
    """The state of one stream.

    `profile` is None for a configured stream whose profile does not exist; no client can attach to
    it. `epochs_before` are those of an earlier stream with the same id (D-165).
    """

    def __init__(
        self,
        services: Services,
        stream_id: int,
        profile: Profile | None,
        *,
        dynamic: bool = False,
        epochs_before: EpochSpan = NO_EPOCHS,
    ) -> None:
        self._services = services
        self.stream_id = stream_id
        self.profile = profile
        self.dynamic = dynamic
        self.last_epoch = epochs_before.last
        self.regions: Regions | None = None
        self.payload_pools: tuple[PayloadPool, ...] = ()
        self.producer: Producer | None = None
        self.consumers: set[int] = set()
        self._first_epoch = epochs_before.first
        self._recent_epochs: deque[int] = deque(maxlen=REMEMBERED_EPOCHS)
        super().__init__(observer=services.observer)

    # -- states

    Live = State()
    Init = State(parent=Live)
    Active = State(parent=Live)
    Ready = State(parent=Active)
    ProducerAttached = State(parent=Active)
    Draining = State(parent=Live)
    Closed = State()

    _start = on_initial(ROOT, target=Live)
    _live_start = on_initial(Live, target=Init)
    _active_start = on_initial(Active, target=Ready)

    # -- guards

    def _is_later(self, new: NewEpoch) -> bool:
        return new.regions.epoch > self.last_epoch

    def _has_no_lease(self, _: object) -> bool:
        return self.producer is None and not self.consumers

    def _is_producer(self, end: ProducerEnd) -> bool:
        return self.producer is not None and self.producer.lease_id == end.lease_id

    def _has_successor(self, end: ProducerEnd) -> bool:
        successor = end.successor
        return (
            isinstance(successor, Regions)
            and self._is_producer(end)
            and successor.epoch > self.last_epoch
        )

    def _has_failed(self, end: ProducerEnd) -> bool:
        return end.successor is NoSuccessor.FAILED and self._is_producer(end)

    def _ends_for_good(self, end: ProducerEnd) -> bool:
        return end.successor is NoSuccessor.DRAINING and self._is_producer(end)

    # -- Init

    @on_event(Init, StreamEvent.STREAM_PROVISIONED, target=Ready, guard=_is_later)
    def _provisioned(self, new: NewEpoch) -> None:
        self._install(new.regions)
        if new.cause is not Cause.ATTACH:
            self.announce()

    # -- Active

    @on_event(Active, StreamEvent.CONSUMER_ATTACHED)
    def _consumer_attached(self, lease_id: int) -> Outcome:
        self.consumers.add(lease_id)
        self.announce()
        return HANDLED

    @on_event(Active, StreamEvent.EPOCH_BUMPED, guard=_is_later)
    def _epoch_bumped(self, new: NewEpoch) -> Outcome:
        self._retire()
        self._install(new.regions)
        if new.cause is not Cause.ATTACH:
            self.announce()
        return HANDLED

    # -- Active: Ready

    @on_event(Ready, StreamEvent.PRODUCER_ATTACHED, target=ProducerAttached)
    def _producer_attached(self, producer: Producer) -> None:
        self.producer = producer
        self._services.metrics.inc("streams_with_producer")
        self.announce()

    # -- Active: ProducerAttached

    @on_event(ProducerAttached, StreamEvent.PRODUCER_DETACHED, target=Ready, guard=_has_successor)
    def _producer_replaced_by_epoch(self, end: ProducerEnd) -> None:
        assert isinstance(end.successor, Regions)
        self._clear_producer()
        self._retire()
        self._install(end.successor)
        self.announce()

    @on_event(ProducerAttached, StreamEvent.PRODUCER_DETACHED, target=Init, guard=_has_failed)
    def _producer_lost(self, end: ProducerEnd) -> None:
        self._clear_producer()
        self._retire()

    # -- Init, Active, Draining

    @on_event(Init, StreamEvent.CONSUMER_DETACHED)
    @on_event(Active, StreamEvent.CONSUMER_DETACHED)
    @on_event(Draining, StreamEvent.CONSUMER_DETACHED)
    def _consumer_detached(self, lease_id: int) -> Outcome:
        self.consumers.discard(lease_id)
        return HANDLED

    # -- Draining

    @on_event(Draining, StreamEvent.DRIVER_DRAINING)
    def _still_draining(self, _: object) -> Outcome:
        return HANDLED

    @on_event(Draining, StreamEvent.PRODUCER_DETACHED, guard=_ends_for_good)
    def _producer_gone(self, end: ProducerEnd) -> Outcome:
        self._clear_producer()
        self._retire()
        return HANDLED

    # -- Live

    _drain = on_event(Live, StreamEvent.DRIVER_DRAINING, target=Draining)

    @on_event(Live, StreamEvent.DRIVER_SHUTDOWN, target=Closed)
    def _shut_down(self, _: object) -> None:
        # The mappings go with the store, and the files stay or go as configured.
        self._clear_producer()
        self.consumers.clear()
        self.regions = None

    @on_event(Live, StreamEvent.CLOSE, target=Closed, guard=_has_no_lease)
    def _close(self, _: object) -> None:
        self._retire()

    # -- Closed

    @on_event(Closed, StreamEvent.CLOSE, StreamEvent.DRIVER_SHUTDOWN, StreamEvent.DRIVER_DRAINING)
    def _already_closed(self, _: object) -> Outcome:
        return HANDLED

    # -- everywhere

    @on_event(ROOT, ANY)
    def _unhandled(self, _: object, event: object) -> Outcome:
        self._services.metrics.inc("stream_unhandled")
        return HANDLED

    # -- what others may ask

    @property
    def epoch(self) -> int | None:
        """The current epoch, if there is one."""
        return self.regions.epoch if self.regions is not None else None

    @property
    def epochs(self) -> EpochSpan:
        """All epochs so far, also those of earlier streams with this id."""
        return EpochSpan(self._first_epoch, self.last_epoch)

    @property
    def label(self) -> str:
        """Name of this machine in logs."""
        return f"stream {self.stream_id}"

    def accepts_provisioning(self) -> bool:
        """Return whether an epoch may be provisioned now (D-031)."""
        return self.is_in(self.Init) or self.is_in(self.Active)

    def has_assigned(self, epoch: int) -> bool:
        """Return whether this instance gave the stream this epoch, as far as is remembered.

        Old epochs are forgotten; in doubt the answer is yes (D-006).
        """
        recent = self._recent_epochs
        if epoch in recent:
            return True
        remembered_from = recent[0] if recent else self.last_epoch + 1
        return 0 < self._first_epoch <= epoch < remembered_from

    def announce(self) -> None:
        """Publish ShmPoolAnnounce, if there is a current epoch (D-150, D-152)."""
        regions = self.regions
        if regions is None:
            return
        producer = self.producer
        self._services.publisher.publish(
            Target.ANNOUNCE,
            ShmPoolAnnounce(
                self.stream_id,
                producer.client_id if producer is not None else 0,
                regions.epoch,
                self._services.time.now,
                ClockDomain.MONOTONIC,
                LAYOUT_VERSION,
                regions.nslots,
                HEADER_SLOT_BYTES,
                self.payload_pools,
                regions.header_uri,
            ),
        )

    # -- effects

    def _install(self, regions: Regions) -> None:
        self.regions = regions
        self.last_epoch = regions.epoch
        self._first_epoch = self._first_epoch or regions.epoch
        self._recent_epochs.append(regions.epoch)
        self.payload_pools = tuple(
            PayloadPool(pool.pool_id, pool.nslots, pool.stride_bytes, pool.uri)
            for pool in regions.pools
        )
        _log.info("stream %d has epoch %d", self.stream_id, regions.epoch)

    def _retire(self) -> None:
        if self.regions is not None:
            self._services.epochs.retire(self.stream_id, self.regions.epoch)
            self.regions = None
            self.payload_pools = ()

    def _clear_producer(self) -> None:
        if self.producer is not None:
            self.producer = None
            self._services.metrics.inc("streams_with_producer", -1)
