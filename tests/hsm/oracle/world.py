"""The world of a chart's behaviours, the same for every engine: flags, fuel and a log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.hsm.oracle.chart import Chart

FUEL = 12


class Boom(Exception):  # noqa: N818 - not an error to be handled
    """The exception that a behaviour raises on purpose."""


class World:
    """Flags that guards read and effects flip; the log of everything that ran, in order.

    Fuel bounds posts and completion chains, so that every step ends. `describe` adds what a
    behaviour could see of its machine (source, current, event) to each log line; the translation to
    python-statemachine leaves it out because that library has no such attributes.
    """

    def __init__(self, chart: Chart, describe: Callable[[Any], str] | None) -> None:
        self.chart = chart
        self.describe = describe
        self.flags = 0
        self.fuel = FUEL
        self.log: list[str] = []
        self.now = 0

    def __deepcopy__(self, memo: object) -> World:
        return self  # a copied machine goes on in the same world

    def act(self, label: str, machine: Any, *passed: object) -> None:
        """Run the behaviour `label` of `machine`; `passed` is what it was called with."""
        self.note(label, machine, *passed)
        for step in self.chart.scripts.get(label, ()):
            if step.what == "flip":
                self.flags ^= 1 << step.bit
            elif step.what == "post":
                if self.fuel > 0:
                    self.fuel -= 1
                    machine.post(step.event, label)
            elif step.what == "misuse":
                try:
                    machine.dispatch(step.event, label)
                except Exception as error:  # noqa: BLE001 - which error it is gets compared
                    self.log.append(f"refused: {type(error).__name__}")
            elif step.what == "burn":
                self.fuel -= 1
            elif self.flag(step.bit):
                raise Boom(label)

    def ask(self, guard: str, machine: Any, *passed: object) -> bool:
        """Evaluate a guard. Its label starts with `fuel` where it bounds a completion."""
        if self.describe is not None:
            self.note(f"{guard}?", machine, *passed)
        if guard.startswith("fuel"):
            return self.fuel > 0 and self.flag(self.chart.guards[guard])
        return self.flag(self.chart.guards[guard])

    def flag(self, bit: int) -> bool:
        return bool(self.flags >> bit & 1)

    def note(self, label: str, machine: Any, *passed: object) -> None:
        seen = "" if self.describe is None else f" {self.describe(machine)} {passed}"
        self.log.append(label + seen)
