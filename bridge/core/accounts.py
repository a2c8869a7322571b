"""Frames that a sender sent and that did not come: the receiver's part of the sum of B-005.

Infos and chunks of a session come in order, and an info has the number of frames that its sender
has sent since it started. From one info to the next that number rises by the frames that came
whole, and by those that were lost: with an image that ended, or while this bridge was away.
"""

from __future__ import annotations

from tensor_pool.protocol.counters import Counters

from .chunks import Chunk
from .events import SeenInfo

__all__ = ["Account"]

_NO_FRAME = -1
_MOST = (1 << 63) - 1  # senders are not trusted; counters stay within 64 bits


class Account:
    """Counts `frames_before` and `frames_lost` of one entry."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._instance = ""
        self._session: int | None = None
        self._sent = 0  # by the latest info
        self._whole = 0  # frames since then of which first and last chunk came
        self._begun = _NO_FRAME

    def on_chunk(self, session: int, chunk: Chunk) -> None:
        """A chunk of the owner, or of any session while there is no owner."""
        if session != self._session:
            self._session, self._whole, self._begun = session, 0, _NO_FRAME
        if chunk.index == 0:
            self._begun = chunk.seq
        if chunk.index + 1 == chunk.count and chunk.seq == self._begun:
            self._whole += 1
            self._begun = _NO_FRAME

    def on_info(self, seen: SeenInfo) -> None:
        """An info of a session that owns the entry from now on."""
        info = seen.info
        sent, whole = info.frames_sent, self._whole
        if info.instance_id == self._instance and sent >= self._sent:
            self._count("frames_lost", sent - self._sent - whole)
        else:  # another sender, or another run of it
            whole = whole if seen.session == self._session else 0
            self._count("frames_before", sent - whole)
        if seen.session != self._session:
            self._session, self._begun = seen.session, _NO_FRAME
        self._instance, self._sent, self._whole = info.instance_id, sent, 0

    def _count(self, name: str, frames: int) -> None:
        self._counters.inc(name, max(0, min(frames, _MOST - self._counters[name])))
