"""SynchronizerMachine: the conditions for sets (S-120).

**Waiting**: a required input is not mapped. **Matching**: frames are matched; *Complete* while
every input is fresh, *Partial* while one that may be missing is stale. **Starved**: a required
input is mapped but stale. **Closed**: released. Frames pass through plain code beside the machine.
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
    on_initial,
)

__all__ = ["SynchronizerEvent", "SynchronizerMachine", "SynchronizerPort"]


class SynchronizerEvent(enum.StrEnum):
    """Events of SynchronizerMachine; the argument is the index of an input."""

    INPUT_MAPPED = "InputMapped"
    INPUT_UNMAPPED = "InputUnmapped"
    INPUT_STALE = "InputStale"
    INPUT_FRESH = "InputFresh"
    CLOSE = "Close"


class SynchronizerPort(Protocol):
    """Effects of the machine."""

    def empty(self, index: int) -> None:
        """Empty the queue of one input, and of all if it is the reference."""
        ...

    def empty_all(self) -> None: ...
    def release(self) -> None: ...
    def count(self, counter: str) -> None: ...


class SynchronizerMachine(Machine):
    """The state of one synchronizer; `required` holds a flag for each input."""

    def __init__(self, port: SynchronizerPort, required: tuple[bool, ...]) -> None:
        self._port = port
        self._required = required
        self.mapped: set[int] = set()
        self.stale: set[int] = set()
        super().__init__()

    # -- states

    Waiting = State()
    Matching = State()
    Complete = State(parent=Matching)
    Partial = State(parent=Matching)
    Starved = State()
    Closed = State()

    _first = on_initial(ROOT, target=Waiting)
    _matching_first = on_initial(Matching, target=Complete)

    # -- guards

    def _completes(self, index: int) -> bool:
        return self._all_required_in(self.mapped | {index})

    def _is_required(self, index: int) -> bool:
        return self._required[index]

    def _is_optional(self, index: int) -> bool:
        return not self._required[index]

    def _all_fresh(self, index: int) -> bool:
        return not self.stale - {index}

    def _required_fresh(self, index: int) -> bool:
        return not any(self._required[i] for i in self.stale - {index})

    # -- Waiting

    @on_entry(Waiting)
    def _check_at_once(self) -> None:
        if self._all_required_in(self.mapped):
            self.post(SynchronizerEvent.INPUT_MAPPED, min(self.mapped))

    @on_event(Waiting, SynchronizerEvent.INPUT_MAPPED, target=Matching, guard=_completes)
    def _begin(self, index: int) -> None:
        self.mapped.add(index)

    @on_event(Waiting, SynchronizerEvent.INPUT_MAPPED)
    @on_event(Matching, SynchronizerEvent.INPUT_MAPPED)
    @on_event(Starved, SynchronizerEvent.INPUT_MAPPED)
    def _note_mapped(self, index: int) -> Outcome:
        self.mapped.add(index)
        return HANDLED

    @on_event(Waiting, SynchronizerEvent.INPUT_UNMAPPED)
    def _note_unmapped(self, index: int) -> Outcome:
        self.mapped.discard(index)
        self._port.empty(index)
        return HANDLED

    @on_event(Waiting, SynchronizerEvent.INPUT_STALE, SynchronizerEvent.INPUT_FRESH)
    def _not_yet(self, _: int) -> Outcome:
        return HANDLED

    # -- Matching and Starved

    @on_event(Matching, SynchronizerEvent.INPUT_UNMAPPED, target=Waiting, guard=_is_required)
    @on_event(Starved, SynchronizerEvent.INPUT_UNMAPPED, target=Waiting, guard=_is_required)
    def _lose_required(self, index: int) -> None:
        self.mapped.discard(index)
        self.stale.clear()
        self._port.empty_all()

    @on_event(Matching, SynchronizerEvent.INPUT_UNMAPPED)
    @on_event(Starved, SynchronizerEvent.INPUT_UNMAPPED)
    def _lose_optional(self, index: int) -> Outcome:
        self.mapped.discard(index)
        self._port.empty(index)
        return HANDLED

    @on_event(Matching, SynchronizerEvent.INPUT_STALE, target=Starved, guard=_is_required)
    def _starve(self, index: int) -> None:
        self.stale.add(index)

    @on_event(Complete, SynchronizerEvent.INPUT_STALE, target=Partial, guard=_is_optional)
    def _go_without(self, index: int) -> None:
        self.stale.add(index)

    @on_event(Partial, SynchronizerEvent.INPUT_STALE, guard=_is_optional)
    @on_event(Starved, SynchronizerEvent.INPUT_STALE)
    def _note_stale(self, index: int) -> Outcome:
        self.stale.add(index)
        return HANDLED

    @on_event(Partial, SynchronizerEvent.INPUT_FRESH, target=Complete, guard=_all_fresh)
    @on_event(Starved, SynchronizerEvent.INPUT_FRESH, target=Complete, guard=_all_fresh)
    @on_event(Starved, SynchronizerEvent.INPUT_FRESH, target=Partial, guard=_required_fresh)
    def _recover(self, index: int) -> None:
        self.stale.discard(index)

    @on_event(Matching, SynchronizerEvent.INPUT_FRESH)
    @on_event(Starved, SynchronizerEvent.INPUT_FRESH)
    def _note_fresh(self, index: int) -> Outcome:
        self.stale.discard(index)
        return HANDLED

    # -- the end

    @on_event(Waiting, SynchronizerEvent.CLOSE, target=Closed)
    @on_event(Matching, SynchronizerEvent.CLOSE, target=Closed)
    @on_event(Starved, SynchronizerEvent.CLOSE, target=Closed)
    def _close(self, _: object) -> None:
        self._port.release()

    @on_event(Closed, ANY)
    def _closed(self, _: object, event: object) -> Outcome:
        return HANDLED

    @on_event(ROOT, ANY)
    def _unhandled(self, _: object, event: object) -> Outcome:
        self._port.count("synchronizer_unhandled")
        return HANDLED

    # -- effects

    def _all_required_in(self, mapped: set[int]) -> bool:
        return bool(mapped) and all(
            index in mapped for index, required in enumerate(self._required) if required
        )
