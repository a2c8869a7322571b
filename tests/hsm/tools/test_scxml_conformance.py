"""The cases of the W3C SCXML test suite that speak about structure, as charts of our own.

The suite tests history (387, 388, 579, 580) and `done.state` events (372); each test has the
requirement in its docstring. Where SCXML and UML part, the test names our choice.
"""

from __future__ import annotations

from tensor_pool.hsm import (
    DEEP,
    ROOT,
    SHALLOW,
    Final,
    Machine,
    State,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
)


class Recalled(Machine):
    """S0 with two levels below it, entered by either kind of history."""

    S0 = State()
    S01 = State(parent=S0)
    S011 = State(parent=S01)
    S012 = State(parent=S01)
    S02 = State(parent=S0)
    S021 = State(parent=S02)
    S022 = State(parent=S02)
    Away = State()

    begin = on_initial(ROOT, target=Away)
    begin_s0 = on_initial(S0, target=S01)
    begin_s01 = on_initial(S01, target=S011)
    begin_s02 = on_initial(S02, target=S021)
    shallow_default = on_history_default(S0, SHALLOW, target=S01)
    deep_default = on_history_default(S0, DEEP, target=S022)

    shallow = on_event(Away, "shallow", target=S0, history=SHALLOW)
    deep = on_event(Away, "deep", target=S0, history=DEEP)
    plain = on_event(Away, "plain", target=S0)
    leave = on_event(S0, "leave", target=Away)
    to_s012 = on_event(S0, "to S012", target=S012)
    to_s022 = on_event(S0, "to S022", target=S022)


def _drive(machine: Machine, *events: str) -> str:
    for event in events:
        machine.dispatch(event)
    return machine.current.name


def test_387_each_kind_follows_its_own_default_before_anything_is_remembered() -> None:
    """H-122: the shallow default reaches S011 by the initial of S01, the deep one S022 itself."""
    assert _drive(Recalled(), "shallow") == "S011"
    assert _drive(Recalled(), "deep") == "S022"


def test_388_history_restores_what_was_active_to_the_depth_of_its_kind() -> None:
    """H-121: deep restores S012; shallow restores S01 and takes its initial."""
    assert _drive(Recalled(), "plain", "to S012", "leave", "deep") == "S012"
    assert _drive(Recalled(), "plain", "to S012", "leave", "shallow") == "S011"
    assert _drive(Recalled(), "plain", "to S022", "leave", "shallow") == "S021"


def test_388_the_last_visit_is_the_one_remembered() -> None:
    """H-120: a later exit replaces the memory; a plain entry neither uses nor clears it (H-123)."""
    machine = Recalled()
    assert _drive(machine, "plain", "to S022", "leave", "plain") == "S011"
    assert _drive(machine, "to S012", "leave", "deep") == "S012"


class DefaultContent(Machine):
    """Logs the behaviours in their order on the way into a state by its history."""

    Out = State()
    P = State()
    A = State(parent=P)
    B = State(parent=P)

    begin = on_initial(ROOT, target=Out)

    def __init__(self) -> None:
        self.log: list[str] = []
        super().__init__()

    @on_initial(P, target=A)
    def initial(self) -> None:
        self.log.append("initial")

    @on_history_default(P, SHALLOW, target=B)
    def default(self) -> None:
        self.log.append("default")

    @on_event(Out, "in", target=P, history=SHALLOW)
    def incoming(self, arg: object) -> None:
        self.log.append("incoming")

    out = on_event(P, "out", target=Out)
    to_a = on_event(P, "to A", target=A)

    @on_entry(P)
    def enter_p(self) -> None:
        self.log.append("+P")

    @on_entry(B)
    def enter_b(self) -> None:
        self.log.append("+B")

    @on_exit(P)
    def exit_p(self) -> None:
        self.log.append("-P")


def test_579_the_default_content_runs_once_and_the_initial_not_at_all() -> None:
    """H-122: the default's content runs after the entry of P, as in SCXML."""
    machine = DefaultContent()
    machine.dispatch("in")
    assert machine.log == ["incoming", "+P", "default", "+B"]


def test_579_the_default_content_does_not_run_once_there_is_something_to_restore() -> None:
    """H-122"""
    machine = DefaultContent()
    _drive(machine, "in", "to A", "out")
    machine.log.clear()
    machine.dispatch("in")
    assert machine.log == ["incoming", "+P"]
    assert machine.current is machine.A


def test_580_a_history_vertex_is_never_part_of_the_configuration() -> None:
    """H-121: only states are active, whatever way led into them."""
    machine = DefaultContent()
    seen = []
    for event in ("in", "out", "in", "to A", "out", "in"):
        machine.dispatch(event)
        seen.append({state.name for state in machine.states if machine.is_in(state)})
    assert seen == [{"P", "B"}, {"Out"}, {"P", "B"}, {"P", "A"}, {"Out"}, {"P", "A"}]


class Completing(Machine):
    """A final state two levels down."""

    Outer = State()
    Inner = State(parent=Outer)
    Working = State(parent=Inner)
    InnerDone = Final(parent=Inner)
    OuterDone = Final(parent=Outer)
    Passed = State()

    begin = on_initial(ROOT, target=Outer)
    begin_outer = on_initial(Outer, target=Inner)
    begin_inner = on_initial(Inner, target=Working)

    def __init__(self) -> None:
        self.log: list[str] = []
        super().__init__()

    finish = on_event(Working, "finish", target=InnerDone)
    noticed_too_early = on_event(Outer, "next", target=Passed)

    @on_entry(Working)
    def enter(self) -> None:
        self.log.append("+Working")

    @on_exit(Working)
    def leave(self) -> None:
        self.log.append("-Working")
        self.post("next")

    @on_completion(Inner, target=OuterDone)
    def inner_done(self) -> None:
        self.log.append("Inner done")

    @on_completion(Outer, target=Passed)
    def outer_done(self) -> None:
        self.log.append("Outer done")


def test_372_done_comes_after_the_entry_of_the_final_state_and_before_waiting_events() -> None:
    """H-132 H-135: the event posted in the exit finds the machine in Passed already."""
    machine = Completing()
    machine.dispatch("finish")
    assert machine.log == ["+Working", "-Working", "Inner done", "Outer done"]
    assert machine.current is machine.Passed
