"""The description of a source: name, summary and attributes (W-190 to W-195).

The producer's `Metadata` counts versions and keeps what still has to be sent; the consumer's
`MetadataCache` puts announce and attributes, which are separate messages, together again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

import msgspec

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.wire import Attribute, DataSourceAnnounce, DataSourceMeta

__all__ = [
    "AttributeValue",
    "Metadata",
    "MetadataCache",
    "MetadataValue",
    "SourceMetadata",
]

type MetadataValue = str | int | bytes | tuple[str, str | int | bytes]

_MAX_VERSION = (1 << 32) - 2


class AttributeValue(msgspec.Struct, frozen=True):
    """One attribute: its media type and its bytes."""

    format: str
    value: bytes

    @property
    def text(self) -> str:
        """The value as text."""
        return self.value.decode(errors="replace")


class SourceMetadata(msgspec.Struct, frozen=True):
    """A source as its producer describes it.

    `attributes` is None while those of this version are not known (W-193).
    """

    version: int
    name: str
    summary: str
    attributes: dict[str, AttributeValue] | None


class Metadata:
    """A producer's metadata; changes may come from any thread, sending is the conductor's."""

    def __init__(self, clock: Clock, on_change: Callable[[int], None]) -> None:
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        self._name = ""
        self._summary = ""
        self._attributes: dict[str, AttributeValue] = {}
        self._changed_ns = 0
        self.version = 0

    @property
    def attributes(self) -> dict[str, AttributeValue]:
        """A copy of the attributes."""
        with self._lock:
            return dict(self._attributes)

    def set(
        self,
        name: str,
        summary: str,
        attributes: Mapping[str, MetadataValue],
        *,
        version: int | None = None,
    ) -> None:
        """Replace everything; ValueError for a `version` below the current one."""
        values = {key: _typed(value) for key, value in attributes.items()}
        with self._lock:
            if version is not None and not max(self.version, 1) <= version <= _MAX_VERSION:
                raise ValueError(
                    f"metadata version {version} must be in {max(self.version, 1)}..{_MAX_VERSION}"
                )
            self._name = name
            self._summary = summary
            self._attributes = values
            self._raise_version(version)

    def set_attribute(self, key: str, format_: str, value: str | int | bytes) -> None:
        """Set or replace one attribute."""
        attribute = AttributeValue(format_, _as_bytes(value))
        with self._lock:
            self._attributes[key] = attribute
            self._raise_version()

    def replace_attributes(
        self, keys: Iterable[str], attributes: Mapping[str, MetadataValue]
    ) -> None:
        """Remove `keys` and set `attributes` as one change; the same values are not a change."""
        values = {key: _typed(value) for key, value in attributes.items()}
        removed = set(keys)
        with self._lock:
            kept = {key: v for key, v in self._attributes.items() if key not in removed}
            if {**kept, **values} != self._attributes:
                self._attributes = {**kept, **values}
                self._raise_version()

    def delete_attribute(self, key: str) -> None:
        """Remove one attribute; KeyError if there is none of that name."""
        with self._lock:
            del self._attributes[key]
            self._raise_version()

    def messages(
        self, stream_id: int, producer_id: int, epoch: int
    ) -> tuple[DataSourceAnnounce, DataSourceMeta]:
        """The two messages of the current version, in the order they are sent (W-191)."""
        with self._lock:
            announce = DataSourceAnnounce(
                stream_id=stream_id,
                producer_id=producer_id,
                epoch=epoch,
                meta_version=self.version,
                name=self._name,
                summary=self._summary,
            )
            meta = DataSourceMeta(
                stream_id=stream_id,
                meta_version=self.version,
                timestamp_ns=self._changed_ns,
                attributes=tuple(
                    Attribute(key=key, format=a.format, value=a.value)
                    for key, a in self._attributes.items()
                ),
            )
        return announce, meta

    def _raise_version(self, version: int | None = None) -> None:
        if version is None and self.version >= _MAX_VERSION:
            raise OverflowError("the metadata was changed too often for its version to be counted")
        self.version = self.version + 1 if version is None else version
        self._changed_ns = self._clock.monotonic_ns()
        self._on_change(self.version)


def _typed(value: MetadataValue) -> AttributeValue:
    if isinstance(value, tuple):
        return AttributeValue(value[0], _as_bytes(value[1]))
    default = "application/octet-stream" if isinstance(value, bytes) else "text/plain"
    return AttributeValue(default, _as_bytes(value))


def _as_bytes(value: str | int | bytes) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        return value.encode()
    if type(value) is int:
        return str(value).encode()
    raise ValueError(f"attribute value {value!r} must be str, int or bytes")


class MetadataCache:
    """The description of its source that a consumer has received.

    A cached list is only replaced as a whole, and never by an older version of the same epoch;
    after an announce of a new epoch, attributes count again once those of its version have come.
    A description ends with the epoch of its producer.
    """

    def __init__(self) -> None:
        self._oldest_epoch = 0
        self._announce: DataSourceAnnounce | None = None
        self._meta: DataSourceMeta | None = None
        self._meta_epoch = 0

    @property
    def announce(self) -> DataSourceAnnounce | None:
        """The newest announce, None before the first."""
        return self._announce

    @property
    def current(self) -> SourceMetadata | None:
        """The present description; None before the first announce."""
        announce = self._announce
        if announce is None:
            return None
        meta = self._meta
        attributes = None
        if (
            meta is not None
            and meta.meta_version == announce.meta_version
            and self._meta_epoch == announce.epoch
        ):
            attributes = {a.key: AttributeValue(a.format, a.value) for a in meta.attributes}
        return SourceMetadata(announce.meta_version, announce.name, announce.summary, attributes)

    @property
    def messages(self) -> tuple[DataSourceAnnounce | None, DataSourceMeta | None]:
        """The messages behind `current`, as they came."""
        return self._announce, self._meta

    def begin_epoch(self, epoch: int) -> None:
        """Frames of that epoch are read from now on; forget the sources of earlier ones."""
        self._oldest_epoch = epoch
        if self._announce is not None and self._announce.epoch < epoch:
            self._announce = self._meta = None

    def on_announce(self, announce: DataSourceAnnounce) -> bool:
        """Take an announce; True if anything changed."""
        known = self._announce
        if announce.epoch < self._oldest_epoch:
            return False
        if known is not None:
            if announce.epoch < known.epoch or announce == known:
                return False
            if announce.epoch == known.epoch and announce.meta_version < known.meta_version:
                return False
        self._announce = announce
        return True

    def on_meta(self, meta: DataSourceMeta) -> bool:
        """Take an attribute list; True if anything changed. Repeated keys refuse the list."""
        keys = [attribute.key for attribute in meta.attributes]
        if len(set(keys)) != len(keys):
            return False
        epoch = self._announce.epoch if self._announce is not None else 0
        known = self._meta
        if (
            known is not None
            and self._meta_epoch == epoch
            and (meta.meta_version < known.meta_version or meta == known)
        ):
            return False
        self._meta = meta
        self._meta_epoch = epoch
        return True
