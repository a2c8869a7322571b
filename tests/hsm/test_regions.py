"""Orthogonal regions: section 24 of the specification (H-250 to H-257)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tensor_pool.hsm import (
    DEEP,
    DEFERRED,
    HANDLED,
    ROOT,
    SHALLOW,
    UNHANDLED,
    DefinitionError,
    Final,
    Machine,
    Outcome,
    Region,
    State,
    Terminate,
    TransitionError,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
    on_timeout,
)
from tests.hsm.logged import Logged


class Printer(Logged):
    """The machine of the specification's example, with a third state in one region."""

    Off = State()
    Working = State()
    Paper = Region(Working)
    Ink = Region(Working)
    Empty = State(parent=Paper)
    Loaded = State(parent=Paper)
    PaperDone = Final(parent=Paper)
    Dry = State(parent=Ink)
    Wet = State(parent=Ink)
    InkDone = Final(parent=Ink)
    begin = on_initial(ROOT, target=Off)
    paper = on_initial(Paper, target=Empty)
    ink = on_initial(Ink, target=Dry)
    on = on_event(Off, "power", target=Working)
    off = on_event(Working, "power", target=Off)
    resume = on_event(Off, "resume", target=(Loaded, Wet))
    load = on_event(Empty, "load", target=Loaded)
    fill = on_event(Dry, "fill", target=Wet)
    print_paper = on_event(Loaded, "finish", target=PaperDone)
    print_ink = on_event(Wet, "finish", target=InkDone)
    end = on_completion(Working, target=Off)


def leaves(machine: Machine) -> str:
    return " ".join(state.name for state in machine.leaves)


# H-250 ------------------------------------------------------------------------------------------


def _only_one() -> None:
    class Wrong(Machine, abstract=True):
        A = State()
        R = Region(A)


def _beside_a_state() -> None:
    class Wrong(Machine, abstract=True):
        A = State()
        R, S = Region(A), Region(A)
        B = State(parent=A)


def _of_root() -> None:
    class Wrong(Machine, abstract=True):
        R, S = Region(ROOT), Region(ROOT)


def _of_a_region() -> None:
    class Wrong(Machine, abstract=True):
        A = State()
        R, S = Region(A), Region(A)
        T, U = Region(R), Region(R)


def _of_a_final() -> None:
    class Wrong(Machine, abstract=True):
        A = Final()
        R, S = Region(A), Region(A)


def _of_an_unknown_state() -> None:
    class Wrong(Machine, abstract=True):
        R, S = Region("Nowhere"), Region("Nowhere")


class Two(Machine, abstract=True):
    Idle = State()
    A = State()
    R, S = Region(A), Region(A)
    R1, R2 = State(parent=R), State(parent=R)
    S1, S2 = State(parent=S), State(parent=S)
    begin = on_initial(ROOT, target=Idle)
    begin_r, begin_s = on_initial(R, target=R1), on_initial(S, target=S1)


def _without_an_initial() -> None:
    class Wrong(Two):
        begin_r = None


def _an_initial_of_the_owner() -> None:
    class Wrong(Two):
        begin_a = on_initial(Two.A, target=Two.R1)


def _entry_handler() -> None:
    class Wrong(Two):
        @on_entry(Two.R)
        def enter(self) -> None: ...


def _exit_handler() -> None:
    class Wrong(Two):
        @on_exit(Two.R)
        def leave(self) -> None: ...


def _event_handler() -> None:
    class Wrong(Two):
        go = on_event(Two.R, "x", target=Two.Idle)


def _completion_handler() -> None:
    class Wrong(Two):
        go = on_completion(Two.R, target=Two.Idle)


def _time_event() -> None:
    class Wrong(Two):
        go = on_timeout(Two.R, 1, target=Two.Idle)


def _as_a_target() -> None:
    class Wrong(Two):
        go = on_event(Two.Idle, "x", target=Two.R)


# H-253


def _fork_into_one_region() -> None:
    class Wrong(Two):
        go = on_event(Two.Idle, "x", target=(Two.R1, Two.R2))


def _fork_outside() -> None:
    class Wrong(Two):
        go = on_event(Two.Idle, "x", target=(Two.R1, Two.Idle))


def _fork_of_nothing() -> None:
    class Wrong(Two):
        go = on_event(Two.Idle, "x", target=())


def _fork_with_history() -> None:
    class Wrong(Two):
        go = on_event(Two.Idle, "x", target=(Two.R1, Two.S1), history=DEEP)


def _fork_from_inside() -> None:
    class Wrong(Two):
        go = on_event(Two.R1, "x", target=(Two.R2, Two.S2))


# H-254


def _crossing() -> None:
    class Wrong(Two):
        go = on_event(Two.R1, "x", target=Two.S2)


def _crossing_by_completion() -> None:
    class Wrong(Two):
        go = on_completion(Two.R1, target=Two.S2)


def _crossing_by_history() -> None:
    class Wrong(Two):
        go = on_event(Two.R1, "x", target=Two.S, history=DEEP)


@pytest.mark.parametrize(
    ("define", "text"),
    [
        (_only_one, "only region"),
        (_beside_a_state, "has regions; put it into one of them"),
        (_of_root, "cannot have regions"),
        (_of_a_region, "cannot have regions"),
        (_of_a_final, "cannot have children"),
        (_of_an_unknown_state, "unknown parent"),
        (_without_an_initial, "has no initial"),
        (_an_initial_of_the_owner, "entered by its own initial"),
        (_entry_handler, "is a region; declare this for"),
        (_exit_handler, "is a region; declare this for"),
        (_event_handler, "is a region; declare this for"),
        (_completion_handler, "is a region; declare this for"),
        (_time_event, "is a region; declare this for"),
        (_as_a_target, "is a region; name its owner"),
        (_fork_into_one_region, "does not lead into several regions"),
        (_fork_outside, "does not lead into several regions"),
        (_fork_of_nothing, "names no state"),
        (_fork_with_history, "a fork enters no history"),
        (_fork_from_inside, "declare it outside"),
        (_crossing, "in two regions of"),
        (_crossing_by_completion, "in two regions of"),
        (_crossing_by_history, "in two regions of"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_H_250_H_253_H_254_a_violation_is_a_definition_error(
    define: Callable[[], None], text: str
) -> None:
    with pytest.raises(DefinitionError, match=text):
        define()


def test_H_250_the_owner_may_be_named_and_regions_are_states_of_the_class() -> None:
    class Named(Machine):
        R = Region("A", "left")
        S = Region("A")
        A = State()
        X, Y = State(parent=R), State(parent="S")
        begin = on_initial(ROOT, target=A)
        r, s = on_initial(R, target=X), on_initial(S, target=Y)

    assert [state.name for state in Named.states] == ["left", "S", "A", "X", "Y"]
    assert Named.R.parent is Named.A
    assert leaves(Named()) == "X Y"


# H-251 ------------------------------------------------------------------------------------------


class Nested(Logged):
    """Regions R and S of A; in R the state B with regions T and U."""

    Idle = State()
    A = State()
    R, S = Region(A), Region(A)
    B, C = State(parent=R), State(parent=R)
    T, U = Region(B), Region(B)
    T1, T2 = State(parent=T), State(parent=T)
    U1, U2 = State(parent=U), State(parent=U)
    S1, S2 = State(parent=S), State(parent=S)
    S21, S22 = State(parent=S2), State(parent=S2)
    begin = on_initial(ROOT, target=Idle)
    r, s = on_initial(R, target=B), on_initial(S, target=S1)
    t, u = on_initial(T, target=T1), on_initial(U, target=U1)
    s2 = on_initial(S2, target=S21)
    go = on_event(Idle, "go", target=A)
    deep = on_event(Idle, "deep", target=U2)
    fork = on_event(Idle, "fork", target=(T2, U2))
    wide = on_event(Idle, "wide", target=(U2, S2))
    leave = on_event(A, "leave", target=Idle)
    b_c = on_event(B, "swap", target=C)
    c_b = on_event(C, "swap", target=B)
    t12 = on_event(T1, "step", target=T2)
    s12 = on_event(S1, "step", target=S22)
    again = on_event(Idle, "again", target=A, history=DEEP)
    again_shallow = on_event(Idle, "again shallow", target=A, history=SHALLOW)


def test_H_251_leaves_current_and_is_in_with_nested_regions() -> None:
    m = Nested()
    assert m.leaves == (m.Idle,)
    assert m.current is m.Idle
    assert not m.is_in(m.T1)
    m.dispatch("go")
    assert leaves(m) == "T1 U1 S1"
    assert m.current is m.source is m.A
    active = {state.name for state in m.states if m.is_in(state)}
    assert active == {"A", "R", "S", "B", "T", "U", "T1", "U1", "S1"}
    m.dispatch("swap")
    assert leaves(m) == "C S1"
    assert not m.is_in(m.B)
    assert not m.is_in(m.T1)
    with pytest.raises(TypeError):
        m.is_in("A")  # type: ignore[arg-type]
    assert m.is_in(ROOT)
    assert not m.is_in(Printer.Off)


# H-252 ------------------------------------------------------------------------------------------


def test_H_252_events_of_the_regions_are_independent() -> None:
    m = Printer()
    m.dispatch("power")
    m.taken()
    assert m.dispatch("load") is HANDLED
    assert (leaves(m), m.taken()) == ("Loaded Dry", "-Empty +Loaded")
    assert m.dispatch("load") is UNHANDLED
    assert m.dispatch("fill") is HANDLED
    assert (leaves(m), m.taken()) == ("Loaded Wet", "-Dry +Wet")
    assert m.dispatch("nonsense") is UNHANDLED


class Taking(Logged):
    """Every event is declared in several places; each effect and guard logs."""

    Out = State()
    A = State()
    R, S = Region(A), Region(A)
    R1, R2 = State(parent=R), State(parent=R)
    S1, S2 = State(parent=S), State(parent=S)
    begin = on_initial(ROOT, target=A)
    r, s = on_initial(R, target=R1), on_initial(S, target=S1)

    def asked(self, arg: object) -> bool:
        self.note(f"asked {arg}")
        return True

    def _effect(name: str) -> Any:  # type: ignore[misc] # noqa: N805
        def effect(self: Any, arg: object) -> None:
            self.note(name)

        return effect

    both_r = on_event(R1, "both", guard=asked, target=R2)(_effect("r"))
    both_s = on_event(S1, "both", guard=asked, target=S2)(_effect("s"))
    inner = on_event(S1, "inner", target=S2)(_effect("inner"))
    outer = on_event(A, "inner", target=Out)(_effect("outer"))
    leaves_owner = on_event(R1, "out", target=Out)(_effect("leaves"))
    too_late = on_event(S1, "out", target=S2)(_effect("too late"))
    again = on_event(R1, "again", target=A)(_effect("again"))
    again_s = on_event(S1, "again", target=S2)(_effect("too late"))

    @on_event(R1, "mixed", targets=R2)
    def decide(self, arg: object) -> Outcome:
        self.note("decide")
        return self.transition(self.R2) if arg else UNHANDLED

    mixed = on_event(S1, "mixed", target=S2)(_effect("edge"))
    del _effect

    @on_event(R1, "decline")
    def decline(self, arg: object) -> Outcome:
        self.note("decline")
        return UNHANDLED

    @on_event(A, "decline")
    def take_declined(self, arg: object) -> Outcome:
        self.note("outer takes")
        return HANDLED


@pytest.mark.parametrize("observer", [None, object()], ids=["plain", "observed"])
@pytest.mark.parametrize(
    ("event", "arg", "result", "log", "after"),
    [
        ("both", 7, HANDLED, "asked 7 asked 7 -R1 r +R2 -S1 s +S2", "R2 S2"),
        ("inner", 0, HANDLED, "-S1 inner +S2", "R1 S2"),
        ("out", 0, HANDLED, "-S1 -R1 -A leaves +Out", "Out"),
        ("again", 0, HANDLED, "-S1 -R1 again +R1 +S1", "R1 S1"),
        ("mixed", 1, HANDLED, "decide -R1 +R2 -S1 edge +S2", "R2 S2"),
        ("mixed", 0, HANDLED, "decide -S1 edge +S2", "R1 S2"),
        ("decline", 0, HANDLED, "decline outer takes", "R1 S1"),
    ],
)
def test_H_252_the_regions_select_first_and_run_in_document_order(
    observer: object, event: str, arg: object, result: Outcome, log: str, after: str
) -> None:
    """The second candidate of "out" and of "again" is dropped: its source has been left."""
    m = Taking(observer=observer)
    m.taken()
    assert m.dispatch(event, arg) is result
    assert m.taken() == log
    assert leaves(m) == after


def test_H_252_a_dropped_candidate_is_traced() -> None:
    class Watch:
        def __init__(self) -> None:
            self.lines: list[str] = []

        def trace_dispatch_result(
            self, m: Machine, state: State, event: object, result: Outcome
        ) -> None:
            self.lines.append(f"{state.name} {result!r}")

    watch = Watch()
    Taking(observer=watch).dispatch("out")
    assert watch.lines == ["R1 HANDLED", "S1 UNHANDLED"]


# H-253 ------------------------------------------------------------------------------------------


def test_H_253_regions_are_entered_in_document_order_and_left_in_reverse() -> None:
    m = Printer()
    m.taken()
    m.dispatch("power")
    assert m.taken() == "-Off +Working +Empty +Dry"
    m.dispatch("power")
    assert m.taken() == "-Dry -Empty -Working +Off"


@pytest.mark.parametrize(
    ("event", "log"),
    [
        ("go", "-Idle +A +B +T1 +U1 +S1"),
        ("deep", "-Idle +A +B +T1 +U2 +S1"),
        ("fork", "-Idle +A +B +T2 +U2 +S1"),
        ("wide", "-Idle +A +B +T1 +U2 +S2 +S21"),
    ],
)
def test_H_253_a_target_inside_and_a_fork_leave_the_others_to_their_initials(
    event: str, log: str
) -> None:
    m = Nested()
    m.taken()
    m.dispatch(event)
    assert m.taken() == log
    m.dispatch("leave")
    assert m.taken() == " ".join(f"-{name[1:]}" for name in reversed(log.split()[1:])) + " +Idle"


# H-254 ------------------------------------------------------------------------------------------


class Crossing(Logged):
    Out = State()
    A = State()
    R, S = Region(A), Region(A)
    R1, R2 = State(parent=R), State(parent=R)
    S1, S2 = State(parent=S), State(parent=S)
    begin = on_initial(ROOT, target=A)
    r, s = on_initial(R, target=R1), on_initial(S, target=S1)

    @on_event(R1, "go", targets=(S2, R2, S, R, A, Out))
    def go(self, to: tuple[str, State]) -> Outcome:
        how, target = to
        if how == "choice":
            return self.choice(self.A, [], otherwise=target)
        if how == "history":
            return self.transition_history(target, DEEP)
        return self.transition(target)


@pytest.mark.parametrize(
    ("how", "name", "text"),
    [
        ("go", "S2", "in another region"),
        ("go", "R", "is a region"),
        ("go", "S", "in another region"),
        ("choice", "S2", "in another region"),
        ("history", "S", "not among the targets|in another region"),
    ],
)
def test_H_254_an_imperative_crossing_is_refused_before_any_exit(
    how: str, name: str, text: str
) -> None:
    m = Crossing()
    m.taken()
    with pytest.raises(TransitionError, match=text):
        m.dispatch("go", (how, getattr(m, name)))
    assert (m.taken(), leaves(m), m.is_running) == ("", "R1 S1", True)


@pytest.mark.parametrize(
    ("how", "name", "log"),
    [
        ("go", "R2", "-R1 +R2"),
        ("go", "A", "-S1 -R1 +R1 +S1"),
        ("go", "Out", "-S1 -R1 -A +Out"),
        ("history", "R", "-R1 +R1"),
    ],
)
def test_H_254_transitions_within_a_region_and_out_of_it_are_taken(
    how: str, name: str, log: str
) -> None:
    m = Crossing()
    m.taken()
    m.dispatch("go", (how, getattr(m, name)))
    assert m.taken() == log


# H-255 ------------------------------------------------------------------------------------------


def test_H_255_the_owner_completes_once_when_all_regions_are_final() -> None:
    m = Printer()
    m.dispatch("resume")
    m.taken()
    m.dispatch("finish")
    assert m.taken() == "-Loaded -Wet -Working +Off"
    m.dispatch("power")
    for event in ("load", "finish"):
        m.dispatch(event)
    assert leaves(m) == "PaperDone Dry"
    for event in ("fill", "finish"):
        m.dispatch(event)
    assert leaves(m) == "Off"


def test_H_255_several_completions_are_processed_in_the_order_in_which_they_arose() -> None:
    class Joined(Logged):
        A, After = State(), State()
        R, S = Region(A), Region(A)
        R1, R2, R_end = State(parent=R), State(parent=R), Final(parent=R)
        S1, S2, S_end = State(parent=S), State(parent=S), Final(parent=S)
        begin = on_initial(ROOT, target=A)
        r, s = on_initial(R, target=R1), on_initial(S, target=S1)
        r1, s1 = on_completion(R1, target=R2), on_completion(S1, target=S2)
        r2, s2 = on_completion(R2, target=R_end), on_completion(S2, target=S_end)
        joined = on_completion(A, target=After)

    m = Joined()
    assert m.taken() == "+A +R1 +S1 -R1 +R2 -S1 +S2 -R2 -S2 -A +After"


def test_H_255_nested_regions_join_one_after_the_other() -> None:
    class Joined(Nested):
        t_end, u_end = Final(parent=Nested.T), Final(parent=Nested.U)
        r_end, s_end = Final(parent=Nested.R), Final(parent=Nested.S)
        t1 = on_event(Nested.T1, "t", target=t_end)
        u1 = on_event(Nested.U1, "u", target=u_end)
        s1 = on_event(Nested.S1, "s", target=s_end)
        b = on_completion(Nested.B, target=r_end)
        a = on_completion(Nested.A, target=Nested.Idle)

    m = Joined()
    for event, expected in (
        ("go", "T1 U1 S1"),
        ("t", "t_end U1 S1"),
        ("s", "t_end U1 s_end"),
        ("u", "Idle"),
    ):
        m.dispatch(event)
        assert leaves(m) == expected


# H-256 ------------------------------------------------------------------------------------------


def _waiting(*, taker: str, deferrer: str) -> Machine:
    """B, with regions T and U, is in region R of A; in region S is S1."""

    class Waiting(Machine):
        A = State(defer=["x"] if deferrer == "A" else [])
        R, S = Region(A), Region(A)
        B = State(parent=R, defer=["x"] if deferrer == "B" else [])
        T, U = Region(B), Region(B)
        T1 = State(parent=T, defer=["x"] if deferrer == "T1" else [])
        U1 = State(parent=U, defer=["x"] if deferrer == "U1" else [])
        S1 = State(parent=S, defer=["x"] if deferrer == "S1" else [])
        begin = on_initial(ROOT, target=A)
        r, s, t, u = (
            on_initial(R, target=B),
            on_initial(S, target=S1),
            on_initial(T, target=T1),
            on_initial(U, target=U1),
        )

        @on_event(taker, "x")
        def take(self, arg: object) -> Outcome:
            return HANDLED

    return Waiting()


@pytest.mark.parametrize(
    ("taker", "deferrer", "result"),
    [
        ("T1", "U1", HANDLED),  # a sibling region takes it
        ("U1", "T1", HANDLED),
        ("S1", "T1", HANDLED),
        ("T1", "S1", HANDLED),
        ("S1", "B", HANDLED),
        ("T1", "B", HANDLED),  # inside the deferring state
        ("T1", "A", HANDLED),
        ("B", "T1", DEFERRED),  # around the deferring state
        ("A", "T1", DEFERRED),
        ("A", "B", DEFERRED),
        ("A", "S1", DEFERRED),
        ("ROOT", "U1", DEFERRED),
        ("B", "S1", HANDLED),
    ],
)
def test_H_256_who_takes_and_who_defers(taker: str, deferrer: str, result: Outcome) -> None:
    m = _waiting(taker=taker, deferrer=deferrer)
    assert m.dispatch("x") is result
    assert m.snapshot()["deferred"] == ([["x", None]] if result is DEFERRED else [])


# H-257 ------------------------------------------------------------------------------------------


class Remembering(Nested):
    ink = on_event(Nested.Idle, "only R", target=Nested.R, history=DEEP)
    ink_shallow = on_event(Nested.Idle, "only S", target=Nested.S, history=SHALLOW)
    around = on_event(Nested.A, "back", target=Nested.A, history=DEEP)
    region = on_event(Nested.A, "back R", target=Nested.R, history=DEEP)
    default = on_history_default(Nested.S, DEEP, target=Nested.S2)
    only_s_deep = on_event(Nested.Idle, "default S", target=Nested.S, history=DEEP)


@pytest.mark.parametrize(
    ("event", "log"),
    [
        ("again", "-Idle +A +B +T2 +U1 +S2 +S22"),
        ("again shallow", "-Idle +A +B +T1 +U1 +S2 +S21"),
        ("only R", "-Idle +A +B +T2 +U1 +S1"),
        ("only S", "-Idle +A +B +T1 +U1 +S2 +S21"),
    ],
)
def test_H_257_deep_restores_every_leaf_and_shallow_the_children(event: str, log: str) -> None:
    m = Remembering()
    for each in ("go", "step", "leave"):
        m.dispatch(each)
    m.taken()
    m.dispatch(event)
    assert m.taken() == log


def test_H_257_an_active_owner_is_left_and_restored() -> None:
    m = Remembering()
    for each in ("go", "step"):
        m.dispatch(each)
    m.taken()
    m.dispatch("back")
    assert m.taken() == "-S22 -S2 -U1 -T2 -B -A +A +B +T2 +U1 +S2 +S22"
    m.dispatch("back R")
    assert m.taken() == "-S22 -S2 -U1 -T2 -B -A +A +B +T2 +U1 +S1"


def test_H_257_a_region_without_memory_takes_its_default_or_its_initial() -> None:
    m = Remembering()
    m.taken()
    m.dispatch("default S")
    assert m.taken() == "-Idle +A +B +T1 +U1 +S2 +S21"
    m = Remembering()
    m.dispatch("only R")
    assert leaves(m) == "T1 U1 S1"


def test_H_257_a_final_region_is_entered_by_its_initial() -> None:
    class Ended(Printer):
        end = None
        again = on_event(Printer.Off, "again", target=Printer.Working, history=DEEP)

    m = Ended()
    for event in ("resume", "finish", "power", "again"):
        m.dispatch(event)
    assert leaves(m) == "Empty Dry"
    for event in ("load", "finish", "fill", "power", "again"):
        m.dispatch(event)
    assert leaves(m) == "Empty Wet"


def test_H_255_a_completion_of_a_state_that_has_been_left_is_dropped() -> None:
    class Left(Logged):
        A, Out = State(), State()
        R, S = Region(A), Region(A)
        R1, S1, S2 = State(parent=R), State(parent=S), State(parent=S)
        begin = on_initial(ROOT, target=A)
        r, s = on_initial(R, target=R1), on_initial(S, target=S1)
        leave, too_late = on_completion(R1, target=Out), on_completion(S1, target=S2)

    m = Left()
    assert m.taken() == "+A +R1 +S1 -S1 -R1 -A +Out"
    assert m.leaves == (m.Out,)


@pytest.mark.parametrize("name", ["A", "S1", "T1"])
def test_H_258_no_region_is_entered_after_one_that_has_ended_the_machine(name: str) -> None:
    """By initial, on the way to a target in a later region, and behind a target."""

    class Ending(Logged):
        Idle, A = State(), State()
        Q, R, S, T = Region(A), Region(A), Region(A), Region(A)
        Q1, R1, S1, T1 = State(parent=Q), State(parent=R), State(parent=S), State(parent=T)
        dead = Terminate(parent=R1)
        begin = on_initial(ROOT, target=Idle)
        q, r, s = on_initial(Q, target=Q1), on_initial(R, target=R1), on_initial(S, target=S1)
        t, r1 = on_initial(T, target=T1), on_initial(R1, target=dead)
        go = on_event(Idle, "A", target=A)
        to_s1, to_t1 = on_event(Idle, "S1", target=S1), on_event(Idle, "T1", target=T1)

    m = Ending()
    m.taken()
    m.dispatch(name)
    assert m.is_terminated
    assert m.taken() == "-Idle +A +Q1 +R1"
