"""A statechart as plain data: what the generator draws and all engines are built from.

Every behaviour has a label. Its content is not code but a script of `Step`s kept in
`Chart.scripts`, so that the reference interpreter, the engine under test and python-statemachine
run the very same behaviours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ROOT = "ROOT"
ANY = "*"
Kind = Literal["state", "final", "terminate", "region"]
History = Literal["SHALLOW", "DEEP"]


@dataclass(frozen=True)
class Vertex:
    name: str
    parent: str
    kind: Kind = "state"
    defer: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One thing a behaviour does.

    `flip` a flag, `post` an event, `raise` while a flag is set, `burn` fuel (every completion
    does), `misuse` the machine: dispatch to it in the middle of a step, go on when refused.
    """

    what: Literal["flip", "post", "raise", "burn", "misuse"]
    bit: int = 0
    event: str = ""


@dataclass(frozen=True)
class Branch:
    guard: str
    target: str
    effect: str | None = None


@dataclass(frozen=True)
class Plan:
    """The content of an imperative handler: nothing, or one in-handler call.

    `when` names a flag bit: while that flag is clear the handler declines before doing anything.
    `wrong` answers None, which the framework must refuse. `after` is the label of a behaviour that
    the handler runs once its transition is over.
    """

    what: Literal["handle", "decline", "go", "recall", "choose", "wrong"]
    target: str = ""
    history: History = "SHALLOW"
    effect: str | None = None
    branches: tuple[Branch, ...] = ()
    otherwise: tuple[str, str | None] = ("", None)
    when: int | None = None
    after: str | None = None

    def targets(self) -> tuple[str, ...]:
        """The states that the declaration has to list in `targets=`."""
        if self.what == "choose":
            named = [branch.target for branch in self.branches] + [self.otherwise[0]]
        elif self.what in ("go", "recall"):
            named = [self.target]
        else:
            named = []
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True)
class Rule:
    """One candidate. `event` is None for a completion. Declarative when `plan` is None.

    With `after` it is a time event of so many seconds, and `event` is its name in traces. `fork`
    has the targets of an edge into several regions of `target`.
    """

    label: str
    state: str
    event: str | None
    guard: str | None = None
    target: str | None = None
    history: History | None = None
    effect: bool = True
    plan: Plan | None = None
    after: int | None = None
    every: bool = False
    fork: tuple[str, ...] = ()


@dataclass(frozen=True)
class Initial:
    label: str
    owner: str
    target: str | None = None
    history: History | None = None
    effect: bool = True
    plan: Plan | None = None


@dataclass(frozen=True)
class HistoryDefault:
    label: str
    owner: str
    kind: History
    target: str
    effect: bool = True


@dataclass(frozen=True)
class Chart:
    vertices: tuple[Vertex, ...]
    initials: tuple[Initial, ...]
    rules: tuple[Rule, ...] = ()
    defaults: tuple[HistoryDefault, ...] = ()
    entries: tuple[str, ...] = ()
    exits: tuple[str, ...] = ()
    any_entry: bool = False
    any_exit: bool = False
    # labels of the entry and exit handlers that take the event's argument
    taking: tuple[str, ...] = ()
    # guard label -> flag bit it reads
    guards: dict[str, int] = field(default_factory=dict)
    # behaviour label -> what it does
    scripts: dict[str, tuple[Step, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Op:
    """One action of a test on a machine; `flags` is what the guards see from here on."""

    what: Literal["dispatch", "post", "reset", "roundtrip", "copy", "wait"]
    event: str = ""
    flags: int = 0
    seconds: int = 0
