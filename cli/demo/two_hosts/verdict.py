"""The checks at the end of the demo of two hosts."""

from __future__ import annotations

import msgspec

from ..protocol import ConsumerReport, ProducerReport
from ..verdict import Check

__all__ = ["LIMIT_S", "Break", "TwoHostsOutcome", "judge"]

LIMIT_S = 15.0
"""Longest time in seconds from a cause that has ended to the next frame at the far side."""


class Break(msgspec.Struct, kw_only=True):
    """Something that was broken; `mended_s` is the time from the remedy to frames at all viewers.

    `remaps` is how often the viewers mapped new regions because of it.
    """

    name: str
    frames_before: dict[str, int] = {}
    exit_status: int | None = None
    mended_s: float | None = None
    remaps: dict[str, int] = {}
    may_remap: bool = False


class TwoHostsOutcome(msgspec.Struct, kw_only=True):
    """Everything the verdict rests on."""

    source_frames: int
    partition_s: float
    breaks: list[Break] = []
    link_went_down: bool = False
    camera: ProducerReport | None = None
    viewers: dict[str, ConsumerReport] = {}
    sent: dict[str, int] = {}
    """Counts of the sending bridge at its end."""
    received: dict[str, int] = {}
    exit_statuses: dict[str, int | None] = {}
    left_behind: list[str] = []


def judge(outcome: TwoHostsOutcome) -> list[Check]:
    """All checks, in the order in which things happened."""
    viewers = outcome.viewers
    return [
        *(check for one in outcome.breaks for check in _checks_of(one, outcome)),
        _content(outcome),
        Check(
            outcome.camera is not None and outcome.camera.final and not outcome.camera.refused,
            f"the camera was never held up: {_published(outcome)}",
        ),
        _account(outcome),
        _arrivals(outcome),
        Check(
            len(viewers) == 2 and all(report.final for report in viewers.values()),
            "both viewers reported to the end",
        ),
        Check(
            all(status == 0 for status in outcome.exit_statuses.values()),
            "bridges and drivers drained and stopped: "
            + ", ".join(f"{name} {status}" for name, status in outcome.exit_statuses.items()),
        ),
        Check(
            not outcome.left_behind,
            "nothing left behind: "
            + (", ".join(outcome.left_behind) or "no process, no file, no namespace"),
        ),
    ]


def _checks_of(one: Break, outcome: TwoHostsOutcome) -> list[Check]:
    before = one.frames_before
    checks = [
        Check(
            len(before) == 2 and all(before.values()),
            f"frames before {one.name}: " + _each(before),
        )
    ]
    if one.exit_status is not None:
        checks.append(
            Check(one.exit_status == -9, f"{one.name}: exit status {one.exit_status}"),
        )
    elif outcome.partition_s >= 6:
        checks.append(
            Check(outcome.link_went_down, "the sender noticed the partition and skipped frames")
        )
    mended = one.mended_s
    checks.append(
        Check(
            mended is not None and mended <= LIMIT_S,
            f"frames at both viewers after {one.name}: "
            + (f"{mended:.2f} s after its end" if mended is not None else "never")
            + f" (at most {LIMIT_S:.0f} s)",
        )
    )
    remapped = len(one.remaps) == 2 and all(one.remaps.values())
    kept = len(one.remaps) == 2 and not any(one.remaps.values())
    checks.append(
        Check(
            remapped if one.may_remap else kept,
            f"epochs over {one.name}: "
            + ("a new one, mapped by both viewers" if one.may_remap else "the same, no remap")
            + f"; remaps: {_each(one.remaps)}",
        )
    )
    return checks


def _content(outcome: TwoHostsOutcome) -> Check:
    mismatches = sum(report.mismatches for report in outcome.viewers.values())
    frames = sum(report.frames for report in outcome.viewers.values())
    first = next((r.first_mismatch for r in outcome.viewers.values() if r.first_mismatch), None)
    return Check(
        mismatches == 0 and frames > 0,
        f"{mismatches} hash mismatches in {frames} frames received, each compared with its source"
        f" ({outcome.source_frames} pictures)" + (f"; first: {first}" if first else ""),
    )


def _published(outcome: TwoHostsOutcome) -> str:
    camera = outcome.camera
    if camera is None:
        return "it did not report"
    return f"{sum(camera.refused.values())} of {camera.frames} frames refused"


def _account(outcome: TwoHostsOutcome) -> Check:
    sent = outcome.sent
    dropped = sum(count for name, count in sent.items() if name.startswith("dropped_"))
    taken, whole, skipped = (
        sent.get(name, 0) for name in ("frames_taken", "frames_sent", "skipped_link")
    )
    return Check(
        taken > 0 and taken == whole + dropped + skipped,
        f"frames at the sender add up: {taken} taken = {whole} sent + {dropped} dropped"
        f" + {skipped} skipped while the link was down",
    )


def _arrivals(outcome: TwoHostsOutcome) -> Check:
    delivered = outcome.received.get("frames_delivered", 0)
    whole = outcome.sent.get("frames_sent", 0)
    return Check(
        0 < delivered <= whole,
        f"frames at the receiver: {delivered} delivered since it was started anew, of {whole} sent"
        " to it and to the one that was killed",
    )


def _each(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
