"""The geometry of a stream's regions, as announced or granted (W-010 to W-013, W-130).

Every check compares files and superblocks with these records.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ..errors import ShmUriError, ShmValidationError
from ..wire.frame_descriptor import SLOT_BYTES, SUPERBLOCK_BYTES
from ..wire.generated.control_messages import ShmPoolAnnounce
from ..wire.generated.driver_messages import ShmAttachResponse
from ..wire.generated.enums import RegionType
from .uri import parse_region_uri

__all__ = [
    "LAYOUT_VERSION",
    "STRIDE_UNIT_BYTES",
    "PoolGeometry",
    "RegionGeometry",
    "StreamGeometry",
    "is_power_of_two",
    "is_stride",
    "stride_for",
]

LAYOUT_VERSION = 1
STRIDE_UNIT_BYTES = 64
"""Strides are multiples of this, and at least one of it (W-012)."""


def is_power_of_two(number: int) -> bool:
    """True for 1, 2, 4, 8 and so on."""
    return number > 0 and number & (number - 1) == 0


def is_stride(nbytes: int) -> bool:
    """Return True for a stride that a payload pool may have (W-012).

    >>> is_stride(640 * 1024), is_stride(96)
    (True, False)
    """
    return nbytes >= STRIDE_UNIT_BYTES and nbytes % STRIDE_UNIT_BYTES == 0


def stride_for(nbytes: int) -> int:
    """Return the smallest stride, in bytes, of slots that hold frames of `nbytes` bytes.

    >>> stride_for(0), stride_for(64), stride_for(1000)
    (64, 64, 1024)
    """
    return max(1, -(-nbytes // STRIDE_UNIT_BYTES)) * STRIDE_UNIT_BYTES


class RegionGeometry(msgspec.Struct, frozen=True):
    """One region file: `pool_id` and `stride_bytes` are 0 for the header ring."""

    stream_id: int
    epoch: int
    nslots: int
    pool_id: int = 0
    stride_bytes: int = 0
    region_type: RegionType = RegionType.HEADER_RING
    layout_version: int = LAYOUT_VERSION

    @property
    def name(self) -> str:
        """Name of the region in diagnostics."""
        if self.region_type is RegionType.HEADER_RING:
            return "header ring"
        return f"pool {self.pool_id}"

    @property
    def slot_bytes(self) -> int:
        """Bytes from one slot to the next."""
        if self.region_type is RegionType.HEADER_RING:
            return SLOT_BYTES
        return self.stride_bytes

    @property
    def length_bytes(self) -> int:
        """Least length of the file (W-010)."""
        return SUPERBLOCK_BYTES + self.slot_bytes * self.nslots


class PoolGeometry(msgspec.Struct, frozen=True):
    """One payload pool of a stream and where it is."""

    pool_id: int
    nslots: int
    stride_bytes: int
    uri: str


class StreamGeometry(msgspec.Struct, frozen=True):
    """All regions of one epoch of a stream."""

    stream_id: int
    epoch: int
    header_nslots: int
    header_uri: str
    pools: tuple[PoolGeometry, ...]
    header_slot_bytes: int = SLOT_BYTES
    layout_version: int = LAYOUT_VERSION

    @classmethod
    def from_message(cls, message: ShmPoolAnnounce | ShmAttachResponse) -> StreamGeometry:
        """The geometry that an announce, or an attach response with code OK, describes.

        Fields that a refusal leaves out count as 0, which `check_structure()` refuses.
        """
        return cls(
            stream_id=message.stream_id or 0,
            epoch=message.epoch or 0,
            header_nslots=message.header_nslots or 0,
            header_uri=message.header_region_uri,
            pools=tuple(
                PoolGeometry(pool.pool_id, pool.pool_nslots, pool.stride_bytes, pool.region_uri)
                for pool in message.payload_pools
            ),
            header_slot_bytes=message.header_slot_bytes or 0,
            layout_version=message.layout_version or 0,
        )

    def header_ring(self) -> RegionGeometry:
        """The geometry of the header ring."""
        return RegionGeometry(
            stream_id=self.stream_id,
            epoch=self.epoch,
            nslots=self.header_nslots,
            layout_version=self.layout_version,
        )

    def pool(self, pool: PoolGeometry) -> RegionGeometry:
        """The geometry of one of the pools."""
        return RegionGeometry(
            stream_id=self.stream_id,
            epoch=self.epoch,
            nslots=pool.nslots,
            pool_id=pool.pool_id,
            stride_bytes=pool.stride_bytes,
            region_type=RegionType.PAYLOAD_POOL,
            layout_version=self.layout_version,
        )

    def regions(self) -> Iterator[tuple[RegionGeometry, str]]:
        """Each region with its URI: header ring first, then the pools in their order (W-131)."""
        yield self.header_ring(), self.header_uri
        for pool in self.pools:
            yield self.pool(pool), pool.uri

    def layout(self) -> tuple[object, ...]:
        """The part that may not change in an epoch: all but the URIs and the order of pools."""
        return (
            self.stream_id,
            self.epoch,
            self.layout_version,
            self.header_nslots,
            self.header_slot_bytes,
            frozenset((pool.pool_id, pool.nslots, pool.stride_bytes) for pool in self.pools),
        )

    def check_structure(self) -> None:
        """Refuse what no set of regions can satisfy (W-130, and the layout version of W-149).

        Raises ShmUriError for a URI, else ShmValidationError with step 0.
        """
        self._require(
            self.layout_version == LAYOUT_VERSION,
            "header ring",
            f"layout version {self.layout_version}",
            f"{LAYOUT_VERSION}",
        )
        self._require(
            self.header_slot_bytes == SLOT_BYTES,
            "header ring",
            f"slots of {self.header_slot_bytes} bytes",
            f"{SLOT_BYTES}",
        )
        self._require(
            is_power_of_two(self.header_nslots),
            "header ring",
            f"{self.header_nslots} slots",
            "a power of two",
        )
        self._require(len(self.pools) > 0, "stream", "no payload pool", "at least one")
        seen: set[int] = set()
        for pool in self.pools:
            name = f"pool {pool.pool_id}"
            self._require(pool.pool_id not in seen, name, "its id twice", "unique pool ids")
            seen.add(pool.pool_id)
            self._require(
                pool.nslots == self.header_nslots,
                name,
                f"{pool.nslots} slots",
                f"{self.header_nslots} as in the header ring",
            )
            self._require(
                is_stride(pool.stride_bytes),
                name,
                f"stride of {pool.stride_bytes} bytes",
                f"a multiple of {STRIDE_UNIT_BYTES}",
            )
        for region, uri in self.regions():
            try:
                parse_region_uri(uri)
            except ShmUriError as error:
                raise ShmUriError(f"{region.name}: {error}") from None

    def _require(self, condition: bool, region: str, seen: str, wanted: str) -> None:
        if not condition:
            raise ShmValidationError(region, f"stream {self.stream_id}", 0, seen, wanted)
