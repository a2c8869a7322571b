"""The elements and attributes of SCXML that have an equal in this framework."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .document import Element

_CONTENT: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "scxml": frozenset({"state", "final", "initial", "parallel"}),
        "state": frozenset(
            {
                "state",
                "final",
                "initial",
                "parallel",
                "history",
                "onentry",
                "onexit",
                "transition",
            }
        ),
        "parallel": frozenset({"state", "parallel", "history", "onentry", "onexit", "transition"}),
        "final": frozenset(),
        "initial": frozenset({"transition"}),
        "history": frozenset({"transition"}),
        "onentry": frozenset({"hsm:call"}),
        "onexit": frozenset({"hsm:call"}),
        "transition": frozenset({"hsm:call"}),
        "hsm:call": frozenset(),
    }
)
_ATTRIBUTES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "scxml": frozenset({"name", "version", "initial"}),
        "state": frozenset({"id", "initial"}),
        "parallel": frozenset({"id"}),
        "final": frozenset({"id"}),
        "initial": frozenset(),
        "history": frozenset({"id", "type"}),
        "onentry": frozenset(),
        "onexit": frozenset(),
        "transition": frozenset({"event", "cond", "target", "type", "hsm:implied"}),
        "hsm:call": frozenset({"name"}),
    }
)


def problems_of(root: Element) -> list[str]:
    """Everything in a document that is outside of the subset, each with its line."""
    if root.tag != "scxml":
        return [f"line {root.line}: the document is a <{root.tag}>, not <scxml>"]
    problems: list[str] = []
    _check(root, problems)
    return problems


def _check(element: Element, problems: list[str]) -> None:
    line = f"line {element.line}"
    unknown = element.attributes.keys() - _ATTRIBUTES[element.tag]
    problems += [
        f"{line}: <{element.tag}> has an attribute {name}: not supported"
        for name in sorted(unknown)
    ]
    if element.tag in ("state", "parallel", "final", "history") and not element.attributes.get(
        "id"
    ):
        problems.append(f"{line}: <{element.tag}> has no id")
    if element.text.strip():
        problems.append(f"{line}: <{element.tag}> contains text: not supported")
    for child in element.children:
        if child.tag in _CONTENT[element.tag]:
            _check(child, problems)
        else:
            problems.append(f"line {child.line}: <{child.tag}> in <{element.tag}>: not supported")
