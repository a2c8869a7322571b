"""A bridged stream beside everything else of a pool: names, pairs, recordings, pictures.

Two pools with a real driver, real regions and the real client library each; between them two
bridges and a simulated network.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tensor_pool.bridge import (
    Bridge,
    BridgeSettings,
    ReceiveLink,
    ReceiveStream,
    SendLink,
    SendStream,
)
from tensor_pool.bridge.pool import ClientPool
from tensor_pool.cli.commands._mcap_reader import Recording
from tensor_pool.cli.commands.mcap_file import RecordedFrame, RecordingWriter
from tensor_pool.client import Client, Consumer, Frame, Producer
from tensor_pool.driver.http.page.thumbnail import thumbnail_of
from tensor_pool.driver.http.page.viewer import Gallery
from tests.bridge.sim_net import SimNetwork
from tests.client.pool_world import LEFT, RIGHT, PoolWorld

PLACE = "aeron:udp?endpoint=10.0.0.2:40456"


class TwoPools:
    """Stream LEFT of host A goes to stream LEFT of host B, which has a camera RIGHT of its own."""

    def __init__(self, folder: Path) -> None:
        for name in ("a", "b"):
            (folder / name).mkdir()
        # Without the discovery of the driver names come from metadata, as do origin and path.
        self.b = PoolWorld(folder / "b", streams={"far": LEFT, "right": RIGHT}, discovery=False)
        self.clock = self.b.clock
        self.a = PoolWorld(folder / "a", streams={"left": LEFT}, clock=self.clock)
        self.b.tasks.append(self.a._work)
        network = SimNetwork(self.clock, random.Random(1), window_bytes=1 << 20)
        send = SendLink(name="b", channel=PLACE, streams=(SendStream(stream=LEFT, wire_id=LEFT),))
        receive = ReceiveLink(
            name="in", channel=PLACE, streams=(ReceiveStream(wire_id=LEFT, stream=LEFT),)
        )
        for settings, world in (
            (BridgeSettings(instance_id="host-a", send=(send,)), self.a),
            (BridgeSettings(instance_id="host-b", receive=(receive,)), self.b),
        ):
            bridge = Bridge(settings, ClientPool(world.client()), network.host, self.clock)
            bridge.start()
            self.b.tasks.append(bridge.do_work)
        self.camera: Producer = self.a.client().producer(LEFT)
        self.camera.set_metadata("camera/left", "front", {"gain": 3})
        self.local: Producer = self.b.client().producer(RIGHT)
        self.pool: Client = self.b.client()
        self.b.run(3.0)

    def shoot(self, number: int) -> None:
        """Both cameras take a picture."""
        assert self.camera.publish(picture(number), trace_id=number + 1)
        assert self.local.publish(picture(100 + number))

    def close(self) -> None:
        self.b.close()
        self.a.close()


def picture(number: int) -> Any:
    return np.full((24, 32, 3), number % 256, np.uint8)


@pytest.fixture
def pools(tmp_path: Path) -> Iterator[TwoPools]:
    made = TwoPools(tmp_path)
    yield made
    made.close()


def received(pools: TwoPools, consumer: Consumer, count: int) -> Iterator[Frame]:
    pools.b.run(2.0)  # the producer has received the hello
    for number in range(count):
        pools.shoot(number)
        for _ in range(500):
            frame = consumer.poll()
            if frame is not None:
                break
            pools.b.idle()
        assert frame is not None, number
        yield frame


def test_B_104_a_bridged_stream_is_attached_by_the_name_of_its_source(pools: TwoPools) -> None:
    """B-104, B-161, B-002: name, origin and path are found at the far side, and every frame."""
    (found,) = pools.pool.streams("camera/left")
    assert (found.stream_id, found.origin, found.path) == (LEFT, f"host-a:{LEFT}", ("host-a",))
    assert found.has_producer
    with pools.pool.consumer("camera/left") as consumer:
        for number, frame in enumerate(received(pools, consumer, 20)):
            assert np.array_equal(frame.array, picture(number))
            assert (frame.seq, frame.trace_id) == (number, number + 1)
            assert frame.timestamp_ns is not None
            assert 0 <= pools.clock.monotonic_ns() - frame.timestamp_ns < 100_000_000


def test_B_095_a_bridged_camera_is_paired_with_a_local_one(pools: TwoPools) -> None:
    """B-095, S-100, B-100: by sequence and by capture time, which is of the far host's clock."""
    for how in ({"by": "seq"}, {"by": "timestamp", "tolerance": 0.05}):
        with pools.pool.synchronize("camera/left", RIGHT, **how) as pairs:  # type: ignore[arg-type]
            for number in range(5):
                pools.shoot(number)
                pair = pairs.receive(timeout=2)
                assert pair is not None
                left, right = pair
                assert np.array_equal(left.array, picture(number))
                assert np.array_equal(right.array, picture(100 + number))


def test_B_002_a_bridged_stream_is_recorded_and_shown(pools: TwoPools, tmp_path: Path) -> None:
    """B-002, B-161: a recording has every frame; the page's pictures are made of them."""
    path = tmp_path / "bridged.mcap"
    with pools.pool.consumer(LEFT) as consumer, path.open("xb") as file:
        writer = RecordingWriter(file, {LEFT: {}}, compression="none", clock=pools.clock)
        for frame in received(pools, consumer, 10):
            shown = thumbnail_of(frame)
            assert shown is not None
            assert shown.startswith("data:image/")
            recorded = RecordedFrame.of(frame, LEFT)
            assert recorded is not None
            writer.add(recorded)
        writer.finish({"frames": writer.frames, "lost": 0})
    with Recording(path) as recording:
        frames = [frame for _, frame in recording.frames()]
    assert [frame.seq for frame in frames] == list(range(10))
    assert all(np.array_equal(f.array(), picture(n)) for n, f in enumerate(frames))


def test_B_161_the_drivers_page_shows_origin_and_path(pools: TwoPools) -> None:
    """B-161: beside the newest frame of a bridged stream, and of no other."""
    out = io.BytesIO()
    gallery = Gallery(pools.pool, out)
    gallery.look_at(frozenset({LEFT, RIGHT}))
    pools.b.run(3.0)
    for number in range(3):
        pools.shoot(number)
        pools.b.run(0.5)
        gallery.show_new(set())
    messages = [msgspec.json.decode(line) for line in out.getvalue().splitlines()]
    origins = {m["stream_id"]: m["origin"] for m in messages if m["type"] == "frame"}
    assert origins == {LEFT: f"host-a:{LEFT} by host-a", RIGHT: ""}
