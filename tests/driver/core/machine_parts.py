"""The ports of the machines, replaced by recorders: no transport, no files, no loop (D-010)."""

from __future__ import annotations

from typing import Any

from tensor_pool.driver.core.configuration import DriverConfig
from tensor_pool.driver.core.events import DriverEvent
from tensor_pool.driver.core.health import HealthMonitor
from tensor_pool.driver.core.ports import PublishOutcome, Regions, Target
from tensor_pool.driver.core.services import Services
from tensor_pool.driver.core.snapshots import state_path
from tensor_pool.driver.core.timers import CycleTime
from tensor_pool.driver.runtime.metrics import DriverMetrics
from tensor_pool.hsm import Machine, State
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.wire import Message
from tests.driver.core.harness import make_config
from tests.driver.core.simulated_store import SimulatedDisk, SimulatedStore


class Recorder:
    """Publisher, store, metrics and queue of one set of machines; `log` has all of it in order."""

    def __init__(self, config: DriverConfig | None = None) -> None:
        self.config = config or make_config()
        self.clock = SimulatedClock()
        self.metrics = DriverMetrics()
        self.log: list[Any] = []
        self.published: list[Message] = []
        self.posted: list[tuple[DriverEvent, object]] = []
        self.store = SimulatedStore(SimulatedDisk(), self.config, self.clock, self.metrics)
        self.store.on_call = lambda *call: self.log.append(call)
        self.time = CycleTime(self.clock)
        self.services = Services(
            self.config,
            clock=self.clock,
            store=self.store,
            publisher=self,
            metrics=self.metrics,
            time=self.time,
            health=HealthMonitor(self.post),
            post=self.post,
            post_first=self.post,
        )

    def publish(self, target: Target, message: Message) -> PublishOutcome:
        self.published.append(message)
        self.log.append((target, type(message).__name__))
        return PublishOutcome.SENT

    def post(self, event: DriverEvent, arg: object = None) -> None:
        self.posted.append((event, arg))
        self.log.append(event)

    def forget(self) -> None:
        """Start over with empty records."""
        self.log.clear()
        self.published.clear()
        self.posted.clear()
        self.store.calls.clear()

    def counted(self) -> dict[str, int]:
        """Metrics that are not 0."""
        return {name: value for name, value in self.metrics.snapshot().items() if value}

    def regions(self, stream_id: int, epoch: int) -> Regions:
        """Regions as the store would return them."""
        (profile,) = self.config.profiles.values()
        regions = self.store.provision(stream_id, profile, epoch)
        self.forget()
        return regions


def in_state(machine: Machine, state: State) -> None:
    """Put a machine into a state without taking any way there."""
    snapshot = machine.snapshot()
    machine.restore(snapshot | {"state": state.name, "completion": None})


def where(machine: Machine) -> str:
    return state_path(machine.current)
