"""The attribute `tensorpool.bridge` of a stream that came from another host (B-104)."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["BRIDGE_ATTRIBUTE", "BridgeOrigin", "read_origin"]

BRIDGE_ATTRIBUTE: Final = "tensorpool.bridge"


class BridgeOrigin(msgspec.Struct, frozen=True):
    """The first host of a bridged stream, the stream's id there, and the bridges on its way."""

    origin: str
    stream: int
    path: tuple[str, ...]

    @property
    def text(self) -> str:
        """One line for people.

        >>> BridgeOrigin("cam-host", 10000, ("cam-host", "relay")).text
        'cam-host:10000 by cam-host>relay'
        """
        return f"{self.origin}:{self.stream} by {'>'.join(self.path)}"


def read_origin(value: bytes) -> BridgeOrigin | None:
    """The value of the attribute; None if it is not one that a bridge writes."""
    try:
        return msgspec.json.decode(value, type=BridgeOrigin)
    except msgspec.MsgspecError:
        return None
