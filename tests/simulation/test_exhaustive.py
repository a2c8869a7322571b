"""Every order of turns, timers and interventions for one stream, two producers, one consumer."""

from __future__ import annotations

import pytest

from tensor_pool.client.attachment.epoch_mapping import StreamMapping
from tests.simulation.exhaustive import QUICK, SERVING, Root, explore, explore_all


@pytest.mark.timeout(1200)
def test_every_rule_holds_in_every_order(capsys: pytest.CaptureFixture[str]) -> None:
    """D-013, D-077, C-014; the same rules as in the simulation, liveness included"""
    explorations = explore_all(QUICK)
    with capsys.disabled():
        print()
        for exploration in explorations:
            print(exploration)
    assert [e.failure for e in explorations] == ["" for _ in QUICK]
    assert all(len(e.by_depth) == e.root.depth + 1 for e in explorations)
    assert sum(e.states for e in explorations) > 1000


def test_an_exploration_is_repeatable() -> None:
    root = Root("none has attached", "", 2)
    first, second = explore(root), explore(root)
    assert first.by_depth == second.by_depth
    assert first.transitions == second.transitions


def test_what_is_broken_is_found_with_the_path_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI-10: mappings that are forgotten instead of closed."""
    monkeypatch.setattr(StreamMapping, "close", lambda _: None)
    found = explore(Root("two attached", SERVING, 2))
    assert found.failure.startswith("InvariantError: CI-10")
    assert f"after {SERVING}x1" in found.failure
