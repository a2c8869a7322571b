"""The driver's ends of the transport: the control subscription and the publications."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.channel import (
    Channel,
    beacon,
    of_session,
    tethered,
    untethered,
)
from tensor_pool.protocol.transport.ports import (
    FragmentHandler,
    Publication,
    Subscription,
    Transport,
)

from ..core.configuration import DriverConfig
from .discovery_endpoints import DiscoveryEndpoints
from .outgoing import Proxy

__all__ = ["TransportEndpoints"]

_DISCARD_LIMIT = 256
_FIRST_RETRY_NS = 100_000_000
_LONGEST_RETRY_NS = 1_000_000_000

_log = logging.getLogger(__name__)


class TransportEndpoints:
    """`start_stop.Endpoints` on a transport, which stays its owner's.

    `reconnect` opens another transport after the loss of this one. It raises on failure, and owns
    all transports that it returns.
    """

    def __init__(
        self,
        config: DriverConfig,
        transport: Transport,
        proxy: Proxy,
        discovery: DiscoveryEndpoints,
        pause: Callable[[], None],
        reconnect: Callable[[], Transport] | None = None,
    ) -> None:
        self._driver = config.driver
        self._discovery_table = config.discovery
        self._discovery = discovery
        self._side_subscriptions: list[Subscription] = []
        self.transport = transport
        self._reconnect = reconnect
        self._failures = 0
        self._retry_ns = 0
        # Seeded, so that a simulation can replay it.
        self._random = random.Random(config.driver.instance_id)
        self._proxy = proxy
        self._pause = pause
        self._subscription: Subscription | None = None
        # Taken by `has_arrived` to see whether there is anything; the next `poll` hands it over.
        self._taken = 0
        self._kept: list[bytes] = []
        self._publications: list[Publication] = []

    @property
    def is_open(self) -> bool:
        """Return whether messages can still be sent."""
        return self._subscription is not None and not self.transport.is_closed

    @property
    def failure(self) -> str | None:
        """The error of a transport that closed without a call under open endpoints, or None."""
        if self._subscription is None or not self.transport.is_closed:
            return None
        return self.transport.error or "transport closed"

    @property
    def can_reopen(self) -> bool:
        """Return whether a lost transport can be opened anew."""
        return self._reconnect is not None

    def lose(self) -> None:
        """Close what is left of a lost transport; notices wait for the next one (D-146)."""
        self._proxy.lose()
        self._failures = self._retry_ns = 0
        self._close_all()

    def reopen(self, now: int) -> bool:
        """Try to open everything anew, if a try is due; return whether it is open again.

        The delays between tries are those of C-032: 100 ms at first, at most 1 s.
        """
        if self._reconnect is None or now < self._retry_ns:
            return False
        try:
            self.transport = self._reconnect()
            self.open()
        except Exception as error:  # noqa: BLE001 - whatever it was, it is tried again
            if not self._failures:
                _log.warning("the transport cannot be opened yet: %s", error)
            delay_ns = min(_LONGEST_RETRY_NS, _FIRST_RETRY_NS << min(self._failures, 10))
            self._failures += 1
            self._retry_ns = now + round(delay_ns * self._random.uniform(0.5, 1.0))
            return False
        return True

    @property
    def control_backlog(self) -> int:
        """Messages waiting in the control outbox."""
        return self._proxy.control_backlog

    def open(self) -> None:
        """Subscribe first, so that no answer to an announce can be missed (D-101)."""
        driver, transport = self._driver, self.transport
        self._discovery.use(transport)
        try:
            self._subscription = transport.add_subscription(
                tethered(driver.control_channel), driver.control_stream_id
            )
            control = transport.add_publication(driver.control_channel, driver.control_stream_id)
            self._publications.append(control)
            self._show_session(control)
            announce = control
            where = (driver.announce_channel, driver.announce_stream_id)
            if where != (driver.control_channel, driver.control_stream_id):
                announce = transport.add_publication(*where)
                self._publications.append(announce)
            for channel, stream_id in self._side_addresses():
                self._side_subscriptions.append(
                    transport.add_subscription(untethered(channel), stream_id)
                )
        except BaseException:
            self._close_all()
            raise
        self._proxy.connect(control, announce)

    def _show_session(self, control: Publication) -> None:
        """Light the beacon: a publication that sends nothing, of the control one's session."""
        driver = self._driver
        address = beacon(driver.control_channel, driver.control_stream_id)
        if address is not None:
            channel, stream_id = address
            self._publications.append(
                self.transport.add_publication(of_session(channel, control.session_id), stream_id)
            )

    def _side_addresses(self) -> list[tuple[str, int]]:
        """Return the streams besides the control stream: metadata, requests of discovery."""
        driver, discovery = self._driver, self._discovery_table
        found = [(driver.metadata_channel, driver.metadata_stream_id)]
        if discovery.enabled and discovery.stream_id is not None:
            found.append((driver.control_channel, discovery.stream_id))
        control = (driver.control_channel, driver.control_stream_id)
        return [address for address in dict.fromkeys(found) if address != control]

    def close(self) -> None:
        """Close what `open` opened; more than once is harmless."""
        self._proxy.disconnect()
        self._close_all()

    def _close_all(self) -> None:
        self._discovery.close()
        while self._side_subscriptions:
            self._side_subscriptions.pop().close()
        while self._publications:
            self._publications.pop().close()
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
            self._taken = 0
            self._kept.clear()

    @property
    def has_backlog(self) -> bool:
        """Return whether messages wait to be offered again."""
        return self._proxy.has_backlog or self._discovery.has_backlog

    def has_arrived(self) -> bool:
        """Return whether there is something to poll; cheap, and nothing is lost by asking.

        Raises what polling raises.
        """
        if self._taken:
            return True
        if self._subscription is None:
            return False
        self._taken = self._subscription.poll(self._keep, 1)
        return self._taken > 0

    def _keep(self, message: memoryview) -> None:
        self._kept.append(bytes(message))

    def poll(self, handler: FragmentHandler, fragment_limit: int) -> int:
        """Hand over what has arrived; 0 when the endpoints are closed."""
        if self._subscription is None:
            return 0
        if not self._taken:
            return self._subscription.poll(handler, fragment_limit)
        taken, self._taken = self._taken, 0
        kept, self._kept = self._kept, []
        for message in kept:
            handler(memoryview(message))
        return taken + self._subscription.poll(handler, fragment_limit - taken)

    def poll_side_streams(self, handler: FragmentHandler, fragment_limit: int) -> int:
        """Hand over what has arrived on metadata and discovery streams."""
        return sum(s.poll(handler, fragment_limit) for s in self._side_subscriptions)

    def answer(self, channel: str, stream_id: int, message: bytes) -> bool:
        """Send an answer to an endpoint that a discovery request named; False if refused."""
        return self._discovery.send(channel, stream_id, message)

    def longest_message_bytes(self, channel: str) -> int:
        """Return the length of the longest message on a channel; 0 for an illegal one."""
        try:
            return Channel.parse(channel).max_message_bytes
        except TransportError:
            return 0

    def flush(self) -> int:
        """Offer waiting messages again; returns how many left."""
        self._discovery.flush()
        return self._proxy.flush()

    def flush_finally(self) -> None:
        """Flush for at most 500 ms, then drop what remains (D-176)."""
        self._proxy.flush_finally(self._make_room)

    def _make_room(self) -> None:
        # The driver receives its own messages: unread they would hold its publication back.
        if not self.transport.is_closed:
            self.poll(_discard, _DISCARD_LIMIT)
        self._pause()


def _discard(_: memoryview) -> None:
    """The driver has stopped listening."""
