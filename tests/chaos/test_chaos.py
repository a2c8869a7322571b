"""Chaos in short, and that it can see what it looks for (`make chaos` is the long run)."""

from __future__ import annotations

import numpy as np
import pytest

from tests.chaos.course import chaos
from tests.chaos.proving_frames import SMALLEST, UNKNOWN_SEQ, Proof, fill, prove


@pytest.mark.process
@pytest.mark.timeout(400)
def test_a_deployment_survives_chaos_with_every_frame_whole_and_nothing_left() -> None:
    """D-012, C-059, W-210: kills, stops, a full file system, deleted files, garbage."""
    outcome = chaos(8.0, seed=4, streams=1, bound_s=120.0)
    assert outcome.problems == []
    assert outcome.figures["frames verified"] > 0
    assert outcome.recoveries_s


PROOF = Proof(10_000, 7, 41, UNKNOWN_SEQ)


@pytest.mark.parametrize("words", [SMALLEST, 400, 16384])
def test_a_whole_frame_proves_itself(words: int) -> None:
    array = np.empty(words, np.uint64)
    fill(array, PROOF)
    assert prove(array) == PROOF


@pytest.mark.parametrize("where", [0, 3, 7, 200, 399])
def test_a_frame_with_a_foreign_byte_proves_nothing(where: int) -> None:
    array = np.empty(400, np.uint64)
    fill(array, PROOF)
    array[where] ^= np.uint64(1 << 17)
    assert prove(array) is None


@pytest.mark.parametrize(
    "array", [np.zeros(400, np.uint64), np.zeros(4, np.uint64), np.zeros((8, 8), np.uint64)]
)
def test_zeros_are_not_a_frame(array: np.ndarray) -> None:
    assert prove(array) is None


def test_a_frame_torn_in_the_middle_proves_nothing() -> None:
    older, newer = np.empty(400, np.uint64), np.empty(400, np.uint64)
    fill(older, PROOF)
    fill(newer, Proof(10_000, 7, 42, UNKNOWN_SEQ))
    torn = np.concatenate((newer[:200], older[200:]))
    assert prove(torn) is None
