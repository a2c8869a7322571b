"""Term lengths of the channels that the protocol's streams travel on."""

from __future__ import annotations

__all__ = ["with_short_terms"]


def with_short_terms(channel: str, length: str = "256k") -> str:
    """Return the channel of a publication that sends little; its three terms are allocated.

    >>> with_short_terms("aeron:ipc?term-length=4m|alias=qos")
    'aeron:ipc?term-length=256k|alias=qos'
    """
    medium, _, tail = channel.partition("?")
    if medium != "aeron:ipc" or "term-length=4m" not in tail.split("|"):
        return channel  # chosen by its owner
    items = [f"term-length={length}" if i == "term-length=4m" else i for i in tail.split("|")]
    return f"{medium}?{'|'.join(items)}"
