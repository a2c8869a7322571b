"""Ways to move an array to another process, each with a sending and a receiving end.

A sender copies the array in and lets the receiver know; a receiver sleeps while there is nothing
(or spins, if its name has "spin") and gives the frame's bytes as an array of its own.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Client as PipeClient
from multiprocessing.connection import Listener as PipeListener
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["CONTENDERS", "Place"]

BLOCK_FRAME_BYTES = 64  # of the frames that are sent in blocks

type Array = npt.NDArray[Any]
type Send = Callable[[Array], object]


class Place(msgspec.Struct, frozen=True):
    """The meeting place of two ends: their directory, the frame size, the number of slots."""

    directory: str
    size: int
    depth: int
    stream_id: int

    def path(self, name: str) -> str:
        return str(Path(self.directory) / name)


class Contender:
    """`blocks`: a sender waits inside the library until the receiver reads."""

    blocks = False

    def close(self) -> None:
        """Nothing, but where ending without it would disturb the next one."""


class TensorPool(Contender):
    """This library, with the driver that the harness runs."""

    spin = False

    def _connect(self, place: Place) -> Any:
        from tensor_pool.client import connect

        root = Path(place.directory).parent
        return connect(aeron_dir=str(root / "aeron"), allowed_base_dirs=(str(root / "regions"),))

    def close(self) -> None:
        self.pool.close()

    def sender(self, place: Place) -> Send:
        from tensor_pool.client import PublishMode

        mode = PublishMode.EXISTING_OR_CREATE
        self.pool = self._connect(place)
        send: Send = self.pool.producer(place.stream_id, publish_mode=mode).publish
        time.sleep(1.2)  # one hello: the producer has the consumer to wake
        return send

    def receiver(self, place: Place) -> Iterator[Array]:
        from tensor_pool.client import FrameOverwrittenError, PublishMode

        mode = PublishMode.EXISTING_OR_CREATE
        self.pool = self._connect(place)
        consumer = self.pool.consumer(place.stream_id, publish_mode=mode, spin=self.spin)
        out = np.empty(place.size, np.uint8)
        yield out
        for frame in consumer:
            try:
                yield frame.copy(out)
            except FrameOverwrittenError:
                continue  # lost: this process was stopped for a whole round of the ring


class TensorPoolSpinning(TensorPool):
    """The same, with a consumer that never sleeps."""

    spin = True


class ZeroMq(Contender):
    """pyzmq, PUSH and PULL over ipc; `copy` as measured to be better for the size."""

    def _socket(self, kind: int, place: Place) -> Any:
        import zmq

        end = zmq.Context.instance().socket(kind)
        end.set_hwm(place.depth)
        return end

    def sender(self, place: Place) -> Send:
        import zmq

        end = self._socket(zmq.PUSH, place)
        end.connect(f"ipc://{place.path('zmq')}")
        copy = place.size < 65536
        return lambda array: end.send(array, copy=copy)

    def receiver(self, place: Place) -> Iterator[Array]:
        import zmq

        end = self._socket(zmq.PULL, place)
        end.bind(f"ipc://{place.path('zmq')}")
        return self._frames(end, place)

    def _frames(self, end: Any, place: Place) -> Iterator[Array]:
        out = np.empty(place.size, np.uint8)
        yield out
        copy = place.size < 65536
        while True:
            if copy:
                yield np.frombuffer(end.recv(), np.uint8)  # its copy is the copy
            else:
                out[:] = np.frombuffer(end.recv(copy=False), np.uint8)
                yield out


class Pipe(Contender):
    """multiprocessing's connection over a socket of the machine."""

    blocks = True

    def sender(self, place: Place) -> Send:
        connection = PipeClient(place.path("pipe"), "AF_UNIX")
        return connection.send_bytes

    def receiver(self, place: Place) -> Iterator[Array]:
        with PipeListener(place.path("pipe"), "AF_UNIX") as listener:
            yield np.empty(place.size, np.uint8)
            connection = listener.accept()
            while True:
                yield np.frombuffer(connection.recv_bytes(), np.uint8)


class Zenoh(Contender):
    """eclipse-zenoh, peers on this machine, payloads from its shared memory provider."""

    sender_listens = False

    def _open(self, listen: Place | None, connect: Place | None) -> Any:
        """A session that listens at one place, connects to another, or both."""
        import zenoh

        config = zenoh.Config()
        config.insert_json5("scouting/multicast/enabled", "false")
        config.insert_json5("transport/shared_memory/enabled", "true")
        for key, place in (("listen", listen), ("connect", connect)):
            address = f'"tcp/127.0.0.1:{17000 + place.stream_id % 1000}"' if place else ""
            config.insert_json5(f"{key}/endpoints", f"[{address}]")
        return zenoh.open(config)

    def sender(self, place: Place) -> Send:
        import zenoh
        from zenoh import shm

        self.session = self._open(*((place, None) if self.sender_listens else (None, place)))
        self.publisher = self.session.declare_publisher(
            "frames", congestion_control=zenoh.CongestionControl.BLOCK
        )
        slots = place.depth + 2
        self.provider = shm.ShmProvider.default_backend(max(slots * place.size, 1 << 20))
        policy = shm.BlockOn(shm.GarbageCollect())
        time.sleep(1.0)  # discovery

        def send(array: Array) -> None:
            buffer = self.provider.alloc(array.nbytes, policy=policy)
            buffer[:] = array.tobytes()  # it takes nothing but bytes
            self.publisher.put(buffer)

        return send

    def receiver(self, place: Place) -> Iterator[Array]:
        import zenoh

        self.session = self._open(*((None, place) if self.sender_listens else (place, None)))
        subscriber = self.session.declare_subscriber(
            "frames", zenoh.handlers.FifoChannel(place.depth)
        )
        out = np.empty(place.size, np.uint8)
        yield out
        for sample in subscriber:
            out[:] = np.frombuffer(bytes(sample.payload), np.uint8)
            yield out


class Iceoryx2(Contender):
    """iceoryx2, slices of bytes with an event that wakes the receiver."""

    spin = False

    def _service(self, place: Place) -> tuple[Any, Any]:
        import iceoryx2 as iox2

        iox2.set_log_level(iox2.LogLevel.Error)
        self.node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
        name = Path(place.directory).name
        frames = (
            self.node.service_builder(iox2.ServiceName.new(f"{name}/frames"))
            .publish_subscribe(iox2.Slice[ctypes.c_uint8])
            .subscriber_max_buffer_size(place.depth)
            .subscriber_max_borrowed_samples(2)
            .open_or_create()
        )
        events = (
            self.node.service_builder(iox2.ServiceName.new(f"{name}/events"))
            .event()
            .open_or_create()
        )
        return frames, events

    def sender(self, place: Place) -> Send:
        frames, events = self._service(place)
        publisher = frames.publisher_builder().initial_max_slice_len(place.size).create()
        notifier = None if self.spin else events.notifier_builder().create()

        def send(array: Array) -> None:
            sample = publisher.loan_slice_uninit(array.nbytes)
            ctypes.memmove(sample.payload_ptr, array.ctypes.data, array.nbytes)
            sample.assume_init().send()
            if notifier is not None:
                notifier.notify()

        return send

    def receiver(self, place: Place) -> Iterator[Array]:
        import iceoryx2 as iox2

        frames, events = self._service(place)
        subscriber = frames.subscriber_builder().create()
        listener = None if self.spin else events.listener_builder().create()
        patience = iox2.Duration.from_millis(50)
        out = np.empty(place.size, np.uint8)
        address = out.ctypes.data
        yield out
        while True:
            sample = subscriber.receive()
            if sample is None:
                if listener is not None:
                    listener.timed_wait(patience)
                continue
            ctypes.memmove(address, sample.payload_ptr, place.size)
            sample.delete()
            yield out


class Iceoryx2Spinning(Iceoryx2):
    """The same, polled without sleeping."""

    spin = True


class RawRing(Contender):
    """Two processes, a ring in shared memory, two counters, no protocol and no checks; spinning."""

    def _open(self, place: Place) -> tuple[memoryview, list[Array]]:
        path = Path(place.path("ring"))
        with open(path, "a+b") as file:
            file.truncate(4096 + place.size * place.depth)
            memory = mmap.mmap(file.fileno(), 0)
        counters = memoryview(memory)[:4096].cast("Q")
        slots = [
            np.frombuffer(memory, np.uint8, place.size, 4096 + i * place.size)
            for i in range(place.depth)
        ]
        return counters, slots

    def sender(self, place: Place) -> Send:
        counters, slots = self._open(place)
        depth = place.depth
        sent = 0

        def send(array: Array) -> None:
            nonlocal sent
            while sent - counters[8] >= depth:
                os.sched_yield()
            slots[sent % depth][:] = array
            sent += 1
            counters[0] = sent

        return send

    def receiver(self, place: Place) -> Iterator[Array]:
        counters, slots = self._open(place)
        depth = place.depth
        out = np.empty(place.size, np.uint8)
        received = 0
        yield out
        while True:
            while counters[0] == received:
                os.sched_yield()
            out[:] = slots[received % depth]
            received += 1
            counters[8] = received
            yield out


class RawAeron(Contender):
    """pyaeron alone: the message itself, an exclusive publication and a spinning subscription."""

    def _client(self, place: Place) -> Any:
        from tensor_pool.protocol.transport.aeron import AeronTransport

        self.transport = AeronTransport.connect(str(Path(place.directory).parent / "aeron"))
        return self.transport

    def close(self) -> None:
        self.transport.close()

    def sender(self, place: Place) -> Send:
        publication = self._client(place).add_publication(
            "aeron:ipc?term-length=4m", 9000 + place.stream_id % 1000
        )
        offer = publication.raw.offer
        return lambda array: offer(bytearray(array))

    def receiver(self, place: Place) -> Iterator[Array]:
        subscription = self._client(place).add_subscription(
            "aeron:ipc?term-length=4m", 9000 + place.stream_id % 1000
        )
        received: list[bytes] = []
        poll = subscription.raw.poll

        def take(buffer: Any, _: object) -> None:
            received.append(bytes(buffer))

        yield np.empty(place.size, np.uint8)
        while True:
            poll(take, 64, assemble=False)
            while received:
                yield np.frombuffer(received.pop(0), np.uint8)


class ZeroMqToMany(ZeroMq):
    """pyzmq, PUB and SUB over ipc."""

    def sender(self, place: Place) -> Send:
        import zmq

        end = self._socket(zmq.PUB, place)
        end.bind(f"ipc://{place.path('zmq')}")
        time.sleep(1.0)  # subscriptions arrive
        return end.send  # a copy: the array is written again before this one is out

    def receiver(self, place: Place) -> Iterator[Array]:
        import zmq

        end = self._socket(zmq.SUB, place)
        end.subscribe(b"")
        end.connect(f"ipc://{place.path('zmq')}")
        return self._frames(end, place)


class ZenohToMany(Zenoh):
    """The same with a sender that others connect to."""

    sender_listens = True


class _InBlocks(Contender):
    """A contender that sends the frames of a block one by one."""

    def _of_a_frame(self, place: Place) -> Place:
        return msgspec.structs.replace(
            place, size=BLOCK_FRAME_BYTES, depth=place.depth * place.size // BLOCK_FRAME_BYTES
        )

    def sender(self, place: Place) -> Send:
        send: Send = super().sender(self._of_a_frame(place))  # type: ignore[misc]

        def send_block(array: Array) -> None:
            for row in array.reshape(-1, BLOCK_FRAME_BYTES):
                send(row)

        return send_block

    def receiver(self, place: Place) -> Iterator[Array]:
        frames: Iterator[Array] = super().receiver(self._of_a_frame(place))  # type: ignore[misc]
        yield next(frames)
        while True:
            for _ in range(place.size // BLOCK_FRAME_BYTES):
                frame = next(frames)
            yield frame


class TensorPoolEach(_InBlocks, TensorPool):
    """One call a frame."""


class ZeroMqEach(_InBlocks, ZeroMq):
    """One message a frame."""


class Iceoryx2Each(_InBlocks, Iceoryx2):
    """One sample a frame."""


class TensorPoolBatches(TensorPool):
    """`publish_many` and `receive_many` with one array of copies."""

    def sender(self, place: Place) -> Send:
        from tensor_pool.client import PublishMode

        self.pool = self._connect(place)
        mode = PublishMode.EXISTING_OR_CREATE
        publish_many = self.pool.producer(place.stream_id, publish_mode=mode).publish_many
        time.sleep(1.2)
        return lambda array: publish_many(array.reshape(-1, BLOCK_FRAME_BYTES))

    def receiver(self, place: Place) -> Iterator[Array]:
        from tensor_pool.client import PublishMode

        self.pool = self._connect(place)
        mode = PublishMode.EXISTING_OR_CREATE
        consumer = self.pool.consumer(place.stream_id, publish_mode=mode)
        yield np.empty(place.size, np.uint8)
        block, received = place.size // BLOCK_FRAME_BYTES, 0
        while True:
            stack = consumer.receive_many(4 * block, stack=True)
            received += len(stack)
            while received >= block:
                received -= block
                yield stack.array


class TensorPoolLoan(TensorPool):
    """Filled and read in place; the first 8 bytes only."""

    def sender(self, place: Place) -> Send:
        from tensor_pool.client import PublishMode

        self.pool = self._connect(place)
        mode = PublishMode.EXISTING_OR_CREATE
        lend = self.pool.producer(place.stream_id, publish_mode=mode).loan
        time.sleep(1.2)

        def send(array: Array) -> None:
            with lend((place.size,), np.uint8) as loan:
                loan.array[:8] = array[:8]

        return send

    def receiver(self, place: Place) -> Iterator[Array]:
        from tensor_pool.client import PublishMode

        self.pool = self._connect(place)
        mode = PublishMode.EXISTING_OR_CREATE
        consumer = self.pool.consumer(place.stream_id, publish_mode=mode)
        out = np.empty(8, np.uint8)
        yield out
        for frame in consumer:
            out[:] = frame.array[:8]
            if frame.valid:
                yield out


class Iceoryx2Loan(Iceoryx2):
    """Filled and read in place; the first 8 bytes only."""

    def sender(self, place: Place) -> Send:
        frames, events = self._service(place)
        publisher = frames.publisher_builder().initial_max_slice_len(place.size).create()
        notifier = events.notifier_builder().create()

        def send(array: Array) -> None:
            sample = publisher.loan_slice_uninit(place.size)
            ctypes.memmove(sample.payload_ptr, array.ctypes.data, 8)
            sample.assume_init().send()
            notifier.notify()

        return send

    def receiver(self, place: Place) -> Iterator[Array]:
        return super().receiver(msgspec.structs.replace(place, size=8))


CONTENDERS: dict[str, Callable[[], Any]] = {
    "tensor-pool": TensorPool,
    "tensor-pool spinning": TensorPoolSpinning,
    "pyzmq": ZeroMq,
    "Pipe": Pipe,
    "zenoh": Zenoh,
    "iceoryx2": Iceoryx2,
    "iceoryx2 spinning": Iceoryx2Spinning,
    "raw ring": RawRing,
    "raw pyaeron": RawAeron,
    "pyzmq to many": ZeroMqToMany,
    "zenoh to many": ZenohToMany,
    "batches": TensorPoolBatches,
    "frame by frame": TensorPoolEach,
    "pyzmq frame by frame": ZeroMqEach,
    "iceoryx2 frame by frame": Iceoryx2Each,
    "loan": TensorPoolLoan,
    "iceoryx2 loan": Iceoryx2Loan,
}
