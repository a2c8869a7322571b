"""The first and the last steps of a driver: start-up (D-100) and the way to Stopped (§3.1)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from tensor_pool.protocol.wire import ShmDriverShutdown

from .events import Cause, NewEpoch, Shutdown, StreamEvent
from .lease_requests import LeaseRequests
from .ports import Target
from .services import Services
from .stream_machine import StreamLifecycle
from .stream_table import StreamTable

__all__ = ["Endpoints", "finish", "start_up"]

_log = logging.getLogger(__name__)


class Endpoints(Protocol):
    """The driver's subscription and publications."""

    @property
    def is_open(self) -> bool:
        """Return whether messages can still be sent."""
        ...

    @property
    def control_backlog(self) -> int:
        """Messages waiting in the control outbox."""
        ...

    def open(self) -> None:
        """Open the control subscription, then the publications (D-101); raises on failure, and
        holds nothing then."""
        ...

    @property
    def can_reopen(self) -> bool:
        """Return whether a lost transport can be opened anew."""
        ...

    def lose(self) -> None:
        """Close what is left of a lost transport; notices wait for the next one (D-146)."""
        ...

    def reopen(self, now: int) -> bool:
        """Try to open everything anew, if a try is due; return whether it is open again."""
        ...

    def close(self) -> None: ...

    def flush(self) -> int:
        """Offer waiting messages again; returns how many left."""
        ...

    def answer(self, channel: str, stream_id: int, message: bytes) -> bool:
        """Send an answer to another endpoint than the control stream; False if refused (S-035)."""
        ...

    def longest_message_bytes(self, channel: str) -> int:
        """Return the length of the longest message on a channel; 0 for an illegal one."""
        ...

    def flush_finally(self) -> None:
        """Flush for a while, then drop what remains (D-176)."""
        ...


def start_up(services: Services, endpoints: Endpoints, streams: StreamTable) -> Exception | None:
    """Take everything the driver needs, or hold nothing and return why not (D-100)."""
    with contextlib.ExitStack() as opened:
        try:
            services.store.open(services.time.now)
            opened.callback(services.store.close, discard=True)
            endpoints.open()
            opened.callback(endpoints.close)
            streams.add_configured()
            if services.config.policies.provision_on_startup:
                for stream in streams:
                    _provision(services, stream)
        except Exception as error:  # noqa: BLE001 - given to the caller of start()
            return error
        opened.pop_all()
    return None


def finish(
    services: Services,
    endpoints: Endpoints,
    streams: StreamTable,
    leases: LeaseRequests,
    shutdown: Shutdown,
) -> None:
    """End everything, in order; a step that fails does not keep the next from being taken."""

    def attempt(step: Callable[[], object]) -> None:
        try:
            step()
        except Exception:  # noqa: BLE001 - counted and logged
            services.metrics.inc("handler_errors")
            _log.exception("a step of the shutdown failed")

    for stream in streams:
        attempt(lambda stream=stream: stream.dispatch(StreamEvent.DRIVER_SHUTDOWN))  # type: ignore[misc]
    attempt(leases.close_all)
    message = ShmDriverShutdown(services.time.now, shutdown.reason, shutdown.text)
    attempt(lambda: services.publisher.publish(Target.CONTROL, message))
    attempt(endpoints.flush_finally)
    attempt(services.store.close)
    _log.info("stopped: %s %s", shutdown.reason.name, shutdown.text)


def _provision(services: Services, stream: StreamLifecycle) -> None:
    regions = services.epochs.provision(stream)
    stream.dispatch(StreamEvent.STREAM_PROVISIONED, NewEpoch(regions, Cause.STARTUP))
