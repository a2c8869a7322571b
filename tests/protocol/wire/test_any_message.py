"""Any message survives the wire; any bytes are either a message or a WireError."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_pool.protocol import wire
from tensor_pool.protocol.wire import WireError
from tests.protocol.wire import vectors_json as vectors
from tests.protocol.wire.samples import KINDS, SAMPLES, messages

CORPUS = [
    *(wire.encode(message) for message in SAMPLES.values()),
    *(bytes.fromhex(record["hex"]) for record in vectors.messages()),
]
RECORD_KINDS = (wire.ShmRegionSuperblock, wire.SlotHeader, wire.TensorHeader)


@pytest.mark.parametrize("name", KINDS)
def test_any_message_survives_the_wire(name: str) -> None:
    """M-001, M-010, M-050 row 12."""

    @given(messages(name), st.binary(max_size=8), st.booleans())
    @settings(max_examples=60, deadline=None)
    def survives(message: Any, trailing: bytes, raw_enums: bool) -> None:
        raw = wire.encode(message, checked=False)
        assert wire.decode(raw + trailing, raw_enums=raw_enums) == message
        assert wire.encode(wire.decode(raw), checked=False) == raw

    survives()


def accept_or_reject(raw: bytes) -> None:
    """The only two outcomes there are, for every way to look at bytes."""
    for raw_enums in (False, True):
        try:
            message = wire.decode(memoryview(raw), raw_enums=raw_enums)
        except WireError:
            continue
        again = wire.encode(message, checked=False) if _sendable(message) else None
        assert again is None or wire.decode(again, raw_enums=raw_enums) == message
    wire.peek_correlation_id(raw)
    if len(raw) >= 8:
        wire.peek_header(raw)
    for kind in RECORD_KINDS:
        try:
            wire.decode_record(kind, raw)
        except WireError:
            continue


def _sendable(message: Any) -> bool:
    """Replaced characters can be received but not sent."""
    return "\ufffd" not in str(message) and "\\ufffd" not in str(message)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_M_052_any_bytes_are_accepted_or_rejected(raw: bytes) -> None:
    accept_or_reject(raw)


@pytest.mark.parametrize("raw", CORPUS, ids=range(len(CORPUS)))
def test_M_052_every_truncation_is_accepted_or_rejected(raw: bytes) -> None:
    for size in range(len(raw)):
        accept_or_reject(raw[:size])


@pytest.mark.parametrize("raw", CORPUS, ids=range(len(CORPUS)))
def test_M_052_flipped_bits_are_accepted_or_rejected(raw: bytes) -> None:
    """M-052: each bit of the header, block and first lengths, and random ones of the rest."""
    dice = random.Random(20240611)
    bits = [*range(min(len(raw), 80) * 8), *(dice.randrange(len(raw) * 8) for _ in range(100))]
    for bit in bits:
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        accept_or_reject(bytes(flipped))


def test_M_052_random_mutations_are_accepted_or_rejected() -> None:
    """M-052: several bytes overwritten, removed, inserted or doubled at once."""
    dice = random.Random(77)
    for _ in range(20_000):
        raw = bytearray(dice.choice(CORPUS))
        for _ in range(dice.randrange(1, 5)):
            at = dice.randrange(len(raw) + 1)
            end = at + dice.randrange(1, 5)
            match dice.randrange(4):
                case 0:
                    raw[at:end] = dice.randbytes(end - at)
                case 1:
                    del raw[at:end]
                case 2:
                    raw[at:at] = dice.choice((b"\xff" * 4, b"\0" * 4, b"\x7f", b"\x01\0\0\0"))
                case _:
                    raw[at:at] = raw[at:end]
        accept_or_reject(bytes(raw))
