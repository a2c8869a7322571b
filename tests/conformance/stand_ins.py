"""A stand-in for a driver on a thread of the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tensor_pool.cli.conformance.stand_in import StandInDriver


@contextmanager
def running(driver: StandInDriver) -> Iterator[None]:
    """Run a stand-in on a thread."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            driver.work()
            time.sleep(0.0005)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        driver.close()
        driver.bus.close()
