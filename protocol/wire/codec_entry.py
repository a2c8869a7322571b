"""One message of the schemas: a row of the catalog."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .header import WireBuffer

__all__ = ["Codec"]


class Codec(NamedTuple):
    """Ids, block length and functions of one message or shared memory record."""

    kind: type
    schema_id: int
    template_id: int
    version: int
    block_length: int
    decode: Callable[[WireBuffer, int, int, bool], Any]
    """(buffer, its size, block length received, leave enums raw) -> message; raises WireError."""
    encode: Callable[[Any], bytes]
    check: Callable[[Any], None] | None
    """Raises ValueError for a value that receivers would reject or read as absent."""
