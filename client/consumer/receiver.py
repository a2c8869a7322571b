"""The receive path: from descriptors to frames, by the rows of W-106 in their order.

It runs on the application's thread and touches no machine. It reports a mapping that is wrong and
stops using it at once; the conductor does the rest.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Buffer, Callable, Iterator
from itertools import islice
from typing import Any

from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.shm.slot_header import SLOT_IMAGE, SlotFault
from tensor_pool.protocol.transport.ports import Subscription
from tensor_pool.protocol.wire import FrameDescriptor, Mode, WireError, decoder_for
from tensor_pool.protocol.wire.frame_descriptor import FRAME_DESCRIPTOR_SPLIT, NULL_U32, NULL_U64

from ..attachment.connection_machine import DriverConnection
from ..attachment.events import RoleEvent
from ..rate_gate import RateGate
from .announced import Announced
from .frame import Frame
from .frame_account import FrameAccount
from .frame_run import FrameRun, FrameStack
from .read_state import UNMAPPED_MEANWHILE, ReadState

__all__ = ["Receiver"]

_FRAGMENTS_PER_POLL = 64
_FEW = 8  # frames from which checking them together pays
_LAST_POLLS = 1000  # of a stream that is left: what waits there, but not what keeps coming
# A descriptor as it waits: what those of an epoch share, seq, timestamp, meta version, trace id. Of
# any other message the first is None and the second its bytes.
type _Fields = tuple[Any, ...]
_SWITCHED: _Fields = (None, b"switched", 0, 0, 0)  # stands between the descriptors of two streams
_NOT_OURS: _Fields = (None, b"not ours", 0, 0, 0)  # not counted, not even as looked at
_split = FRAME_DESCRIPTOR_SPLIT.unpack
_join = FRAME_DESCRIPTOR_SPLIT.pack
_unpack_slot = SLOT_IMAGE.unpack_from
_decode = decoder_for([FrameDescriptor])


class Receiver:
    """Reads the descriptor stream of one consumer.

    `reads_alone` is true if only descriptors travel on it, each in one fragment. `state` and
    `subscription` are exchanged by the conductor. `report` posts an event about a
    mapping to the consumer machine.
    """

    def __init__(
        self,
        *,
        stream_id: Callable[[], int],
        connection: DriverConnection,
        counters: Counters,
        now: Callable[[], int],
        max_seq_gap: int,
        reads_alone: bool,
        report: Callable[[ReadState, RoleEvent], None],
    ) -> None:
        self.state: ReadState | None = None
        self.subscription: Subscription | None = None
        self.mode = Mode.STREAM
        self.max_rate_hz = 0
        self.skips_are_intended = False  # a private stream with a rate cap (W-110)
        self.is_private = False
        self._account = FrameAccount(counters)
        self._history: tuple[ReadState, int] | None = None  # to be read first
        self._successor: tuple[Subscription, bool, bool] | None = None
        self._poll_subscription: Callable[..., int] | None = None
        self._handler: Callable[..., None] = self._on_fragment
        self.frames_ok = 0
        self._gate: RateGate | None = None
        self._pending: deque[_Fields] = deque()
        self._append = self._pending.append
        self._left = -1  # descriptors that may still be looked at; below 0: any number
        self._advance = self.frames().__next__
        self._stream_id = stream_id
        self._connection = connection
        self._counters = counters
        self._now = now
        self._max_seq_gap = max_seq_gap
        self._reads_alone = reads_alone
        self._report = report

    def configure(self, mode: Mode, max_rate_hz: int) -> None:
        """Set mode and rate; the gate works on the shared stream only (W-171, W-173)."""
        self.mode = mode
        self.max_rate_hz = max_rate_hz
        gated = mode is Mode.RATE_LIMITED and max_rate_hz > 0 and not self.is_private
        if not gated:
            self._gate = None
        elif self._gate is None or self._gate.period_ns != 1_000_000_000 // max_rate_hz:
            self._gate = RateGate(max_rate_hz)

    def switch(
        self, subscription: Subscription, *, private: bool, was_unserved: bool = False
    ) -> None:
        """Read another descriptor stream once what waits on the present one is read (W-164).

        `was_unserved`: frames were published of which the present one brought none.
        """
        overtaken, self._successor = self._successor, (subscription, private, was_unserved)
        if overtaken is not None:
            overtaken[0].close()
        if self.subscription is None:
            self._take_over()

    def stop(self) -> None:
        """Read no stream any more."""
        successor, self._successor = self._successor, None
        current, self.subscription = self.subscription, None
        self._poll_subscription = None
        if successor is not None:
            successor[0].close()
        if current is not None:
            current.close()

    def _take_over(self) -> None:
        """Exchange the streams, on the thread that reads them.

        They carry the same frames but not in step: what was seen on the old one is a duplicate on
        the new one, not a regression.
        """
        successor, self._successor = self._successor, None
        if successor is None:
            return
        subscription, private, was_unserved = successor
        previous, self.subscription = self.subscription, subscription
        poll_fragments = getattr(subscription, "poll_fragments", None)
        if self._reads_alone and poll_fragments is not None:
            self._poll_subscription = poll_fragments
            self._handler = self._on_raw_fragment
        else:
            self._poll_subscription = subscription.poll
            self._handler = self._on_fragment
        if previous is not None:
            for _ in range(_LAST_POLLS):
                if not previous.poll(self._on_fragment, _FRAGMENTS_PER_POLL):
                    break
        state, skipped = self.state, self.skips_are_intended
        if previous is None and state is not None:
            self._account.attach(state)
        if was_unserved and state is not None and state.is_later_epoch:
            state.joined_at = -1  # such a producer is not a bridge: its numbers begin at 0
        self.is_private = private
        self.skips_are_intended = private and self.max_rate_hz > 0
        self.configure(self.mode, self.max_rate_hz)
        if previous is not None:
            previous.close()
            self._pending.append(_SWITCHED)
            if state is not None:
                state.fills = not (skipped or self.skips_are_intended)

    @property
    def has_pending(self) -> bool:
        """True if descriptors are waiting, taken from the transport already or not."""
        return bool(self._pending) or self.poll()

    def next(self, limit: int = -1) -> Frame | None:
        """The next readable frame, or None if no descriptor is waiting.

        With a limit (>= 1) at most that many descriptors are looked at.
        """
        self._left = limit
        try:
            return self._advance()
        except BaseException:
            self._advance = self.frames().__next__  # one that has raised has ended
            raise

    def frames(self) -> Iterator[Frame | None]:
        """Every readable frame, and None whenever no descriptor is waiting; never ends.

        A generator, so that a frame pays for little more than the rows themselves. It keeps no
        reference to the regions while the application has a frame.
        """
        pending = self._pending
        pop = pending.popleft
        connection, now = self._connection, self._now
        while True:
            if (not pending and not self.poll()) or not self._left:
                if (state := self.state) is not None:
                    state.is_overrun = False  # it has caught up
                yield None
                continue
            self._left -= 1
            prefix, seq, publish_ns, _, trace_id = fields = pop()
            state = self.state
            if state is None or prefix != state.prefix or now() > connection.deadline_ns:
                usual = self._classify(fields)
                if usual is _NOT_OURS:
                    self._left += 1
                    continue
                state = self.state
                if usual is None or state is None:
                    continue
                _, seq, publish_ns, _, trace_id = fields = usual
            try:
                # Rows 6 to 24 for a frame in order; straight-line, as every frame pays for it.
                if seq == state.next_seq:
                    state.last_seq = seq
                    state.next_seq = seq + 1
                elif not self._track(state, fields):
                    continue
                gate = self._gate
                if gate is not None and publish_ns != NULL_U64 and not gate.passes(publish_ns):
                    self._counters.inc("drops_rate")
                    continue
                index = seq & state.mask
                word_index = state.word_indices[index]
                word = state.words[word_index]
                if state.is_overrun and state.skips(seq):
                    self._drop_late("late_skipped")
                    self._left += 1
                    continue
                if word != seq << 1 | 1:
                    state.is_overrun = True
                    self._drop_late("late_seq_mismatch" if word & 1 else "late_in_progress")
                    continue
                if word < state.accepted_words[index]:
                    self._drop_late("late_rewind")
                    continue
                nbytes, payload_slot, pool_id, offset, timestamp, meta_version, image = (
                    _unpack_slot(state.ring, state.body_offsets[index])
                )
                if state.words[word_index] != word:
                    self._drop_late("late_changed")
                    continue
                found = state.format
                if (
                    found is None
                    or image != found.image
                    or nbytes != found.nbytes
                    or pool_id != found.pool_id
                    or payload_slot != index
                    or offset
                ):
                    checked = state.format_for(index, nbytes, payload_slot, pool_id, offset, image)
                    if isinstance(checked, SlotFault):
                        self._drop_late(checked.counter)
                        continue
                    found = checked
                if gate is not None and publish_ns == NULL_U64:
                    time_ns = timestamp if timestamp != NULL_U64 else now()
                    if not gate.passes(time_ns):
                        self._counters.inc("drops_rate")
                        continue
            except UNMAPPED_MEANWHILE:
                if state.is_open:
                    raise
                self._counters.inc("drops_unmapped")  # unmapped by the conductor meanwhile
                self._counters.inc("missed_unmapped")
                continue
            # Row 23 is the frame's own: `valid` and `copy()` load the word after the payload.
            state.accepted_words[index] = word
            self.frames_ok += 1
            yield Frame(
                seq, trace_id, state, found, index, word, timestamp, meta_version, publish_ns
            )

    def next_many(self, limit: int) -> list[Frame]:
        """Return the readable frames that are waiting, at most `limit`, as `next` gives them."""
        frames: list[Frame] = []
        while (left := limit - len(frames)) > 0:
            if (run := self._take_run(left, least=_FEW)) is not None:
                frames += run.frames()
            elif (frame := self.next()) is not None:
                frames.append(frame)
            else:
                break
        return frames

    def next_stack(self, limit: int, like: FrameStack | None = None) -> FrameStack | None:
        """Return copies of the frames that are next, of one layout, at most `limit`.

        With `like` they go with that stack. None if the next frame has to be looked at by itself.
        """
        run = self._take_run(limit, least=1, like=like)
        if run is None:
            return None
        stack = run.stack()
        lost = len(run) - len(stack)
        if lost:
            run.state.is_overrun = True
            self.frames_ok -= lost
            self._counters.inc("drops_late", lost)
            self._counters.inc("late_changed", lost)
        return stack

    def _take_run(self, limit: int, least: int, like: FrameStack | None = None) -> FrameRun | None:
        """Take frames that come in order and look like the one before, checked together.

        None if these are fewer than `least` or something is not as usual; then `next` is to look at
        the first one. The frames that are taken have passed every row that `next` goes through.
        """
        pending = self._pending
        state = self.state
        if (not pending and not self.poll()) or state is None:
            return None
        found = state.format
        if (
            found is None
            or self._gate is not None
            or not (like is None or like.goes_with(state, found))
            or self._now() > self._connection.deadline_ns
            or (state.is_overrun and state.skips(state.next_seq))
        ):
            return None
        prefix, first = state.prefix, state.next_seq
        fields = list(islice(pending, min(limit, state.mask + 1 - (first & state.mask))))
        prefixes, seqs, *_ = zip(*fields, strict=True)
        count = len(fields)
        if prefixes.count(prefix) != count or seqs != tuple(range(first, first + count)):
            count = 0
            while prefixes[count] == prefix and seqs[count] == first + count:
                count += 1
        if count < least:
            return None
        try:
            read = state.read_run(found, first, count)
        except UNMAPPED_MEANWHILE:
            if state.is_open:
                raise
            return None
        if read is None:
            return None
        count = len(read.words)
        state.last_seq = first + count - 1
        state.next_seq = first + count
        state.accepted_words[read.slots] = read.words.tolist()
        self.frames_ok += count
        if count == len(pending):
            pending.clear()
        else:
            for _ in range(count):
                pending.popleft()
        return FrameRun(state, found, read, first, fields[:count])

    def announced(self, limit: int) -> Iterator[Announced]:
        """At most `limit` frames whose descriptors pass rows 1 to 6, their slots not read."""
        while limit > 0 and (self._pending or self.poll()):
            limit -= 1
            fields = self._classify(self._pending.popleft())
            state = self.state
            if fields is _NOT_OURS:
                limit += 1
            elif fields is not None and state is not None:
                seq = fields[1]
                if seq == state.next_seq:
                    state.last_seq = seq
                    state.next_seq = seq + 1
                elif not self._track(state, fields):
                    continue
                yield Announced(seq, fields[4], state)

    def begin(self, state: ReadState, history: int, *, from_the_first: bool = False) -> None:
        """Read frames of another mapping from now on, after its newest `history` frames.

        With `from_the_first` no frame of the epoch is to be missed that the ring still has (C-107).
        """
        self._account.begin(
            state, is_read=self.subscription is not None, from_the_first=from_the_first
        )
        if from_the_first and not self.skips_are_intended:
            state.fills = True
            history = state.mask + 1
        if history:
            # No descriptor fits this prefix, so that none is handled before the history is read.
            state.prefix, self._history = b"history first", (state, history)
        self.state = state

    def end(self) -> None:
        """The mapping that is read is about to go."""
        state, self.state = self.state, None
        if state is None:
            return
        self._account.end(state)
        state.close()

    def look_into_ring(self) -> None:
        """Read frames whose descriptors went to a stream that was joined late (C-107).

        To be called a few times a second: frames that stand in the ring at two looks and were not
        handled have no descriptor on its way.
        """
        state = self.state
        if state is None or not state.fills:
            return
        newest = state.newest_seq()
        seen, state.newest_seen = state.newest_seen, newest
        if newest < 0 or newest != seen:
            return
        if newest > state.read_up_to:
            self._history = (state, state.mask + 1)
        elif self.subscription is not None and self.subscription.is_connected:
            state.fills = False

    def _read_history(self) -> None:
        """Put frames that stand in the ring before the descriptors that wait (C-104, C-107)."""
        due, self._history = self._history, None
        if due is None:
            return
        state, count = due
        if state is not self.state or not state.is_open:
            return
        state.prefix = state.usual_prefix
        is_known = state.fills or state.is_later_epoch or state.resumes is not None
        read_up_to = state.read_up_to if is_known else -1
        seqs = [seq for seq in state.committed() if seq > read_up_to][-count:]
        if not seqs:
            return
        if state.fills:
            state.filled_to = seqs[-1]
        elif not is_known:
            state.joined_at = seqs[0] - 1  # older frames were left out, not missed
        self._pending.appendleft(_SWITCHED)  # their descriptors may be on their way still
        self._put_first(state, seqs)

    def _put_first(self, state: ReadState, seqs: list[int]) -> None:
        """Put frames of the ring, in ascending order, before what waits."""
        self._pending.extendleft(
            (state.usual_prefix, seq, NULL_U64, NULL_U32, 0) for seq in reversed(seqs)
        )

    def _fill(self, state: ReadState, fields: _Fields) -> bool:
        """Put the frames of a gap that the ring has before the descriptor behind it (C-107)."""
        state.fills = False
        seqs = [seq for seq in state.committed() if state.read_up_to < seq < fields[1]]
        if seqs:
            self._pending.appendleft(fields)
            self._put_first(state, seqs)
        return bool(seqs)

    def poll(self) -> bool:
        """Take descriptors from the transport; False if there are none."""
        if self._history is not None:
            self._read_history()
            if self._pending:
                return True
        if self._successor is not None:
            self._take_over()
        while (poll := self._poll_subscription) is not None:
            if not poll(self._handler, _FRAGMENTS_PER_POLL):
                return False
            if self._pending:
                return True
        return False

    def _on_fragment(self, buffer: memoryview) -> None:
        self._on_raw_fragment(buffer, None)

    def _on_raw_fragment(self, buffer: Buffer, _: object) -> None:
        try:
            self._append(_split(buffer))
        except struct.error:  # of another length
            self._append((None, bytes(buffer), 0, 0, 0))

    def _classify(self, fields: _Fields) -> _Fields | None:
        """Rows 1 to 5 for what is not the common case; a descriptor in common form, or None."""
        counters = self._counters
        if self._history is not None:
            self._pending.appendleft(fields)
            self._read_history()
            return _NOT_OURS
        if fields is _SWITCHED:
            if self.state is not None and self.state.tracks:
                self.state.switched_at = self.state.last_seq
            return _NOT_OURS
        try:
            message = _decode(fields[1] if fields[0] is None else _join(*fields))
        except WireError as error:
            if error.reason.is_ignored:
                return _NOT_OURS
            counters.inc("bad_message")
            return None
        assert isinstance(message, FrameDescriptor)
        if message.stream_id != self._stream_id():
            return _NOT_OURS
        state = self.state
        if (
            state is None
            or not state.is_open
            or not self._connection.is_attached
            or self._now() > self._connection.deadline_ns
        ):
            counters.inc("drops_unmapped")
            if state is None or message.epoch != state.epoch:
                self._account.note_dropped(message.epoch, message.seq)
            return None
        if message.epoch != state.epoch:
            counters.inc("drops_epoch")
            self._account.note_dropped(message.epoch, message.seq)
            if message.epoch > state.epoch:
                self._condemn(state, RoleEvent.INVALID_NEWER_EPOCH)
            return None
        return (
            state.prefix,
            message.seq,
            NULL_U64 if message.timestamp_ns is None else message.timestamp_ns,
            NULL_U32 if message.meta_version is None else message.meta_version,
            message.trace_id or 0,
        )

    def _track(self, state: ReadState, fields: _Fields) -> bool:
        """Row 6 for what is not the next in order; False drops the frame."""
        counters, seq = self._counters, fields[1]
        if seq <= state.switched_at >= state.last_seq:
            if seq > state.filled_to:
                counters.inc("drops_duplicate")  # seen on the stream read before
            return False
        if state.fills and seq > state.read_up_to + 1 and self._fill(state, fields):
            return False
        if not state.tracks:
            if not self._account.take_first(state, seq):
                return False
            state.tracks = True
        elif seq == state.last_seq:
            counters.inc("drops_duplicate")
            return False
        elif seq < state.last_seq:
            counters.inc("drops_regression")
            state.is_regressed = True
            self._condemn(state, RoleEvent.INVALID_SEQ_REGRESSION)
            return False
        elif not self.skips_are_intended:
            gap = seq - state.last_seq - 1
            counters.inc("drops_gap", gap)
            if self._max_seq_gap and gap > self._max_seq_gap:
                counters.inc("drops_resync")
                state.last_seq = state.joined_at = seq
                state.resumes, state.is_resynced = None, True
                state.tracks = False
                state.next_seq = -1
                return False
        state.last_seq = seq
        state.next_seq = seq + 1
        return True

    def _drop_late(self, reason: str) -> None:
        self._counters.inc("drops_late")
        self._counters.inc(reason)

    def _condemn(self, state: ReadState, event: RoleEvent) -> None:
        """Stop using a mapping that a descriptor showed to be void."""
        state.shut()
        self._report(state, event)
