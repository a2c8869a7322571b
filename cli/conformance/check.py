"""Checks, their outcome, and the report."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

__all__ = ["Broken", "Check", "NotSeen", "Outcome", "check", "run_checks", "want"]

type Verdict = Literal["holds", "broken", "not seen"]


class Broken(Exception):  # noqa: N818 - a verdict
    """The requirement does not hold; the text has the value seen and the value required."""


class NotSeen(Exception):  # noqa: N818 - a verdict
    """The requirement cannot be checked here; the text has the reason."""


class Check[W](msgspec.Struct, frozen=True):
    """One claim about the program under test, with the requirements that it comes from."""

    name: str
    requirements: tuple[str, ...]
    claim: str
    run: Callable[[W], None]


class Outcome(msgspec.Struct, frozen=True):
    """The result of a check."""

    name: str
    requirements: tuple[str, ...]
    claim: str
    verdict: Verdict
    text: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        line = f"{self.verdict:8}  {' '.join(self.requirements)}: {self.claim}"
        return f"{line}\n          {self.text}" if self.text else line


def want(condition: object, text: str) -> None:
    """Raise Broken with the text unless the condition is true."""
    if not condition:
        raise Broken(text)


def check[W](
    checks: list[Check[W]], requirements: str, claim: str
) -> Callable[[Callable[[W], None]], Callable[[W], None]]:
    """Append the decorated function to `checks`; requirement ids are separated by spaces."""

    def register(function: Callable[[W], None]) -> Callable[[W], None]:
        checks.append(Check(function.__name__, tuple(requirements.split()), claim, function))
        return function

    return register


def run_checks[W](
    checks: Iterable[Check[W]], world: W, report: Callable[[Outcome], None]
) -> list[Outcome]:
    """Run the checks one after the other and report each outcome as it is known.

    An unexpected exception of a check counts as broken: the peer did what the check does not
    expect. Its traceback goes to standard error.
    """
    outcomes = []
    for one in checks:
        verdict: Verdict = "holds"
        text, begin = "", time.monotonic()
        try:
            one.run(world)
        except Broken as broken:
            verdict, text = "broken", str(broken)
        except NotSeen as not_seen:
            verdict, text = "not seen", str(not_seen)
        except Exception as error:  # noqa: BLE001 - whatever the peer sent caused it
            traceback.print_exc(file=sys.stderr)
            verdict, text = "broken", f"the check could not go on: {error!r}"
        seconds = round(time.monotonic() - begin, 3)
        outcomes.append(Outcome(one.name, one.requirements, one.claim, verdict, text, seconds))
        report(outcomes[-1])
    return outcomes
