"""Configuration of the driver: one typed record per TOML table, attribute names equal the keys."""

from __future__ import annotations

import msgspec

__all__ = ["Pool", "Profile"]


class Pool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One payload pool of a profile."""

    pool_id: int
    stride_bytes: int


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Geometry of a stream: header ring slots and payload pools."""

    payload_pools: tuple[Pool, ...] = ()
    header_nslots: int = 1024
    header_slot_bytes: int = 256
