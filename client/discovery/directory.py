"""Directory: questions to the driver, and listening where no driver answers (S-040 to S-042).

It belongs to the conductor, which hands in messages and time. A question is sent once, again after
250 ms, and after 500 ms the announces and metadata of a little more than one period are the answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Protocol

import msgspec

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    DataSourceAnnounce,
    DataSourceMeta,
    DiscoveryRequest,
    DiscoveryResponse,
    DiscoveryStatus,
    Message,
    ShmPoolAnnounce,
)

from ..config import ClientConfig, ns
from ..shared_streams import LogicalStream
from .stream_entry import EntryEvent, StreamEntry
from .stream_info import StreamInfo, is_plausible

__all__ = ["Directory", "DirectoryPort", "EntryListener"]

_REPEAT_NS = 250_000_000
_SETTLE_NS = 20_000_000  # for the answers of further drivers on the same control stream
_LISTENING_PERIODS = 1.1
_REMEMBERED_NS = 60_000_000_000
_STALE_PERIODS = 3
_MAX_ENTRIES = 65536

type Answer = Callable[[list[StreamInfo]], object]


class DirectoryPort(Protocol):
    """The conductor, as far as the directory uses it."""

    @property
    def config(self) -> ClientConfig: ...
    @property
    def clock(self) -> Clock: ...

    def send(self, stream: LogicalStream, message: Message) -> OfferResult: ...

    def listen_to_metadata(self) -> None:
        """Poll the metadata stream from now on."""
        ...


class EntryListener(Protocol):
    """A watch on the entries of the directory."""

    def on_entry(self, info: StreamInfo) -> None: ...
    def on_entry_gone(self, info: StreamInfo) -> None: ...


class _Question:
    def __init__(self, request: DiscoveryRequest, answer: Answer, due_ns: int) -> None:
        self.request = request
        self.answer = answer
        self.due_ns = due_ns
        self.times_sent = 0
        self.listens = False
        self.found: dict[int, StreamInfo] | None = None  # once a driver has answered

    def accepts(self, info: StreamInfo) -> bool:
        return self.request.data_source_name in ("", info.name)


class Directory:
    """The streams of a pool, for one client. All methods run on the conductor's thread."""

    def __init__(self, port: DirectoryPort) -> None:
        self._port = port
        self.counters = Counters(["discovery_invalid", "entry_unhandled"])
        self._request_id = secrets.randbelow(1 << 63)
        self._client_id = 1 + secrets.randbelow(0xFFFFFFFE)
        self._questions: dict[int, _Question] = {}
        self._entries: dict[int, StreamEntry] = {}
        self._listeners: list[EntryListener] = []
        self._listens_since_ns: int | None = None
        self._listens_until_ns = 0
        self._answers_until_ns = 0  # until then the driver is known to be silent about streams

    # -- questions

    def ask(self, answer: Answer, *, name: str = "") -> None:
        """Call `answer` with the streams there are, or those of one name, by ascending id."""
        self._request_id += 1
        config = self._port.config
        request = DiscoveryRequest(
            request_id=self._request_id,
            client_id=self._client_id,
            response_stream_id=config.control_stream_id,
            response_channel=config.control_channel,
            data_source_name=name,
        )
        now = self._port.clock.monotonic_ns()
        question = self._questions[request.request_id] = _Question(request, answer, now)
        if now < self._answers_until_ns:
            self._listen_for(question, now)

    @property
    def is_asking(self) -> bool:
        """True while a question waits for its answer."""
        return bool(self._questions)

    def on_response(self, response: DiscoveryResponse) -> None:
        """Take an answer of a driver; NOT_FOUND stands for no streams (S-033)."""
        question = self._questions.get(response.request_id)
        if question is None or response.status is DiscoveryStatus.ERROR:
            return
        if question.found is None:
            question.found = {}
            question.listens = False
            question.due_ns = self._port.clock.monotonic_ns() + _SETTLE_NS
        for result in response.results:
            if not is_plausible(result):
                self.counters.inc("discovery_invalid")
                continue
            info = self._completed(StreamInfo.from_answer(result))
            if question.accepts(info):
                question.found[info.stream_id] = info

    def do_work(self, now: int) -> int:
        """Repeat questions, answer them, let entries grow stale; returns how much was done."""
        work = 0
        for request_id, question in list(self._questions.items()):
            if now < question.due_ns:
                continue
            work += 1
            if question.found is not None:
                del self._questions[request_id]
                question.answer([question.found[i] for i in sorted(question.found)])
            elif question.listens:
                del self._questions[request_id]
                heard = (self._entries[i].info for i in sorted(self._entries))
                question.answer([info for info in heard if question.accepts(info)])
            elif question.times_sent < 2:
                self._port.send(LogicalStream.CONTROL, question.request)
                question.times_sent += 1
                question.due_ns = now + _REPEAT_NS
            else:
                self._answers_until_ns = now + _REMEMBERED_NS
                self._listen_for(question, now)
        if self._listens_since_ns is not None:
            work += self._age_entries(now)
        return work

    def _listen_for(self, question: _Question, now: int) -> None:
        self.listen(now + _REMEMBERED_NS)
        assert self._listens_since_ns is not None
        period_ns = ns(self._port.config.announce_period)
        question.listens = True
        question.due_ns = max(now, self._listens_since_ns + round(_LISTENING_PERIODS * period_ns))

    def _completed(self, info: StreamInfo) -> StreamInfo:
        """Add summary and attributes, where metadata was received."""
        entry = self._entries.get(info.stream_id)
        if entry is None or entry.announce.epoch != info.epoch:
            return info
        heard = entry.info
        return msgspec.structs.replace(info, summary=heard.summary, attributes=heard.attributes)

    # -- listening

    @property
    def listens(self) -> bool:
        """True while announces and metadata are kept."""
        return self._listens_since_ns is not None

    def listen(self, until_ns: int = 0) -> None:
        """Keep announces and metadata from now on, at least until then."""
        self._listens_until_ns = max(self._listens_until_ns, until_ns)
        if self._listens_since_ns is None:
            self._listens_since_ns = self._port.clock.monotonic_ns()
            self._port.listen_to_metadata()

    def add_listener(self, listener: EntryListener) -> None:
        """Report entries to a watch, those that are there first."""
        self._listeners.append(listener)
        self.listen()
        for stream_id in sorted(self._entries):
            listener.on_entry(self._entries[stream_id].info)

    def remove_listener(self, listener: EntryListener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def on_announce(self, announce: ShmPoolAnnounce) -> None:
        """Take an announce of a driver."""
        if self._listens_since_ns is None:
            return
        now = self._port.clock.monotonic_ns()
        entry = self._entries.get(announce.stream_id)
        if entry is None:
            if len(self._entries) < _MAX_ENTRIES:
                self._entries[announce.stream_id] = StreamEntry(self, announce, now)
            return
        entry.heard_ns = now
        entry.dispatch(EntryEvent.ANNOUNCE, announce)

    def on_data_source_announce(self, announce: DataSourceAnnounce) -> None:
        """Take the name of a stream."""
        entry = self._entries.get(announce.stream_id)
        if entry is not None:
            entry.metadata.on_announce(announce)
            entry.dispatch(EntryEvent.METADATA, announce)

    def on_data_source_meta(self, meta: DataSourceMeta) -> None:
        """Take the attributes of a stream, which belong to the announce before them."""
        entry = self._entries.get(meta.stream_id)
        if entry is not None and entry.metadata.on_meta(meta):
            announce = entry.metadata.announce
            if announce is not None:
                entry.dispatch(EntryEvent.METADATA, announce)

    def _age_entries(self, now: int) -> int:
        if not self._listeners and now >= self._listens_until_ns:
            self._listens_since_ns = None
            self._entries.clear()
            return 1
        window_ns = _STALE_PERIODS * ns(self._port.config.announce_period)
        work = 0
        for entry in list(self._entries.values()):
            silent_ns = now - entry.heard_ns
            if silent_ns >= window_ns and entry.is_in(StreamEntry.Known):
                entry.dispatch(EntryEvent.SILENCE)
                work += 1
            if silent_ns >= 2 * window_ns and entry.is_in(StreamEntry.Stale):
                entry.dispatch(EntryEvent.EXPIRY_DUE)
                work += 1
        return work

    # -- EntryPort

    def appeared(self, entry: StreamEntry) -> None:
        for listener in self._listeners:
            listener.on_entry(entry.info)

    changed = appeared

    def vanished(self, entry: StreamEntry) -> None:
        self._entries.pop(entry.announce.stream_id, None)
        for listener in self._listeners:
            listener.on_entry_gone(entry.info)

    def count(self, counter: str) -> None:
        self.counters.inc(counter)
