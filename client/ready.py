"""Waiting for an attachment: until frames can be published or received, or the reason why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, Protocol

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.errors import (
    AmbiguousStreamError,
    AttachRejectedError,
    AttachTimeoutError,
)
from tensor_pool.protocol.wire import PublishMode
from tensor_pool.protocol.wire.attach_refusals import PERMANENT_REFUSALS

from .config import ClientConfig, ns
from .handle import Handle

__all__ = ["wait_until_ready"]


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
    failed. The handle is closed then.
    """
    attachment = handle._attachment
    config = client.config
    seconds = config.attach_timeout if timeout is None else timeout
    deadline_ns = client.clock.monotonic_ns() + ns(seconds)
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
            if client.clock.monotonic_ns() >= deadline_ns:
                _refuse(handle, failure or _silence(client, handle, seconds))
            client.run_once(idle)
            handle._check_open()
    except BaseException:
        handle.close()
        raise
    finally:
        attachment.attach_deadline_ns = None


def _refuse(handle: Handle, failure: Exception) -> NoReturn:
    mode = handle._attachment.connection.publish_mode
    if isinstance(failure, AttachRejectedError) and mode is PublishMode.REQUIRE_EXISTING:
        failure.add_note(
            "A stream exists once a producer has attached to it. To attach before that, pass"
            " publish_mode=PublishMode.EXISTING_OR_CREATE."
        )
    raise failure


def _silence(client: WaitingClient, handle: Handle, seconds: float) -> AttachTimeoutError:
    config = client.config
    directory = f"aeron_dir {config.aeron_dir}" if config.aeron_dir else "default Aeron directory"
    return AttachTimeoutError(
        f"attach timed out: no driver answered on {config.control_channel} stream"
        f" {config.control_stream_id} within {seconds:g} s (stream {handle.stream_id}); is"
        f" `tensor-pool driver` running with the same control channel and {directory}?"
    )
