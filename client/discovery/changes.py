"""Changes of the streams of a pool, as an iterator (S-042)."""

from __future__ import annotations

import fnmatch
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Self

import msgspec

from .stream_info import StreamInfo

__all__ = ["Appeared", "Changed", "StreamChange", "StreamChanges", "Vanished", "matches"]

_WAIT_S = 0.05


class Appeared(msgspec.Struct, frozen=True):
    """A stream came, or was there when the watch began."""

    stream: StreamInfo


class Changed(msgspec.Struct, frozen=True):
    """A stream has another epoch, producer or description."""

    stream: StreamInfo


class Vanished(msgspec.Struct, frozen=True):
    """A stream is no longer announced."""

    stream: StreamInfo


type StreamChange = Appeared | Changed | Vanished


def matches(info: StreamInfo, pattern: str | None, tags: frozenset[str]) -> bool:
    """Return True if the name fits the pattern and every tag is there."""
    if pattern is not None and not fnmatch.fnmatchcase(info.name, pattern):
        return False
    return tags <= set(info.tags)


class StreamChanges:
    """Iterate over it, or `poll()`; close it, or use it in a `with` block.

    At most `max_pending` changes wait; then the oldest are dropped and `missed` counts them.
    """

    def __init__(
        self,
        pattern: str | None,
        tags: frozenset[str],
        *,
        max_pending: int,
        run_once: Callable[[], object],
        end: Callable[[StreamChanges], object],
    ) -> None:
        self._pattern = pattern
        self._tags = tags
        self._max_pending = max_pending
        self._run_once = run_once
        self._end = end
        self._pending: deque[StreamChange] = deque()
        self._shown: dict[int, StreamInfo] = {}
        self._arrived = threading.Event()
        self._closed = False
        self.missed = 0

    # -- the conductor's side

    def on_entry(self, info: StreamInfo) -> None:
        known = self._shown.get(info.stream_id)
        if not matches(info, self._pattern, self._tags):
            if known is not None:
                self.on_entry_gone(known)
            return
        if known == info:
            return
        self._shown[info.stream_id] = info
        self._add(Appeared(info) if known is None else Changed(info))

    def on_entry_gone(self, info: StreamInfo) -> None:
        known = self._shown.pop(info.stream_id, None)
        if known is not None:
            self._add(Vanished(known))

    def _add(self, change: StreamChange) -> None:
        while len(self._pending) >= self._max_pending:
            self._pending.popleft()
            self.missed += 1
        self._pending.append(change)
        self._arrived.set()

    # -- the application's side

    def poll(self) -> StreamChange | None:
        """Return the next change that waits, or None."""
        try:
            return self._pending.popleft()
        except IndexError:
            return None

    def __iter__(self) -> Iterator[StreamChange]:
        """Every change as it comes; ends when the watch is closed."""
        while not self._closed:
            change = self.poll()
            if change is not None:
                yield change
                continue
            self._arrived.clear()
            if not self._pending:
                self._run_once()

    def wait(self) -> None:
        """Sleep until a change arrives, at most 50 ms."""
        self._arrived.wait(_WAIT_S)

    def close(self) -> None:
        """End the watch; may be called again."""
        if not self._closed:
            self._closed = True
            self._arrived.set()
            self._end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
