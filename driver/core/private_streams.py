"""Per-consumer transport streams: the answer to a ConsumerHello (§14.3)."""

from __future__ import annotations

from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    Mode,
    StreamRequest,
    stream_request,
)

from .configuration import DriverTable, IdRange
from .rotating_ids import RotatingIds

__all__ = ["PrivateStreams", "StreamAssignments"]

LARGEST_STREAM_ID = 2**31 - 1
_MODES = frozenset(Mode)
_DECLINED = ("", 0)


class StreamAssignments:
    """The ids of one range, by lease."""

    __slots__ = ("_by_lease", "_ids")

    def __init__(self, id_range: IdRange | None) -> None:
        self._ids = RotatingIds(id_range)
        self._by_lease: dict[int, int] = {}

    @property
    def by_lease(self) -> dict[int, int]:
        """A copy of the assignments: transport stream id by lease id."""
        return dict(self._by_lease)

    def assign(self, lease_id: int, requested: int) -> int:
        """Return the lease's id, the same each time: the requested one if it is in the range and
        free, else the next (D-168); 0 when there is none left."""
        assigned = self._by_lease.get(lease_id) or self._ids.take(
            requested if self._ids.has_free(requested) else None
        )
        if assigned is None:
            return 0
        self._by_lease[lease_id] = assigned
        return assigned

    def release(self, lease_id: int) -> None:
        assigned = self._by_lease.pop(lease_id, None)
        if assigned is not None:
            self._ids.release(assigned)


class PrivateStreams:
    """Assigns transport streams to consumers for as long as their leases last."""

    __slots__ = ("_channels", "control", "descriptor")

    def __init__(self, driver: DriverTable) -> None:
        self._channels = frozenset({driver.control_channel, driver.announce_channel})
        self.descriptor = StreamAssignments(driver.descriptor_stream_id_range)
        self.control = StreamAssignments(driver.control_stream_id_range)

    def answer(self, lease_id: int, hello: ConsumerHello) -> tuple[ConsumerConfig, bool] | None:
        """The configuration for a consumer, and whether a part of what it asked for is declined.

        None when it asks for nothing. Of a hello with a malformed half both are declined (D-168).
        """
        halves = (
            stream_request(hello.descriptor_channel, hello.descriptor_stream_id),
            stream_request(hello.control_channel, hello.control_stream_id),
        )
        if halves == (StreamRequest.ABSENT, StreamRequest.ABSENT):
            return None
        descriptor = control = _DECLINED
        if StreamRequest.MALFORMED not in halves:
            descriptor = self._give(
                self.descriptor, lease_id, hello.descriptor_channel, hello.descriptor_stream_id
            )
            control = self._give(
                self.control, lease_id, hello.control_channel, hello.control_stream_id
            )
        config = ConsumerConfig(
            hello.stream_id,
            hello.consumer_id,
            use_shm=True,
            mode=Mode(hello.mode) if hello.mode in _MODES else Mode.STREAM,
            descriptor_stream_id=descriptor[1],
            control_stream_id=control[1],
            descriptor_channel=descriptor[0],
            control_channel=control[0],
        )
        declined = any(
            half is not StreamRequest.ABSENT and given is _DECLINED
            for half, given in zip(halves, (descriptor, control), strict=True)
        )
        return config, declined

    def release(self, lease_id: int) -> None:
        """The lease has ended; its ids are free."""
        self.descriptor.release(lease_id)
        self.control.release(lease_id)

    def _give(
        self, assignments: StreamAssignments, lease_id: int, channel: str, stream_id: int
    ) -> tuple[str, int]:
        if not channel or stream_id > LARGEST_STREAM_ID or not self._carries(channel):
            return _DECLINED
        assigned = assignments.assign(lease_id, stream_id)
        return (channel, assigned) if assigned else _DECLINED

    def _carries(self, channel: str) -> bool:
        """Return whether both ends of a private stream on this channel can reach each other."""
        return (
            channel == "aeron:ipc" or channel.startswith("aeron:ipc?") or channel in self._channels
        )
