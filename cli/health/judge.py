"""Judge a pool by what was received from it (S-170): plain functions, no input or output."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from tensor_pool.client.discovery.stream_info import StreamInfo
from tensor_pool.client.qos.snapshot import ConsumerQos, QosSnapshot, StreamQos

from .verdict import Node, Verdict, worst_of

__all__ = ["Evidence", "judge"]

_STATUS = "tensor-pool status"
_STREAMS = "tensor-pool streams"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was received from a pool.

    `driver_state` is that of the driver's status page, None without one. `driver_age_s` is the time
    since the last announce or answer of a driver, None if there was none; after `patience_s` the
    driver counts as gone. `bridges` are judged nodes.
    """

    driver_state: str | None = None
    driver_age_s: float | None = None
    patience_s: float = 3.0
    streams: Sequence[StreamInfo] = ()
    qos: QosSnapshot = QosSnapshot(())
    listened_s: float = 0.0
    silence_s: float = 3.0
    bridges: Sequence[Node] = ()


def judge(evidence: Evidence, expected: Collection[str] = ()) -> Node:
    """Return the tree of verdicts; `expected` are names or ids of streams that must be there."""
    driver = _driver(evidence)
    parts = [driver, *_streams(evidence), *_missing(evidence, expected), *evidence.bridges]
    worst = worst_of(parts)
    causes = [f"{part.label}: {part.cause}" for part in parts if part.verdict is worst]
    return Node(
        kind="pool",
        verdict=worst,
        cause="all is well" if worst is Verdict.HEALTHY else "; ".join(causes),
        children=tuple(parts),
    )


def _driver(evidence: Evidence) -> Node:
    state, age_s = evidence.driver_state, evidence.driver_age_s
    see = _STATUS
    if state is not None:
        leaf = state.rpartition(".")[2]
        verdict = Verdict.HEALTHY if leaf == "Normal" else Verdict.DEGRADED
        return Node(kind="driver", verdict=verdict, cause=f"in state {state}", see=see)
    if age_s is None:
        cause = "does not answer and announces nothing; is `tensor-pool driver` running?"
        return Node(kind="driver", verdict=Verdict.FAILING, cause=cause, see=see)
    if age_s >= evidence.patience_s:
        cause = f"neither an answer nor an announce for {age_s:.1f} s"
        return Node(kind="driver", verdict=Verdict.FAILING, cause=cause, see=see)
    return Node(kind="driver", verdict=Verdict.HEALTHY, cause="answers or announces", see=see)


def _streams(evidence: Evidence) -> list[Node]:
    known = {info.stream_id: info for info in evidence.streams}
    reported = {each.stream_id: each for each in evidence.qos.streams}
    return [
        _stream(known.get(stream_id) or StreamInfo(stream_id=stream_id), reported, evidence)
        for stream_id in sorted(known.keys() | reported.keys())
    ]


def _stream(info: StreamInfo, reported: dict[int, StreamQos], evidence: Evidence) -> Node:
    qos = reported.get(info.stream_id)
    verdict, cause = _producer(info, qos, evidence)
    consumers = tuple(_consumer(each) for each in qos.consumers) if qos is not None else ()
    worst = max(verdict, worst_of(consumers))
    if verdict is not worst:
        cause = "; ".join(f"{c.label}: {c.cause}" for c in consumers if c.verdict is worst)
    return Node(
        kind="stream",
        name=info.label,
        verdict=worst,
        cause=cause,
        see=_STREAMS,
        children=consumers,
    )


def _producer(info: StreamInfo, qos: StreamQos | None, evidence: Evidence) -> tuple[Verdict, str]:
    producer = qos.producer if qos is not None else None
    if producer is None or producer.state == "Silent":
        if not info.has_producer:
            return Verdict.DEGRADED, "no producer"
        if producer is None and evidence.listened_s < evidence.silence_s:
            return Verdict.HEALTHY, f"producer {info.producer_id} is attached"
        silent_s = producer.age_s if producer is not None else evidence.listened_s
        text = f"producer {info.producer_id} is silent for {silent_s:.1f} s"
        return Verdict.DEGRADED, text
    rate = f"{producer.rate_hz:.1f} Hz" if producer.rate_hz is not None else "rate not known yet"
    return Verdict.HEALTHY, f"producer {producer.client_id}, {rate}"


def _consumer(consumer: ConsumerQos) -> Node:
    causes: dict[str, Any] = {
        "Dropping": f"loses frames: {consumer.drops_gap} never received,"
        f" {consumer.drops_late} overwritten",
        "Lagging": f"is {consumer.lag} frames behind",
        "Silent": f"is silent for {consumer.age_s:.1f} s",
    }
    return Node(
        kind="consumer",
        name=str(consumer.client_id),
        verdict=Verdict.DEGRADED if consumer.state in causes else Verdict.HEALTHY,
        cause=causes.get(consumer.state, "receives"),
        see=_STREAMS,
    )


def _missing(evidence: Evidence, expected: Collection[str]) -> list[Node]:
    there = {info.name for info in evidence.streams}
    there |= {str(info.stream_id) for info in evidence.streams}
    cause = "expected, and not there"
    return [
        Node(kind="stream", name=name, verdict=Verdict.FAILING, cause=cause, see=_STREAMS)
        for name in dict.fromkeys(expected)
        if name not in there
    ]
