"""ConsumerMachine: which mapping a consumer reads from, if any.

Unmapped    nothing is mapped and nothing is being waited for here: before the attach, between
leases,
            or while shared memory is switched off
Mapped      every region of one epoch is mapped and checked: the only state that delivers frames
Remapping   the mapping has become void; a newer announce is awaited, or is just being mapped
Backoff     no announce came or it could not be mapped; a timer runs before the lease is renewed

An epoch below `min_epoch` is never mapped again: that is the barrier against coming back to regions
which are known to be abandoned (W-146, W-147).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

from tensor_pool.hsm import (
    ANY,
    HANDLED,
    ROOT,
    Machine,
    Outcome,
    State,
    on_entry,
    on_event,
    on_exit,
    on_initial,
)

from ..attachment.announce_filter import AcceptedAnnounce
from ..attachment.backoff import backoff_delay_ns, jitter
from ..attachment.epoch_mapping import StreamMapping
from ..attachment.events import ConnectionEvent
from ..attachment.events import RoleEvent as Event
from ..config import ClientConfig

__all__ = ["ConsumerMachine", "ConsumerPort", "ConsumerTimer"]


class ConsumerTimer(enum.Enum):
    """The timers of the machine; when due, the event is dispatched."""

    ANNOUNCE_WAIT = Event.ANNOUNCE_TIMEOUT
    BACKOFF = Event.BACKOFF_ELAPSED


class ConsumerPort(Protocol):
    """The effects that the consumer machine may have."""

    @property
    def is_closing(self) -> bool:
        """True if the application has closed the handle."""
        ...

    @property
    def lease_is_live(self) -> bool: ...

    @property
    def highest_epoch(self) -> int:
        """The highest epoch accepted so far from announces or the attach response."""
        ...

    def start_reading(self, mapping: StreamMapping) -> None:
        """Deliver frames from the mapping, with sequence tracking starting anew."""
        ...

    def stop_reading(self) -> None:
        """Deliver nothing more and unmap (W-142); also when nothing is mapped."""
        ...

    def release(self, mapping: StreamMapping) -> None:
        """Unmap regions that are not going to be used."""
        ...

    def map_announced(self, announce: AcceptedAnnounce) -> StreamMapping:
        """Map what an announce describes; raises ShmError with nothing left mapped."""
        ...

    def revalidate(self, announce: AcceptedAnnounce) -> Event | None:
        """Read the mapped superblocks again (C-066); what is wrong with them, or None."""
        ...

    def keep_error(self, error: Exception) -> None: ...
    def arm(self, timer: ConsumerTimer, delay_ns: int) -> None: ...
    def disarm(self, timer: ConsumerTimer) -> None: ...
    def tell_connection(self, event: ConnectionEvent, argument: object = None) -> None: ...
    def call_back(self, name: str, *arguments: object) -> None: ...
    def count(self, counter: str) -> None: ...


class ConsumerMachine(Machine):
    """The consumer side of one attachment."""

    Unmapped = State()
    Mapped = State()
    Remapping = State()
    Backoff = State()

    start_unmapped = on_initial(ROOT, target=Unmapped)

    def __init__(
        self, port: ConsumerPort, config: ClientConfig, *, jitter: Callable[[], float] = jitter
    ) -> None:
        super().__init__()
        self.port = port
        self.config = config
        self.mapping: StreamMapping | None = None
        self.min_epoch = 0
        self.mapped_announce_ts = 0
        self.failures = 0
        self.shm_enabled = True
        self._jitter = jitter

    # Unmapped

    def _is_unwanted(self, _: object) -> bool:
        return self.port.is_closing or not self.shm_enabled

    @on_event(Unmapped, Event.MAP_OK, guard=_is_unwanted)
    def _release_unwanted(self, mapping: StreamMapping) -> Outcome:
        self.port.release(mapping)
        return HANDLED

    @on_event(Unmapped, Event.MAP_OK, target=Mapped)
    @on_event(Remapping, Event.MAP_OK, target=Mapped)
    def _install_granted(self, mapping: StreamMapping) -> None:
        self._install(mapping, announce_timestamp_ns=0)

    @on_event(Unmapped, Event.MAP_FAILED)
    def _report_failure(self, error: Exception) -> Outcome:
        self.port.tell_connection(ConnectionEvent.MAPPING_FAILED, error)
        return HANDLED

    def _may_map(self, _: object) -> bool:
        return self.port.lease_is_live and self.shm_enabled

    @on_event(Unmapped, Event.ANNOUNCE_ACCEPTED, target=Remapping, guard=_may_map)
    def _map_first(self, announce: AcceptedAnnounce) -> None:
        self.min_epoch = announce.epoch
        self._try_map(announce)

    @on_event(Unmapped, Event.LEASE_LOST)
    def _has_nothing_to_lose(self, _: object) -> Outcome:
        return HANDLED

    @on_event(Unmapped, Event.SHM_ENABLED)
    def _enable_shm(self, _: object) -> Outcome:
        self.shm_enabled = True
        return HANDLED

    # Mapped

    def _is_same_epoch(self, announce: AcceptedAnnounce) -> bool:
        return announce.epoch == self._mapped_epoch

    @on_event(Mapped, Event.ANNOUNCE_ACCEPTED, guard=_is_same_epoch)
    def _revalidate(self, announce: AcceptedAnnounce) -> Outcome:
        invalid = self.port.revalidate(announce)
        if invalid is not None:
            self.post(invalid, announce)
        return HANDLED

    def _is_newer_epoch(self, announce: AcceptedAnnounce) -> bool:
        return announce.epoch > self._mapped_epoch

    @on_event(Mapped, Event.ANNOUNCE_ACCEPTED, target=Remapping, guard=_is_newer_epoch)
    @on_event(Mapped, Event.INVALID_SUPERBLOCK, target=Remapping)
    def _map_again(self, announce: AcceptedAnnounce) -> None:
        self._unmap()
        self.min_epoch = announce.epoch
        self._try_map(announce)

    def _concerns_mapping(self, notice_timestamp_ns: int) -> bool:
        return notice_timestamp_ns > self.mapped_announce_ts

    @on_event(Mapped, Event.PRODUCER_REVOKED, target=Remapping, guard=_concerns_mapping)
    def _lose_producer(self, _: int) -> None:
        self._unmap()
        self.min_epoch = self.port.highest_epoch + 1

    @on_event(Mapped, Event.PRODUCER_REVOKED)
    def _is_behind_us(self, _: int) -> Outcome:
        return HANDLED

    @on_event(
        Mapped,
        Event.INVALID_STALE_ACTIVITY,
        Event.INVALID_NEWER_EPOCH,
        Event.INVALID_SEQ_REGRESSION,
        target=Remapping,
    )
    def _wait_for_announce(self, _: object) -> None:
        self._unmap()
        self.min_epoch = self.port.highest_epoch

    @on_event(Mapped, Event.INVALID_PID_CHANGED, target=Remapping)
    def _wait_for_newer_epoch(self, _: object) -> None:
        self.min_epoch = self._mapped_epoch + 1
        self._unmap()

    # Remapping

    @on_entry(Remapping)
    def _wait(self) -> None:
        self.port.arm(ConsumerTimer.ANNOUNCE_WAIT, self.config.announce_wait_ns)

    @on_exit(Remapping)
    def _stop_waiting(self) -> None:
        self.port.disarm(ConsumerTimer.ANNOUNCE_WAIT)

    def _reaches_barrier(self, announce: AcceptedAnnounce) -> bool:
        return announce.epoch >= self.min_epoch

    @on_event(Remapping, Event.ANNOUNCE_ACCEPTED, guard=_reaches_barrier)
    def _try_announced(self, announce: AcceptedAnnounce) -> Outcome:
        self._try_map(announce)
        return HANDLED

    @on_event(Remapping, Event.ANNOUNCE_ACCEPTED)
    def _is_abandoned_epoch(self, _: object) -> Outcome:
        return HANDLED

    @on_event(Remapping, Event.PRODUCER_REVOKED)
    def _raise_barrier(self, _: int) -> Outcome:
        self.min_epoch = max(self.min_epoch, self.port.highest_epoch + 1)
        self._wait()
        return HANDLED

    def _mapped_enough(self, mapping: StreamMapping) -> bool:
        return mapping.epoch >= self.min_epoch

    @on_event(Remapping, Event.REMAP_OK, target=Mapped, guard=_mapped_enough)
    def _install_announced(self, mapping: StreamMapping) -> None:
        self.port.count("remaps")
        self._install(mapping, announce_timestamp_ns=mapping.announce_timestamp_ns)

    @on_event(Remapping, Event.REMAP_FAILED, target=Backoff)
    def _keep_error(self, error: Exception) -> None:
        self.port.keep_error(error)

    announce_missed = on_event(Remapping, Event.ANNOUNCE_TIMEOUT, target=Backoff)

    # Backoff

    @on_entry(Backoff)
    def _back_off(self) -> None:
        self._unmap()
        self.failures += 1
        delay_ns = backoff_delay_ns(self.config, self.failures, jitter=self._jitter)
        self.port.arm(ConsumerTimer.BACKOFF, delay_ns)

    @on_exit(Backoff)
    def _stop_backing_off(self) -> None:
        self.port.disarm(ConsumerTimer.BACKOFF)

    @on_event(Backoff, Event.BACKOFF_ELAPSED, target=Unmapped)
    def _renew_lease(self, _: object) -> None:
        self.port.tell_connection(ConnectionEvent.REATTACH, "remap failed")

    @on_event(Backoff, Event.ANNOUNCE_ACCEPTED, Event.PRODUCER_REVOKED)
    def _is_too_late(self, _: object) -> Outcome:
        return HANDLED  # the filter of announces has noted the epoch

    # Several or all states

    @on_event(Mapped, Event.LEASE_LOST, target=Unmapped)
    @on_event(Remapping, Event.LEASE_LOST, target=Unmapped)
    @on_event(Backoff, Event.LEASE_LOST, target=Unmapped)
    def _lose_lease(self, why: str) -> None:
        self._unmap()
        self.port.call_back("on_unmapped", why)

    @on_event(ROOT, Event.SHM_DISABLED, target=Unmapped)
    def _disable_shm(self, fallback_uri: str) -> None:
        self.shm_enabled = False
        self._unmap()
        self.port.call_back("on_fallback", fallback_uri)

    @on_event(ROOT, Event.CLOSE_REQUESTED, target=Unmapped)
    def _close(self, _: object) -> None:
        self._unmap()

    @on_event(ROOT, Event.SHUTDOWN, target=Unmapped)
    def _shut_down(self, _: object) -> None:
        self._unmap()
        self.port.call_back("on_shutdown")

    @on_event(ROOT, Event.MAP_OK, Event.REMAP_OK)
    def _release_late(self, mapping: StreamMapping) -> Outcome:
        self.port.release(mapping)
        return HANDLED

    @on_event(ROOT, Event.REMAP_FAILED)
    def _fails_too_late(self, _: object) -> Outcome:
        return HANDLED

    @on_event(ROOT, ANY)
    def _count_unhandled(self, _: object, event: object) -> Outcome:
        self.port.count("consumer_unhandled")
        return HANDLED

    # Effects

    @property
    def _mapped_epoch(self) -> int:
        return self.mapping.epoch if self.mapping is not None else 0

    def _install(self, mapping: StreamMapping, *, announce_timestamp_ns: int) -> None:
        self.failures = 0
        self.mapping = mapping
        self.mapped_announce_ts = announce_timestamp_ns
        self.port.start_reading(mapping)
        self.port.call_back("on_active")

    def _unmap(self) -> None:
        self.mapping = None
        self.port.stop_reading()

    def _try_map(self, announce: AcceptedAnnounce) -> None:
        """Map now; the outcome is an event like any other, after this step."""
        try:
            mapping = self.port.map_announced(announce)
        except Exception as error:  # noqa: BLE001 - the machine gets it as an event
            self.post(Event.REMAP_FAILED, error)
        else:
            self.post(Event.REMAP_OK, mapping)
