"""Machines that write PSSM traces, and the list of the cases that are built from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from tensor_pool.hsm import ANY, Machine, State, on_entry, on_exit


class Traced(Machine, abstract=True):
    """A family base whose machines trace the states named in `entries` and `exits`.

    A trace has the form of the PSSM tests: `S1(entry)`, `T2(effect)`, joined by `::`.
    """

    entries: ClassVar[str] = ""
    exits: ClassVar[str] = ""

    def __init__(self) -> None:
        self.trace: list[str] = []
        super().__init__()

    @on_entry(ANY)
    def _trace_entry(self, state: State) -> None:
        if state.name in self.entries.split():
            self.trace.append(f"{state.name}(entry)")

    @on_exit(ANY)
    def _trace_exit(self, state: State) -> None:
        if state.name in self.exits.split():
            self.trace.append(f"{state.name}(exit)")

    def tracing(self, text: str) -> Callable[[], None]:
        """An effect for the in-handler calls."""
        return lambda: self.trace.append(text)


def traces(text: str) -> Callable[..., None]:
    """An effect for a declarative edge: `t2 = on_event(…)(traces("T2(effect)"))`."""

    def effect(self: Any, *_: object) -> None:
        self.trace.append(text)

    return effect


@dataclass(frozen=True)
class Case:
    """One PSSM test as a machine of ours.

    Attributes:
        name: the name of the test in PSSM 1.0.
        machine: the chart.
        send: the events in order, each with its argument.
        admits: the traces that the PSSM test admits.
        differs: the reason of a documented difference, else None.
        ours: the trace of our engine where it differs, else None.
        inferred: the chart was inferred from the trace; the published test may differ in detail.
    """

    name: str
    machine: type[Traced]
    send: tuple[tuple[str, object], ...]
    admits: tuple[str, ...]
    differs: str | None
    ours: str | None
    inferred: bool

    def run(self) -> Traced:
        made = self.machine()
        for event, argument in self.send:
            made.dispatch(event, argument)
        return made


CASES: dict[str, Case] = {}


def pssm(
    name: str,
    *admits: str,
    send: str | Iterable[tuple[str, object]] = "Start",
    differs: str | None = None,
    ours: str | None = None,
    inferred: bool = False,
) -> Callable[[type[Traced]], type[Traced]]:
    """Register a machine class as the PSSM test of that name."""

    def register(machine: type[Traced]) -> type[Traced]:
        assert name not in CASES, name
        events = [(each, None) for each in send.split()] if isinstance(send, str) else send
        CASES[name] = Case(name, machine, tuple(events), admits, differs, ours, inferred)
        return machine

    return register
