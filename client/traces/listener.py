"""Listening to the traces of a pool: descriptors and links, as they come (S-154).

The subscriptions are untethered and there is no lease, so that a slow or stopped listener holds no
process up (S-003).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.transport.channel import untethered
from tensor_pool.protocol.transport.ports import Transport
from tensor_pool.protocol.wire import (
    DataSourceAnnounce,
    FrameDescriptor,
    Message,
    TraceLinkSet,
    WireError,
    decoder_for,
)

from ..config import ClientConfig
from .store import TracedFrame, TraceLink

__all__ = ["TraceListener"]

_FRAGMENTS_PER_POLL = 64
_POLLS = 64  # of one stream before the next gets its turn
_SAME_CLOCK_NS = 3600 * 10**9
_decode_descriptor = decoder_for([FrameDescriptor])
_decode = decoder_for([TraceLinkSet, DataSourceAnnounce])


class TraceListener:
    """Hands over frames that have a trace, links, and the names of streams as they come.

    Without `on_frame` it listens to no descriptors. `untraced` counts, by stream, the frames
    that had no trace: their producers give them none.
    """

    def __init__(
        self,
        transport: Transport,
        config: ClientConfig,
        clock: Clock,
        *,
        on_link: Callable[[TraceLink], object],
        on_frame: Callable[[TracedFrame], object] | None = None,
        names: dict[int, str] | None = None,
    ) -> None:
        self._clock = clock
        self._on_link = on_link
        self._on_frame = on_frame
        self.names: dict[int, str] = {} if names is None else names
        self.untraced: Counter[int] = Counter()
        self.traced: Counter[int] = Counter()
        self.bad_messages = 0
        shared = {
            (config.metadata_channel, config.metadata_stream_id),
            (config.control_channel, config.control_stream_id),
        }
        self._subscriptions = [
            (transport.add_subscription(untethered(channel), stream_id), self._on_message)
            for channel, stream_id in sorted(shared)
        ]
        if on_frame is not None:
            subscription = transport.add_subscription(
                untethered(config.descriptor_channel), config.descriptor_stream_id
            )
            # Descriptors first: a link then finds its frame.
            self._subscriptions.insert(0, (subscription, self._on_descriptor))

    def poll(self) -> int:
        """Take what has arrived; the number of messages."""
        taken = 0
        for subscription, handler in self._subscriptions:
            for _ in range(_POLLS):
                fragments = subscription.poll(handler, _FRAGMENTS_PER_POLL)
                taken += fragments
                if fragments < _FRAGMENTS_PER_POLL:
                    break
        return taken

    def close(self) -> None:
        """Close the subscriptions."""
        for subscription, _ in self._subscriptions:
            subscription.close()

    def _on_descriptor(self, view: memoryview) -> None:
        message = self._decoded(_decode_descriptor, view)
        if not isinstance(message, FrameDescriptor):
            return
        if not message.trace_id:
            self.untraced[message.stream_id] += 1
            return
        self.traced[message.stream_id] += 1
        now_ns = self._clock.realtime_ns()
        assert self._on_frame is not None
        self._on_frame(
            TracedFrame(
                stream_id=message.stream_id,
                epoch=message.epoch,
                seq=message.seq,
                trace_id=message.trace_id,
                received_ns=now_ns,
                published_ns=self._since_1970(message.timestamp_ns, now_ns),
            )
        )

    def _on_message(self, view: memoryview) -> None:
        message = self._decoded(_decode, view)
        if isinstance(message, DataSourceAnnounce):
            if message.stream_id:  # 0 is the name of a client (S-046)
                self.names[message.stream_id] = message.name
        elif isinstance(message, TraceLinkSet):
            self._on_link(
                TraceLink(
                    stream_id=message.stream_id,
                    epoch=message.epoch,
                    seq=message.seq,
                    trace_id=message.trace_id,
                    parents=tuple(parent.trace_id for parent in message.parents),
                    received_ns=self._clock.realtime_ns(),
                )
            )

    def _decoded(self, decode: Callable[[memoryview], Message], view: memoryview) -> object:
        try:
            return decode(view)
        except WireError as error:
            self.bad_messages += not error.reason.is_ignored
            return None

    def _since_1970(self, monotonic_ns: int | None, now_ns: int) -> int | None:
        """Return a time of this host's monotonic clock as time since 1970; None for another's."""
        if monotonic_ns is None:
            return None
        published_ns = monotonic_ns + now_ns - self._clock.monotonic_ns()
        return published_ns if abs(published_ns - now_ns) < _SAME_CLOCK_NS else None
