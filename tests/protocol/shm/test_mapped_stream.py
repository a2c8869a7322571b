from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tensor_pool.protocol.errors import ShmUriError, ShmValidationError
from tensor_pool.protocol.shm.create import CreateOptions
from tensor_pool.protocol.shm.geometry import PoolGeometry, StreamGeometry
from tensor_pool.protocol.shm.mapped_stream import MappedStream, Revalidation
from tensor_pool.protocol.shm.region import Freshness
from tensor_pool.protocol.shm.superblock import decode_superblock
from tensor_pool.protocol.wire.generated.control_messages import PayloadPool, ShmPoolAnnounce
from tensor_pool.protocol.wire.generated.driver_messages import ShmAttachResponse
from tensor_pool.protocol.wire.generated.enums import ClockDomain, ResponseCode
from tests.protocol.shm.streams import (
    NOW_NS,
    PID,
    Stream,
    create_stream,
    mapped_paths,
    open_descriptors,
)

WINDOW_NS = 3_000
FRESH = Freshness(NOW_NS + 10, WINDOW_NS)


def patch(path: Path, offset: int, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(content)


def refused(stream: Stream, **options: object) -> ShmValidationError:
    """Mapping the whole stream must fail and leave nothing mapped and no descriptor open."""
    stream.close()
    gc.collect()
    before = open_descriptors()
    with pytest.raises(ShmValidationError) as caught:
        stream.map(**options)  # type: ignore[arg-type]
    assert mapped_paths(str(stream.base)) == []
    assert open_descriptors() == before
    return caught.value


def changed(geometry: StreamGeometry, **changes: object) -> StreamGeometry:
    return msgspec.structs.replace(geometry, **changes)


@pytest.mark.parametrize("writable", [False, True], ids=["consumer", "producer"])
def test_C_045_header_ring_and_pools_are_mapped(stream: Stream, writable: bool) -> None:
    """C-045, W-131, W-056."""
    mapped = stream.map(writable=writable)
    assert mapped.epoch == 7
    assert list(mapped.pools) == [1, 2]
    assert [region.pid for region in mapped.regions()] == [PID] * 3
    assert len(mapped.pools[2].buffer) == 64 + 8 * 65536
    assert all(region.buffer.readonly is not writable for region in mapped.regions())
    assert mapped.retire() is True


def test_W_131_failure_of_the_last_pool_leaves_nothing_mapped(stream: Stream) -> None:
    """W-131, W-132, C-045."""
    stream.pool_path(1).unlink()
    error = refused(stream)
    assert (error.region, error.step) == ("pool 2", 4)


def test_W_131_the_header_ring_comes_first(stream: Stream) -> None:
    stream.header_path.unlink()
    stream.pool_path(0).unlink()
    assert refused(stream).region == "header ring"


def test_W_055_a_stale_pool_with_a_fresh_header_is_rejected_on_announce_only(base: Path) -> None:
    """W-055, W-133: after an attach the same files map."""
    stream = create_stream(base, strides=(4096,))
    stream.created[0].refresh_activity(NOW_NS + WINDOW_NS + 1)
    freshness = Freshness(NOW_NS + WINDOW_NS + 1, WINDOW_NS)
    error = refused(stream, freshness=freshness)
    assert (error.region, error.step) == ("pool 1", 12)
    stream.map().retire()


def test_W_055_activity_of_zero_is_never_fresh(base: Path) -> None:
    stream = create_stream(base, now_ns=0)
    assert "never refreshed" in refused(stream, freshness=Freshness(0, WINDOW_NS)).seen


def test_W_053_every_region_can_be_refreshed(stream: Stream) -> None:
    mapped = stream.map()
    for region in stream.created:
        region.refresh_activity(NOW_NS + 77)
    assert [region.activity_ns() for region in mapped.regions()] == [NOW_NS + 77] * 3
    mapped.retire()


@pytest.mark.parametrize(
    ("changes", "region", "seen"),
    [
        ({"header_slot_bytes": 128}, "header ring", "slots of 128 bytes"),
        ({"header_nslots": 0}, "header ring", "0 slots"),
        ({"header_nslots": 3}, "header ring", "3 slots"),
        ({"header_nslots": 12}, "header ring", "12 slots"),
        ({"pools": ()}, "stream", "no payload pool"),
        ({"layout_version": 2}, "header ring", "layout version 2"),
        ({"layout_version": 0}, "header ring", "layout version 0"),
    ],
)
def test_W_130_structure_of_the_stream(
    stream: Stream, changes: dict[str, object], region: str, seen: str
) -> None:
    """W-011, W-013, W-130, W-149."""
    stream.geometry = changed(stream.geometry, **changes)
    error = refused(stream)
    assert (error.step, error.region, error.seen) == (0, region, seen)


@pytest.mark.parametrize("stride", [0, 32, 96, 650, 5000, 2**32 - 1])
def test_W_012_strides_that_are_refused(stream: Stream, stride: int) -> None:
    """W-012, W-130."""
    pool = msgspec.structs.replace(stream.geometry.pools[0], stride_bytes=stride)
    stream.geometry = changed(stream.geometry, pools=(pool,))
    assert refused(stream).wanted == "a multiple of 64"


@pytest.mark.parametrize("stride", [64, 192, 640, 4096, 655_360, 1_048_576])
def test_W_012_strides_that_are_accepted(base: Path, stride: int) -> None:
    stream = create_stream(base, nslots=1, strides=(stride,))
    stream.map().retire()
    stream.close()


@pytest.mark.parametrize("nslots", [1, 2, 1024])
def test_W_011_slot_counts_that_are_accepted(base: Path, nslots: int) -> None:
    stream = create_stream(base, nslots=nslots, strides=(64,))
    stream.map().retire()
    stream.close()


def test_W_011_a_pool_with_another_slot_count_is_refused(stream: Stream) -> None:
    """W-011, W-130."""
    pool = msgspec.structs.replace(stream.geometry.pools[1], nslots=16)
    stream.geometry = changed(stream.geometry, pools=(stream.geometry.pools[0], pool))
    assert refused(stream).seen == "16 slots"


def test_W_013_duplicate_pool_ids_are_refused(stream: Stream) -> None:
    """W-013, W-130."""
    stream.geometry = changed(stream.geometry, pools=(stream.geometry.pools[0],) * 2)
    assert refused(stream).wanted == "unique pool ids"


def test_W_130_all_uris_must_parse_before_anything_is_mapped(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = msgspec.structs.replace(stream.geometry.pools[1], uri="shm:anon?x")
    stream.geometry = changed(stream.geometry, pools=(stream.geometry.pools[0], pool))
    opened: list[object] = []
    monkeypatch.setattr(os, "open", opened.append)
    with pytest.raises(ShmUriError, match="pool 2"):
        stream.map()
    assert opened == []


def test_W_122_geometry_of_an_announce_and_of_an_attach_response(stream: Stream) -> None:
    geometry = stream.geometry
    pools = tuple(
        PayloadPool(
            pool_id=pool.pool_id,
            pool_nslots=pool.nslots,
            stride_bytes=pool.stride_bytes,
            region_uri=pool.uri,
        )
        for pool in geometry.pools
    )
    announce = ShmPoolAnnounce(
        stream_id=10000,
        producer_id=0,
        epoch=7,
        announce_timestamp_ns=1,
        announce_clock_domain=ClockDomain.MONOTONIC,
        layout_version=1,
        header_nslots=8,
        header_slot_bytes=256,
        payload_pools=pools,
        header_region_uri=geometry.header_uri,
    )
    assert StreamGeometry.from_message(announce) == geometry
    response = ShmAttachResponse(
        correlation_id=1,
        code=ResponseCode.OK,
        lease_id=1,
        lease_expiry_timestamp_ns=1,
        stream_id=10000,
        epoch=7,
        layout_version=1,
        header_nslots=8,
        header_slot_bytes=256,
        node_id=None,
        payload_pools=pools,
        header_region_uri=geometry.header_uri,
        error_message="",
    )
    assert StreamGeometry.from_message(response) == geometry
    refusal = msgspec.structs.replace(response, header_nslots=None, epoch=None)
    with pytest.raises(ShmValidationError):
        StreamGeometry.from_message(refusal).check_structure()


class TestRevalidation:
    """W-127: looking again at what is mapped, on each announce of the same epoch."""

    def test_unchanged_regions_are_valid(self, stream: Stream) -> None:
        mapped = stream.map()
        assert mapped.revalidate(stream.geometry, FRESH) is Revalidation.VALID
        assert mapped.revalidate(stream.geometry, None) is Revalidation.VALID
        mapped.retire()

    @pytest.mark.parametrize("index", [0, 1, 2])
    @pytest.mark.parametrize("offset", [0, 8, 12, 20, 24, 26, 28])
    def test_a_field_that_changes_and_is_restored(
        self, stream: Stream, index: int, offset: int
    ) -> None:
        mapped = stream.map()
        path = Path(stream.created[index].path)
        original = path.read_bytes()[offset : offset + 1]
        patch(path, offset, bytes([original[0] ^ 0x40]))
        assert mapped.revalidate(stream.geometry, FRESH) is Revalidation.SUPERBLOCK
        assert mapped.regions()[index].geometry.name in mapped.diagnostic
        patch(path, offset, original)
        assert mapped.revalidate(stream.geometry, FRESH) is Revalidation.VALID
        mapped.retire()

    def test_another_set_of_pools(self, stream: Stream) -> None:
        mapped = stream.map()
        fewer = changed(stream.geometry, pools=stream.geometry.pools[:1])
        assert mapped.revalidate(fewer, FRESH) is Revalidation.SUPERBLOCK
        reordered = changed(stream.geometry, pools=stream.geometry.pools[::-1])
        assert mapped.revalidate(reordered, FRESH) is Revalidation.VALID
        mapped.retire()

    @pytest.mark.parametrize("index", [0, 1, 2])
    def test_a_changed_pid(self, stream: Stream, index: int) -> None:
        """W-056, W-146."""
        mapped = stream.map()
        patch(Path(stream.created[index].path), 40, (99).to_bytes(8, "little"))
        assert mapped.revalidate(stream.geometry, FRESH) is Revalidation.PID_CHANGED
        assert "4242 -> 99" in mapped.diagnostic
        mapped.retire()

    @pytest.mark.parametrize("index", [0, 1, 2])
    def test_activity_that_is_too_old(self, stream: Stream, index: int) -> None:
        """W-127, W-145: not asked during the grace after an attach."""
        mapped = stream.map()
        later = Freshness(NOW_NS + WINDOW_NS + 1, WINDOW_NS)
        for other, region in enumerate(stream.created):
            if other != index:
                region.refresh_activity(later.now_ns)
        assert mapped.revalidate(stream.geometry, later) is Revalidation.STALE_ACTIVITY
        assert mapped.revalidate(stream.geometry, None) is Revalidation.VALID
        assert mapped.header_is_fresh(later) is (index != 0)
        mapped.retire()

    def test_a_file_that_was_shortened(self, stream: Stream) -> None:
        """W-223: seen from the length, before the missing part is touched."""
        mapped = stream.map()
        os.truncate(stream.pool_path(), 4096)
        assert mapped.revalidate(stream.geometry, FRESH) is Revalidation.SUPERBLOCK
        assert "shortened to 4096 bytes" in mapped.diagnostic
        assert not mapped.lost
        mapped.retire()

    def test_memory_that_was_lost(self, stream: Stream) -> None:
        mapped = stream.map()
        os.truncate(stream.pool_path(), 4096)
        assert mapped.pools[1].buffer[5000] == 0
        assert mapped.lost
        assert mapped.revalidate(stream.geometry, FRESH) is Revalidation.SUPERBLOCK
        mapped.retire()


def test_W_142_retiring_unmaps_and_closes_everything(stream: Stream) -> None:
    """W-142, W-132."""
    stream.close()
    before = open_descriptors()
    mapped = stream.map()
    assert len(mapped_paths(str(stream.base))) == 3
    assert mapped.retire() is True
    assert mapped.retired
    assert mapped_paths(str(stream.base)) == []
    assert open_descriptors() == before


def test_W_143_a_held_view_outlives_its_mapping_and_closes_the_old_file(base: Path) -> None:
    """W-143, C-095: bump the epoch while a view of the old one is held."""
    old = create_stream(base, epoch=7)
    new = create_stream(base, epoch=8)
    for stream in (old, new):
        stream.close()
    mapped = old.map()
    view = mapped.pools[1].buffer[64:128]
    assert mapped.retire() is False
    current = new.map()
    assert len(mapped_paths(str(old.header_path.parent))) == 1
    assert bytes(view) == bytes(64)
    view.release()
    assert mapped_paths(str(old.header_path.parent)) == []
    assert len(mapped_paths(str(new.header_path.parent))) == 2
    current.retire()


def test_C_095_a_view_held_across_100_remaps(base: Path) -> None:
    """C-095: no BufferError, no crash; mappings drop to one stream's after release."""
    stream = create_stream(base)
    stream.close()
    before = open_descriptors()
    held: list[np.ndarray] = []  # type: ignore[type-arg]
    mapped: MappedStream = stream.map()
    for _ in range(100):
        held.append(np.frombuffer(mapped.pools[1].buffer[64:], np.uint8))
        mapped.retire()
        mapped = stream.map()
    assert sum(int(view[0]) for view in held) == 0
    assert len(mapped_paths(str(base))) == 102
    held.clear()
    assert len(mapped_paths(str(base))) == 2
    mapped.retire()
    assert open_descriptors() == before


def test_no_leaked_descriptors_or_maps_after_1000_remaps(base: Path) -> None:
    stream = create_stream(base)
    stream.close()
    before = open_descriptors()
    for _ in range(1000):
        stream.map().retire()
    assert open_descriptors() == before
    assert mapped_paths(str(base)) == []


def test_W_212_removal_of_all_files_while_mapped(stream: Stream) -> None:
    mapped = stream.map()
    shutil.rmtree(stream.header_path.parent)
    assert decode_superblock(bytes(mapped.pools[2].buffer[:64])).epoch == 7
    assert mapped.revalidate(stream.geometry, FRESH) is Revalidation.VALID
    mapped.retire()


def test_C_045_with_mlock_on_regions_are_locked_and_failing_to_is_a_failure(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = create_stream(base, nslots=1, strides=(4096,))
    stream.map(lock_memory=True).retire()

    def fail(address: int, length: int) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("tensor_pool.protocol.shm.libc.mlock", fail)
    error = refused(stream, lock_memory=True)
    assert (error.step, error.seen) == (11, "ENOMEM")


def test_W_093_regions_of_a_stream_do_not_overlap(stream: Stream) -> None:
    writer = stream.map(writable=True)
    ring, second = stream.header_path.read_bytes(), stream.pool_path(1).read_bytes()
    writer.pools[1].buffer[64:] = b"\xaa" * (8 * 4096)
    assert stream.header_path.read_bytes() == ring
    assert stream.pool_path(1).read_bytes() == second
    writer.retire()


def test_W_052_a_writer_leaves_superblocks_alone(stream: Stream) -> None:
    writer = stream.map(writable=True)
    before = [bytes(region.buffer[:56]) for region in writer.regions()]
    for region in writer.regions():
        region.buffer[64:] = b"\xff" * (len(region.buffer) - 64)
    assert [bytes(region.buffer[:56]) for region in writer.regions()] == before
    writer.retire()


def test_regions_created_sparse_map_like_others(base: Path) -> None:
    stream = create_stream(base, options=CreateOptions(prefault=False))
    stream.map().retire()
    stream.close()


def test_a_geometry_lists_its_regions_in_mapping_order() -> None:
    geometry = StreamGeometry(
        1, 2, 4, "ring", (PoolGeometry(9, 4, 64, "a"), PoolGeometry(3, 4, 128, "b"))
    )
    assert [(region.name, uri) for region, uri in geometry.regions()] == [
        ("header ring", "ring"),
        ("pool 9", "a"),
        ("pool 3", "b"),
    ]
