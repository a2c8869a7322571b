"""Garbage on the control stream costs nothing but counters."""

from __future__ import annotations

from pathlib import Path

import pytest

from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tests.driver.garbage import garbage_corpus
from tests.soak.garbage_flood import run


def test_the_corpus_is_the_same_for_the_same_seed_and_has_every_kind_of_trouble() -> None:
    corpus = garbage_corpus(7, 500)
    assert corpus == garbage_corpus(7, 500) != garbage_corpus(8, 500)
    assert {len(message) < 8 for message in corpus} == {True, False}


@pytest.mark.process
def test_D_060_a_flood_of_garbage_changes_nothing_and_costs_no_lease(
    tmp_path: Path, media_driver: MediaDriverProcess
) -> None:
    """D-060, D-065, D-186, D-194: `tests/soak/garbage_flood.py` is the long form."""
    outcome = run(tmp_path, seconds=2, rate=10_000, aeron_dir=media_driver.directory)
    assert outcome.problems() == []
    assert outcome.sent > 1000
    assert {"malformed", "unknown_template", "unsupported_version"} <= set(outcome.warnings)
