"""A producer under test: its frames, read from the ring as its descriptors arrive."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    FrameDescriptor,
    LeaseRevokeReason,
    Mode,
    Role,
)

from .bus import Heard
from .check import want
from .peer_world import PeerWorld
from .regions import SLOT_BYTES, SUPERBLOCK_BYTES
from .stand_in import StandInLease

__all__ = ["FakeConsumer", "ProducerWorld", "Seen", "Slot"]

_SLOT = struct.Struct("<QIIHIQI26sI4HhhBBBI8i8i109s")


class Slot(msgspec.Struct, frozen=True):
    """The fields of a header slot, in the order of their bytes."""

    word: int
    nbytes: int
    payload_slot: int
    pool_id: int
    payload_offset: int
    timestamp_ns: int
    meta_version: int
    pad: bytes
    header: tuple[int, ...]  # length and embedded message header
    dtype: int
    order: int
    ndims: int
    pad_align: int
    unit: int
    progress_stride: int
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    pad_end: bytes

    @classmethod
    def of(cls, data: bytes) -> Slot:
        """Take 256 bytes apart."""
        one = _SLOT.unpack(data)
        values = (*one[:8], one[8:13], *one[13:19], one[19:27], one[27:35], one[35])
        return cls(**dict(zip(cls.__struct_fields__, values, strict=True)))


class Seen(msgspec.Struct, frozen=True):
    """A descriptor, and its slot as it was when the descriptor arrived."""

    heard: Heard
    descriptor: FrameDescriptor
    slot: Slot
    word_after: int

    @property
    def seq(self) -> int:
        """The sequence."""
        return self.descriptor.seq

    @property
    def is_whole(self) -> bool:
        """True if the slot held this frame before and after it was copied."""
        return self.slot.word == self.word_after == 2 * self.seq + 1

    @property
    def was_overtaken(self) -> bool:
        """True if the producer had come round to the slot already."""
        return max(self.slot.word, self.word_after) > 2 * self.seq + 1


class FakeConsumer(msgspec.Struct):
    """A consumer that the kit plays: a lease at the stand-in, and hellos."""

    lease: StandInLease
    hello: ConsumerHello


class ProducerWorld(PeerWorld):
    """The producer under test."""

    role = Role.PRODUCER

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.seen: list[Seen] = []
        self._looked_at = 0
        self._next_consumer = 900_001

    def work(self) -> None:
        """Serve, then read the slots of descriptors that have just come."""
        super().work()
        heard = self.bus.heard
        while self._looked_at < len(heard):
            one = heard[self._looked_at]
            self._looked_at += 1
            if (one.channel, one.stream_id) == self.streams.descriptors:
                self._look_at(one)

    def _look_at(self, heard: Heard) -> None:
        message, regions = heard.message, self.driver.regions
        if (
            isinstance(message, FrameDescriptor)
            and message.stream_id == self.stream_id
            and regions is not None
            and message.epoch == regions.epoch
        ):
            _, data = regions.slot(message.seq)
            after, _ = regions.slot(message.seq)
            self.seen.append(Seen(heard, message, Slot.of(data), after))

    def fresh(self) -> None:
        """Give the producer a new lease and a new epoch, and forget what was seen."""
        self.revoke()
        self.seen.clear()
        self.lease()

    def frames(self, count: int) -> list[Seen]:
        """Wait for frames from now on and return them; Broken if they do not come."""
        self.lease()
        place = len(self.seen)
        want(
            self.until(lambda: len(self.seen) >= place + count, 3 * self.patience_s),
            f"{len(self.seen) - place} descriptors came within {3 * self.patience_s:g} s, "
            f"expected {count}",
        )
        return self.seen[place : place + count]

    def whole(self, count: int) -> list[Seen]:
        """Frames that were not overwritten before they were read."""
        found = [one for one in self.frames(count) if one.is_whole]
        self.need(2 * len(found) >= count, "the producer goes round the ring too fast")
        return found

    def words(self) -> list[int]:
        """The commit words of the current epoch."""
        regions = self.driver.regions
        if regions is None:
            return []
        per_slot = SLOT_BYTES // 8
        first = SUPERBLOCK_BYTES // 8
        return list(regions.ring.words[first : first + per_slot * regions.nslots : per_slot])

    def sign_of_use(self, mark: int) -> str:
        """Return a sign that the producer uses the current epoch, empty without one."""
        if any(self.words()):
            return "its ring has frames"
        epoch = self.driver.epoch
        found = self.since(mark, FrameDescriptor, lambda one: one.epoch == epoch)
        return "a descriptor names its epoch" if found else ""

    def uses_after_end(self, mark: int) -> str:
        """Return a sign that it publishes although its lease has ended, empty without one."""
        return "it sent a descriptor afterwards" if self.since(mark, FrameDescriptor) else ""

    @contextmanager
    def consumer(self, **changes: Any) -> Iterator[FakeConsumer]:
        """Play a consumer that asks for streams of its own with a hello."""
        driver, number = self.driver, self._next_consumer
        self._next_consumer += 1
        lease = StandInLease(
            driver._next_lease, number, Role.CONSUMER, number, 0, time.monotonic_ns() + 10**12
        )
        driver._next_lease += 1
        driver.leases[lease.lease_id] = lease
        fields: dict[str, Any] = {
            "stream_id": self.stream_id,
            "consumer_id": number,
            "supports_shm": True,
            "supports_progress": False,
            "mode": Mode.STREAM,
            "max_rate_hz": 0,
            "expected_layout_version": 0,
        }
        one = FakeConsumer(lease, ConsumerHello(**{**fields, **changes}))
        self.send(one.hello)
        self.run_for(0.05)
        try:
            yield one
        finally:
            if lease.lease_id in driver.leases:
                driver.end(lease, LeaseRevokeReason.EXPIRED, "conformance")
            for number in (lease.descriptors, lease.controls):
                if number:
                    self.bus.ignore(changes.get("descriptor_channel", ""), number)

    def configs(self, consumer: FakeConsumer) -> list[ConsumerConfig]:
        """The assignments of the stand-in to a consumer."""
        return [
            one.message
            for one in self.bus.heard
            if isinstance(one.message, ConsumerConfig)
            and one.message.consumer_id == consumer.hello.consumer_id
        ]
