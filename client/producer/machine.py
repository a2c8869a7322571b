"""ProducerMachine: whether a producer may write, and into which mapping.

Idle     no regions and none expected soon: before the first attach, after a close or a shutdown
Active   regions are mapped and the lease is live: the only state in which frames are published
Paused   the lease was lost; the connection is getting another one
"""

from __future__ import annotations

from typing import Protocol

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

from ..attachment.epoch_mapping import StreamMapping
from ..attachment.events import ConnectionEvent
from ..attachment.events import RoleEvent as Event

__all__ = ["ProducerMachine", "ProducerPort"]


class ProducerPort(Protocol):
    """The effects that the producer machine may have."""

    @property
    def is_closing(self) -> bool:
        """True if the application has closed the handle."""
        ...

    def start_publishing(self, mapping: StreamMapping) -> None:
        """Use the mapping from sequence 0 on; metadata, if there is any, becomes dirty."""
        ...

    def stop_publishing(self) -> None:
        """Publish nothing more, invalidate open loans, unmap."""
        ...

    def release(self, mapping: StreamMapping) -> None:
        """Unmap regions that are not going to be used."""
        ...

    def tell_connection(self, event: ConnectionEvent, argument: object = None) -> None:
        """Post an event to the connection machine."""
        ...

    def call_back(self, name: str, *arguments: object) -> None:
        """Tell the application."""
        ...

    def count(self, counter: str) -> None: ...


class ProducerMachine(Machine):
    """The producer side of one attachment."""

    Idle = State()
    Active = State()
    Paused = State()

    start_idle = on_initial(ROOT, target=Idle)

    def __init__(self, port: ProducerPort) -> None:
        super().__init__()
        self.port = port

    # Idle

    def _is_closing(self, _: object) -> bool:
        return self.port.is_closing

    @on_event(Idle, Event.MAP_OK, guard=_is_closing)
    def _release_unwanted(self, mapping: StreamMapping) -> Outcome:
        self.port.release(mapping)
        return HANDLED

    @on_event(Idle, Event.MAP_OK, target=Active)
    @on_event(Paused, Event.MAP_OK, target=Active)
    def _start(self, mapping: StreamMapping) -> None:
        self.port.start_publishing(mapping)
        self.port.call_back("on_active")

    @on_event(Idle, Event.MAP_FAILED)
    @on_event(Paused, Event.MAP_FAILED)
    def _report_failure(self, error: Exception) -> Outcome:
        self.port.tell_connection(ConnectionEvent.MAPPING_FAILED, error)
        return HANDLED

    @on_event(Idle, Event.LEASE_LOST, Event.CLOSE_REQUESTED, Event.SHUTDOWN)
    @on_event(Paused, Event.LEASE_LOST)
    def _has_nothing_to_lose(self, _: object) -> Outcome:
        return HANDLED

    # Active

    @on_event(Active, Event.LEASE_LOST, target=Paused)
    def _pause(self, why: str) -> None:
        self.port.stop_publishing()
        self.port.call_back("on_paused", why)

    @on_event(Active, Event.STALE_EPOCH, target=Paused)
    def _yield_to_newer_epoch(self, _: object) -> None:
        why = "epoch superseded"
        self._pause(why)
        self.port.tell_connection(ConnectionEvent.REATTACH, why)

    @on_event(Active, Event.CLOSE_REQUESTED, target=Idle)
    @on_event(Paused, Event.CLOSE_REQUESTED, target=Idle)
    def _close(self, _: object) -> None:
        self.port.stop_publishing()

    @on_event(Active, Event.SHUTDOWN, target=Idle)
    @on_event(Paused, Event.SHUTDOWN, target=Idle)
    def _shut_down(self, _: object) -> None:
        self.port.stop_publishing()
        self.port.call_back("on_shutdown")

    @on_event(Active, Event.MAP_OK)
    def _release_late(self, mapping: StreamMapping) -> Outcome:
        self.port.release(mapping)
        return HANDLED

    # Any state

    @on_event(ROOT, ANY)
    def _count_unhandled(self, _: object, event: object) -> Outcome:
        self.port.count("producer_unhandled")
        return HANDLED
