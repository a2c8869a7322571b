"""Messages that one publication has not taken yet, in the order they were published (§15)."""

from __future__ import annotations

import enum
from collections import OrderedDict, deque

from tensor_pool.protocol.wire import (
    ConsumerConfig,
    DiscoveryResponse,
    Message,
    ShmAttachResponse,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
)

__all__ = ["KINDS", "Entry", "Kind", "Outbox"]


class Kind(enum.Enum):
    """Kinds of waiting messages, which differ in what may be dropped and what is counted."""

    ATTACH_RESPONSE = "attach_response"
    DETACH_RESPONSE = "detach_response"
    CONFIG = "config"
    DISCOVERY = "discovery"
    NOTICE = "notice"
    SHUTDOWN = "shutdown"
    ANNOUNCE = "announce"


KINDS: dict[type, Kind] = {
    ShmAttachResponse: Kind.ATTACH_RESPONSE,
    ShmDetachResponse: Kind.DETACH_RESPONSE,
    ConsumerConfig: Kind.CONFIG,
    DiscoveryResponse: Kind.DISCOVERY,
    ShmLeaseRevoked: Kind.NOTICE,
    ShmDriverShutdown: Kind.SHUTDOWN,
    ShmPoolAnnounce: Kind.ANNOUNCE,
}
_RESPONSES = (Kind.ATTACH_RESPONSE, Kind.DETACH_RESPONSE, Kind.DISCOVERY)


class Entry:
    """One message on its way. `data` is its encoding, once it is made."""

    __slots__ = ("data", "kind", "message", "queued_ns", "stream_id")

    def __init__(self, kind: Kind, message: Message, queued_ns: int) -> None:
        self.kind = kind
        self.message = message
        self.queued_ns = queued_ns
        self.data: bytes | None = None
        self.stream_id = 0
        if isinstance(message, ShmPoolAnnounce | ShmLeaseRevoked):
            self.stream_id = message.stream_id


class Outbox:
    """A queue that also finds its responses by age, its announces and notices by stream.

    At most one announce for each stream waits: a newer one replaces it and goes to the tail, since
    only the latest is true (D-173). One that repeats the waiting one leaves it in its place, or the
    last of many streams would never be announced while the queue moves slowly.
    """

    __slots__ = ("_announces", "_entries", "_next", "_notices", "_responses")

    def __init__(self) -> None:
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._next = 0
        self._responses: deque[tuple[int, int]] = deque()  # (queued_ns, key), oldest first
        self._announces: dict[int, int] = {}  # stream id -> key
        self._notices: dict[int, int] = {}  # stream id -> how many wait

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def announces(self) -> int:
        """Number of announces that wait."""
        return len(self._announces)

    def has_notice(self, stream_id: int) -> bool:
        """Return whether a notice for this stream waits."""
        return stream_id in self._notices

    def append(self, entry: Entry) -> None:
        if entry.kind is Kind.ANNOUNCE and self._waits(entry.message):
            return
        key = self._next
        self._next += 1
        if entry.kind is Kind.ANNOUNCE:
            self.discard_announce(entry.stream_id)
            self._announces[entry.stream_id] = key
        elif entry.kind is Kind.NOTICE:
            self._notices[entry.stream_id] = self._notices.get(entry.stream_id, 0) + 1
        elif entry.kind in _RESPONSES:
            self._responses.append((entry.queued_ns, key))
        self._entries[key] = entry

    def head(self) -> Entry | None:
        """The oldest entry."""
        return next(iter(self._entries.values()), None)

    def pop(self) -> Entry:
        """Remove the oldest entry."""
        _, entry = self._entries.popitem(last=False)
        if entry.kind is Kind.ANNOUNCE:
            del self._announces[entry.stream_id]
        elif entry.kind is Kind.NOTICE:
            self._count_off_notice(entry.stream_id)
        return entry

    def take_all(self) -> list[Entry]:
        """Remove and return all entries, the oldest first."""
        taken = []
        while self._entries:
            taken.append(self.pop())
        return taken

    def pop_response_queued_before(self, time_ns: int) -> Entry | None:
        """Remove the oldest response, if it was queued before the given time."""
        while self._responses and self._responses[0][0] < time_ns:
            _, key = self._responses.popleft()
            entry = self._entries.pop(key, None)
            if entry is not None:
                return entry
        return None

    def discard_announce(self, stream_id: int) -> None:
        """Remove the announce of this stream, if one waits."""
        key = self._announces.pop(stream_id, None)
        if key is not None:
            del self._entries[key]

    def _waits(self, message: Message) -> bool:
        """Return whether an announce of the same epoch and producer waits; its time is set last."""
        assert isinstance(message, ShmPoolAnnounce)
        key = self._announces.get(message.stream_id)
        if key is None:
            return False
        waiting = self._entries[key].message
        assert isinstance(waiting, ShmPoolAnnounce)
        return (waiting.epoch, waiting.producer_id) == (message.epoch, message.producer_id)

    def _count_off_notice(self, stream_id: int) -> None:
        left = self._notices[stream_id] - 1
        if left:
            self._notices[stream_id] = left
        else:
            del self._notices[stream_id]
