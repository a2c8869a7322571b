"""Aeron channel URIs, as both transports read them.

`aeron:ipc?term-length=4m|alias=x` names a medium and its parameters. Publications and subscriptions
meet when medium and endpoint agree; parameters such as the term length do not separate them.
"""

from __future__ import annotations

import re

import msgspec

from ..errors import TransportError

__all__ = [
    "DEFAULT_IPC_TERM_LENGTH",
    "FRAME_ALIGNMENT",
    "HEADER_LENGTH",
    "MTU_LENGTH",
    "Channel",
    "beacon",
    "dropping_stalled_readers",
    "of_session",
    "tethered",
    "untethered",
]

FRAME_ALIGNMENT = 32
HEADER_LENGTH = 32
MTU_LENGTH = 1408  # of IPC, header included: a longer message travels in several fragments
DEFAULT_IPC_TERM_LENGTH = 64 * 1024 * 1024
_MIN_TERM_LENGTH = 64 * 1024
_MAX_TERM_LENGTH = 1024 * 1024 * 1024
_MAX_MESSAGE_LENGTH = 16 * 1024 * 1024
_UNTETHERED_TIMEOUTS = (
    "untethered-window-limit-timeout=20ms",
    "untethered-linger-timeout=20ms",
    "untethered-resting-timeout=1s",
)
_SIZE = re.compile(r"(\d+)([kKmMgG]?)")
_SCALE = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def untethered(channel: str) -> str:
    """Return the channel of a subscription that the media driver drops when it is not polled.

    A channel with a `tether` of its own stays as it is.

    >>> untethered("aeron:ipc?term-length=4m")
    'aeron:ipc?term-length=4m|tether=false'
    """
    return _with(channel, "tether=false")


def tethered(channel: str) -> str:
    """Return the channel of a subscription that holds publishers up when it is not polled.

    Only for a reader that all others wait for anyway, as the clients wait for the driver.

    >>> tethered("aeron:ipc")
    'aeron:ipc?tether=true'
    """
    return _with(channel, "tether=true")


def dropping_stalled_readers(channel: str) -> str:
    """Return the channel of a publication that drops its untethered subscribers soon (W-008).

    A subscriber three quarters of a window behind for 20 ms is dropped 20 ms later. A second
    after that it comes back at the newest position. The media driver looks at these times once in
    its timer interval: 20 ms where this library embeds it.

    >>> dropping_stalled_readers("aeron:udp?endpoint=localhost:4000")
    'aeron:udp?endpoint=localhost:4000'
    """
    if channel.partition("?")[0] != "aeron:ipc":
        return channel
    for parameter in _UNTETHERED_TIMEOUTS:
        channel = _with(channel, parameter)
    return channel


def of_session(channel: str, session_id: int) -> str:
    """Return the channel of a subscription to one publication, or of that publication.

    >>> of_session("aeron:ipc", -7)
    'aeron:ipc?session-id=-7'
    """
    return _with(channel, f"session-id={session_id}")


def beacon(control_channel: str, control_stream_id: int) -> tuple[str, int] | None:
    """Return where drivers show that they use a control stream (W-009); None where they do not.

    >>> beacon("aeron:ipc?term-length=4m", 1000)
    ('aeron:ipc?term-length=64k', -1000)
    """
    if control_channel.partition("?")[0] != "aeron:ipc":
        return None
    return "aeron:ipc?term-length=64k", -control_stream_id


def _with(channel: str, parameter: str) -> str:
    medium, _, tail = channel.partition("?")
    name = parameter.partition("=")[0]
    if any(item.startswith(f"{name}=") for item in tail.split("|")):
        return channel
    return f"{channel}|{parameter}" if tail else f"{medium}?{parameter}"


class Channel(msgspec.Struct, frozen=True):
    """A parsed channel URI; `address` is what two sides must share to meet."""

    uri: str
    address: str
    term_length: int
    is_tethered: bool  # of a subscription: it holds publishers up when it is not polled
    session_id: int | None  # of a publication; of a subscription: the only one that it receives

    @classmethod
    def parse(cls, uri: str) -> Channel:
        """Raises TransportError for what an Aeron client would not accept either."""
        medium, _, tail = uri.partition("?")
        if medium not in {"aeron:ipc", "aeron:udp"}:
            raise TransportError(f"channel {uri!r} must start with aeron:ipc or aeron:udp")
        parameters: dict[str, str] = {}
        for item in filter(None, tail.split("|")):
            key, equals, value = item.partition("=")
            if not equals:
                raise TransportError(f"channel {uri!r}: parameter {item!r} has no value")
            parameters[key] = value
        place = [f"{k}={parameters[k]}" for k in ("endpoint", "control") if k in parameters]
        if medium == "aeron:udp" and not place:
            raise TransportError(f"channel {uri!r} has neither endpoint nor control")
        address = "|".join([medium, *place]) if medium == "aeron:udp" else medium
        is_tethered = parameters.get("tether") == "true"
        session = parameters.get("session-id")
        if session is not None and not re.fullmatch(r"-?\d{1,10}", session):
            raise TransportError(f"channel {uri!r}: session-id must be a number, not {session!r}")
        return cls(
            uri,
            address,
            _term_length(uri, parameters.get("term-length")),
            is_tethered,
            None if session is None else int(session),
        )

    @property
    def window_bytes(self) -> int:
        """Longest lead of an IPC publisher over its slowest subscriber, in bytes."""
        return self.term_length // 2

    @property
    def max_message_bytes(self) -> int:
        """The longest message a publication takes."""
        return min(self.term_length // 8, _MAX_MESSAGE_LENGTH)


def _term_length(uri: str, text: str | None) -> int:
    if text is None:
        return DEFAULT_IPC_TERM_LENGTH
    match = _SIZE.fullmatch(text)
    size = int(match[1]) * _SCALE[match[2].lower()] if match else 0
    if not _MIN_TERM_LENGTH <= size <= _MAX_TERM_LENGTH or size & (size - 1):
        raise TransportError(
            f"channel {uri!r}: term-length must be a power of two from 64k to 1g, not {text!r}"
        )
    return size
