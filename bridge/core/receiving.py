"""The receiving half of one entry: chunks into a lent slot, infos, the far stream's lease.

The machine decides, this carries out. Chunks pass the rows of B-070 here; the machine gets
events for infos and for frames that begin, are complete or are broken.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

import msgspec

from tensor_pool.client.producer.payload_layout import FrameHeader
from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.errors import StaleLoanError, TensorPoolError
from tensor_pool.protocol.wire import DataSourceAnnounce, DataSourceMeta
from tensor_pool.protocol.wire.frame_descriptor import NULL_U32

from ..settings import BridgeSettings, CrcPolicy, ReceiveStream, SequencePolicy
from .accounts import Account
from .chunks import Chunk
from .clocks import ClockWindow
from .events import BegunFrame, InboundEvent, SeenInfo
from .inbound_stream import InboundStream, InboundTimer
from .log import BridgeLog
from .metadata_on_wire import far_metadata, within_bounds
from .metric_names import RECEIVER_COUNTERS
from .ports import Lent, Pool, Sink
from .rates import Rates
from .timers import Timers

__all__ = ["Receiver"]

_MS = 1_000_000
_FRESH_INTERVALS = 3
_TENSOR_HEADER_BYTES = 192
# Commit word, length, slot, pool, offset, timestamp, meta version, length of the tensor header.
_SLOT = Struct("<QIIHIQI26xI")


class Receiver:
    """One inbound stream; `post` carries events of the client library's thread into the loop."""

    def __init__(
        self,
        settings: BridgeSettings,
        entry: ReceiveStream,
        *,
        link_name: str,
        pool: Pool,
        clock: Clock,
        timers: Timers,
        post: Callable[[Callable[[], object]], object],
    ) -> None:
        self.entry = entry
        self.counters = Counters(RECEIVER_COUNTERS)
        self.rates = Rates(self.counters, ("frames_delivered", "bytes_received"), clock)
        self.label = f"in {entry.wire_id}→{entry.stream} @ {link_name}"
        self.sink: Sink | None = None
        self.retired: list[Sink] = []  # leases on their way back
        self.lease_is_live = False
        self.source_epoch = 0
        self.last_delivered = -1
        self._captured_ns: int | None = None  # of the newest frame, by this host's clock
        self.far_epoch = 0
        self.far_path: tuple[str, ...] = ()
        """The latest epoch that was produced here, and the hosts that its frames have come by."""
        self.owner: SeenInfo | None = None  # the latest info of the session that owns the entry
        self.clocks = ClockWindow(entry.timestamps, clock_synced=settings.clock_synced)
        self._account = Account(self.counters)
        self._settings = settings
        self._pool = pool
        self._clock = clock
        self._log = BridgeLog(clock)
        self._timers = timers
        self._post = post
        self._generation = 0
        self._failures = 0
        self._decimated = False
        self._last_begun = -1
        self._warned_epoch = -1
        self._warned_sync = False
        self._announce: DataSourceAnnounce | None = None
        self._meta: DataSourceMeta | None = None
        # The open frame
        self._chunk: Chunk | None = None  # its first one, without its bytes
        self._header: FrameHeader | None = None
        self._loan: Lent | None = None
        self._is_open = False
        self._next_index = 0
        self._filled = 0
        self.machine = InboundStream(self)

    # What comes from the network

    @property
    def path(self) -> tuple[str, ...]:
        """The hosts that the stream has come by; empty without an owner."""
        return self.owner.path if self.owner is not None else ()

    @property
    def stream_id(self) -> int:
        """The far stream; the driver chooses it where the entry has 0 (B-081)."""
        sink = self.sink
        return (sink.stream_id if sink is not None else 0) or self.entry.stream

    @property
    def lag_frames(self) -> int:
        """Frames that the sender has settled, by its latest info, and that were not delivered."""
        owner = self.owner
        if owner is None or owner.info.epoch != self.source_epoch:
            return 0
        return max(0, owner.info.next_seq - 1 - self.last_delivered)

    @property
    def age_ns(self) -> int:
        """Age of the newest frame; 0 without one, or without a capture time."""
        captured_ns = self._captured_ns
        return self._clock.monotonic_ns() - captured_ns if captured_ns is not None else 0

    def may_own(self, seen: SeenInfo) -> bool:
        """Return True if an info of this session counts (B-082)."""
        owner = self.owner
        if owner is None or not self.machine.is_in(InboundStream.Bound):
            return True
        return seen.session == owner.session or (
            seen.info.instance_id == owner.info.instance_id and seen.order > owner.order
        )

    def on_info(self, seen: SeenInfo) -> None:
        """A valid info of a session that may own the entry."""
        self.counters.inc("infos_received")
        self._account.on_info(seen)
        self.machine.dispatch(InboundEvent.INFO, seen)

    def on_session_gone(self, session: int) -> None:
        """An image has ended."""
        if self.owner is not None and self.owner.session == session:
            self.machine.dispatch(InboundEvent.SESSION_GONE)

    def on_metadata(self, message: DataSourceAnnounce | DataSourceMeta) -> None:
        """Metadata of the owner (B-104)."""
        if isinstance(message, DataSourceAnnounce):
            known = self._announce
            if message == known or (
                known is not None
                and (message.epoch, message.meta_version) < (known.epoch, known.meta_version)
            ):
                return
            self._announce = message
        else:
            keys = {attribute.key for attribute in message.attributes}
            if (
                message == self._meta
                or len(keys) < len(message.attributes)
                or not within_bounds(message)
            ):
                return
            self._meta = message
        self._publish_metadata()

    def on_foreign_chunk(self, session: int, chunk: Chunk) -> None:
        """A chunk of a session that does not own the entry (row 3)."""
        if self.owner is None:
            self._account.on_chunk(session, chunk)
        self._refuse_chunk(chunk, "foreign_chunks")

    def on_chunk(self, session: int, chunk: Chunk) -> None:
        """Rows 4 to 9 of B-070, for a chunk of the owner."""
        self._account.on_chunk(session, chunk)
        count = self.counters.inc
        count("chunks_received")
        count("bytes_received", len(chunk.payload))
        machine = self.machine
        if not machine.is_in(InboundStream.Ready):
            self._refuse_chunk(chunk, "not_ready_chunks")
            return
        if chunk.epoch != self.source_epoch:
            self._refuse_chunk(chunk, "stale_epoch_chunks")
            return
        first = chunk.index == 0
        if not chunk.is_well_formed or chunk.payload_length > self._settings.max_payload_bytes:
            self._break(chunk, "chunks_invalid")
        elif not self._passes_crc(chunk):
            self._break(chunk, "crc_errors")
        elif first:
            self._on_first_chunk(chunk)
        elif machine.current is not InboundStream.Filling:
            count("chunks_ignored")
        elif self._continues(chunk):
            self._fill(chunk)
        else:
            machine.dispatch(InboundEvent.FRAME_BROKEN, "frames_incomplete")

    def _on_first_chunk(self, chunk: Chunk) -> None:
        if chunk.seq <= self._last_begun:
            self.counters.inc("duplicate_frames")
            return
        self._last_begun = chunk.seq
        header = self._judged(chunk)
        sink = self.sink
        if header is None:
            self._break(chunk, "headers_invalid")
        elif sink is None or header.nbytes > sink.largest_frame_bytes:
            self._warn_too_large(header.nbytes)
            self._break(chunk, "dest_too_large")
        else:
            self.machine.dispatch(InboundEvent.FRAME_BEGAN, BegunFrame(chunk, header))
            if self._loan is not None:
                self._fill(chunk)

    def _judged(self, chunk: Chunk) -> FrameHeader | None:
        """The header of a frame, if consumers would accept it (B-071)."""
        word, nbytes, _, _, offset, timestamp_ns, meta_version, length = _SLOT.unpack_from(
            chunk.header
        )
        if (
            word != chunk.seq << 1 | 1
            or nbytes != chunk.payload_length
            or offset
            or length != _TENSOR_HEADER_BYTES
        ):
            return None
        now = self._clock.monotonic_ns()
        try:
            return FrameHeader.checked(
                bytes(chunk.header[_SLOT.size :]),
                nbytes,
                timestamp_ns=self.clocks.translate(timestamp_ns, now),
                meta_version=None if meta_version in (0, NULL_U32) else meta_version,
                trace_id=chunk.trace_id,
            )
        except ValueError:
            return None

    def _continues(self, chunk: Chunk) -> bool:
        first = self._chunk
        return (
            first is not None
            and chunk.seq == first.seq
            and chunk.trace_id == first.trace_id
            and chunk.count == first.count
            and chunk.payload_length == first.payload_length
            and chunk.index == self._next_index
            and chunk.offset == self._filled
        )

    def _fill(self, chunk: Chunk) -> None:
        loan = self._loan
        assert loan is not None
        end = self._filled + chunk.length
        loan.buffer[self._filled : end] = chunk.payload
        self._filled = end
        self._next_index += 1
        if self._next_index < chunk.count:
            loan.progress(end)
            self.arm_assembly()
        elif end == chunk.payload_length:
            self.machine.dispatch(InboundEvent.FRAME_COMPLETED)
        else:
            self.machine.dispatch(InboundEvent.FRAME_BROKEN, "frames_incomplete")

    def _passes_crc(self, chunk: Chunk) -> bool:
        policy = self.entry.crc
        if policy is CrcPolicy.IGNORE or (policy is CrcPolicy.AUTO and not chunk.crc):
            return True
        return chunk.computed_crc == chunk.crc

    def _break(self, chunk: Chunk, counter: str) -> None:
        """A chunk that cannot be used: one that begins a frame ends the open one first."""
        if chunk.index == 0 and self.machine.current is InboundStream.Filling:
            self.machine.dispatch(InboundEvent.FRAME_BROKEN, "frames_incomplete")
        self.machine.dispatch(InboundEvent.FRAME_BROKEN, counter)

    def _refuse_chunk(self, chunk: Chunk, counter: str) -> None:
        self.counters.inc(counter)
        if chunk.index == 0:
            self.counters.inc("frames_unwanted")

    def _warn_too_large(self, nbytes: int) -> None:
        if self._warned_epoch != self.source_epoch:
            self._warned_epoch = self.source_epoch
            available = self.sink.largest_frame_bytes if self.sink is not None else 0
            self._log.warning(
                "too large",
                "stream %d: frames of %d bytes do not fit its slots of %d bytes; configure a pool"
                " with a larger stride in this host's driver",
                *(self.entry.stream, nbytes, available),
            )

    # InboundPort

    @property
    def owner_order(self) -> int:
        return self.owner.order if self.owner is not None else -1

    def is_looped(self, seen: SeenInfo) -> bool:
        return self._settings.instance_id in seen.path or len(seen.path) > self._settings.max_hops

    def is_same(self, seen: SeenInfo) -> bool:
        owner = self.owner
        return (
            owner is not None
            and seen.info.instance_id == owner.info.instance_id
            and seen.info.epoch == self.source_epoch
            and seen.info.decimated == self._decimated
        )

    def own(self, seen: SeenInfo) -> None:
        owner = self.owner
        if owner is None or owner.session != seen.session:
            self.clocks.reset()
            self._log.info(
                "owner",
                "wire id %d: comes from %s, session %d",
                *(self.entry.wire_id, seen.info.instance_id, seen.session),
            )
        if owner is None or owner.info.instance_id != seen.info.instance_id:
            self._announce = self._meta = None
        self._take_info(seen)

    def update(self, seen: SeenInfo) -> None:
        self.own(seen)

    def _take_info(self, seen: SeenInfo) -> None:
        looped = self.owner is None or self.owner.path != seen.path
        self.owner = seen
        if self.lease_is_live:
            self.far_path = seen.path
        self.clocks.add(seen.info, seen.seen_ns, self._clock.realtime_ns())
        if self.clocks.lacks_sync and not self._warned_sync:
            self._warned_sync = True
            self._log.warning(
                "clocks",
                "stream %d: timestamps = wall needs clock_synced on both hosts; local is used",
                self.entry.stream,
            )
        fresh_ns = _FRESH_INTERVALS * seen.info.interval_ms * _MS
        self._arm(InboundTimer.OWNER, fresh_ns)
        if looped and self.is_looped(seen):
            self._log.warning(
                "loop",
                "wire id %d: refused, as it has come by %s; stream %d is left alone. If that is"
                " not a circle, give this bridge another instance_id than %s,"
                " or raise max_hops (%d)",
                *(self.entry.wire_id, ">".join(seen.path), self.entry.stream),
                *(self._settings.instance_id, self._settings.max_hops),
            )

    def disown(self) -> None:
        self.owner = None
        self._timers.disarm(self, InboundTimer.OWNER)
        self._announce = self._meta = None
        self.clocks.reset()

    def set_source_epoch(self, epoch: int) -> None:
        if epoch != self.source_epoch:
            self._last_begun = -1
            self.last_delivered = -1
        self.source_epoch = epoch
        self._decimated = self.owner is not None and self.owner.info.decimated

    def attach(self) -> None:
        self._generation += 1
        generation = self._generation

        def ours(event: InboundEvent, argument: object = None) -> Callable[[], None]:
            return lambda: self._on_lease(generation, event, argument)

        self.sink = self._pool.sink(
            self.entry.stream,
            on_ready=lambda: self._post(ours(InboundEvent.LEASE_READY)),
            on_lost=lambda why: self._post(ours(InboundEvent.LEASE_LOST, why)),
            on_refused=lambda code, text: self._post(
                ours(InboundEvent.LEASE_REFUSED, (code, text))
            ),
        )

    def _on_lease(self, generation: int, event: InboundEvent, argument: object) -> None:
        if generation != self._generation or self.sink is None:
            return  # of a handle that was given up
        if event is InboundEvent.LEASE_READY:
            self.lease_is_live = True
            self._failures = 0
        elif event is InboundEvent.LEASE_LOST:
            if not self.lease_is_live:
                return
            self.lease_is_live = False
        else:
            self._log.warning(
                "refused",
                "stream %d: the local driver refused a producer lease: %s; asked again until"
                " another producer leaves the stream or its configuration allows it",
                *(self.entry.stream, argument),
            )
        self.machine.dispatch(event, argument)

    def keep(self) -> None:
        self.clocks.new_epoch()
        if self.sink is not None:
            self.far_epoch, self.far_path = self.sink.epoch, self.path
        self._log.info(
            "epoch",
            "stream %d: epoch %d carries epoch %d of %s",
            *(self.stream_id, self.far_epoch, self.source_epoch, ">".join(self.path)),
        )
        self._publish_metadata()

    def detach(self) -> None:
        self._generation += 1
        self.lease_is_live = False
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.begin_close()
            self.retired = [old for old in self.retired if not old.is_finished]
            self.retired.append(sink)

    def begin_frame(self, begun: BegunFrame) -> None:
        chunk = begun.chunk
        sink = self.sink
        assert sink is not None
        self._is_open = True
        self._next_index = self._filled = 0
        self._loan = None
        self._chunk = msgspec.structs.replace(chunk, header=_NOTHING, payload=_NOTHING)
        self._header = begun.header
        try:
            self._loan = sink.loan(
                chunk.payload_length,
                trace_id=chunk.trace_id,
                seq=None if self.is_dense else chunk.seq,
            )
        except (TensorPoolError, ValueError) as error:
            self._log.info(
                "no slot",
                "stream %d: no slot for frame %d: %s",
                self.entry.stream,
                chunk.seq,
                error,
            )
        if self._loan is None:
            self.machine.post(InboundEvent.FRAME_BROKEN, "frames_incomplete")

    @property
    def is_dense(self) -> bool:
        """True if far frames are numbered from 0 (B-095)."""
        policy = self.entry.sequence
        return policy is SequencePolicy.DENSE or (policy is SequencePolicy.AUTO and self._decimated)

    def commit(self) -> None:
        loan, header, chunk = self._loan, self._header, self._chunk
        assert loan is not None
        assert header is not None
        assert chunk is not None
        self._forget_frame()
        try:
            loan.commit_as(header)
        except StaleLoanError:
            self.counters.inc("frames_incomplete")  # the lease went meanwhile
            return
        self.counters.inc("frames_delivered")
        self.last_delivered = chunk.seq
        self._captured_ns = header.timestamp_ns

    def abort_loan(self, counter: str) -> None:
        loan, is_open = self._loan, self._is_open
        self._forget_frame()
        if loan is not None:
            loan.abort()
        if is_open:
            self.counters.inc(counter)

    def count(self, name: str) -> None:
        self.counters.inc(name)

    def arm_assembly(self) -> None:
        self._arm(InboundTimer.ASSEMBLY, self._settings.assembly_timeout_ms * _MS)

    def arm_retry(self) -> None:
        self._failures += 1
        settings = self._settings
        delay_ms = min(settings.retry_max_ms, settings.retry_base_ms << min(self._failures, 20))
        self._arm(InboundTimer.RETRY, delay_ms * _MS)

    def arm_hold(self) -> None:
        self._arm(InboundTimer.HOLD, self._settings.hold_ms * _MS)

    def disarm(self, timer: InboundTimer) -> None:
        self._timers.disarm(self, timer)

    # Own

    def _forget_frame(self) -> None:
        self._loan = self._header = self._chunk = None
        self._is_open = False

    def _arm(self, timer: InboundTimer, delay_ns: int) -> None:
        self._timers.arm(self, timer, delay_ns, lambda: self.machine.dispatch(timer.value))

    def _publish_metadata(self) -> None:
        sink, owner = self.sink, self.owner
        if sink is None or owner is None or not self.lease_is_live:
            return
        told = far_metadata(
            self._announce,
            self._meta,
            path=owner.path,
            source_stream_id=owner.info.source_stream_id,
        )
        try:
            sink.set_metadata(told.name, told.summary, told.attributes, version=told.version)
        except ValueError as error:
            self._log.info(
                "metadata", "stream %d: metadata not published: %s", self.entry.stream, error
            )


_NOTHING = memoryview(b"")
