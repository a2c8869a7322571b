"""Streams by name: attach, list, watch (§2 of services)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tensor_pool.client import (
    AmbiguousStreamError,
    Appeared,
    AttachRejectedError,
    AttachTimeoutError,
    Changed,
    ConfigError,
    UnknownStreamError,
    Vanished,
)
from tensor_pool.client.discovery.directory import Directory
from tensor_pool.protocol.wire import (
    DataSourceAnnounce,
    DiscoveryRequest,
    DiscoveryResponse,
    DiscoveryResult,
    DiscoveryStatus,
    PayloadPool,
    PublishMode,
    decode,
    encode,
)
from tests.client.pool_world import LEFT, MS, RIGHT, PoolWorld

CREATE = PublishMode.EXISTING_OR_CREATE
FRAME = np.arange(12, dtype=np.uint8)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PoolWorld]:
    world = PoolWorld(tmp_path)
    yield world
    world.close()


def test_S_021_a_name_stands_wherever_an_id_does(world: PoolWorld) -> None:
    pool = world.client()
    camera = pool.producer("left")
    assert camera.stream_id == LEFT
    camera.set_metadata("camera/left", "the left one")
    world.run(0.05)
    viewer = pool.consumer("camera/left")
    assert viewer.stream_id == LEFT
    world.run(0.05)
    camera.publish(FRAME)
    frame = viewer.poll()
    assert frame is not None
    assert np.array_equal(frame.array, FRAME)
    assert pool.consumer("10000").stream_id == LEFT  # a text of digits is an id


def test_S_021_a_name_that_comes_late_is_waited_for(world: PoolWorld) -> None:
    pool, other = world.client(), world.client()
    camera = other.producer(LEFT)
    due_ns = world.clock.monotonic_ns() + 800 * MS

    def name_it() -> None:
        if world.clock.monotonic_ns() >= due_ns and camera.metadata_version == 0:
            camera.set_metadata("camera/late", "")

    world.tasks.append(name_it)
    viewer = pool.consumer("camera/late")
    assert viewer.stream_id == LEFT
    assert world.clock.monotonic_ns() >= due_ns


def test_S_021_an_unknown_name_is_reported_with_the_names_there_are(world: PoolWorld) -> None:
    pool = world.client()
    pool.producer(LEFT).set_metadata("camera/left", "")
    began_ns = world.clock.monotonic_ns()
    with pytest.raises(UnknownStreamError) as caught:
        pool.consumer("camera/lefd", attach_timeout=1.0)
    assert world.clock.monotonic_ns() - began_ns >= 1000 * MS
    error = caught.value
    assert (error.name, error.near) == ("camera/lefd", ("camera/left",))
    assert "did you mean 'camera/left'?" in str(error)
    assert "camera/left (10000), right (10001)" in str(error)


def test_S_021_two_streams_of_one_name_are_ambiguous(world: PoolWorld) -> None:
    pool = world.client()
    pool.producer(LEFT).set_metadata("camera", "")
    pool.producer(RIGHT).set_metadata("camera", "")
    world.run(0.05)
    began_ns = world.clock.monotonic_ns()
    with pytest.raises(AmbiguousStreamError, match="2 streams have the name 'camera'") as caught:
        pool.consumer("camera", attach_timeout=5)
    assert caught.value.stream_ids == (LEFT, RIGHT)
    assert world.clock.monotonic_ns() - began_ns < 500 * MS  # nothing would change by waiting


def test_S_021_a_stream_that_got_another_id_is_found_again(world: PoolWorld) -> None:
    pool, other = world.client(), world.client()
    first = other.producer(20_500)
    first.set_metadata("camera/moving", "")
    world.run(0.05)
    viewer = pool.consumer("camera/moving")
    assert viewer.stream_id == 20_500
    first.close()
    world.driver.revoke_lease(world.driver.snapshot().leases[0].lease_id)
    world.run(0.05)
    second = other.producer(20_600)
    second.set_metadata("camera/moving", "")
    world.run(4.0)
    assert viewer.stream_id == 20_600
    second.publish(FRAME)
    world.run(0.02)
    assert viewer.poll() is not None


@pytest.mark.parametrize("name", ["", "two words", "x" * 257, "ümlaut"])
def test_S_020_an_illegal_name_is_refused_at_once(world: PoolWorld, name: str) -> None:
    with pytest.raises(ConfigError, match="visible ASCII"):
        world.client().consumer(name, attach_timeout=5)


def test_S_022_streams_are_listed_by_id_with_pattern_and_tags(world: PoolWorld) -> None:
    pool = world.client()
    camera = pool.producer(RIGHT)
    camera.set_metadata("camera/right", "the right one", tags=["calibrated", "room:2"])
    world.run(0.05)
    left, right = pool.streams()
    assert (left.stream_id, left.name, left.has_producer, left.epoch) == (LEFT, "left", False, 0)
    assert (right.stream_id, right.name, right.has_producer) == (RIGHT, "camera/right", True)
    assert right.epoch > 0
    assert (right.nslots, right.strides_bytes) == (16, (4096,))
    assert (right.seen, right.driver_instance) == ("answer", "driver-01")
    assert right.tags == ("calibrated", "room:2")
    assert [s.stream_id for s in pool.streams("camera/*")] == [RIGHT]
    assert [s.stream_id for s in pool.streams(tags=["room:2", "calibrated"])] == [RIGHT]
    assert pool.streams("camera/*", tags=["room:3"]) == []
    assert pool.streams("Camera/*") == []


def test_S_023_a_tag_that_is_none_is_refused_where_it_is_set(world: PoolWorld) -> None:
    camera = world.client().producer(RIGHT)
    with pytest.raises(ValueError, match="two words"):
        camera.set_metadata("camera", "", tags=["good", "two words"])
    assert camera.metadata_version == 0


def test_S_040_a_driver_that_does_not_answer_is_listened_to(tmp_path: Path) -> None:
    world = PoolWorld(tmp_path, discovery=False)
    pool = world.client()
    camera = world.client().producer(LEFT)
    camera.set_metadata("camera/left", "the left one", tags=["a"])
    began_ns = world.clock.monotonic_ns()
    (left,) = pool.streams()
    took_ms = (world.clock.monotonic_ns() - began_ns) // MS
    assert 1600 <= took_ms < 1750  # 500 ms for an answer, then 1.1 announce periods
    assert (left.stream_id, left.name, left.summary) == (LEFT, "camera/left", "the left one")
    assert (left.seen, left.tags, left.has_producer) == ("listening", ("a",), True)
    began_ns = world.clock.monotonic_ns()
    assert pool.consumer("camera/left").stream_id == LEFT
    assert (world.clock.monotonic_ns() - began_ns) // MS < 100  # the way is remembered
    world.close()


def test_S_040_without_a_driver_there_are_no_streams(world: PoolWorld) -> None:
    pool = world.client()
    world.driver.close(drain=False)
    assert pool.streams() == []  # nothing is announced


def test_S_042_changes_are_reported_once_and_in_order(world: PoolWorld) -> None:
    pool = world.client()
    other = world.client()
    camera = other.producer(20_500)
    with pool.watch_streams("camera/*") as changes:
        world.run(1.2)
        assert changes.poll() is None  # it has no name yet
        camera.set_metadata("camera/left", "", tags=["a"])
        world.run(1.5)
        change = changes.poll()
        assert isinstance(change, Appeared)
        assert change.stream.name == "camera/left"
        camera.set_metadata("camera/left", "with a summary", tags=["a"])
        world.run(1.2)
        kinds = []
        while (change := changes.poll()) is not None:
            kinds.append(type(change))
            last = change
        assert set(kinds) == {Changed}
        assert last.stream.summary == "with a summary"
        camera.close()
        world.run(8)
        kinds = []
        while (change := changes.poll()) is not None:
            kinds.append(type(change))
        assert kinds[-1] is Vanished
        assert kinds.count(Vanished) == 1


def test_S_042_a_slow_reader_misses_the_oldest_changes(world: PoolWorld) -> None:
    pool = world.client()
    for number in range(6):
        world.client().producer(20_500 + number)
    with pool.watch_streams(max_pending=2) as changes:
        world.run(1.2)
        assert changes.missed == 4
        seen = [changes.poll(), changes.poll(), changes.poll()]
    assert [c.stream.stream_id for c in seen if c is not None] == [20_504, 20_505]


def test_S_042_iterating_ends_with_the_watch(world: PoolWorld) -> None:
    pool = world.client()
    world.client().producer(20_500)
    changes = pool.watch_streams()
    for change in changes:
        assert change == Appeared(change.stream)
        changes.close()
    assert pool._conductor.directory._listeners == [] or world.run(0.05) is None
    assert pool._conductor.directory._listeners == []


def result(**changes: object) -> DiscoveryResult:
    values: dict[str, object] = {
        "stream_id": 5,
        "producer_id": 0,
        "epoch": 1,
        "layout_version": 1,
        "header_nslots": 8,
        "header_slot_bytes": 256,
        "max_dims": 8,
        "data_source_id": None,
        "driver_control_stream_id": 1000,
        "payload_pools": (PayloadPool(1, 8, 4096, "shm:file?path=/x"),),
        "driver_control_channel": "aeron:ipc",
    }
    return DiscoveryResult(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"driver_control_stream_id": 0},
        {"driver_control_channel": ""},
        {"header_slot_bytes": 128},
        {"max_dims": 4},
        {"payload_pools": (PayloadPool(1, 16, 4096, ""),)},
    ],
    ids=str,
)
def test_S_041_implausible_results_are_left_out(
    world: PoolWorld, changes: dict[str, object]
) -> None:
    pool = world.client()
    directory: Directory = pool._conductor.directory
    answers: list[list[int]] = []
    directory.ask(lambda found: answers.append([info.stream_id for info in found]))
    (request_id,) = directory._questions
    results = (result(), result(stream_id=6, **changes))
    directory.on_response(DiscoveryResponse(request_id, DiscoveryStatus.OK, results))
    world.clock.advance(21 * MS)
    directory.do_work(world.clock.monotonic_ns())
    assert answers == [[5]]
    assert directory.counters["discovery_invalid"] == 1


def test_S_033_not_found_stands_for_no_streams(world: PoolWorld) -> None:
    directory: Directory = world.client()._conductor.directory
    answers: list[object] = []
    directory.ask(answers.append)
    (request_id,) = directory._questions
    directory.on_response(DiscoveryResponse(request_id, DiscoveryStatus.NOT_FOUND))
    world.clock.advance(21 * MS)
    directory.do_work(world.clock.monotonic_ns())
    assert answers == [[]]


def test_S_040_a_question_is_sent_twice_before_listening(tmp_path: Path) -> None:
    world = PoolWorld(tmp_path, discovery=False)
    pool = world.client()
    heard: list[DiscoveryRequest] = []
    ear = world.network.transport("ear").add_subscription(
        pool.config.control_channel, pool.config.control_stream_id
    )

    def listen() -> None:
        def take(buffer: memoryview) -> None:
            message = decode(bytes(buffer))
            if isinstance(message, DiscoveryRequest):
                heard.append(message)

        ear.poll(take, 100)

    world.tasks.append(listen)
    pool.streams()
    assert len(heard) == 2
    assert heard[0] == heard[1]
    world.close()


def test_S_046_a_producer_that_is_there_is_named(world: PoolWorld) -> None:
    """S-046, S-047, S-048"""
    camera = world.client(client_name="camera-driver").producer(LEFT)
    world.run(0.05)
    with pytest.raises(AttachRejectedError, match=r"attached by camera-driver \(pid \d+ on .+\)"):
        world.client().producer(LEFT, attach_timeout=0.5)
    camera.close()


def test_S_046_names_of_clients_are_not_metadata_of_a_stream(world: PoolWorld) -> None:
    viewer = world.client().consumer(LEFT, publish_mode=CREATE)
    world.run(0.05)
    naming = world.network.transport("x").add_publication(
        viewer._attachment.config.control_channel, 1000
    )
    naming.offer(encode(DataSourceAnnounce(0, 5, 0, 0, name="a client", summary="pid=1 host=h")))
    world.run(0.05)
    assert viewer.metadata is None


def test_S_047_the_name_is_repeated_every_five_announce_periods(world: PoolWorld) -> None:
    pool = world.client(client_name="viewer")
    ear = world.network.transport("ear").add_subscription(pool.config.control_channel, 1000)
    pool.consumer(LEFT, publish_mode=CREATE)
    world.run(11)
    named: list[DataSourceAnnounce] = []

    def take(buffer: memoryview) -> None:
        message = decode(bytes(buffer))
        if isinstance(message, DataSourceAnnounce):
            named.append(message)

    while ear.poll(take, 1000):
        pass
    assert [m.name for m in named] == ["viewer"] * 3
    assert {m.stream_id for m in named} == {0}


def test_S_030_listing_needs_no_lease(world: PoolWorld) -> None:
    pool = world.client()
    pool.streams()
    assert world.driver.snapshot().leases == ()
    assert not isinstance(AttachTimeoutError("x"), UnknownStreamError)


def test_S_170_an_answer_is_a_sign_of_the_driver(world: PoolWorld) -> None:
    pool = world.client()
    world.run(2)
    assert pool.driver_heard_ns is None  # no stream has an epoch, so none is announced
    pool.streams()
    assert pool.driver_heard_ns is not None
