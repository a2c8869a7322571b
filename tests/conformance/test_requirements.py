"""Every D- and W- requirement is reported by a check, or the reason why not is given."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from tensor_pool.cli.conformance.requirements import NOT_REPORTED

PAGE: dict[str, Any] = runpy.run_path(
    str(Path(__file__).parents[2] / "docs" / "reference" / "conformance_page.py")
)


def test_every_requirement_is_reported_or_has_a_reason() -> None:
    ids = {one for document in ("driver", "wire") for one in PAGE["requirements"](document)}
    reported = {one for one in PAGE["reported"]() if one[:2] in ("D-", "W-")}
    excused = [one for reasons in NOT_REPORTED.values() for one in reasons]
    assert len(ids) > 270
    assert len(excused) == len(set(excused))
    assert reported & set(excused) == set(), "reported all the same"
    assert ids - reported - set(excused) == set(), "neither reported nor excused"
    assert (reported | set(excused)) - ids == set(), "in no specification"
    assert len(reported) > len(excused), "most can be seen"


def test_names_of_checks_are_unique_within_a_kit() -> None:
    for checks in PAGE["KITS"].values():
        names = [one.name for one in checks]
        assert len(names) == len(set(names))
