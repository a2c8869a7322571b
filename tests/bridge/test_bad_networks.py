"""Bad paths: partitions of every length, loss, delay, duplication (sections 12 and 16.2)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

import pytest

from tensor_pool.bridge.core.inbound_stream import InboundStream
from tensor_pool.bridge.core.outbound_stream import OutboundStream
from tensor_pool.bridge.net import AeronNet
from tensor_pool.protocol.transport.media_driver import EmbeddedMediaDriver, unique_aeron_dir
from tensor_pool.protocol.transport.ports import OfferResult
from tests.bridge.bad_path import BadPath
from tests.bridge.sim_world import World


def run(world: World, ms: int) -> None:
    """Let time pass at 30 Hz and 10 ms a step."""
    for step in range(ms // 10):
        if step % 3 == 0:
            world.published += 1
            world.source.publish(world.published, 200)
        world.step(10)


@pytest.mark.parametrize("seconds", [0.3, 3, 8, 10, 20])
def test_B_140_a_partition_of_any_length_ends_as_in_the_table(seconds: float) -> None:
    """B-140, B-091, B-053, B-082, row 5 of section 16.2; infos come every 200 ms here."""
    world = World(3)
    run(world, 1000)
    far, sinks = world.receiver.far_epoch, len(world.pool_b.sinks)
    assert sinks == 1
    world.network.cut()
    skipped = world.sender.counters["skipped_link"]
    run(world, int(seconds * 1000))
    receiver, sender = world.receiver.machine, world.sender.machine
    if seconds < 0.6:
        assert receiver.is_in(InboundStream.Ready)
    elif seconds <= 10:
        assert receiver.is_in(InboundStream.Holding)
    else:
        assert receiver.is_in(InboundStream.Silent)
        assert not world.pool_b.sinks
    assert sender.is_in(OutboundStream.Held) == (seconds > 5)
    assert (world.sender.counters["skipped_link"] > skipped) == (seconds > 5)
    arrived = set(world.delivered)
    published = world.published
    world.network.heal()
    run(world, 1000)
    world.settle()
    late = {n for n in world.delivered - arrived if n <= published}
    if seconds > 5:  # at most a window of what was accepted before the loss was noticed
        assert len(late) * 525 <= 16 << 10
        assert all(n > published - int(seconds * 34) - 2 for n in late)
    if seconds > 10:
        assert not late  # the image has ended: nothing stale comes
        assert world.receiver.far_epoch > far
    else:
        assert world.receiver.far_epoch == far
        assert receiver.is_in(InboundStream.Ready)
    fresh = [n for n in world.delivered if n > published]
    assert len(fresh) >= 25
    world.check_accounts(exact=seconds <= 10)


@pytest.fixture(scope="module")
def media_driver() -> Iterator[str]:
    directory = unique_aeron_dir("paths-test")
    driver = EmbeddedMediaDriver(directory, "shared")
    yield directory
    driver.close()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.process
@pytest.mark.parametrize(
    ("path", "count"),
    [
        ({"loss": 0.01}, 60),
        ({"loss": 0.05}, 30),
        ({"delay_s": 0.025}, 60),
        ({"loss": 0.01, "delay_s": 0.025}, 15),
        ({"copies": 0.1, "loss": 0.02}, 30),
    ],
)
def test_B_140_loss_delay_and_duplicates_cost_no_message(
    media_driver: str, path: dict[str, float], count: int
) -> None:
    """B-140, rows 2 to 4 of section 16.2: real Aeron repairs each gap, in order."""
    net = AeronNet(media_driver)
    port = 44200 + count + round(1000 * sum(path.values()))
    relay = BadPath(port, **path)
    subscription = net.subscription(f"aeron:udp?endpoint=127.0.0.1:{port}", 3000)
    sender = net.publication(f"aeron:udp?endpoint=127.0.0.1:{relay.port}|mtu=1408", 3000)
    eventually(lambda: sender.is_connected)
    dice = random.Random(1)
    wanted = [dice.randbytes(60 << 10) for _ in range(count)]
    received: list[bytes] = []
    waiting = list(wanted)

    def work() -> bool:
        if waiting and sender.offer(waiting[0]) is OfferResult.ACCEPTED:
            waiting.pop(0)
        subscription.poll(lambda _, message: received.append(bytes(message)), 256)
        return len(received) >= count

    eventually(work)
    assert received == wanted
    if path.get("loss"):
        assert relay.lost > 0
    net.close()
    relay.close()
