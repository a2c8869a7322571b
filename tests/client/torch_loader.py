"""A camera and a DataLoader with two workers: prints what came, as one JSON line.

The first argument has the endpoints. With a second one the camera never stops, and a line has the
processes of the workers; the test kills this process then.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import defaultdict
from typing import Any

import torch
from torch.utils.data import DataLoader

from tensor_pool.client import Frame, Producer, connect
from tensor_pool.client.torch import FrameDataset, frame_tensor

STREAM = 10_000
SHAPE = (8, 8, 3)
EACH = 30


def numbered(frame: Frame) -> tuple[int, int, int, Any]:
    """A picture with its number, and the worker that it came to."""
    return frame.epoch, frame.seq, os.getpid(), frame_tensor(frame)


def shoot(camera: Producer, over: threading.Event, values: dict[int, int]) -> None:
    number = 0
    while not over.wait(0.005):
        result = camera.publish(torch.full(SHAPE, number % 200, dtype=torch.uint8))
        if result:
            values[result.seq] = number % 200
            number += 1


def main() -> None:
    endpoints = json.loads(sys.argv[1])
    endless = len(sys.argv) > 2
    dataset = FrameDataset(STREAM, transform=numbered, timeout=None if endless else 3, **endpoints)
    loader = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context="spawn")
    values: dict[int, int] = {}
    taken: dict[int, list[int]] = defaultdict(list)
    seen: list[tuple[int, int, int]] = []
    over = threading.Event()
    with connect(**endpoints) as pool, pool.producer(STREAM) as camera:
        thread = threading.Thread(target=shoot, args=(camera, over, values), daemon=True)
        thread.start()
        for _, seq, worker, picture in loader:
            taken[worker].append(seq)
            seen.append((seq, int(picture.min()), int(picture.max())))
            if len(taken) == 2 and all(len(each) >= EACH for each in taken.values()):
                if endless:
                    print(json.dumps({"workers": list(taken)}), flush=True)
                over.set()
        thread.join()
        with pool.consumer(STREAM) as viewer:
            while (frame := viewer.receive(0.05)) is None:
                camera.publish(torch.full(SHAPE, 7, dtype=torch.uint8))
            window = torch.from_dlpack(frame)
            address = window.data_ptr() if hasattr(window, "data_ptr") else window.ctypes.data
            shared = address == frame.array.ctypes.data and bool((window == 7).all())
    residues = [sorted({seq % 2 for seq in each}) for each in taken.values()]
    every = [seq for each in taken.values() for seq in each]
    print(
        json.dumps(
            {
                "torch": getattr(torch, "__version__", "stand-in"),
                "residues": sorted(residues),
                "duplicates": len(every) - len(set(every)),
                "wrong": sum(not low == high == values[seq] for seq, low, high in seen),
                "shared": shared,
            }
        )
    )


if __name__ == "__main__":
    main()
