"""The events of the page: collected once, sent to every open page.

While a page is open, the hub reads the feed ten times a second, asks the driver's loop for a
report about once a second and soon after something happened, and keeps a viewer. All of it is
shared: a second page costs the driver nothing. Without an open page nothing runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import CancelledError, Future
from typing import Any, Protocol

import msgspec
from sse_starlette import ServerSentEvent

from ...runtime.message_feed import MessageFeed
from ...runtime.report import DriverReport, status_document
from ...runtime.transition_feed import FeedRecord, TransitionFeed
from .viewer_process import Viewer

__all__ = ["Hub"]

_POLL_S = 0.1
_REPORT_S = 1.0
_REPORT_SOON_S = 0.2
_AGES_S = 0.2
_TRAFFIC_S = 1.0
_PIXELS_S = 2.0
_PATIENCE_S = 2.0
# A report of thousands of leases takes a while; the loop spends at most this part of its time.
_REPORT_SHARE = 0.05
_LINGER_S = 3.0
_WATCHERS = 32
_BACKLOG = 200
_RECORDS = 200
_STREAMS_SHOWN = 24
_OWN_CLIENTS = 500


class Reporter(Protocol):
    """The part of the pages' reporter that is needed here."""

    def request_report(self) -> Future[DriverReport]: ...


class Measures(Protocol):
    """The figures of streams, as the meter takes them."""

    def figures(self) -> tuple[msgspec.Struct, ...]: ...

    def ages_s(self) -> dict[int, float]: ...


class Watcher:
    """One open page: news in order, and of every stream only the latest frame.

    A page that does not keep up with the news is let go; it comes back and gets everything anew.
    """

    def __init__(self, stream_ids: frozenset[int] | None) -> None:
        self.wants_news = stream_ids is None
        self.stream_ids = stream_ids or frozenset()
        self._news: asyncio.Queue[bytes | None] = asyncio.Queue(_BACKLOG)
        self._frames: dict[int, bytes] = {}
        self._is_gone = False

    def tell(self, event: bytes) -> None:
        if self._news.full():
            self.leave()
        elif not self._is_gone:
            self._news.put_nowait(event)

    def show(self, stream_id: int, event: bytes) -> None:
        if stream_id in self.stream_ids:
            if not self._frames:
                self.tell(b"")  # wakes it up
            self._frames[stream_id] = event

    def leave(self) -> None:
        """End its connection."""
        if not self._is_gone:
            self._is_gone = True
            while not self._news.empty():
                self._news.get_nowait()
            self._news.put_nowait(None)

    async def events(self) -> AsyncIterator[bytes]:
        """Yield encoded events until the watcher has to leave."""
        while (event := await self._news.get()) is not None:
            if event:
                yield event
            frames, self._frames = self._frames, {}
            for frame in frames.values():
                yield frame


class Hub:
    """Serves watchers; everything but `close_soon()` is for the server's event loop."""

    def __init__(
        self,
        reporter: Reporter,
        feed: TransitionFeed,
        viewer: Viewer,
        measures: Measures | None = None,
        messages: MessageFeed | None = None,
        *,
        shows_frames: bool = True,
    ) -> None:
        self.shows_frames = shows_frames
        self._reporter = reporter
        self._feed = feed
        self._viewer = viewer
        self._measures = measures
        self._messages = messages or MessageFeed()
        self._messages_seen = 0
        self._waiting: dict[int, list[asyncio.Future[bytes]]] = {}
        self._ages_due = self._traffic_due = 0.0
        self._own_clients: deque[int] = deque(maxlen=_OWN_CLIENTS)
        self._watchers: set[Watcher] = set()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._seen = 0
        self._latest: dict[str, bytes] = {}
        self._frames: dict[int, bytes] = {}
        self._report: DriverReport | None = None
        self._report_due = 0.0
        self._report_earliest = 0.0

    @property
    def has_room(self) -> bool:
        """Return whether one more can be served."""
        return not self._closed and len(self._watchers) < _WATCHERS

    def latest_records(self, count: int) -> list[FeedRecord]:
        """The last things that happened in the driver, oldest first."""
        return self._feed.since(0)[-count:]

    async def watch(self, stream_ids: Iterable[int] | None = None) -> AsyncIterator[bytes]:
        """Events for one page: all news, or the frames of some streams where these are given."""
        watcher = Watcher(None if stream_ids is None else frozenset(stream_ids))
        if self._task is None:
            records = self._feed.since(0)
            self._seen = records[-1].number if records else 0
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.create_task(self._run(), name="hub")
        if watcher.wants_news:
            self._catch_up(watcher)
        for stream_id, frame in self._frames.items():
            watcher.show(stream_id, frame)
        self._watchers.add(watcher)
        try:
            async for event in watcher.events():
                yield event
        finally:
            self._watchers.discard(watcher)

    async def pixels(self, stream_id: int) -> bytes | None:
        """Return the newest frame of a stream that is looked at, with its values; None without one.

        It is a number of bytes, so much JSON, a picture, and the values.
        """
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(stream_id, []).append(future)
        self._viewer.ask_pixels(stream_id)
        try:
            return await asyncio.wait_for(future, _PIXELS_S)
        except TimeoutError:
            return None
        finally:
            waiting = self._waiting.get(stream_id, [])
            if future in waiting:
                waiting.remove(future)

    def close_soon(self) -> None:
        """End all connections, from any thread."""
        self._closed = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it may have ended meanwhile
                self._loop.call_soon_threadsafe(self._dismiss_all)

    def _dismiss_all(self) -> None:
        for watcher in self._watchers:
            watcher.leave()

    def _catch_up(self, watcher: Watcher) -> None:
        """Send the first events of a page: recent records, and the latest of each kind."""
        records = [record for record in self._feed.since(0) if record.number <= self._seen]
        watcher.tell(_event("own", {"clients": list(self._own_clients)}))
        watcher.tell(_event("hello", {"records": records[-_RECORDS:]}))
        watcher.tell(_event("messages", {"records": self._messages.since(0)}))
        for event in self._latest.values():
            watcher.tell(event)
        self._report_due = 0.0

    async def _run(self) -> None:
        """Run while a page is open, and a little longer for pages that are loaded again."""
        self._viewer.open(self._heard)
        try:
            alone_since = time.monotonic()
            while not self._closed:
                now = time.monotonic()
                if self._watchers:
                    alone_since = now
                elif now - alone_since > _LINGER_S:
                    break
                await self._turn(now)
                await asyncio.sleep(_POLL_S)
        finally:
            self._task = None
            self._frames.clear()
            self._latest.clear()
            await self._viewer.close()

    async def _turn(self, now: float) -> None:
        if self._pass_on(self._feed.since(self._seen)):
            self._report_due = min(self._report_due, now)
        if messages := self._messages.since(self._messages_seen):
            self._messages_seen = max(message.revision for message in messages)
            self._broadcast("messages", {"records": messages})
        if now >= max(self._report_due, self._report_earliest):
            await self._ask()
        self._look_at_what_is_wanted()
        self._measure(now)

    def _measure(self, now: float) -> None:
        if self._measures is None:
            return
        if now >= self._ages_due:
            self._ages_due = now + _AGES_S
            self._broadcast("ages", {"seconds": self._measures.ages_s()}, latest=True)
        if now >= self._traffic_due:
            self._traffic_due = now + _TRAFFIC_S
            self._broadcast("traffic", {"streams": self._measures.figures()}, latest=True)

    def _pass_on(self, records: list[FeedRecord]) -> bool:
        """Send what happened, if anything did."""
        if records:
            self._seen = records[-1].number
            self._broadcast("happened", {"records": records})
        return bool(records)

    async def _ask(self) -> None:
        try:
            report = await asyncio.wait_for(
                asyncio.wrap_future(self._reporter.request_report()), _PATIENCE_S
            )
        except TimeoutError:
            self._broadcast("trouble", {"text": "the driver's loop does not answer"})
            return
        except (CancelledError, asyncio.CancelledError):
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            self._broadcast("trouble", {"text": "the driver has stopped"})
            return
        answered = time.monotonic()
        pause = report.cost_ns / 1e9 / _REPORT_SHARE
        self._report_due = answered + max(_REPORT_S, pause)
        self._report_earliest = answered + max(_REPORT_SOON_S, pause)
        self._report = report
        # A page must not learn of a state before the transitions that lead to it: it would show the
        # states on the way afterwards.
        unseen = self._feed.since(self._seen)
        self._pass_on([record for record in unseen if record.number <= report.last_record])
        self._broadcast("report", status_document(report), latest=True)

    def _look_at_what_is_wanted(self) -> None:
        """Request frames of streams that are watched and written; none in a driver that ends.

        A viewer that stayed attached would keep a stopping driver waiting.
        """
        report = self._report
        if report is None or not report.snapshot.status.state.startswith("Serving.Running"):
            self._viewer.look_at(())
            return
        wanted: set[int] = set().union(*(watcher.stream_ids for watcher in self._watchers))
        written = (s.stream_id for s in report.snapshot.streams if s.producer_lease_id is not None)
        streams = [stream_id for stream_id in written if stream_id in wanted][:_STREAMS_SHOWN]
        for stream_id in self._frames.keys() - streams:
            del self._frames[stream_id]
        self._viewer.look_at(streams)

    def _heard(self, message: dict[str, Any]) -> None:
        """A message of the viewer."""
        kind = message.pop("type")
        if kind == "frame":
            stream_id = message["stream_id"]
            self._frames[stream_id] = event = _event("frame", message)
            for watcher in self._watchers:
                watcher.show(stream_id, event)
        elif kind == "own":
            self._own_clients.extend(c for c in message["clients"] if c not in self._own_clients)
            self._broadcast(kind, {"clients": list(self._own_clients)})
        elif kind == "pixels":
            for future in self._waiting.pop(message["stream_id"], []):
                if not future.done():
                    future.set_result(message["body"])
        else:
            self._broadcast(kind, message, latest=True)

    def _broadcast(self, kind: str, message: object, *, latest: bool = False) -> None:
        event = _event(kind, message)
        if latest:
            self._latest[kind] = event
        for watcher in self._watchers:
            if watcher.wants_news:
                watcher.tell(event)


def _event(kind: str, message: object) -> bytes:
    """Return a server-sent event, encoded once for all watchers."""
    return ServerSentEvent(msgspec.json.encode(message).decode(), event=kind, sep="\n").encode()
