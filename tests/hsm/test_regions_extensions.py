"""Orthogonal regions and the rest of the framework (H-258, H-259, H-265)."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from typing import Any

import pytest

from tensor_pool.hsm import (
    ANY,
    DEFERRED,
    HANDLED,
    ROOT,
    Coverage,
    DispatchError,
    Final,
    Machine,
    Outcome,
    Region,
    State,
    Terminate,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_initial,
    on_timeout,
    paths,
)
from tensor_pool.hsm._engine.codegen import Lines, Plan
from tensor_pool.hsm.diagram import render
from tensor_pool.hsm.scxml import ScxmlError, export_scxml, import_scxml
from tests.hsm.logged import Logged, Trace
from tests.hsm.test_regions import Nested, Printer, leaves


class Watched(Logged):
    """A machine with regions, time events, deferral and a fault on request."""

    Idle = State()
    A = State()
    R, S = Region(A), Region(A)
    R1, R2, R_end = State(parent=R), State(parent=R), Final(parent=R)
    S1, S2 = State(parent=S, defer=["later"]), State(parent=S)
    gone = Terminate(parent=S)
    begin = on_initial(ROOT, target=Idle)
    r, s = on_initial(R, target=R1), on_initial(S, target=S1)
    go = on_event(Idle, "go", target=A)
    step_r, step_s = on_event(R1, "step", target=R2), on_event(S1, "step", target=S2)
    end_r = on_event(R2, "end", target=R_end)
    kill = on_event(S1, "kill", target=gone)
    later = on_event(S2, "later", target=S1)
    leave = on_event(A, "leave", target=Idle)
    late_r = on_timeout(R1, 2.0, target=R2)
    late_s = on_timeout(S1, 3.0, target=S2)
    late_a = on_timeout(A, 10.0, target=Idle)
    now = 0.0

    def clock(self) -> float:
        return self.now

    @on_event(R1, "break", target=R2)
    def first(self, arg: object) -> None:
        self.note("first")

    @on_event(S1, "break", target=S2)
    def breaks(self, arg: object) -> None:
        raise ValueError("broken")


def test_H_258_terminate_in_a_region_terminates_the_machine() -> None:
    m = Watched()
    m.dispatch("go")
    m.taken()
    m.dispatch("kill")
    assert m.is_terminated
    assert m.taken() == "-S1"
    assert m.leaves == (ROOT,)
    assert not m.is_in(m.R1)
    assert not m.is_in(m.A)


@pytest.mark.parametrize("observer", [None, object()], ids=["plain", "observed"])
def test_H_258_a_fault_keeps_the_leaves_as_before_the_event(observer: object) -> None:
    """The first region's transition had ended when the second one's failed."""
    m = Watched(observer=observer)
    m.dispatch("go")
    with pytest.raises(ValueError, match="broken"):
        m.dispatch("break")
    assert m.is_faulted
    assert (leaves(m), m.current, m.is_in(m.R1), m.is_in(m.R2)) == ("R1 S1", m.A, True, False)
    m.reset()
    assert leaves(m) == "Idle"


def test_H_258_a_fault_in_nested_regions_keeps_their_leaves_too() -> None:
    class Broken(Nested):
        @on_exit(Nested.T2)
        def fail(self) -> None:
            raise ValueError("broken")

    m = Broken()
    m.dispatch("fork")
    with pytest.raises(ValueError, match="broken"):
        m.dispatch("leave")
    assert m.is_faulted
    assert leaves(m) == "T2 U2 S1"


def test_H_258_time_events_of_several_regions() -> None:
    """H-241 H-242"""
    m = Watched()
    m.dispatch("go")
    assert m.next_deadline == 2.0
    m.now = 5.0
    assert m.poll()
    assert leaves(m) == "R2 S2"
    m.now = 9.0
    assert not m.poll()
    m.now = 10.0
    assert m.poll()
    assert leaves(m) == "Idle"
    assert m.next_deadline is None


def test_H_258_a_deferred_event_is_recalled_by_a_transition_of_any_region() -> None:
    m = Watched()
    m.dispatch("go")
    assert m.dispatch("later") is DEFERRED
    m.dispatch("step")
    assert leaves(m) == "R2 S1"
    assert not m.snapshot()["deferred"]


def test_H_258_an_event_posted_in_one_region_is_taken_in_another() -> None:
    class Talking(Watched):
        @on_entry(Watched.R2)
        def call(self) -> None:
            self.post("heard")

        heard = on_event(Watched.S1, "heard", target=Watched.S2)

    m = Talking()
    m.dispatch("go")
    m.now = 2.0
    m.poll()
    assert leaves(m) == "R2 S2"


def _running() -> Watched:
    m = Watched()
    for event in ("go", "later", "step"):
        m.dispatch(event)
    m.dispatch("leave")
    m.dispatch("go")
    m.dispatch("end")
    m.dispatch("later")
    return m


def test_H_258_snapshots_of_regions_are_json_and_restore_everything() -> None:
    """H-220 H-221"""
    m = _running()
    taken = json.loads(json.dumps(m.snapshot()))
    assert taken["format"] == 2
    assert taken["state"] == "A"
    assert taken["regions"] == ["R1", "S1"]
    other = Watched(start=False)
    other.restore(taken)
    assert (leaves(other), other.snapshot()) == (leaves(m), m.snapshot())
    other.dispatch("step")
    assert leaves(other) == "R2 S1"  # the deferred event has been recalled


def test_H_258_a_nested_configuration_and_its_history_survive_a_snapshot() -> None:
    m = Nested()
    for event in ("go", "step", "leave", "deep"):
        m.dispatch(event)
    taken = json.loads(json.dumps(m.snapshot()))
    assert taken["regions"] == [{"state": "B", "regions": ["T1", "U2"]}, "S1"]
    other = Nested(start=False)
    other.restore(taken)
    other.dispatch("leave")
    other.dispatch("again")
    assert leaves(other) == "T1 U2 S1"


def test_H_258_a_snapshot_of_revision_1_is_restored() -> None:
    m = Printer(start=False)
    m.restore(
        {
            "machine": "Printer",
            "state": "Off",
            "lifecycle": "running",
            "history": {},
            "completion": None,
            "posted": [],
            "deferred": [],
        }
    )
    m.dispatch("power")
    assert leaves(m) == "Empty Dry"


@pytest.mark.parametrize(
    "change",
    [
        {"regions": None},
        {"regions": ["Empty"]},
        {"regions": ["Dry", "Empty"]},
        {"regions": ["Empty", "Off"]},
        {"regions": ["Empty", "Nowhere"]},
        {"regions": ["Empty", {"state": "Dry", "regions": ["Empty"]}]},
        {"state": "Empty"},
        {"state": "Paper"},
        {"history": {"Working": "Empty"}},
        {"history": {"Working": {"state": "Off", "regions": []}}},
        {"history": {"Paper": "Dry"}},
        {"completion": "Working"},
        {"completion": ["Off", "Working"]},
    ],
    ids=str,
)
def test_H_222_an_impossible_configuration_of_regions_is_refused(change: dict[str, Any]) -> None:
    m = Printer()
    m.dispatch("power")
    with pytest.raises(ValueError, match="no snapshot of Printer"):
        m.restore({**m.snapshot(), **change})
    assert leaves(m) == "Empty Dry"


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_H_258_copies_are_independent(duplicate: Any) -> None:
    """H-191"""
    m = _running()
    other = duplicate(m)
    other.dispatch("step")
    assert (leaves(m), leaves(other)) == ("R1 S1", "R2 S1")
    assert other.snapshot()["deferred"] == [] != m.snapshot()["deferred"]


def test_H_258_the_traces_of_an_event_in_two_regions() -> None:
    m = Watched()
    m.dispatch("go")
    trace = Trace()
    m.add_observer(trace)
    m.dispatch("step")
    assert trace.taken() == [
        "dispatch_start 'step' None",
        "dispatch_attempt R1 'step'",
        "dispatch_attempt S1 'step'",
        "transition_begin R1 R2 R",
        "exit R1",
        "transition_action R1 R2",
        "entry R2",
        "transition_end R1 R2",
        "dispatch_result R1 'step' HANDLED",
        "transition_begin S1 S2 S",
        "exit S1",
        "transition_action S1 S2",
        "entry S2",
        "transition_end S1 S2",
        "dispatch_result S1 'step' HANDLED",
    ]
    m.remove_observer(trace)
    m.dispatch("later")
    assert leaves(m) == "R2 S1"
    assert not trace.taken()


def test_H_258_coverage_edges_and_lint() -> None:
    coverage = Coverage(Printer)
    m = Printer(observer=coverage)
    m.dispatch("resume")
    m.dispatch("finish")
    missed = {state.name for state in coverage.missed_states()}
    assert missed == {"Empty", "Dry"}
    taken = {(e.event, e.target.name) for e in coverage.edges if e.target is not None}
    assert {("resume", "Loaded"), ("resume", "Wet"), ("finish", "InkDone")} <= taken
    assert Printer.unreachable() == ()
    assert Printer.lint() == ()
    kinds = {e.target.name: e.kind for e in Printer.edges if e.event == "resume" and e.target}
    assert kinds == {"Loaded": "external", "Wet": "external"}

    class NoFollower(Printer):
        end = None

    assert [(f.code, f.state.name) for f in NoFollower.lint()] == [("no-completion", "Working")]


def test_H_258_can_asks_every_region() -> None:
    """H-260"""
    m = Watched()
    assert not m.can("step")
    m.dispatch("go")
    assert m.can("step")
    assert m.can("later")
    assert m.can("leave")
    assert not m.can("end")


def test_H_258_stop_leaves_all_regions() -> None:
    """H-264"""
    m = Printer()
    m.dispatch("power")
    m.taken()
    m.stop()
    assert m.taken() == "-Dry -Empty -Working"
    m.start()
    assert leaves(m) == "Off"


def test_H_258_any_and_the_argument_reach_regions() -> None:
    """H-063 H-110"""

    class Wild(Logged):
        A = State()
        R, S = Region(A), Region(A)
        R1, S1, S2 = State(parent=R), State(parent=S), State(parent=S)
        begin = on_initial(ROOT, target=A)
        r, s = on_initial(R, target=R1), on_initial(S, target=S1)
        go = on_event(S1, "go", target=S2)

        @on_event(R1, ANY)
        def take(self, arg: object, event: object) -> Outcome:
            self.note(f"{event} {arg}")
            return HANDLED

        @on_entry(S2)
        def enter(self, arg: object) -> None:
            self.note(f"+S2 {arg}")

    m = Wild()
    m.taken()
    for event in ("go", None, "other"):
        assert m.dispatch(event, 7) is HANDLED
    assert m.taken() == "go 7 -S1 +S2 7 None 7 other 7"
    with pytest.raises(DispatchError):
        m.dispatch(ANY)


def test_H_265_paths_lead_through_regions() -> None:
    found = {(p.edge.source.name, p.edge.event): p.events for p in paths(Printer)}
    assert found["Wet", "finish"] == ("resume", "finish")
    for path in paths(Printer):
        coverage = Coverage(Printer)
        m = Printer(observer=coverage)
        for event in path.events:
            m.dispatch(event)
        assert coverage.edges[path.edge] > 0, path


# Exchange and pictures ---------------------------------------------------------------------------


class Plain(Machine):
    """As `Printer`, without behaviours."""

    Off, Working = State(), State()
    Paper, Ink = Region(Working), Region(Working)
    Empty, Loaded, PaperDone = State(parent=Paper), State(parent=Paper), Final(parent=Paper)
    Dry, Wet, InkDone = State(parent=Ink), State(parent=Ink), Final(parent=Ink)
    begin = on_initial(ROOT, target=Off)
    paper, ink = on_initial(Paper, target=Empty), on_initial(Ink, target=Dry)
    on = on_event(Off, "power", target=Working)
    off = on_event(Working, "power", target=Off)
    resume = on_event(Off, "resume", target=(Loaded, Wet))
    load, fill = on_event(Empty, "load", target=Loaded), on_event(Dry, "fill", target=Wet)
    end_paper = on_event(Loaded, "finish", target=PaperDone)
    end_ink = on_event(Wet, "finish", target=InkDone)
    end = on_completion(Working, target=Off)


def test_H_258_regions_are_parallel_in_scxml_and_come_back() -> None:
    text = export_scxml(Plain)
    assert '<parallel id="Working">' in text
    assert 'target="Loaded Wet"' in text
    imported = import_scxml(text)
    assert export_scxml(imported) == text
    m, other = Plain(), imported()
    for event in ("power", "load", "fill", "finish", "resume", "power"):
        m.dispatch(event)
        other.dispatch(event)
        assert leaves(m) == leaves(other)


def test_H_258_a_region_with_behaviours_of_its_own_is_wrapped() -> None:
    m = import_scxml(
        """<scxml xmlns="http://www.w3.org/2005/07/scxml" version="1.0" initial="P">
          <parallel id="P">
            <state id="X"><transition event="out" target="Y"/></state>
            <state id="Z"/>
          </parallel>
          <state id="Y"/>
        </scxml>"""
    )()
    assert leaves(m) == "X Z"
    m.dispatch("out")
    assert leaves(m) == "Y"


def test_H_258_scxml_that_would_mean_something_else_is_refused() -> None:
    class Logging(Plain):
        @on_exit(Plain.Wet)
        def leave(self) -> None: ...

    with pytest.raises(ScxmlError, match="several regions of Working take finish"):
        export_scxml(Logging)

    class Inwards(Plain):
        inside = on_event(Plain.Working, "in", target=Plain.Loaded)

    with pytest.raises(ScxmlError, match="into its own regions"):
        export_scxml(Inwards)
    with pytest.raises(ScxmlError, match="fewer than two regions"):
        import_scxml(
            '<scxml xmlns="http://www.w3.org/2005/07/scxml" version="1.0">'
            '<parallel id="P"><state id="X"/></parallel></scxml>'
        )


def test_H_258_pictures_show_regions_and_forks() -> None:
    mermaid = render(Plain, "mermaid")
    assert "        --\n" in mermaid
    assert "<<fork>>" in mermaid
    assert 'subgraph "cluster_Paper"' in render(Plain, "dot")
    assert render(Plain, "dot").count("rounded,filled,dashed") == 2
    assert render(Plain, "svg").count('stroke-dasharray="7 4"') == 2


# H-259 ------------------------------------------------------------------------------------------


def _wide(regions: int, states: int) -> type[Machine]:
    """A ring of states in each of several regions, or in the machine itself."""
    owner = State("owner")
    body: dict[str, Any] = {"owner": owner, "begin": on_initial(ROOT, target=owner)}
    for number in range(regions):
        home = owner if regions == 1 else Region(owner, f"r{number}")
        body[f"r{number}"] = home
        ring = [State(f"s{number}_{index}", parent=home) for index in range(states)]
        for index, state in enumerate(ring):
            body[state.name] = state
            body[f"e{number}_{index}"] = on_event(state, "next", target=ring[(index + 1) % states])
        body[f"i{number}"] = on_initial(home, target=ring[0])
    if regions == 1:
        del body["r0"]
    return type(Machine)("Wide", (Machine,), body)


def test_H_259_the_number_of_plans_grows_linearly(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    compile_plan = Lines.compile

    def counting(lines: Lines) -> Plan:
        nonlocal count
        count += 1
        return compile_plan(lines)

    monkeypatch.setattr(Lines, "compile", counting)

    def plans(regions: int, states: int) -> int:
        nonlocal count
        count = 0
        m = _wide(regions, states)()
        for _ in range(3 * states):
            assert m.dispatch("next") is HANDLED
        return count

    assert plans(8, 10) <= 10 * plans(1, 8)
    assert plans(4, 6) <= 2 * plans(2, 6)


def test_H_197_regions_retain_no_memory() -> None:
    m = Printer()

    def cycle() -> None:
        for event in ("power", "load", "fill", "nothing", "power", "resume", "finish"):
            m.dispatch(event)
        m.log.clear()

    for _ in range(600):
        cycle()
    before = sys.getallocatedblocks()
    for _ in range(500):
        cycle()
    assert sys.getallocatedblocks() - before < 100


def test_H_258_a_strict_machine_has_the_events_of_all_regions() -> None:
    """H-261"""

    class Strict(Plain, strict=True):
        pass

    m = Strict()
    m.dispatch("power")
    assert m.dispatch("fill") is HANDLED
    with pytest.raises(DispatchError, match="did you mean 'fill'"):
        m.dispatch("fil")
    assert leaves(m) == "Empty Wet"
