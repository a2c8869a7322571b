"""The wait for an attachment: until frames can be published or received, or the reason why not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NoReturn, Protocol

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.errors import (
    AmbiguousStreamError,
    AttachRejectedError,
    AttachTimeoutError,
    TransportError,
)
from tensor_pool.protocol.wire import PublishMode, Role
from tensor_pool.protocol.wire.attach_refusals import PERMANENT_REFUSALS

from .attachment.connection_machine import NEVER
from .conductor.conductor import Conductor
from .conductor.driver_probe import DriverProbe
from .config import ClientConfig, ns
from .handle import Handle
from .shared_streams import LogicalStream

__all__ = ["wait_for_driver", "wait_until_ready"]

_FIRST_REPORT_S = 5.0
_REPORT_PERIOD_S = 60.0

_log = logging.getLogger("tensor_pool.client")


class WaitingClient(Protocol):
    """The client of a handle, as far as the wait uses it."""

    config: ClientConfig
    clock: Clock

    def run_once(self, idle: Callable[[], object] | None = None) -> None: ...


def wait_until_ready(
    client: WaitingClient,
    handle: Handle,
    timeout: float | None,
    idle: Callable[[], object] | None,
) -> None:
    """Run the client until the handle is ready (C-030); `timeout` in seconds, None as configured.

    Permanent refusals are raised at once (C-031); at the timeout, the reason why the latest attempt
    failed. The handle is closed then. A wait without a limit is logged, with that reason.
    """
    attachment = handle._attachment
    config = client.config
    seconds = config.attach_timeout if timeout is None else timeout
    if seconds is None and attachment.role is Role.PRODUCER:
        seconds = config.producer_attach_timeout
    began_ns = client.clock.monotonic_ns()
    deadline_ns = NEVER if seconds is None else began_ns + ns(seconds)
    report_ns = NEVER if seconds is not None else began_ns + ns(_FIRST_REPORT_S)
    attachment.attach_deadline_ns = deadline_ns
    try:
        while not attachment.is_ready:
            failure = attachment.attach_failure
            if isinstance(failure, AttachRejectedError) and (
                failure.code in PERMANENT_REFUSALS or not config.retry_refused
            ):
                _refuse(handle, failure)
            if isinstance(failure, AmbiguousStreamError):
                raise failure
            now = client.clock.monotonic_ns()
            waited_s = (now - began_ns) / 1e9
            if seconds is not None and now >= deadline_ns:
                text = f"attach timed out: {_silence(client, handle, seconds)}"
                _refuse(handle, failure or AttachTimeoutError(text))
            if now >= report_ns:
                report_ns += ns(_REPORT_PERIOD_S)
                reason = failure or _silence(client, handle, round(waited_s))
                what = attachment.connection.stream_name or handle.stream_id
                _log.warning("waiting for stream %s for %.0f s: %s", what, waited_s, reason)
            client.run_once(idle)
            handle._check_open()
    except BaseException:
        handle.close()
        raise
    finally:
        attachment.attach_deadline_ns = None


def wait_for_driver(
    client: WaitingClient, conductor: Conductor, deadline: float, seconds: float
) -> None:
    """Run the client until a driver answers (C-004); `deadline` is monotonic time in s.

    Raises TransportError then.
    """
    probe = DriverProbe(lambda request: conductor.send(LogicalStream.CONTROL, request))
    conductor.request(lambda: setattr(conductor, "driver_probe", probe))
    config = client.config
    while not probe.is_answered:
        if time.monotonic() >= deadline:
            raise TransportError(
                f"a media driver runs, but no driver answered within {seconds:g} s on"
                f" {config.control_channel} stream {config.control_stream_id}; is `tensor-pool"
                " driver` running with the same control channel?"
            )
        client.run_once()
    conductor.request(lambda: setattr(conductor, "driver_probe", None))


def _refuse(handle: Handle, failure: Exception) -> NoReturn:
    mode = handle._attachment.connection.publish_mode
    if isinstance(failure, AttachRejectedError) and mode is PublishMode.REQUIRE_EXISTING:
        failure.add_note(
            "A stream exists once a producer has attached to it. To attach before that, pass"
            " publish_mode=PublishMode.EXISTING_OR_CREATE."
        )
    raise failure


def _silence(client: WaitingClient, handle: Handle, seconds: float) -> str:
    config = client.config
    if handle._attachment.connection.is_attached:
        return (
            f"the driver granted a lease, but gave no descriptor stream within {seconds:g} s"
            f" (stream {handle.stream_id}); it is busy, or stopped"
        )
    directory = f"aeron_dir {config.aeron_dir}" if config.aeron_dir else "default Aeron directory"
    return (
        f"no driver answered on {config.control_channel} stream"
        f" {config.control_stream_id} within {seconds:g} s (stream {handle.stream_id}); is"
        f" `tensor-pool driver` running with the same control channel and {directory}?"
    )
