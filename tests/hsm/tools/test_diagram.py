"""The contents of a diagram, in each of its formats."""

from __future__ import annotations

import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tensor_pool.hsm import (
    HANDLED,
    ROOT,
    HsmError,
    Machine,
    Outcome,
    State,
    on_completion,
    on_event,
    on_initial,
)
from tensor_pool.hsm.diagram import graphviz, render
from tensor_pool.hsm.diagram.outline import Outline
from tensor_pool.hsm.diagram.reading import outline_of
from tensor_pool.hsm.diagram.svg import RendererMissingError, hash_in, source_hash
from tests.hsm.tools.charts import Everything

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def outline() -> Outline:
    return outline_of(Everything)


def _labels(outline: Outline, source: str, target: str) -> list[str]:
    found = [a for a in outline.arrows if (a.source, a.target) == (source, target)]
    assert len(found) <= 1
    return list(found[0].labels) if found else ["(no arrow)"]


def test_nested_states_are_children_of_their_box(outline: Outline) -> None:
    inside = [node.id for node in outline.children("Very_busy") if node.kind == "state"]
    assert inside == ["Inner", "Other"]
    assert outline.node("Very_busy").kind == "composite"
    assert outline.node("Very_busy").name == "Very busy"


def test_edges_carry_event_guard_and_effect(outline: Outline) -> None:
    assert _labels(outline, "Idle", "Very_busy") == ["PLAY [is_ready]"]
    assert _labels(outline, "Idle", "Very_busy__shallow") == ["resume, go on / resume"]
    assert _labels(outline, "Inner", "Done") == ["Stop"]


def test_every_initial_is_a_filled_circle_in_its_owner(outline: Outline) -> None:
    assert outline.node("ROOT__initial").parent == "ROOT"
    assert _labels(outline, "Very_busy__initial", "Inner") == ["/ prepare"]


def test_history_has_a_vertex_for_each_kind_and_its_default_leaves_it(outline: Outline) -> None:
    assert outline.node("Very_busy__shallow").parent == "Very_busy"
    assert _labels(outline, "Very_busy__shallow", "Other") == ["/ first_time"]
    assert _labels(outline, "Idle", "Very_busy__deep") == ["deep"]
    assert _labels(outline, "Other", "Very_busy__deep") == ["recall / recall"]


def test_a_choice_made_in_a_method_of_the_handler_is_a_diamond(outline: Outline) -> None:
    (choice,) = [node for node in outline.nodes if node.kind == "choice"]
    assert choice.parent == "Very_busy"
    assert _labels(outline, "Idle", choice.id) == ["choose / pick"]
    assert _labels(outline, choice.id, "Inner") == []
    assert _labels(outline, choice.id, "Other") == []


def test_an_imperative_handler_has_an_arrow_for_each_target(outline: Outline) -> None:
    assert _labels(outline, "Inner", "Other") == ["toggle / toggle"]
    assert _labels(outline, "Inner", "Idle") == ["toggle / toggle"]


def test_a_box_lists_entry_exit_internal_events_and_deferrals(outline: Outline) -> None:
    assert outline.node("Idle").lines == ("entry / greet", "defer later")
    assert outline.node("Very_busy").lines == ("again (self)", "any other / shrug")
    assert outline.root.lines == ("exit of any other state / leave",)


def test_final_and_terminate_are_distinguished(outline: Outline) -> None:
    assert outline.node("Done").kind == "final"
    assert outline.node("Dead").kind == "terminate"
    assert outline.node("Empty").kind == "composite"


def test_a_completion_is_an_arrow_without_event(outline: Outline) -> None:
    (arrow,) = [a for a in outline.arrows if a.kind == "completion"]
    assert (arrow.source, arrow.target, arrow.labels) == ("Very_busy", "Idle", ())


def test_events_of_root_start_at_the_machine_itself(outline: Outline) -> None:
    assert _labels(outline, "ROOT", "Dead") == ["kill"]
    assert _labels(outline, "ROOT", "Rest") == ["rest"]


def test_dot_draws_the_uml_symbols() -> None:
    dot = render(Everything, "dot")
    assert 'subgraph "cluster_Very_busy"' in dot
    assert '"Done" [shape=doublecircle, style=filled' in dot
    assert 'label=<<FONT POINT-SIZE="22">&#215;</FONT>>' in dot
    assert 'label="H"' in dot
    assert 'label="H*"' in dot
    assert "shape=diamond" in dot
    assert 'lhead="cluster_Very_busy"' in dot
    assert 'ltail="cluster_Very_busy", style=dashed' in dot


def test_an_arrow_from_inside_to_its_box_ends_at_the_initial() -> None:
    dot = render(Everything, "dot")
    assert '"Inner" -> "Very_busy__initial" [label=" back \\l"]' in dot
    assert '"Very_busy__any" -> "Other" [label=" inside \\l"]' in dot


def test_mermaid_nests_states_and_marks_what_it_has_no_symbol_for() -> None:
    mermaid = render(Everything, "mermaid")
    assert 'state "Very busy" as Very_busy {' in mermaid
    assert 'state "◉ Done" as Done' in mermaid
    assert 'state "✕ Dead" as Dead' in mermaid
    assert 'state "(H)" as Very_busy__shallow' in mermaid
    assert "<<choice>>" in mermaid
    assert "ROOT --> Dead : kill" in mermaid
    assert mermaid.count("{") == mermaid.count("}")
    assert "inside → Other" in mermaid
    assert "Inner : back → Very busy" in mermaid
    assert "Inner --> Very_busy" not in mermaid


@pytest.mark.parametrize("format_", ["mermaid", "dot", "svg"])
def test_the_same_class_always_gives_the_same_text(format_: str) -> None:
    script = (
        "from tensor_pool.hsm.diagram import render\n"
        "from tests.hsm.tools.charts import Everything\n"
        f"print(render(Everything, {format_!r}), end='')"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


def test_svg_is_a_picture_that_names_its_source() -> None:
    svg = render(Everything, "svg")
    assert hash_in(svg) == source_hash(render(Everything, "dot"))
    root = ElementTree.fromstring(svg)
    texts = {e.text for e in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Very busy", "Inner", "H*", "Dead"} <= texts
    assert any("resume" in str(text) for text in texts)


def test_without_graphviz_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(RendererMissingError, match="pip install graphviz-pure"):
        render(Everything, "svg")


def test_a_failing_graphviz_is_an_error_with_its_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho no such shape >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(graphviz, "_program", lambda: str(program))
    with pytest.raises(HsmError, match="no such shape"):
        render(Everything, "svg")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="'gif' is not a diagram format"):
        render(Everything, "gif")  # type: ignore[arg-type]


def test_names_that_are_not_plain_words_are_drawn() -> None:
    class Odd(Machine):
        a = State('<"end">: \\ & more')
        b = State("end")
        c = State("a b")
        d = State("a_b")
        begin = on_initial(ROOT, target=a)
        go = on_event(a, '<x> "y"; z', target=b)

    svg = render(Odd, "svg")
    texts = [e.text for e in ElementTree.fromstring(svg).iter() if e.text]
    assert '<"end">: \\ & more' in texts
    assert any('<x> "y"; z' in text for text in texts)
    mermaid = render(Odd, "mermaid")
    assert " as state_end\n" in mermaid
    assert len({line.split(" as ")[1] for line in mermaid.splitlines() if " as " in line}) == 4
    assert "#60;x#62; #34;y#34;#59; z" in mermaid


def test_a_state_named_like_a_generated_vertex_is_a_vertex_of_its_own() -> None:
    class Clash(Machine):
        On = State()
        In = State(parent=On)
        other = State("On__initial")
        begin = on_initial(ROOT, target=On)
        begin_on = on_initial(On, target=In)
        go = on_event(In, "go", target=other)

    drawn = outline_of(Clash)
    assert len({node.id for node in drawn.nodes}) == len(drawn.nodes) == 6


def test_names_that_differ_in_signs_only_have_ids_of_their_own() -> None:
    class Similar(Machine):
        one = State("a_b_3")
        two = State("a b")
        three = State("a-b")
        begin = on_initial(ROOT, target=one)

    assert len({node.id for node in outline_of(Similar).nodes}) == 5


def test_events_without_a_name_are_drawn_without_their_address() -> None:
    class Nameless(Machine):
        A = State()
        begin = on_initial(ROOT, target=A)
        go = on_event(A, object(), 7, ("a", 1), target=A)

    assert "A --> A : &lt;object".replace("&lt;", "#60;") in render(Nameless, "mermaid")
    assert "0x" not in render(Nameless, "dot")
    assert "7, ('a', 1)" in render(Nameless, "dot")


def test_a_completion_handled_without_a_transition_stands_in_the_box() -> None:
    class Quiet(Machine):
        A = State()
        begin = on_initial(ROOT, target=A)

        @on_completion(A)
        def note(self) -> Outcome:
            return HANDLED

    assert outline_of(Quiet).node("A").lines == ("completion / note",)
