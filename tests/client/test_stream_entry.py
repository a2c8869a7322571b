"""StreamEntry against its transition table: every state, every event (S-045)."""

from __future__ import annotations

import msgspec
import pytest

from tensor_pool.client.discovery.stream_entry import EntryEvent as E
from tensor_pool.client.discovery.stream_entry import StreamEntry
from tensor_pool.protocol.wire import ClockDomain, DataSourceAnnounce, ShmPoolAnnounce

ANNOUNCE = ShmPoolAnnounce(
    stream_id=5,
    producer_id=1,
    epoch=7,
    announce_timestamp_ns=0,
    announce_clock_domain=ClockDomain.MONOTONIC,
    layout_version=1,
    header_nslots=16,
    header_slot_bytes=256,
    payload_pools=(),
    header_region_uri="",
)
NEWER = msgspec.structs.replace(ANNOUNCE, epoch=8)
OTHER_PRODUCER = msgspec.structs.replace(ANNOUNCE, producer_id=2)
OLDER = msgspec.structs.replace(ANNOUNCE, epoch=6)
NAMED = DataSourceAnnounce(5, 1, 7, 1, name="camera", summary="")
RENAMED = DataSourceAnnounce(5, 1, 7, 2, name="camera/left", summary="")
OF_ANOTHER_EPOCH = DataSourceAnnounce(5, 1, 6, 9, name="old", summary="")


class Port:
    def __init__(self) -> None:
        self.log: list[str] = []

    def appeared(self, entry: StreamEntry) -> None:
        self.log.append("Appeared")

    def changed(self, entry: StreamEntry) -> None:
        self.log.append("Changed")

    def vanished(self, entry: StreamEntry) -> None:
        self.log.append("Vanished")

    def count(self, counter: str) -> None:
        self.log.append(counter)


def metadata(entry: StreamEntry, announce: DataSourceAnnounce) -> None:
    """As the directory does: the cache first, then the event."""
    entry.metadata.on_announce(announce)
    entry.dispatch(E.METADATA, announce)


def entry_in(state: str, port: Port) -> StreamEntry:
    entry = StreamEntry(port, ANNOUNCE, 0)
    if state == "Described":
        metadata(entry, NAMED)
    if state in ("Stale", "Gone"):
        entry.dispatch(E.SILENCE)
    if state == "Gone":
        entry.dispatch(E.EXPIRY_DUE)
    assert entry.current.name == state
    port.log.clear()
    return entry


EVENTS: dict[str, tuple[E, object]] = {
    "metadata": (E.METADATA, NAMED),
    "metadata of another epoch": (E.METADATA, OF_ANOTHER_EPOCH),
    "other metadata": (E.METADATA, RENAMED),
    "newer epoch": (E.ANNOUNCE, NEWER),
    "other producer": (E.ANNOUNCE, OTHER_PRODUCER),
    "the same announce": (E.ANNOUNCE, ANNOUNCE),
    "older epoch": (E.ANNOUNCE, OLDER),
    "silence": (E.SILENCE, None),
    "expiry": (E.EXPIRY_DUE, None),
}
UNHANDLED = ["entry_unhandled"]
TABLE: dict[str, dict[str, tuple[str, list[str]]]] = {
    "Bare": {
        "metadata": ("Described", ["Changed"]),
        "other metadata": ("Described", ["Changed"]),
        "newer epoch": ("Bare", ["Changed"]),
        "other producer": ("Bare", ["Changed"]),
        "silence": ("Stale", []),
        "expiry": ("Bare", UNHANDLED),
    },
    "Described": {
        "other metadata": ("Described", ["Changed"]),
        "newer epoch": ("Bare", ["Changed"]),
        "other producer": ("Described", ["Changed"]),
        "silence": ("Stale", []),
        "expiry": ("Described", UNHANDLED),
    },
    "Stale": {
        "metadata": ("Stale", UNHANDLED),
        "metadata of another epoch": ("Stale", UNHANDLED),
        "other metadata": ("Stale", UNHANDLED),
        "newer epoch": ("Bare", []),
        "other producer": ("Bare", []),
        "the same announce": ("Bare", []),
        "older epoch": ("Bare", []),
        "silence": ("Stale", UNHANDLED),
        "expiry": ("Gone", ["Vanished"]),
    },
    "Gone": {},
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", TABLE)
def test_S_045_the_table_holds(state: str, event: str) -> None:
    """S-002, S-045"""
    port = Port()
    entry = entry_in(state, port)
    kind, argument = EVENTS[event]
    if isinstance(argument, DataSourceAnnounce):
        metadata(entry, argument)
    else:
        entry.dispatch(kind, argument)
    target, effects = TABLE[state].get(event, (state, []))
    assert (entry.current.name, port.log) == (target, effects)


def test_S_045_the_last_description_is_shown_until_a_newer_one_comes() -> None:
    entry = entry_in("Described", Port())
    entry.dispatch(E.ANNOUNCE, NEWER)
    assert (entry.info.epoch, entry.info.name) == (8, "camera")
    metadata(entry, DataSourceAnnounce(5, 1, 8, 1, name="camera/new", summary=""))
    assert entry.info.name == "camera/new"


def test_S_045_an_entry_begins_bare_and_is_reported() -> None:
    port = Port()
    assert StreamEntry(port, ANNOUNCE, 0).current.name == "Bare"
    assert port.log == ["Appeared"]
