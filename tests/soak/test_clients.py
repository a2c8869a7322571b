"""Growth, as the soak of clients judges it (`make soak-clients` is the soak)."""

from __future__ import annotations

import os

import pytest

from tests.chaos.processes import Holdings
from tests.soak.clients import Level

FIRST = Level(descriptors=7, maps=300, rss_kib=50_000)


@pytest.mark.parametrize(
    ("last", "complaint"),
    [
        (Level(8, 300, 50_000), "7 open files became 8"),
        (Level(7, 301, 50_000), "300 maps became 301"),
        (Level(7, 300, 60_000), "50000 KiB of memory became 60000"),
    ],
)
def test_one_file_or_map_more_or_a_fifth_more_memory_is_growth(last: Level, complaint: str) -> None:
    assert last.growth_since(FIRST) == [complaint]


def test_the_same_or_less_is_not_growth() -> None:
    assert FIRST.growth_since(FIRST) == []
    assert Level(6, 299, 51_000).growth_since(FIRST) == []


def test_an_open_file_and_a_map_are_seen() -> None:
    before = Holdings(os.getpid(), "/nowhere")
    with open(os.devnull):
        during = Holdings(os.getpid(), "/nowhere")
    assert during.descriptors == before.descriptors + 1
    assert Holdings(os.getpid(), "/").regions > 0 == before.regions
    assert before.rss_kib > 1000


def test_a_level_is_the_least_of_its_samples() -> None:
    samples = [Holdings(os.getpid(), "/nowhere") for _ in range(2)]
    samples[0].descriptors, samples[1].descriptors = 9, 4
    assert Level.of(samples).descriptors == 4
