"""The sending half of one stream: what is queued, given up, paced and sent first (section 5)."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from tensor_pool.bridge import BridgeSettings, SendLink, SendStream
from tensor_pool.bridge.core.bridge import SourceFeed
from tensor_pool.bridge.core.links import Outgoing
from tensor_pool.bridge.core.outbound_stream import OutboundStream
from tensor_pool.bridge.core.sending import Sender
from tensor_pool.bridge.core.timers import Timers
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.errors import InvalidFrameError
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    BridgeFrameChunk,
    BridgeStreamInfo,
    DataSourceAnnounce,
    Message,
    decode,
)
from tests.bridge.sim_pool import SimFrame, SimSource, SimTaken, payload_of

MS = 1_000_000
CHUNK = 256


class Wire:
    """The publication of a link; `room` is the number of bytes that it still takes."""

    def __init__(self) -> None:
        self.is_connected = True
        self.room: float = float("inf")
        self.sent: list[tuple[int, Message]] = []
        self.nbytes = 0
        self.clock = SimulatedClock(monotonic_ns=1_000_000_000_000)

    def offer(self, message: bytes | bytearray | memoryview) -> OfferResult:
        if len(message) > self.room:
            return OfferResult.BACK_PRESSURED
        self.room -= len(message)
        self.nbytes += len(message)
        self.sent.append((self.clock.monotonic_ns(), decode(bytes(message))))
        return OfferResult.ACCEPTED

    def close(self) -> None:
        self.is_connected = False


class Net:
    """Hands out the one wire."""

    error = None
    directory = ""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def publication(self, channel: str, stream_id: int) -> Wire:
        return self.wire


class SendingBench:
    """One outgoing link with some streams; frames are published by hand."""

    def __init__(
        self,
        *streams: dict[str, Any],
        link: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        nslots: int = 8,
    ) -> None:
        self.wire = Wire()
        self.clock = self.wire.clock
        self.timers = Timers(self.clock)
        self.settings = BridgeSettings(instance_id="a", **(settings or {}))
        entries = [
            SendStream(**{"stream": 1 + i, "wire_id": 1 + i, **entry})
            for i, entry in enumerate(streams or ({},))
        ]
        config = {"chunk_bytes": CHUNK, **(link or {})}
        self.link = SendLink(name="b", channel="aeron:udp?x", streams=tuple(entries), **config)
        self.outgoing = Outgoing(self.settings, self.link, self.clock)
        self.sources = [SimSource(random.Random(1), nslots=nslots) for _ in entries]
        self.feeds: list[SourceFeed] = []
        for entry, source in zip(entries, self.sources, strict=True):
            sender = Sender(
                self.settings,
                self.link,
                entry,
                link=self.outgoing,
                source=source,
                source_path=lambda *_: (),
                clock=self.clock,
                timers=self.timers,
            )
            feed = SourceFeed(source)
            feed.senders.append(sender)
            self.feeds.append(feed)
            self.outgoing.senders.append(sender)
        self.outgoing.open(Net(self.wire))  # type: ignore[arg-type]
        self.number = 0

    @property
    def sender(self) -> Sender:
        return self.outgoing.senders[0]

    def start(self) -> SendingBench:
        """Streams with a producer and an epoch; infos are sent."""
        for source in self.sources:
            source.start(7)
        self.step()
        return self

    def publish(self, nbytes: int = 100, *, stream: int = 0) -> int:
        self.number += 1
        self.sources[stream].publish(self.number, nbytes)
        return self.number

    def step(self, ms: int = 1, *, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(ms * MS)
            for feed in self.feeds:
                feed.do_work()
            self.outgoing.do_work(self.clock.monotonic_ns())
            self.timers.fire(self.clock.monotonic_ns())

    def chunks(self) -> list[BridgeFrameChunk]:
        return [message for _, message in self.wire.sent if isinstance(message, BridgeFrameChunk)]

    def frames(self) -> list[int]:
        """Numbers of the frames that were sent whole."""
        return [c.trace_id for c in self.chunks() if c.chunk_index == c.chunk_count - 1]

    def counted(self) -> dict[str, int]:
        return {name: n for name, n in self.sender.counters.snapshot().items() if n}

    def require_sum(self) -> None:
        """B-005 at the sender."""
        counted = self.sender.counters.snapshot()
        settled = sum(n for name, n in counted.items() if name.startswith("dropped_"))
        settled += counted["frames_sent"] + counted["skipped_link"]
        assert counted["frames_taken"] == settled + self.sender.lag_frames


def test_B_042_descriptors_are_taken_while_the_link_is_down() -> None:
    """B-042, B-053: none is left unread for a minute, and none is sent later."""
    bench = SendingBench().start()
    bench.wire.is_connected = False
    for _ in range(600):
        bench.publish()
        bench.step(100)
        assert not bench.sources[0].unread
    counted = bench.counted()
    assert counted["skipped_link"] == 599
    assert counted["dropped_link"] == 1  # begun before the loss was noticed
    bench.wire.is_connected = True
    bench.step(10)
    number = bench.publish()
    bench.step()
    assert bench.frames() == [number]
    bench.require_sum()


def test_B_043_with_a_queue_of_one_the_newest_frame_begins() -> None:
    """B-043: a link at a tenth of the source's rate; each frame was the newest when it began."""
    bench = SendingBench({"queue_frames": 1}).start()
    bench.wire.room = 0
    begun = []
    for turn in range(200):
        newest = bench.publish(200)
        bench.step()
        if turn % 10 == 9:
            bench.wire.room = 69 + 256 + 200  # one frame
            bench.step()
            begun.append((bench.frames()[-1], newest))
    assert bench.frames() == sorted(bench.frames())
    # A frame begins when the one before it has gone, one period earlier.
    for (sent, _), (_, newest_before) in pairwise(reversed(begun)):
        assert sent == newest_before
    assert bench.counted()["dropped_superseded"] > 150
    bench.require_sum()


def test_B_043_a_longer_queue_keeps_the_order_and_bounds_the_age() -> None:
    """B-043: with a queue of 4, a frame waits for at most five before it."""
    bench = SendingBench({"queue_frames": 4}, nslots=64).start()
    bench.wire.room = 0
    for turn in range(300):
        bench.publish(200)
        if turn % 10 == 9:
            bench.wire.room = 69 + 256 + 200
        bench.step()
        assert bench.sender.waiting <= 4
    assert bench.frames() == sorted(set(bench.frames()))
    ages = [sent_at - 10 * (i + 1) for i, sent_at in enumerate(bench.frames())]
    assert all(-60 <= age <= 0 for age in ages)
    bench.require_sum()


def test_B_043_the_default_queue_is_half_the_slots() -> None:
    bench = SendingBench(nslots=8).start()
    bench.wire.room = 0
    for _ in range(20):
        bench.publish()
    bench.step()
    assert [frame.seq for frame in bench.sender._queue] == [16, 17, 18, 19]  # the newest


@pytest.mark.parametrize(
    ("trouble", "counter"),
    [
        ("overwritten before it is read", "dropped_overwritten"),
        ("invalid", "dropped_invalid"),
        ("larger than allowed", "dropped_too_large"),
        ("more than 65535 chunks", "dropped_too_large"),
    ],
)
def test_B_044_a_frame_that_cannot_be_sent_is_counted_and_the_next_one_goes(
    trouble: str, counter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B-044: each refusal, by its counter; nothing of the frame is sent."""
    bench = SendingBench(settings={"max_payload_bytes": 600}).start()
    bad = bench.publish(700 if trouble == "larger than allowed" else 100)
    source = bench.sources[0]
    if trouble == "overwritten before it is read":
        source.overwrite(source.unread[0].seq)
    elif trouble == "invalid":
        read = SimTaken.read

        def refuse(taken: SimTaken) -> SimFrame:
            if taken.trace_id == bad:
                raise InvalidFrameError("bad dtype")
            return read(taken)

        monkeypatch.setattr(SimTaken, "read", refuse)
    elif trouble == "more than 65535 chunks":
        monkeypatch.setattr("tensor_pool.bridge.core.sending.MAX_CHUNKS", 1)
        bench.sources[0].unread.clear()
        bad = bench.publish(2 * CHUNK)
    bench.step()
    good = bench.publish(100)
    bench.step()
    assert bench.counted()[counter] == 1
    assert bench.frames() == [good]
    assert {chunk.trace_id for chunk in bench.chunks()} == {good}
    bench.require_sum()


def test_B_044_in_headers_mode_the_payload_is_empty_and_marked_so_in_the_slot() -> None:
    """B-044, B-002: the length in the copy is 0; type and shape stay."""
    bench = SendingBench({"headers_only": True}).start()
    bench.publish(1000)
    bench.step()
    (chunk,) = bench.chunks()
    assert (chunk.payload_length, chunk.chunk_count, bytes(chunk.payload_bytes)) == (0, 1, b"")
    assert int.from_bytes(chunk.header_bytes[8:12], "little") == 0
    assert int.from_bytes(bench.sources[0].slots[0][0][8:12], "little") == 1000


def test_B_047_a_frame_that_makes_no_progress_is_given_up_and_the_newest_follow() -> None:
    """B-047, B-043: the window is full for 3 s."""
    bench = SendingBench({"queue_frames": 2}, settings={"info_interval_ms": 60_000}).start()
    first = bench.publish(3 * CHUNK)
    bench.wire.room = 69 + 256 + CHUNK  # its first chunk
    for _ in range(30):
        bench.step(100)
        bench.publish(3 * CHUNK)
    counted = bench.counted()
    assert counted["dropped_stalled"] >= 2
    assert counted["offers_refused"] >= 28
    assert {chunk.trace_id for chunk in bench.chunks()} == {first}
    bench.wire.room = float("inf")
    newest = bench.number
    bench.step(times=3)
    assert bench.frames()[-1] == newest
    assert bench.frames()[0] > newest - 15
    bench.require_sum()


def test_B_047_the_same_chunk_is_offered_again() -> None:
    """B-047, B-045: a refused chunk goes out later as it was, although its slot is gone."""
    bench = SendingBench().start()
    number = bench.publish(2 * CHUNK)
    bench.wire.room = 69 + 256 + CHUNK
    bench.step()
    bench.sources[0].overwrite(0)
    bench.wire.room = float("inf")
    bench.step()
    payload = b"".join(bytes(chunk.payload_bytes) for chunk in bench.chunks())
    assert payload == payload_of(number, 2 * CHUNK)


def test_B_045_a_slot_that_is_overwritten_after_each_chunk_in_turn_completes_nowhere() -> None:
    """B-045, B-003, B-048: chunk by chunk, also the last one, which is not offered then."""
    for overwritten_at in range(4):
        bench = SendingBench().start()
        bench.publish(4 * CHUNK)
        bench.sources[0].race = _counting(overwritten_at)  # type: ignore[method-assign]
        bench.step(times=3)
        assert len(bench.chunks()) == overwritten_at
        assert not bench.frames()
        assert bench.counted()["dropped_overwritten"] == 1
        assert bench.sender.abandoned == (overwritten_at > 0)
        bench.require_sum()


def _counting(at: int) -> Callable[[], bool]:
    turns = iter(range(1000))
    return lambda: next(turns) == at


def test_B_049_an_info_of_the_epoch_goes_before_its_first_chunk() -> None:
    """B-049, B-050, B-032: also for an epoch that begins while frames wait; then metadata."""
    bench = SendingBench().start()
    source = bench.sources[0]
    source.metadata_messages = (DataSourceAnnounce(1, 3, 7, 1, "camera", ""), None)
    for epoch in (7, 8, 9):
        source.start(epoch)
        for _ in range(3):
            bench.publish(3 * CHUNK)
        bench.step()
        bench.wire.is_connected = epoch != 8
        bench.step(times=2)
        bench.wire.is_connected = True
        bench.step(times=3)
    known: set[int] = set()
    last: dict[int, int] = {}
    begun_after_metadata = False
    for _, message in bench.wire.sent:
        if isinstance(message, BridgeStreamInfo):
            known.add(message.epoch)
        elif isinstance(message, DataSourceAnnounce):
            begun_after_metadata = True
        elif isinstance(message, BridgeFrameChunk):
            assert message.epoch in known
            assert begun_after_metadata
            if message.chunk_index == 0:
                assert message.seq > last.get(message.epoch, -1)
                last[message.epoch] = message.seq
    assert {7, 8, 9} <= known
    assert set(last) == {7, 8, 9}


def test_B_050_infos_come_at_their_interval_on_changes_and_at_the_end() -> None:
    """B-050: cadence within 10 %, has_producer at once, a goodbye as the last message."""
    bench = SendingBench(settings={"info_interval_ms": 200}).start()
    bench.step(10, times=300)
    times = [at for at, message in bench.wire.sent if isinstance(message, BridgeStreamInfo)]
    gaps = [(b - a) / MS for a, b in pairwise(times)][2:]
    assert len(gaps) >= 12
    assert all(180 <= gap <= 220 for gap in gaps)
    count = len(times)
    bench.sources[0].has_producer = False
    bench.step()
    *_, latest = (m for _, m in bench.wire.sent if isinstance(m, BridgeStreamInfo))
    assert not latest.has_producer
    assert sum(isinstance(m, BridgeStreamInfo) for _, m in bench.wire.sent) == count + 1
    bench.sender.machine.dispatch(_close())
    bench.step()
    goodbye = bench.wire.sent[-1][1]
    assert isinstance(goodbye, BridgeStreamInfo)
    assert (goodbye.epoch, goodbye.has_producer, goodbye.next_seq) == (0, False, 0)


@pytest.mark.parametrize("synced", [False, True])
def test_B_102_infos_repeat_what_the_operator_states_of_the_clock(synced: bool) -> None:
    """B-102: `clock_synced` travels as it is configured, however wrong the clock is."""
    bench = SendingBench(settings={"clock_synced": synced, "info_interval_ms": 200}).start()
    bench.clock.step_realtime(-(10**18))
    bench.step(10, times=100)
    infos = [m for _, m in bench.wire.sent if isinstance(m, BridgeStreamInfo)]
    assert len(infos) >= 5
    assert {message.clock_synced for message in infos} == {synced}


def _close() -> Any:
    from tensor_pool.bridge.core.events import OutboundEvent

    return OutboundEvent.CLOSE


def test_B_050_a_refused_info_is_offered_before_any_chunk() -> None:
    """B-050: it waits at the head, however many frames wait behind."""
    bench = SendingBench(settings={"info_interval_ms": 50}).start()
    bench.wire.room = 0
    bench.publish()
    bench.step(60)
    before = len(bench.wire.sent)
    bench.wire.room = float("inf")
    bench.step()
    assert isinstance(bench.wire.sent[before][1], BridgeStreamInfo)
    assert isinstance(bench.wire.sent[-1][1], BridgeFrameChunk)


def test_B_051_a_rate_sends_the_newest_frame_of_each_period() -> None:
    """B-051: a source of 100 Hz at 10 Hz; the first frame of an epoch begins at once."""
    bench = SendingBench({"max_rate_hz": 10.0}).start()
    first = bench.publish()
    bench.step()
    assert bench.frames() == [first]
    for _ in range(500):
        newest, before = bench.publish(), len(bench.frames())
        bench.step(10)
        assert bench.frames()[before:] in ([], [newest])
    assert 49 <= len(bench.frames()) - 1 <= 51
    assert all(9 <= b - a <= 11 for a, b in pairwise(bench.frames()))
    assert bench.counted()["dropped_rate"] > 400
    bench.sources[0].start(8)
    again = bench.publish()
    bench.step()
    assert bench.frames()[-1] == again
    infos = [m for _, m in bench.wire.sent if isinstance(m, BridgeStreamInfo)]
    assert all(info.decimated for info in infos)
    bench.require_sum()


def test_B_051_a_period_that_opens_between_two_frames_begins_the_newest_that_waits() -> None:
    """B-051: a frame every 30 ms at 10 Hz; those that waited before it are dropped."""
    bench = SendingBench({"max_rate_hz": 10.0}).start()
    for turn in range(300):
        newest, before = bench.number, len(bench.frames())  # a timer comes last in a step
        if turn % 3 == 0:
            bench.publish()
        bench.step(10)
        assert bench.frames()[before:] in ([], [newest], [bench.number])
    assert 28 <= len(bench.frames()) <= 31
    assert bench.counted()["dropped_rate"] >= 60
    bench.require_sum()


def test_B_052_a_limited_link_sends_its_rate_and_no_burst_above_the_depth() -> None:
    """B-052: 100 Mbit/s configured, far more offered."""
    bench = SendingBench(
        {"queue_frames": 512}, link={"max_mbit_s": 100.0, "chunk_bytes": 1024}, nslots=1024
    ).start()
    start, began = bench.wire.nbytes, bench.clock.monotonic_ns()
    for _ in range(300):
        bench.publish(1000)
    bench.step()
    most = bench.wire.nbytes - start
    assert most > 100_000
    for _ in range(1000):
        for _ in range(20):
            bench.publish(1000)
        before = bench.wire.nbytes
        bench.step()
        most = max(most, bench.wire.nbytes - before)
    seconds = (bench.clock.monotonic_ns() - began) / 1e9
    mbit_s = (bench.wire.nbytes - start) * 8 / 1e6 / seconds
    assert 95 <= mbit_s <= 101
    assert most <= 125_000 + 2 * 1400  # 10 ms of the rate, and what is topped up meanwhile
    bench.require_sum()


def test_B_013_small_frames_are_not_held_up_by_large_ones() -> None:
    """B-013: one chunk a stream and turn, so at most two chunks of the other come between."""
    bench = SendingBench({}, {}, nslots=8).start()
    bench.wire.room = 0
    bench.publish(1000, stream=0)  # of 4 chunks
    bench.step()
    for _ in range(3):
        bench.publish(100, stream=1)
    bench.step()
    bench.wire.room = float("inf")
    bench.step(times=3)
    order = [chunk.stream_id for chunk in bench.chunks()]
    assert sorted(order) == [1] * 4 + [2] * 3
    positions = [place for place, stream in enumerate(order) if stream == 2]
    assert positions[0] <= 2
    assert all(b - a <= 3 for a, b in pairwise(positions))


def test_B_011_a_frame_costs_two_events_at_the_sender() -> None:
    """B-011: FrameTaken and FrameSent, however many chunks there are."""
    bench = SendingBench().start()
    events: list[str] = []
    machine = bench.sender.machine
    dispatch = machine.dispatch

    def noted(event: Any, arg: Any = None) -> Any:
        events.append(event.name)
        return dispatch(event, arg)

    machine.dispatch = noted  # type: ignore[method-assign]
    bench.publish(4 * CHUNK - 1)
    bench.step()
    assert len(bench.chunks()) == 4
    assert events == ["FRAME_TAKEN", "FRAME_SENT"]
    assert machine.current is OutboundStream.Idle


def test_B_041_one_attachment_serves_every_link() -> None:
    """B-041: the feed of a source stream has the senders of all links."""
    from tensor_pool.bridge import Bridge
    from tests.bridge.sim_net import SimNetwork
    from tests.bridge.sim_pool import SimPool

    clock = SimulatedClock()
    pool = SimPool(random.Random(1))
    attached = []
    source = SimSource(random.Random(1))

    def attach(stream_id: int) -> SimSource:
        attached.append(stream_id)
        return source

    pool.source = attach  # type: ignore[method-assign]
    links = tuple(
        SendLink(
            name=str(port),
            channel=f"aeron:udp?endpoint=10.0.0.2:{port}",
            streams=(SendStream(stream=1, wire_id=1),),
        )
        for port in (1, 2, 3)
    )
    net = SimNetwork(clock, random.Random(1)).host()
    bridge = Bridge(BridgeSettings(instance_id="a", send=links), pool, lambda: net, clock)
    assert attached == [1]
    assert len(bridge.feeds[1].senders) == 3


def test_B_023_a_place_that_is_full_does_not_hold_up_another() -> None:
    """B-023, B-041: each link has a queue, counters and back-pressure of its own."""
    source = SimSource(random.Random(1))
    benches = [SendingBench(), SendingBench()]
    feed = SourceFeed(source)
    for bench in benches:
        bench.sender.source = source
        feed.senders.append(bench.sender)
        bench.feeds = []
    source.start(7)

    def step() -> None:
        feed.do_work()
        for bench in benches:
            bench.step()

    step()
    benches[1].wire.room = 0
    for number in range(1, 51):
        source.publish(number, 100)
        step()
    assert benches[0].frames() == list(range(1, 51))
    assert not benches[1].frames()
    assert benches[1].counted()["dropped_superseded"] > 40
    for bench in benches:
        bench.require_sum()


def test_B_105_the_metadata_version_of_a_frame_is_kept_whenever_metadata_comes() -> None:
    """B-105, B-002: the slot bytes go as they are; a version that was not announced yet too."""
    bench = SendingBench().start()
    bench.publish()
    source = bench.sources[0]
    bench.step()
    (chunk,) = bench.chunks()
    assert bytes(chunk.header_bytes) == source.slots[0][0] + bytes(256 - len(source.slots[0][0]))


def test_B_062_a_checksum_needs_the_instruction(monkeypatch: pytest.MonkeyPatch) -> None:
    """B-062: without the library `crc = true` is a configuration error, not a slow path."""
    from tensor_pool.bridge import config

    document = {
        "send": [{"to": "10.0.0.2:1", "streams": [{"stream": 1}], "crc": True}],
    }
    assert config.read_document(document)[0] is not None
    monkeypatch.setattr("tensor_pool.bridge.core.chunks.hardware_based", False)
    loaded, errors = config.read_document(document)
    assert loaded is None
    (error,) = errors
    assert error.startswith("send[0].crc: the CPU has no CRC-32C instruction")


def test_B_020_everything_of_a_link_is_one_session_on_the_data_stream() -> None:
    """B-020: one publication per place and one subscription per address, on `data_stream_id`."""
    opened: list[tuple[str, int]] = []

    class Noting(Net):
        def publication(self, channel: str, stream_id: int) -> Wire:
            opened.append((channel, stream_id))
            return self.wire

    bench = SendingBench({}, {}, {}, settings={"data_stream_id": 3100})
    bench.outgoing.open(Noting(bench.wire))  # type: ignore[arg-type]
    assert opened == [("aeron:udp?x", 3100)]
    bench.start()
    for stream in range(3):
        bench.publish(100, stream=stream)
    bench.step()
    assert {chunk.stream_id for chunk in bench.chunks()} == {1, 2, 3}
    assert msgspec.structs.asdict(bench.settings)["data_stream_id"] == 3100
