"""The driver's configuration: one record per TOML table, one attribute per key (D-180).

A record is always complete: a default that follows from another key (the announce channel from
the control channel, say) is filled in when the record is made, so no reader of a `DriverConfig`
has to know which values were given. `config/keys.py` has the rule of each key,
`config/load.py` finds the values and reports everything wrong with them.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "AUTOMATIC_ADDRESS",
    "USUAL_ADDRESS",
    "DiscoveryTable",
    "DriverConfig",
    "DriverTable",
    "IdRange",
    "PoliciesTable",
    "Pool",
    "Profile",
    "ShmTable",
    "StreamConfig",
]

DEFAULT_CHANNEL = "aeron:ipc?term-length=4m"
AUTOMATIC_ADDRESS = "auto"
"""`driver.http_address` of a driver that serves its page where it can."""
USUAL_ADDRESS = "127.0.0.1:9464"
"""The address that `auto` tries first."""
_DEFAULT_RING_BYTES = 64 << 20
_FEWEST_SLOTS = 8
_MOST_SLOTS = 1024
_SUPERBLOCK_BYTES = 64


class IdRange(msgspec.Struct, frozen=True):
    """An inclusive range of ids.

    >>> 20000 in IdRange(20000, 29999)
    True
    """

    start: int
    end: int

    def __contains__(self, number: int) -> bool:
        return self.start <= number <= self.end

    def __len__(self) -> int:
        return self.end - self.start + 1

    def __str__(self) -> str:
        return f"{self.start}-{self.end}"

    def overlaps(self, other: IdRange) -> bool:
        """Return whether any id lies in both ranges."""
        return self.start <= other.end and other.start <= self.end


class Pool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One payload pool of a profile."""

    pool_id: int
    stride_bytes: int


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Geometry of a stream: header ring slots and payload pools.

    Without `header_nslots` the pools get as many slots as take 64 MiB, 8 to 1024.

    >>> Profile((Pool(1, 1 << 20),)).header_nslots
    64
    """

    payload_pools: tuple[Pool, ...] = ()
    header_nslots: int = 0
    header_slot_bytes: int = 256

    def __post_init__(self) -> None:
        if not self.header_nslots:
            per_slot = sum(pool.stride_bytes for pool in self.payload_pools) or 1
            slots = min(max(_DEFAULT_RING_BYTES // per_slot, _FEWEST_SLOTS), _MOST_SLOTS)
            msgspec.structs.force_setattr(self, "header_nslots", 1 << slots.bit_length() - 1)

    @property
    def nbytes(self) -> int:
        """Shared memory of an epoch in bytes, superblocks included."""
        per_slot = self.header_slot_bytes + sum(pool.stride_bytes for pool in self.payload_pools)
        return self.header_nslots * per_slot + _SUPERBLOCK_BYTES * (1 + len(self.payload_pools))


class StreamConfig(msgspec.Struct, frozen=True):
    """A stream that exists for as long as the driver runs."""

    stream_id: int
    profile: str


class DriverTable(msgspec.Struct, frozen=True, kw_only=True):
    """`[driver]`: identity, transport endpoints and the ids handed out.

    `aeron_dir` "" is the transport library's default directory; with `http_address` and
    `http_socket` "" there is no HTTP server.
    """

    instance_id: str = "driver-01"
    aeron_dir: str = ""
    media_driver: str = "auto"
    http_address: str = ""
    http_socket: str = ""
    http_images: bool = True
    control_channel: str = DEFAULT_CHANNEL
    control_stream_id: int = 1000
    announce_channel: str = ""
    announce_stream_id: int = 0
    qos_channel: str = DEFAULT_CHANNEL
    qos_stream_id: int = 1200
    metadata_channel: str = ""
    metadata_stream_id: int = 1300
    stream_id_range: IdRange | None = None
    descriptor_stream_id_range: IdRange | None = IdRange(2_000_000_000, 2_000_099_999)
    control_stream_id_range: IdRange | None = None
    fragment_limit: int = 10

    def __post_init__(self) -> None:
        if not self.announce_channel:
            msgspec.structs.force_setattr(self, "announce_channel", self.control_channel)
        if not self.announce_stream_id:
            msgspec.structs.force_setattr(self, "announce_stream_id", self.control_stream_id)
        if not self.metadata_channel:
            msgspec.structs.force_setattr(self, "metadata_channel", self.control_channel)
        for name in ("stream_id_range", "descriptor_stream_id_range", "control_stream_id_range"):
            given = getattr(self, name)
            if given is not None and not isinstance(given, IdRange):
                raise TypeError(f"{name}: {given!r} must be an IdRange, such as IdRange(1, 9)")


class DiscoveryTable(msgspec.Struct, frozen=True, kw_only=True):
    """`[discovery]`: answers to clients that ask which streams there are."""

    enabled: bool = True
    stream_id: int | None = None
    max_results: int = 1000
    max_endpoints: int = 16


class ShmTable(msgspec.Struct, frozen=True, kw_only=True):
    """`[shm]`: where region files live and who may open them."""

    base_dir: str = "/dev/shm/tensorpool"
    namespace: str = "default"
    require_hugepages: bool = False
    page_size_bytes: int = 4096
    permissions_mode: str = "660"
    allowed_base_dirs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.allowed_base_dirs:
            msgspec.structs.force_setattr(self, "allowed_base_dirs", (self.base_dir,))

    @property
    def file_mode(self) -> int:
        """Mode bits of region files."""
        return int(self.permissions_mode, 8)

    @property
    def directory_mode(self) -> int:
        """Mode bits of directories: the files' plus execute wherever read is set (D-115)."""
        return self.file_mode | (self.file_mode & 0o444) >> 2


class PoliciesTable(msgspec.Struct, frozen=True, kw_only=True):
    """`[policies]`: what the driver grants, keeps and gives up on, and when."""

    allow_dynamic_streams: bool = False
    default_profile: str = ""
    announce_period_ms: int = 1000
    lease_keepalive_interval_ms: int = 1000
    lease_expiry_grace_intervals: int = 3
    max_leases: int = 0
    node_id_reuse_cooldown_ms: int = 1000
    prefault_shm: bool = True
    mlock_shm: bool = False
    reuse_existing_shm: bool = False
    delete_shm_on_startup: bool = False
    cleanup_shm_on_exit: bool = False
    provision_on_startup: bool = False
    epoch_gc_enabled: bool = True
    epoch_gc_keep: int = 2
    epoch_gc_min_age_ns: int = 0
    epoch_gc_on_startup: bool = False
    shutdown_timeout_ms: int = 2000
    shutdown_token: str = ""
    outbox_limit: int = 1024
    response_ttl_ms: int = 5000

    def __post_init__(self) -> None:
        if not self.epoch_gc_min_age_ns:
            three_periods_ns = 3 * self.announce_period_ms * 1_000_000
            msgspec.structs.force_setattr(self, "epoch_gc_min_age_ns", three_periods_ns)

    @property
    def lease_duration_ns(self) -> int:
        """Lifetime of a lease in ns, from its grant or last keepalive (D-082)."""
        return self.lease_keepalive_interval_ms * self.lease_expiry_grace_intervals * 1_000_000

    def __repr__(self) -> str:
        # The shutdown token is never shown (D-140), and a record ends up in logs sooner or later.
        shown = {
            name: getattr(self, name) for name in self.__struct_fields__ if name != "shutdown_token"
        }
        return f"PoliciesTable({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class DriverConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration of a driver.

    >>> config = DriverConfig(
    ...     profiles={"camera": Profile(payload_pools=(Pool(pool_id=1, stride_bytes=1 << 20),))},
    ...     streams={"left": StreamConfig(stream_id=10000, profile="camera")},
    ... )
    >>> config.policies.default_profile
    'camera'
    """

    driver: DriverTable = DriverTable()
    shm: ShmTable = ShmTable()
    policies: PoliciesTable = PoliciesTable()
    discovery: DiscoveryTable = DiscoveryTable()
    profiles: dict[str, Profile] = {}
    streams: dict[str, StreamConfig] = {}

    def __post_init__(self) -> None:
        if not self.policies.default_profile and self.profiles:
            first = next(iter(self.profiles))
            policies = msgspec.structs.replace(self.policies, default_profile=first)
            msgspec.structs.force_setattr(self, "policies", policies)
