"""Transport streams for consumers: the answer to a ConsumerHello (§14.3)."""

from __future__ import annotations

from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    Mode,
    StreamRequest,
    stream_request,
)
from tensor_pool.protocol.wire.channel_terms import with_short_terms
from tensor_pool.protocol.wire.stream_pairs import STREAM_WIDE_ID, STREAM_WIDE_TOKEN

from .configuration import DriverTable, IdRange
from .rotating_ids import RotatingIds

__all__ = ["PrivateStreams", "StreamAssignments"]

LARGEST_STREAM_ID = 2**31 - 1
LONG_TERM_STREAMS = 128
"""Tensor streams whose stream-wide descriptor stream has the terms of the control channel, 4 MiB by
default; those of further ones are short, as each producer's three terms are allocated (D-168)."""
_MODES = frozenset(Mode)
_MOST_HELLOS_UNANSWERED = 64
_DECLINED = ("", 0)


class StreamAssignments:
    """Owners of the ids of one range: leases, and tensor streams."""

    __slots__ = ("_by_lease", "_by_stream", "_ids")

    def __init__(self, id_range: IdRange | None) -> None:
        self._ids = RotatingIds(id_range)
        self._by_lease: dict[int, int] = {}
        self._by_stream: dict[int, int] = {}

    @property
    def by_lease(self) -> dict[int, int]:
        """A copy of the assignments: transport stream id by lease id."""
        return dict(self._by_lease)

    def assign(self, lease_id: int, requested: int) -> int:
        """Return the lease's id, the same each time: the requested one if free; 0 for none."""
        assigned = self._by_lease.get(lease_id)
        if assigned is None:
            assigned = self._ids.take(requested if self._ids.has_free(requested) else None)
            if assigned is None:
                return 0
            self._by_lease[lease_id] = assigned
        return assigned

    def assign_to_stream(self, stream_id: int) -> int:
        """Return the id that all consumers of a tensor stream share; 0 for none."""
        assigned = self._by_stream.get(stream_id) or self._ids.take()
        if assigned is None:
            return 0
        self._by_stream[stream_id] = assigned
        return assigned

    def release(self, lease_id: int) -> None:
        assigned = self._by_lease.pop(lease_id, None)
        if assigned is not None:
            self._ids.release(assigned)

    def has_stream(self, stream_id: int) -> bool:
        """Return whether a tensor stream has an id."""
        return stream_id in self._by_stream

    def release_stream(self, stream_id: int) -> bool:
        """Free the id of a tensor stream; False if it had none."""
        assigned = self._by_stream.pop(stream_id, None)
        if assigned is not None:
            self._ids.release(assigned)
        return assigned is not None


class PrivateStreams:
    """Assigns transport streams to consumers for as long as their leases last.

    Consumers that ask for the stream-wide token share one descriptor stream for each tensor stream,
    on the driver's control channel (D-168). The producer is sent its number before its grant.
    """

    __slots__ = (
        "_answered",
        "_channels",
        "_configs",
        "_long",
        "_short",
        "_short_channel",
        "_wide_channel",
        "control",
        "descriptor",
    )

    def __init__(self, driver: DriverTable) -> None:
        self._wide_channel = driver.control_channel
        self._short_channel = with_short_terms(driver.control_channel)
        self._short: set[int] = set()  # tensor streams whose terms are short
        self._long = 0  # the number of the others
        self._channels = frozenset({driver.control_channel, driver.announce_channel})
        self._answered: dict[int, tuple[ConsumerConfig, int]] = {}  # and its hellos, by lease
        self._configs: dict[int, ConsumerConfig] = {}  # the latest by lease, private streams only
        self.descriptor = StreamAssignments(driver.descriptor_stream_id_range)
        self.control = StreamAssignments(driver.control_stream_id_range)

    def answer(self, lease_id: int, hello: ConsumerHello) -> tuple[ConsumerConfig, bool] | None:
        """The configuration for a consumer, and True if a part of what it asked for is declined.

        None when it asks for nothing. Of a hello with a malformed half both are declined (D-168).
        """
        halves = (
            stream_request(hello.descriptor_channel, hello.descriptor_stream_id),
            stream_request(hello.control_channel, hello.control_stream_id),
        )
        if halves == (StreamRequest.ABSENT, StreamRequest.ABSENT):
            self._configs.pop(lease_id, None)
            return None
        descriptor = control = _DECLINED
        is_wide = hello.descriptor_stream_id == STREAM_WIDE_TOKEN
        if StreamRequest.MALFORMED not in halves:
            if is_wide:
                descriptor = self._wide(hello.stream_id)
            else:
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
        if (descriptor != _DECLINED and not is_wide) or control != _DECLINED:
            self._configs[lease_id] = config
        else:
            self._configs.pop(lease_id, None)
        return config, declined

    def has_had(self, lease_id: int, hello: ConsumerHello, config: ConsumerConfig) -> bool:
        """Return whether a consumer has had this answer, and is not due to get it again.

        All clients receive every answer. One that names the stream-wide stream alone is repeated
        after 2, 4, 8 … hellos only, in case that it was lost.
        """
        if hello.descriptor_stream_id != STREAM_WIDE_TOKEN or hello.control_channel:
            return False
        known, hellos = self._answered.get(lease_id, (None, 0))
        hellos = hellos + 1 if known == config else 1
        self._answered[lease_id] = config, hellos
        return hellos & (hellos - 1) != 0 and hellos % _MOST_HELLOS_UNANSWERED != 0

    def for_producer(self, stream_id: int) -> list[ConsumerConfig]:
        """The configurations that a new producer needs: every stream that its consumers read."""
        wide = self._wide(stream_id)
        configs = [c for c in self._configs.values() if c.stream_id == stream_id]
        if wide == _DECLINED:
            return configs
        return [
            ConsumerConfig(
                stream_id,
                STREAM_WIDE_ID,
                use_shm=True,
                mode=Mode.STREAM,
                descriptor_stream_id=wide[1],
                descriptor_channel=wide[0],
            ),
            *configs,
        ]

    def release(self, lease_id: int) -> None:
        """The lease has ended; its ids are free."""
        self._configs.pop(lease_id, None)
        self._answered.pop(lease_id, None)
        self.descriptor.release(lease_id)
        self.control.release(lease_id)

    def release_stream(self, stream_id: int) -> None:
        """The tensor stream is removed; the id that its consumers shared is free."""
        if self.descriptor.release_stream(stream_id):
            if stream_id in self._short:
                self._short.remove(stream_id)
            else:
                self._long -= 1

    def _wide(self, stream_id: int) -> tuple[str, int]:
        is_new = not self.descriptor.has_stream(stream_id)
        assigned = self.descriptor.assign_to_stream(stream_id)
        if not assigned:
            return _DECLINED
        if is_new and self._long < LONG_TERM_STREAMS:
            self._long += 1
        elif is_new:
            self._short.add(stream_id)
        return (self._short_channel if stream_id in self._short else self._wide_channel), assigned

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
