"""The other two processes of `bench`: a driver and a consumer, each told to stop by its pipe."""

from __future__ import annotations

import contextlib
import time
from multiprocessing.connection import Connection as Pipe
from typing import Any

from ...client.client import connect
from ...client.config import ClientConfig
from ...client.errors import FrameOverwrittenError, StaleFrameError
from ..config import (
    DriverConfig,
    DriverTable,
    PoliciesTable,
    Pool,
    Profile,
    ShmTable,
    StreamConfig,
)

__all__ = ["run_consumer", "run_driver"]


def run_driver(
    pipe: Pipe, base_dir: str, aeron_dir: str, stream_id: int, slots: int, strides: tuple[int, ...]
) -> None:
    """Serve until the pipe says or ends; sends the client configuration, or an error's text."""
    from ..embedded import EmbeddedDriver

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
    except Exception as error:  # noqa: BLE001 - told to the parent, which says it
        with _parent_may_be_gone():
            pipe.send(str(error))
        return
    with driver, _parent_may_be_gone():
        pipe.send(driver.client_config())
        pipe.recv()


def run_consumer(
    pipe: Pipe, config: ClientConfig, stream_id: int, copies: bool, taken: Any
) -> None:
    """Receive until told to end; `taken` counts frames, copied out if `copies`.

    Sends "ready" once mapped, and at the end the latencies in ns and how many frames were lost.
    """
    latencies: list[int] = []
    with (
        connect(config) as client,
        client.attach_consumer(stream_id) as consumer,
        _parent_may_be_gone(),
    ):
        pipe.send("ready")
        out = None
        while not pipe.poll():
            frame = consumer.receive(0.05)
            if frame is None:
                continue
            if frame.timestamp_ns is not None:
                latencies.append(time.monotonic_ns() - frame.timestamp_ns)
            if copies:
                try:
                    out = frame.copy(out if out is not None and out.shape == frame.shape else None)
                except (FrameOverwrittenError, StaleFrameError):
                    continue
            taken.value += 1
        metrics = consumer.metrics()
        pipe.send((latencies, metrics["drops_gap"] + metrics["drops_late"]))


def _parent_may_be_gone() -> contextlib.AbstractContextManager[None]:
    return contextlib.suppress(BrokenPipeError, EOFError)
