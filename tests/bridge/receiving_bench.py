"""One incoming link of a bridge, messages fed by hand: for tests and for the fuzzer."""

from __future__ import annotations

import random
import struct
from typing import Any

import msgspec

from tensor_pool.bridge import BridgeSettings, ReceiveLink, ReceiveStream
from tensor_pool.bridge.core.chunks import ChunkWriter
from tensor_pool.bridge.core.incoming_link import Incoming
from tensor_pool.bridge.core.receiving import Receiver
from tensor_pool.bridge.core.timers import Timers
from tensor_pool.client.producer.payload_layout import FrameHeader
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.shm.slot_header import header_image
from tensor_pool.protocol.shm.tensor import tensor_layout
from tensor_pool.protocol.wire import (
    BridgeFrameChunk,
    BridgeStreamInfo,
    Dtype,
    Message,
    PayloadMode,
    decode,
    encode,
)
from tests.bridge.sim_pool import SimPool, SimSink

__all__ = ["EPOCH", "MS", "PAYLOAD", "SLOT", "WIRE", "Bench", "chunks", "deliver", "info", "slot"]

MS = 1_000_000
WIRE = 50_000
EPOCH = 7
SLOT = struct.Struct("<QIIHIQI26x196s")


class Bench:
    """One incoming link, messages fed by hand."""

    def __init__(self, *, link: dict[str, Any] | None = None, **entry: Any) -> None:
        self.clock = SimulatedClock(monotonic_ns=1_000_000_000_000)
        self.timers = Timers(self.clock)
        self.pool = SimPool(random.Random(1))
        self.pool.on_commit = self._on_commit
        self.delivered: list[tuple[int, bytes, FrameHeader]] = []
        self.settings = BridgeSettings(instance_id="b")
        stream = ReceiveStream(**{"wire_id": WIRE, "stream": WIRE, **entry})
        self.receiver = Receiver(
            self.settings,
            stream,
            link_name="in",
            pool=self.pool,
            clock=self.clock,
            timers=self.timers,
            post=lambda action: action(),
        )
        channel = "aeron:udp?endpoint=10.0.0.2:1"
        self.link = Incoming(
            self.settings,
            ReceiveLink(name="in", channel=channel, streams=(stream,), **(link or {})),
            [self.receiver],
            self.clock,
        )

    def _on_commit(self, sink: SimSink, seq: int, payload: bytes, header: FrameHeader) -> None:
        self.delivered.append((seq, payload, header))

    def feed(self, message: Message | bytes, session: int = 1) -> None:
        raw = message if isinstance(message, bytes) else encode(message, checked=False)
        self.link._on_message(session, memoryview(raw))
        self.pool.step()

    def ready(self) -> Bench:
        self.feed(info())
        assert self.receiver.machine.current.name == "Idle"
        return self

    def let_pass(self, ms: int) -> None:
        self.clock.advance(ms * MS)
        self.timers.fire(self.clock.monotonic_ns())

    def counted(self) -> dict[str, int]:
        both = self.receiver.counters.snapshot() | self.link.counters.snapshot()
        return {name: value for name, value in both.items() if value}


def info(**changes: Any) -> BridgeStreamInfo:
    first = BridgeStreamInfo(
        *(WIRE, 10_000, EPOCH, 0, 0, 0, 999_000_000_000, 1, 1000, 4096, True, False),
        *(PayloadMode.FULL, False, "a", "a"),
    )
    return msgspec.structs.replace(first, **changes)


def slot(seq: int, nbytes: int) -> bytes:
    image = header_image(tensor_layout(Dtype.UINT8, (nbytes,)))
    return SLOT.pack(seq << 1 | 1, nbytes, 3, 1, 0, 5, 0, image)


def chunks(seq: int, payload: bytes, size: int = 256, **changes: Any) -> list[BridgeFrameChunk]:
    """The messages of a frame."""
    writer = ChunkWriter(WIRE, size, crc=False)
    count = max(1, -(-len(payload) // size))
    made = []
    for index in range(count):
        view, _ = writer.write(EPOCH, seq, 9, index, slot(seq, len(payload)), memoryview(payload))
        message = decode(bytes(view))
        assert isinstance(message, BridgeFrameChunk)
        made.append(msgspec.structs.replace(message, **changes))
    return made


PAYLOAD = bytes(range(256)) * 3


def deliver(bench: Bench, seq: int, payload: bytes = PAYLOAD) -> None:
    for message in chunks(seq, payload):
        bench.feed(message)
