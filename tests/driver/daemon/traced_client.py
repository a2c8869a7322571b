"""A client process that reports what it did to the file system, for `test_real_client.py`.

    python traced_client.py AERON_DIR CONTROL_CHANNEL CONTROL_STREAM_ID BASE_DIR

Publishes frames and receives them until stdin ends; prints each epoch when its first frame has
arrived, and at last one JSON object: how many frames were not what was sent, the epochs in order,
and every call of this process that could have made or changed a region file.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

_CHANGES = {
    "os.mkdir",
    "os.rmdir",
    "os.remove",
    "os.rename",
    "os.truncate",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.chown",
    "os.utime",
    "shutil.rmtree",
}
_CREATING = os.O_CREAT | os.O_TRUNC | getattr(os, "O_TMPFILE", 0) & ~os.O_DIRECTORY


def main() -> None:
    aeron_dir, channel, stream_id, base_dir = sys.argv[1:]
    changes: list[str] = []

    def on_event(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES:
            changes.append(f"{event} {arguments[0]}")
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & _CREATING:
            changes.append(f"open {arguments[0]} {arguments[2]:#o}")

    sys.addaudithook(on_event)
    with open(os.devnull, "w"):
        assert changes, "the trace does not see what it is for"

    import numpy as np

    from tensor_pool.client import ClientConfig, StaleFrameError, connect

    finished = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), finished.set()), daemon=True).start()
    config = ClientConfig(
        aeron_dir=aeron_dir,
        control_channel=channel,
        control_stream_id=int(stream_id),
        allowed_base_dirs=(base_dir,),
        descriptor_stream_id=int(stream_id) + 1000,
        announce_period=0.2,
    )
    wrong, epochs = 0, list[int]()
    with (
        connect(config) as client,
        client.producer(10000) as producer,
        client.consumer(10000) as consumer,
    ):
        number = 0
        while not finished.is_set():
            number += 1
            if not producer.publish(np.full((8, 8), number % 251, np.uint8)):
                time.sleep(0.01)
                continue
            frame = consumer.receive(timeout=0.05)
            if frame is None:
                continue
            try:
                wrong += len(set(frame.array.flat)) != 1
            except StaleFrameError:  # unmapped since it was received: the driver is gone
                continue
            if frame.epoch not in epochs:
                epochs.append(frame.epoch)
                print(frame.epoch, flush=True)
    about_regions = [
        change for change in changes if base_dir in change or ".ring" in change or ".pool" in change
    ]
    print(json.dumps({"wrong": wrong, "epochs": epochs, "changes": about_regions}))


if __name__ == "__main__":
    main()
