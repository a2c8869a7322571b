"""OutboundStream: one source stream on one outgoing link.

NoSource   the source is not mapped
Sourced    it is
  Held       the link is down: frames are skipped
  Linked     frames are sent
    Idle       no frame is in work; with a rate, some may wait in the queue
    Sending    chunks of one frame go out
Closed     over; the goodbye may still be on its way

The queue, the frame in work and the counts belong to the port.
"""

from __future__ import annotations

import enum
from typing import Any, Protocol

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

from .events import OutboundEvent as Event
from .ports import TakenFrame

__all__ = ["OutboundPort", "OutboundStream", "OutboundTimer"]


class OutboundTimer(enum.Enum):
    """The timers of the machine; when due, the event is dispatched."""

    SEND = Event.SEND_TIMEOUT
    RATE = Event.RATE_DUE
    INFO = Event.INFO_DUE


class OutboundPort(Protocol):
    """Actions of the machine on the world."""

    @property
    def link_is_up(self) -> bool: ...
    @property
    def source_is_known(self) -> bool:
        """False while the bridge has just started and its source may still be mapped (B-050)."""
        ...

    @property
    def may_begin(self) -> bool:
        """True if `max_rate_hz` lets a frame begin now (B-051)."""
        ...

    @property
    def queue_is_empty(self) -> bool: ...
    def set_epoch(self, epoch: int) -> None: ...
    def set_producer(self, present: bool) -> None: ...
    def send_info(self) -> None:
        """Send an info before anything else, as soon as the link takes it."""
        ...

    def send_metadata(self) -> None: ...
    def begin(self, frame: TakenFrame) -> None:
        """Read the frame's slot; post FRAME_DROPPED if it cannot be sent (B-044)."""
        ...

    def begin_next(self) -> None:
        """Begin the oldest frame of the queue, or with a rate the newest (B-051)."""
        ...

    def queue(self, frame: TakenFrame) -> None:
        """Keep the frame, at the cost of the oldest one if there are too many (B-043)."""
        ...

    def give_up(self, why: str) -> None:
        """Drop the frame in work, if there is one, under the counter `dropped_<why>`."""
        ...

    def empty_queue(self, why: str) -> None: ...
    def count(self, name: str) -> None: ...
    def arm_send_timeout(self) -> None: ...
    def arm_rate(self) -> None:
        """Let RATE_DUE come when the next period opens, if frames wait."""
        ...

    def disarm(self, timer: OutboundTimer) -> None: ...


class OutboundStream(Machine):
    """The state of one stream on its way out."""

    NoSource = State()
    Sourced = State()
    Held = State(parent=Sourced)
    Linked = State(parent=Sourced)
    Idle = State(parent=Linked)
    Sending = State(parent=Linked)
    Closed = State()

    start_without = on_initial(ROOT, target=NoSource)
    start_held = on_initial(Sourced, target=Held)
    start_idle = on_initial(Linked, target=Idle)

    def __init__(self, port: OutboundPort) -> None:
        super().__init__()
        self.port = port

    def _link_up(self, _: object) -> bool:
        return self.port.link_is_up

    # NoSource

    @on_event(NoSource, Event.SOURCE_MAPPED, target=Linked, guard=_link_up)
    @on_event(NoSource, Event.SOURCE_MAPPED, target=Held)
    def _take_source(self, epoch: int) -> None:
        self.port.set_epoch(epoch)

    def _may_report(self, _: object) -> bool:
        return self.port.link_is_up and self.port.source_is_known

    @on_event(NoSource, Event.LINK_UP, guard=_may_report)
    @on_event(NoSource, Event.INFO_DUE, guard=_may_report)
    def _report_no_source(self, _: object) -> Outcome:
        self.port.send_info()
        return HANDLED

    # Held

    come_up = on_event(Held, Event.LINK_UP, target=Linked)

    @on_event(Held, Event.FRAME_TAKEN)
    def _skip(self, _: object) -> Outcome:
        self.port.count("skipped_link")
        return HANDLED

    # Linked

    @on_entry(Linked)
    def _introduce(self) -> None:
        self.port.send_info()
        self.port.send_metadata()

    @on_event(Linked, Event.LINK_DOWN, target=Held)
    def _lose_link(self, _: object) -> None:
        self._drop_all("link")

    @on_event(Linked, Event.PRODUCER_SEEN, Event.PRODUCER_GONE)
    def _tell_producer(self, _: object) -> Outcome:
        self.port.set_producer(self.event is Event.PRODUCER_SEEN)
        self.port.send_info()
        return HANDLED

    # Idle

    def _may_begin(self, _: object) -> bool:
        return self.port.may_begin

    @on_event(Idle, Event.FRAME_TAKEN, target=Sending, guard=_may_begin)
    def _begin(self, frame: TakenFrame) -> None:
        self.port.begin(frame)

    @on_event(Idle, Event.FRAME_TAKEN)
    def _wait_for_rate(self, frame: TakenFrame) -> Outcome:
        self.port.queue(frame)
        self.port.arm_rate()
        return HANDLED

    @on_event(Idle, Event.RATE_DUE, target=Sending)
    def _begin_newest(self, _: object) -> None:
        self.port.begin_next()

    @on_entry(Idle)
    def _arm_rate(self) -> None:
        self.port.arm_rate()

    @on_exit(Idle)
    def _disarm_rate(self) -> None:
        self.port.disarm(OutboundTimer.RATE)

    # Sending

    @on_entry(Sending)
    def _arm_timeout(self) -> None:
        self.port.arm_send_timeout()

    @on_exit(Sending)
    def _disarm_timeout(self) -> None:
        self.port.disarm(OutboundTimer.SEND)

    @on_event(Sending, Event.FRAME_TAKEN)
    def _queue(self, frame: TakenFrame) -> Outcome:
        self.port.queue(frame)
        return HANDLED

    def _has_next(self, _: object) -> bool:
        return not self.port.queue_is_empty and self.port.may_begin

    @on_event(Sending, Event.FRAME_SENT, target=Sending, guard=_has_next)
    def _sent_and_next(self, _: object) -> None:
        self.port.count("frames_sent")
        self.port.begin_next()

    @on_event(Sending, Event.FRAME_SENT, target=Idle)
    def _sent(self, _: object) -> None:
        self.port.count("frames_sent")

    @on_event(Sending, Event.FRAME_DROPPED, target=Sending, guard=_has_next)
    def _dropped_and_next(self, why: str) -> None:
        self.port.give_up(why)
        self.port.begin_next()

    @on_event(Sending, Event.FRAME_DROPPED, target=Idle)
    def _dropped(self, why: str) -> None:
        self.port.give_up(why)

    @on_event(Sending, Event.SEND_TIMEOUT)
    def _stall(self, _: object) -> Outcome:
        self.post(Event.FRAME_DROPPED, "stalled")
        return HANDLED

    # Sourced

    @on_event(Sourced, Event.SOURCE_MAPPED, target=Linked, guard=_link_up)
    @on_event(Sourced, Event.SOURCE_MAPPED, target=Held)
    def _exchange_source(self, epoch: int) -> None:
        self._drop_all("overwritten")
        self.port.set_epoch(epoch)

    @on_event(Sourced, Event.SOURCE_LOST, target=NoSource)
    def _lose_source(self, _: object) -> None:
        self._drop_all("overwritten")
        self.port.set_epoch(0)
        if self.port.link_is_up:
            self.port.send_info()

    # Several states

    @on_event(NoSource, Event.PRODUCER_SEEN, Event.PRODUCER_GONE)
    @on_event(Held, Event.PRODUCER_SEEN, Event.PRODUCER_GONE)
    def _note_producer(self, _: object) -> Outcome:
        self.port.set_producer(self.event is Event.PRODUCER_SEEN)
        return HANDLED

    @on_event(Sourced, Event.INFO_DUE, guard=_link_up)
    def _repeat_info(self, _: object) -> Outcome:
        self.port.send_info()
        return HANDLED

    @on_event(NoSource, Event.INFO_DUE, Event.LINK_UP, Event.LINK_DOWN)
    @on_event(Sourced, Event.INFO_DUE)
    def _say_nothing(self, _: object) -> Outcome:
        return HANDLED

    @on_event(NoSource, Event.CLOSE, target=Closed)
    @on_event(Sourced, Event.CLOSE, target=Closed)
    def _close(self, _: object) -> None:
        self._drop_all("link")
        self.port.set_epoch(0)
        self.port.set_producer(False)
        if self.port.link_is_up:
            self.port.send_info()  # the goodbye

    @on_event(Closed, ANY)
    def _is_over(self, _: object, event: object) -> Outcome:
        return HANDLED

    @on_event(ROOT, ANY)
    def _count_unhandled(self, _: object, event: Any) -> Outcome:
        self.port.count("outbound_unhandled")
        return HANDLED

    def _drop_all(self, why: str) -> None:
        self.port.give_up(why)
        self.port.empty_queue(why)
