"""The soak in short: a few seconds instead of minutes (`make soak`)."""

from __future__ import annotations

import pytest

from tests.soak.torn_read import Outcome, soak


@pytest.mark.process
@pytest.mark.parametrize("payload_bytes", [4096, 1 << 20])
def test_W_081_no_torn_frame_is_accepted_from_a_producer_at_full_speed(payload_bytes: int) -> None:
    """W-081, W-082, W-085: two processes, a ring of four slots."""
    outcome = soak(payload_bytes, seconds=2)
    assert outcome.accepted > 0
    assert outcome.produced > 4
    assert (outcome.torn, outcome.mistaken, outcome.invalid, outcome.impossible) == (0, 0, 0, 0)


@pytest.mark.process
def test_C_085_C_103_no_torn_frame_is_accepted_from_batches() -> None:
    """W-081, W-082, W-085 for words and headers that NumPy writes and reads a slot apart."""
    outcome = soak(4096, seconds=2, batch=True)
    assert outcome.accepted > 0
    assert outcome.produced > 4
    assert (outcome.torn, outcome.mistaken, outcome.impossible) == (0, 0, 0)


@pytest.mark.process
@pytest.mark.parametrize("batch", [False, True], ids=["single", "batch"])
def test_a_commit_before_the_payload_is_caught(batch: bool) -> None:
    """Without the order of W-081 the soak sees frames whose content does not fit their number."""
    outcome = caught("commit-first", batch=batch)
    assert outcome.torn + outcome.mistaken > 0


@pytest.mark.process
def test_W_085_commit_words_written_byte_by_byte_are_caught() -> None:
    outcome = caught("struct")
    assert outcome.impossible > 0


def caught(broken: str, *, batch: bool = False) -> Outcome:
    """One second after another, since on a busy machine the two may hardly ever run together."""
    for _ in range(20):
        outcome = soak(4096, seconds=1, broken=broken, batch=batch)
        if outcome.wrong:
            break
    return outcome
