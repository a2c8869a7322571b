"""The real driver and the real clients through hundreds of hostile worlds, every rule checked.

The driver's invariants I-1 to I-24 are checked after every event, the clients' CI-1 to CI-10 after
every turn; frames are compared with what was published; at the end of each run everything has to be
well again within a bound.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tensor_pool.client.attachment import epoch_mapping as stream_mapping
from tensor_pool.client.attachment.attachment import Attachment
from tensor_pool.client.attachment.identity import Correlations
from tensor_pool.client.consumer.frame import Frame
from tensor_pool.client.producer.slot_writer import SlotWriter
from tensor_pool.driver.core.lease_machine import LeaseLifecycle
from tensor_pool.driver.core.lease_table import LeaseTable
from tensor_pool.driver.core.ports import PublishOutcome
from tests.simulation.campaign import campaign, describe, report
from tests.simulation.minimise import smallest_subset
from tests.simulation.run import Failure, run_seed, run_steps
from tests.simulation.schedule import scenario_of, steps_of

pytestmark = pytest.mark.timeout(600)

SEEDS = (*range(98), 170, 464, 488)  # the last three found faults; `make simulate` runs 2,000
STEPS = 2000
SEED = 1


@pytest.mark.timeout(1800)
def test_every_rule_holds_in_every_world(capsys: pytest.CaptureFixture[str]) -> None:
    """D-012, D-013, D-088, D-143, D-160, D-186, C-021, C-053, C-059, C-094"""
    result = campaign(SEEDS, STEPS)
    with capsys.disabled():
        print(f"\n{report(result)}")
    assert not result.findings
    assert result.figures.seeds == len(SEEDS)
    assert min(result.figures.faults.values()) > len(SEEDS) / 100


def test_a_seed_gives_the_same_run_byte_for_byte_in_any_process() -> None:
    """D-017: also where sets and dictionaries of strings are ordered otherwise."""
    outcome = run_seed(SEED, 400)
    assert not isinstance(outcome, Failure)
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(SEED), "--steps", "400"]
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        said = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout
        assert outcome[1] in said


def test_two_seeds_give_two_runs() -> None:
    first, second = run_seed(1, 200), run_seed(2, 200)
    assert not isinstance(first, Failure)
    assert not isinstance(second, Failure)
    assert first[1] != second[1]


class _OnlyCommitted:
    """Commit words of a producer that never marks a slot as being written."""

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def __getitem__(self, index: int) -> int:
        word: int = self._words[index]
        return word

    def __setitem__(self, index: int, word: int) -> None:
        if word & 1:
            self._words[index] = word


def _never_in_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot that is being filled still looks like the frame it held before."""
    real: Callable[..., Any] = SlotWriter.__init__

    def init(self: Any, mapping: Any) -> None:
        real(self, mapping)
        self.words = _OnlyCommitted(self.words)

    monkeypatch.setattr(SlotWriter, "__init__", init)


def _always_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that does not look at the commit word again."""
    monkeypatch.setattr(Frame, "valid", property(lambda frame: frame._state.is_open))


def _expires_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases end a tenth of a second before their time."""
    overdue = LeaseTable.overdue
    monkeypatch.setattr(LeaseTable, "overdue", lambda s, ns: overdue(s, ns + 100_000_000))


class _NoPublisher:
    def publish(self, *_: object) -> PublishOutcome:
        return PublishOutcome.SENT


def _ends_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease expires without a notice."""
    real: Callable[..., Any] = LeaseLifecycle._end

    def end(self: Any, counter: str, reason: Any, text: str) -> None:
        services = self._services
        publisher = services.publisher
        if counter == "leases_expired":
            services.publisher = _NoPublisher()
        real(self, counter, reason, text)
        services.publisher = publisher

    monkeypatch.setattr(LeaseLifecycle, "_end", end)


def _ignores_its_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client goes on as if it still had its lease."""
    monkeypatch.setattr(Attachment, "on_lease_revoked", lambda *_: None)


def _never_unmaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mappings are forgotten instead of closed."""
    monkeypatch.setattr(stream_mapping.StreamMapping, "close", lambda _: None)


def _forgets_late_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease granted too late is left alone."""
    monkeypatch.setattr(Correlations, "take_late_answer", lambda *_: None)


def _minds_the_detaches_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any answer to a detach is taken for one's own."""
    monkeypatch.setattr(Correlations, "take_detach_answer", lambda *_: True)


@pytest.mark.parametrize(
    ("break_it", "rule"),
    [
        (_never_in_progress, "CI-7"),
        (_always_valid, "CI-7"),
        (_expires_early, "I-18"),
        (_ends_in_silence, "I-4"),
        (_ignores_its_notice, "C-053"),
        (_never_unmaps, "CI-10"),
        (_forgets_late_answers, "CI-5"),
        (_minds_the_detaches_of_others, "CI-9"),
    ],
)
def test_what_is_broken_is_found(
    break_it: Callable[[pytest.MonkeyPatch], None], rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch)
    found = []
    for seed in range(60):
        outcome = run_seed(seed, 1000)
        if isinstance(outcome, Failure):
            found.append(str(outcome.error))
            if found[-1].startswith(rule):
                return
    pytest.fail(f"not found by {rule}, but {found[:3]}")


def test_a_failing_run_is_made_small_and_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    _never_unmaps(monkeypatch)
    outcome = run_seed(0, 500)
    assert isinstance(outcome, Failure)
    finding = describe(outcome, 500)
    assert finding.only is not None
    assert len(finding.only) <= 10
    steps = steps_of(scenario_of(0), 500)
    repeated = run_steps(scenario_of(0), [steps[n] for n in finding.only])
    assert isinstance(repeated, Failure)
    assert repeated.kind == outcome.kind
    assert f"--seed 0 --steps 500 --trace --only {','.join(map(str, finding.only))}" in str(finding)


def test_minimising_keeps_what_is_needed_together() -> None:
    assert smallest_subset(list(range(200)), lambda items: {7, 42, 199} <= set(items)) == [
        7,
        42,
        199,
    ]
