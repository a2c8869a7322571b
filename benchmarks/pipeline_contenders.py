"""Links between two stages of a pipeline, each way of moving frames at its best.

`output` returns a function that has a frame filled and sends it: the frame lies in shared memory
where the way has that, else in an array of its own. `input` yields frames as read-only arrays with
a check to be made after the last look at them; they are not copied where the way allows that.
"""

from __future__ import annotations

import contextlib
import ctypes
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from data_path_contenders import Array, Contender, Iceoryx2, Place, TensorPool, Zenoh, ZeroMq

__all__ = ["LINKS", "Link"]

type Fill = Callable[[Array], bool]
type Emit = Callable[[Fill], object]
type Received = tuple[Array, Callable[[], bool]]


class Link(Protocol):
    """The two ends of a stage: a program connects once."""

    def output(self, after: Place, queue: Any) -> Emit: ...

    def input(self, before: Place, queue: Any, after: Place | None) -> Iterator[Received]: ...

    def close(self) -> None: ...


def _always() -> bool:
    return True


class TensorPoolLink(TensorPool):
    """Loans, and frames that are read in place."""

    pool: Any = None

    def output(self, after: Place, _: Any) -> Emit:
        if self.pool is None:
            self.pool = self._connect(after)
        producer = self.pool.producer(after.stream_id)

        def emit(fill: Fill) -> None:
            with producer.loan((after.size,), np.uint8) as loan:
                if not fill(loan.array):
                    loan.abort()

        return emit

    def input(self, before: Place, _: Any, __: Place | None) -> Iterator[Received]:
        from tensor_pool.client import PublishMode

        self.pool = self._connect(before)
        mode = PublishMode.EXISTING_OR_CREATE
        for frame in self.pool.consumer(before.stream_id, publish_mode=mode):
            yield frame.array, lambda frame=frame: frame.valid


class Iceoryx2Link(Iceoryx2):
    """Loaned samples, samples that are read in place, an event that wakes the receiver."""

    def output(self, after: Place, _: Any) -> Emit:
        frames, events = self._service(after)
        publisher = frames.publisher_builder().initial_max_slice_len(after.size).create()
        notifier = events.notifier_builder().create()
        kind = ctypes.c_uint8 * after.size

        def emit(fill: Fill) -> None:
            sample = publisher.loan_slice_uninit(after.size)
            if fill(np.frombuffer(kind.from_address(sample.payload_ptr), np.uint8)):
                sample.assume_init().send()
                notifier.notify()

        return emit

    def input(self, before: Place, _: Any, __: Place | None) -> Iterator[Received]:
        import iceoryx2 as iox2

        frames, events = self._service(before)
        subscriber = frames.subscriber_builder().create()
        listener = events.listener_builder().create()
        patience = iox2.Duration.from_millis(50)
        kind = ctypes.c_uint8 * before.size
        while True:
            sample = subscriber.receive()
            if sample is None:
                listener.timed_wait(patience)
                continue
            yield np.frombuffer(kind.from_address(sample.payload_ptr), np.uint8), _always
            sample.delete()


class ZeroMqLink(ZeroMq):
    """PUSH and PULL over ipc without copies in Python; what does not fit is dropped."""

    def output(self, after: Place, _: Any) -> Emit:
        import zmq

        end = self._socket(zmq.PUSH, after)
        end.connect(f"ipc://{after.path('zmq')}")

        def emit(fill: Fill) -> None:
            array = np.empty(after.size, np.uint8)  # the socket keeps it until it is sent
            if fill(array):
                with contextlib.suppress(zmq.Again):
                    end.send(array, zmq.NOBLOCK, copy=False)

        return emit

    def input(self, before: Place, _: Any, __: Place | None) -> Iterator[Received]:
        import zmq

        end = self._socket(zmq.PULL, before)
        end.bind(f"ipc://{before.path('zmq')}")
        while True:
            yield np.frombuffer(end.recv(copy=False), np.uint8), _always


class ZenohLink(Zenoh):
    """Payloads from its shared memory; its Python API copies in and out of them."""

    session: Any = None

    def output(self, after: Place, _: Any) -> Emit:
        import zenoh
        from zenoh import shm

        if self.session is None:
            self.session = self._open(None, after)
        publisher = self.session.declare_publisher(
            f"frames/{after.stream_id}", congestion_control=zenoh.CongestionControl.BLOCK
        )
        slots = 2 * after.depth + 2
        provider = self.provider = shm.ShmProvider.default_backend(slots * (after.size + 4096))
        policy = shm.BlockOn(shm.GarbageCollect())
        made = bytearray(after.size)
        array = np.frombuffer(made, np.uint8)
        time.sleep(1.0)  # discovery

        def emit(fill: Fill) -> None:
            if fill(array):
                buffer = provider.alloc(after.size, policy=policy)
                buffer[:] = made
                publisher.put(buffer)

        return emit

    def input(self, before: Place, _: Any, after: Place | None) -> Iterator[Received]:
        import zenoh

        self.session = self._open(before, after)
        subscriber = self.session.declare_subscriber(
            f"frames/{before.stream_id}", zenoh.handlers.RingChannel(before.depth)
        )
        while True:
            sample = subscriber.recv()
            yield np.frombuffer(sample.payload.to_bytes(), np.uint8), _always


class QueueLink(Contender):
    """multiprocessing.Queue with arrays; what does not fit is dropped."""

    def output(self, after: Place, channel: Any) -> Emit:
        def emit(fill: Fill) -> None:
            array = np.empty(after.size, np.uint8)  # a thread pickles it later
            if fill(array):
                with contextlib.suppress(queue.Full):
                    channel.put_nowait(array)

        return emit

    def input(self, _: Place, channel: Any, __: Place | None) -> Iterator[Received]:
        while True:
            yield channel.get(), _always


LINKS: dict[str, Callable[[], Link]] = {
    "tensor-pool": TensorPoolLink,
    "iceoryx2": Iceoryx2Link,
    "zenoh": ZenohLink,
    "pyzmq": ZeroMqLink,
    "Queue": QueueLink,
}
