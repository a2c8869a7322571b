"""The meaning of a seed: the processes, the possible faults, and every step in order.

A step is a name and two numbers, drawn without looking at the world. A step that makes no sense
when its turn comes does nothing. So any subset of the steps of a run is a run as well, which is
what makes a failing one small.

Each seed gets its own selection of faults (swarm testing): where everything goes wrong all the
time, nothing is ever reached.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

from tensor_pool.protocol.wire import Role

__all__ = ["FAULTS", "Plan", "Scenario", "Step", "scenario_of", "steps_of"]

STREAM = 10000
OTHER_STREAM = 10001
MS = 1_000_000


class Step(NamedTuple):
    """One step; what the numbers mean is up to the step."""

    name: str
    a: int
    b: int

    def __str__(self) -> str:
        return f"{self.name}({self.a}, {self.b})"


class Plan(NamedTuple):
    """One attachment of a process; a client id of 0 lets the library choose."""

    role: Role
    stream_id: int
    client_id: int = 0
    is_private: bool = False  # asks for streams of its own


@dataclass(frozen=True)
class Scenario:
    """The world of a seed. `processes` are the clients, each with its attachments."""

    seed: int
    processes: tuple[tuple[Plan, ...], ...]
    faults: frozenset[str]
    separate_announces: bool = False
    is_udp: bool = False
    pools: int = 2
    fragment_limit: int = 10
    nslots: int = 4
    streams: tuple[int, ...] = (STREAM, OTHER_STREAM)


_WORK = {
    "cycle": 34.0,
    "drive": 14.0,
    "advance": 15.0,
    "publish": 13.0,
    "poll": 13.0,
    "copy": 3.0,
    "latest": 0.5,
    "hold": 1.5,
    "look": 2.0,
    "race": 3.5,
    "interrupt": 3.0,
    "publish_many": 3.0,
    "receive_many": 3.0,
    "race_many": 1.0,
    "lend": 1.2,
    "fill": 1.0,
    "commit": 1.5,
    "abort": 0.3,
    "describe": 0.2,
    "ask": 0.1,
    "close": 0.25,
    "open": 1.0,
    "revive": 1.5,
    "resume": 1.5,
    "revive_driver": 1.2,
    "resume_driver": 1.2,
    "calm_network": 0.6,
    "heal_store": 0.6,
}
"""The steps of any world, and how often relative to each other."""

FAULTS = {
    "crash": 0.35,
    "crash_inside": 0.35,
    "kill_driver": 0.15,
    "kill_driver_inside": 0.2,
    "stop_driver": 0.15,
    "pause": 0.4,
    "pause_driver": 0.3,
    "suspend": 0.12,
    "wall_clock": 0.2,
    "back_pressure": 0.5,
    "not_connected": 0.2,
    "delay": 0.5,
    "reorder": 0.3,
    "disconnect": 0.3,
    "cut": 0.25,
    "loss": 0.4,
    "lose_media_driver": 0.08,
    "disk_full": 0.3,
    "permission": 0.2,
    "slow_store": 0.2,
    "unforeseen": 0.25,
    "collect_error": 0.2,
    "delete_files": 0.15,
    "garbage": 0.5,
    "replay": 0.4,
    "revoke": 0.4,
    "reprovision": 0.2,
}
"""The faults by name, and how often each comes when it is part of a world."""

_UDP_ONLY = frozenset({"loss"})


def scenario_of(seed: int) -> Scenario:
    """The world that a seed stands for."""
    chance = random.Random(f"{seed}/scenario")
    producer, consumer = Role.PRODUCER, Role.CONSUMER
    ids = iter(range(11, 99))

    def plan(role: Role, stream_id: int, private: float = 0.2) -> Plan:
        given = chance.random() < 0.4
        wants = role is consumer and chance.random() < private
        return Plan(role, stream_id, next(ids) if given else 0, wants)

    processes: list[tuple[Plan, ...]] = [(plan(producer, STREAM),), (plan(consumer, STREAM),)]
    extras: list[tuple[Plan, ...]] = [
        (plan(producer, STREAM),),
        (plan(consumer, STREAM),),
        (plan(producer, OTHER_STREAM), plan(consumer, STREAM)),
        (plan(consumer, OTHER_STREAM),),
        (plan(consumer, 0),),
    ]
    chance.shuffle(extras)
    processes += extras[: chance.randint(1, 4)]
    is_udp = chance.random() < 0.3
    possible = [name for name in FAULTS if is_udp or name not in _UDP_ONLY]
    share = chance.choice([0.0, 0.1, 0.2, 0.35, 0.5])
    faults = frozenset(name for name in possible if chance.random() < share)
    return Scenario(
        seed,
        tuple(processes),
        faults,
        separate_announces=chance.random() < 0.5,
        is_udp=is_udp,
        pools=chance.choice([2, 2, 2, 2, 2, 14]),  # 14: answers and announces in two fragments
        fragment_limit=chance.choice([1, 3, 10, 10]),
        nslots=chance.choice([4, 16]),  # in 16 a batch is written four frames at a time
    )


def steps_of(scenario: Scenario, count: int) -> list[Step]:
    """The first `count` steps of a scenario."""
    chance = random.Random(f"{scenario.seed}/steps")
    weights = dict(_WORK)
    for name in sorted(scenario.faults):
        weights[name] = FAULTS[name]
    names = chance.choices(list(weights), list(weights.values()), k=count)
    draw = chance.getrandbits
    return [Step(name, draw(16), draw(16)) for name in names]
