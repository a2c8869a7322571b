"""Metadata: versions, order on the wire, late joiners, blobs (C-081, §16)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from crc32c import crc32c

from tensor_pool.client.blobs import Blob, BlobAssembler, blob_messages
from tensor_pool.client.metadata import AttributeValue, MetadataCache
from tensor_pool.protocol.testing.faults import Faults
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    Attribute,
    DataSourceAnnounce,
    DataSourceMeta,
    MetaBlobAnnounce,
    MetaBlobChunk,
    MetaBlobComplete,
)
from tests.client.world import STREAM, World


def announces(messages: Iterable[Any]) -> list[DataSourceAnnounce]:
    return [m for m in messages if isinstance(m, DataSourceAnnounce)]


def metas(messages: Iterable[Any]) -> list[DataSourceMeta]:
    return [m for m in messages if isinstance(m, DataSourceMeta)]


def test_C_081_each_change_raises_the_version_and_is_sent_in_order(world: World) -> None:
    """C-081, W-190, W-191: announce, then attributes; five changes give 5."""
    producer, _ = world.pair()
    heard = world.listen(1300)
    assert producer.metadata_version == 0
    world.run(1.2)
    assert heard == []
    producer.set_metadata("camera", "front", {"gain": 3})
    producer.set_attribute("unit", "text/plain", "mm")
    producer.set_attribute("unit", "text/plain", "cm")
    producer.set_attribute("roi", "application/msgpack", b"\x01\xff")
    producer.delete_attribute("gain")
    assert producer.metadata_version == 5
    world.run(0.02)
    assert [type(m) for m in heard[:2]] == [DataSourceAnnounce, DataSourceMeta]
    sent, meta = heard[-2:]
    assert (sent.name, sent.summary, sent.meta_version) == ("camera", "front", 5)
    assert sent.producer_id == producer.client_id
    assert sent.epoch == world.driver.streams[STREAM].epoch
    assert meta.meta_version == 5
    assert meta.attributes == (
        Attribute("unit", "text/plain", b"cm"),
        Attribute("roi", "application/msgpack", b"\x01\xff"),
    )


def test_W_191_both_are_repeated_every_period_for_late_joiners(world: World) -> None:
    """C-081, W-191."""
    producer, _ = world.pair()
    producer.set_metadata("camera", attributes={"a": "b"})
    world.run(0.5)
    late = world.client().consumer(STREAM)
    assert late.metadata is None
    world.run(2.0)
    assert late.metadata is not None
    assert (late.metadata.name, late.metadata.version) == ("camera", 1)
    assert late.metadata.attributes == {"a": AttributeValue("text/plain", b"b")}
    assert late.metadata.attributes["a"].text == "b"


def test_C_081_back_pressure_between_the_two_is_retried_until_both_are_accepted(
    world: World,
) -> None:
    client = world.client("camera")
    producer = client.producer(STREAM)
    heard = world.listen(1300)
    full = Faults(offer_result=OfferResult.BACK_PRESSURED)
    real_send = client._conductor.send
    sent: list[str] = []

    def send(stream: Any, message: Any) -> OfferResult:
        sent.append(type(message).__name__)
        if isinstance(message, DataSourceMeta) and sent.count("DataSourceMeta") <= 2:
            return OfferResult.BACK_PRESSURED
        return real_send(stream, message)

    client._conductor.send = send  # type: ignore[method-assign]
    producer.set_metadata("camera")
    world.run(0.1)
    sent = [name for name in sent if name.startswith("Data")]
    assert sent == ["DataSourceAnnounce", "DataSourceMeta"] * 3
    assert len(metas(heard)) == 1
    assert producer.metrics()["metadata_sent"] == 1
    client._conductor.send = real_send  # type: ignore[method-assign]
    world.network.set_faults(full, transport="camera", stream_id=1300)
    producer.set_attribute("x", "text/plain", 1)
    world.run(0.1)
    assert producer.metrics()["metadata_sent"] == 1
    world.network.set_faults(Faults(), transport="camera", stream_id=1300)
    world.run(0.1)
    assert metas(heard)[-1].meta_version == 2


def test_C_081_a_reattach_sends_metadata_again_in_the_new_epoch(world: World) -> None:
    """C-081, W-190: the version does not fall."""
    producer, consumer = world.pair()
    heard = world.listen(1300)
    producer.set_metadata("camera")
    producer.set_attribute("a", "text/plain", 1)
    world.run(0.02)
    world.driver.revoke(world.driver.lease_of(producer.client_id))
    world.run(0.5)
    assert producer.state == "Active"
    last = announces(heard)[-1]
    assert (last.epoch, last.meta_version) == (world.driver.streams[STREAM].epoch, 2)
    assert consumer.metadata is not None
    assert consumer.metadata.attributes == {"a": AttributeValue("text/plain", b"1")}


def test_metadata_set_while_not_active_is_sent_once_active(world: World) -> None:
    producer = world.client().begin_attach_producer(STREAM)
    producer.set_metadata("early")
    heard = world.listen(1300)
    world.run(0.1)
    assert announces(heard)[0].name == "early"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("grün", ("text/plain", "grün".encode())),
        (12, ("text/plain", b"12")),
        (b"\0\xff", ("application/octet-stream", b"\0\xff")),
        (("x/unheard-of", b"1"), ("x/unheard-of", b"1")),
        (("sbe:900.52", "v"), ("sbe:900.52", b"v")),
    ],
    ids=str,
)
def test_W_195_values_travel_as_bytes_with_their_format(
    world: World, value: Any, expected: tuple[str, bytes]
) -> None:
    """C-081, W-195."""
    producer, consumer = world.pair()
    producer.set_metadata("n", attributes={"key": value})
    world.run(0.05)
    assert consumer.metadata is not None
    assert consumer.metadata.attributes == {"key": AttributeValue(*expected)}


@pytest.mark.parametrize("value", [1.5, None, True, ["x"]], ids=str)
def test_other_values_are_refused(world: World, value: Any) -> None:
    producer, _ = world.pair()
    with pytest.raises(ValueError, match="str, int or bytes"):
        producer.set_attribute("key", "text/plain", value)
    assert producer.metadata_version == 0
    with pytest.raises(KeyError):
        producer.delete_attribute("key")


def announce(version: int, epoch: int = 1) -> DataSourceAnnounce:
    return DataSourceAnnounce(
        stream_id=STREAM, producer_id=1, epoch=epoch, meta_version=version, name=f"v{version}"
    )


def meta(version: int, **attributes: str) -> DataSourceMeta:
    items = tuple(Attribute(k, "text/plain", v.encode()) for k, v in attributes.items())
    return DataSourceMeta(stream_id=STREAM, meta_version=version, timestamp_ns=1, attributes=items)


def test_W_192_a_list_is_replaced_as_a_whole_and_never_by_an_older_one() -> None:
    cache = MetadataCache()
    cache.on_announce(announce(1))
    cache.on_meta(meta(1, a="1", b="2"))
    assert set(cache.current.attributes) == {"a", "b"}  # type: ignore[union-attr,arg-type]
    cache.on_announce(announce(2))
    assert cache.on_meta(meta(2, b="3"))
    assert not cache.on_meta(meta(1, a="1"))
    assert not cache.on_announce(announce(1))
    assert cache.current is not None
    assert cache.current.attributes == {"b": AttributeValue("text/plain", b"3")}
    twice = DataSourceMeta(
        stream_id=STREAM, meta_version=3, timestamp_ns=1, attributes=meta(3, a="1").attributes * 2
    )
    assert not cache.on_meta(twice)


def test_W_193_attributes_of_another_version_are_not_presented_as_current() -> None:
    cache = MetadataCache()
    assert cache.current is None
    cache.on_announce(announce(1))
    cache.on_meta(meta(1, a="1"))
    cache.on_announce(announce(2))
    assert cache.current is not None
    assert (cache.current.name, cache.current.attributes) == ("v2", None)
    cache.on_meta(meta(2, a="1"))
    assert cache.current.attributes is not None
    cache.on_announce(announce(2, epoch=2))
    assert cache.current.attributes is None  # stale until they come again
    assert not cache.on_announce(announce(9, epoch=1))
    cache.on_meta(meta(2, a="1"))
    assert cache.current.attributes is not None


def test_W_193_metadata_of_a_former_producer_ends_with_its_epoch(world: World) -> None:
    first, consumer = world.pair()
    first.set_metadata("left", attributes={"pixel format": "BGR8"})
    world.run(0.05)
    assert consumer.metadata is not None
    announce, meta = consumer.metadata_messages
    first.close()
    second = world.client().producer(STREAM)
    world.run(0.05)
    assert consumer.metadata is None
    for message in (announce, meta):  # late, as from a producer that was stopped meanwhile
        assert message is not None
        world.say(1300, message)
    world.run(0.05)
    assert consumer.metadata is None
    assert second.publish(np.zeros(3, np.uint8))
    assert consumer.poll() is not None
    second.set_metadata("right")
    world.run(0.05)
    assert consumer.metadata is not None
    assert consumer.metadata.name == "right"


def test_W_194_a_frame_with_an_unknown_version_is_delivered(world: World) -> None:
    """W-194, W-196: geometry of the source is metadata; a frame only names a version."""
    producer, consumer = world.pair()
    producer._meta_version = 9
    producer.publish(np.zeros(3, np.uint8))
    frame = consumer.poll()
    assert frame is not None
    assert frame.meta_version == 9


def test_a_change_reaches_the_callback(world: World) -> None:
    told: list[Any] = []
    producer, _ = world.pair(on_metadata=told.append)
    producer.set_metadata("camera", attributes={"a": 1})
    world.run(3)
    assert [(m.name, m.attributes is None) for m in told] == [("camera", True), ("camera", False)]


# Blobs


def sent(data: bytes, **options: Any) -> list[Any]:
    return list(blob_messages(data, stream_id=STREAM, meta_version=4, blob_type=7, **options))


def take_all(assembler: BlobAssembler, messages: Iterable[Any]) -> list[Blob]:
    return [blob for m in messages if (blob := assembler.take(m)) is not None]


def test_W_197_a_blob_travels_in_chunks(world: World) -> None:
    data = bytes(range(256)) * 781 + b"\0" * 64
    assert len(data) == 200_000
    messages = sent(data)
    sizes = [len(m.bytes_) for m in messages if isinstance(m, MetaBlobChunk)]
    assert sizes == [65536, 65536, 65536, 3392]
    assert take_all(BlobAssembler(), messages) == [Blob(STREAM, 4, 7, data)]


def test_W_197_producers_send_and_consumers_receive_blobs(world: World) -> None:
    told: list[Blob] = []
    producer, _ = world.pair(on_blob=told.append)
    producer.set_metadata("camera")
    world.run(0.05)
    data = bytes(range(256)) * 800
    producer.send_blob(data, blob_type=3)
    world.run(0.2)
    assert told == [Blob(STREAM, 1, 3, data)]


def broken(messages: list[Any]) -> dict[str, list[Any]]:
    first, *chunks, end = messages
    a, b, c = chunks

    def chunk(offset: int, data: bytes) -> MetaBlobChunk:
        return MetaBlobChunk(stream_id=STREAM, meta_version=4, chunk_offset=offset, bytes_=data)

    return {
        "no announce": [*chunks, end],
        "gap": [first, a, c, end],
        "overlap": [first, a, chunk(65535, b.bytes_), c, end],
        "empty": [first, a, chunk(65536, b""), b, c, end],
        "oversized": [first, chunk(0, bytes(65537)), end],
        "overrun": [first, a, b, chunk(131072, c.bytes_ + b"x"), end],
        "early end": [first, a, b, end],
        "identity": [
            first,
            a,
            b,
            c,
            MetaBlobComplete(stream_id=STREAM, meta_version=5, checksum=end.checksum),
        ],
        "other checksum": [
            first,
            a,
            b,
            c,
            MetaBlobComplete(stream_id=STREAM, meta_version=4, checksum=end.checksum ^ 1),
        ],
    }


CASES = broken(sent(bytes(150_000)))


@pytest.mark.parametrize("case", CASES)
def test_W_198_anything_that_does_not_fit_discards_the_blob(case: str) -> None:
    assembler = BlobAssembler()
    assert take_all(assembler, CASES[case]) == []
    assert assembler.discarded >= 1
    assert len(take_all(assembler, sent(b"next"))) == 1


def test_W_198_the_length_is_bounded() -> None:
    assembler = BlobAssembler(max_bytes=10)
    assert take_all(assembler, sent(b"x" * 11)) == []
    assert len(take_all(assembler, sent(b"x" * 10))) == 1
    assert BlobAssembler().max_bytes == 64 * 1024 * 1024
    for version in range(100):  # announces alone do not pile up
        assembler.take(
            MetaBlobAnnounce(
                stream_id=STREAM, meta_version=version, blob_type=0, total_len=1, checksum=0
            )
        )
    assert len(assembler._open) <= 16


def test_W_199_checksums_are_crc32c_and_verified_when_given() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    first, chunk, end = sent(b"123456789")
    assert first.checksum == end.checksum == 0xE3069283
    flipped = MetaBlobChunk(stream_id=STREAM, meta_version=4, chunk_offset=0, bytes_=b"123456788")
    assert take_all(BlobAssembler(), [first, flipped, end]) == []
    plain = sent(b"123456789", checksum=False)
    assert plain[0].checksum == 0
    assert len(take_all(BlobAssembler(), [plain[0], flipped, plain[2]])) == 1
    assert take_all(BlobAssembler(), sent(b""))[0].data == b""
    assert len(sent(b"")) == 2
    assert chunk.chunk_offset == 0
