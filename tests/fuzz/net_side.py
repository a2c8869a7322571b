"""The net side of a bridge: anything that a sender may send, in any order (B-133)."""

from __future__ import annotations

import struct
from typing import Final

from tensor_pool.protocol.wire import Attribute, DataSourceAnnounce, DataSourceMeta, encode
from tensor_pool.protocol.wire.generated.catalog import CODECS
from tests.bridge.receiving_bench import EPOCH, PAYLOAD, WIRE, Bench, chunks, info

__all__ = ["bridge"]

_RIGHT: Final = (
    *(encode(message, checked=False) for message in chunks(5, PAYLOAD)),
    *(encode(message, checked=False) for message in chunks(6, b"")),
    encode(info()),
    encode(info(epoch=9, path="z>a")),
    encode(info(epoch=0, has_producer=False)),
    encode(DataSourceAnnounce(WIRE, 3, EPOCH, 6, "camera", "front")),
    encode(DataSourceMeta(WIRE, 1, 5, (Attribute("k", "f", b"v"),))),
)
_PAUSES_MS: Final = (0, 0, 0, 0, 0, 10, 1100, 16_000)
_INPUTS_OF_A_BENCH: Final = 2000
_bench = Bench().ready()
_fed = 0


def bridge(data: bytes) -> None:
    """One message to a receiver that has seen others; then its promises.

    The first byte chooses a message that is right, on which the rest is laid, or a bare header, or
    no header at all; the second one the session and a pause before. Frames that arrive are whole,
    and memory does not grow with the number of messages: slots, sessions and timers stay bounded.
    """
    global _bench, _fed
    if len(data) < 2:
        return
    if _fed >= _INPUTS_OF_A_BENCH:
        _bench, _fed = Bench().ready(), 0
    _fed += 1
    bench = _bench
    pause_ms = _PAUSES_MS[data[1] >> 5]
    if pause_ms:
        bench.let_pass(pause_ms)
    bench.feed(_message(data[0], data[2:]), session=1 + data[1] % 4)
    open_loans = [loan for sink in bench.pool.sinks for loan in sink.loans if loan.is_open]
    assert len(open_loans) <= 1
    assert not open_loans or bench.receiver.machine.current.name == "Filling"
    assert len(bench.pool.sinks) <= 1
    assert bench.link.sessions <= 4
    for _, payload, header in bench.delivered:
        assert len(payload) == header.nbytes
    bench.delivered.clear()


def _message(choice: int, rest: bytes) -> bytes:
    if choice < 160:
        right = _RIGHT[choice % len(_RIGHT)]
        if not rest:
            return right
        at = (rest[0] << 2) % len(right)
        laid = right[:at] + rest[1:] + right[at + len(rest) - 1 :]
        return laid[: len(right)] if choice % 2 else laid
    if choice < 230:
        codec = CODECS[choice % len(CODECS)]
        ids = (codec.block_length, codec.template_id, codec.schema_id, codec.version)
        return struct.pack("<HHHH", *ids) + rest
    return rest
