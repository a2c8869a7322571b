"""The pairs of channel and stream id in ConsumerHello and ConsumerConfig.

The pair is one request or one assignment: both parts, or neither. Driver and consumers read it with
the same function, so that they cannot disagree about a half-set pair (M-110, M-120).
"""

from __future__ import annotations

import enum
from typing import Final

from .generated.control_messages import ConsumerConfig

__all__ = [
    "STREAM_WIDE_ID",
    "STREAM_WIDE_TOKEN",
    "StreamRequest",
    "fallback_uri",
    "has_half_set_pair",
    "stream_request",
]


STREAM_WIDE_TOKEN: Final = 0x7FFFFFFF
"""As descriptor stream id of a hello: the one stream for all consumers of the tensor stream."""

STREAM_WIDE_ID: Final = 0
"""As consumer id of a ConsumerConfig: it names that stream to the producer."""


class StreamRequest(enum.Enum):
    """The meaning of a channel and a stream id together."""

    ABSENT = "absent"
    """Neither is set: nothing asked for, nothing assigned."""
    REQUESTED = "requested"
    """Both are set."""
    MALFORMED = "malformed"
    """Only one is set."""


def stream_request(channel: str, stream_id: int) -> StreamRequest:
    """Return the meaning of the pair; an id of all ones counts as 0 (M-110).

    >>> stream_request("aeron:ipc", 0)
    <StreamRequest.MALFORMED: 'malformed'>
    """
    has_id = stream_id not in (0, 0xFFFFFFFF)
    if bool(channel) != has_id:
        return StreamRequest.MALFORMED
    return StreamRequest.REQUESTED if has_id else StreamRequest.ABSENT


def has_half_set_pair(config: ConsumerConfig) -> bool:
    """Return whether a consumer has to reject this whole assignment (M-120)."""
    return StreamRequest.MALFORMED in (
        stream_request(config.descriptor_channel, config.descriptor_stream_id),
        stream_request(config.control_channel, config.control_stream_id),
    )


def fallback_uri(config: ConsumerConfig) -> str:
    """Return the URI of the payloads without shared memory; empty if there is none.

    A scheme that the format does not define counts as empty, the rest of the message stands
    (M-121).
    """
    uri = config.payload_fallback_uri
    return uri if uri.startswith(("aeron:", "bridge://")) else ""
