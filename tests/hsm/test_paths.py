"""H-265: shortest ways to every edge, and the commands that print what a class declares."""

from typing import Any

import pytest

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    UNHANDLED,
    Coverage,
    Final,
    Machine,
    Outcome,
    State,
    on_completion,
    on_event,
    on_history_default,
    on_initial,
    paths,
)
from tensor_pool.hsm.__main__ import main
from tests.hsm.six_states import SixStates


def test_H_265_the_paths_of_the_six_state_machine_executed_reach_every_edge() -> None:
    coverage = Coverage(SixStates)
    for path in paths(SixStates):
        for foo in (0, 1):
            machine = SixStates(observer=coverage)
            for event in path.events[:-1]:
                machine.dispatch(event)
            machine.foo = foo
            for event in path.events[-1:]:
                machine.dispatch(event)
            if coverage.edges[path.edge]:
                break
        assert coverage.edges[path.edge], path
    assert coverage.missed_edges() == ()


def test_H_265_the_paths_are_shortest_and_in_the_order_of_the_edges() -> None:
    found = list(paths(SixStates))
    assert [path.edge for path in found] == list(SixStates.edges)
    assert max(len(path.events) for path in found) == 2


class Wide(Machine):
    A = State(defer=["late"])
    A1 = State(parent=A)
    A2 = State(parent=A)
    Done = Final(parent=A)
    B = State()
    C = State()
    Island = State()
    begin = on_initial(ROOT, target=A)

    @on_initial(A, targets=(A1, A2))
    def _into(self) -> Outcome:
        return self.choice(self.A, [], otherwise=self.A1)

    done = on_event(A2, "done", target=Done)
    after = on_completion(A, target=B)
    passing = on_completion(C, target=A2)
    inner = on_event(A1, "x", target=A2)
    outer = on_event(A, "x", target=B)
    hidden = on_event(ROOT, "x", target=C)
    late = on_event(ROOT, "late", target=C)
    back = on_event(B, "back", target=A, history=DEEP)
    default = on_history_default(A, DEEP, target=A2)
    lost = on_event(Island, "lost", target=A)

    @on_event(B, ANY)
    def _any(self, arg: Any, event: Any) -> Outcome:
        return UNHANDLED

    @on_event(B, "y", guard=lambda self, arg: False)
    def _guarded(self, arg: Any) -> Outcome:
        return HANDLED


def test_H_265_choices_completions_history_deferral_and_any() -> None:
    found = {
        (path.edge.source.name, path.edge.event, path.edge.target and path.edge.target.name):
        path.events for path in paths(Wide)
    }  # fmt: skip
    assert found == {
        ("ROOT", None, "A"): (),
        ("A", None, "A1"): (),
        ("A", None, "A2"): (),
        ("A", None, "B"): ("done",),
        ("C", None, "A2"): ("done", "x"),
        ("A2", "done", "Done"): ("done",),
        ("A1", "x", "A2"): ("x",),
        ("A", "x", "B"): ("x",),
        ("ROOT", "x", "C"): ("done", "x"),
        ("ROOT", "late", "C"): ("done", "late"),
        ("B", "back", "A"): ("done", "back"),
        ("A", DEEP, "A2"): ("done", "back"),
        ("B", ANY, None): ("done", "any other event"),
        ("B", "y", None): ("done", "y"),
    }


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("lint", "unreachable      Island  no sequence of declared edges enters 'Island'\n"),
        ("table", "B       'y'           <lambda>          internal         _guarded\n"),
        ("table", "A       DEEP                    A2      history-default\n"),
        ("paths", "B → (internal) on 'y'  'done', 'y'\n"),
        ("paths", "ROOT → A on (initial)\n"),
    ],
)
def test_H_265_commands(command: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, f"{__name__}:Wide"]) == 0
    shown = capsys.readouterr().out
    wanted = " ".join(expected.split())
    assert any(wanted in " ".join(line.split()) for line in shown.splitlines()), shown


def test_H_265_lint_of_a_class_without_findings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "tests.hsm.six_states:SixStates"]) == 0
    assert capsys.readouterr().out == "SixStates: nothing to report\n"
