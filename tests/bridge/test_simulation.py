"""Two bridges on simulated time, 100,000 frames, random faults, the invariants of section 17."""

from __future__ import annotations

import pytest

from tensor_pool.bridge.core.bridge import SourceFeed
from tensor_pool.bridge.core.receiving import Receiver
from tensor_pool.bridge.core.sending import Sender
from tests.bridge.sim_pool import SimFrame
from tests.bridge.sim_world import Faults, World

EVERYTHING = {
    "cut": 0.0005,
    "restart_a": 0.0005,
    "restart_b": 0.0005,
    "source": 0.001,
    "overwritten": 0.02,
    "refusal": 0.2,
    "lease_loss": 0.001,
    "loss": 0.005,
    "duplication": 0.01,
}


@pytest.mark.parametrize("seed", range(10))
def test_B_012_a_hundred_thousand_frames_through_every_fault(seed: int) -> None:
    """B-012, B-003, B-005, B-090, B-091, BI-1 to BI-10: 10,000 frames a seed; a run is repeated by
    its seed."""
    world = World(seed, Faults(**EVERYTHING), max_rate_hz=900.0 if seed % 5 == 4 else 0.0)
    world.run(2000, frames_per_step=5)
    world.settle()
    world.check_accounts(exact=False)
    assert world.delivered
    before = len(world.delivered)
    if not world.source.epoch:
        world.source.start(1000)
    world.run(200, frames_per_step=2)  # whatever happened: it works again
    world.settle()
    assert len(world.delivered) > before + 50


@pytest.mark.parametrize("seed", range(4))
def test_B_005_without_loss_on_the_way_every_frame_is_accounted_for(seed: int) -> None:
    """B-005, B-048, BI-9: to the frame, with sources, leases and slots that go."""
    world = World(seed, Faults(source=0.001, overwritten=0.05, refusal=0.2, lease_loss=0.001))
    world.run(800, frames_per_step=2)
    world.settle()
    world.check_accounts(exact=True)
    assert len(world.delivered) > 100


@pytest.mark.parametrize("seed", range(4))
def test_B_005_a_receiver_accounts_for_every_frame_from_its_first_info_on(seed: int) -> None:
    """B-005: kills of the receiving bridge, partitions that end images, leases that are lost. The
    frames before the first info of a restarted bridge are those that its predecessor got, or that
    were lost with it; from there on each frame is delivered, dropped or lost."""
    world = World(seed, Faults(cut=0.001, restart_b=0.001, lease_loss=0.001, loss=0.001))
    world.run(3000, frames_per_step=0.5)
    world.settle()
    counted = world.check_account_there()
    delivered_before = len(world.delivered) - counted["frames_delivered"]
    assert counted["frames_before"] >= delivered_before > 0
    world.run(500, frames_per_step=0.5)
    world.network.cut()
    world.step(20_000)
    world.settle()
    world.check_account_there()


def test_B_005_nothing_is_lost_or_before_where_the_network_loses_nothing() -> None:
    """B-005: a sender that restarts begins a new account."""
    world = World(1, Faults(restart_a=0.003))
    world.run(2000, frames_per_step=0.5)
    world.settle()
    counted = world.receiver.counters
    assert counted["frames_before"] == 0
    assert world.totals["frames_sent"] > 100


def plant(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """Break one rule of the bridge."""
    if bug == "the commit word is not looked at again":
        monkeypatch.setattr(SimFrame, "valid", property(lambda frame: frame.race() is None))
    elif bug == "duplicates are begun anew":
        forgets = property(lambda _: -1, lambda *_: None)
        monkeypatch.setattr(Receiver, "_last_begun", forgets, raising=False)
    elif bug == "an epoch changes without a new lease":
        monkeypatch.setattr(Receiver, "is_same", lambda *_: True)
        follows = property(_epoch_of_owner, lambda *_: None)
        monkeypatch.setattr(Receiver, "source_epoch", follows, raising=False)
    elif bug == "a loan is kept when the owner falls silent":
        monkeypatch.setattr(Receiver, "abort_loan", lambda *_: None)
    elif bug == "the lease is kept without a producer":
        monkeypatch.setattr(Receiver, "detach", lambda *_: None)
    elif bug == "chunks go before infos":
        monkeypatch.setattr(Sender, "send_info", lambda *_: None)
    elif bug == "descriptors wait for the link":
        monkeypatch.setattr(SourceFeed, "do_work", _reads_only_while_idle)
    elif bug == "the queue has no end":
        monkeypatch.setattr(Sender, "queue", lambda sender, frame: sender._queue.append(frame))
    elif bug == "a frame that is given up is not counted":
        monkeypatch.setattr(Sender, "give_up", lambda sender, why: sender._end_work())
    else:
        raise AssertionError(bug)


def _epoch_of_owner(receiver: Receiver) -> int:
    return receiver.owner.info.epoch if receiver.owner is not None else 0


_do_work = SourceFeed.do_work


def _reads_only_while_idle(feed: SourceFeed) -> int:
    return 0 if feed.senders[0].is_working else _do_work(feed)


@pytest.mark.parametrize(
    ("bug", "found"),
    [
        ("the commit word is not looked at again", "BI-1"),
        ("duplicates are begun anew", "came twice|BI-2|seq .* goes back"),
        ("an epoch changes without a new lease", "BI-2|BI-3|goes back"),
        ("a loan is kept when the owner falls silent", "BI-4"),
        ("the lease is kept without a producer", "BI-4|BI-5"),
        ("chunks go before infos", "BI-6"),
        ("descriptors wait for the link", "BI-7"),
        ("the queue has no end", "BI-8"),
        ("a frame that is given up is not counted", "BI-9"),
    ],
)
def test_B_012_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, bug: str, found: str
) -> None:
    """B-012: each invariant of section 17 is broken once, and noticed."""
    plant(monkeypatch, bug)
    with pytest.raises(AssertionError, match=found):
        for seed in range(6):
            rate_hz = 400.0 if seed % 2 else 0.0  # far frames are numbered densely, or not
            faults = Faults(**{**EVERYTHING, "source": 0.01, "duplication": 0.1})
            world = World(seed, faults, max_rate_hz=rate_hz)
            world.run(1000, frames_per_step=5)
            world.settle()
            world.check_accounts(exact=False)
