"""Frames from shared memory to a GPU, which reads them in place.

    python examples/pinned_transfers.py [--frames 40]

A transfer is asynchronous only from pinned memory. The payload pool is one mapping, which is
registered with cudaHostRegister at the first frame. Without torch or a GPU the reason is printed,
and the frames are summed on the processor. A program that runs longer than one producer registers
anew when `on_unmapped` is called.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tensor_pool.client import Frame, connect
from tensor_pool.driver import (
    DriverConfig,
    DriverTable,
    EmbeddedDriver,
    Pool,
    Profile,
    ShmTable,
    StreamConfig,
)

READ_ONLY = 0x08  # cudaHostRegisterReadOnly: consumers map frames so
SHAPE = (480, 640, 3)


def mapping_of(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Return address and length of the mapping that holds an array: all slots of its pool."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(number, 16) for number in line.split()[0].split("-"))
        if begin <= array.ctypes.data < end:
            return begin, end - begin
    raise LookupError(f"no mapping holds {array.ctypes.data:#x}")


class Processor:
    """Sums frames where they are."""

    def begin(self, address: int, length: int) -> None:
        """Nothing to register."""

    def total(self, frame: Frame) -> int:
        return int(frame.array.sum(dtype=np.int64))

    def end(self) -> None:
        """Nothing to release."""


class Gpu:
    """Sums frames on a GPU, which fetches them from the slots."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._cuda = torch.cuda.cudart()
        self._address = 0

    def begin(self, address: int, length: int) -> None:
        """Pin the pool."""
        error = int(self._cuda.cudaHostRegister(address, length, READ_ONLY))
        if error:
            raise SystemExit(f"cudaHostRegister of {length} bytes: CUDA error {error}")
        self._address = address

    def total(self, frame: Frame) -> int:
        pixels = self._torch.from_dlpack(frame).to("cuda", non_blocking=True)
        total = pixels.sum(dtype=self._torch.int64)
        self._torch.cuda.synchronize()  # before `frame.valid` is asked
        return int(total)

    def end(self) -> None:
        """Release the pool, before the client unmaps it."""
        self._cuda.cudaHostUnregister(self._address)


def device() -> Gpu | Processor:
    """Return the GPU, or print why there is none."""
    try:
        import torch
    except ImportError:
        print("no GPU: torch is not installed; frames are summed on the processor")
        return Processor()
    if not torch.cuda.is_available():
        print("no GPU: torch finds none; frames are summed on the processor")
        return Processor()
    print(f"GPU: {torch.cuda.get_device_name()}; it reads the slots in place")
    return Gpu(torch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=40)
    count = parser.parse_args().frames
    sums = device()
    with tempfile.TemporaryDirectory(prefix="tensor-pool-example-", dir="/dev/shm") as memory:
        config = DriverConfig(
            driver=DriverTable(aeron_dir=f"{memory}/aeron"),
            shm=ShmTable(base_dir=f"{memory}/pools"),
            profiles={"camera": Profile(header_nslots=8, payload_pools=(Pool(1, 1 << 20),))},
            streams={"left": StreamConfig(stream_id=10_000, profile="camera")},
        )
        with (
            EmbeddedDriver(config) as driver,
            connect(driver.client_config()) as pool,
            pool.producer(10_000) as camera,
            pool.consumer(10_000) as viewer,
        ):
            right = taken = 0
            registered = False
            while taken < count:
                camera.publish(np.full(SHAPE, taken % 200, np.uint8))
                if (frame := viewer.latest()) is None:
                    continue
                if not registered:
                    registered = True
                    address, length = mapping_of(frame.array)
                    print(f"the pool is one mapping of {length >> 20} MiB")
                    sums.begin(address, length)
                expected = int(frame.array[0, 0, 0]) * frame.array.size
                total = sums.total(frame)
                if frame.valid:
                    right += total == expected
                    taken += 1
            sums.end()
    print(f"{right} of {taken} sums are right")


if __name__ == "__main__":
    main()
