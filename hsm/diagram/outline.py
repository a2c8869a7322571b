"""The contents of a picture of a machine class, independent of the language it is written in."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

NodeKind = Literal[
    "state", "composite", "final", "terminate", "initial", "choice", "shallow", "deep", "fork"
]
ArrowKind = Literal["initial", "event", "completion", "choice", "default", "fork"]

ROOT_ID = "ROOT"


@dataclass(frozen=True)
class Node:
    """A vertex. `lines` stand inside its box: entry, exit, internal transitions, deferrals.

    A region is a composite that is active together with its siblings.
    """

    id: str
    name: str
    kind: NodeKind
    parent: str | None
    lines: tuple[str, ...] = ()
    is_region: bool = False


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

    @cached_property
    def _children(self) -> dict[str, list[Node]]:
        children: dict[str, list[Node]] = {node.id: [] for node in self.nodes}
        for node in self.nodes:
            if node.parent is not None:
                children[node.parent].append(node)
        return children

    @cached_property
    def _arrows_by_home(self) -> dict[str, list[Arrow]]:
        arrows: dict[str, list[Arrow]] = {}
        for arrow in self.arrows:
            arrows.setdefault(self.home(arrow), []).append(arrow)
        return arrows

    @cached_property
    def _arrows_by_source(self) -> dict[str, list[Arrow]]:
        arrows: dict[str, list[Arrow]] = {}
        for arrow in self.arrows:
            arrows.setdefault(arrow.source, []).append(arrow)
        return arrows

    def node(self, id: str) -> Node:  # noqa: A002 - the field's word
        return self._by_id[id]

    def children(self, id: str) -> list[Node]:  # noqa: A002
        return self._children[id]

    def arrows_at_home(self, id: str) -> list[Arrow]:  # noqa: A002
        """The arrows whose innermost common box is `id`."""
        return self._arrows_by_home.get(id, [])

    def arrows_from(self, id: str) -> list[Arrow]:  # noqa: A002
        return self._arrows_by_source.get(id, [])

    def path(self, id: str) -> list[str]:  # noqa: A002
        """Ids from the machine down to `id`, both included."""
        upwards = [id]
        while (parent := self._by_id[upwards[-1]].parent) is not None:
            upwards.append(parent)
        return upwards[::-1]

    def contains(self, outer: str, inner: str) -> bool:
        """Return True if `inner` lies anywhere inside `outer` (and is not `outer`)."""
        return outer != inner and outer in self.path(inner)

    def home(self, arrow: Arrow) -> str:
        """The innermost box around both ends; an end that is itself a box does not count for it."""
        shared = ROOT_ID
        paths = (self.path(end)[:-1] for end in (arrow.source, arrow.target))
        for one, other in zip(*paths, strict=False):
            if one != other:
                break
            shared = one
        return shared
