"""A worker process of the demo: one producer or one consumer.

`python -m tensor_pool.cli.demo.worker` reads its settings from standard input, loads the source,
reports that it is ready, waits for `go`, and works until `stop`, the end of standard input, or
SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

import msgspec

from tensor_pool.client import connect
from tensor_pool.client.client import Client

from .consumer import consume
from .producer import load_arrays, produce
from .protocol import Manifest, Ready, WorkerSettings

__all__ = ["Orders", "main", "report"]


class Orders:
    """The commands that the demo has sent so far; set by a thread and by signals."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.stop = threading.Event()

    def listen(self) -> None:
        """Follow standard input until it ends."""
        for line in sys.stdin:
            if line.strip() == "go":
                self.go.set()
            elif line.strip() == "stop":
                break
        self._end()

    def on_signal(self, *_: object) -> None:
        """Stop, whether it works or waits.

        Not in the handler itself: it may have interrupted a wait with the event's lock held.
        """
        threading.Thread(target=self._end).start()

    def _end(self) -> None:
        self.stop.set()
        self.go.set()


def report(message: msgspec.Struct) -> None:
    """Write one message to the demo; exit if the demo no longer reads."""
    try:
        sys.stdout.write(msgspec.json.encode(message).decode() + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(1)


def main() -> int:
    """Body of the process; returns its exit status."""
    settings = msgspec.json.decode(sys.stdin.readline(), type=WorkerSettings)
    orders = Orders()
    signal.signal(signal.SIGTERM, orders.on_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=orders.listen, daemon=True).start()
    folder = settings.source_folder
    with open(os.path.join(folder, "manifest.json"), "rb") as file:
        manifest = msgspec.json.decode(file.read(), type=Manifest)
    arrays = load_arrays(folder, manifest) if settings.role == "producer" else []
    with _connect(settings) as client:
        report(Ready())
        orders.go.wait()
        if settings.role == "producer":
            produce(client, settings, arrays, orders.stop, report)
        else:
            consume(client, settings, manifest, orders.stop, report)
    return 0


def _connect(settings: WorkerSettings) -> Client:
    return connect(
        aeron_dir=settings.aeron_dir,
        allowed_base_dirs=(settings.base_dir,),
        announce_period=settings.announce_period_s,
        keepalive_interval=settings.keepalive_interval_s,
    )


if __name__ == "__main__":
    sys.exit(main())
