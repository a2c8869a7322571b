"""The streams of the driver by id, the configured ones and those made on request (§14.2)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from .configuration import Profile
from .events import StreamEvent
from .rotating_ids import RotatingIds
from .services import Services
from .stream_machine import NO_EPOCHS, EpochSpan, StreamLifecycle

__all__ = ["StreamTable"]

REMEMBERED_STREAMS = 4096


class StreamTable:
    """Every stream that is not Closed between events."""

    __slots__ = ("_epochs_before", "_services", "_streams", "dynamic_ids")

    def __init__(self, services: Services) -> None:
        self._services = services
        self._streams: dict[int, StreamLifecycle] = {}
        self._epochs_before: OrderedDict[int, EpochSpan] = OrderedDict()  # of removed streams
        self.dynamic_ids = RotatingIds(services.config.driver.stream_id_range)

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[StreamLifecycle]:
        """All streams by ascending id (D-017)."""
        return iter([self._streams[stream_id] for stream_id in sorted(self._streams)])

    def get(self, stream_id: int) -> StreamLifecycle | None:
        return self._streams.get(stream_id)

    def add_configured(self) -> None:
        """Create every stream that the configuration names; they are never removed (D-165)."""
        config = self._services.config
        for stream in config.streams.values():
            self._add(stream.stream_id, config.profiles.get(stream.profile), dynamic=False)

    def create_dynamic(self, stream_id: int, profile: Profile) -> StreamLifecycle:
        """Create a stream for as long as it has leases (D-164).

        Its id is only taken by `keep`, when there is a lease: a refused attach leaves no trace,
        not even in the order in which ids are given (I-17).
        """
        return self._add(stream_id, profile, dynamic=True)

    def keep(self, stream: StreamLifecycle) -> None:
        """A dynamic stream has its first lease."""
        self.dynamic_ids.take(stream.stream_id)

    def remove_if_unused(self, stream: StreamLifecycle) -> None:
        """Close and remove a dynamic stream that has no lease left (D-165)."""
        if stream.dynamic and stream.producer is None and not stream.consumers:
            stream.dispatch(StreamEvent.CLOSE)
            del self._streams[stream.stream_id]
            self._remember(stream)
            self.dynamic_ids.release(stream.stream_id)
            self._services.private_streams.release_stream(stream.stream_id)
            self._count()

    def _add(self, stream_id: int, profile: Profile | None, *, dynamic: bool) -> StreamLifecycle:
        stream = StreamLifecycle(
            self._services,
            stream_id,
            profile,
            dynamic=dynamic,
            epochs_before=self._epochs_before.pop(stream_id, NO_EPOCHS),
        )
        self._streams[stream_id] = stream
        self._count()
        return stream

    def _remember(self, stream: StreamLifecycle) -> None:
        if stream.epochs != NO_EPOCHS:
            self._epochs_before[stream.stream_id] = stream.epochs
            if len(self._epochs_before) > REMEMBERED_STREAMS:
                self._epochs_before.popitem(last=False)

    def _count(self) -> None:
        self._services.metrics.set("streams_total", len(self._streams))
