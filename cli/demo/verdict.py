"""The checks at the end of the demo, each passed or failed, in words."""

from __future__ import annotations

import msgspec

from .protocol import ConsumerReport, ProducerReport

__all__ = ["Check", "Outcome", "Recovery", "judge", "recovery_of"]


class Outcome(msgspec.Struct, kw_only=True):
    """Everything the verdict rests on; times are CLOCK_MONOTONIC in ns."""

    expiry_s: float
    margin_s: float = 1.0
    """Longest time from the expiry of the killed producer's lease to the next frame."""
    source_frames: int
    killed_ns: int | None = None
    kill_status: int | None = None
    lease_ended_ns: int | None = None
    lease_end: str = ""
    epoch_before: int | None = None
    consumers: dict[str, ConsumerReport] = {}
    producers: dict[str, ProducerReport] = {}
    driver_exit_status: int | None = None
    left_behind: list[str] = []


class Check(msgspec.Struct, frozen=True):
    """One thing that had to be so."""

    passed: bool
    text: str


class Recovery(msgspec.Struct, frozen=True):
    """The recovery of one consumer, in seconds after the kill; None if it did not recover."""

    frames_before: int
    frames_after: int
    remapped_s: float | None
    frames_again_s: float | None


def recovery_of(report: ConsumerReport, outcome: Outcome) -> Recovery:
    """Split a consumer's story at the kill."""
    killed_ns, epoch_before = outcome.killed_ns, outcome.epoch_before
    if killed_ns is None or epoch_before is None:
        return Recovery(report.frames, 0, None, None)
    after = [seen for seen in report.epochs if seen.epoch > epoch_before]
    remaps = [mapped for mapped in report.mapped_ns if mapped > killed_ns]
    frames_again = [seen.first_frame_ns for seen in after if seen.first_frame_ns is not None]
    return Recovery(
        frames_before=sum(s.frames for s in report.epochs if s.epoch <= epoch_before),
        frames_after=sum(seen.frames for seen in after),
        remapped_s=(min(remaps) - killed_ns) / 1e9 if remaps else None,
        frames_again_s=(min(frames_again) - killed_ns) / 1e9 if frames_again else None,
    )


def judge(outcome: Outcome) -> list[Check]:
    """All checks, in the order in which things happened."""
    recoveries = {name: recovery_of(r, outcome) for name, r in sorted(outcome.consumers.items())}
    limit_s = outcome.expiry_s + outcome.margin_s
    checks = [
        Check(
            bool(recoveries) and all(r.frames_before > 0 for r in recoveries.values()),
            "frames before the kill: "
            + _each({name: str(r.frames_before) for name, r in recoveries.items()}),
        ),
        Check(
            outcome.kill_status == -9,
            f"the first producer was killed: exit status {outcome.kill_status}",
        ),
        _lease_check(outcome, limit_s),
        Check(
            bool(recoveries) and all(r.remapped_s is not None for r in recoveries.values()),
            "the epoch was raised and the consumers remapped: "
            + _each({name: _seconds(r.remapped_s) for name, r in recoveries.items()}),
        ),
        _recovery_check(recoveries, outcome, limit_s),
        Check(
            bool(recoveries) and all(r.frames_after > 0 for r in recoveries.values()),
            "frames after the kill: "
            + _each({name: str(r.frames_after) for name, r in recoveries.items()}),
        ),
    ]
    checks += _content_checks(outcome)
    checks += [
        Check(
            outcome.driver_exit_status == 0,
            f"the driver drained and stopped: exit status {outcome.driver_exit_status}",
        ),
        Check(
            not outcome.left_behind,
            "nothing left behind: " + (", ".join(outcome.left_behind) or "no process, no file"),
        ),
    ]
    return checks


def _recovery_check(recoveries: dict[str, Recovery], outcome: Outcome, limit_s: float) -> Check:
    times = {name: r.frames_again_s for name, r in recoveries.items()}
    passed = bool(times) and all(s is not None and s <= limit_s for s in times.values())
    late = not passed and bool(times) and None not in times.values()
    return Check(
        passed,
        f"recovery within {limit_s:.1f} s (expiry {outcome.expiry_s:.1f} s + "
        f"{outcome.margin_s:g} s), to the first frame of the second producer: "
        + _each({name: _seconds(seconds) for name, seconds in times.items()})
        + ("; --margin SECONDS allows more on a busy computer" if late else ""),
    )


def _lease_check(outcome: Outcome, limit_s: float) -> Check:
    if outcome.killed_ns is None or outcome.lease_ended_ns is None:
        return Check(False, "the killed producer's lease never expired")
    seconds = (outcome.lease_ended_ns - outcome.killed_ns) / 1e9
    passed = outcome.lease_end.endswith("Expired") and seconds <= limit_s
    return Check(passed, f"its lease went to {outcome.lease_end} after {seconds:.2f} s")


def _content_checks(outcome: Outcome) -> list[Check]:
    mismatches = sum(report.mismatches for report in outcome.consumers.values())
    frames = sum(report.frames for report in outcome.consumers.values())
    text = (
        f"{mismatches} hash mismatches in {frames} frames received, each compared with its "
        f"source ({outcome.source_frames} pictures)"
    )
    for report in outcome.consumers.values():
        if report.first_mismatch:
            text += f"; first: {report.first_mismatch}"
            break
    finished = len(outcome.consumers) == 2 and all(r.final for r in outcome.consumers.values())
    return [
        Check(mismatches == 0 and frames > 0, text),
        Check(finished, "both consumers reported to the end"),
    ]


def _each(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "none"


def _seconds(value: float | None) -> str:
    return f"after {value:.2f} s" if value is not None else "never"
