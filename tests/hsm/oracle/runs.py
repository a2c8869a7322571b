"""One (chart, sequence) case through one engine, as a list of records that can be compared."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from statemachine import StateChart

from tensor_pool.hsm import Machine
from tests.hsm.oracle.chart import Chart, Op
from tests.hsm.oracle.python_statemachine import Host
from tests.hsm.oracle.reference import Reference
from tests.hsm.oracle.world import FUEL, World


class Record(NamedTuple):
    """The outcome of one operation, and the machine after it."""

    outcome: str
    phase: str
    leaf: str
    flags: int
    log: tuple[str, ...]
    # Empty unless the machine is running: what is remembered or waits.
    memory: tuple[tuple[str, str], ...] = ()
    waiting: tuple[str, ...] = ()


_SET_UP = Op("reset")


def run_reference(chart: Chart, operations: Sequence[Op], *, traced: bool = False) -> list[Record]:
    world = World(chart, lambda m: f"[{m.source} {m.current} {m.event}]{_shown(m.leaves())}")
    machine = Reference(chart, world, traced=traced)

    def act(op: Op) -> str:
        if op.what == "reset":
            return str(machine.reset())
        if op.what == "wait":
            return _wait(world, machine, op)
        if op.what == "roundtrip" or op.what == "copy":
            if machine.phase == "faulted" and op.what == "roundtrip":
                return "DispatchError"
            if op.what == "roundtrip":
                machine.offer = None  # a snapshot has no key for an interrupted recall (H-220)
            return "None"
        return str(getattr(machine, op.what)(op.event, op.flags))

    def look() -> tuple[str, str, tuple[tuple[str, str], ...], tuple[str, ...]]:
        memory: tuple[tuple[str, str], ...] = ()
        waiting: tuple[str, ...] = ()
        if machine.phase == "running":
            memory = tuple(sorted((owner, str(leaf)) for owner, leaf in machine.memory.items()))
            # A completion that no candidate could ever take is lost at once or later: all the same.
            pending = [
                state
                for state in machine.pending
                if any(r.event is None and r.state == state for r in chart.rules)
            ]
            waiting = (str(pending), str(machine.posted), str(machine.deferred))
            waiting += (str(sorted(machine.armed.items())),)
        return machine.phase, machine.current + _shown(machine.leaves()), memory, waiting

    return _run(world, operations, act, look)


def run_engine(
    cls: type[Machine], chart: Chart, operations: Sequence[Op], *, traced: bool = False
) -> list[Record]:
    def seen(m: Any) -> str:
        return f"[{m.source.name} {m.current.name} {m.event}]{_shown(_leaves(m))}"

    world = World(chart, seen)
    observer = _Tracer(world) if traced else None
    machine: Any = cls(start=False, observer=observer)
    machine.world = world

    def act(op: Op) -> str:
        nonlocal machine
        if op.what == "reset":
            return str(machine.reset())
        if op.what == "wait":
            return _wait(world, machine, op)
        if op.what == "roundtrip":
            snapshot = machine.snapshot()
            machine = cls(start=False, observer=observer)
            machine.world = world
            machine.restore(snapshot)
            return "None"
        if op.what == "copy":
            if observer is None:  # a copy leaves the observer behind
                machine = copy.copy(machine)
            return "None"
        answer = getattr(machine, op.what)(op.event, op.flags)
        return "None" if answer is None else str(answer.name)

    def look() -> tuple[str, str, tuple[tuple[str, str], ...], tuple[str, ...]]:
        memory: tuple[tuple[str, str], ...] = ()
        waiting: tuple[str, ...] = ()
        if machine.is_running:
            snapshot = machine.snapshot()
            memory = tuple(sorted((o, str(_tree(leaf))) for o, leaf in snapshot["history"].items()))
            posted = [tuple(each) for each in snapshot["posted"]]
            deferred = [tuple(each) for each in snapshot["deferred"]]
            completion = snapshot["completion"]
            pending = completion if isinstance(completion, list) else [completion]
            waiting = (str([c for c in pending if c]), str(posted), str(deferred))
            waiting += (str(sorted(_armed(chart, snapshot["timers"], world.now).items())),)
        return _phase(machine), machine.current.name + _shown(_leaves(machine)), memory, waiting

    return _run(world, operations, act, look)


def _wait(world: World, machine: Any, op: Op) -> str:
    """Let time pass, then process the time events (H-242)."""
    world.now += op.seconds
    return str(machine.poll())


def _leaves(machine: Machine) -> list[str]:
    return [state.name for state in machine.leaves]


def _shown(leaves: list[str]) -> str:
    """The leaves, unless there is just the current state."""
    return "" if len(leaves) == 1 else f"({' '.join(leaves)})"


def _tree(leaf: Any) -> Any:
    """A remembered configuration as the reference writes it."""
    if isinstance(leaf, dict):
        return leaf["state"], tuple(_tree(part) for part in leaf["regions"])
    return leaf


def _armed(chart: Chart, timers: Sequence[Any], now: float) -> dict[str, int]:
    """The deadline of each armed timer, by the label of its rule."""
    labels: dict[tuple[str, int], str] = {}
    for state in chart.vertices:
        rules = [r for r in chart.rules if r.state == state.name and r.after is not None]
        labels.update({(state.name, index): rule.label for index, rule in enumerate(rules)})
    return {labels[name, index]: round(now + left) for name, index, left in timers}


def _phase(machine: Machine) -> str:
    phases = [
        name
        for name in ("running", "complete", "terminated", "faulted")
        if getattr(machine, f"is_{name}")
    ]
    assert len(phases) <= 1, phases
    return phases[0] if phases else "new"


def _run(
    world: World,
    operations: Sequence[Op],
    act: Callable[[Op], str],
    look: Callable[[], tuple[str, str, tuple[tuple[str, str], ...], tuple[str, ...]]],
) -> list[Record]:
    """Start the machine, then do each operation; a machine that stopped is reset after it."""
    records: list[Record] = []

    def step(op: Op) -> str:
        world.flags = op.flags
        world.fuel = FUEL
        world.log = []
        try:
            outcome = act(op)
        except Exception as error:  # noqa: BLE001 - which error it is gets compared
            outcome = type(error).__name__
        phase, leaf, memory, waiting = look()
        records.append(Record(outcome, phase, leaf, world.flags, tuple(world.log), memory, waiting))
        return phase

    step(_SET_UP)
    for op in operations:
        if step(op) != "running":
            step(Op("reset", flags=op.flags ^ 0b101010))
    return records


class _Tracer:
    """An observer that writes every hook into the world's log, as the reference does."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, hook: str) -> Callable[..., None]:
        if not hook.startswith("trace_"):
            raise AttributeError(hook)
        name = "~" + hook.removeprefix("trace_")

        def note(_: object, *arguments: Any) -> None:
            texts = [getattr(argument, "name", str(argument)) for argument in arguments]
            self._world.log.append(" ".join([name, *texts]))

        return note


def essence(records: Sequence[Record]) -> list[tuple[str, str, int, tuple[str, ...]]]:
    """The part to compare with python-statemachine: phase, leaf, flags, behaviours in order.

    Guards are left out because that engine asks them as often as it likes, and with them what a
    behaviour could see of the machine, because there it sees something else.
    """
    reduced = []
    for record in records:
        behaviours = (line.split(" [")[0] for line in record.log)
        log = tuple(label for label in behaviours if not label.endswith("?"))
        reduced.append((record.phase, record.leaf, record.flags, log))
    return reduced


def run_statemachine(
    cls: type[StateChart], chart: Chart, operations: Sequence[Op]
) -> list[tuple[str, str, int, tuple[str, ...]]]:
    world = World(chart, None)
    host = Host(world)
    machine: Any = None

    def act(op: Op) -> str:
        nonlocal host, machine
        if op.what == "reset":
            host = Host(world)
            machine = cls(model=host)
        else:
            machine.send(op.event)
        return ""

    def look() -> tuple[str, str, tuple[tuple[str, str], ...], tuple[str, ...]]:
        active = [str(state.id) for state in machine.configuration]
        parents = {state.parent.id for state in machine.configuration if state.parent}
        leaves = [name for name in active if name not in parents]
        assert len(leaves) == 1, leaves
        leaf = "ROOT" if host.stopped == "terminated" else leaves[0]
        return host.stopped or "running", leaf, (), ()

    return essence(_run(world, operations, act, look))
