"""StreamEntry: one stream that is known by listening (S-045).

**Known**: announces come; *Bare* until the metadata of the current epoch came, then *Described*.
**Stale**: no announce for three periods. **Gone**: none for three more.
"""

from __future__ import annotations

import enum
from typing import Protocol

from tensor_pool.hsm import ANY, HANDLED, ROOT, Machine, Outcome, State, on_event, on_initial
from tensor_pool.protocol.wire import DataSourceAnnounce, ShmPoolAnnounce
from tensor_pool.protocol.wire.names import is_name, parse_tags

from ..metadata import MetadataCache, SourceMetadata
from .stream_info import Seen, StreamInfo

__all__ = ["EntryEvent", "EntryPort", "StreamEntry"]


class EntryEvent(enum.StrEnum):
    """Events of StreamEntry; the comment is the argument."""

    ANNOUNCE = "Announce"  # ShmPoolAnnounce
    METADATA = "Metadata"  # DataSourceAnnounce
    SILENCE = "Silence"
    EXPIRY_DUE = "ExpiryDue"


class EntryPort(Protocol):
    """Effects of the machine."""

    def appeared(self, entry: StreamEntry) -> None: ...
    def changed(self, entry: StreamEntry) -> None: ...
    def vanished(self, entry: StreamEntry) -> None: ...
    def count(self, counter: str) -> None: ...


class StreamEntry(Machine):
    """The state of one stream; begins with its first announce."""

    def __init__(self, port: EntryPort, announce: ShmPoolAnnounce, now: int) -> None:
        self._port = port
        self.announce = announce
        self.heard_ns = now
        self.metadata = MetadataCache()
        self._described: SourceMetadata | None = None  # the last one, shown until a newer comes
        super().__init__()
        port.appeared(self)

    # -- states

    Known = State()
    Bare = State(parent=Known)
    Described = State(parent=Known)
    Stale = State()
    Gone = State()

    _first = on_initial(ROOT, target=Known)
    _known_first = on_initial(Known, target=Bare)

    # -- guards

    def _is_current(self, metadata: DataSourceAnnounce) -> bool:
        return metadata.epoch == self.announce.epoch

    def _differs(self, metadata: DataSourceAnnounce) -> bool:
        return self._is_current(metadata) and self.metadata.current != self._described

    def _is_newer(self, announce: ShmPoolAnnounce) -> bool:
        return announce.epoch > self.announce.epoch

    def _has_other_producer(self, announce: ShmPoolAnnounce) -> bool:
        mine = self.announce
        return announce.epoch == mine.epoch and announce.producer_id != mine.producer_id

    # -- Known

    @on_event(Bare, EntryEvent.METADATA, target=Described, guard=_is_current)
    def _describe(self, _: DataSourceAnnounce) -> None:
        self._described = self.metadata.current
        self._port.changed(self)

    @on_event(Bare, EntryEvent.METADATA)
    def _not_yet(self, _: DataSourceAnnounce) -> Outcome:
        return HANDLED

    @on_event(Described, EntryEvent.METADATA, guard=_differs)
    def _describe_again(self, metadata: DataSourceAnnounce) -> Outcome:
        self._describe(metadata)
        return HANDLED

    @on_event(Described, EntryEvent.METADATA)
    def _repeated(self, _: DataSourceAnnounce) -> Outcome:
        return HANDLED

    @on_event(Known, EntryEvent.ANNOUNCE, target=Bare, guard=_is_newer)
    def _begin_epoch(self, announce: ShmPoolAnnounce) -> None:
        self.announce = announce
        self._port.changed(self)

    @on_event(Known, EntryEvent.ANNOUNCE, guard=_has_other_producer)
    def _change_producer(self, announce: ShmPoolAnnounce) -> Outcome:
        self.announce = announce
        self._port.changed(self)
        return HANDLED

    @on_event(Known, EntryEvent.ANNOUNCE)
    def _refresh(self, _: ShmPoolAnnounce) -> Outcome:
        return HANDLED

    _fall_silent = on_event(Known, EntryEvent.SILENCE, target=Stale)

    # -- Stale

    @on_event(Stale, EntryEvent.ANNOUNCE, target=Known)
    def _return(self, announce: ShmPoolAnnounce) -> None:
        self.announce = announce

    @on_event(Stale, EntryEvent.EXPIRY_DUE, target=Gone)
    def _expire(self, _: object) -> None:
        self._port.vanished(self)

    # -- Gone

    @on_event(Gone, ANY)
    def _ignore(self, _: object, event: object) -> Outcome:
        return HANDLED

    @on_event(ROOT, ANY)
    def _unhandled(self, _: object, event: object) -> Outcome:
        self._port.count("entry_unhandled")
        return HANDLED

    # -- to read

    @property
    def info(self) -> StreamInfo:
        """The stream as it is known now."""
        announce = self.announce
        described = self._described
        attributes = dict(described.attributes or {}) if described is not None else {}
        tags = attributes.get("tags")
        name = described.name if described is not None else ""
        return StreamInfo(
            stream_id=announce.stream_id,
            name=name if is_name(name) else "",
            summary=described.summary if described is not None else "",
            tags=parse_tags(tags.value) if tags is not None else (),
            attributes=attributes,
            epoch=announce.epoch,
            producer_id=announce.producer_id,
            nslots=announce.header_nslots,
            strides_bytes=tuple(pool.stride_bytes for pool in announce.payload_pools),
            seen=Seen.LISTENING,
        )
