"""The rules of orthogonal regions and of the edges into them (H-250, H-253, H-254)."""

from __future__ import annotations

from collections.abc import Iterator

from ..declarations import Declaration, Role
from ..states import ROOT, Final, Region, State, Terminate

type Paths = dict[State, tuple[State, ...]]


def structure(
    states: tuple[State, ...], children: dict[State, list[State]]
) -> Iterator[tuple[State, str]]:
    """Yield each mistake of regions and their owners: the state concerned, and the text."""
    for owner in (ROOT, *states):
        regions = [child for child in children[owner] if isinstance(child, Region)]
        if not regions:
            continue
        first = regions[0]
        if owner is ROOT or isinstance(owner, Region):
            yield first, f"{owner!r} cannot have regions; put a state between the two"
        elif len(regions) == 1 and not isinstance(owner, Final | Terminate):
            yield first, f"it is the only region of {owner!r}; add a second one, or use no region"
        for child in children[owner]:
            if not isinstance(child, Region):
                yield child, f"its parent {owner!r} has regions; put it into one of them"


def reach(
    source: State,
    declaration: Declaration,
    targets: tuple[State, ...],
    paths: Paths,
    children: dict[State, list[State]],
) -> Iterator[str]:
    """Yield each mistake about regions in where a declaration leads."""
    if declaration.role is Role.INITIAL and any(isinstance(c, Region) for c in children[source]):
        yield f"{source!r} has regions; each of them is entered by its own initial"
    if isinstance(declaration.target, tuple):
        yield from _fork(source, targets, paths)
    elif declaration.target is not None:
        other = _crossed(source, targets[0], paths)
        if other is not None:
            yield (
                f"{source!r} and {targets[0]!r} are in two regions of {other!r}; lead to a state "
                f"outside of {other.name}, or post an event to the other region"
            )


def target_of(declaration: Declaration, targets: tuple[State, ...], paths: Paths) -> State | None:
    """The target of the rule; for a fork the owner of the regions."""
    if declaration.target is None:
        return None
    if isinstance(declaration.target, tuple):
        return _owner_of_fork(targets, paths)
    return targets[0]


def _owner_of_fork(targets: tuple[State, ...], paths: Paths) -> State | None:
    """The state whose regions the targets are in, each in a region of its own."""
    shared = [state for state in paths[targets[0]] if all(state in paths[t] for t in targets)]
    owner = shared[0]
    entered = [
        path[path.index(owner) - 1] for path in (paths[t] for t in targets) if path[0] is not owner
    ]
    distinct = len(set(entered)) == len(targets) > 1
    return owner if distinct and all(isinstance(each, Region) for each in entered) else None


def _fork(source: State, targets: tuple[State, ...], paths: Paths) -> Iterator[str]:
    owner = _owner_of_fork(targets, paths)
    if owner is None:
        names = ", ".join(target.name for target in targets)
        yield (
            f"the fork ({names}) does not lead into several regions of one owner; give at most one "
            "target in each of its regions"
        )
    elif source is not owner and owner in paths[source]:
        yield f"{source!r} is inside {owner!r}, whose regions the fork enters; declare it outside"


def _crossed(source: State, target: State, paths: Paths) -> State | None:
    """The owner in two of whose regions the states are; None without one."""
    above = paths[target]
    scope = next(state for state in paths[source] if state in above)
    if scope in (source, target):
        return None
    return scope if isinstance(above[above.index(scope) - 1], Region) else None
