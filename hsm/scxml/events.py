"""Event descriptors of SCXML: matching by prefix, and the events that a platform raises."""

from __future__ import annotations

from collections.abc import Iterator

from .document import Element

# The first words of the events that an SCXML platform raises by itself.
PLATFORM_EVENTS = frozenset({"done", "error"})


def descriptors(transition: Element) -> list[str]:
    """Return the event descriptors of a transition; `job.*` and `job.` become `job`."""
    names = transition.attributes.get("event", "").split()
    return [name.removesuffix(".*").removesuffix(".") or name for name in names]


def matches(descriptor: str, event: str) -> bool:
    """Return True if the words of a descriptor are the first words of an event."""
    return event == descriptor or event.startswith(descriptor + ".")


def is_platform_event(event: str) -> bool:
    return event.partition(".")[0] in PLATFORM_EVENTS


def alphabet(root: Element) -> tuple[str, ...]:
    """All events that a document names, in document order."""
    names: dict[str, None] = {}
    for element in walk(root):
        if element.tag == "transition":
            names |= dict.fromkeys(name for name in descriptors(element) if "*" not in name)
    return tuple(names)


def loose_completions(element: Element) -> Iterator[str]:
    """The states from `element` inwards whose `done.state` event no transition surely takes."""
    for state in walk(element):
        name = state.attributes.get("id", "")
        if state.tag != "state" or not state.find("final"):
            continue
        if not any(
            f"done.state.{name}" in descriptors(transition) and "cond" not in transition.attributes
            for transition in state.find("transition")
        ):
            yield name


def walk(element: Element) -> Iterator[Element]:
    """An element and everything below it, in document order."""
    yield element
    for child in element.children:
        yield from walk(child)
