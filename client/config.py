"""The configuration of a client, with every default in one place (C-002, C-004).

Times are seconds as people write them (`attach_timeout=5.0`); the library counts in nanoseconds and
reads them through `ns()`. Nothing here comes from the environment or from a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import msgspec

from tensor_pool.protocol.errors import ConfigError
from tensor_pool.protocol.wire import HugepagesPolicy

__all__ = ["DEFAULT_CHANNEL", "ClientConfig", "ClientSettings", "NoBaseDirError", "ns"]

DEFAULT_CHANNEL = "aeron:ipc?term-length=4m"
_MAX_TRANSPORT_STREAM_ID = 0x7FFFFFFF
_PRODUCER_TIMEOUT_S = 5.0


def ns(seconds: float) -> int:
    """Seconds as whole nanoseconds."""
    return round(seconds * 1_000_000_000)


class NoBaseDirError(ConfigError):
    """A base directory does not exist: its name is wrong, or its driver has not started yet."""


class ClientConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a Client needs to know; raises ConfigError for what cannot work.

    Empty channels and zero announce stream stand for "as control". Fields left at None follow from
    `announce_period`.

    >>> ClientConfig(announce_period=2.0, allowed_base_dirs=("/dev/shm",)).announce_freshness
    6.0
    """

    client_name: str = ""  # "": the name of the program
    aeron_dir: str | None = None  # None: the Aeron library's default directory
    media_driver_timeout: float = 10.0  # silence of the media driver after which it counts as lost
    control_channel: str = DEFAULT_CHANNEL
    control_stream_id: int = 1000
    announce_channel: str = ""
    announce_stream_id: int = 0
    descriptor_channel: str = ""
    descriptor_stream_id: int = 1100
    qos_channel: str = ""
    qos_stream_id: int = 1200
    metadata_channel: str = ""
    metadata_stream_id: int = 1300
    allowed_base_dirs: tuple[str, ...] = ("/dev/shm/tensorpool",)
    expected_layout_version: int = 1  # 0: no expectation
    hugepages: HugepagesPolicy = HugepagesPolicy.UNSPECIFIED
    attach_timeout: float | None = None  # None: producers 5 s, consumers wait for their stream
    response_timeout: float = 1.0
    backoff_base: float = 0.1
    backoff_max: float = 3.2
    retry_refused: bool = True
    auto_reattach: bool = True
    reattach_after_shutdown: float = 1.0
    keepalive_interval: float = 1.0
    detach_timeout: float = 1.0
    detach_attempts: int = 3
    announce_period: float = 1.0  # must match the driver's
    announce_freshness: float | None = None  # 3 announce periods
    announce_wait: float | None = None  # 3 announce periods
    driver_liveness_timeout: float | None = None  # 5 announce periods
    hello_interval: float = 1.0
    qos_interval: float = 1.0
    max_outstanding_seq_gap: int = 256  # 0: no limit
    max_loans: int = 8
    progress_interval_us: int = 250  # floors of W-182
    progress_bytes: int = 65536
    progress_units: int = 0
    mlock: bool = False
    fragment_limit: int = 10

    def __post_init__(self) -> None:
        fill = msgspec.structs.force_setattr
        for name in ("announce_channel", "descriptor_channel", "qos_channel", "metadata_channel"):
            if not getattr(self, name):
                fill(self, name, self.control_channel)
        if not self.announce_stream_id:
            fill(self, "announce_stream_id", self.control_stream_id)
        for name, periods in (
            ("announce_freshness", 3),
            ("announce_wait", 3),
            ("driver_liveness_timeout", 5),
        ):
            if getattr(self, name) is None:
                fill(self, name, periods * self.announce_period)
        fill(self, "allowed_base_dirs", tuple(map(str, self.allowed_base_dirs)))
        self._check_endpoints()
        self._check_times()
        self._check_limits()

    @property
    def announce_freshness_ns(self) -> int:
        """Largest age of an announce or activity stamp that counts, in ns."""
        return ns(_given(self.announce_freshness))

    @property
    def announce_wait_ns(self) -> int:
        """Longest wait of a consumer for an announce before it attaches anew, in ns."""
        return ns(_given(self.announce_wait))

    @property
    def driver_liveness_timeout_ns(self) -> int:
        """Silence of the driver after which it counts as lost, in ns."""
        return ns(_given(self.driver_liveness_timeout))

    @property
    def shortest_period(self) -> float:
        """The shortest time in s between two things that the conductor does again and again."""
        return min(
            self.keepalive_interval, self.hello_interval, self.qos_interval, self.announce_period
        )

    @property
    def descriptors_travel_alone(self) -> bool:
        """True if no other logical stream is configured onto the descriptors' number."""
        others = ("control", "announce", "qos", "metadata")
        return self.descriptor_stream_id not in {getattr(self, f"{o}_stream_id") for o in others}

    def check_base_dirs(self) -> None:
        """Raise NoBaseDirError unless every allowed base directory exists now (W-031)."""
        for directory in self.allowed_base_dirs:
            if not Path(directory).is_dir():
                raise NoBaseDirError(
                    f"allowed_base_dirs: {directory!r} does not exist; the driver creates its base"
                    " directory when it starts, so start `tensor-pool driver` first or name the"
                    " directory it was given"
                )

    def _check_endpoints(self) -> None:
        if self.aeron_dir is not None:
            _require(
                self.aeron_dir.startswith("/"),
                f"aeron_dir: {self.aeron_dir!r} must be an absolute path",
            )
        for name in ("control", "announce", "descriptor", "qos", "metadata"):
            stream_id = getattr(self, f"{name}_stream_id")
            _require(
                1 <= stream_id <= _MAX_TRANSPORT_STREAM_ID,
                f"{name}_stream_id: {stream_id} must be in 1..{_MAX_TRANSPORT_STREAM_ID}",
            )
        _require(
            bool(self.allowed_base_dirs), "allowed_base_dirs: must name at least one directory"
        )
        for directory in self.allowed_base_dirs:
            _require(
                directory.startswith("/"),
                f"allowed_base_dirs: {directory!r} must be an absolute path",
            )

    @property
    def producer_attach_timeout(self) -> float:
        """The time for a producer's attach in s: 5 unless `attach_timeout` is given."""
        return _PRODUCER_TIMEOUT_S if self.attach_timeout is None else self.attach_timeout

    def _check_times(self) -> None:
        for name in (
            "media_driver_timeout",
            "producer_attach_timeout",
            "response_timeout",
            "backoff_base",
            "keepalive_interval",
            "detach_timeout",
            "announce_period",
            "announce_freshness",
            "announce_wait",
            "hello_interval",
            "qos_interval",
        ):
            value = getattr(self, name)
            _require(value > 0, f"{name.removeprefix('producer_')}: {value} s must be above 0")
        _require(
            self.response_timeout <= self.producer_attach_timeout,
            f"response_timeout: {self.response_timeout} s must not exceed attach_timeout"
            f" ({self.producer_attach_timeout} s)",
        )
        _require(
            self.backoff_base <= self.backoff_max,
            f"backoff_max: {self.backoff_max} s must be at least backoff_base"
            f" ({self.backoff_base} s)",
        )
        _require(
            self.reattach_after_shutdown >= 0,
            f"reattach_after_shutdown: {self.reattach_after_shutdown} s must be 0 or more",
        )
        _require(
            _given(self.driver_liveness_timeout) >= _given(self.announce_freshness),
            f"driver_liveness_timeout: {self.driver_liveness_timeout} s must be at least"
            f" announce_freshness ({self.announce_freshness} s)",
        )

    def _check_limits(self) -> None:
        _require(
            self.expected_layout_version in (0, 1),
            f"expected_layout_version: {self.expected_layout_version} must be 0 or 1",
        )
        for name, low, high in (
            ("detach_attempts", 1, 1000),
            ("max_loans", 1, 1 << 31),
            ("fragment_limit", 1, 1000),
            ("max_outstanding_seq_gap", 0, (1 << 63) - 1),
            ("progress_interval_us", 0, 0xFFFFFFFE),
            ("progress_bytes", 0, 0xFFFFFFFE),
            ("progress_units", 0, 0xFFFFFFFE),
        ):
            value = getattr(self, name)
            _require(low <= value <= high, f"{name}: {value} must be in {low}..{high}")


class ClientSettings(TypedDict, total=False):
    """The fields of ClientConfig as keyword arguments of `connect()`."""

    client_name: str
    aeron_dir: str | None
    media_driver_timeout: float
    control_channel: str
    control_stream_id: int
    announce_channel: str
    announce_stream_id: int
    descriptor_channel: str
    descriptor_stream_id: int
    qos_channel: str
    qos_stream_id: int
    metadata_channel: str
    metadata_stream_id: int
    allowed_base_dirs: tuple[str, ...]
    expected_layout_version: int
    hugepages: HugepagesPolicy
    attach_timeout: float | None
    response_timeout: float
    backoff_base: float
    backoff_max: float
    retry_refused: bool
    auto_reattach: bool
    reattach_after_shutdown: float
    keepalive_interval: float
    detach_timeout: float
    detach_attempts: int
    announce_period: float
    announce_freshness: float | None
    announce_wait: float | None
    driver_liveness_timeout: float | None
    hello_interval: float
    qos_interval: float
    max_outstanding_seq_gap: int
    max_loans: int
    progress_interval_us: int
    progress_bytes: int
    progress_units: int
    mlock: bool
    fragment_limit: int


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise ConfigError(text)


def _given(value: float | None) -> float:
    assert value is not None  # filled in by __post_init__
    return value
