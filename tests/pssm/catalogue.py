"""All 103 tests of PSSM 1.0 (ptc/18-11-06): cases of ours, or the reason for having none."""

from __future__ import annotations

from tests.pssm import (  # noqa: F401 - they register the cases
    activities,
    branching,
    deferral,
    history,
    regions,
    simple,
)

NAMES = tuple(
    name
    for area, numbers in (
        ("Behavior", "001, 002, 003 A, 003 B, 004"),
        ("", "TransitionExecutionAlgorithm"),
        (
            "Transition",
            "001, 007, 010, 011 A, 011 B, 011 C, 011 D, 011 E, 015, 016, 017, 019, 020, 022, 023",
        ),
        (
            "Event",
            "001, 002, 008, 009, 010, 015, 016 A, 016 B, 017 A, 017 B, 018, "
            "019 A, 019 B, 019 C, 019 D, 019 E",
        ),
        ("Entering", "004, 005, 009, 010, 011"),
        ("Exiting", "001, 002, 003, 004, 005"),
        ("Exit", "001, 002, 003"),
        ("Entry", "002 A, 002 B, 002 C, 002 D, 002 E, 002 F"),
        ("Choice", "001, 002, 003, 004, 005"),
        ("Standalone", "001, 002, 003"),
        ("Fork", "001, 002"),
        ("Join", "001, 002, 003"),
        ("Terminate", "001, 002, 003"),
        ("Final", "001"),
        ("Deferred", "001, 002, 003, 004 A, 004 B, 005, 006 A, 006 B, 006 C, 007"),
        ("Redefinition", "001, 002, 003, 004, 005, 006"),
        ("History", "001-A, 001-B, 001-C, 001-D, 002-A, 002-B, 002-C, 002-D"),
        ("Junction", "001, 002, 003, 004, 005, 006"),
    )
    for name in (f"{area} {number}".strip() for number in numbers.split(", "))
)

_POINTS = "entry and exit points are out of scope; its admitted trace is not in the sources at hand"
_ACTIVITIES = (
    "do-activities are out of scope, and posted events cannot show that they run in parallel"
)
_RESULTS = "a call returns a value; `dispatch` returns an outcome"
_NO_TRACE = "its admitted trace is not in the sources at hand"
_NO_CHART = "its chart is not in the sources at hand, and the trace alone does not determine one"
_BRANCH_EFFECT = "a branch of a fork has no effect of its own"


def _reasons(text: str, reason: str) -> dict[str, str]:
    return dict.fromkeys((name.strip() for name in text.split(";")), reason)


NOT_EXPRESSED: dict[str, str] = {
    **_reasons(
        "TransitionExecutionAlgorithm; Transition 011 B; Transition 011 D; Transition 011 E; "
        "Transition 023; Entering 009; Exiting 004; Exit 001; Exit 002; Exit 003; Entry 002 A; "
        "Entry 002 B; Entry 002 C; Entry 002 D; Entry 002 E; Entry 002 F; Standalone 001; "
        "Standalone 002; Fork 001; Junction 006",
        _POINTS,
    ),
    **_reasons(
        "Transition 017; Deferred 006 B; Deferred 006 C",
        _ACTIVITIES,
    ),
    **_reasons("Event 019 D; Event 019 E; Standalone 003; Deferred 007", _RESULTS),
    **_reasons(
        "Behavior 004; Transition 010; Transition 011 A; Event 017 B; Event 019 B; Event 019 C; "
        "Redefinition 001; Redefinition 002; Redefinition 003; Redefinition 004; "
        "Redefinition 005; Redefinition 006",
        _NO_TRACE,
    ),
    **_reasons("Transition 016; Transition 020", _NO_CHART),
    **_reasons("Fork 002", _BRANCH_EFFECT),
}
