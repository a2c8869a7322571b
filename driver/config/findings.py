"""Findings of a configuration check: values, their sources, problems and warnings."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import msgspec

from tensor_pool.protocol import errors

from .keys import SETTING_BY_KEY

__all__ = ["ConfigError", "Findings", "Problem"]


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with a configuration: `str()` gives the `<key>: <text>` of D-181."""

    key: str
    text: str
    value: object = None  # what was found, for people; None also stands for nothing
    source: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"


class ConfigError(errors.ConfigError):
    """The configuration cannot be used; `problems` lists everything wrong with it (D-181).

    `warnings` are what would have been warned about, a misspelt key for example.
    """

    def __init__(self, *problems: Problem, warnings: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
        self.warnings = warnings


class Findings:
    """Collects while the keys are gone through, and hands out in the order they were expected."""

    def __init__(self) -> None:
        self.sources: dict[str, str] = {}
        self.warnings: list[str] = []
        self._values: dict[str, Any] = {}
        self._order: dict[str, int] = {}
        self._problems: dict[str, Problem] = {}

    def expect(self, key: str) -> None:
        """Give a key its place in the order of problems (D-181)."""
        self._order.setdefault(key, len(self._order))

    def accept(self, key: str, value: object, source: str) -> None:
        """A value of the right type was given for a key."""
        self._values[key] = value
        self.sources[key] = source

    def problem(self, key: str, text: str, value: object = None, source: str = "") -> None:
        """Something is wrong with a key; of several problems the first is kept."""
        if key == "policies.shutdown_token":
            value = None  # never shown (D-140)
        self.expect(key)
        self._problems.setdefault(key, Problem(key, text, value, source))

    def unknown(self, key: str, known: Iterable[str]) -> None:
        """A key that means nothing: warned about, else ignored (D-182)."""
        by_name = {other.rpartition(".")[2]: other for other in known}
        close = difflib.get_close_matches(key.rpartition(".")[2], list(by_name), n=1, cutoff=0.8)
        hint = f"; did you mean {by_name[close[0]]}?" if close else ""
        self.warnings.append(f"{key}: unknown key, ignored{hint}")

    def sound(self, *keys: str) -> bool:
        """Return whether rules across these keys make sense: nothing is wrong with any of them."""
        return not any(key in self._problems for key in keys)

    def sound_below(self, table: str) -> bool:
        """Return whether nothing is wrong with a table nor with any key in it."""
        return not any(f"{key}.".startswith(f"{table}.") for key in self._problems)

    def __getitem__(self, key: str) -> Any:
        """Effective value of a setting; a derived default is its stand-in."""
        return self._values[key] if key in self._values else SETTING_BY_KEY[key].default

    def given(self, key: str) -> bool:
        """Return whether the key has a value of its own."""
        return key in self._values

    def problems(self) -> tuple[Problem, ...]:
        """All problems in the order of the keys."""
        return tuple(sorted(self._problems.values(), key=lambda problem: self._order[problem.key]))

    def table(self, table: str) -> dict[str, Any]:
        """Given values of one table by attribute name."""
        prefix = f"{table}."
        return {
            key.removeprefix(prefix): value
            for key, value in self._values.items()
            if key.startswith(prefix)
        }
