"""1e5 frames by content beside stand-ins in raw Aeron and raw memory: none is lost uncounted."""

from __future__ import annotations

import logging
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tensor_pool.cli.conformance.bus import Bus
from tensor_pool.cli.conformance.regions import Regions, tensor_header
from tensor_pool.cli.conformance.stand_in import StandInDriver, StandInOptions
from tensor_pool.client import ClientConfig, Consumer, PublishMode, connect
from tensor_pool.client.consumer.options import ConsumerOptions
from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tensor_pool.protocol.wire import (
    ConsumerHello,
    FrameDescriptor,
    Mode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmLeaseKeepalive,
    encode,
)
from tests.conformance.stand_ins import running
from tests.interop.pool import SLOTS, STREAM, WORDS, frame
from tests.protocol.transport.media_driver import media_driver

__all__ = ["media_driver"]

pytestmark = pytest.mark.process

CHANNEL = "aeron:ipc?term-length=4m"
PRIVATE = "aeron:ipc?term-length=256k"  # goes round often
WIDE_PRIVATE = "aeron:ipc?term-length=4m"  # holds all that is unread
DESCRIPTORS = (CHANNEL, 1100)
FRAMES = 100_000
BURST = 250
AHEAD = SLOTS // 4  # more frames than that are never unread
PATIENCE_S = 60.0
PERIOD_S = 0.2
DROPS = ("drops_gap", "drops_late", "drops_resync", "drops_regression", "missed_unmapped")


class RefreshesNothing(StandInDriver):
    """A driver that leaves the activity stamps to the producer."""

    def refresh(self) -> None:
        pass


@pytest.fixture
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="interop-", dir="/dev/shm") as name:
        yield Path(name)


def stand_in(
    kind: type[StandInDriver], media_driver: MediaDriverProcess, base: Path, control: int
) -> StandInDriver:
    options = StandInOptions(nslots=SLOTS, strides=(256,), lease_s=30.0, announce_period_s=PERIOD_S)
    return kind(Bus(media_driver.directory), (CHANNEL, control), base, options)


def config_for(media_driver: MediaDriverProcess, base: Path, control: int) -> ClientConfig:
    return ClientConfig(
        aeron_dir=media_driver.directory,
        control_channel=CHANNEL,
        control_stream_id=control,
        allowed_base_dirs=(str(base),),
        announce_period=PERIOD_S,
        hello_interval=PERIOD_S,
        driver_liveness_timeout=30.0,  # a stall of this machine is not what is tried
    )


class Tally:
    """The frames of a consumer of ours, compared by content as they come."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.seqs: list[int] = []

    def take(self, up_to: int) -> None:
        """Receive until so many frames were received."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.seqs) < up_to:
            one = self.consumer.receive(timeout=1.0)
            if one is not None:
                assert (one.copy() == frame(one.seq)).all()
                self.seqs.append(one.seq)
            counted = {k: v for k, v in self.consumer.metrics().items() if k in DROPS and v}
            assert not counted
            state = (len(self.seqs), self.consumer.state, dict(self.consumer.metrics()))
            assert time.monotonic() < deadline, state


def test_W_053_a_driver_that_refreshes_nothing_costs_no_frame(
    media_driver: MediaDriverProcess, base: Path
) -> None:
    """Our producer and consumer go through many freshness windows (0.6 s) without a loss."""
    control = 1291
    driver = stand_in(RefreshesNothing, media_driver, base, control)
    config = config_for(media_driver, base, control)
    with (
        running(driver),
        connect(config) as pool,
        pool.consumer(STREAM, publish_mode=PublishMode.EXISTING_OR_CREATE) as consumer,
        pool.producer(STREAM) as producer,
    ):
        tally = Tally(consumer)
        begin = time.monotonic()
        for sequence in range(FRAMES):
            assert producer.publish(frame(sequence)).seq == sequence
            if sequence % BURST == BURST - 1:
                tally.take(sequence + 1)
        while time.monotonic() < begin + 5 * 3 * PERIOD_S:  # also on a fast machine
            sequence += 1
            assert producer.publish(frame(sequence))
            tally.take(sequence + 1)
            time.sleep(PERIOD_S / 10)
        assert tally.seqs == list(range(sequence + 1))
        assert consumer.metrics()["remaps"] <= 1


class RawProducer:
    """A producer in raw Aeron and raw memory, on a bus of its own."""

    def __init__(self, aeron_dir: str, control: int) -> None:
        self.bus = Bus(aeron_dir)
        self.control = (CHANNEL, control)
        self.bus.listen(*self.control)
        self.sequence = 0
        request = ShmAttachRequest(
            1, STREAM, 4711, Role.PRODUCER, 1, PublishMode.EXISTING_OR_CREATE
        )
        self.bus.send(*self.control, request)
        assert self.bus.until(lambda: self._grant() is not None, PATIENCE_S)
        grant = self._grant()
        assert grant is not None
        self.lease_id = grant.lease_id or 0
        self.regions = Regions(grant, writable=True)
        self._next_keepalive = 0.0

    def _grant(self) -> ShmAttachResponse | None:
        found = [
            one.message
            for one in self.bus.heard
            if isinstance(one.message, ShmAttachResponse) and one.message.correlation_id == 1
        ]
        return found[0] if found else None

    def publish(self, count: int, *streams: tuple[str, int]) -> None:
        """Publish frames; each descriptor goes to each stream."""
        now = time.monotonic()
        if now >= self._next_keepalive:
            self._next_keepalive = now + 0.5
            keepalive = ShmLeaseKeepalive(
                self.lease_id, STREAM, 4711, Role.PRODUCER, time.monotonic_ns()
            )
            self.bus.send(*self.control, keepalive)
            self.bus.heard.clear()
        header = tensor_header(WORDS)
        for _ in range(count):
            payload = struct.pack("<Q", self.sequence) * WORDS
            self.regions.write(self.sequence, payload, header)
            descriptor = FrameDescriptor(STREAM, self.regions.epoch, self.sequence)
            for stream in streams:
                assert self._send(self.bus.publication(*stream), encode(descriptor))
            self.sequence += 1

    def _send(self, publication: Any, data: bytes) -> bool:
        """Without a subscriber, also one that leaves meanwhile, there is nothing to send."""
        return self.bus.until(
            lambda: not publication.is_connected or publication.offer(data) is True, PATIENCE_S
        )

    def close(self) -> None:
        self.regions.close()
        self.bus.close()


def test_W_164_a_private_stream_without_publisher_later_with_later_lost_costs_no_frame(
    media_driver: MediaDriverProcess, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A foreign producer serves the assigned stream from a third of the frames to two thirds."""
    control = 1292
    driver = stand_in(StandInDriver, media_driver, base, control)
    config = config_for(media_driver, base, control)
    options = ConsumerOptions(descriptor_channel=WIDE_PRIVATE)
    caplog.set_level(logging.INFO, "tensor_pool.client")
    with (
        running(driver),
        connect(config) as pool,
        pool.consumer(
            STREAM, publish_mode=PublishMode.EXISTING_OR_CREATE, options=options
        ) as consumer,
    ):
        producer = RawProducer(media_driver.directory, control)
        own = (WIDE_PRIVATE, consumer._attachment.assigned.descriptor[1])
        assert own[1] in range(31_000, 32_000)
        producer.bus.publication(*DESCRIPTORS)
        try:
            tally = Tally(consumer)
            was_private = False
            while producer.sequence < FRAMES:
                serves = FRAMES // 3 <= producer.sequence < 2 * FRAMES // 3
                if producer.sequence >= 2 * FRAMES // 3:
                    producer.bus.close_publication(*own)
                producer.publish(BURST, DESCRIPTORS, *([own] if serves else []))
                was_private |= serves and not consumer._attachment.assigned._reads_shared
                tally.take(producer.sequence - AHEAD)
            tally.take(FRAMES)
            assert tally.seqs == list(range(FRAMES))
            assert was_private
            assert consumer.metrics()["private_streams_unserved"] == 2
        finally:
            producer.close()
    said = [one for one in caplog.messages if "has no publisher" in one]
    assert len(said) == 2  # at the beginning, and when the publisher went


def test_W_165_a_foreign_consumer_gets_every_frame_on_both_streams(
    media_driver: MediaDriverProcess, base: Path
) -> None:
    """Our producer; the consumer reads descriptors and slots as bytes, private from half on."""
    control, number = 1293, 31_007
    driver = stand_in(StandInDriver, media_driver, base, control)
    config = config_for(media_driver, base, control)
    with running(driver), connect(config) as pool, pool.producer(STREAM) as producer:
        bus = Bus(media_driver.directory)
        address = (CHANNEL, control)
        bus.listen(*address)
        bus.listen(*DESCRIPTORS)
        bus.listen(PRIVATE, number)
        request = ShmAttachRequest(
            2, STREAM, 4712, Role.CONSUMER, 1, PublishMode.EXISTING_OR_CREATE
        )
        bus.send(*address, request)
        assert bus.until(lambda: _answer(bus) is not None, PATIENCE_S)
        grant = _answer(bus)
        assert grant is not None
        lease_id = grant.lease_id or 0
        hello = ConsumerHello(
            STREAM,
            4712,
            True,
            False,
            Mode.STREAM,
            0,
            1,
            descriptor_stream_id=number,
            descriptor_channel=PRIVATE,
        )
        shared: list[int] = []
        private: list[int] = []
        with Regions(grant) as regions:
            for first in range(0, FRAMES, BURST):
                asks = first >= FRAMES // 2
                for sequence in range(first, first + BURST):
                    assert producer.publish(frame(sequence)).seq == sequence
                wanted = first + BURST
                found = bus.until(lambda: _take(bus, shared, private) >= wanted, PATIENCE_S)  # noqa: B023
                assert found, (len(shared), wanted)
                for sequence in range(first, first + BURST):
                    word, _ = regions.slot(sequence)
                    at = 64 + 256 * (sequence & (SLOTS - 1))
                    payload = regions.payloads[0].memory[at : at + 8 * WORDS]
                    assert word == 2 * sequence + 1
                    assert payload == struct.pack("<Q", sequence) * WORDS
                if first % (20 * BURST) == 0:
                    now = time.monotonic_ns()
                    bus.send(
                        *address, ShmLeaseKeepalive(lease_id, STREAM, 4712, Role.CONSUMER, now)
                    )
                    if asks:
                        bus.send(*address, hello)
                if asks and not private:
                    bus.until(lambda: _take(bus, shared, private) < 0, 0.05)  # the config travels
        bus.until(
            lambda: bool(private) and _take(bus, shared, private) and private[-1] == FRAMES - 1,
            PATIENCE_S,
        )
        bus.close()
    assert shared == list(range(FRAMES))
    assert private == list(range(private[0], FRAMES))
    assert FRAMES // 2 <= private[0] < FRAMES - 10_000


def _answer(bus: Bus) -> ShmAttachResponse | None:
    found = [
        one.message
        for one in bus.heard
        if isinstance(one.message, ShmAttachResponse) and one.message.correlation_id == 2
    ]
    return found[0] if found else None


def _take(bus: Bus, shared: list[int], private: list[int]) -> int:
    """Move what came to the two lists; return the number of shared frames."""
    for one in bus.heard:
        if isinstance(one.message, FrameDescriptor):
            (shared if one.stream_id == DESCRIPTORS[1] else private).append(one.message.seq)
    bus.heard.clear()
    return len(shared)
