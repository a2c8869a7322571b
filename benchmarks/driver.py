"""The cost of a driver: keepalives, idle duty cycles, memory per lease, attaches.

    python -m benchmarks.driver [--quick] [--no-aeron]

Everything but the last figure runs in this process on the in-memory transport; the clients'
share of the work is not timed. The attach rate uses a real media driver, with the client in a
process of its own. Absolute times depend on the machine, so figures are shares, ratios and counts.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import shutil
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path

from tensor_pool.driver.core.configuration import (
    DriverConfig,
    DriverTable,
    PoliciesTable,
    Pool,
    Profile,
    ShmTable,
    StreamConfig,
)
from tensor_pool.driver.driver import Driver
from tensor_pool.driver.runtime.assembly import Assembly
from tensor_pool.driver.runtime.metrics import DriverMetrics
from tensor_pool.protocol.clock import SimulatedClock, SystemClock
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    PublishMode,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmLeaseKeepalive,
    decoder_for,
    encode,
)
from tests.driver.core.simulated_store import SimulatedDisk, SimulatedStore

SECOND = 1_000_000_000
FIRST_STREAM = 10_000


class Inlet:
    """A transport that hands prepared messages to the driver and takes all that it sends."""

    is_closed = False
    is_connected = True
    error = None
    channel = "aeron:ipc"
    stream_id = 1000
    session_id = 1
    join_time_ns = 0

    def __init__(self) -> None:
        self.queue: list[memoryview] = []
        self.position = 0
        self.answers: list[bytes] | None = None

    def add_publication(self, channel: str, stream_id: int) -> Inlet:
        return self

    def add_subscription(self, channel: str, stream_id: int) -> Inlet:
        return self

    def offer(self, message: bytes) -> OfferResult:
        if self.answers is not None:
            self.answers.append(message)
        return OfferResult.ACCEPTED

    def load(self, messages: list[bytes]) -> None:
        self.queue = [memoryview(message) for message in messages]
        self.position = 0

    def poll(self, handler, fragment_limit: int) -> int:  # type: ignore[no-untyped-def]
        batch = self.queue[self.position : self.position + fragment_limit]
        for message in batch:
            handler(message)
        self.position += len(batch)
        return len(batch)

    def close(self) -> None:
        pass


def config(streams: int, **driver: object) -> DriverConfig:
    return DriverConfig(
        driver=DriverTable(**driver),  # type: ignore[arg-type]
        policies=PoliciesTable(announce_period_ms=1000),
        profiles={"camera": Profile(header_nslots=8, payload_pools=(Pool(1, 4096),))},
        streams={
            f"s{n}": StreamConfig(stream_id=FIRST_STREAM + n, profile="camera")
            for n in range(streams)
        },
    )


class Simulated:
    """A driver with any number of leases spread over its streams."""

    def __init__(self, streams: int) -> None:
        self.clock = SimulatedClock()
        self.inlet = Inlet()
        self.metrics = DriverMetrics()
        self.streams = streams
        settings = config(streams)
        self.driver = Driver(
            settings,
            clock=self.clock,
            transport=self.inlet,
            store=SimulatedStore(SimulatedDisk(), settings, self.clock, self.metrics),
            metrics=self.metrics,
            pause=lambda: self.clock.advance(1_000_000),
        )
        self.driver.start()
        self.keepalives: list[bytes] = []

    def attach(self, first_client: int, leases: int) -> None:
        self.inlet.answers = []
        self.inlet.load(
            [
                encode(
                    ShmAttachRequest(
                        client,
                        FIRST_STREAM + client % self.streams,
                        client,
                        Role.CONSUMER,
                        0,
                        PublishMode.EXISTING_OR_CREATE,
                    )
                )
                for client in range(first_client, first_client + leases)
            ]
        )
        self.drain()
        read = decoder_for([ShmAttachResponse])
        for answer in self.inlet.answers:
            if answer[2:6] != b"\x02\x00\x85\x03":  # template 2 of schema 901
                continue
            granted = read(answer)
            assert isinstance(granted, ShmAttachResponse)
            assert granted.code is ResponseCode.OK, granted
            self.keepalives.append(
                encode(
                    ShmLeaseKeepalive(
                        granted.lease_id or 0,
                        granted.stream_id or 0,
                        granted.correlation_id,
                        Role.CONSUMER,
                        0,
                    )
                )
            )
        self.inlet.answers = None

    def drain(self) -> None:
        while self.driver.do_work():
            pass


def keepalive_share(leases: int, streams: int, seconds: int) -> float:
    """Share of one core for one keepalive per lease and second, announces and checks included."""
    driver = Simulated(streams)
    driver.attach(1, leases)
    slices = 100  # clients are not in step: their keepalives come spread over the second
    share = -(-leases // slices)
    began = time.process_time()
    for _ in range(seconds):
        for n in range(slices):
            driver.inlet.load(driver.keepalives[n * share : (n + 1) * share])
            driver.clock.advance(SECOND // slices)
            driver.drain()
    took = time.process_time() - began
    assert driver.metrics["keepalives"] == leases * seconds
    assert driver.metrics["leases_active"] == leases
    return took / seconds


def idle_cycle_ns(leases: int) -> float:
    """Time of one duty cycle in which nothing is due."""
    driver = Simulated(streams=min(leases, 1000))
    driver.attach(1, leases)
    driver.inlet.load([])
    work = driver.driver.do_work
    rounds = []
    for _ in range(7):
        began = time.perf_counter_ns()
        for _ in range(2000):
            work()
        rounds.append((time.perf_counter_ns() - began) / 2000)
    return min(rounds)


def bytes_per_lease(leases: int) -> float:
    """Memory that one more idle lease takes, tables included."""
    driver = Simulated(streams=1000)
    driver.attach(1, 1000)  # every stream has its epoch and a lease
    driver.keepalives.clear()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    driver.attach(1001, leases)
    driver.keepalives.clear()
    driver.inlet.load([])
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / leases


def simulated_attach_rate(attaches: int) -> float:
    """Attaches a second without a transport, announces included."""
    driver = Simulated(streams=1)
    requests = [
        encode(ShmAttachRequest(client, FIRST_STREAM, client, Role.CONSUMER, 0, 2))
        for client in range(1, attaches + 1)
    ]
    driver.inlet.load(requests)
    began = time.perf_counter()
    driver.drain()
    return attaches / (time.perf_counter() - began)


def attach_client(aeron_dir: str, attaches: int, window: int, results) -> None:  # type: ignore[no-untyped-def]
    """Keep `window` requests in flight until `attaches` were granted; detach each at once."""
    from tensor_pool.protocol.transport.aeron import AeronTransport

    table = DriverTable()
    transport = AeronTransport.connect(aeron_dir, SystemClock())
    ear = transport.add_subscription(table.control_channel, table.control_stream_id)
    mouth = transport.add_publication(table.control_channel, table.control_stream_id)
    while not (ear.is_connected and mouth.is_connected):
        time.sleep(0.001)
    read = decoder_for([ShmAttachResponse])
    asked: dict[int, int] = {}
    latencies: list[int] = []
    backlog: list[bytes] = []
    next_client = 1

    def hear(buffer: memoryview) -> None:
        if bytes(buffer[2:6]) != b"\x02\x00\x85\x03":
            return
        answer = read(buffer)
        assert isinstance(answer, ShmAttachResponse)
        assert answer.code is ResponseCode.OK, answer
        client = answer.correlation_id
        latencies.append(time.perf_counter_ns() - asked.pop(client))
        backlog.append(
            encode(
                ShmDetachRequest(
                    -client, answer.lease_id or 0, answer.stream_id or 0, client, Role.CONSUMER
                )
            )
        )

    began = time.perf_counter()
    while len(latencies) < attaches:
        while len(asked) < window and next_client <= attaches:
            request = ShmAttachRequest(next_client, FIRST_STREAM, next_client, Role.CONSUMER, 0, 2)
            asked[next_client] = time.perf_counter_ns()
            backlog.append(encode(request))
            next_client += 1
        while backlog and mouth.offer(backlog[0]) is OfferResult.ACCEPTED:
            backlog.pop(0)
        ear.poll(hear, 100)
    took = time.perf_counter() - began
    results.put((attaches / took, statistics.median(latencies)))
    for endpoint in (mouth, ear, transport):
        endpoint.close()


def aeron_attach_rate(attaches: int, window: int) -> tuple[float, float]:
    """Attaches a second over Aeron, request to response, and their median latency in ns."""
    base = Path(tempfile.mkdtemp(prefix="tensor-pool-bench-", dir="/dev/shm"))
    aeron_dir = str(base / "aeron")
    settings = config(1, aeron_dir=aeron_dir, media_driver="embedded")
    settings = DriverConfig(
        driver=settings.driver,
        shm=ShmTable(base_dir=str(base / "pools")),
        policies=settings.policies,
        profiles=settings.profiles,
        streams=settings.streams,
    )
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    try:
        assembly = Assembly(settings)
        driver = assembly.driver
        driver.start()
        client = spawn.Process(target=attach_client, args=(aeron_dir, attaches, window, results))
        client.start()
        while client.is_alive():
            if driver.do_work() == 0:
                time.sleep(0)
        client.join()
        rate, latency = results.get(timeout=5)
        driver.close(drain=False)
        assembly.close()
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return rate, latency


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--no-aeron", action="store_true", help="leave out the media driver")
    arguments = parser.parse_args()
    scale = 10 if arguments.quick else 1

    leases = 10_000 // scale
    share = keepalive_share(leases, min(leases, 1000), seconds=5)
    print(f"{leases} leases, 1 keepalive/s each: {share:.1%} of one core (target: < 60%)")

    print("duty cycle with nothing due:")
    counts = [10, 100, 1000] if arguments.quick else [10, 100, 1000, 10_000]
    cycles = {count: idle_cycle_ns(count) for count in counts}
    for count, ns in cycles.items():
        print(f"  {count:>6} leases: {ns:7.0f} ns = {ns / cycles[10]:.2f} x the time at 10 leases")

    size = bytes_per_lease(leases)
    print(f"memory of an idle lease: {size:.0f} bytes (target: < 2048)")

    print(f"attaches without a transport: {simulated_attach_rate(10_000 // scale):.0f} /s")
    if not arguments.no_aeron:
        for window in (1, 32):
            rate, latency = aeron_attach_rate(10_000 // scale, window)
            print(
                f"attach + detach over Aeron, {window:>2} in flight: {rate:.0f} /s, median"
                f" {latency / 1000:.0f} us (target: >= 3000 /s)"
            )


if __name__ == "__main__":
    main()
