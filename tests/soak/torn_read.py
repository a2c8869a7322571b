"""Torn-read soak: `make soak`.

Two processes share one stream. The producer overwrites a small ring as fast as it can with frames
that check themselves; the consumer follows the read protocol (W-082) and looks into every frame
that the protocol accepts. A frame is

- torn, if its payload is not one whole frame (every element holds the number of the frame);
- mistaken, if it is whole but not the frame that its commit word and header named.

and a commit word is

- impossible, if it belongs to another slot or is lower than one seen before in its slot.

The protocol holds if all stay at 0. That the soak can see a fault is part of it: `--break` makes
the producer do one thing wrong, and then the exit status is 0 only if frames were caught:

    commit-first   the final commit word is stored before the payload is written
    struct         commit words are stored and loaded with struct, byte by byte (W-085)

With `--batch` frames are written and read as `publish_many` and `receive_many` do: words and
headers of half the ring in one NumPy operation each (C-085, C-103).

    python tests/soak/torn_read.py --payload-bytes 4096 --seconds 60
    python tests/soak/torn_read.py --payload-bytes 4096 --seconds 60 --batch
    python tests/soak/torn_read.py --payload-bytes 4096 --seconds 5 --break commit-first
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tensor_pool.client.attachment.epoch_mapping import StreamMapping
from tensor_pool.client.consumer.read_state import FrameFormat, ReadState
from tensor_pool.client.producer.slot_writer import SlotWriter
from tensor_pool.protocol.clock import SystemClock
from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.shm.commit_word import (
    FENCE_FROM_BYTES,
    commit_word_index,
    committed_word,
    full_fence,
    in_progress_word,
    is_committed,
    seq_of,
)
from tensor_pool.protocol.shm.geometry import StreamGeometry
from tensor_pool.protocol.shm.mapped_stream import map_stream
from tensor_pool.protocol.shm.safe_open import AllowedBaseDirs
from tensor_pool.protocol.shm.slot_columns import SlotColumns
from tensor_pool.protocol.shm.slot_header import (
    SLOT_IMAGE,
    SlotFault,
    SlotValidator,
    header_image,
    payload_offset,
    slot_body_offset,
)
from tensor_pool.protocol.shm.tensor import tensor_layout
from tensor_pool.protocol.wire.generated.enums import ClockDomain, Dtype
from tests.protocol.shm.streams import create_stream

NSLOTS = 4
FIRST_SEQ = 0x0101_0101_0101_0100
"""Every byte of a word counts, so that one written in pieces shows."""

_BATCH = 2

BREAKS = ("none", "commit-first", "struct")


class Outcome(msgspec.Struct):
    """The counts of the consumer."""

    read: int = 0
    accepted: int = 0
    dropped: int = 0
    invalid: int = 0
    torn: int = 0
    mistaken: int = 0
    impossible: int = 0
    produced: int = 0

    @property
    def wrong(self) -> int:
        return self.torn + self.mistaken + self.invalid + self.impossible


def produce(
    geometry: StreamGeometry,
    base: str,
    payload_bytes: int,
    broken: str,
    ready: Event,
    stop: Event,
    produced: object,
) -> None:
    """Write frames without a pause until `stop` is set (W-081)."""
    stream = map_stream(geometry, allowed_base_dirs=AllowedBaseDirs.of([base]), writable=True)
    ring, words = stream.header.buffer, stream.header.words
    stride = geometry.pools[0].stride_bytes
    elements = payload_bytes // 8
    image = header_image(tensor_layout(Dtype.UINT64, (elements,)))
    payloads = [
        np.frombuffer(stream.pools[1].buffer, np.uint64, elements, payload_offset(slot, stride))
        for slot in range(NSLOTS)
    ]
    source = np.empty(elements, np.uint64)
    store = _store_with_struct(ring) if broken == "struct" else words.__setitem__
    seq = FIRST_SEQ
    ready.set()
    while not stop.is_set():
        for _ in range(256):
            slot = seq & (NSLOTS - 1)
            word = commit_word_index(slot)
            store(word, in_progress_word(seq))
            if broken == "commit-first":
                store(word, committed_word(seq))
            if payload_bytes >= FENCE_FROM_BYTES:
                full_fence()
            source.fill(seq)
            payloads[slot][:] = source
            SLOT_IMAGE.pack_into(
                ring, slot_body_offset(slot), payload_bytes, slot, 1, 0, seq, 0, image
            )
            store(word, committed_word(seq))
            seq += 1
    produced.value = seq - FIRST_SEQ  # type: ignore[attr-defined]
    del payloads
    stream.retire()


def _mapped(geometry: StreamGeometry, base: str, *, writable: bool) -> StreamMapping:
    allowed = AllowedBaseDirs.of([base])
    return StreamMapping(
        map_stream(geometry, allowed_base_dirs=allowed, writable=writable),
        SystemClock(),
        freshness_ns=0,
        announce_timestamp_ns=0,
        clock_domain=ClockDomain.MONOTONIC,
    )


class _Early:
    """Commit words of a batch that are stored as committed at once."""

    def __init__(self, words: Any) -> None:
        self._words = words

    def __setitem__(self, slots: slice, values: Any) -> None:
        self._words[slots] = values | np.uint64(1)


def produce_batches(
    geometry: StreamGeometry,
    base: str,
    payload_bytes: int,
    broken: str,
    ready: Event,
    stop: Event,
    produced: object,
) -> None:
    """Write frames without a pause, two at a time, with the code of `publish_many`."""
    state = SlotWriter(_mapped(geometry, base, writable=True))
    frames = np.empty((_BATCH, payload_bytes // 8), np.uint64)
    _, plan = state.plan_for(frames[0], None, None, None)
    assert plan is not None
    if broken == "commit-first":
        state._columns = SlotColumns(state.ring, NSLOTS)
        state._columns.words = _Early(state._columns.words)  # type: ignore[assignment]
    seq = FIRST_SEQ
    ready.set()
    while not stop.is_set():
        for _ in range(128):
            seqs = np.arange(seq, seq + _BATCH, dtype=np.uint64)
            frames[:] = seqs[:, np.newaxis]
            state.write_together(plan, seq, frames, seqs, 0)
            seq += _BATCH
    produced.value = seq - FIRST_SEQ  # type: ignore[attr-defined]


class _Endless:
    deadline_ns = 1 << 62


def consume_batches(
    geometry: StreamGeometry, base: str, payload_bytes: int, seconds: float
) -> Outcome:
    """Read two slots at a time with the code of `receive_many(stack=True)`."""
    mapping = _mapped(geometry, base, writable=False)
    connection: Any = _Endless()
    state = ReadState(mapping, connection, Counters(()), time.monotonic_ns)
    image = header_image(tensor_layout(Dtype.UINT64, (payload_bytes // 8,)))
    found = state.format_for(0, payload_bytes, 0, 1, 0, image)
    assert isinstance(found, FrameFormat)
    outcome = Outcome()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for attempt in range(128):
            first = attempt * _BATCH & (NSLOTS - 1)
            seq = seq_of(state.words[commit_word_index(first)])
            outcome.read += _BATCH
            if seq & (NSLOTS - 1) != first:
                outcome.impossible += bool(seq)
                continue
            run = state.read_run(found, seq, _BATCH)
            if run is None:
                outcome.dropped += _BATCH
                continue
            copies = found.copied(run.slots)
            stand = state.still_stand(run)
            outcome.dropped += _BATCH - int(stand.sum())
            outcome.accepted += int(stand.sum())
            for word, named, copy in zip(
                run.words[stand], run.timestamps[stand], copies[stand], strict=True
            ):
                if not (copy == copy[0]).all():
                    outcome.torn += 1
                elif not copy[0] == named == word >> np.uint64(1):
                    outcome.mistaken += 1
    return outcome


def _store_with_struct(ring: memoryview) -> Callable[[int, int], None]:
    pack = struct.Struct("<Q").pack_into

    def store(index: int, value: int) -> None:
        pack(ring, index * 8, value)

    return store


def _load_with_struct(ring: memoryview) -> Callable[[int], int]:
    unpack = struct.Struct("<Q").unpack_from

    def load(index: int) -> int:
        (word,) = unpack(ring, index * 8)
        return int(word)

    return load


def consume(
    geometry: StreamGeometry, base: str, payload_bytes: int, seconds: float, broken: str
) -> Outcome:
    """Read slots all the time, check every frame that the protocol lets through (W-082)."""
    stream = map_stream(geometry, allowed_base_dirs=AllowedBaseDirs.of([base]), writable=False)
    ring, words = stream.header.buffer, stream.header.words
    stride = geometry.pools[0].stride_bytes
    validator = SlotValidator(NSLOTS, {1: stride})
    elements = payload_bytes // 8
    payloads = [
        np.frombuffer(stream.pools[1].buffer, np.uint64, elements, payload_offset(slot, stride))
        for slot in range(NSLOTS)
    ]
    copy = np.empty(elements, np.uint64)
    load = _load_with_struct(ring) if broken == "struct" else words.__getitem__
    outcome = Outcome()
    highest = [0] * NSLOTS
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for attempt in range(256):
            slot = attempt & (NSLOTS - 1)
            index = commit_word_index(slot)
            outcome.read += 1
            word = load(index)
            if word < highest[slot] or (word and seq_of(word) & (NSLOTS - 1) != slot):
                outcome.impossible += 1
                continue
            highest[slot] = word
            if not is_committed(word):
                outcome.dropped += 1
                continue
            length, payload_slot, pool, offset, named, _, image = SLOT_IMAGE.unpack_from(
                ring, slot_body_offset(slot)
            )
            if load(index) != word:
                outcome.dropped += 1
                continue
            layout = validator.check(slot, length, payload_slot, pool, offset, image)
            copy[:] = payloads[slot]
            if load(index) != word:
                outcome.dropped += 1
                continue
            outcome.accepted += 1
            if isinstance(layout, SlotFault):
                outcome.invalid += 1
                continue
            first = int(copy[0])
            if not (copy == first).all():
                outcome.torn += 1
            elif first != named or first != seq_of(word):
                outcome.mistaken += 1
    del payloads
    stream.retire()
    return outcome


def soak(
    payload_bytes: int, seconds: float, broken: str = "none", *, batch: bool = False
) -> Outcome:
    """Run producer and consumer against each other; raises RuntimeError if the producer dies."""
    root = "/dev/shm" if os.path.isdir("/dev/shm") else None
    base = os.path.realpath(tempfile.mkdtemp(prefix="tensorpool-soak-", dir=root))
    context = multiprocessing.get_context("spawn")
    ready, stop, produced = context.Event(), context.Event(), context.Value("q", -1)
    try:
        stride = max(64, 1 << (payload_bytes - 1).bit_length())
        stream = create_stream(Path(base), nslots=NSLOTS, strides=(stride,))
        stream.close()
        producer = context.Process(
            target=produce_batches if batch else produce,
            args=(stream.geometry, base, payload_bytes, broken, ready, stop, produced),
        )
        producer.start()
        try:
            if not ready.wait(30):
                raise RuntimeError("the producer did not start")
            if batch:
                outcome = consume_batches(stream.geometry, base, payload_bytes, seconds)
            else:
                outcome = consume(stream.geometry, base, payload_bytes, seconds, broken)
        finally:
            stop.set()
            producer.join(30)
            if producer.is_alive():
                producer.kill()
                producer.join()
        if producer.exitcode != 0:
            raise RuntimeError(f"the producer ended with {producer.exitcode}")
        outcome.produced = produced.value
        return outcome
    finally:
        shutil.rmtree(base)


def main() -> int:
    parser = argparse.ArgumentParser(description="Two processes, one ring: no torn frame may pass.")
    parser.add_argument("--payload-bytes", type=int, nargs="+", default=[4096, 1 << 20])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each payload size")
    parser.add_argument("--break", dest="broken", choices=BREAKS, default="none")
    parser.add_argument("--batch", action="store_true", help="with the code of batches")
    options = parser.parse_args()
    failed = False
    for payload_bytes in options.payload_bytes:
        outcome = soak(payload_bytes, options.seconds, options.broken, batch=options.batch)
        caught = outcome.wrong > 0
        failed |= caught is (options.broken == "none") or outcome.accepted == 0
        print(
            f"{payload_bytes} B, {options.seconds:g} s, break {options.broken}:"
            f" {outcome.produced} frames written, {outcome.read} read, {outcome.accepted} accepted,"
            f" {outcome.dropped} dropped; torn {outcome.torn}, mistaken {outcome.mistaken},"
            f" invalid {outcome.invalid}, impossible words {outcome.impossible}",
            flush=True,
        )
    print("FAILED" if failed else "ok")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
