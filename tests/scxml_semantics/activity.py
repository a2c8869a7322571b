"""W3C tests of `In(…)`: the states that are active while handlers run (H-085)."""

from __future__ import annotations

from tensor_pool.hsm import ROOT, State, on_completion, on_entry, on_event, on_exit, on_initial
from tests.scxml_semantics.judged import Judged, w3c


@w3c(409)
class LeftFirst(Judged):
    """A child is not active any more while its parent's exit handler runs (H-085)."""

    S0 = State()
    S01, S02 = State(parent=S0), State(parent=S0)
    S011 = State(parent=S01)
    begin, begin_s0 = on_initial(ROOT, target=S0), on_initial(S0, target=S01)
    begin_s01 = on_initial(S01, target=S011)
    go = on_completion(S011, target=S02)
    good = on_event(S0, "timeout", target=Judged.passed)
    bad = on_event(S0, "event1", target=Judged.failed)

    @on_entry(S0)
    def call(self) -> None:
        self.send("timeout")

    @on_exit(S01)
    def look(self) -> None:
        if self.is_in(self.S011):
            self.post("event1")


@w3c(411)
class EnteredFirst(Judged):
    """A state is active in its own entry handler, and not in that of its parent (H-085)."""

    S0 = State()
    S01 = State(parent=S0)
    begin, begin_s0 = on_initial(ROOT, target=S0), on_initial(S0, target=S01)
    good = on_event(S0, "event2", target=Judged.passed)
    bad = on_event(S0, "event1", "timeout", target=Judged.failed)

    @on_entry(S0)
    def too_early(self) -> None:
        self.send("timeout")
        if self.is_in(self.S01):
            self.post("event1")

    @on_entry(S01)
    def in_time(self) -> None:
        if self.is_in(self.S01):
            self.post("event2")
