"""The sending half of one stream on one link: queue, frame in work, chunks, infos.

The machine decides, this carries out. `pump` hands over at most one message: an info that is due
before anything else, then metadata, then the next chunk of the frame in work. A chunk's bytes are
private when they are offered, and the commit word was checked after the last of them was copied
(B-045), so a chunk that is refused is offered again as it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.errors import (
    FrameOverwrittenError,
    InvalidFrameError,
    StaleFrameError,
)
from tensor_pool.protocol.wire import BridgeStreamInfo, PayloadMode, encode

from ..settings import BridgeSettings, SendLink, SendStream
from .chunks import MAX_CHUNKS, ChunkWriter, chunk_count
from .events import OutboundEvent
from .metadata_on_wire import forwarded_metadata
from .metric_names import DROPPED_HERE, SENDER_COUNTERS
from .outbound_stream import OutboundStream, OutboundTimer
from .ports import Source, SourceFrame, TakenFrame
from .rates import Rates
from .timers import Timers

__all__ = ["LinkOffer", "Sender"]

_MS = 1_000_000
_FRESH_INTERVALS = 3
_METADATA_PERIOD_NS = 5_000_000_000
_NO_PAYLOAD = memoryview(b"")
_VALUES_LEN = slice(8, 12)  # of a slot


class LinkOffer(Protocol):
    """The link of a sender."""

    @property
    def is_up(self) -> bool: ...
    def offer(self, message: bytes | memoryview) -> bool:
        """Hand over a message; False if it was not accepted."""
        ...


class Sender:
    """One outbound stream."""

    def __init__(
        self,
        settings: BridgeSettings,
        link_settings: SendLink,
        entry: SendStream,
        *,
        link: LinkOffer,
        source: Source,
        source_path: Callable[[int, int], tuple[str, ...]],
        clock: Clock,
        timers: Timers,
    ) -> None:
        self.entry = entry
        self.source = source
        self.counters = Counters(SENDER_COUNTERS)
        self.rates = Rates(self.counters, ("frames_sent", "bytes_sent"), clock)
        self.label = f"out {entry.stream}→{entry.wire_id} @ {link_settings.name}"
        self.epoch = 0
        self.has_producer = False
        self.abandoned = 0
        """Frames given up after their first chunk had gone out."""
        self._settings = settings
        self._link = link
        self._source_path = source_path
        self._clock = clock
        self._timers = timers
        self._chunk_bytes = link_settings.chunk_bytes
        self._writer = ChunkWriter(entry.wire_id, link_settings.chunk_bytes, crc=link_settings.crc)
        self._queue: deque[TakenFrame] = deque()
        self._next_seq = 0
        # The frame in work
        self._frame: TakenFrame | None = None
        self._read: SourceFrame | None = None
        self._slot = b""
        self._payload = _NO_PAYLOAD
        self._index = 0
        self._message: memoryview | None = None  # of chunk `_index`, checked, not accepted yet
        self._message_bytes = 0
        # What goes out before chunks
        self._info_due = False
        self._messages: list[bytes] = []
        self._metadata_seen: object = None
        self._period_opens_ns = 0
        self._source_known_ns = clock.monotonic_ns() + _FRESH_INTERVALS * (
            settings.info_interval_ms * _MS
        )
        self.machine = OutboundStream(self)
        self._arm_info()

    # Frames

    def take(self, frame: TakenFrame) -> None:
        """A descriptor has come (B-042)."""
        self.counters.inc("frames_taken")
        self.machine.dispatch(OutboundEvent.FRAME_TAKEN, frame)
        self._next_seq = frame.seq + 1

    @property
    def waiting(self) -> int:
        """Frames in the queue."""
        return len(self._queue)

    @property
    def is_working(self) -> bool:
        """True while a frame is in work."""
        return self._frame is not None

    @property
    def lag_frames(self) -> int:
        """Frames that are taken and neither sent nor dropped yet."""
        return len(self._queue) + self.is_working

    @property
    def goodbye_is_due(self) -> bool:
        """True while an info waits to be accepted."""
        return self._info_due

    def note_metadata(self) -> None:
        """Send the metadata when it has changed (B-032)."""
        messages = self.source.metadata_messages
        if messages != self._metadata_seen:
            self._metadata_seen = messages
            if self.machine.is_in(OutboundStream.Linked):
                self.send_metadata()

    def pump(self) -> int:
        """Offer at most one message; returns the bytes that were accepted."""
        if self._info_due:
            message = encode(self._info())
            if not self._link.offer(message):
                return 0
            self._info_due = False
            self.counters.inc("infos_sent")
            return len(message)
        if self._messages:
            message = self._messages[0]
            if not self._link.offer(message):
                return 0
            self._messages.pop(0)
            return len(message)
        if self._read is None:
            return 0
        return self._offer_chunk(self._read)

    def _offer_chunk(self, read: SourceFrame) -> int:
        frame = self._frame
        assert frame is not None
        chunk = self._message
        if chunk is None:
            chunk, self._message_bytes = self._writer.write(
                self.epoch, frame.seq, frame.trace_id, self._index, self._slot, self._payload
            )
            if not read.valid:
                self.machine.dispatch(OutboundEvent.FRAME_DROPPED, "overwritten")
                return 0
            self._message = chunk
        if not self._link.offer(chunk):
            self.counters.inc("offers_refused")
            return 0
        nbytes = len(chunk)
        self.counters.inc("chunks_sent")
        self.counters.inc("bytes_sent", self._message_bytes)
        self._message = None
        self._index += 1
        if self._index == chunk_count(len(self._payload), self._chunk_bytes):
            self._end_work()
            self.machine.dispatch(OutboundEvent.FRAME_SENT)
        return nbytes

    # OutboundPort

    @property
    def link_is_up(self) -> bool:
        return self._link.is_up

    @property
    def source_is_known(self) -> bool:
        return self._clock.monotonic_ns() >= self._source_known_ns

    @property
    def may_begin(self) -> bool:
        return not self.entry.max_rate_hz or self._clock.monotonic_ns() >= self._period_opens_ns

    @property
    def queue_is_empty(self) -> bool:
        return not self._queue

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self._source_known_ns = 0
        self._next_seq = 0
        self._period_opens_ns = 0

    def set_producer(self, present: bool) -> None:
        self.has_producer = present

    def send_info(self) -> None:
        self._info_due = True
        self._arm_info()

    def send_metadata(self) -> None:
        self._messages = forwarded_metadata(self.source.metadata_messages, self.entry.wire_id)
        self._timers.arm(self, "metadata", _METADATA_PERIOD_NS, self._repeat_metadata)

    def begin(self, frame: TakenFrame) -> None:
        self._frame = frame
        if self.entry.max_rate_hz:
            period_ns = round(1e9 / self.entry.max_rate_hz)
            self._period_opens_ns = self._clock.monotonic_ns() + period_ns
        try:
            read = frame.read()
            payload = _NO_PAYLOAD if self.entry.headers_only else read.payload
        except (FrameOverwrittenError, StaleFrameError):
            self.machine.post(OutboundEvent.FRAME_DROPPED, "overwritten")
            return
        except InvalidFrameError:
            self.machine.post(OutboundEvent.FRAME_DROPPED, "invalid")
            return
        if (
            len(payload) > self._settings.max_payload_bytes
            or chunk_count(len(payload), self._chunk_bytes) > MAX_CHUNKS
        ):
            self.machine.post(OutboundEvent.FRAME_DROPPED, "too_large")
            return
        slot = read.slot
        if self.entry.headers_only:
            slot = slot[: _VALUES_LEN.start] + bytes(4) + slot[_VALUES_LEN.stop :]
        self._read, self._slot, self._payload, self._index = read, slot, payload, 0
        self._message = None

    def begin_next(self) -> None:
        if self.entry.max_rate_hz:
            newest = self._queue.pop()
            self.empty_queue("rate")
            self.begin(newest)
        else:
            self.begin(self._queue.popleft())

    def queue(self, frame: TakenFrame) -> None:
        limit = self.entry.queue_frames or min(max(self.source.nslots // 2, 1), 1024)
        while len(self._queue) >= limit:
            self._queue.popleft()
            self.counters.inc("dropped_rate" if self.entry.max_rate_hz else "dropped_superseded")
        self._queue.append(frame)

    def give_up(self, why: str) -> None:
        if self._frame is not None:
            self.counters.inc(f"dropped_{why}")
            self.abandoned += self._index > 0
            self._end_work()

    def empty_queue(self, why: str) -> None:
        self.counters.inc(f"dropped_{why}", len(self._queue))
        self._queue.clear()

    def count(self, name: str) -> None:
        self.counters.inc(name)

    def arm_send_timeout(self) -> None:
        self._arm(OutboundTimer.SEND, self._settings.send_timeout_ms * _MS)

    def arm_rate(self) -> None:
        if self._queue:
            delay_ns = max(0, self._period_opens_ns - self._clock.monotonic_ns())
            self._arm(OutboundTimer.RATE, delay_ns)

    def disarm(self, timer: OutboundTimer) -> None:
        self._timers.disarm(self, timer)

    # Own

    def _end_work(self) -> None:
        self._frame = self._read = self._message = None
        self._payload = _NO_PAYLOAD
        self._index = 0

    def _arm(self, timer: OutboundTimer, delay_ns: int) -> None:
        self._timers.arm(self, timer, delay_ns, lambda: self.machine.dispatch(timer.value))

    def _arm_info(self) -> None:
        self._timers.arm(
            self, OutboundTimer.INFO, self._settings.info_interval_ms * _MS, self._on_info_timer
        )

    def _on_info_timer(self) -> None:
        self._arm_info()
        self.machine.dispatch(OutboundEvent.INFO_DUE)

    def _repeat_metadata(self) -> None:
        if self.machine.is_in(OutboundStream.Linked):
            self.send_metadata()

    def _info(self) -> BridgeStreamInfo:
        first = self._frame or (self._queue[0] if self._queue else None)
        snapshot = self.counters.snapshot()
        path = (*self._source_path(self.entry.stream, self.epoch), self._settings.instance_id)
        return BridgeStreamInfo(
            stream_id=self.entry.wire_id,
            source_stream_id=self.entry.stream,
            epoch=self.epoch,
            next_seq=(first.seq if first is not None else self._next_seq) if self.epoch else 0,
            frames_sent=snapshot["frames_sent"],
            frames_dropped=sum(snapshot[n] for n in DROPPED_HERE) + snapshot["skipped_link"],
            monotonic_ns=self._clock.monotonic_ns(),
            realtime_ns=self._clock.realtime_ns(),
            interval_ms=self._settings.info_interval_ms,
            max_payload_bytes=self.source.largest_frame_bytes if self.epoch else 0,
            has_producer=self.has_producer,
            clock_synced=self._settings.clock_synced,
            payload_mode=PayloadMode.HEADERS if self.entry.headers_only else PayloadMode.FULL,
            decimated=self.entry.max_rate_hz > 0,
            instance_id=self._settings.instance_id,
            path=">".join(path),
        )
