"""The rows of W-106, one by one, each with its counter (C-091)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from tensor_pool.client.attachment.counter_names import LATE_REASONS
from tensor_pool.protocol.wire import FrameDescriptor, encode
from tests.client.world import STREAM, World

COUNTERS = (
    *LATE_REASONS,
    "bad_message",
    "drops_duplicate",
    "drops_epoch",
    "drops_gap",
    "drops_rate",
    "drops_regression",
    "drops_resync",
    "drops_unmapped",
    "frames_ok",
)


class Source:
    """A producer that can be made to lie: it writes slots and descriptors by hand."""

    def __init__(self, world: World, **settings: Any) -> None:
        self.world = world
        client = world.client(**settings)
        self.producer = client.producer(STREAM)
        self.consumer = client.consumer(STREAM)
        world.run(0.05)
        self.stream = world.driver.streams[STREAM]

    def write(self, array: Any = (1, 2, 3, 4)) -> int:
        """A good frame of uint8, without a descriptor; its sequence."""
        publication = self.producer._descriptors.publication
        self.producer._connect(None)
        seq = self.producer.publish(np.array(array, np.uint8)).seq
        self.producer._connect(publication)
        assert seq is not None
        return seq

    def tell(self, seq: int, **fields: Any) -> None:
        descriptor = FrameDescriptor(stream_id=STREAM, epoch=self.stream.epoch, seq=seq)
        self.world.say(1100, msgspec.structs.replace(descriptor, **fields))

    def send(self) -> int:
        seq = self.write()
        self.tell(seq)
        return seq

    def poke_slot(self, seq: int, offset: int, data: bytes) -> None:
        self.stream.poke(0, 64 + 256 * (seq % self.stream.nslots) + offset, data)

    def changes(self, act: Callable[[], Any]) -> dict[str, int]:
        """Return the changes of the counters while the consumer polls once after `act`."""
        before = self.consumer.metrics()
        act()
        while self.consumer.poll() is not None:
            pass
        after = self.consumer.metrics()
        late = sum(after[name] for name in LATE_REASONS)
        assert after["drops_late"] == late
        return {n: after[n] - before[n] for n in COUNTERS if after[n] != before[n]}

    def is_good(self) -> bool:
        return self.changes(self.send).get("frames_ok") == 1


@pytest.fixture
def source(world: World) -> Source:
    source = Source(world)
    assert source.is_good()
    return source


def u(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def test_row_1_a_malformed_message(source: Source) -> None:
    """C-091, W-106."""
    good = encode(FrameDescriptor(stream_id=STREAM, epoch=source.stream.epoch, seq=1))
    for bad in (good[:7], good[:40], good[:6] + u(2, 2) + good[8:], u(39, 2) + good[2:]):
        assert source.changes(lambda bad=bad: source.world.say(1100, bad)) == {"bad_message": 1}
    assert source.is_good()


def test_row_1_longer_blocks_and_trailing_bytes_are_good(source: Source) -> None:
    """M-050 rows 7 and 12 on the descriptor stream."""
    for lengthen in (
        lambda good: good + b"tail",
        lambda good: u(45, 2) + good[2:] + bytes(5),
    ):
        seq = source.write()
        good = encode(FrameDescriptor(stream_id=STREAM, epoch=source.stream.epoch, seq=seq))
        data = lengthen(good)
        assert source.changes(lambda data=data: source.world.say(1100, data)) == {"frames_ok": 1}


def test_row_1_other_messages_on_the_stream_are_ignored(source: Source) -> None:
    """W-001: streams may share one number."""
    other = source.world.driver.announcement(source.stream)
    assert source.changes(lambda: source.world.say(1100, other)) == {}
    assert source.is_good()


def test_row_2_another_stream(source: Source) -> None:
    """W-002, W-106."""
    assert source.changes(lambda: source.tell(1, stream_id=STREAM + 1)) == {}
    assert source.is_good()


def test_rows_3_and_4_without_lease_or_mapping(source: Source) -> None:
    """C-025, C-091, W-106: nothing is delivered outside Mapped."""
    world, consumer = source.world, source.consumer
    world.driver.silent = True
    world.driver.notice(world.driver.lease_of(consumer.client_id))
    consumer._client.do_work()
    assert consumer.state == "Unmapped"
    assert source.changes(source.send) == {"drops_unmapped": 1}
    world.driver.silent = False
    world.run(0.5)
    assert consumer.state == "Mapped"
    assert source.is_good()


def test_C_025_descriptors_in_remapping_and_backoff_are_dropped(source: Source) -> None:
    world, consumer = source.world, source.consumer
    world.driver.announces = False
    source.tell(10, epoch=source.stream.epoch + 1)
    consumer.poll()
    world.run(0.01)
    for state in ("Remapping", "Backoff"):
        while consumer.state != state:
            world.run(0.01)
        assert source.changes(lambda: source.tell(11)) == {"drops_unmapped": 1}


def test_row_5a_an_epoch_below_the_mapped_one(source: Source) -> None:
    """W-106, W-144."""
    assert source.changes(lambda: source.tell(1, epoch=source.stream.epoch - 1)) == {
        "drops_epoch": 1
    }
    assert source.consumer.state == "Mapped"
    assert source.is_good()


def test_row_5b_an_epoch_above_the_mapped_one_unmaps(source: Source) -> None:
    """C-091, W-106, W-141: also the frames behind it in the same poll are not delivered."""
    seq = source.write()

    def act() -> None:
        source.tell(seq, epoch=source.stream.epoch + 1)
        source.tell(seq)

    assert source.changes(act) == {"drops_epoch": 1, "drops_unmapped": 1}
    source.consumer._client.do_work()
    assert source.consumer.state == "Remapping"
    source.world.run(1.1)
    assert source.is_good()


def test_W_107_sequence_zero_is_an_ordinary_value(world: World) -> None:
    source = Source(world)
    source.write()
    source.write()
    source.write()
    assert source.changes(lambda: (source.tell(0), source.tell(2))) == {
        "frames_ok": 2,
        "drops_gap": 1,
    }


def test_row_6a_the_first_descriptor_counts_what_was_published_since_it_joined(
    world: World,
) -> None:
    """W-106."""
    source = Source(world)
    for _ in range(5):
        source.write()
    assert source.changes(lambda: source.tell(4)) == {"frames_ok": 1, "drops_gap": 4}


def test_row_6b_the_same_sequence_again(source: Source) -> None:
    """W-106."""
    assert source.changes(lambda: source.tell(0)) == {"drops_duplicate": 1}
    assert source.is_good()


def test_row_6c_a_sequence_that_goes_back_unmaps(source: Source) -> None:
    """C-091, W-106, W-141."""
    source.send()
    source.consumer.poll()
    assert source.changes(lambda: source.tell(0)) == {"drops_regression": 1}
    source.consumer._client.do_work()
    assert source.consumer.state == "Remapping"
    source.world.run(1.1)
    assert source.consumer.state == "Mapped"
    assert source.is_good()


def test_W_103_gaps_count_the_frames_that_never_arrived(source: Source) -> None:
    """W-103, W-106 row 6d: 1, 5, 6 gives 3."""
    for _ in range(6):
        source.write()
    changed = source.changes(lambda: [source.tell(s) for s in (1, 5, 6)])
    assert changed == {"frames_ok": 3, "drops_gap": 3}


def test_row_6d_a_gap_beyond_the_limit_resyncs(world: World) -> None:
    """W-106: the frame is dropped, tracking starts anew with the next one."""
    source = Source(world, max_outstanding_seq_gap=2)
    assert source.is_good()
    for _ in range(6):
        source.write()
    assert source.changes(lambda: source.tell(3)) == {"frames_ok": 1, "drops_gap": 2}
    assert source.changes(lambda: (source.write(), source.write(), source.tell(7))) == {
        "drops_gap": 3,
        "drops_resync": 1,
    }
    assert source.changes(lambda: source.tell(8)) == {"frames_ok": 1}


def test_row_6d_frames_left_out_after_a_resync_count_as_a_gap(world: World) -> None:
    """W-106, C-108: tracking starts anew, the account does not."""
    source = Source(world, max_outstanding_seq_gap=2)
    assert source.is_good()
    for _ in range(12):
        source.write()
    assert source.changes(lambda: source.tell(7)) == {"drops_gap": 6, "drops_resync": 1}
    assert source.changes(lambda: source.tell(12)) == {"frames_ok": 1, "drops_gap": 4}
    assert source.changes(source.send) == {"frames_ok": 1}


def test_without_a_limit_no_gap_resyncs(world: World) -> None:
    source = Source(world, max_outstanding_seq_gap=0)
    assert source.is_good()
    source.tell(100_000)
    source.consumer.poll()
    assert source.consumer.metrics()["drops_resync"] == 0
    assert source.consumer.metrics()["drops_gap"] == 99_998 + 1


def test_row_8_a_slot_in_progress(source: Source) -> None:
    """W-080, W-087, W-106: dropped at once, never waited for."""
    seq = source.write()
    source.poke_slot(seq, 0, u(2 * seq, 8))
    assert source.changes(lambda: source.tell(seq)) == {"late_in_progress": 1}
    assert source.changes(lambda: source.tell(seq + 1)) == {"late_in_progress": 1}  # never written
    source.write()
    assert source.is_good()


def test_row_9_a_slot_that_was_reused(source: Source) -> None:
    """W-104, W-106: late, and its successor adds no gap."""
    seq = source.write()
    source.poke_slot(seq, 0, u(2 * (seq + 8) + 1, 8))
    assert source.changes(lambda: source.tell(seq)) == {"late_seq_mismatch": 1}
    assert source.changes(source.send) == {"frames_ok": 1}


def test_row_10_a_slot_that_went_back(world: World) -> None:
    """W-106: only after a resync can a lower sequence get as far as the slot."""
    source = Source(world, max_outstanding_seq_gap=1)
    for _ in range(9):
        source.write()
    assert source.changes(lambda: source.tell(8)) == {"frames_ok": 1, "drops_gap": 8}
    assert source.changes(lambda: source.tell(50)).get("drops_resync") == 1
    source.poke_slot(0, 0, u(1, 8))  # the slot of 8 has the word of 0 again
    assert source.changes(lambda: source.tell(0)) == {"late_rewind": 1}


class FlippingWords:
    """Commit words that change after a number of loads, as under a fast producer."""

    def __init__(self, words: memoryview, index: int, after: int) -> None:
        self.words, self.index, self.left = words, index, after

    def __getitem__(self, index: int) -> int:
        if index == self.index:
            self.left -= 1
            if self.left < 0:
                return self.words[index] + 16
        return self.words[index]


def test_row_11_the_word_changes_while_the_slot_is_read(source: Source) -> None:
    """W-082, W-106."""
    seq = source.write()
    state = source.consumer._receiver.state
    words = state.words
    state.words = FlippingWords(words, 8 + 32 * (seq % 8), after=1)
    assert source.changes(lambda: source.tell(seq)) == {"late_changed": 1}
    state.words = words
    assert source.is_good()


@pytest.mark.parametrize("copied", [True, False])
def test_row_23_the_word_changes_while_the_payload_is_read(source: Source, copied: bool) -> None:
    """W-082, W-084, W-106: a copy is not delivered, a view reports that it does not count."""
    consumer = source.consumer
    seq = source.write()
    state = consumer._receiver.state
    state.words = FlippingWords(state.words, 8 + 32 * (seq % 8), after=2)
    source.tell(seq)
    if copied:
        assert consumer.poll(copy=True) is None
        assert consumer.metrics()["frames_ok"] == 1
    else:
        frame = consumer.poll()
        assert frame is not None
        assert not frame.valid
    assert consumer.metrics()["late_changed"] == consumer.metrics()["drops_late"] == 1


INVALID: list[tuple[int, str, int, bytes]] = [
    (12, "header_invalid", 60, u(191, 4)),
    (12, "header_invalid", 64, u(183, 2)),
    (12, "header_invalid", 66, u(51, 2)),
    (12, "header_invalid", 68, u(901, 2)),
    (12, "header_invalid", 70, u(2, 2)),
    (13, "payload_invalid", 12, u(8, 4)),
    (13, "payload_invalid", 12, u(2**32 - 1, 4)),
    (14, "header_invalid", 12, u(5, 4)),
    (15, "header_invalid", 18, u(1, 4)),
    (16, "header_invalid", 72, u(0, 2)),
    (16, "header_invalid", 72, u(12, 2)),
    (16, "header_invalid", 74, u(3, 2)),
    (16, "header_invalid", 78, u(3, 1)),
    (17, "header_invalid", 76, u(0, 1)),
    (17, "header_invalid", 76, u(9, 1)),
    (17, "header_invalid", 83, u(2**32 - 1, 4)),
    (17, "header_invalid", 115, u(2**32 - 4, 4)),
    (18, "header_invalid", 78, u(1, 1) + u(3, 4)),
    (18, "header_invalid", 78, u(2, 1)),
    (19, "payload_invalid", 16, u(9, 2)),
    (20, "payload_invalid", 8, u(1025, 4)),
    (21, "payload_invalid", 8, u(3, 4)),
]


@pytest.mark.parametrize(("row", "counter", "offset", "data"), INVALID, ids=lambda v: str(v)[:30])
def test_rows_12_to_21_an_invalid_slot_drops_the_frame_only(
    source: Source, row: int, counter: str, offset: int, data: bytes
) -> None:
    """C-091, W-106, W-108, W-111: the mapping stays, the next good frame is accepted."""
    seq = source.write()
    source.poke_slot(seq, offset, data)
    mapping = source.consumer._attachment.machine.mapping
    assert source.changes(lambda: source.tell(seq)) == {counter: 1}
    assert source.is_good()
    assert source.consumer._attachment.machine.mapping is mapping


def test_W_104_late_frames_are_not_gaps_and_the_sum_holds(source: Source) -> None:
    seq = source.write()
    source.poke_slot(seq, 0, u(2 * seq, 8))
    source.tell(seq)
    assert source.is_good()
    assert source.consumer.metrics()["drops_gap"] == 0


def test_W_105_counters_survive_a_remap(source: Source) -> None:
    source.changes(lambda: source.tell(0))
    before = {n: v for n, v in source.consumer.metrics().items() if n in COUNTERS}
    source.stream.new_epoch(source.world.clock.monotonic_ns())
    source.world.driver.announce(source.stream)
    source.world.run(0.02)
    assert {n: v for n, v in source.consumer.metrics().items() if n in COUNTERS} == before


def test_W_108_drops_raise_nothing_and_stop_nothing(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    state = source.consumer._receiver.state
    for _ in range(100):
        for seq in range(state.next_seq, state.next_seq + 1000):
            source.consumer._receiver._on_raw_fragment(
                encode(FrameDescriptor(stream_id=STREAM, epoch=state.epoch, seq=seq)),
                None,
            )
        assert source.consumer.poll(limit=1000) is None
    assert source.consumer.metrics()["drops_late"] == 100_000
    assert not [r for r in caplog.records if r.levelname in ("ERROR", "WARNING")]


def test_W_109_last_seq_seen_counts_frames_that_were_not_accepted(source: Source) -> None:
    source.tell(1)  # late
    source.consumer.poll()
    source.world.run(1.1)
    assert source.world.driver.reports[-1].last_seq_seen == 1


def test_C_091_every_sequence_is_accounted_for_once(world: World) -> None:
    """C-091: last - first + 1 = ok + gap + late + rate + resync."""
    source = Source(world)
    first = source.send()
    for i in range(1, 60):
        seq = source.write()
        if i % 7 == 0:
            continue  # its descriptor is lost
        if i % 5 == 0:
            source.poke_slot(seq, 0, u(2 * seq, 8))
        source.tell(seq)
        source.consumer.poll()
    last = source.send()
    source.consumer.poll()
    m = source.consumer.metrics()
    total = sum(
        m[n] for n in ("frames_ok", "drops_gap", "drops_late", "drops_rate", "drops_resync")
    )
    assert m["drops_gap"] == 8
    assert m["drops_late"] > 5
    assert last - first + 1 == total


def test_W_084_a_view_is_checked_and_the_first_failure_counts(source: Source) -> None:
    """W-084, C-093."""
    source.send()
    frame = source.consumer.poll()
    assert frame is not None
    assert frame.valid
    assert frame.valid
    for _ in range(8):
        source.write()
    before = source.consumer.metrics()
    assert not frame.valid
    assert not frame.valid
    after = source.consumer.metrics()
    assert after["drops_late"] - before["drops_late"] == 1
    assert after["late_changed"] - before["late_changed"] == 1
