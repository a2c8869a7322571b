"""The other two processes of `bench`: a driver and a consumer, each stopped through its pipe."""

from __future__ import annotations

import contextlib
import time
from multiprocessing.connection import Connection as Pipe
from typing import Any

from tensor_pool.client.config import ClientConfig
from tensor_pool.client.connecting import connect
from tensor_pool.driver.core.configuration import (
    DriverConfig,
    DriverTable,
    PoliciesTable,
    Pool,
    Profile,
    ShmTable,
    StreamConfig,
)
from tensor_pool.protocol.errors import FrameOverwrittenError, StaleFrameError

__all__ = ["run_consumer", "run_driver"]


def run_driver(
    pipe: Pipe, base_dir: str, aeron_dir: str, stream_id: int, slots: int, strides: tuple[int, ...]
) -> None:
    """Send the client configuration, or the text of an error; serve until the pipe ends."""
    from tensor_pool.driver.daemon.embedded import EmbeddedDriver

    pools = tuple(Pool(pool_id=n, stride_bytes=stride) for n, stride in enumerate(strides, 1))
    config = DriverConfig(
        driver=DriverTable(instance_id="bench", aeron_dir=aeron_dir, media_driver="embedded"),
        shm=ShmTable(base_dir=base_dir),
        policies=PoliciesTable(cleanup_shm_on_exit=True),
        profiles={"bench": Profile(header_nslots=slots, payload_pools=pools)},
        streams={"bench": StreamConfig(stream_id=stream_id, profile="bench")},
    )
    try:
        driver = EmbeddedDriver(config)
    except Exception as error:  # noqa: BLE001 - sent to the parent, which prints it
        with _parent_may_be_gone():
            pipe.send(str(error))
        return
    with driver, _parent_may_be_gone():
        pipe.send(driver.client_config())
        pipe.recv()


def run_consumer(pipe: Pipe, config: ClientConfig, stream_id: int, seen: Any) -> None:
    """Receive until the pipe ends; `seen` is how far it is: the latest sequence, and 1.

    Sends "ready" once mapped. A boolean begins a measurement: true copies each frame. The answer to
    "result" is the latencies in ns and the numbers of frames taken and lost.
    """
    copies = False
    taken = 0
    latencies: list[int] = []
    lost_before = 0
    out = None
    with (
        connect(config) as client,
        client.consumer(stream_id, attach_timeout=5.0) as consumer,
        _parent_may_be_gone(),
    ):
        pipe.send("ready")
        while True:
            if pipe.poll():
                order = pipe.recv()
                metrics = consumer.metrics()
                lost = metrics["drops_gap"] + metrics["drops_late"]
                if order == "result":
                    pipe.send((latencies, taken, lost - lost_before))
                else:
                    copies, latencies, taken, lost_before = order, [], 0, lost
                    pipe.send("ready")
            frame = consumer.receive(0.01)
            if frame is None:
                continue
            if frame.timestamp_ns is not None:
                latencies.append(time.monotonic_ns() - frame.timestamp_ns)
            try:
                if copies:
                    out = frame.copy(out if out is not None and out.shape == frame.shape else None)
                taken += 1
            except (FrameOverwrittenError, StaleFrameError):
                pass  # counted as lost by the library
            seen.value = frame.seq + 1


def _parent_may_be_gone() -> contextlib.AbstractContextManager[None]:
    return contextlib.suppress(BrokenPipeError, EOFError)
