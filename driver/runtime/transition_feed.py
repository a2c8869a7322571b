"""Recent events of the driver: transitions, grants, ends, refusals and epochs.

Written by the driver's thread, read by any other. A record costs the driver a few microseconds and
the feed keeps a bounded number of them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import msgspec

from tensor_pool.hsm import Machine, State
from tensor_pool.protocol.wire import Role

from ..core.events import LeaseEvent, Refusal
from ..core.lease_machine import LeaseLifecycle
from ..core.snapshots import state_path
from ..core.stream_machine import StreamLifecycle
from .transition_log import TransitionWatch

__all__ = ["FeedRecord", "TransitionFeed"]

_KEPT = 400

_ENDS = {
    LeaseEvent.DETACH: "returned by its client",
    LeaseEvent.LEASE_TIMEOUT: "expired, its client fell silent",
    LeaseEvent.REVOKE: "revoked by the driver",
}


class FeedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    `kind` is "state", "grant", "end", "refusal" or "epoch". `chart` is the machine's class, `event`
    the event's name as in the diagrams. `machine` identifies the machine: "driver", "stream 7",
    "lease 42". Lease ids are strings, since they exceed 2^53.
    """

    number: int
    at_ms: int
    kind: str
    machine: str
    chart: str
    text: str
    origin: str = ""
    target: str = ""
    event: str = ""
    stream_id: int = 0
    client_id: int = 0
    lease_id: str = ""


class TransitionFeed(TransitionWatch):
    """An observer of a driver's machines that remembers the latest of what they did."""

    def __init__(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        super().__init__()
        self._now_ms = now_ms
        self._number = 0
        self._records: deque[FeedRecord] = deque(maxlen=_KEPT)
        self._epochs: dict[int, int | None] = {}

    @property
    def last_number(self) -> int:
        """The number of the latest record; for the driver's thread."""
        return self._number

    def since(self, number: int) -> list[FeedRecord]:
        """Records after the one of that number, oldest first; from any thread."""
        while True:
            try:
                return [record for record in self._records if record.number > number]
            except RuntimeError:  # the driver's thread added one meanwhile
                continue

    def trace_dispatch_start(self, machine: Machine, event: object, arg: object) -> None:
        super().trace_dispatch_start(machine, event, arg)
        if event is LeaseEvent.ATTACH_REJECT and isinstance(arg, Refusal):
            self._note(machine, "refusal", f"refused ({arg.code.name}): {arg.text}", event=event)

    def trace_dispatch_result(
        self, machine: Machine, state: State, event: object, result: object
    ) -> None:
        # A new epoch does not always change the state.
        if isinstance(machine, StreamLifecycle):
            self._look_at_epoch(machine)

    def settled(self, machine: Machine, began: State) -> None:
        origin, target, event = state_path(began), state_path(machine.current), machine.event
        kind, text = "state", f"{began.name if origin else 'start'} → {machine.current.name}"
        if isinstance(machine, LeaseLifecycle):
            if not origin or not machine.lease_id:
                return  # an attempt that has not been decided, or was refused, which was noted
            role = Role(machine.role).name.lower() if machine.role in set(Role) else "client"
            if event is LeaseEvent.ATTACH_OK:
                kind, text = "grant", f"granted to {role} {machine.client_id}"
            elif event in _ENDS:
                kind, text = "end", f"of {role} {machine.client_id} {_ENDS[event]}"
        self._note(machine, kind, text, origin=origin, target=target, event=event)
        if isinstance(machine, StreamLifecycle):
            self._look_at_epoch(machine)
            if machine.current is StreamLifecycle.Closed:
                self._epochs.pop(machine.stream_id, None)

    def _look_at_epoch(self, stream: StreamLifecycle) -> None:
        epoch = stream.epoch
        before = self._epochs.get(stream.stream_id)
        if epoch == before or stream.current is StreamLifecycle.Closed:
            return
        self._epochs[stream.stream_id] = epoch
        self._note(stream, "epoch", f"epoch {epoch}" if epoch else f"epoch {before} retired")

    def _note(
        self,
        machine: Machine,
        kind: str,
        text: str,
        *,
        origin: str = "",
        target: str = "",
        event: object = None,
    ) -> None:
        lease_id = getattr(machine, "lease_id", 0)
        self._number += 1
        self._records.append(
            FeedRecord(
                number=self._number,
                at_ms=self._now_ms(),
                kind=kind,
                machine=getattr(machine, "label", type(machine).__name__),
                chart=type(machine).__name__,
                text=text,
                origin=origin,
                target=target,
                event=getattr(event, "name", ""),
                stream_id=getattr(machine, "stream_id", 0),
                client_id=getattr(machine, "client_id", 0),
                lease_id=str(lease_id) if lease_id else "",
            )
        )
