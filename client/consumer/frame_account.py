"""The account of a consumer's frames: each is received or counted once (C-108).

It is kept by sequence. A `ReadState` has the newest sequence that is accounted for in its mapping;
this class joins mappings, epochs and the descriptors that came while nothing was mapped. `begin`,
`end` and `attach` belong to the conductor's thread, the rest to the thread that reads.
"""

from __future__ import annotations

from collections import deque

from tensor_pool.protocol.counters import Counters

from .read_state import ReadState

__all__ = ["FrameAccount"]

_MANY_FRAMES = 1000
_KEPT = 16  # mappings, and epochs, since the application took a frame


class _Ended:
    """A mapping that is not read any more, and the frames that its ring had at the end."""

    __slots__ = ("newest_seq", "oldest_seq", "state")

    def __init__(self, state: ReadState) -> None:
        self.state = state
        self.newest_seq = state.newest_seq()
        self.oldest_seq = state.oldest_seq() or 0


class FrameAccount:
    """Counts what passes between the mappings of one consumer."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._is_attached = False
        self._ended: deque[_Ended] = deque()  # earlier mappings whose rest is not counted yet
        self._newest_before = -1  # the newest sequence of the epochs before
        self._heard: dict[int, tuple[int, int]] = {}  # first and newest seq of epochs not mapped
        self._tracked_epoch = 0  # the newest of which a frame was tracked; earlier ones are counted

    def begin(self, state: ReadState, *, is_read: bool, from_the_first: bool = False) -> None:
        """A mapping is about to be read; `is_read`: a descriptor stream is.

        `from_the_first`: the lease is older than the epoch, so that all of its frames count.
        """
        self._is_attached |= from_the_first
        if self._is_attached:
            self._continue(state)
        elif is_read:
            self.attach(state)

    def end(self, state: ReadState) -> None:
        """A mapping is about to go."""
        if self._is_attached and not state.is_regressed:
            self._ended.append(ended := _Ended(state))
            self._heard.pop(state.epoch, None)  # by a thread that had not seen the mapping yet
            self._newest_before = max(self._newest_before, ended.newest_seq)
            if len(self._ended) > _KEPT:
                self._count_rest(self._ended.popleft())

    def attach(self, state: ReadState) -> None:
        """A stream and a mapping are there for the first time: from now on each frame counts."""
        if not self._is_attached:
            self._is_attached = True
            self._tracked_epoch = state.epoch
            state.joined_at = state.newest_seq()

    def note_dropped(self, epoch: int, seq: int) -> None:
        """A descriptor came that cannot be used: its frame counts once, with a later one."""
        if not self._is_attached:
            return
        for ended in self._ended.copy():
            if ended.state.epoch == epoch:
                ended.newest_seq = max(ended.newest_seq, seq)
                if ended.state.accounted is None:
                    ended.state.joined_at = seq - 1
                return
        if epoch > self._tracked_epoch and (epoch in self._heard or len(self._heard) < _KEPT):
            first, newest = self._heard.get(epoch, (seq, seq))
            self._heard[epoch] = first, max(newest, seq)

    def take_first(self, state: ReadState, seq: int) -> bool:
        """Count what passed before the first frame of a mapping; False if it is not the first."""
        is_first = self._count_before(state, seq)
        if is_first:
            self._tracked_epoch = state.epoch
        return is_first

    def _count_before(self, state: ReadState, seq: int) -> bool:
        accounted = state.accounted
        if state.is_resynced:
            self._counters.inc("drops_gap", max(0, seq - state.last_seq - 1))
            return True
        if not state.is_later_epoch and state.resumes is None:
            if accounted is None:
                return True
            if seq > accounted:
                self._counters.inc("drops_gap", seq - accounted - 1)
            # Otherwise unread by some other subscriber: published before this one joined (W-106).
            return seq > accounted
        if state.resumes is not None and accounted is not None and seq <= accounted:
            self._counters.inc("drops_duplicate")
            return False
        while self._ended and self._ended[0].state.epoch != state.epoch:
            self._count_rest(self._ended.popleft())
        for epoch in [epoch for epoch in list(self._heard) if epoch < state.epoch]:
            first, newest = self._heard.pop(epoch)
            self._counters.inc("missed_unmapped", newest - first + 1)
        if accounted is None:
            oldest = state.oldest_seq()
            if oldest is not None and (oldest < seq or seq <= state.filled_to):
                accounted = self._before_first(state)
        if accounted is not None:
            counter = "missed_unmapped" if state.resumes is not None else "drops_gap"
            self._counters.inc(counter, max(0, seq - accounted - 1))
        return True

    def _continue(self, state: ReadState) -> None:
        """A later mapping: go on where the last one of its epoch ended, or with the first frame."""
        heard = self._heard.pop(state.epoch, None)
        if self._ended and self._ended[-1].state.epoch == state.epoch:
            previous = self._ended.pop().state
            if previous.resumes is not None and not previous.tracks:
                previous = previous.resumes  # no thread reads this one any more
            if previous.accounted is not None:
                state.resumes = previous
                return
        state.is_later_epoch = True
        state.joined_at = self._before_first(state)
        if heard is not None:  # the stream may have been joined after the first frame
            oldest = state.oldest_seq()
            state.joined_at = min(heard[0], heard[0] if oldest is None else oldest) - 1

    def _before_first(self, state: ReadState) -> int | None:
        """The sequence before the first of an epoch, by its ring; None if that is empty.

        When the first one is overwritten, it was 0 (W-088), or the epoch goes on with the numbers
        of the one before (B-095). The latter is assumed if it fits, so that no large loss is made
        up: the epoch before had many frames, and the oldest one is newer than all of them.
        """
        oldest = state.oldest_seq()
        if oldest is None or not state.is_once_around:
            return None if oldest is None else oldest - 1
        goes_on = oldest > self._newest_before >= _MANY_FRAMES
        return self._newest_before if goes_on else -1

    def _count_rest(self, ended: _Ended) -> None:
        """Count what was committed in an epoch after the last frame that came of it."""
        accounted = ended.state.accounted
        if accounted is None:
            accounted = ended.oldest_seq - 1
        self._counters.inc("missed_unmapped", max(0, ended.newest_seq - accounted))
