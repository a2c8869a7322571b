"""The page of the outside suites, written from the lists that their tests use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tests.pssm import catalogue as pssm
from tests.pssm.traced import CASES as PSSM_CASES
from tests.scxml_semantics import catalogue as w3c
from tests.scxml_semantics.judged import CASES as W3C_CASES
from tests.scxml_semantics.test_scxml_semantics import TESTS_OF_THE_SUITE

_HEAD = """\
# Conformance

Two public test suites define the meaning of statecharts: that of *Precise Semantics of UML State
Machines* 1.0 (OMG, ptc/18-11-06) and that of SCXML (W3C). Each of their tests that our model can
express is a machine of ours here, under the name or number of the test. `python
docs/hsm/generate.py` writes this page from the lists that the tests use; a test fails when the
page is stale.
"""
_PSSM = """\
A chart traces its entries, exits and effects. It agrees if its trace is one that the published
test admits ([test_pssm.py](../../tests/pssm/test_pssm.py)). UML leaves some orders open, so a
test may admit several traces. We wrote the charts from the published traces and descriptions.
Where those leave a detail open, the chart is marked below: it shows that the trace is possible,
not that every detail equals the published chart. A do-activity is a chain of posted events that
its state takes ([activities.py](../../tests/pssm/activities.py)).
"""
_W3C = """\
A machine ends in `passed` or `failed`, as the W3C tests do
([test_scxml_semantics.py](../../tests/scxml_semantics/test_scxml_semantics.py)). `<raise>`
becomes `post`, an eventless transition a completion, executable content Python in handlers. An
error in a handler is caught and posted as `error.execution`, because here an error is an
exception. An `<invoke>` is an entry handler that makes another machine, and an exit handler that
stops it; a session is addressed by a reference to its machine. The data of a `<donedata>` is an
attribute that the transition to the final state assigns.
"""


def conformance() -> str:
    differing = {c.name: (c.differs, c.ours) for c in PSSM_CASES.values() if c.differs}
    agreeing = [name for name in PSSM_CASES if name not in differing]
    inferred = [c.name for c in PSSM_CASES.values() if c.inferred]
    lines = [_HEAD, "## PSSM 1.0", "", _PSSM]
    lines += _figures(len(agreeing), differing, len(pssm.NAMES))
    lines += [f"Agree: {', '.join(agreeing)}.", ""]
    lines += [f"Chart with inferred details: {', '.join(inferred)}.", ""]
    lines += ["| differs | reason | our trace |", "| --- | --- | --- |"]
    lines += [f"| {name} | {why} | `{ours}` |" for name, (why, ours) in differing.items()]
    lines += ["", *_reasons(pssm.NOT_EXPRESSED)]

    other = {c.number: c.differs for c in W3C_CASES.values() if c.differs}
    agreeing = sorted((n for n in W3C_CASES if n not in other), key=_number)
    lines += ["## W3C SCXML", "", _W3C]
    lines += _figures(len(agreeing), other, TESTS_OF_THE_SUITE)
    lines += [f"Agree: {', '.join(agreeing)}.", ""]
    lines += ["| differs | reason |", "| --- | --- |"]
    lines += [f"| {number} | {other[number]} |" for number in sorted(other, key=_number)]
    lines += ["", *_reasons(w3c.NOT_EXPRESSED)]
    return "\n".join(lines).rstrip() + "\n"


def _figures(agreeing: int, differing: Iterable[str], all_tests: int) -> Iterator[str]:
    count = len(list(differing))
    differ = "1 differs" if count == 1 else f"{count} differ"
    yield f"Of {all_tests} tests {agreeing} agree and {differ}, each for a named reason."
    yield f"{all_tests - agreeing - count} are not expressed; the reasons are below."
    yield ""


def _reasons(not_expressed: Mapping[str, str]) -> Iterator[str]:
    names: dict[str, list[str]] = {}
    for name, reason in not_expressed.items():
        names.setdefault(reason, []).append(name)
    yield from ("| not expressed | reason |", "| --- | --- |")
    for reason, concerned in names.items():
        yield f"| {', '.join(concerned)} | {reason} |"
    yield ""


def _number(name: str) -> tuple[int, str]:
    return int(name[:3]), name
