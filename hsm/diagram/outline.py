"""What a picture of a machine class has to show, independent of the language it is written in."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

NodeKind = Literal[
    "state", "composite", "final", "terminate", "initial", "choice", "shallow", "deep"
]
ArrowKind = Literal["initial", "event", "completion", "choice", "default"]

ROOT_ID = "ROOT"


@dataclass(frozen=True)
class Node:
    """A vertex. `lines` stand inside its box: entry, exit, internal transitions, deferrals."""

    id: str
    name: str
    kind: NodeKind
    parent: str | None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arrow:
    source: str
    target: str
    kind: ArrowKind
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outline:
    """Nodes in document order (the machine itself first, with id ROOT) and arrows."""

    title: str
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...] = field(default=())

    @property
    def root(self) -> Node:
        return self.nodes[0]

    @cached_property
    def _by_id(self) -> dict[str, Node]:
        return {node.id: node for node in self.nodes}

    def node(self, id: str) -> Node:  # noqa: A002 - the field's word
        return self._by_id[id]

    def children(self, id: str) -> list[Node]:  # noqa: A002
        return [node for node in self.nodes if node.parent == id]

    def path(self, id: str) -> list[str]:  # noqa: A002
        """Ids from the machine down to `id`, both included."""
        parent = self.node(id).parent
        return [id] if parent is None else [*self.path(parent), id]

    def contains(self, outer: str, inner: str) -> bool:
        """Whether `inner` lies anywhere inside `outer` (and is not `outer`)."""
        return outer != inner and outer in self.path(inner)

    def home(self, arrow: Arrow) -> str:
        """The innermost box around both ends; an end that is itself a box does not count for it."""
        both = [set(self.path(end)[:-1]) for end in (arrow.source, arrow.target)]
        shared = [box for box in self.path(arrow.source) if box in both[0] & both[1]]
        return shared[-1] if shared else ROOT_ID
