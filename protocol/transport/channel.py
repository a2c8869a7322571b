"""What both transports need to know about an Aeron channel URI.

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
    "untethered",
]

FRAME_ALIGNMENT = 32
HEADER_LENGTH = 32
MTU_LENGTH = 1408  # of IPC, header included: a longer message travels in several fragments
DEFAULT_IPC_TERM_LENGTH = 64 * 1024 * 1024
_MIN_TERM_LENGTH = 64 * 1024
_MAX_TERM_LENGTH = 1024 * 1024 * 1024
_MAX_MESSAGE_LENGTH = 16 * 1024 * 1024
_SIZE = re.compile(r"(\d+)([kKmMgG]?)")
_SCALE = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def untethered(channel: str) -> str:
    """The channel of a subscription that the media driver may drop when it is not polled.

    >>> untethered("aeron:ipc?term-length=4m")
    'aeron:ipc?term-length=4m|tether=false'
    """
    return f"{channel}{'|' if '?' in channel else '?'}tether=false"


class Channel(msgspec.Struct, frozen=True):
    """A parsed channel URI; `address` is what two sides must share to meet."""

    uri: str
    address: str
    term_length: int

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
        return cls(uri, address, _term_length(uri, parameters.get("term-length")))

    @property
    def window_bytes(self) -> int:
        """How far an IPC publisher may run ahead of its slowest subscriber, in bytes."""
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
