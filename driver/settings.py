"""Every key of `[driver]`, `[shm]` and `[policies]`, once: type, rule, environment name, meaning.

The order is that in which problems are reported (D-181). Defaults are not repeated here: they are
the field defaults of the records in `config.py`; `derived` says where a default follows from
another key. The reference page is generated from this table.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

import msgspec

from .config import DriverTable, IdRange, PoliciesTable, ShmTable

__all__ = ["MAX_TRANSPORT_ID", "SETTINGS", "TABLES", "Setting", "is_loopback_host"]

MAX_TRANSPORT_ID = 2**31 - 1

TABLES: dict[str, type[msgspec.Struct]] = {
    "driver": DriverTable,
    "shm": ShmTable,
    "policies": PoliciesTable,
}

# A rule looks at one value of the right type and returns what is wrong with it, or None. Rules that
# need a second key or the file system are in config_check.py.
type Rule = Callable[[Any], str | None]


def _within(low: int, high: int) -> Rule:
    return lambda value: None if low <= value <= high else f"must be in {low}..{high}"


def _no_rule(_value: object) -> None:
    return None


def _instance_id(value: str) -> str | None:
    fits = 1 <= len(value) <= 128 and value.isascii() and value.isprintable()
    return None if fits else "must be 1-128 printable ASCII characters"


def _aeron_dir(value: str) -> str | None:
    fits = not value or (value.startswith("/") and "\0" not in value)
    return None if fits else "must be an absolute path"


def _media_driver(value: str) -> str | None:
    fits = value in ("auto", "embedded", "external")
    return None if fits else "must be auto, embedded or external"


def _http_address(value: str) -> str | None:
    if not value or _is_loopback(value):
        return None
    return "must be a loopback host:port"


def _is_loopback(address: str) -> bool:
    host, separator, port = address.rpartition(":")
    if not separator or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        return False
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    return bracketed == (":" in host) and is_loopback_host(host)


def is_loopback_host(host: str) -> bool:
    """Whether a host name or address, IPv6 without brackets, certainly means this machine.

    >>> is_loopback_host("127.0.0.1"), is_loopback_host("127.0.0.1.example.org")
    (True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _channel(value: str) -> str | None:
    return None if value.startswith("aeron:") else "must be an Aeron channel"


def _namespace(value: str) -> str | None:
    if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value) and value not in (".", ".."):
        return None
    return "must be 1-64 characters of A-Z a-z 0-9 . _ -"


def _page_size(value: int) -> str | None:
    fits = value >= 4096 and value.bit_count() == 1
    return None if fits else "must be a power of two >= 4096"


def _permissions_mode(value: str) -> str | None:
    # Only read and write bits, the owner's both set; a leading digit is for special bits, so 0.
    if re.fullmatch(r"0?6[0246][0246]", value):
        return None
    return "must be an octal mode with owner read/write and no execute or special bits"


def _absolute_paths(value: tuple[str, ...]) -> str | None:
    fits = all(path.startswith("/") and "\0" not in path for path in value)
    return None if fits else "must be absolute paths"


def _at_least_one(value: int) -> str | None:
    return None if value >= 1 else "must be >= 1"


def _token(value: str) -> str | None:
    fits = value.isascii() and len(value) <= 1024
    return None if fits else "must be at most 1024 ASCII bytes"


def _id_range(value: IdRange | None) -> str | None:
    if value is None:
        return None
    if value.start > value.end:
        return "start must be <= end"
    if value.start < 1 or value.end > MAX_TRANSPORT_ID:
        return f"must be in 1..{MAX_TRANSPORT_ID}"
    return None


_port = _within(1, MAX_TRANSPORT_ID)
_period_ms = _within(10, 3_600_000)
_pause_ms = _within(0, 3_600_000)


class Setting(msgspec.Struct, frozen=True):
    """One key."""

    key: str
    type: str  # str, u32, u64, bool, range or list: the word that an `expected …` problem uses
    doc: str
    rule: Rule = _no_rule
    derived: str = ""  # where the default comes from, when it is not a constant
    aliases: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """The TOML table the key is in."""
        return self.key.partition(".")[0]

    @property
    def name(self) -> str:
        """The key within its table, which is the attribute of the table's record too."""
        return self.key.partition(".")[2]

    @property
    def environment(self) -> str:
        """Name of the environment variable (D-180)."""
        return self.key.upper().replace(".", "_")

    @property
    def default(self) -> object:
        """Default of the record's field; of a derived default, the value that stands for it."""
        for field in msgspec.structs.fields(TABLES[self.table]):
            if field.name == self.name:
                return field.default
        raise KeyError(self.key)


SETTINGS: tuple[Setting, ...] = (
    Setting("driver.instance_id", "str", "Name of this driver in logs and status.", _instance_id),
    Setting(
        "driver.aeron_dir",
        "str",
        "Directory of the Aeron media driver.",
        _aeron_dir,
        derived="the Aeron library's default",
        aliases=("AERON_DIR",),
    ),
    Setting(
        "driver.media_driver",
        "str",
        "`auto` uses the media driver found active in `driver.aeron_dir`, else runs one there; "
        "`embedded` always runs one; `external` insists on an active one.",
        _media_driver,
    ),
    Setting(
        "driver.http_address",
        "str",
        "Loopback `host:port` of the metrics and status pages; empty is off, port 0 any free one.",
        _http_address,
    ),
    Setting(
        "driver.control_channel",
        "str",
        "Aeron channel of requests and responses.",
        _channel,
        aliases=("TP_CONTROL_CHANNEL",),
    ),
    Setting(
        "driver.control_stream_id",
        "u32",
        "Aeron stream id of requests and responses.",
        _port,
        aliases=("TP_CONTROL_STREAM_ID",),
    ),
    Setting(
        "driver.announce_channel",
        "str",
        "Aeron channel of pool announces.",
        _channel,
        derived="`driver.control_channel`",
    ),
    Setting(
        "driver.announce_stream_id",
        "u32",
        "Aeron stream id of pool announces.",
        _port,
        derived="`driver.control_stream_id`",
    ),
    Setting(
        "driver.qos_channel",
        "str",
        "Aeron channel of QoS messages; reserved for tools, the driver sends none.",
        _channel,
    ),
    Setting("driver.qos_stream_id", "u32", "Aeron stream id of QoS messages.", _port),
    Setting(
        "driver.stream_id_range",
        "range",
        "Ids for streams made on request (`policies.allow_dynamic_streams`).",
        _id_range,
    ),
    Setting(
        "driver.descriptor_stream_id_range",
        "range",
        "Aeron stream ids for per-consumer descriptor streams.",
        _id_range,
    ),
    Setting(
        "driver.control_stream_id_range",
        "range",
        "Aeron stream ids for per-consumer control streams.",
        _id_range,
    ),
    Setting(
        "driver.fragment_limit",
        "u32",
        "Most messages taken from the control stream in one duty cycle.",
        _within(1, 1000),
    ),
    Setting("shm.base_dir", "str", "Directory below which all region files are made."),
    Setting(
        "shm.namespace",
        "str",
        "Keeps the files of several drivers of one user apart.",
        _namespace,
    ),
    Setting("shm.require_hugepages", "bool", "Start only if `shm.base_dir` is on hugetlbfs."),
    Setting(
        "shm.page_size_bytes",
        "u32",
        "Page size to expect of `shm.base_dir`; the default fits any file system.",
        _page_size,
    ),
    Setting(
        "shm.permissions_mode",
        "str",
        "Mode of region files; directories get execute where read is set.",
        _permissions_mode,
    ),
    Setting(
        "shm.allowed_base_dirs",
        "list",
        "Directories that region files may lie in; separated by `:` in the environment.",
        _absolute_paths,
        derived="`[shm.base_dir]`",
    ),
    Setting(
        "policies.allow_dynamic_streams",
        "bool",
        "Make streams on request, with the default profile.",
    ),
    Setting(
        "policies.default_profile",
        "str",
        "Profile of streams made on request.",
        derived="the first profile in the file",
    ),
    Setting(
        "policies.announce_period_ms",
        "u32",
        "Time between two announces of a stream.",
        _period_ms,
    ),
    Setting(
        "policies.lease_keepalive_interval_ms",
        "u32",
        "How often clients are to keep a lease alive, and how often expiry is checked.",
        _period_ms,
    ),
    Setting(
        "policies.lease_expiry_grace_intervals",
        "u32",
        "Keepalive intervals after which a silent client's lease ends.",
        _within(1, 1000),
    ),
    Setting("policies.max_leases", "u32", "Most leases at a time; 0 is no limit."),
    Setting(
        "policies.node_id_reuse_cooldown_ms",
        "u32",
        "Time before a released node id goes to another client.",
        _pause_ms,
    ),
    Setting(
        "policies.prefault_shm",
        "bool",
        "Touch every page of a new region, so that the first frames are not slower and lack of "
        "space shows at once.",
    ),
    Setting("policies.mlock_shm", "bool", "Lock regions in memory; failing to is an error."),
    Setting(
        "policies.reuse_existing_shm",
        "bool",
        "Keep the contents of a region file that already stands where one is to be made.",
    ),
    Setting(
        "policies.delete_shm_on_startup",
        "bool",
        "Remove every epoch of the namespace at the start.",
    ),
    Setting(
        "policies.cleanup_shm_on_exit",
        "bool",
        "Remove the files of this run when it stops.",
    ),
    Setting(
        "policies.provision_on_startup",
        "bool",
        "Provision every configured stream at the start instead of at the first attach.",
    ),
    Setting("policies.epoch_gc_enabled", "bool", "Remove epochs that are no longer used."),
    Setting(
        "policies.epoch_gc_keep",
        "u32",
        "Newest epochs of a stream that are never removed, the current one included.",
        _at_least_one,
    ),
    Setting(
        "policies.epoch_gc_min_age_ns",
        "u64",
        "Time without activity before an epoch is removed; 0 is the default.",
        derived="3 × `policies.announce_period_ms`",
    ),
    Setting("policies.epoch_gc_on_startup", "bool", "Collect old epochs at the start."),
    Setting(
        "policies.shutdown_timeout_ms",
        "u32",
        "Longest wait for clients to detach when the driver stops.",
        _pause_ms,
    ),
    Setting(
        "policies.shutdown_token",
        "str",
        "Secret that lets a client stop the driver by a message; empty is never. It is not shown.",
        _token,
    ),
    Setting(
        "policies.outbox_limit",
        "u32",
        "Messages that may wait for a slow transport before requests are shed.",
        _within(16, 65536),
    ),
    Setting(
        "policies.response_ttl_ms",
        "u32",
        "How long a response may wait for a slow transport.",
        _within(100, 600_000),
    ),
)
