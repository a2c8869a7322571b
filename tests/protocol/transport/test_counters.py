"""A media driver without a free counter: nothing is left unconnected in silence (W-009)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.aeron import AeronTransport
from tensor_pool.protocol.transport.counters_file import counters_total, counters_used
from tensor_pool.protocol.transport.media_driver import EmbeddedMediaDriver, unique_aeron_dir

CHANNEL = "aeron:ipc?term-length=64k"
FEW = 8192  # Aeron's least
REMEDY = "AERON_COUNTERS_BUFFER_LENGTH=2m"


@pytest.fixture
def few_counters(monkeypatch: pytest.MonkeyPatch) -> Iterator[AeronTransport]:
    """A client of a media driver with as few counters as Aeron allows."""
    monkeypatch.setenv("AERON_COUNTERS_BUFFER_LENGTH", "1m")
    with (
        EmbeddedMediaDriver(unique_aeron_dir()) as media_driver,
        contextlib.closing(AeronTransport.connect(media_driver.directory)) as transport,
    ):
        yield transport


def test_W_009_a_subscription_without_a_counter_is_refused_with_the_remedy(
    few_counters: AeronTransport,
) -> None:
    """Aeron accepts it and connects it to nothing."""
    assert counters_total(few_counters.directory) == FEW
    publications = [few_counters.add_publication(CHANNEL, 7) for _ in range(60)]
    used = len(counters_used(few_counters.directory))
    subscriptions = []
    with pytest.raises(TransportError, match=f"all {FEW:,} counters .*{REMEDY}"):
        subscriptions.extend(few_counters.add_subscription(CHANNEL, 7) for _ in range(300))
    assert len(subscriptions) >= (FEW - used) // (len(publications) + 3)
    with pytest.raises(
        TransportError, match=f"cannot add a publication.*{FEW:,} counters.*{REMEDY}"
    ):
        for _ in range(300):
            few_counters.add_publication(CHANNEL, 8)


def test_W_009_counters_that_were_given_back_are_used_again(few_counters: AeronTransport) -> None:
    publication = few_counters.add_publication(CHANNEL, 7)
    before = len(counters_used(few_counters.directory))
    subscription = few_counters.add_subscription(CHANNEL, 7)
    assert len(counters_used(few_counters.directory)) > before
    subscription.close()
    publication.close()
    few_counters.add_publication(CHANNEL, 9)
