"""A driver on a simulated clock, network and store, and a client's hand on the control stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tensor_pool.driver.core.configuration import (
    DiscoveryTable,
    DriverConfig,
    DriverTable,
    PoliciesTable,
    Pool,
    Profile,
    ShmTable,
    StreamConfig,
)
from tensor_pool.driver.core.lease_machine import LeaseLifecycle
from tensor_pool.driver.core.stream_machine import StreamLifecycle
from tensor_pool.driver.driver import Driver
from tensor_pool.driver.runtime.metrics import DriverMetrics
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.testing.memory_network import MemoryNetwork
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    DiscoveryResponse,
    HugepagesPolicy,
    Message,
    Mode,
    PublishMode,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmDriverShutdownRequest,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    ShutdownReason,
    decode,
    encode,
)
from tests.driver.core.simulated_store import SimulatedDisk, SimulatedStore

MS = 1_000_000
SECOND = 1_000_000_000
STREAM = 10000
OTHER_STREAM = 10001

FROM_DRIVER = (
    ShmAttachResponse,
    ShmDetachResponse,
    ShmLeaseRevoked,
    ShmDriverShutdown,
    ShmPoolAnnounce,
    ConsumerConfig,
    DiscoveryResponse,
)


def make_config(
    *,
    streams: Iterable[int] = (STREAM, OTHER_STREAM),
    driver: dict[str, Any] | None = None,
    policies: dict[str, Any] | None = None,
    shm: dict[str, Any] | None = None,
    profiles: dict[str, Profile] | None = None,
    discovery: dict[str, Any] | None = None,
) -> DriverConfig:
    """A valid configuration with two small pools a stream."""
    return DriverConfig(
        driver=DriverTable(**(driver or {})),
        shm=ShmTable(**(shm or {})),
        policies=PoliciesTable(**(policies or {})),
        discovery=DiscoveryTable(**(discovery or {})),
        profiles=profiles
        or {
            "camera": Profile(
                header_nslots=8,
                payload_pools=(
                    Pool(pool_id=1, stride_bytes=4096),
                    Pool(pool_id=2, stride_bytes=65536),
                ),
            )
        },
        streams={
            f"s{stream_id}": StreamConfig(stream_id=stream_id, profile="camera")
            for stream_id in streams
        },
    )


class Rig:
    """One driver and what is around it. `messages` holds what the driver sent, in order."""

    def __init__(
        self,
        config: DriverConfig | None = None,
        *,
        disk: SimulatedDisk | None = None,
        clock: SimulatedClock | None = None,
        network: MemoryNetwork | None = None,
        store: Callable[[DriverConfig, SimulatedClock, DriverMetrics], Any] | None = None,
        on_hugetlbfs: bool = False,
        observer: object | None = None,
        start: bool = True,
    ) -> None:
        self.config = config or make_config()
        self.clock = clock or SimulatedClock()
        self.network = network or MemoryNetwork(self.clock, seed=1)
        self.metrics = DriverMetrics()
        self.disk = disk or SimulatedDisk()
        self.store: Any = (
            store(self.config, self.clock, self.metrics)
            if store is not None
            else SimulatedStore(
                self.disk, self.config, self.clock, self.metrics, on_hugetlbfs=on_hugetlbfs
            )
        )
        self.transport = self.network.transport("driver")
        self.client = self.network.transport("client")
        table = self.config.driver
        self.ears = [self.client.add_subscription(table.control_channel, table.control_stream_id)]
        if table.announce_stream_id != table.control_stream_id:
            self.ears.append(
                self.client.add_subscription(table.announce_channel, table.announce_stream_id)
            )
        self.mouth = self.client.add_publication(table.control_channel, table.control_stream_id)
        self.messages: list[Message] = []
        self._said: set[bytes] = set()
        self.correlation_id = 0
        self.driver = Driver(
            self.config,
            clock=self.clock,
            transport=self.transport,
            store=self.store,
            metrics=self.metrics,
            observer=observer,
            pause=lambda: self.clock.advance(MS),
        )
        if start:
            self.driver.start()
            self.listen()

    # -- the loop

    def cycle(self, cycles: int = 1) -> None:
        """Run duty cycles with no time between them; poll the driver's messages after each."""
        for _ in range(cycles):
            self.driver.do_work()
            self.listen()

    def settle(self) -> None:
        """Cycles until nothing is left to do."""
        while self.driver.do_work():
            self.listen()
        self.listen()

    def run(self, ns: int, step_ns: int = 10 * MS) -> None:
        """Let time pass, with a cycle every `step_ns`."""
        end_ns = self.clock.monotonic_ns() + ns
        while self.clock.monotonic_ns() < end_ns:
            self.clock.advance(min(step_ns, end_ns - self.clock.monotonic_ns()))
            self.settle()

    def listen(self) -> None:
        """Poll the messages on the driver's streams."""
        for ear in self.ears:
            while ear.poll(self._hear, 1000):
                pass

    def _hear(self, buffer: memoryview) -> None:
        data = bytes(buffer)
        if data not in self._said:
            message = decode(data, raw_enums=True)
            assert isinstance(message, FROM_DRIVER)
            self.messages.append(message)

    # -- a client's part

    def say(self, message: Message | bytes) -> None:
        """Put something on the control stream."""
        data = message if isinstance(message, bytes) else encode(message, checked=False)
        self._said.add(data)
        assert self.mouth.offer(data).value == "accepted"

    def request(self, **changes: Any) -> ShmAttachRequest:
        """An attach request with a fresh correlation id."""
        self.correlation_id += 1
        values: dict[str, Any] = {
            "correlation_id": self.correlation_id,
            "stream_id": STREAM,
            "client_id": 1,
            "role": Role.CONSUMER,
            "expected_layout_version": 0,
            "publish_mode": PublishMode.EXISTING_OR_CREATE,
            "require_hugepages": HugepagesPolicy.UNSPECIFIED,
            "desired_node_id": None,
        }
        return ShmAttachRequest(**(values | changes))

    def attach(self, client_id: int, role: Role = Role.CONSUMER, **changes: Any) -> Any:
        """Attach and return the answer, or None if there was none."""
        request = self.request(client_id=client_id, role=role, **changes)
        return self.ask(request)

    def ask(self, request: ShmAttachRequest) -> Any:
        heard = len(self.messages)
        self.say(request)
        self.settle()
        answers = [
            m
            for m in self.messages[heard:]
            if isinstance(m, ShmAttachResponse) and m.correlation_id == request.correlation_id
        ]
        assert len(answers) <= 1
        return answers[0] if answers else None

    def granted(self, client_id: int, role: Role = Role.CONSUMER, **changes: Any) -> Any:
        """Attach, which must succeed, and return the answer."""
        answer = self.attach(client_id, role, **changes)
        assert answer is not None
        assert answer.code is ResponseCode.OK, answer
        return answer

    def keepalive(
        self, lease: ShmAttachResponse, client_id: int, role: Role, /, **changes: Any
    ) -> None:
        values: dict[str, Any] = {
            "lease_id": lease.lease_id,
            "stream_id": lease.stream_id,
            "client_id": client_id,
            "role": role,
            "client_timestamp_ns": self.clock.monotonic_ns(),
        }
        self.say(ShmLeaseKeepalive(**(values | changes)))

    def detach(
        self, lease: ShmAttachResponse, client_id: int, role: Role, /, **changes: Any
    ) -> Any:
        """Detach and return the answer."""
        self.correlation_id += 1
        values: dict[str, Any] = {
            "correlation_id": self.correlation_id,
            "lease_id": lease.lease_id,
            "stream_id": lease.stream_id,
            "client_id": client_id,
            "role": role,
        }
        heard = len(self.messages)
        self.say(ShmDetachRequest(**(values | changes)))
        self.settle()
        answers = [m for m in self.messages[heard:] if isinstance(m, ShmDetachResponse)]
        assert len(answers) == 1
        return answers[0]

    def hello(self, consumer_id: int, **changes: Any) -> ConsumerConfig | None:
        """Greet, and return the configuration that comes back, if any."""
        values: dict[str, Any] = {
            "stream_id": STREAM,
            "consumer_id": consumer_id,
            "supports_shm": True,
            "supports_progress": False,
            "mode": Mode.STREAM,
            "max_rate_hz": 0,
            "expected_layout_version": 0,
        }
        heard = len(self.messages)
        self.say(ConsumerHello(**(values | changes)))
        self.settle()
        answers = [m for m in self.messages[heard:] if isinstance(m, ConsumerConfig)]
        assert len(answers) <= 1
        return answers[0] if answers else None

    def ask_to_stop(self, token: str, **changes: Any) -> None:
        values = {
            "correlation_id": 1,
            "reason": ShutdownReason.ADMIN,
            "token": token,
            "error_message": "",
        }
        self.say(ShmDriverShutdownRequest(**(values | changes)))

    # -- what can be seen

    def heard(self, kind: type, since: int = 0) -> list[Any]:
        """Messages of one class, from an index of `messages` on."""
        return [m for m in self.messages[since:] if isinstance(m, kind)]

    def stream(self, stream_id: int = STREAM) -> StreamLifecycle:
        stream = self.driver._lifecycle.streams.get(stream_id)
        assert stream is not None
        return stream

    def lease(self, lease_id: int) -> LeaseLifecycle | None:
        return self.driver._lifecycle.leases.get(lease_id)

    def snapshot(self) -> Any:
        return self.driver.snapshot()
