"""StreamInfo: one stream of the pool, as the driver or its own messages describe it."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from tensor_pool.protocol.wire import DiscoveryResult

from ..bridge_origin import BRIDGE_ATTRIBUTE, BridgeOrigin, read_origin
from ..metadata import AttributeValue

__all__ = ["Seen", "StreamInfo", "is_plausible"]

_HEADER_SLOT_BYTES = 256
_MAX_DIMS = 8


class Seen(enum.StrEnum):
    """The way by which a stream became known (S-040)."""

    ANSWER = "answer"
    LISTENING = "listening"


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One stream (S-022). A hint: epoch, geometry and paths come from the attach response (S-041).

    `name` is empty where the stream has none. `epoch` is 0 while there is none. `attributes` are
    empty until metadata was received. `origin` and `path` name the hosts that a bridged stream came
    through (B-104).
    """

    stream_id: int
    name: str = ""
    summary: str = ""
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, AttributeValue] = {}
    epoch: int = 0
    producer_id: int = 0
    nslots: int = 0
    strides_bytes: tuple[int, ...] = ()
    driver_instance: str = ""
    seen: Seen = Seen.ANSWER

    @property
    def has_producer(self) -> bool:
        """True while a producer is attached."""
        return self.producer_id != 0

    @property
    def origin(self) -> str:
        """The first host and stream of a bridged stream, empty for one of this host."""
        bridged = self._bridged
        return f"{bridged.origin}:{bridged.stream}" if bridged is not None else ""

    @property
    def path(self) -> tuple[str, ...]:
        """The bridges that a stream came through, empty for one of this host."""
        bridged = self._bridged
        return bridged.path if bridged is not None else ()

    @property
    def label(self) -> str:
        """The name with the id, or the id alone."""
        return f"{self.name} ({self.stream_id})" if self.name else str(self.stream_id)

    @property
    def _bridged(self) -> BridgeOrigin | None:
        value = self.attributes.get(BRIDGE_ATTRIBUTE)
        return read_origin(value.value) if value is not None else None

    @classmethod
    def from_answer(cls, result: DiscoveryResult) -> StreamInfo:
        """Return the stream that one result of an answer describes."""
        return cls(
            stream_id=result.stream_id,
            name=result.data_source_name,
            tags=tuple(tag.tag for tag in result.tags),
            epoch=result.epoch,
            producer_id=result.producer_id,
            nslots=result.header_nslots,
            strides_bytes=tuple(pool.stride_bytes for pool in result.payload_pools),
            driver_instance=result.driver_instance_id,
        )


def is_plausible(result: DiscoveryResult) -> bool:
    """Return False for a result that no driver of this protocol sends (S-041)."""
    return (
        result.driver_control_stream_id != 0
        and bool(result.driver_control_channel)
        and result.header_slot_bytes == _HEADER_SLOT_BYTES
        and result.max_dims == _MAX_DIMS
        and all(pool.pool_nslots == result.header_nslots for pool in result.payload_pools)
    )
