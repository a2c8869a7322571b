"""Verdicts, and the tree of the parts of a pool that they belong to (S-170)."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

__all__ = ["Node", "Verdict", "worst_of"]


class Verdict(enum.IntEnum):
    """The health of a part; the number is the exit status."""

    HEALTHY = 0
    DEGRADED = 1
    FAILING = 2


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the pool with its verdict and the cause of it.

    `see` is a command that shows more. A part is as bad as its worst child.
    """

    kind: str
    name: str = ""
    verdict: Verdict
    cause: str
    see: str = ""
    children: tuple[Node, ...] = ()

    @property
    def label(self) -> str:
        """Kind and name."""
        return f"{self.kind} {self.name}".rstrip()

    def plain(self) -> dict[str, object]:
        """Return the node as values for JSON; verdicts are words."""
        return {
            "kind": self.kind,
            "name": self.name,
            "verdict": self.verdict.name.lower(),
            "cause": self.cause,
            "see": self.see,
            "children": [child.plain() for child in self.children],
        }


def worst_of(nodes: Iterable[Node]) -> Verdict:
    """Return the worst verdict of some nodes; HEALTHY without any."""
    return max((node.verdict for node in nodes), default=Verdict.HEALTHY)
