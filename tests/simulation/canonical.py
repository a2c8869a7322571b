"""The part that two worlds must have in common to count as the same state.

Times are relative to now, epochs counted in their order, leases and requests counted back from the
next one: two worlds that differ only in when and how often something happened before go on alike.
Counters, and what is only kept to be checked, do not count. Merging too much would hide states but
never invent a failure.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from typing import Any

from tensor_pool.client.attachment.connection_machine import NEVER
from tensor_pool.client.shared_streams import LogicalStream
from tensor_pool.protocol.wire import Message, WireError, decode

from .processes import ClientProcess
from .schedule import MS, STREAM
from .world import World

__all__ = ["state_of"]

_LONG_AGO = -2000 * MS
_TIMES = frozenset({"announce_timestamp_ns", "timestamp_ns", "lease_expiry_timestamp_ns"})
_LEFT_OUT = frozenset(
    {
        "payload_pools",  # follow from the epoch
        "header_region_uri",
        "client_timestamp_ns",  # for people
        "node_id",
        "current_seq",
        "last_seq_seen",
        "drops_gap",
        "drops_late",
    }
)


@lru_cache(maxsize=1 << 16)
def _decoded(data: bytes) -> tuple[str, tuple[tuple[str, Any], ...]]:
    try:
        message: Message = decode(data, raw_enums=True)
    except WireError as error:
        return (str(error), ())
    fields = tuple(
        (name, getattr(message, name))
        for name in message.__struct_fields__
        if name not in _LEFT_OUT
    )
    return (type(message).__name__, fields)


class _View:
    """One world, with what its numbers are counted from."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = world.clock.monotonic_ns()
        self.epochs = sorted(world.disk.epochs.get(STREAM, ()))
        driver = world.driver.driver
        self.next_lease = driver._lifecycle.leases.next_id if driver is not None else 0
        self.next_request: dict[int, int] = {}
        for process in world.processes:
            if process.client is not None:
                for a in process.client._conductor.attachments:
                    self.next_request[a.client_id] = a.connection.correlations._count

    def time(self, ns: int | None) -> int | None:
        return None if ns is None or ns == NEVER else max(ns - self.now, _LONG_AGO)

    def epoch(self, epoch: int) -> tuple[int, bool]:
        at = bisect_left(self.epochs, epoch)
        return at - len(self.epochs), at < len(self.epochs) and self.epochs[at] == epoch

    def lease(self, lease_id: int | None) -> int | None:
        if lease_id is None:
            return None
        age = self.next_lease - lease_id
        return age if 0 <= age < 1000 else -1  # of another driver

    def request(self, correlation_id: int) -> int:
        return self.next_request.get(correlation_id >> 32, 0) - (correlation_id & 0xFFFFFFFF)

    def message(self, data: bytes) -> tuple[object, ...]:
        name, fields = _decoded(data)
        seen: list[object] = [name]
        for field, value in fields:
            if value is None:
                seen.append(None)
            elif field in _TIMES:
                seen.append(self.time(value))
            elif field == "epoch":
                seen.append(self.epoch(value))
            elif field == "lease_id":
                seen.append(self.lease(value))
            elif field == "correlation_id":
                seen.append(self.request(value))
            else:
                seen.append(value)
        return tuple(seen)

    def driver(self) -> object:
        driver = self.world.driver.driver
        if driver is None:
            return None
        lifecycle, timers, proxy = driver._lifecycle, driver._timers, driver._endpoints._proxy
        return (
            lifecycle.current.name,
            tuple(sorted(lifecycle.conditions)),
            tuple(self.time(t.due_ns) for t in (timers.lease_check, timers.announce, timers.drain)),
            tuple(
                (
                    stream.stream_id,
                    stream.current.name,
                    self.epoch(stream.epoch or 0),
                    self.lease(stream.producer.lease_id) if stream.producer is not None else None,
                    tuple(sorted(map(str, map(self.lease, stream.consumers)))),
                )
                for stream in lifecycle.streams
            ),
            tuple(
                (self.lease(x.lease_id), x.client_id, int(x.role), self.time(x.expiry_ns))
                for x in lifecycle.leases
            ),
            (proxy.control_backlog, proxy.announce_backlog),
            len(driver._router.posted),
            len(lifecycle._lease_requests._foreign),
        )

    def process(self, process: ClientProcess) -> object:
        if process.client is None:
            return None
        conductor = process.client._conductor
        endpoints = conductor._endpoints
        joined = (
            endpoints.subscribe(LogicalStream.ANNOUNCE).join_time_ns if endpoints is not None else 0
        )
        return (
            self.time(joined),
            len(conductor._leaving),
            tuple(member.handle is None for member in process.members),
            tuple(map(self.attachment, conductor.attachments)),
        )

    def attachment(self, a: Any) -> object:
        connection, machine = a.connection, a.machine
        correlations = connection.correlations
        grant = connection.grant
        producer = getattr(a, "producer", None)
        state = producer._state if producer is not None else a.receiver.state
        use: object = None
        if state is not None:
            words = state.mapping.stream.header.words
            use = (
                self.epoch(state.epoch),
                state.next_seq,
                tuple(words[index] for index in state.word_indices),
                self.time(state.mapping.announce_timestamp_ns),
            )
        return (
            a.is_closing,
            len(a._requests),
            connection.current.name,
            min(connection.failures, 5),
            self.time(connection.deadline_ns),
            self.time(max(a._heard_driver_ns, connection.attached_ns)),
            self.lease(grant.lease_id) if grant is not None else None,
            correlations.outstanding is not None,
            tuple(map(self.request, correlations._remembered)),
            self.epoch(a.announces.highest_epoch),
            tuple(sorted((str(name), self.time(due)) for name, due in a.timers._due_ns.items())),
            machine.current.name,
            self.epoch(getattr(machine, "min_epoch", 0)),
            use,
        )

    def network(self) -> object:
        queues = []
        for transport in self.world.network._transports.values():
            for endpoint in transport._endpoints:
                if hasattr(endpoint, "poll"):
                    unread = sorted(
                        (unread.order, image.publication.transport.name, unread)
                        for image in endpoint.images
                        for unread in image.queue
                    )
                    queues.append(
                        (
                            transport.name,
                            endpoint.stream_id,
                            tuple(
                                (who, unread.message and self.message(unread.message))
                                for _, who, unread in unread
                            ),
                        )
                    )
        return tuple(queues)


def state_of(world: World) -> tuple[object, ...]:
    """Equal for worlds that go on alike."""
    view = _View(world)
    return (view.driver(), *map(view.process, world.processes), view.network())
