"""A consumer under test: the kit publishes frames, and reads its reports and its mappings.

A consumer shows what it accepted in QosConsumer (W-200), and the kernel shows what it maps. Without
reports most checks cannot be made; they are `not seen` then.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensor_pool.protocol.wire import (
    ConsumerHello,
    FrameDescriptor,
    QosConsumer,
    Role,
)

from .check import want
from .peer_world import PeerWorld
from .regions import SLOT_BYTES, SUPERBLOCK_BYTES

__all__ = ["ConsumerWorld"]

_SLOT = struct.Struct("<QIIHIQI26sI4HhhBBBI8i8i109s")
_REPORTS_AFTER = 2
_MAPPINGS_HOLD_S = 0.03  # a look takes about a ms


class ConsumerWorld(PeerWorld):
    """The consumer under test, and the producer that it reads."""

    role = Role.CONSUMER

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.next_seq = 0
        self._mapped: list[tuple[str, str]] = []
        self._mapped_until = 0.0
        self._readers: set[Path] = set()

    # Publishing

    def write(self, seq: int, **changes: Any) -> None:
        """Write a frame of 2 x 6 FLOAT32 into its slot; changes are fields of the slot."""
        regions = self.driver.regions
        assert regions is not None
        index = seq & (regions.nslots - 1)
        fields: dict[str, Any] = {
            "word": 2 * seq + 1,
            "nbytes": 48,
            "payload_slot": index,
            "pool_id": 1,
            "payload_offset": 0,
            "timestamp_ns": time.monotonic_ns(),
            "meta_version": 0,
            "pad": b"",
            "header": (192, 184, 52, 900, 1),
            "tensor": (9, 1, 2, 0, 0, 0),
            "dims": (2, 6),
            "strides": (24, 4),
            "pad_end": b"",
            **changes,
        }
        word = fields.pop("word")
        data = _SLOT.pack(
            0,
            *(fields[name] for name in list(fields)[:7]),
            *fields["header"],
            *fields["tensor"],
            *(list(fields["dims"]) + [0] * 8)[:8],
            *(list(fields["strides"]) + [0] * 8)[:8],
            fields["pad_end"],
        )
        at = SUPERBLOCK_BYTES + SLOT_BYTES * index
        regions.ring.words[at // 8] = 2 * seq
        regions.ring.memory[at + 8 : at + SLOT_BYTES] = data[8:]
        regions.ring.words[at // 8] = word

    def announce_frame(
        self, seq: int, *, on: tuple[str, int] | None = None, **changes: Any
    ) -> None:
        """Send the descriptor of a frame."""
        fields = {"stream_id": self.stream_id, "epoch": self.driver.epoch, "seq": seq, **changes}
        self.bus.send(*(on or self.streams.descriptors), FrameDescriptor(**fields))

    def publish(self, count: int = 1, *, on: tuple[str, int] | None = None, **changes: Any) -> int:
        """Publish frames and return the last sequence."""
        for _ in range(count):
            self.write(self.next_seq, **changes)
            self.announce_frame(self.next_seq, on=on)
            self.next_seq += 1
        return self.next_seq - 1

    # Listening

    def reports(self, mark: int = 0) -> list[QosConsumer]:
        """Reports of the consumer from a mark on."""
        lease = self.lease_now()
        return [
            one
            for _, _, one in self.since(
                mark,
                QosConsumer,
                lambda one: (
                    one.stream_id == self.stream_id
                    and (lease is None or one.consumer_id == lease.client_id)
                ),
            )
        ]

    def report(self) -> QosConsumer:
        """Wait for the second report from now on, and return it; NotSeen if none come."""
        mark = self.mark
        came = self.until(lambda: len(self.reports(mark)) >= _REPORTS_AFTER, 4 * self.period_s + 1)
        self.need(came, "it sends no QosConsumer, so what it accepts is not seen")
        return self.reports(mark)[-1]

    def reported(self, fits: Callable[[QosConsumer], bool], seconds: float | None = None) -> bool:
        """Wait for a report that fits; NotSeen if no reports come at all."""
        mark = self.mark
        limit = seconds or self.patience_s + 3 * self.period_s
        if self.until(lambda: any(map(fits, self.reports(mark))), limit):
            return True
        self.need(self.reports(mark), "it sends no QosConsumer, so what it accepts is not seen")
        return False

    def reads_up_to(self, seq: int, seconds: float | None = None) -> bool:
        """Wait until the consumer reports a sequence as the latest."""
        epoch = self.driver.epoch
        return self.reported(lambda one: one.epoch == epoch and one.last_seq_seen == seq, seconds)

    def is_mapped(self, seconds: float | None = None) -> bool:
        """Wait until it reports the current epoch."""
        return self.reported(lambda one: one.epoch == self.driver.epoch, seconds)

    def is_unmapped(self, seconds: float | None = None) -> bool:
        """Wait until it reports no epoch."""
        return self.reported(lambda one: one.epoch == 0, seconds)

    def fresh(self) -> QosConsumer:
        """Begin a new epoch with one frame, and return the report of the consumer that read it."""
        self.lease()
        self.driver.new_epoch()
        self.driver.announce()
        self.next_seq = 0
        seconds = 3 * self.patience_s + 3 * self.period_s
        want(self.is_mapped(seconds), f"it does not report epoch {self.driver.epoch}")
        seq = self.publish()
        want(self.reads_up_to(seq), f"it does not report frame {seq} of a new epoch")
        self.publish()
        want(self.reads_up_to(seq + 1), f"it does not report frame {seq + 1}")
        return self.reports()[-1]

    def hello(self) -> ConsumerHello | None:
        """The latest hello of the consumer."""
        lease = self.lease()
        found = self.since(0, ConsumerHello, lambda one: one.consumer_id == lease.client_id)
        return found[-1][2] if found else None

    def mappings(self) -> list[tuple[str, str]]:
        """Return (permissions, path) of region files of the stream that other processes map."""
        if time.monotonic() >= self._mapped_until:
            self._mapped = self._look_at_mappings()
            self._mapped_until = time.monotonic() + _MAPPINGS_HOLD_S
        return self._mapped

    def _look_at_mappings(self) -> list[tuple[str, str]]:
        """Look at the processes that mapped regions before, if one of them lives, else at all."""
        found: list[tuple[str, str]] = []
        directory = str(self.driver._stream_directory()) + "/"
        maps_of_readers = [maps for maps in self._readers if maps.exists()]
        own = Path(f"/proc/{os.getpid()}/maps")
        for maps in maps_of_readers or Path("/proc").glob("[0-9]*/maps"):
            if maps == own:
                continue
            self.work()  # announces must not be late because a look at all processes takes long
            try:
                lines = maps.read_text().splitlines()
            except OSError:
                continue
            for line in lines:
                fields = line.split(maxsplit=5)
                if len(fields) == 6 and fields[5].startswith(directory):
                    found.append((fields[1], fields[5]))
                    self._readers.add(maps)
        return found

    def _mapped_of(self, epoch: int) -> list[str]:
        return [path for _, path in self.mappings() if f"/{epoch}/" in path]

    def sign_of_use(self, mark: int) -> str:
        """Return a sign that the consumer uses the current epoch, empty without one.

        A region that is mapped counts if it still is half an announce period later: a consumer maps
        it before it can refuse what stands in it.
        """
        epoch = self.driver.epoch
        if mapped := self._mapped_of(epoch):
            self.run_for(self.period_s / 2)
            self._mapped_until = 0.0
            if mapped := [path for path in self._mapped_of(epoch) if path in mapped]:
                return f"it maps {mapped[0]}"
        return f"it reports epoch {epoch}" if self.reports_epoch(mark, epoch) else ""

    def reports_epoch(self, mark: int, epoch: int) -> bool:
        """True if it reported an epoch since a mark."""
        return bool(self.since(mark, QosConsumer, lambda one: one.epoch == epoch))

    def uses_after_end(self, mark: int) -> str:
        """Return a sign that the regions are in use after the lease ended, empty without one."""
        if self.reports_epoch(mark, self.driver.epoch):
            return f"it reports epoch {self.driver.epoch} afterwards"
        mapped = self._mapped_of(self.driver.epoch)
        return f"it maps {mapped[0]} afterwards" if mapped else ""
