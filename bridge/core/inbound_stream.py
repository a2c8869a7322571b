"""InboundStream: one receive entry, from the session that owns it to the far stream.

Silent      no session owns the entry
Bound       one does
  Quiet       its source has no producer or no epoch: no lease here
  Attaching   the lease of the far stream is being asked for
  Ready       frames are delivered
    Idle        no frame is open
    Filling     chunks are written into a lent slot
    Skipping    the rest of a broken frame is ignored
  Refused     the local driver declined; a timer runs until the next attempt
  Looped      the path runs in a circle: nothing is produced
Holding     the owner is silent; the lease is kept for a while
Closed      over
"""

from __future__ import annotations

import enum
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

from .events import BegunFrame, SeenInfo
from .events import InboundEvent as Event

__all__ = ["InboundPort", "InboundStream", "InboundTimer"]


class InboundTimer(enum.Enum):
    """The timers of the machine; when due, the event is dispatched."""

    RETRY = Event.RETRY_DUE
    ASSEMBLY = Event.ASSEMBLY_TIMEOUT
    OWNER = Event.OWNER_SILENT
    HOLD = Event.HOLD_TIMEOUT


class InboundPort(Protocol):
    """Actions of the machine on the world."""

    @property
    def lease_is_live(self) -> bool: ...
    @property
    def owner_order(self) -> int:
        """Rank of the owning session; -1 without one."""
        ...

    def is_looped(self, seen: SeenInfo) -> bool: ...
    def is_same(self, seen: SeenInfo) -> bool:
        """Return True if instance, source epoch and decimation are as before."""
        ...

    def own(self, seen: SeenInfo) -> None: ...
    def disown(self) -> None: ...
    def update(self, seen: SeenInfo) -> None:
        """Clock window, lag, counts; a newer session of the same instance becomes the owner."""
        ...

    def set_source_epoch(self, epoch: int) -> None: ...
    def attach(self) -> None: ...
    def keep(self) -> None:
        """Keep the lease that has come, and publish the metadata under it."""
        ...

    def detach(self) -> None:
        """Give the lease back, or the request for it up; nothing without one."""
        ...

    def begin_frame(self, begun: BegunFrame) -> None:
        """Take a slot for the frame whose first chunk has come."""
        ...

    def commit(self) -> None: ...
    def abort_loan(self, counter: str) -> None:
        """Give the open slot up under `counter`; nothing without one."""
        ...

    def count(self, name: str) -> None: ...
    def arm_assembly(self) -> None: ...
    def arm_retry(self) -> None: ...
    def arm_hold(self) -> None: ...
    def disarm(self, timer: InboundTimer) -> None: ...


class InboundStream(Machine):
    """The state of one stream on its way in."""

    Silent = State()
    Bound = State()
    Quiet = State(parent=Bound)
    Attaching = State(parent=Bound)
    Ready = State(parent=Bound)
    Idle = State(parent=Ready)
    Filling = State(parent=Ready)
    Skipping = State(parent=Ready)
    Refused = State(parent=Bound)
    Looped = State(parent=Bound)
    Holding = State()
    Closed = State()

    start_silent = on_initial(ROOT, target=Silent)
    start_quiet = on_initial(Bound, target=Quiet)
    start_idle = on_initial(Ready, target=Idle)

    def __init__(self, port: InboundPort) -> None:
        super().__init__()
        self.port = port

    # Guards

    def _looped(self, seen: SeenInfo) -> bool:
        return self.port.is_looped(seen)

    def _alive(self, seen: SeenInfo) -> bool:
        return seen.info.has_producer and seen.info.epoch != 0

    def _not_alive(self, seen: SeenInfo) -> bool:
        return not self._alive(seen)

    def _changed(self, seen: SeenInfo) -> bool:
        return self._alive(seen) and not self.port.is_same(seen)

    def _newer_session(self, seen: SeenInfo) -> bool:
        return self.port.is_same(seen) and seen.order > self.port.owner_order

    def _resumes(self, seen: SeenInfo) -> bool:
        return (
            not self._looped(seen)
            and self._alive(seen)
            and self.port.is_same(seen)
            and self.port.lease_is_live
        )

    # A loop is left alone, whatever the state: first of all rows (B-121)

    @on_event(Quiet, Event.INFO, target=Looped, guard=_looped)
    @on_event(Attaching, Event.INFO, target=Looped, guard=_looped)
    @on_event(Ready, Event.INFO, target=Looped, guard=_looped)
    @on_event(Refused, Event.INFO, target=Looped, guard=_looped)
    def _refuse_loop(self, seen: SeenInfo) -> None:
        self.port.abort_loan("frames_incomplete")
        self.port.detach()
        self.port.own(seen)

    @on_event(Silent, Event.INFO, target=Looped, guard=_looped)
    def _own_looped(self, seen: SeenInfo) -> None:
        self.port.own(seen)

    # Silent

    @on_event(Silent, Event.INFO, target=Attaching, guard=_alive)
    def _own_and_attach(self, seen: SeenInfo) -> None:
        self.port.own(seen)
        self._attach(seen)

    @on_event(Silent, Event.INFO, target=Quiet)
    def _own_quiet(self, seen: SeenInfo) -> None:
        self.port.own(seen)

    # Quiet, Attaching, Refused

    @on_event(Quiet, Event.INFO, target=Attaching, guard=_alive)
    def _wake(self, seen: SeenInfo) -> None:
        self.port.update(seen)
        self._attach(seen)

    @on_event(Attaching, Event.LEASE_READY, target=Ready)
    def _take_lease(self, _: object) -> None:
        self.port.keep()

    @on_event(Attaching, Event.LEASE_REFUSED, target=Refused)
    def _note_refusal(self, _: object) -> None:
        self.port.detach()

    @on_entry(Refused)
    def _arm_retry(self) -> None:
        self.port.arm_retry()

    @on_exit(Refused)
    def _disarm_retry(self) -> None:
        self.port.disarm(InboundTimer.RETRY)

    @on_event(Refused, Event.RETRY_DUE, target=Attaching)
    def _ask_again(self, _: object) -> None:
        self.port.attach()

    @on_event(Attaching, Event.INFO, target=Quiet, guard=_not_alive)
    @on_event(Ready, Event.INFO, target=Quiet, guard=_not_alive)
    @on_event(Refused, Event.INFO, target=Quiet, guard=_not_alive)
    def _end_lease(self, seen: SeenInfo) -> None:
        self._give_up_lease()
        self.port.update(seen)

    @on_event(Attaching, Event.INFO, target=Attaching, guard=_changed)
    @on_event(Ready, Event.INFO, target=Attaching, guard=_changed)
    @on_event(Refused, Event.INFO, target=Attaching, guard=_changed)
    def _change_lease(self, seen: SeenInfo) -> None:
        self._give_up_lease()
        self.port.own(seen)
        self._attach(seen)

    # Ready

    @on_event(Ready, Event.LEASE_LOST, target=Attaching)
    def _lose_lease(self, _: object) -> None:
        self.port.abort_loan("frames_incomplete")
        self.port.count("local_lease_losses")

    @on_event(Ready, Event.INFO, target=Ready, guard=_newer_session)
    def _change_owner(self, seen: SeenInfo) -> None:
        self.port.abort_loan("frames_incomplete")
        self.port.own(seen)

    @on_event(Idle, Event.FRAME_BEGAN, target=Filling)
    @on_event(Skipping, Event.FRAME_BEGAN, target=Filling)
    def _begin(self, begun: BegunFrame) -> None:
        self.port.begin_frame(begun)

    @on_event(Idle, Event.FRAME_BROKEN, target=Skipping)
    def _break_unopened(self, counter: str) -> None:
        self.port.count(counter)

    @on_event(Filling, Event.FRAME_COMPLETED, target=Idle)
    def _complete(self, _: object) -> None:
        self.port.commit()

    @on_event(Filling, Event.FRAME_BEGAN)
    def _begin_another(self, begun: BegunFrame) -> Outcome:
        self.port.abort_loan("frames_incomplete")
        self.port.begin_frame(begun)
        return HANDLED

    @on_event(Filling, Event.FRAME_BROKEN, target=Skipping)
    def _break(self, counter: str) -> None:
        self.port.abort_loan(counter)

    @on_event(Filling, Event.ASSEMBLY_TIMEOUT, target=Skipping)
    def _time_out(self, _: object) -> None:
        self.port.abort_loan("assembly_timeouts")

    @on_entry(Filling)
    def _arm_assembly(self) -> None:
        self.port.arm_assembly()

    @on_exit(Filling)
    def _disarm_assembly(self) -> None:
        self.port.disarm(InboundTimer.ASSEMBLY)

    @on_event(Skipping, Event.FRAME_BROKEN)
    def _count_broken(self, counter: str) -> Outcome:
        self.port.count(counter)
        return HANDLED

    # Looped

    @on_entry(Looped)
    def _count_loop(self) -> None:
        self.port.count("loops_refused")

    @on_event(Looped, Event.INFO, guard=_looped)
    def _stay_looped(self, seen: SeenInfo) -> Outcome:
        self.port.update(seen)
        return HANDLED

    @on_event(Looped, Event.INFO, target=Attaching, guard=_alive)
    def _leave_loop(self, seen: SeenInfo) -> None:
        self.port.own(seen)
        self._attach(seen)

    @on_event(Looped, Event.INFO, target=Quiet)
    def _leave_loop_quietly(self, seen: SeenInfo) -> None:
        self.port.own(seen)

    # Bound

    @on_event(Bound, Event.INFO)
    def _update(self, seen: SeenInfo) -> Outcome:
        self.port.update(seen)
        return HANDLED

    @on_event(Ready, Event.OWNER_SILENT, Event.SESSION_GONE, target=Holding)
    def _hold(self, _: object) -> None:
        self.port.abort_loan("frames_incomplete")

    @on_event(Bound, Event.OWNER_SILENT, Event.SESSION_GONE, target=Silent)
    def _fall_silent(self, _: object) -> None:
        self.port.disown()
        self.port.detach()

    # Holding

    @on_entry(Holding)
    def _arm_hold(self) -> None:
        self.port.arm_hold()

    @on_exit(Holding)
    def _disarm_hold(self) -> None:
        self.port.disarm(InboundTimer.HOLD)

    @on_event(Holding, Event.INFO, target=Ready, guard=_resumes)
    def _resume(self, seen: SeenInfo) -> None:
        self.port.own(seen)

    @on_event(Holding, Event.INFO, target=Looped, guard=_looped)
    def _resume_looped(self, seen: SeenInfo) -> None:
        self.port.detach()
        self.port.own(seen)

    @on_event(Holding, Event.INFO, target=Attaching, guard=_alive)
    def _start_over(self, seen: SeenInfo) -> None:
        self.port.detach()
        self.port.own(seen)
        self._attach(seen)

    @on_event(Holding, Event.INFO, target=Quiet)
    def _start_over_quietly(self, seen: SeenInfo) -> None:
        self.port.detach()
        self.port.own(seen)

    @on_event(Holding, Event.HOLD_TIMEOUT, target=Silent)
    @on_event(Holding, Event.LEASE_LOST, target=Silent)
    def _end_holding(self, _: object) -> None:
        self.port.detach()
        self.port.disown()

    # Any state

    @on_event(Silent, Event.CLOSE, target=Closed)
    @on_event(Bound, Event.CLOSE, target=Closed)
    @on_event(Holding, Event.CLOSE, target=Closed)
    def _close(self, _: object) -> None:
        self._give_up_lease()

    @on_event(Closed, ANY)
    def _is_over(self, _: object, event: object) -> Outcome:
        return HANDLED

    @on_event(ROOT, ANY)
    def _count_unhandled(self, _: object, event: object) -> Outcome:
        self.port.count("inbound_unhandled")
        return HANDLED

    def _attach(self, seen: SeenInfo) -> None:
        self.port.set_source_epoch(seen.info.epoch)
        self.port.attach()

    def _give_up_lease(self) -> None:
        self.port.abort_loan("frames_incomplete")
        self.port.detach()
