"""BridgeLifecycle: the bridge as a whole.

Init          nothing is open yet
Running       frames are carried
  Connected     the network side works
  Reconnecting  its media driver is gone; a timer runs until the next attempt
Draining      goodbyes go out and leases are given back
Stopped       everything is released
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

from .events import BridgeEvent as Event

__all__ = ["BridgeLifecycle", "BridgePort", "BridgeTimer"]


class BridgeTimer(enum.Enum):
    """The timers of the machine; when due, the event is dispatched."""

    RETRY = Event.RETRY_DUE
    SHUTDOWN = Event.SHUTDOWN_TIMEOUT


class BridgePort(Protocol):
    """Actions of the machine on the world."""

    def open_links(self) -> None: ...
    def close_links(self, why: str) -> None: ...

    def reopen_net(self) -> bool:
        """Try to open the network side; returns False if it is not to be had yet."""
        ...

    def start_draining(self) -> None:
        """Give up frames in work, send goodbyes, begin to give leases back."""
        ...

    def release_all(self) -> None: ...
    def arm_retry(self) -> None: ...
    def arm_shutdown(self) -> None: ...
    def disarm(self, timer: BridgeTimer) -> None: ...
    def count(self, name: str) -> None: ...


class BridgeLifecycle(Machine):
    """One bridge process."""

    Init = State()
    Serving = State()
    Running = State(parent=Serving)
    Connected = State(parent=Running)
    Reconnecting = State(parent=Running)
    Draining = State(parent=Serving)
    Stopped = State()

    start_init = on_initial(ROOT, target=Init)
    start_running = on_initial(Serving, target=Running)
    start_connected = on_initial(Running, target=Connected)

    def __init__(self, port: BridgePort) -> None:
        super().__init__()
        self.port = port

    start_ok = on_event(Init, Event.START_OK, target=Running)

    @on_event(Init, Event.START_FAILED, target=Stopped)
    @on_event(Serving, Event.FATAL_ERROR, target=Stopped)
    @on_event(Draining, Event.DRAIN_COMPLETE, Event.SHUTDOWN_TIMEOUT, target=Stopped)
    @on_event(Draining, Event.NET_LOST, target=Stopped)
    def _release(self, _: object) -> None:
        self.port.release_all()

    @on_event(Connected, Event.NET_LOST, target=Reconnecting)
    def _lose_net(self, why: str) -> None:
        self.port.count("net_losses")
        self.port.close_links(why)

    @on_event(Reconnecting, Event.RETRY_DUE)
    def _try_again(self, _: object) -> Outcome:
        if self.port.reopen_net():
            self.post(Event.NET_BACK)
        else:
            self.port.arm_retry()
        return HANDLED

    @on_event(Reconnecting, Event.NET_BACK, target=Connected)
    def _come_back(self, _: object) -> None:
        self.port.open_links()

    @on_entry(Reconnecting)
    def _wait(self) -> None:
        self.port.arm_retry()

    @on_exit(Reconnecting)
    def _stop_waiting(self) -> None:
        self.port.disarm(BridgeTimer.RETRY)

    shut_down = on_event(Running, Event.SHUTDOWN_REQUESTED, target=Draining)

    @on_entry(Draining)
    def _drain(self) -> None:
        self.port.arm_shutdown()
        self.port.start_draining()

    @on_exit(Draining)
    def _end_draining(self) -> None:
        self.port.disarm(BridgeTimer.SHUTDOWN)

    @on_event(Stopped, ANY)
    def _is_over(self, _: object, event: object) -> Outcome:
        return HANDLED

    @on_event(ROOT, ANY)
    def _count_unhandled(self, _: object, event: object) -> Outcome:
        self.port.count("bridge_unhandled")
        return HANDLED
