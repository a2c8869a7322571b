"""Reports of a running driver, for its pages and for applications that embed it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import msgspec

from ..core.snapshots import DriverSnapshot, LeaseSnapshot, StreamSnapshot
from .assembly import Assembly

__all__ = ["DriverReport", "MetricsReport", "status_document", "take_metrics", "take_report"]


class DriverReport(msgspec.Struct, frozen=True):
    """Immutable: made in the loop's thread, read in any. `cost_ns` is what it took of its time.

    `last_record` is the number of the last record in the feed by then.
    """

    snapshot: DriverSnapshot
    metrics: dict[str, int]
    taken_ns: int
    aeron_dir: str
    embeds_media_driver: bool
    control_channel: str
    control_stream_id: int
    cost_ns: int = 0
    last_record: int = 0


class MetricsReport(msgspec.Struct, frozen=True):
    """The part that costs the same however many leases there are."""

    instance_id: str
    state: str
    metrics: dict[str, int]


def take_metrics(assembly: Assembly) -> MetricsReport:
    """The metrics now; for the thread that runs the driver."""
    return MetricsReport(
        instance_id=assembly.config.driver.instance_id,
        state=assembly.driver.state,
        metrics=assembly.metrics.snapshot(),
    )


def take_report(assembly: Assembly) -> DriverReport:
    """The state of the driver now; for the thread that runs it."""
    began_ns = time.thread_time_ns()
    driver = assembly.config.driver
    snapshot = assembly.driver.snapshot()
    return DriverReport(
        snapshot=snapshot,
        metrics=assembly.metrics.snapshot(),
        taken_ns=assembly.clock.monotonic_ns(),
        aeron_dir=assembly.aeron_dir,
        embeds_media_driver=assembly.embeds_media_driver,
        control_channel=driver.control_channel,
        control_stream_id=driver.control_stream_id,
        cost_ns=time.thread_time_ns() - began_ns,
        last_record=assembly.feed.last_number,
    )


def status_document(report: DriverReport) -> dict[str, Any]:
    """The report as plain values for JSON.

    Lease ids and epochs are strings: they exceed 2^53, and readers that keep numbers as doubles
    would round them to those of another lease. Times are relative, in ms, so that a reader needs no
    monotonic clock.
    """
    snapshot = report.snapshot
    status = msgspec.structs.asdict(snapshot.status)
    status["next_lease_id"] = str(snapshot.status.next_lease_id)
    return {
        "driver": {
            **status,
            "aeron_dir": report.aeron_dir,
            "embeds_media_driver": report.embeds_media_driver,
            "control_channel": report.control_channel,
            "control_stream_id": report.control_stream_id,
        },
        "streams": [_stream(stream) for stream in snapshot.streams],
        "leases": [_lease(lease, report.taken_ns) for lease in snapshot.leases],
        "assignments": [
            {**msgspec.structs.asdict(assignment), "lease_id": str(assignment.lease_id)}
            for assignment in snapshot.assignments
        ],
        "metrics": report.metrics,
    }


def _stream(stream: StreamSnapshot) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(stream),
        "epoch": _text(stream.epoch),
        "last_epoch": str(stream.last_epoch),
        "producer_lease_id": _text(stream.producer_lease_id),
        "consumer_lease_ids": _texts(stream.consumer_lease_ids),
    }


def _lease(lease: LeaseSnapshot, now: int) -> dict[str, Any]:
    document = msgspec.structs.asdict(lease)
    del document["expiry_ns"]
    return {
        **document,
        "lease_id": str(lease.lease_id),
        "expires_in_ms": (lease.expiry_ns - now) // 1_000_000,
    }


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def _texts(numbers: Iterable[int]) -> list[str]:
    return [str(number) for number in numbers]
