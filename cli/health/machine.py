"""PoolHealth: a verdict that gets worse at once and better only after 3 s (S-171).

**Unknown**: no verdict yet. **Healthy**, **Degraded**, **Failing**: the verdict that was reported
last. A supervisor that acts on transitions is thus not made to flap.
"""

from __future__ import annotations

import enum
from typing import Protocol

import msgspec

from tensor_pool.hsm import ANY, HANDLED, ROOT, Machine, Outcome, State, on_event, on_initial

from .verdict import Verdict

__all__ = ["HealthEvent", "HealthPort", "Judgement", "PoolHealth"]

_STEADY_NS = 3_000_000_000


class HealthEvent(enum.StrEnum):
    """Events of PoolHealth; the comment is the argument."""

    VERDICT = "Verdict"  # Judgement


class Judgement(msgspec.Struct, frozen=True):
    """A verdict and its time, monotonic ns."""

    verdict: Verdict
    now_ns: int


class HealthPort(Protocol):
    """Effects of the machine."""

    def report(self, verdict: Verdict) -> None: ...
    def count(self, counter: str) -> None: ...


class PoolHealth(Machine):
    """The health of a pool over time."""

    def __init__(self, port: HealthPort) -> None:
        self._port = port
        self._given_ns: dict[Verdict, int] = {}
        super().__init__()

    # -- states

    Unknown = State()
    Healthy = State()
    Degraded = State()
    Failing = State()

    _first = on_initial(ROOT, target=Unknown)

    # -- guards

    def _is(self, verdict: Verdict, judgement: Judgement) -> bool:
        return judgement.verdict is verdict

    def _is_steady(self, verdict: Verdict, judgement: Judgement) -> bool:
        """The verdict is given, and no worse one was for 3 s."""
        return judgement.verdict is verdict and all(
            judgement.now_ns - given_ns >= _STEADY_NS
            for worse, given_ns in self._given_ns.items()
            if worse > verdict
        )

    def _healthy(self, judgement: Judgement) -> bool:
        return self._is(Verdict.HEALTHY, judgement)

    def _degraded(self, judgement: Judgement) -> bool:
        return self._is(Verdict.DEGRADED, judgement)

    def _failing(self, judgement: Judgement) -> bool:
        return self._is(Verdict.FAILING, judgement)

    def _steadily_healthy(self, judgement: Judgement) -> bool:
        return self._is_steady(Verdict.HEALTHY, judgement)

    def _steadily_degraded(self, judgement: Judgement) -> bool:
        return self._is_steady(Verdict.DEGRADED, judgement)

    # -- verdicts

    @on_event(Unknown, HealthEvent.VERDICT, target=Healthy, guard=_healthy)
    @on_event(Unknown, HealthEvent.VERDICT, target=Degraded, guard=_degraded)
    @on_event(Unknown, HealthEvent.VERDICT, target=Failing, guard=_failing)
    @on_event(Healthy, HealthEvent.VERDICT, target=Degraded, guard=_degraded)
    @on_event(Healthy, HealthEvent.VERDICT, target=Failing, guard=_failing)
    @on_event(Degraded, HealthEvent.VERDICT, target=Failing, guard=_failing)
    @on_event(Degraded, HealthEvent.VERDICT, target=Healthy, guard=_steadily_healthy)
    @on_event(Failing, HealthEvent.VERDICT, target=Healthy, guard=_steadily_healthy)
    @on_event(Failing, HealthEvent.VERDICT, target=Degraded, guard=_steadily_degraded)
    def _change(self, judgement: Judgement) -> None:
        self._given_ns[judgement.verdict] = judgement.now_ns
        self._port.report(judgement.verdict)

    @on_event(Healthy, HealthEvent.VERDICT)
    @on_event(Degraded, HealthEvent.VERDICT)
    @on_event(Failing, HealthEvent.VERDICT)
    def _keep(self, judgement: Judgement) -> Outcome:
        self._given_ns[judgement.verdict] = judgement.now_ns
        return HANDLED

    @on_event(ROOT, ANY)
    def _unhandled(self, _: object, event: object) -> Outcome:
        self._port.count("health_unhandled")
        return HANDLED

    # -- to read

    @property
    def verdict(self) -> Verdict:
        """The verdict that was reported last; FAILING before the first."""
        name = self.current.name.upper()
        return Verdict[name] if name in Verdict.__members__ else Verdict.FAILING
