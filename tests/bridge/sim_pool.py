"""A pool on simulated time: rings that are overwritten, leases that come and go (B-012).

Frames carry a number of their own as trace id, and a payload that follows from it. So a frame at
the far side can be compared with the one that was published, and a torn one is noticed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from struct import Struct

from tensor_pool.client.metadata import MetadataValue
from tensor_pool.client.producer.payload_layout import FrameHeader
from tensor_pool.protocol.errors import FrameOverwrittenError, StaleFrameError, StaleLoanError
from tensor_pool.protocol.shm.slot_header import header_image
from tensor_pool.protocol.shm.tensor import tensor_layout
from tensor_pool.protocol.wire import DataSourceAnnounce, DataSourceMeta, Dtype

__all__ = ["SimPool", "SimSink", "SimSource", "payload_of"]

_SLOT = Struct("<QIIHIQI26x196s")
_SLOT_BYTES = 1024


def payload_of(number: int, nbytes: int) -> bytes:
    """The payload of a frame: no two frames share a byte sequence of 8."""
    return (number.to_bytes(8, "little") * (nbytes // 8 + 1))[:nbytes]


class SimFrame:
    """A frame in its slot."""

    def __init__(self, source: SimSource, seq: int, epoch: int, slot: bytes, nbytes: int) -> None:
        self._source = source
        self._seq = seq
        self._epoch = epoch
        self.slot = slot
        self.nbytes = nbytes

    @property
    def payload(self) -> memoryview:
        index = self._seq % self._source.nslots
        return memoryview(self._source.memory[index])[: self.nbytes]

    @property
    def valid(self) -> bool:
        self.race()
        return self._source.holds(self._epoch, self._seq)

    def race(self) -> None:
        """The producer may come round just now: before the next chunk, after this one."""
        if self._source.race():
            self._source.overwrite(self._seq)


class SimTaken:
    """A frame known by its descriptor."""

    def __init__(self, source: SimSource, seq: int, trace_id: int, epoch: int) -> None:
        self._source = source
        self.seq = seq
        self.trace_id = trace_id
        self.epoch = epoch

    def read(self) -> SimFrame:
        source = self._source
        if source.epoch != self.epoch:
            raise StaleFrameError("unmapped")
        if not source.holds(self.epoch, self.seq):
            raise FrameOverwrittenError("overwritten")
        slot, nbytes = source.slots[self.seq % source.nslots]
        return SimFrame(source, self.seq, self.epoch, slot, nbytes)


class SimSource:
    """A source stream: a ring whose producer never waits."""

    def __init__(
        self,
        dice: random.Random,
        *,
        nslots: int = 8,
        race_rate: float = 0.0,
        now: Callable[[], int] = lambda: 5,
    ) -> None:
        """`now` gives the capture time of a frame."""
        self.nslots = nslots
        self.epoch = 0
        self.has_producer = False
        self.memory = [bytearray(_SLOT_BYTES) for _ in range(nslots)]
        self.slots: dict[int, tuple[bytes, int]] = {}
        self.frames: dict[int, tuple[int, int, int]] = {}
        """Epoch, seq and length of every frame, by its number."""
        self.metadata_messages: tuple[DataSourceAnnounce | None, DataSourceMeta | None]
        self.metadata_messages = (None, None)
        self.is_finished = False
        self.unread: deque[SimTaken] = deque()
        self._words: dict[int, int] = {}
        self._next_seq = 0
        self._dice = dice
        self._race_rate = race_rate
        self._now = now

    @property
    def largest_frame_bytes(self) -> int:
        return _SLOT_BYTES if self.epoch else 0

    def start(self, epoch: int) -> None:
        """A producer with new regions."""
        self.unread.clear()
        self.epoch = epoch
        self.has_producer = True
        self._words.clear()
        self._next_seq = 0

    def stop(self) -> None:
        self.unread.clear()
        self.epoch = 0
        self.has_producer = False

    def publish(self, number: int, nbytes: int) -> None:
        seq = self._next_seq
        self._next_seq += 1
        self._write(seq, number, nbytes)
        self.frames[number] = (self.epoch, seq, nbytes)
        self.unread.append(SimTaken(self, seq, number, self.epoch))

    def _write(self, seq: int, number: int, nbytes: int) -> None:
        index = seq % self.nslots
        self.memory[index][:nbytes] = payload_of(number, nbytes)
        image = header_image(tensor_layout(Dtype.UINT8, (nbytes,)))
        slot = _SLOT.pack(seq << 1 | 1, nbytes, index, 1, 0, self._now(), 0, image)
        self.slots[index] = (slot, nbytes)
        self._words[index] = seq << 1 | 1

    def overwrite(self, seq: int) -> None:
        """Let the producer come round to a slot while it is read; this frame is not announced."""
        self._write(seq + self.nslots, 0xDEAD_BEEF_DEAD_BEEF, _SLOT_BYTES)

    def holds(self, epoch: int, seq: int) -> bool:
        return self.epoch == epoch and self._words.get(seq % self.nslots) == seq << 1 | 1

    def race(self) -> bool:
        return bool(self._race_rate) and self._dice.random() < self._race_rate

    def announced(self, limit: int = 64) -> Sequence[SimTaken]:
        return [self.unread.popleft() for _ in range(min(limit, len(self.unread)))]

    def begin_close(self) -> None:
        self.is_finished = True


class SimLoan:
    """A lent slot."""

    def __init__(self, sink: SimSink, nbytes: int, seq: int) -> None:
        self.buffer = memoryview(bytearray(nbytes))
        self.seq = seq
        self._sink = sink
        self.is_open = True

    def progress(self, nbytes: int) -> None:
        assert 0 <= nbytes <= len(self.buffer)

    def commit_as(self, header: FrameHeader) -> object:
        self.is_open = False
        if not self._sink.is_ready:
            raise StaleLoanError("gone")
        self._sink.on_commit(self._sink, self.seq, bytes(self.buffer), header)
        return True

    def abort(self) -> None:
        self.is_open = False


class SimSink:
    """A far stream under a lease that takes a while."""

    def __init__(self, stream_id: int, epoch: int, on_commit: Callable[..., object]) -> None:
        self.stream_id = stream_id
        self.new_epoch = epoch
        self.epoch = 0
        self.on_commit = on_commit
        self.next_seq = 0
        self.is_ready = False
        self.is_finished = False
        self.loans: list[SimLoan] = []
        self.metadata: tuple[str, dict[str, MetadataValue], int | None] | None = None

    @property
    def largest_frame_bytes(self) -> int:
        return _SLOT_BYTES if self.is_ready else 0

    def loan(self, shape: int, *, trace_id: int = 0, seq: int | None = None) -> SimLoan | None:
        if not self.is_ready:
            return None
        number = self.next_seq if seq is None else seq
        if number < self.next_seq:
            raise ValueError(f"seq {seq} goes back")
        self.next_seq = number + 1
        loan = SimLoan(self, shape, number)
        self.loans = [*(old for old in self.loans if old.is_open), loan]
        return loan

    def set_metadata(
        self,
        name: str,
        summary: str = "",
        attributes: dict[str, MetadataValue] | None = None,
        *,
        version: int | None = None,
    ) -> None:
        self.metadata = (name, attributes or {}, version)

    def begin_close(self) -> None:
        self.is_ready = False
        self.is_finished = True


class SimPool:
    """The pool of one host; see the port Pool."""

    def __init__(self, dice: random.Random, *, refusal: float = 0.0, loss: float = 0.0) -> None:
        self.sources: dict[int, SimSource] = {}
        self.sinks: list[SimSink] = []
        self.on_commit: Callable[..., object] = lambda *_: None
        self.refusal = refusal
        self.loss = loss
        self.is_down = False  # leases are neither granted nor refused
        self._dice = dice
        self._epochs = 100
        self._waiting: list[tuple[SimSink, Callable[..., object], Callable[..., object]]] = []
        self._leases: list[tuple[SimSink, *tuple[Callable[..., object], ...]]] = []

    def source(self, stream_id: int) -> SimSource:
        source = self.sources[stream_id]
        source.is_finished = False
        return source

    def sink(
        self,
        stream_id: int,
        *,
        on_ready: Callable[[], object],
        on_lost: Callable[[str], object],
        on_refused: Callable[[int, str], object],
    ) -> SimSink:
        self._epochs += 1
        sink = SimSink(stream_id, self._epochs, lambda *frame: self.on_commit(*frame))
        self.sinks.append(sink)
        self._waiting.append((sink, on_ready, on_refused))
        self._leases.append((sink, on_ready, on_lost, on_refused))
        return sink

    def step(self) -> None:
        """Grant or refuse leases; take some away."""
        if not self.is_down:
            self._answer()
        self.sinks = [sink for sink in self.sinks if not sink.is_finished]
        self._leases = [lease for lease in self._leases if not lease[0].is_finished]
        for sink, on_ready, on_lost, on_refused in self._leases:
            if sink.is_ready and self.loss and self._dice.random() < self.loss:
                sink.is_ready = False
                self._epochs += 1
                sink.new_epoch = self._epochs
                on_lost("revoked")
                self._waiting.append((sink, on_ready, on_refused))

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        for sink, on_ready, on_refused in waiting:
            if sink.is_finished:
                continue
            if self._dice.random() < self.refusal:
                on_refused(3, "another producer is attached")
            else:
                sink.epoch, sink.is_ready, sink.next_seq = sink.new_epoch, True, 0
                on_ready()

    def forget(self) -> None:
        """The process that held the leases was killed."""
        self.sinks.clear()
        self._waiting.clear()
        self._leases.clear()
