"""Simulated processes: a driver, and clients with their attachments.

A process runs only when the world gives it a turn. It can be paused (SIGSTOP), killed between two
turns or in the middle of one, and started again under the same name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from tensor_pool.client.client import Client
from tensor_pool.client.config import ClientConfig
from tensor_pool.client.consumer.consumer import Consumer
from tensor_pool.client.consumer.frame import Frame
from tensor_pool.client.producer.loan import Loan
from tensor_pool.client.producer.producer import Producer
from tensor_pool.driver.core.configuration import (
    DriverConfig,
    DriverTable,
    IdRange,
    PoliciesTable,
    Pool,
    Profile,
    StreamConfig,
)
from tensor_pool.driver.driver import Driver
from tensor_pool.driver.runtime.metrics import DriverMetrics
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.testing.memory_network import MemoryNetwork
from tensor_pool.protocol.transport.ports import Transport
from tensor_pool.protocol.wire import PublishMode, Role
from tensor_pool.protocol.wire.names import ClientName

from .driver_watch import DriverWatch
from .invariants_driver import History, InvariantError
from .memory_store import MemoryDisk, MemoryStore
from .schedule import MS, Plan, Scenario

__all__ = ["DRIVER", "ClientProcess", "DriverProcess", "Member", "ProcessKilled"]

DRIVER = "driver"
CHANNEL = "aeron:ipc?term-length=64k"
PRIVATE_CHANNEL = "aeron:ipc?term-length=64k"
PERIOD_MS = 100
"""Announces, keepalives, hellos and reports: ten times faster than by default."""


class ProcessKilled(BaseException):
    """SIGKILL: raised out of whatever the process was doing; nothing may catch it."""


def driver_config(scenario: Scenario) -> DriverConfig:
    """One configuration of a driver for each scenario."""
    return DriverConfig(
        driver=DriverTable(
            control_channel=CHANNEL,
            announce_stream_id=1001 if scenario.separate_announces else 0,
            stream_id_range=IdRange(20000, 20002),
            descriptor_stream_id_range=IdRange(31000, 31001),
            control_stream_id_range=IdRange(32000, 32001),
            fragment_limit=scenario.fragment_limit,
        ),
        policies=PoliciesTable(
            announce_period_ms=PERIOD_MS,
            lease_keepalive_interval_ms=PERIOD_MS,
            allow_dynamic_streams=True,
            node_id_reuse_cooldown_ms=PERIOD_MS,
            shutdown_timeout_ms=2 * PERIOD_MS,
            response_ttl_ms=5 * PERIOD_MS,
            outbox_limit=16,
            epoch_gc_keep=1,
        ),
        profiles={
            "small": Profile(
                header_nslots=scenario.nslots,
                payload_pools=tuple(
                    Pool(pool_id=n, stride_bytes=256 if n == 2 else 64)
                    for n in range(1, scenario.pools + 1)
                ),
            )
        },
        streams={
            f"s{stream_id}": StreamConfig(stream_id, "small") for stream_id in scenario.streams
        },
    )


def client_config(scenario: Scenario) -> ClientConfig:
    """The same times on the client's side."""
    period = PERIOD_MS / 1000
    return ClientConfig(
        control_channel=CHANNEL,
        announce_stream_id=1001 if scenario.separate_announces else 0,
        allowed_base_dirs=("/",),
        response_timeout=period,
        backoff_base=0.01,
        backoff_max=0.16,
        reattach_after_shutdown=period,
        keepalive_interval=period,
        detach_timeout=period / 2,
        announce_period=period,
        hello_interval=period,
        qos_interval=period,
        max_loans=2,
        max_outstanding_seq_gap=8,
        fragment_limit=scenario.fragment_limit,
    )


class DriverProcess:
    """The driver's process: at most one driver at a time, with all checks around it."""

    def __init__(
        self,
        scenario: Scenario,
        clock: SimulatedClock,
        network: MemoryNetwork,
        disk: MemoryDisk,
        on_store_call: Callable[..., None],
    ) -> None:
        self.config = driver_config(scenario)
        self.history = History()
        self.is_paused = False
        self.runs = 0
        self.checks = 0
        self.events = 0
        self.watch: DriverWatch | None = None
        self.driver: Driver | None = None
        self.store: MemoryStore
        self._on_store_call = on_store_call
        self._clock = clock
        self._network = network
        self._disk = disk

    def start(self) -> None:
        """A new run on the tree as it is."""
        self.runs += 1
        disk = self._disk
        metrics = DriverMetrics()
        self.store = MemoryStore(disk, self.config, self._clock, metrics, pid=1000 + self.runs)
        self.store.on_call = self._on_store_call
        driver = Driver(
            self.config,
            clock=self._clock,
            transport=self._network.transport(DRIVER),
            store=self.store,
            metrics=metrics,
            pause=lambda: self._clock.advance(MS),
        )
        self.watch = DriverWatch.watch(
            driver,
            self.history,
            lambda stream_id, epoch: epoch in disk.epochs.get(stream_id, ()),
        )
        self.driver = driver
        self.is_paused = False
        driver.start()
        self.watch.check()

    def cycle(self) -> None:
        """One duty cycle, with every check after it."""
        driver, watch = self.driver, self.watch
        if driver is None or watch is None or self.is_paused:
            return
        driver.do_work()
        watch.check()
        if (errors := driver._metrics["handler_errors"]) > self.store.raised:  # type: ignore[index]
            raise InvariantError(
                f"D-064: {errors} errors in handlers, {self.store.raised} provoked"
            )
        if driver.is_stopped:
            driver.close()
            self._let_go()

    def kill(self) -> None:
        """SIGKILL: the system frees the lock, everything else stays as it is."""
        if self.driver is not None:
            transport = self.driver._endpoints.transport
            self._let_go()
            if not transport.is_closed:
                self._network.kill(DRIVER, liveness_timeout_ns=1000 * MS)

    def _let_go(self) -> None:
        """Nothing of the run is left but files."""
        assert self.watch is not None
        assert self.driver is not None
        self.checks += self.watch.checks
        self.events += self.watch.events
        if self.driver.is_stopped and not self.driver._endpoints.transport.is_closed:
            self.driver._endpoints.transport.close()
        self.driver = self.watch = None
        self._disk.locked = False


class Member:
    """One attachment of a client process, and what its application holds."""

    def __init__(self, process: ClientProcess, plan: Plan) -> None:
        self.process = process
        self.plan = plan
        self.handle: Any = None
        self.loan: Loan | None = None
        self.loan_fill = 0
        self.held: list[Frame] = []
        self.state_read: object = None
        self.last_seq = -1

    @property
    def who(self) -> str:
        return f"{self.process.name}/{self.plan.role.name.lower()}"

    def attach(self) -> None:
        """Ask for a lease, as the application does; the rest happens in duty cycles."""
        client = self.process.client
        assert client is not None
        plan = self.plan
        self.loan = None
        self.held.clear()
        mode = PublishMode.EXISTING_OR_CREATE
        if plan.role is Role.PRODUCER:
            self.handle = client.begin_attach_producer(
                plan.stream_id, client_id=plan.client_id, publish_mode=mode
            )
        else:
            channel = PRIVATE_CHANNEL if plan.is_private else ""
            self.handle = client.begin_attach_consumer(
                plan.stream_id,
                client_id=plan.client_id,
                publish_mode=mode,
                descriptor_channel=channel,
                control_channel=channel,
            )

    def close(self) -> None:
        """Begin to close, as from within a callback: the detach takes its time."""
        handle, self.handle = self.handle, None
        self.loan = None
        self.held.clear()
        if handle is not None:
            handle._attachment.request(handle.close)

    @property
    def producer(self) -> Producer | None:
        return self.handle if self.plan.role is Role.PRODUCER else None

    @property
    def consumer(self) -> Consumer | None:
        return self.handle if self.plan.role is Role.CONSUMER else None


class ClientProcess:
    """A process with one Client in invoker mode."""

    def __init__(
        self,
        name: str,
        plans: tuple[Plan, ...],
        config: ClientConfig,
        clock: SimulatedClock,
        network: MemoryNetwork,
        idle: Callable[[], object],
    ) -> None:
        self.name = name
        self.members = [Member(self, plan) for plan in plans]
        self.client: Client | None = None
        self.is_paused = False
        self.is_cut_off = False
        self.fuse = 0
        """Network events left to live in the next turn; 0 for as many as there are."""
        self._config = config
        self._clock = clock
        self._network = network
        self._idle = idle

    @property
    def runs(self) -> bool:
        return self.client is not None and not self.is_paused

    def start(self) -> None:
        """A new process under the old name, with all its attachments."""
        self.client = Client(
            self._config,
            transport=self._network.transport(self.name),
            clock=self._clock,
            reconnect=self._reconnect,
            idle=self._idle,
        )
        # The process id would make each run of a seed another one.
        self.client._conductor.client_name = ClientName(self.name)
        self.is_paused = False
        self.fuse = 0
        for member in self.members:
            member.attach()

    def _reconnect(self) -> Transport:
        return self._network.transport(self.name)

    def kill(self) -> None:
        """SIGKILL."""
        if self.client is None:
            return
        self.client = None
        self.fuse = 0
        for member in self.members:
            member.handle = member.loan = None
            member.held.clear()
        with contextlib.suppress(TransportError):  # it may have lost its transport just before
            self._network.kill(self.name, liveness_timeout_ns=1000 * MS)
