"""Whole messages from fragments, per session.

Aeron splits a message longer than its MTU; header flags mark the first and the last fragment. The
parts of a message may be taken by several polls, so the state outlives a poll.
"""

from __future__ import annotations

from .channel import FRAME_ALIGNMENT

__all__ = ["WHOLE_MESSAGE", "Reassembly"]

_BEGIN = 0x80
_END = 0x40
WHOLE_MESSAGE = _BEGIN | _END
"""Both flags: a message that fits one fragment, and needs no reassembly."""


class _Partial:
    __slots__ = ("data", "next_term_offset")

    def __init__(self, data: bytearray, next_term_offset: int) -> None:
        self.data = data
        self.next_term_offset = next_term_offset


class Reassembly:
    """Messages under way, at most one a session; longer ones than `max_bytes` are dropped."""

    def __init__(self, max_bytes: int = 16 << 20) -> None:
        self._max_bytes = max_bytes
        self._partial: dict[int, _Partial] = {}

    def add(
        self,
        fragment: memoryview,
        flags: int,
        session_id: int,
        term_offset: int,
        frame_length: int,
    ) -> bytearray | None:
        """Take one fragment; returns the message it completes, or None.

        Fragments of a message whose beginning was not seen, or of which one is missing in between,
        are dropped: no message is ever put together from parts of two.
        """
        end = term_offset + (-(-frame_length // FRAME_ALIGNMENT) * FRAME_ALIGNMENT)
        if flags & _BEGIN:
            self._partial[session_id] = _Partial(bytearray(fragment), end)
            return None
        partial = self._partial.get(session_id)
        if partial is None:
            return None
        if (
            partial.next_term_offset != term_offset
            or len(partial.data) + len(fragment) > self._max_bytes
        ):
            self._partial.pop(session_id, None)
            return None
        partial.data += fragment
        partial.next_term_offset = end
        if flags & _END:
            self._partial.pop(session_id, None)
            return partial.data
        return None

    def forget(self, session_id: int) -> None:
        """The session is gone: what it left unfinished never completes."""
        self._partial.pop(session_id, None)
