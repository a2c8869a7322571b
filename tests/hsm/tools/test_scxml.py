"""SCXML: what is written, what comes back, and what is refused."""

from __future__ import annotations

import contextlib
import pickle
from dataclasses import replace
from types import FunctionType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    SHALLOW,
    Final,
    HsmError,
    Machine,
    Outcome,
    State,
    Terminate,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
)
from tensor_pool.hsm._definition.chart_of import chart_of
from tensor_pool.hsm.scxml import ScxmlError, export_scxml, import_scxml
from tests.hsm.oracle.build import machine_class
from tests.hsm.oracle.chart import Chart
from tests.hsm.oracle.differ import draw
from tests.hsm.oracle.runs import run_engine


class Player(Machine):
    Off = State()
    On = State()
    Playing = State(parent=On)
    Paused = State(parent=On)
    Burning = State()
    Writing = State(parent=Burning)
    Written = Final(parent=Burning)
    Broken = Final()

    begin = on_initial(ROOT, target=Off)

    @on_initial(On, target=Playing)
    def _rewind(self) -> None:
        self.position = 0

    write = on_initial(Burning, target=Writing)
    paused_first = on_history_default(On, SHALLOW, target=Paused)

    def has_power(self, arg: object) -> bool:
        return True

    switch_on = on_event(Off, "power", guard=has_power, target=On)
    wake = on_event(Off, "wake", target=On, history=SHALLOW)
    off = on_event(On, "power", target=Off)
    pause = on_event(Playing, "pause", target=Paused)
    skip = on_event(On, "skip", target=Paused)
    burn = on_event(Off, "burn", target=Burning)
    end = on_event(Writing, "end", target=Written)
    over = on_completion(Burning, target=Off)

    @on_event(On, "volume")
    def turn(self, arg: object) -> Outcome:
        return HANDLED

    @on_event(Off, ANY, target=Broken)
    def hit(self, arg: object, event: object) -> None:
        """Only written down."""

    @on_entry(Playing)
    def sound(self) -> None:
        """Only written down."""

    @on_exit(Playing)
    def silence(self) -> None:
        """Only written down."""


DOCUMENT = """\
<?xml version="1.0" encoding="UTF-8"?>
<scxml xmlns="http://www.w3.org/2005/07/scxml" xmlns:hsm="urn:tensor-pool:hsm" version="1.0" \
name="Player">
  <initial>
    <transition target="Off"/>
  </initial>
  <state id="Off">
    <transition event="power" cond="has_power" target="On"/>
    <transition event="wake" target="On.history.shallow"/>
    <transition event="burn" target="Burning"/>
    <transition event="*" target="Broken">
      <hsm:call name="hit"/>
    </transition>
  </state>
  <state id="On">
    <initial>
      <transition target="Playing">
        <hsm:call name="_rewind"/>
      </transition>
    </initial>
    <history id="On.history.shallow" type="shallow">
      <transition target="Paused"/>
    </history>
    <transition event="power" target="Off"/>
    <transition event="skip" target="Paused" type="internal"/>
    <transition event="volume">
      <hsm:call name="turn"/>
    </transition>
    <state id="Playing">
      <onentry>
        <hsm:call name="sound"/>
      </onentry>
      <onexit>
        <hsm:call name="silence"/>
      </onexit>
      <transition event="pause" target="Paused"/>
    </state>
    <state id="Paused"/>
  </state>
  <state id="Burning">
    <initial>
      <transition target="Writing"/>
    </initial>
    <transition event="done.state.Burning" target="Off"/>
    <state id="Writing">
      <transition event="end" target="Written"/>
    </state>
    <final id="Written"/>
  </state>
  <final id="Broken"/>
</scxml>
"""


def test_export_writes_structure_and_names_behaviours() -> None:
    assert export_scxml(Player) == DOCUMENT


def _structure(machine: type[Machine]) -> set[tuple[object, ...]]:
    return {
        (e.source.name, e.event, e.target and e.target.name, e.kind, e.guard, e.handler)
        for e in machine.edges
    }


def test_an_imported_class_has_the_same_states_and_edges() -> None:
    imported = import_scxml(DOCUMENT)
    assert imported.__name__ == "Player"
    assert {(s.name, s.parent.name, type(s)) for s in imported.states if s.parent} == {
        (s.name, s.parent.name, type(s)) for s in Player.states if s.parent
    }
    assert _structure(imported) == _structure(Player)
    assert export_scxml(imported) == DOCUMENT


def _exportable(chart: Chart) -> Chart:
    """The chart without what SCXML has no equal for, dropped by what it is."""
    paths = {v.name: v.parent for v in chart.vertices}

    def around(inner: str, outer: str) -> bool:
        while inner in paths:
            inner = paths[inner]
            if inner == outer:
                return True
        return False

    finals = {v.name for v in chart.vertices if v.kind == "final"}
    composites = {v.parent for v in chart.vertices}

    def contains_final(owner: str) -> bool:
        return any(around(final, owner) for final in finals)

    regions = {v.name: v.parent for v in chart.vertices if v.kind == "region"}

    def regions_around(state: str) -> list[str]:
        return [region for region in regions if around(state, region)]

    initials = []
    for owner in ["ROOT", *dict.fromkeys(v.parent for v in chart.vertices if v.parent != "ROOT")]:
        if owner in regions.values():
            continue
        known = next((i for i in chart.initials if i.owner == owner), None)
        below = [v.name for v in chart.vertices if v.parent == owner]
        if known is None or known.plan is not None or (known.history and contains_final(owner)):
            label = f"initial_{owner}"
            initials.append(
                replace(chart.initials[0], label=label, owner=owner, target=below[0], history=None)
            )
            initials[-1] = replace(initials[-1], plan=None, effect=True)
        else:
            initials.append(known)
    plain = {i.owner for i in initials if i.history is None}
    defaults = tuple(d for d in chart.defaults if not contains_final(d.owner))
    rules = []
    for rule in chart.rules:
        if rule.plan is not None and not (rule.plan.what == "handle" and rule.plan.when is None):
            continue
        if rule.state == "ROOT" or rule.target == "ROOT" or rule.after is not None:
            continue
        if rule.state in regions.values() and rule.target is not None:
            if rule.fork and rule.state == rule.target:
                continue
            if around(rule.target, rule.state):
                continue
        around_it = regions_around(rule.state)
        if around_it and rule.event == "*":
            continue
        # Events that two regions take have no equal (see `taken_in_several`).
        if rule.event is not None and any(
            other.event == rule.event
            and any(
                regions[here] == regions[there] and here != there
                for here in around_it
                for there in regions_around(other.state)
            )
            for other in rules
        ):
            continue
        if rule.target is not None and around(rule.state, rule.target):
            continue
        if rule.event == "*" and contains_final(rule.state):
            continue
        if rule.history is not None and rule.target is not None:
            has_default = any((d.owner, d.kind) == (rule.target, rule.history) for d in defaults)
            if contains_final(rule.target) or not (has_default or rule.target in plain):
                continue
        rules.append(rule)
    # A completion of a simple state must not be declined by its last candidate.
    last = {}
    for number, rule in enumerate(rules):
        if rule.event is None and rule.guard is None and rule.target is not None:
            last[rule.state] = number
    rules = [
        rule
        for number, rule in enumerate(rules)
        if rule.event is not None or rule.state in composites or number <= last.get(rule.state, -1)
    ]
    return replace(
        chart,
        initials=tuple(initials),
        rules=tuple(rules),
        defaults=defaults,
        any_entry=False,
        any_exit=False,
    )


def _behaviours(machine: type[Machine]) -> dict[str, Any]:
    chart = chart_of(machine)
    own = {n: f for n, f in vars(machine).items() if isinstance(f, FunctionType)}
    guards = {r.guard.__name__: r.guard for r in chart.rules if r.guard is not None}
    return {**own, **guards}


@pytest.mark.parametrize("block", range(4))
def test_a_round_trip_keeps_structure_and_behaviour_of_any_exportable_chart(block: int) -> None:
    exported = 0
    for seed in range(block * 60, block * 60 + 60):
        chart, sequences = draw(seed, 2, common=False)
        if any(v.kind == "terminate" or v.defer for v in chart.vertices):
            continue
        chart = _exportable(chart)
        original = machine_class(chart)
        document = export_scxml(original)
        imported = import_scxml(document, _behaviours(original))
        assert export_scxml(imported) == document, f"seed {seed}"
        assert _structure(imported) == _structure(original), f"seed {seed}"
        for operations in sequences:
            steps = [op for op in operations if op.what != "roundtrip"]
            assert run_engine(imported, chart, steps) == run_engine(original, chart, steps)
        exported += 1
    assert exported >= 15


def test_export_names_everything_that_scxml_has_no_equal_for() -> None:
    class Rich(Machine):
        A = State(defer=["x"])
        B = State()
        C = State(parent=B)
        D = State(parent=B)
        E = State()
        F = Final(parent=E)
        Dead = Terminate()
        begin = on_initial(ROOT, target=A)
        begin_b = on_initial(B, target=C)
        guarded = on_event(A, "g", guard=lambda self, arg: True, target=B)
        up = on_event(C, "up", target=B)
        top = on_event(C, "top", target=ROOT)
        recall = on_event(C, "recall", target=B, history=DEEP)
        kill = on_event(ROOT, "kill", target=Dead)
        words = on_event(A, "two words", target=B)
        prefix = on_event(A, "a", target=B)
        dotted = on_event(A, "a.b", target=B)

        @on_event(A, "decide", targets=(B, C))
        def decide(self, arg: object) -> Outcome:
            return self.transition(self.C)

        @on_entry(ANY)
        def enter(self, state: State) -> None:
            """Only refused."""

    with pytest.raises(ScxmlError) as caught:
        export_scxml(Rich)
    assert sorted(caught.value.problems) == sorted(
        [
            "Dead is a Terminate vertex",
            "A defers events",
            "E rests without entering one of its children",
            "enter is an entry handler of ANY state",
            "kill of ROOT is handled at ROOT",
            "guarded of A has a guard without a name",
            "up of C is a local transition to B around it",
            "top of C leads to ROOT",
            "recall of C recalls B from inside",
            "decide of A decides in its code where to go",
            "the event 'two words' is not a single word",
            "event a would also match a.b in SCXML",
        ]
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def _with(body: str) -> str:
    return (
        '<scxml xmlns="http://www.w3.org/2005/07/scxml" xmlns:hsm="urn:tensor-pool:hsm">'
        f"{body}</scxml>"
    )


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<parallel id='p'/>", "a <parallel> with fewer than two regions"),
        (
            "<parallel id='p'><state id='a'><transition event='x' target='b'/></state>"
            "<state id='b'/><transition event='y' target='a' type='internal'/></parallel>",
            "a transition from a <parallel> into its regions",
        ),
        ("<datamodel><data id='x'/></datamodel><state id='a'/>", "<datamodel> in <scxml>"),
        ("<state id='a'><invoke/></state>", "<invoke> in <state>"),
        ("<state id='a'><onentry><script>x()</script></onentry></state>", "<script> in <onentry>"),
        ("<state id='a'><onentry><raise event='x'/></onentry></state>", "<raise> in <onentry>"),
        ("<state/>", "<state> has no id"),
        ("<state id='a' foo='1'/>", "<state> has an attribute foo"),
        ("<state id='a'><transition event='x' target='b'/></state>", "the target b"),
        ("<state id='a'><transition event='x' target='a a'/></state>", "2 targets"),
        ("<state id='a'><transition event='x'/></state>", "neither leads anywhere"),
        (
            "<state id='a'><transition event='x' cond='n &gt; 3' target='a'/></state>",
            "cond='n > 3'",
        ),
        ("<state id='a'><transition event='*.x' target='a'/></state>", "the event *.x here"),
        ("<state id='a'><transition event='done.state.b' target='a'/></state>", "done.state.b"),
        ("<state id='a'/><state id='a'/>", "the id a is used twice"),
        ("<state id='a'>text</state>", "contains text"),
        (
            "<state id='a'><state id='b'/><transition event='x' target='b'/></state>",
            "external transition to the inside",
        ),
        (
            "<state id='a'><state id='b'><transition event='x' target='a'/></state></state>",
            "a state around its source",
        ),
        (
            "<state id='a'><state id='b'/><transition target='a'/></state>",
            "without event of a state that has children",
        ),
        ("<state id='a'><history id='h' type='odd'/></state>", "a history of type odd"),
        ("<state id='a'><onexit><hsm:call name='1x'/></onexit></state>", "a call of '1x'"),
        ("<state id='a'><onexit><hsm:call name='__del__'/></onexit></state>", "of '__del__'"),
        ("<state id='a' initial='a'/>", "an initial of a state without children"),
        ("<initial/><state id='a'/>", "not exactly one transition"),
        (
            "<initial><transition target='a'/><transition target='a'/></initial><state id='a'/>",
            "not exactly one transition",
        ),
        (
            "<initial><transition target='a' cond='c'/></initial><state id='a'/>",
            "cond= on the transition of an initial",
        ),
        (
            "<state id='a'><history id='h'><transition event='e' target='b'/></history>"
            "<state id='b'/></state>",
            "event= on the transition of an initial or a history",
        ),
        (
            "<state id='a'><transition event='e' target='a' type='odd'/></state>",
            "a transition of type odd",
        ),
    ],
)
def test_import_names_what_it_does_not_support_with_its_line(body: str, problem: str) -> None:
    with pytest.raises(ScxmlError, match="line 1") as caught:
        import_scxml(_with(body))
    assert any(problem in p for p in caught.value.problems), caught.value.problems


def test_import_reports_all_problems_at_once() -> None:
    with pytest.raises(ScxmlError) as caught:
        import_scxml(_with("<state id='a'><invoke/>\n<parallel/></state>"))
    assert len(caught.value.problems) == 2
    assert caught.value.problems[1].startswith("line 2: <parallel>")


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY a{n} "&a{n - 1 or ""};&a{n - 1 or ""};">' for n in range(1, 40))
    + "]><scxml>&a39;</scxml>"
)
EXTERNAL = (
    '<!DOCTYPE scxml [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    '<scxml xmlns="http://www.w3.org/2005/07/scxml"><state id="&x;"/></scxml>'
)


@pytest.mark.parametrize("document", [BOMB, EXTERNAL, "<!DOCTYPE scxml><scxml/>"])
def test_no_entity_is_ever_expanded(document: str) -> None:
    with pytest.raises(ScxmlError, match="DOCTYPE and entities are not accepted"):
        import_scxml(document)


@pytest.mark.parametrize(
    "document", ["", "<", "<scxml>", "no xml", "<a/><b/>", "\x00", "<a>&x;</a>"]
)
def test_what_is_not_xml_is_refused(document: str) -> None:
    with pytest.raises(ScxmlError, match="not well-formed"):
        import_scxml(document)


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(DOCUMENT)),
            st.integers(0, 40),
            st.sampled_from(
                ["", "<state id='x'>", "</state>", "a", "'", "event", "&lt;", "\ud800"]
            ),
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=300, deadline=None)
def test_a_damaged_document_is_read_or_refused_but_never_anything_else(
    damages: list[tuple[int, int, str]],
) -> None:
    text = DOCUMENT
    for at, length, inserted in damages:
        text = text[:at] + inserted + text[at + length :]
    with contextlib.suppress(HsmError):
        assert issubclass(import_scxml(text), Machine)


def test_nesting_and_size_are_bounded() -> None:
    deep = "<state id='s'>" * 5000 + "</state>" * 5000
    with pytest.raises(ScxmlError, match="nests deeper than 100"):
        import_scxml(_with(deep))
    with pytest.raises(ScxmlError, match="more than 4194304"):
        import_scxml(_with("<!--" + "x" * 5_000_000 + "-->"))


def test_another_document_element_is_refused() -> None:
    with pytest.raises(ScxmlError, match="the document is a <html>"):
        import_scxml("<html/>")


def test_defaults_of_scxml_are_understood() -> None:
    """No initial: the first child. One transition with several events; targets by attribute."""
    imported = import_scxml(
        _with(
            "<state id='a'><transition event='x y' target='b'/></state>"
            "<state id='b' initial='d'><state id='c'/><state id='d'/></state>"
        )
    )
    machine = imported()
    assert machine.current.name == "a"
    machine.dispatch("y")
    assert machine.current.name == "d"


def test_a_missing_behaviour_is_an_error_when_it_is_run() -> None:
    imported = import_scxml(DOCUMENT)
    machine = imported()
    with pytest.raises(HsmError, match="without the behaviour has_power"):
        machine.dispatch("power")


def test_import_leaves_the_given_functions_as_they_are() -> None:
    def hit(self: Machine, arg: object, event: object) -> None:
        """Called for everything unknown."""

    before = dict(vars(hit))
    first = import_scxml(DOCUMENT, {"hit": hit})
    second = import_scxml(DOCUMENT, {"hit": hit})
    assert vars(hit) == before
    first().dispatch("brick")
    second().dispatch("brick")


def test_states_may_have_names_that_are_not_attribute_names() -> None:
    imported = import_scxml(
        _with("<state id='dispatch'><transition event='x' target='a-b'/></state><state id='a-b'/>")
    )
    machine = imported(start=True)
    machine.dispatch("x")
    assert machine.current.name == "a-b"
