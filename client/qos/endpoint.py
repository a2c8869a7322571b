"""QosEndpoint: the state of one producer or consumer, from its reports (S-052).

**Unknown**: no report yet. **Alive**: reports come; *Healthy*, *Dropping* while frames are lost,
*Lagging* while a consumer is far behind its producer. **Silent**: no report for three QoS
intervals. **Gone**: none for 30 s, or the driver announced the end of the lease.
"""

from __future__ import annotations

import enum
from typing import Protocol

import msgspec

from tensor_pool.hsm import (
    ANY,
    HANDLED,
    ROOT,
    Machine,
    Outcome,
    State,
    on_entry,
    on_event,
    on_initial,
)

__all__ = ["EndpointEvent", "EndpointPort", "QosEndpoint", "QosLimits", "Report"]

_REPORTS_WITHOUT_DROPS = 3


class EndpointEvent(enum.StrEnum):
    """Events of QosEndpoint; the comment is the argument."""

    REPORT = "Report"  # Report
    SILENCE_DUE = "SilenceDue"
    EXPIRY_DUE = "ExpiryDue"
    LEASE_ENDED = "LeaseEnded"


class QosLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the states *Dropping* and *Lagging* (S-053).

    `drop_share` is the part of the frames of an interval, at least one frame. `lag_share` is the
    part of the slots of the ring.
    """

    drop_share: float = 0.01
    lag_share: float = 0.5


class Report(msgspec.Struct, frozen=True):
    """One report, compared with the one before it, in frames.

    `lag` is None for a producer, and while the positions of the two belong to different epochs.
    """

    dropped: int = 0
    taken: int = 0
    lag: int | None = None
    nslots: int = 0


class EndpointPort(Protocol):
    """Effects of the machine."""

    def entered(self, state: str) -> None: ...
    def count(self, counter: str) -> None: ...


class QosEndpoint(Machine):
    """The state of one producer or consumer; begins before its first report."""

    def __init__(self, port: EndpointPort, limits: QosLimits) -> None:
        self._port = port
        self._limits = limits
        self._clean_reports = 0
        super().__init__()

    # -- states

    Unknown = State()
    Alive = State()
    Healthy = State(parent=Alive)
    Dropping = State(parent=Alive)
    Lagging = State(parent=Alive)
    Silent = State()
    Gone = State()

    _first = on_initial(ROOT, target=Unknown)
    _alive_first = on_initial(Alive, target=Healthy)

    # -- guards

    def _drops(self, report: Report) -> bool:
        return report.dropped >= max(1, self._limits.drop_share * (report.taken + report.dropped))

    def _lags(self, report: Report) -> bool:
        limit = self._limits.lag_share * report.nslots
        return report.lag is not None and limit > 0 and report.lag >= limit

    def _caught_up(self, report: Report) -> bool:
        return report.lag is None or 2 * report.lag < self._limits.lag_share * report.nslots

    def _is_clean_again(self, report: Report) -> bool:
        return not report.dropped and self._clean_reports + 1 >= _REPORTS_WITHOUT_DROPS

    # -- reports

    _come = on_event(Unknown, EndpointEvent.REPORT, target=Alive)
    _return = on_event(Silent, EndpointEvent.REPORT, target=Alive)

    @on_event(Healthy, EndpointEvent.REPORT, target=Dropping, guard=_drops)
    @on_event(Lagging, EndpointEvent.REPORT, target=Dropping, guard=_drops)
    def _begin_to_drop(self, _: Report) -> None:
        self._clean_reports = 0

    _fall_behind = on_event(Healthy, EndpointEvent.REPORT, target=Lagging, guard=_lags)
    _catch_up = on_event(Lagging, EndpointEvent.REPORT, target=Healthy, guard=_caught_up)
    _recover = on_event(Dropping, EndpointEvent.REPORT, target=Healthy, guard=_is_clean_again)

    @on_event(Dropping, EndpointEvent.REPORT)
    def _still_dropping(self, report: Report) -> Outcome:
        self._clean_reports = 0 if report.dropped else self._clean_reports + 1
        return HANDLED

    @on_event(Alive, EndpointEvent.REPORT)
    def _go_on(self, _: Report) -> Outcome:
        return HANDLED

    # -- silence and the end

    _fall_silent = on_event(Alive, EndpointEvent.SILENCE_DUE, target=Silent)
    _expire = on_event(Silent, EndpointEvent.EXPIRY_DUE, target=Gone)
    _end = on_event(Alive, EndpointEvent.LEASE_ENDED, target=Gone)
    _end_in_silence = on_event(Silent, EndpointEvent.LEASE_ENDED, target=Gone)

    @on_event(ROOT, ANY)
    def _unhandled(self, _: object, event: object) -> Outcome:
        self._port.count("qos_unhandled")
        return HANDLED

    # -- entries

    @on_entry(Healthy)
    def _is_healthy(self) -> None:
        self._port.entered("Healthy")

    @on_entry(Dropping)
    def _is_dropping(self) -> None:
        self._port.entered("Dropping")

    @on_entry(Lagging)
    def _is_lagging(self) -> None:
        self._port.entered("Lagging")

    @on_entry(Silent)
    def _is_silent(self) -> None:
        self._port.entered("Silent")

    @on_entry(Gone)
    def _is_gone(self) -> None:
        self._port.entered("Gone")
