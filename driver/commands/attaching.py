"""Becoming a producer or a consumer for the time of one command."""

from __future__ import annotations

from typing import Any

from ...client.client import Client
from ...client.consumer import Consumer
from ...client.errors import AttachRejectedError
from ...client.producer import Producer
from .outcome import CommandError
from .stopping import Stop

__all__ = ["attach_consumer", "attach_producer", "lost_frames"]

_LOSSES = ("drops_gap", "drops_late", "drops_resync", "drops_unmapped", "drops_epoch")


def attach_consumer(client: Client, stream_id: int, stop: Stop, **wishes: Any) -> Consumer:
    """A consumer of the stream; ends with the user's wish to end. CommandError if refused."""
    try:
        return client.attach_consumer(stream_id, idle=stop.idle, **wishes)
    except AttachRejectedError as error:
        raise CommandError(_refused(error, stream_id)) from error


def attach_producer(client: Client, stream_id: int, stop: Stop, **wishes: Any) -> Producer:
    """The producer of the stream, as `attach_consumer`."""
    try:
        return client.attach_producer(stream_id, idle=stop.idle, **wishes)
    except AttachRejectedError as error:
        raise CommandError(_refused(error, stream_id)) from error


def lost_frames(consumer: Consumer) -> dict[str, int]:
    """Frames that were published and not received, by counter; only those that happened."""
    metrics = consumer.metrics()
    return {name: metrics[name] for name in _LOSSES if metrics[name]}


def _refused(error: AttachRejectedError, stream_id: int) -> str:
    return f"stream {stream_id}: {error}"
