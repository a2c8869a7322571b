"""Every key of `[driver]`, `[shm]` and `[policies]`, once: type, rule, environment name, meaning.

The order is that in which problems are reported (D-181). Defaults are not repeated here: they are
the field defaults of the records in `core/configuration.py`. `derived` describes a default that
follows from another key. The reference page is generated from this table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from ..core.configuration import (
    AUTOMATIC_ADDRESS,
    DiscoveryTable,
    DriverTable,
    PoliciesTable,
    ShmTable,
)

__all__ = [
    "MAX_TRANSPORT_ID",
    "SETTINGS",
    "SETTING_BY_KEY",
    "TABLES",
    "Setting",
    "is_loopback_host",
]

MAX_TRANSPORT_ID = 2**31 - 1

TABLES: dict[str, type[msgspec.Struct]] = {
    "driver": DriverTable,
    "shm": ShmTable,
    "policies": PoliciesTable,
    "discovery": DiscoveryTable,
}


class Rule(msgspec.Struct, frozen=True):
    """A condition for values of the right type, and the text of its violation.

    Rules that need a second key or the file system are in `check.py`.
    """

    text: str
    holds: Callable[[Any], bool]


def is_loopback_host(host: str) -> bool:
    """Return whether a host name or address, IPv6 without brackets, certainly means this machine.

    >>> is_loopback_host("127.0.0.1"), is_loopback_host("127.0.0.1.example.org")
    (True, False)
    """
    if host == "localhost":
        return True
    import ipaddress  # only where the pages are used; it takes 10 ms of the start

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_loopback_address(address: str) -> bool:
    host, separator, port = address.rpartition(":")
    if not separator or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        return False
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    return bracketed == (":" in host) and is_loopback_host(host)


def _is_absolute(path: str) -> bool:
    return path.startswith("/") and "\0" not in path


def _within(low: int, high: int) -> Rule:
    return Rule(f"must be in {low}..{high}", lambda value: low <= value <= high)


_PORT = _within(1, MAX_TRANSPORT_ID)
_PERIOD_MS = _within(10, 3_600_000)
_PAUSE_MS = _within(0, 3_600_000)
_CHANNEL = Rule("must be an Aeron channel", lambda value: value.startswith("aeron:"))
_INSTANCE_ID = Rule(
    "must be 1-128 printable ASCII characters",
    lambda value: 1 <= len(value) <= 128 and value.isascii() and value.isprintable(),
)
_AERON_DIR = Rule("must be an absolute path", lambda value: not value or _is_absolute(value))
_MEDIA_DRIVER = Rule(
    "must be auto, embedded or external",
    lambda value: value in ("auto", "embedded", "external"),
)
_HTTP_ADDRESS = Rule(
    "must be a loopback host:port",
    lambda value: value in ("", AUTOMATIC_ADDRESS) or _is_loopback_address(value),
)
_HTTP_SOCKET = Rule(
    "must be an absolute path of at most 107 bytes",
    lambda value: not value or (_is_absolute(value) and len(value.encode()) <= 107),
)
_NAMESPACE = Rule(
    "must be 1-64 characters of A-Z a-z 0-9 . _ -",
    lambda value: (
        value not in (".", "..") and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value) is not None
    ),
)
_PAGE_SIZE = Rule(
    "must be a power of two >= 4096", lambda value: value >= 4096 and value.bit_count() == 1
)
_PERMISSIONS_MODE = Rule(
    "must be an octal mode with owner read/write, no write for others, no execute or special bits",
    # A fourth digit would hold the special bits, so it can only be 0.
    lambda value: re.fullmatch(r"0?6[0246][04]", value) is not None,
)
_ABSOLUTE_PATHS = Rule("must be absolute paths", lambda value: all(map(_is_absolute, value)))
_AT_LEAST_ONE = Rule("must be >= 1", lambda value: value >= 1)
_TOKEN = Rule(
    "must be at most 1024 ASCII bytes", lambda value: value.isascii() and len(value) <= 1024
)


class Setting(msgspec.Struct, frozen=True):
    """One key."""

    key: str
    type: str  # str, u32, u64, bool, range or list: the word that an `expected …` problem uses
    doc: str
    rule: Rule | None = None
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
    Setting("driver.instance_id", "str", "Name of this driver in logs and status.", _INSTANCE_ID),
    Setting(
        "driver.aeron_dir",
        "str",
        "Directory of the Aeron media driver.",
        _AERON_DIR,
        derived="the Aeron library's default",
        aliases=("AERON_DIR",),
    ),
    Setting(
        "driver.media_driver",
        "str",
        "`auto` uses the media driver found active in `driver.aeron_dir`, else runs one there; "
        "`embedded` always runs one; `external` insists on an active one.",
        _MEDIA_DRIVER,
    ),
    Setting(
        "driver.http_address",
        "str",
        "Loopback `host:port` of the web page, metrics and status; empty is off, port 0 any free "
        "one. `auto` is 127.0.0.1:9464, or any free port if that is taken, and off without the "
        "extra `http`.",
        _HTTP_ADDRESS,
    ),
    Setting(
        "driver.http_socket",
        "str",
        "Path of a Unix socket for the same pages, which has mode 0600: only the driver's user can "
        "connect to it. Empty is off.",
        _HTTP_SOCKET,
    ),
    Setting(
        "driver.http_images",
        "bool",
        "Show the newest frames on the web page, to the driver's own user, while it is open.",
    ),
    Setting(
        "driver.control_channel",
        "str",
        "Aeron channel of requests and responses.",
        _CHANNEL,
        aliases=("TP_CONTROL_CHANNEL",),
    ),
    Setting(
        "driver.control_stream_id",
        "u32",
        "Aeron stream id of requests and responses.",
        _PORT,
        aliases=("TP_CONTROL_STREAM_ID",),
    ),
    Setting(
        "driver.announce_channel",
        "str",
        "Aeron channel of pool announces.",
        _CHANNEL,
        derived="`driver.control_channel`",
    ),
    Setting(
        "driver.announce_stream_id",
        "u32",
        "Aeron stream id of pool announces.",
        _PORT,
        derived="`driver.control_stream_id`",
    ),
    Setting(
        "driver.qos_channel",
        "str",
        "Aeron channel of QoS messages; reserved for tools, the driver sends none.",
        _CHANNEL,
    ),
    Setting("driver.qos_stream_id", "u32", "Aeron stream id of QoS messages.", _PORT),
    Setting(
        "driver.metadata_channel",
        "str",
        "Aeron channel of metadata, from which the driver learns the names of streams and clients.",
        _CHANNEL,
        derived="`driver.control_channel`",
    ),
    Setting("driver.metadata_stream_id", "u32", "Aeron stream id of metadata.", _PORT),
    Setting(
        "driver.stream_id_range",
        "range",
        "Ids for streams made on request (`policies.allow_dynamic_streams`).",
    ),
    Setting(
        "driver.descriptor_stream_id_range",
        "range",
        "Aeron stream ids for descriptors: one a tensor stream, one a consumer that asks for it.",
    ),
    Setting(
        "driver.control_stream_id_range",
        "range",
        "Aeron stream ids for per-consumer control streams.",
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
        _NAMESPACE,
    ),
    Setting("shm.require_hugepages", "bool", "Start only if `shm.base_dir` is on hugetlbfs."),
    Setting(
        "shm.page_size_bytes",
        "u32",
        "Page size to expect of `shm.base_dir`; the default fits any file system.",
        _PAGE_SIZE,
    ),
    Setting(
        "shm.permissions_mode",
        "str",
        "Mode of region files; directories get execute where read is set.",
        _PERMISSIONS_MODE,
    ),
    Setting(
        "shm.allowed_base_dirs",
        "list",
        "Directories that region files may lie in; separated by `:` in the environment.",
        _ABSOLUTE_PATHS,
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
        _PERIOD_MS,
    ),
    Setting(
        "policies.lease_keepalive_interval_ms",
        "u32",
        "How often clients are to keep a lease alive, and how often expiry is checked.",
        _PERIOD_MS,
    ),
    Setting(
        "policies.lease_expiry_grace_intervals",
        "u32",
        "Keepalive intervals after which a silent client's lease ends.",
        _within(1, 1000),
    ),
    Setting("policies.max_leases", "u32", "Most leases at a time; 0 for any number."),
    Setting(
        "policies.node_id_reuse_cooldown_ms",
        "u32",
        "Time before a released node id goes to another client.",
        _PAUSE_MS,
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
        _AT_LEAST_ONE,
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
        _PAUSE_MS,
    ),
    Setting(
        "policies.shutdown_token",
        "str",
        "Secret that lets a client stop the driver by a message; empty is never. It is not shown.",
        _TOKEN,
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
    Setting(
        "discovery.enabled",
        "bool",
        "Answer clients that ask which streams there are.",
    ),
    Setting(
        "discovery.stream_id",
        "u32",
        "Another stream of the control channel on which such questions are taken; tools of the "
        "reference use 7000.",
        _PORT,
        derived="none",
    ),
    Setting(
        "discovery.max_results",
        "u32",
        "Most streams in one answer.",
        _within(1, 65534),
    ),
    Setting(
        "discovery.max_endpoints",
        "u32",
        "Most endpoints besides the control stream that answers are sent to; 0 is none.",
        _within(0, 256),
    ),
)

SETTING_BY_KEY = {setting.key: setting for setting in SETTINGS}
