"""One picture of a pool, whether the driver drew it or a bystander.

The driver's status page has states, streams that wait for their first producer, and the expiry of
leases. The messages on the pool's streams have rates and drops. An overview takes both where they
are there, and lists in `unknown` the values that are missing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tensor_pool.bridge.status import BridgeStatus
from tensor_pool.client.qos.snapshot import QosSnapshot

from .heard import ConsumerSeen, LeaseSeen, Observation, StreamSeen

__all__ = [
    "ConsumerView",
    "DriverView",
    "EventView",
    "LeaseView",
    "Overview",
    "StreamView",
    "overview_of",
]

UNKNOWN_ON_THE_WIRE = (
    "states of the driver, its streams and leases: they are not on the wire; give --http"
    " (driver.http_address)",
    "streams without an epoch: they are announced from their first attach on",
)
_EXPIRY_IS_ESTIMATED = (
    "exact expiry of leases: estimated from their last keepalive and the configured duration"
)


class DriverView(msgspec.Struct, kw_only=True):
    """The driver. `responds` is None where it was not asked."""

    responds: bool | None = None
    round_trip_ms: float | None = None
    state: str | None = None
    instance_id: str | None = None
    conditions: list[str] | None = None
    aeron_dir: str | None = None
    control_channel: str | None = None
    control_stream_id: int | None = None
    shutdown: str | None = None


class ConsumerView(msgspec.Struct, kw_only=True):
    """One consumer of a stream; drops are totals since it attached."""

    client_id: int
    mode: str | None = None
    max_rate_hz: int | None = None
    drops_gap: int | None = None
    drops_late: int | None = None
    drops_per_s: float | None = None
    lag: int | None = None
    qos_state: str | None = None


class StreamView(msgspec.Struct, kw_only=True):
    """One stream; None is "not known". Epochs exceed 2^53, so they are text."""

    stream_id: int
    name: str | None = None
    state: str | None = None
    epoch: str | None = None
    producer: int | None = None
    producer_name: str | None = None
    consumers: list[ConsumerView] = []
    rate_hz: float | None = None
    qos_state: str | None = None
    last_seq: int | None = None
    header_nslots: int | None = None
    strides_bytes: list[int] = []
    uris: list[str] = []
    origin: str | None = None
    """Host and stream that a bridged stream comes from (B-161)."""
    path: list[str] = []
    """The bridges on its way."""

    @property
    def drops(self) -> int | None:
        """Frames that consumers did not get, all of them together."""
        known = [
            (consumer.drops_gap or 0) + (consumer.drops_late or 0)
            for consumer in self.consumers
            if consumer.drops_gap is not None or consumer.drops_late is not None
        ]
        return sum(known) if known else None


class LeaseView(msgspec.Struct, kw_only=True):
    """One lease; its id exceeds 2^53, so it is text."""

    lease_id: str
    stream_id: int
    client_id: int
    role: str
    client: str | None = None
    state: str | None = None
    node_id: int | None = None
    expires_in_ms: int | None = None


class EventView(msgspec.Struct, frozen=True):
    """A change; `at` is wall-clock time in s, None if it is not known."""

    at: float | None
    text: str


class Overview(msgspec.Struct, kw_only=True):
    """The pool at one moment, where that is known from, and what is not known."""

    source: str
    driver: DriverView
    streams: list[StreamView]
    leases: list[LeaseView]
    events: list[EventView]
    unknown: list[str]
    bridges: list[BridgeStatus] = []
    """Bridges of this host that carry streams of the pool; filled in by `status`."""


def overview_of(
    document: dict[str, Any] | None,
    observation: Observation | None,
    *,
    source: str,
    lease_duration_ns: int,
) -> Overview:
    """Return the overview of a status document, of messages, or of both together."""
    now_ns = time.monotonic_ns()
    unknown: list[str] = []
    if document is None:
        assert observation is not None
        driver = _heard_driver(observation)
        leases = [_heard_lease(one, now_ns, lease_duration_ns) for one in _by_id(observation)]
        streams = [_heard_stream(one) for _, one in sorted(observation.streams.items())]
        _add_producers(streams, leases)
        unknown += UNKNOWN_ON_THE_WIRE
        if leases:
            unknown.append(_EXPIRY_IS_ESTIMATED)
    else:
        driver = _told_driver(document["driver"])
        leases = [msgspec.convert(one, LeaseView) for one in document["leases"]]
        streams = [_told_stream(one, leases) for one in document["streams"]]
        for stream in streams:
            seen = observation.streams.get(stream.stream_id) if observation else None
            if seen is not None:
                _add_what_was_heard(stream, seen)
    _add_client_names(streams, leases, observation.clients if observation is not None else {})
    if observation is not None:
        _add_consumers(streams, leases, observation.consumers.values())
        _add_qos(streams, observation.qos.snapshot())
    return Overview(
        source=source,
        driver=driver,
        streams=streams,
        leases=leases,
        events=_events(document, observation),
        unknown=unknown,
    )


def _heard_driver(observation: Observation) -> DriverView:
    shutdown = observation.shutdown
    return DriverView(
        responds=True if observation.driver_heard_ns else None,
        shutdown=shutdown.reason.name if shutdown is not None else None,
    )


def _told_driver(told: dict[str, Any]) -> DriverView:
    return DriverView(
        responds=True,
        state=told.get("state"),
        instance_id=told.get("instance_id"),
        conditions=list(told.get("conditions", ())),
        aeron_dir=told.get("aeron_dir"),
        control_channel=told.get("control_channel"),
        control_stream_id=told.get("control_stream_id"),
    )


def _by_id(observation: Observation) -> list[LeaseSeen]:
    return sorted(observation.leases.values(), key=lambda lease: lease.lease_id)


def _heard_lease(lease: LeaseSeen, now_ns: int, lease_duration_ns: int) -> LeaseView:
    expiry_ns = lease.expiry_ns
    if expiry_ns is None:
        expiry_ns = lease.heard_ns + lease_duration_ns
    return LeaseView(
        lease_id=str(lease.lease_id),
        stream_id=lease.stream_id,
        client_id=lease.client_id,
        role=lease.role,
        expires_in_ms=(expiry_ns - now_ns) // 1_000_000,
    )


def _heard_stream(seen: StreamSeen) -> StreamView:
    stream = StreamView(
        stream_id=seen.stream_id,
        epoch=str(seen.epoch) if seen.epoch else None,
        producer=seen.producer_id or None,
        header_nslots=seen.header_nslots or None,
        strides_bytes=list(seen.strides_bytes),
        uris=list(seen.uris),
    )
    _add_what_was_heard(stream, seen)
    return stream


def _told_stream(told: dict[str, Any], leases: Iterable[LeaseView]) -> StreamView:
    clients = {lease.lease_id: lease.client_id for lease in leases}
    return StreamView(
        stream_id=told["stream_id"],
        name=told.get("name") or None,
        state=told.get("state"),
        epoch=told.get("epoch"),
        producer=clients.get(told.get("producer_lease_id") or ""),
        consumers=[
            ConsumerView(client_id=clients[lease_id])
            for lease_id in told.get("consumer_lease_ids", ())
            if lease_id in clients
        ],
        header_nslots=told.get("header_nslots"),
        strides_bytes=list(told.get("strides_bytes", ())),
        uris=list(told.get("uris", ())),
    )


def _add_what_was_heard(stream: StreamView, seen: StreamSeen) -> None:
    stream.name = seen.name or stream.name
    stream.last_seq = seen.last_seq if seen.last_seq is None or seen.last_seq >= 0 else None
    if seen.bridged is not None:
        stream.origin = f"{seen.bridged.origin}:{seen.bridged.stream}"
        stream.path = list(seen.bridged.path)


def _add_producers(streams: Iterable[StreamView], leases: Iterable[LeaseView]) -> None:
    """A producer that keeps its lease alive is known before the next announce names it."""
    producers = {lease.stream_id: lease.client_id for lease in leases if lease.role == "PRODUCER"}
    for stream in streams:
        stream.producer = stream.producer or producers.get(stream.stream_id)


def _add_client_names(
    streams: Iterable[StreamView], leases: Iterable[LeaseView], heard: Mapping[int, str]
) -> None:
    """Name lease holders and producers, where their names are known (S-048)."""
    names = dict(heard)
    for lease in leases:
        lease.client = lease.client or heard.get(lease.client_id)
        if lease.client:
            names[lease.client_id] = lease.client
    for stream in streams:
        if stream.producer is not None:
            stream.producer_name = names.get(stream.producer)


def _add_qos(streams: Iterable[StreamView], qos: QosSnapshot) -> None:
    """Add the values of the monitor, and nothing that is counted elsewhere (S-050)."""
    for stream in streams:
        reported = qos.stream(stream.stream_id)
        if reported is None:
            continue
        if reported.producer is not None:
            stream.rate_hz = reported.producer.rate_hz
            stream.qos_state = reported.producer.state
        by_id = {consumer.client_id: consumer for consumer in reported.consumers}
        for view in stream.consumers:
            if (consumer := by_id.get(view.client_id)) is not None:
                view.drops_per_s, view.lag = consumer.drops_per_s, consumer.lag
                view.qos_state = consumer.state


def _add_consumers(
    streams: Iterable[StreamView], leases: Iterable[LeaseView], seen: Iterable[ConsumerSeen]
) -> None:
    known = {stream.stream_id: stream for stream in streams}
    listed = {
        (stream.stream_id, consumer.client_id): consumer
        for stream in known.values()
        for consumer in stream.consumers
    }
    attached = [(lease.stream_id, lease.client_id) for lease in leases if lease.role == "CONSUMER"]
    heard = {(one.stream_id, one.consumer_id): one for one in seen}
    for key in dict.fromkeys((*attached, *heard)):
        stream_id, client_id = key
        if stream_id not in known:
            continue
        view = listed.get(key)
        if view is None:
            view = listed[key] = ConsumerView(client_id=client_id)
            known[stream_id].consumers.append(view)
        if (one := heard.get(key)) is not None:
            view.mode, view.max_rate_hz = one.mode, one.max_rate_hz
            view.drops_gap, view.drops_late = one.drops_gap, one.drops_late


def _events(document: dict[str, Any] | None, observation: Observation | None) -> list[EventView]:
    if document is not None and "events" in document:
        return [
            EventView(told["at_ms"] / 1000, f"{told['machine']}: {told['text']}")
            for told in document["events"]
        ]
    if observation is None:
        return []
    return [EventView(event.at, event.text) for event in observation.events]
