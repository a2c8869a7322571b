"""A driver with the real things plugged in: Aeron, files, the host's clocks.

The daemon and the embedded form both start here, which is what makes them behave alike (D-004).
"""

from __future__ import annotations

import contextlib
import logging
import resource
import time

from tensor_pool.hsm import observed_by
from tensor_pool.protocol.clock import Clock, SystemClock
from tensor_pool.protocol.transport.aeron import AeronTransport
from tensor_pool.protocol.transport.media_driver import (
    EmbeddedMediaDriver,
    is_media_driver_active,
    open_media_driver,
)

from ..core.configuration import DriverConfig
from ..driver import Driver
from ..files.store import FileStore
from .message_feed import MessageFeed
from .metrics import DriverMetrics
from .transition_feed import TransitionFeed
from .transition_log import TransitionLog

__all__ = ["Assembly", "allow_many_files"]

_SILENCE_S = 2.5  # a media driver sends a heartbeat once a second

_log = logging.getLogger(__name__)


class Assembly:
    """Opens the media driver and the transport, and puts a driver on them; `close()` undoes it.

    The driver itself is made but not started. `observer` gets the trace hooks of all machines;
    without one, transitions are logged. Where pages are served, `feed` and `messages`
    get them as well.
    """

    def __init__(
        self, config: DriverConfig, *, observer: object | None = None, clock: Clock | None = None
    ) -> None:
        self.config = config
        self.clock = SystemClock() if clock is None else clock
        self.metrics = DriverMetrics()
        self.feed = TransitionFeed()
        self.messages = MessageFeed()
        observers = [TransitionLog() if observer is None else observer]
        has_pages = bool(config.driver.http_address or config.driver.http_socket)
        if has_pages:
            observers += [self.feed, self.messages]
        with contextlib.ExitStack() as opened:
            self._media_driver = open_media_driver(
                config.driver.aeron_dir, config.driver.media_driver
            )
            opened.callback(lambda: self._media_driver.close())
            self.aeron_dir = self._media_driver.directory
            self.embeds_media_driver = self._media_driver.is_embedded
            self._silent_since_s: float | None = None
            self._transport = self._connect()
            opened.callback(lambda: self._transport.close())
            self.driver = Driver(
                config,
                clock=self.clock,
                transport=self._transport,
                reconnect=self._reconnect,
                store=FileStore(config, self.clock, self.metrics),
                metrics=self.metrics,
                observer=observed_by(*observers),
                sent=self.messages.sent if has_pages else None,
            )
            self._opened = opened.pop_all()

    def _connect(self) -> AeronTransport:
        return AeronTransport.connect(
            self.aeron_dir, self.clock, client_name=self.config.driver.instance_id
        )

    def _reconnect(self) -> AeronTransport:
        """Open another transport after a loss (D-146); raises TransportError.

        An embedded media driver that stays silent is started anew. It may only have been stopped
        with this process, and needs a moment for its next heartbeat.
        """
        self._transport.close()
        if self._media_driver.is_embedded and not is_media_driver_active(self.aeron_dir):
            now_s = time.monotonic()
            if self._silent_since_s is None:
                self._silent_since_s = now_s
            if now_s - self._silent_since_s >= _SILENCE_S:
                _log.warning("the embedded media driver has died and is started anew")
                self._media_driver.close()
                self._media_driver = EmbeddedMediaDriver(self.aeron_dir)
        self._transport = self._connect()
        self._silent_since_s = None
        return self._transport

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
