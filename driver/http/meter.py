"""The thread that listens to QoS reports and reads header rings for the pages (D-197).

It is a reader as any client: its own transport, untethered subscriptions, read-only mappings of
header rings that were announced. The driver's loop has no part in it and reads no slots (D-005).
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time

from tensor_pool.client.config import ClientConfig
from tensor_pool.protocol.errors import ShmError, TransportError
from tensor_pool.protocol.shm.commit_word import (
    WORDS_PER_SLOT,
    commit_word_index,
    is_committed,
    seq_of,
)
from tensor_pool.protocol.shm.geometry import StreamGeometry
from tensor_pool.protocol.shm.region import MappedRegion, map_region
from tensor_pool.protocol.shm.safe_open import AllowedBaseDirs
from tensor_pool.protocol.shm.slot_header import SLOT_IMAGE, slot_body_offset, timestamp_or_none
from tensor_pool.protocol.transport.aeron import AeronTransport
from tensor_pool.protocol.transport.channel import untethered
from tensor_pool.protocol.wire import ShmPoolAnnounce, WireError, decode

from .traffic import SlotNote, StreamTraffic, Traffic

__all__ = ["HeaderRings", "Meter"]

_PERIOD_S = 0.1
_LOOK_NS = 1_000_000_000  # at header rings, while no page shows the age of frames
_ASKED_NS = 2_000_000_000
_RECONNECT_S = 1.0
_FRAGMENT_LIMIT = 256
_POLLS = 64

_log = logging.getLogger(__name__)


class HeaderRings:
    """The header ring of the newest announced epoch of each stream, mapped when it is read."""

    def __init__(self, allowed_base_dirs: AllowedBaseDirs) -> None:
        self._allowed = allowed_base_dirs
        self._announced: dict[int, StreamGeometry] = {}
        self._mapped: dict[int, MappedRegion] = {}

    def announce(self, message: ShmPoolAnnounce) -> None:
        """Take an announce; a ring of an older epoch is given up."""
        geometry = StreamGeometry.from_message(message)
        before = self._announced.get(geometry.stream_id)
        if before is None or before.epoch < geometry.epoch:
            self._announced[geometry.stream_id] = geometry
            if (ring := self._mapped.pop(geometry.stream_id, None)) is not None:
                ring.close()

    def newest(self, stream_id: int, epoch: int, count: int) -> list[SlotNote]:
        """Return up to `count` complete frames, newest first."""
        ring = self._ring(stream_id, epoch)
        if ring is None:
            return []
        newest = max(self._sequences(ring), default=-1)
        notes = (self._note(ring, seq) for seq in range(newest, max(-1, newest - count), -1))
        return [note for note in notes if note is not None]

    def at(self, stream_id: int, epoch: int, seq: int) -> SlotNote | None:
        """Return the frame `seq`; where it has been overwritten, the oldest that is left."""
        ring = self._ring(stream_id, epoch)
        if ring is None:
            return None
        return self._note(ring, max(seq, min(self._sequences(ring), default=seq)))

    def close(self) -> None:
        """Give up all mappings."""
        for ring in self._mapped.values():
            ring.close()
        self._mapped.clear()

    def _ring(self, stream_id: int, epoch: int) -> MappedRegion | None:
        geometry = self._announced.get(stream_id)
        if geometry is None or geometry.epoch != epoch:
            return None
        ring = self._mapped.get(stream_id)
        if ring is None:
            try:
                geometry.check_structure()
                ring = map_region(
                    geometry.header_uri,
                    geometry.header_ring(),
                    allowed_base_dirs=self._allowed,
                    writable=False,
                )
            except ShmError as error:
                _log.debug("the header ring of stream %d cannot be read: %s", stream_id, error)
                return None
            self._mapped[stream_id] = ring
        return None if ring.mapping.lost else ring

    @staticmethod
    def _sequences(ring: MappedRegion) -> list[int]:
        words = ring.words
        first, after = commit_word_index(0), commit_word_index(ring.geometry.nslots)
        found = words[first:after:WORDS_PER_SLOT]
        return [seq_of(word) for word in found if is_committed(word)]

    @staticmethod
    def _note(ring: MappedRegion, seq: int) -> SlotNote | None:
        """Read one slot; None unless it held frame `seq` before and after."""
        slot = seq & (ring.geometry.nslots - 1)
        index = commit_word_index(slot)
        before = ring.words[index]
        nbytes, _, _, _, timestamp_ns, *_ = SLOT_IMAGE.unpack_from(
            ring.buffer, slot_body_offset(slot)
        )
        if ring.words[index] != before or not is_committed(before) or seq_of(before) != seq:
            return None
        return SlotNote(seq, nbytes, timestamp_or_none(timestamp_ns))


class Meter:
    """Measures from `start()` to `close()`; `figures()` is for any thread."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._rings = HeaderRings(AllowedBaseDirs.of(config.allowed_base_dirs))
        self._traffic = Traffic(self._rings)
        self._asked_ns = -_ASKED_NS
        self._thread = threading.Thread(target=self._run, name="driver-meter", daemon=True)

    def start(self) -> None:
        """Begin to listen, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join()

    def figures(self) -> tuple[StreamTraffic, ...]:
        """The figures now."""
        with self._lock:
            return self._traffic.figures(time.monotonic_ns())

    def ages_s(self) -> dict[int, float]:
        """Seconds since the newest frame of each stream, to 0.1 s where this is called often."""
        with self._lock:
            now_ns = self._asked_ns = time.monotonic_ns()
            return self._traffic.ages_s(now_ns)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except TransportError as error:
                _log.debug("the pages' figures of streams rest: %s", error)
            self._stop.wait(_RECONNECT_S)
        self._rings.close()

    def _listen(self) -> None:
        config = self._config
        streams = {
            (config.control_channel, config.control_stream_id),
            (config.announce_channel, config.announce_stream_id),
            (config.qos_channel, config.qos_stream_id),
        }
        transport = AeronTransport.connect(config.aeron_dir, client_name="driver-meter")
        with contextlib.closing(transport):
            subscriptions = [
                transport.add_subscription(untethered(channel), stream_id)
                for channel, stream_id in sorted(streams)
            ]
            looked_ns = 0
            while not self._stop.wait(_PERIOD_S):
                if transport.is_closed:
                    raise TransportError(transport.error or "transport closed")
                for subscription in subscriptions:
                    for _ in range(_POLLS):
                        if not subscription.poll(self._on_message, _FRAGMENT_LIMIT):
                            break
                now_ns = time.monotonic_ns()
                if now_ns - self._asked_ns < _ASKED_NS or now_ns - looked_ns >= _LOOK_NS:
                    looked_ns = now_ns
                    with self._lock:
                        self._traffic.look(now_ns)

    def _on_message(self, view: memoryview) -> None:
        try:
            message = decode(view)
        except WireError:
            return
        with self._lock:
            if isinstance(message, ShmPoolAnnounce):
                self._rings.announce(message)
            else:
                self._traffic.hear(message, time.monotonic_ns())
