"""Every program of two hosts is killed and started again after a pause (row 6, in simulation)."""

from __future__ import annotations

import pytest

from tensor_pool.bridge.core.inbound_stream import InboundStream
from tests.bridge.sim_world import World

MS = 1_000_000


class Story:
    """A stream at 25 Hz, of which one program is killed."""

    def __init__(self) -> None:
        self.world = World(5)
        self.run(2)

    def run(self, seconds: float) -> None:
        world = self.world
        for step in range(round(100 * seconds)):
            if step % 4 == 0 and world.source.has_producer:
                world.published += 1
                world.source.publish(world.published, 100)
            world.step(10)

    def kill(self, what: str) -> None:
        world = self.world
        match what.split():
            case ["bridge", host]:
                world.kill(host.lower())
            case ["media", host]:
                world.kill_media_driver(host.lower())
            case ["driver", "A"]:
                world.source.stop()
            case ["driver", "B"]:
                world.pool_b.is_down = True
                world.pool_b.loss = 1.0
                world.step()
            case ["producer"]:
                world.source.has_producer = False

    def restart(self, what: str) -> None:
        world = self.world
        match what.split():
            case ["bridge", host]:
                world.revive(host.lower())
            case ["media", host]:
                world.has_media_driver[host.lower()] = True
            case ["driver", "B"]:
                world.pool_b.is_down = False
                world.pool_b.loss = 0.0
            case _:
                world.source.start(50)

    def seconds_to_a_frame(self) -> float:
        """Let time pass until a frame comes that was published from now on."""
        published, begun = self.world.published, self.world.clock.monotonic_ns()
        while not any(number > published for number in self.world.delivered):
            self.run(0.1)
            assert self.world.clock.monotonic_ns() - begun < 60_000 * MS, "no frame comes"
        return (self.world.clock.monotonic_ns() - begun) / 1e9


@pytest.mark.parametrize("pause_s", [0, 2, 15, 20])
@pytest.mark.parametrize(
    "what", ["bridge A", "bridge B", "media A", "media B", "driver A", "driver B", "producer"]
)
def test_B_140_a_program_is_killed_and_comes_back(what: str, pause_s: float) -> None:
    """B-140, B-025, B-090, B-091, B-096: row 6 of section 16.2. Frames flow 15 s after the restart
    at the latest. The far lease is held for 15 s where its source and its driver live, and is not
    kept without a source."""
    story = Story()
    world = story.world
    far = world.receiver.far_epoch
    before = len(world.delivered)
    assert before > 40
    story.kill(what)
    story.run(pause_s)
    if pause_s and what != "bridge B":
        machine = world.receiver.machine
        if what in ("driver A", "producer"):
            assert machine.is_in(InboundStream.Quiet)
        elif what == "driver B":
            assert machine.is_in(InboundStream.Attaching)
        elif pause_s != 15:
            assert machine.is_in(InboundStream.Holding if pause_s < 15 else InboundStream.Silent)
    story.restart(what)
    assert story.seconds_to_a_frame() <= 15
    source_and_driver_live = what.startswith(("media", "bridge A"))
    if source_and_driver_live and pause_s < 15:
        assert world.receiver.far_epoch == far
    elif pause_s != 15 or not source_and_driver_live:
        assert world.receiver.far_epoch > far
    story.run(1)
    assert len(world.delivered) > before + 20
    world.settle()
    world.check_accounts(exact=False)
    if what != "bridge A":
        world.check_account_there()


@pytest.mark.parametrize("late_s", [0.3, 2])
def test_B_091_a_restarted_bridge_that_maps_its_source_late_costs_no_remap(late_s: float) -> None:
    """B-091, B-050: the link is up before the driver has answered. A source that is still away
    after three intervals of infos is reported: the far lease ends then."""
    story = Story()
    world = story.world
    far, epoch = world.receiver.far_epoch, world.source.epoch
    story.kill("bridge A")
    world.source.epoch, world.source.has_producer = 0, False
    story.restart("bridge A")
    story.run(late_s)
    world.source.epoch, world.source.has_producer = epoch, True
    assert story.seconds_to_a_frame() < 1
    assert (world.receiver.far_epoch == far) == (late_s < 3 * 0.2)
