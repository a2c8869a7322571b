"""The table of docs/hsm/semantics.md that compares with UML, SCXML and python-statemachine.

Each row is run here, by our engine and by python-statemachine from an SCXML document; the traces in
the table are what they write. The PSSM and W3C tests that the row names are cases of ours.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from statemachine.io.scxml.processor import SCXMLProcessor

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    Final,
    Machine,
    Outcome,
    Region,
    State,
    on_completion,
    on_event,
    on_initial,
)
from tests.hsm.logged import Logged
from tests.pssm import catalogue as _pssm  # noqa: F401 - it registers the cases
from tests.pssm.traced import CASES as PSSM
from tests.scxml_semantics import catalogue as _w3c  # noqa: F401 - it registers the cases
from tests.scxml_semantics.judged import CASES as W3C

PAGE = Path(__file__).parents[3] / "docs" / "hsm" / "semantics.md"


@dataclass(frozen=True)
class Row:
    machine: type[Machine]
    document: str
    events: Sequence[str]


ROWS: dict[str, Row] = {}


def noted(text: str) -> Callable[[Any, Any], None]:
    def effect(self: Any, arg: Any) -> None:
        self.note(text)

    return effect


def assign(text: str) -> str:
    return f'<assign location="log" expr="log+\' {text}\'"/>'


def state(name: str, *content: str, initial: str = "", tag: str = "state") -> str:
    attribute = f' initial="{initial}"' if initial else ""
    ends = f"<onentry>{assign('+' + name)}</onentry><onexit>{assign('-' + name)}</onexit>"
    return f'<{tag} id="{name}"{attribute}>{ends}{"".join(content)}</{tag}>'


def edge(event: str, target: str, content: str = "", cond: str = "") -> str:
    named = f' event="{event}"' if event else ""
    guard = f' cond="{cond}"' if cond else ""
    return f'<transition{named}{guard} target="{target}">{content}</transition>'


class Nested(Logged):
    A = State()
    A1 = State(parent=A)
    A2 = State(parent=A)
    B = State()
    begin = on_initial(ROOT, target=A)
    inside = on_initial(A, target=A1)
    up = on_event(A2, "up", target=A)
    down = on_event(A, "down", target=A2)
    again = on_event(A1, "again", target=A1)
    inner = on_event(A1, "both", target=A2)
    outer = on_event(A, "both", target=B)
    every = on_event(A2, ANY, target=A1)
    specific = on_event(A, "hidden", target=B)
    leave = on_event(A2, "leave", target=B)
    back = on_event(B, "back", target=A, history=DEEP)(noted("*"))


NESTED = state(
    "A",
    '<history id="h" type="deep"><transition target="A1"/></history>',
    state("A1", edge("again", "A1"), edge("both", "A2")),
    state("A2", edge("up", "A"), edge("leave", "B"), edge("down", "A2"), edge("*", "A1")),
    edge("down", "A2"),
    edge("both", "B"),
    edge("hidden", "B"),
    initial="A1",
) + state("B", edge("back", "h", assign("*")))


class Regions(Logged):
    A = State()
    P = Region(A)
    Q = Region(A)
    P1 = State(parent=P)
    P2 = State(parent=P)
    Q1 = State(parent=Q)
    Q2 = State(parent=Q)
    begin = on_initial(ROOT, target=A)
    in_p = on_initial(P, target=P1)
    in_q = on_initial(Q, target=Q1)
    p = on_event(P1, "go", target=P2)
    q = on_event(Q1, "go", target=Q2)


REGIONS = state(
    "A",
    f'<state id="P" initial="P1">{state("P1", edge("go", "P2"))}{state("P2")}</state>',
    f'<state id="Q" initial="Q1">{state("Q1", edge("go", "Q2"))}{state("Q2")}</state>',
    tag="parallel",
)


class Ready(Logged):
    A = State()
    B = State()
    ready = False
    begin = on_initial(ROOT, target=A)

    def is_ready(self) -> bool:
        return self.ready

    @on_event(A, "fill")
    def fill(self, arg: Any) -> Outcome:
        self.ready = True
        return HANDLED

    end = on_completion(A, guard=is_ready, target=B)


READY = state(
    "A",
    edge("", "B", cond="log == ' +A !'"),
    f'<transition event="fill">{assign("!")}</transition>',
) + state("B")


class Finished(Logged):
    A = State()
    A1 = State(parent=A)
    A2 = State(parent=A)
    Done = Final(parent=A)
    B = State()
    begin = on_initial(ROOT, target=A)
    inside = on_initial(A, target=A1)
    go = on_event(A1, "go", target=A2)
    finish = on_event(A2, "finish", target=Done)
    leave = on_event(A, "leave", target=B)
    back = on_event(B, "back", target=A, history=DEEP)


FINISHED = state(
    "A",
    '<history id="h" type="deep"><transition target="A1"/></history>',
    state("A1", edge("go", "A2")),
    state("A2", edge("finish", "Done")),
    '<final id="Done"/>',
    edge("leave", "B"),
    initial="A1",
) + state("B", edge("back", "h"))


class Named(Logged):
    A = State()
    B = State()
    begin = on_initial(ROOT, target=A)
    go = on_event(A, "error", target=B)


NAMED = state("A", edge("error", "B")) + state("B")

ROWS["a state and one around it have a candidate"] = Row(Nested, NESTED, ["both"])
ROWS["an inner state takes every event"] = Row(Nested, NESTED, ["both", "hidden"])
ROWS["to itself"] = Row(Nested, NESTED, ["again"])
ROWS["to a state inside the source"] = Row(Nested, NESTED, ["down"])
ROWS["to the state around the source"] = Row(Nested, NESTED, ["both", "up"])
ROWS["back by deep history, with content"] = Row(Nested, NESTED, ["both", "leave", "back"])
ROWS["history, the last leaf was final"] = Row(
    Finished, FINISHED, ["go", "finish", "leave", "back"]
)
ROWS["a completion whose guard gets true later"] = Row(Ready, READY, ["fill"])
ROWS["two regions take one event"] = Row(Regions, REGIONS, ["go"])
ROWS["`error` declared, `error.execution` comes"] = Row(Named, NAMED, ["error.execution"])


def cells() -> dict[str, list[str]]:
    section = PAGE.read_text().split("## Row by row")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    table = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    return {row[0]: row[1:] for row in table}


def ours(row: Row) -> str:
    machine: Any = row.machine()
    for event in row.events[:-1]:
        machine.dispatch(event)
    machine.log.clear()
    machine.dispatch(row.events[-1])
    return " ".join(machine.log) or "nothing"


def theirs(row: Row) -> str:
    processor: Any = SCXMLProcessor()
    processor.parse_scxml(
        "row",
        '<scxml xmlns="http://www.w3.org/2005/07/scxml" version="1.0" datamodel="python" '
        f'initial="A"><datamodel><data id="log" expr="\'\'"/></datamodel>{row.document}</scxml>',
    )
    chart = processor.start()
    for event in row.events[:-1]:
        chart.send(event)
    before = len(chart.model.log)
    chart.send(row.events[-1])
    return chart.model.log[before:].replace(" !", "").strip() or "nothing"


def test_the_table_has_the_rows_that_are_run() -> None:
    assert list(cells()) == list(ROWS)


@pytest.mark.parametrize("situation", ROWS)
def test_our_engine_and_python_statemachine_do_what_the_row_has(situation: str) -> None:
    here, _, _, foreign = cells()[situation]
    row = ROWS[situation]
    assert [here.split("`")[1], foreign.split("`")[1]] == [ours(row), theirs(row)]


@pytest.mark.parametrize("situation", ROWS)
def test_the_outside_tests_of_a_row_are_cases_of_ours(situation: str) -> None:
    """A case that differs is marked so, and no other one."""
    _, uml, scxml, _ = cells()[situation]
    for name, mark in re.findall(r"PSSM ([\w -]+?)( differs)?(?:[,;.]|$)", uml):
        assert bool(PSSM[name].differs) == bool(mark), name
    for name, mark in re.findall(r"W3C (\w+)( differs)?", scxml):
        assert bool(W3C[name].differs) == bool(mark), name
