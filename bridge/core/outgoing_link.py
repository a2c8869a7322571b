"""OutgoingLink: one publication towards one place.

Down      no receiver; nothing is queued
Up        a receiver is there
  Flowing   offers are accepted
  Choked    none was for a while: the window is full, or the receiver is slow
Closed    the link is over
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
    on_entry,
    on_event,
    on_exit,
    on_initial,
)

from .events import LinkEvent as Event

__all__ = ["LinkPort", "OutgoingLink"]


class LinkPort(Protocol):
    """Actions of the machine on the world."""

    @property
    def choke_ns(self) -> int: ...
    def link_up(self) -> None:
        """Tell every outbound stream of the link, in ascending wire id."""
        ...

    def link_down(self) -> None: ...
    def set_choked(self, choked: bool) -> None: ...
    def count(self, name: str) -> None: ...


class OutgoingLink(Machine):
    """The state of one outgoing link."""

    Down = State()
    Up = State()
    Flowing = State(parent=Up)
    Choked = State(parent=Up)
    Closed = State()

    start_down = on_initial(ROOT, target=Down)
    start_flowing = on_initial(Up, target=Flowing)

    def __init__(self, port: LinkPort) -> None:
        super().__init__()
        self.port = port

    connected = on_event(Down, Event.CONNECTED, target=Up)
    disconnected = on_event(Up, Event.DISCONNECTED, target=Down)
    closed_down = on_event(Down, Event.CLOSE, target=Closed)
    closed_up = on_event(Up, Event.CLOSE, target=Closed)

    def _is_long(self, since_ns: int) -> bool:
        return since_ns >= self.port.choke_ns

    choke = on_event(Flowing, Event.REFUSED, target=Choked, guard=_is_long)

    @on_event(Flowing, Event.REFUSED)
    @on_event(Choked, Event.REFUSED)
    @on_event(Flowing, Event.ACCEPTED)
    def _go_on(self, _: object) -> Outcome:
        return HANDLED

    flow = on_event(Choked, Event.ACCEPTED, target=Flowing)

    @on_entry(Up)
    def _come_up(self) -> None:
        self.port.link_up()

    @on_exit(Up)
    def _go_down(self) -> None:
        self.port.link_down()

    @on_entry(Choked)
    def _enter_choked(self) -> None:
        self.port.set_choked(True)

    @on_exit(Choked)
    def _leave_choked(self) -> None:
        self.port.set_choked(False)

    @on_event(Closed, ANY)
    def _is_over(self, _: object, event: object) -> Outcome:
        return HANDLED

    @on_event(ROOT, ANY)
    def _count_unhandled(self, _: object, event: object) -> Outcome:
        self.port.count("link_unhandled")
        return HANDLED
