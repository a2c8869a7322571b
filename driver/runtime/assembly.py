"""A driver with the real things plugged in: Aeron, files, the host's clocks.

The daemon and the embedded form both start here, which is what makes them behave alike (D-004).
"""

from __future__ import annotations

import contextlib
import resource

from tensor_pool.hsm import observed_by
from tensor_pool.protocol.clock import Clock, SystemClock
from tensor_pool.protocol.transport.aeron import AeronTransport
from tensor_pool.protocol.transport.media_driver import open_media_driver

from ..core.configuration import DriverConfig
from ..driver import Driver
from ..files.store import FileStore
from .feed import TransitionFeed
from .metrics import DriverMetrics
from .transition_log import TransitionLog

__all__ = ["Assembly", "allow_many_files"]


class Assembly:
    """Opens the media driver and the transport, and puts a driver on them; `close()` undoes it.

    The driver itself is made but not started. `observer` gets the trace hooks of all machines;
    without one, transitions are logged. Where pages are served, `feed` gets them as well.
    """

    def __init__(
        self, config: DriverConfig, *, observer: object | None = None, clock: Clock | None = None
    ) -> None:
        self.config = config
        self.clock = SystemClock() if clock is None else clock
        self.metrics = DriverMetrics()
        self.feed = TransitionFeed()
        observers = [TransitionLog() if observer is None else observer]
        if config.driver.http_address:
            observers.append(self.feed)
        with contextlib.ExitStack() as opened:
            media_driver = open_media_driver(config.driver.aeron_dir, config.driver.media_driver)
            opened.callback(media_driver.close)
            self.aeron_dir = media_driver.directory
            self.embeds_media_driver = media_driver.is_embedded
            transport = AeronTransport.connect(
                media_driver.directory, self.clock, client_name=config.driver.instance_id
            )
            opened.callback(transport.close)
            self.driver = Driver(
                config,
                clock=self.clock,
                transport=transport,
                store=FileStore(config, self.clock, self.metrics),
                metrics=self.metrics,
                observer=observed_by(*observers),
            )
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close transport and media driver; the driver must be stopped."""
        self._opened.close()


def allow_many_files() -> None:
    """Raise this process's limit of open files as far as it may.

    Every region of a current epoch keeps its file open along with the mapping, so a thousand
    streams need more than the usual 1024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
