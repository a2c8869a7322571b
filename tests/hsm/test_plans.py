"""H-246: the plans of a chart without time events, byte by byte."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tensor_pool.hsm import Machine, State, on_initial, on_timeout
from tensor_pool.hsm._engine.codegen import Lines, Plan
from tests.hsm import six_states
from tests.hsm.six_states import SixStates

EXPECTED = Path(__file__).with_name("six_states_plans.txt")


def plan_texts(monkeypatch: pytest.MonkeyPatch) -> str:
    """All plans of a fresh copy of the six-state machine, in the order in which they are made."""
    texts: list[str] = []
    compile_plan = Lines.compile

    def record(lines: Lines) -> Plan:
        plan = compile_plan(lines)
        texts.append(lines.text)
        return plan

    monkeypatch.setattr(Lines, "compile", record)
    namespace: dict[str, Any] = {"__name__": "fresh"}
    source = Path(six_states.__file__).read_text()
    exec(compile(source, six_states.__file__, "exec"), namespace)
    machine = namespace["SixStates"]()
    for leaf in (machine.s11, machine.s211):
        if machine.current is not leaf:
            machine.dispatch("G")
        for event in SixStates.events:
            machine._hsm_node.find(event)
    return "\n\n".join(texts) + "\n"


def test_H_246_the_plans_of_a_chart_without_timers_are_the_same_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """H-259. An intended change of the plans changes the file too."""
    assert plan_texts(monkeypatch) == EXPECTED.read_text()


def test_H_246_a_machine_without_timers_has_no_more_memory() -> None:
    class Plain(Machine):
        A = State()
        begin = on_initial("ROOT", target=A)

    class Timed(Plain):
        late = on_timeout(Plain.A, 1, target=Plain.A)

    assert Plain()._hsm_memory is None
    assert Timed()._hsm_memory is not None
    assert sys.getsizeof(Plain()) == sys.getsizeof(Timed())
    assert len(Machine.__slots__) == 5
