"""Becoming a producer or a consumer for the time of one command."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tensor_pool.client.attachment.counter_names import LOSS_COUNTERS
from tensor_pool.client.client import Client
from tensor_pool.client.consumer.consumer import Consumer
from tensor_pool.client.producer.producer import Producer
from tensor_pool.protocol.errors import (
    AmbiguousStreamError,
    AttachRejectedError,
    UnknownStreamError,
)
from tensor_pool.protocol.wire.attach_refusals import PERMANENT_REFUSALS

from ..support.exit_status import CommandError, complain
from ..support.signals import Stop

__all__ = ["attach_consumer", "attach_consumers", "attach_producer", "lost_frames", "name_of"]

_LOSSES = [name for name in LOSS_COUNTERS if name != "drops_rate"]  # that was on purpose


def name_of(asked: int | str) -> str:
    """Return the name by which a stream was asked for; "" for an id."""
    return asked if isinstance(asked, str) else ""


def attach_consumer(
    client: Client, stream_id: int | str, stop: Stop, *, patience_s: float | None = None
) -> Consumer:
    """Return a consumer of the stream, once there is such a stream; see `attach_consumers`."""
    return attach_consumers(client, [stream_id], stop, patience_s=patience_s)[0]


def attach_consumers(
    client: Client, streams: Sequence[int | str], stop: Stop, *, patience_s: float | None = None
) -> list[Consumer]:
    """Return a consumer of each stream, once there are such streams.

    A driver refuses while a stream has had no producer. It is asked again until `patience_s` is
    over, for ever if that is None, and the reason is printed once. Raise CommandError then, and for
    a driver that does not answer within the attach timeout.
    """
    consumers: list[Consumer] = []
    began = time.monotonic()
    try:
        consumers += (client.begin_attach_consumer(stream) for stream in streams)
        waiting = dict(zip(streams, consumers, strict=True))
        told = dict.fromkeys(streams, "")
        while waiting := {s: c for s, c in waiting.items() if not c.poll_ready()}:
            stop.idle()
            waited_s = time.monotonic() - began
            for stream_id, consumer in waiting.items():
                told[stream_id] = _patient(
                    client, stream_id, consumer, waited_s, patience_s, told[stream_id]
                )
    except BaseException:
        for consumer in consumers:
            consumer.close()
        raise
    return consumers


def _patient(
    client: Client,
    stream_id: int | str,
    consumer: Consumer,
    waited_s: float,
    patience_s: float | None,
    told: str,
) -> str:
    """Return the reason of the wait, which is printed if it is another one than before."""
    failure = consumer.last_error
    if isinstance(failure, AmbiguousStreamError):
        raise CommandError(str(failure))
    if isinstance(failure, AttachRejectedError | UnknownStreamError):
        is_permanent = getattr(failure, "code", None) in PERMANENT_REFUSALS
        if is_permanent or (patience_s is not None and waited_s >= patience_s):
            raise CommandError(_refused(failure, stream_id))
        text = failure.message if isinstance(failure, AttachRejectedError) else str(failure)
        if told != text:
            complain(f"stream {stream_id}: {text}; waiting for a producer")
        return text
    if waited_s >= client.config.producer_attach_timeout:
        raise CommandError(str(failure) if failure is not None else _silence(client))
    return told


def attach_producer(client: Client, stream_id: int | str, stop: Stop) -> Producer:
    """The producer of the stream; CommandError if the driver refuses for the attach timeout."""
    try:
        return client.producer(stream_id, idle=stop.idle)
    except (AttachRejectedError, AmbiguousStreamError, UnknownStreamError) as error:
        raise CommandError(_refused(error, stream_id)) from error


def lost_frames(consumer: Consumer) -> dict[str, int]:
    """Frames that were published and not received, by counter; only those that happened."""
    metrics = consumer.metrics()
    return {name: metrics[name] for name in _LOSSES if metrics[name]}


def _refused(error: Exception, stream_id: int | str) -> str:
    return f"stream {stream_id}: {error}"


def _silence(client: Client) -> str:
    config = client.config
    return (
        f"no driver answered on {config.control_channel} stream {config.control_stream_id} within"
        f" {config.producer_attach_timeout:g} s; is `tensor-pool driver` running?"
    )
