"""Taking an overview of a pool: from the driver's status page, from its streams, or from both."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from tensor_pool.driver.core.configuration import DriverConfig

from ..support.connection_options import Connection
from ..support.exit_status import CommandError
from ..support.signals import Stop
from ..support.status_page import address_of_pages, fetch_status
from .heard import Observation
from .listener import Observer
from .overview import Overview, overview_of

__all__ = ["PoolWatcher", "watch_pool"]

_PERIODS_LISTENED = 2.2  # announces and keepalives come once a period
_PAUSE_S = 0.001
_QOS_INTERVAL_MS = 1000


class PoolWatcher:
    """Looks at one pool again and again; made by `watch_pool`."""

    def __init__(
        self,
        config: DriverConfig,
        observer: Observer | None,
        http_address: str,
        *,
        page_is_wanted: bool,
        timeout_s: float,
    ) -> None:
        self._config = config
        self._observer = observer
        self._http_address = http_address
        self._page_is_wanted = page_is_wanted
        self._timeout_s = timeout_s
        self._round_trip_ms: float | None = None
        self._asked = False
        self._page_trouble = ""

    @property
    def _observation(self) -> Observation | None:
        return self._observer.observation if self._observer is not None else None

    def listen(self, seconds: float, stop: Stop) -> None:
        """Listen to the streams for some time."""
        if self._observer is None:
            return
        deadline = time.monotonic() + seconds
        while not stop.requested and time.monotonic() < deadline:
            if not self._observer.poll():
                time.sleep(_PAUSE_S)

    def listen_long_enough(self, stop: Stop, *, reports: bool = False) -> None:
        """Listen until each periodic message has come, and the driver was sent a request.

        With `reports` until two of each client have come, which a rate takes (S-051).
        """
        policies = self._config.policies
        period_ms = max(policies.announce_period_ms, policies.lease_keepalive_interval_ms)
        if reports:
            period_ms = max(period_ms, _QOS_INTERVAL_MS)
        if self._observer is not None:
            self.ask_driver(stop)
            self.listen(_PERIODS_LISTENED * period_ms / 1000, stop)

    def ask_driver(self, stop: Stop, timeout_s: float | None = None) -> None:
        """Find out whether a driver answers, and how fast."""
        assert self._observer is not None
        self._asked = True
        self._round_trip_ms = self._observer.ask_for_a_sign_of_life(
            self._timeout_s if timeout_s is None else timeout_s, stop
        )

    def overview(self) -> Overview:
        """The pool now. Raises CommandError where nothing can be known."""
        document = self._status_document()
        sources = []
        if document is not None:
            sources.append(f"http://{self._http_address}/status.json")
        if self._observer is not None:
            sources.append("messages on the streams of the pool")
        overview = overview_of(
            document,
            self._observation,
            source=" and ".join(sources),
            lease_duration_ns=self._config.policies.lease_duration_ns,
        )
        driver = overview.driver
        driver.round_trip_ms = self._round_trip_ms
        if self._asked and document is None:
            driver.responds = self._round_trip_ms is not None
        table = self._config.driver
        if document is None:
            driver.control_channel = table.control_channel
            driver.control_stream_id = table.control_stream_id
        if self._page_trouble:
            overview.unknown.insert(0, f"the driver's status page: {self._page_trouble}")
        return overview

    def _status_document(self) -> dict[str, Any] | None:
        if not self._http_address:
            return None
        try:
            document = fetch_status(self._http_address, self._timeout_s)
        except CommandError as error:
            if self._page_is_wanted:
                raise
            self._page_trouble = str(error)
            return None
        self._page_trouble = ""
        return document


@contextlib.contextmanager
def watch_pool(connection: Connection, http: str | None, *, listen: bool) -> Iterator[PoolWatcher]:
    """A watcher of the pool that the options name.

    The status page is used when `http` or the configuration has its address. With `listen` the
    streams are listened to in any case, without it only where there is no page.
    """
    config = connection.driver_config()
    address = http or address_of_pages(config, connection.timeout)
    client_config = connection.client_config()
    with contextlib.ExitStack() as opened:
        observer = None
        if listen or not address or (not http and not _answers(address, connection.timeout)):
            transport = connection.transport(client_config)
            opened.callback(transport.close)
            observer = Observer(
                transport,
                client_config,
                forget_after_ns=config.policies.lease_duration_ns,
            )
        yield PoolWatcher(
            config,
            observer,
            address,
            page_is_wanted=http is not None,
            timeout_s=connection.timeout,
        )


def _answers(address: str, timeout_s: float) -> bool:
    try:
        fetch_status(address, timeout_s)
    except CommandError:
        return False
    return True
