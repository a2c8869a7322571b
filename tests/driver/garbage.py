"""Messages that a driver must shrug off: random bytes, and real messages damaged at random."""

from __future__ import annotations

import random
import struct

from tensor_pool.protocol.wire import (
    ConsumerHello,
    Mode,
    PublishMode,
    Role,
    ShmAttachRequest,
    ShmDetachRequest,
    ShmDriverShutdownRequest,
    ShmLeaseKeepalive,
    ShutdownReason,
    WireError,
    decode,
    encode,
)

__all__ = ["garbage_corpus"]

_LEASE_IN_NO_USE = 5

_REAL = (
    ShmAttachRequest(1, 10000, 99, Role.PRODUCER, 1, PublishMode.EXISTING_OR_CREATE),
    ShmDetachRequest(2, _LEASE_IN_NO_USE, 10000, 99, Role.PRODUCER),
    ShmLeaseKeepalive(_LEASE_IN_NO_USE, 10000, 99, Role.PRODUCER, 123),
    ShmDriverShutdownRequest(3, ShutdownReason.ADMIN, "no token", "no reason"),
    ConsumerHello(
        10000,
        99,
        True,
        False,
        Mode.STREAM,
        0,
        1,
        descriptor_stream_id=7,
        control_stream_id=0,
        descriptor_channel="aeron:ipc",
        control_channel="",
    ),
)
_KINDS_OF_REQUESTS = frozenset(type(message) for message in _REAL)


def garbage_corpus(seed: int, count: int) -> list[bytes]:
    """`count` messages of which none may have an effect, whatever client they seem to be from.

    Damage can leave a message valid; one that asks for something is left out. All other kinds of
    trouble are in: cut short, flipped bits, lengths that lie, other schemas, versions, templates.
    """
    rng = random.Random(seed)
    real = [encode(message) for message in _REAL]
    corpus: list[bytes] = []
    while len(corpus) < count:
        message = _random_bytes(rng) if rng.random() < 0.3 else _damaged(rng, rng.choice(real))
        if not _asks_for_something(message):
            corpus.append(message)
    return corpus


def _random_bytes(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 7, 8, 9, 40, 100, 700)))


def _damaged(rng: random.Random, message: bytes) -> bytes:
    data = bytearray(message)
    match rng.randrange(6):
        case 0:
            del data[rng.randrange(len(data)) :]
        case 1:
            for _ in range(rng.randrange(1, 9)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 2:  # one field of the header: block length, template, schema or version
            struct.pack_into("<H", data, 2 * rng.randrange(4), rng.randrange(65536))
        case 3:  # a length that lies
            struct.pack_into(
                "<I", data, rng.randrange(len(data) - 4), rng.choice((2**32 - 1, 2**30))
            )
        case 4:
            data += rng.randbytes(rng.randrange(1, 64))
            data[rng.randrange(8, len(data))] = 0xFF
        case 5:
            data[8:] = rng.randbytes(len(data) - 8)
    return bytes(data)


def _asks_for_something(message: bytes) -> bool:
    try:
        return type(decode(message, raw_enums=True)) in _KINDS_OF_REQUESTS
    except WireError:
        return False
