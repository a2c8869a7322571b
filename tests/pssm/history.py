"""PSSM tests of history, without regions."""

from __future__ import annotations

from tensor_pool.hsm import (
    DEEP,
    ROOT,
    SHALLOW,
    Final,
    State,
    on_completion,
    on_event,
    on_history_default,
    on_initial,
)
from tests.pssm.traced import Traced, pssm, traces


@pssm(
    "History 001-A",
    "S1(entry)::S1.1(entry)::S1.1.1(entry)::S1.1.2(entry)::T3(effect)"
    "::S1(entry)::S1.1(entry)::S1.1.2(entry)",
    send="Start Continue AnotherSignal",
)
class History001A(Traced):
    """A transition of a state into its own deep history restores the leaf that it leaves."""

    entries = "S1 S1.1 S1.1.1 S1.1.2"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    S111 = State("S1.1.1", parent=S11)
    S112 = State("S1.1.2", parent=S11)
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    begin_s11 = on_initial(S11, target=S111)
    t2 = on_event(wait, "Start", target=S1)
    t112 = on_event(S111, "Continue", target=S112)
    t3 = on_event(S1, "AnotherSignal", target=S1, history=DEEP)(traces("T3(effect)"))


@pssm(
    "History 001-B",
    "S1(entry)::T1.4(effect)::S1.2(entry)::S1.2.1(entry)::S1.2(exit)::S1(entry)::S1.2(entry)"
    "::S1.2.1(entry)::T1.2.2(effect)::S1.2.2(entry)::S1.2(exit)",
    send="Start Leave Start Continue Leave",
)
class History001B(Traced):
    """On the first visit the default of a deep history runs, behind the entry of its owner."""

    entries = "S1 S1.2 S1.2.1 S1.2.2"
    exits = "S1.2"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    S12 = State("S1.2", parent=S1)
    S121 = State("S1.2.1", parent=S12)
    S122 = State("S1.2.2", parent=S12)
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    begin_s12 = on_initial(S12, target=S121)
    t14 = on_history_default(S1, DEEP, target=S12)(traces("T1.4(effect)"))
    t2 = on_event(wait, "Start", target=S1, history=DEEP)
    t3 = on_event(S1, "Leave", target=wait)
    t122 = on_event(S121, "Continue", target=S122)(traces("T1.2.2(effect)"))


@pssm(
    "History 001-D",
    "S1(entry)::S1.1(entry)::T1.2(effect)::S1.2(entry)::S1(exit)::T3(effect)"
    "::S1(entry)::S1.2(entry)::S1(exit)::S2(entry)",
    send="Start Continue AnotherSignal Leave",
    inferred=True,
)
class History001D(Traced):
    """A deep history of the whole machine. ROOT has no history here: a state stands around all."""

    entries = "S1 S1.1 S1.2 S2"
    exits = "S1"
    whole = State()
    wait = State(parent=whole)
    S1 = State(parent=whole)
    S11 = State("S1.1", parent=S1)
    S12 = State("S1.2", parent=S1)
    S2 = State(parent=whole)
    begin = on_initial(ROOT, target=whole)
    begin_whole = on_initial(whole, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    t2 = on_event(wait, "Start", target=S1)
    t12 = on_event(S11, "Continue", target=S12)(traces("T1.2(effect)"))
    t3 = on_event(whole, "AnotherSignal", target=whole, history=DEEP)(traces("T3(effect)"))
    t4 = on_event(S1, "Leave", target=S2)


@pssm(
    "History 002-A",
    "S1(entry)::S1.1(exit)::S1.2(entry)::S1.2.1(exit)::T1.2.2(effect)::S1.2.2(entry)::S1(exit)"
    "::T3(effect)::S1(entry)::S1.2(entry)::S1.2.1(exit)::T1.2.2(effect)::S1.2.2(entry)::S1(exit)",
    send="Start AnotherSignal Continue",
)
class History002A(Traced):
    """A shallow history restores the child and takes that child's initial."""

    entries = "S1 S1.2 S1.2.2"
    exits = "S1 S1.1 S1.2.1"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    S12 = State("S1.2", parent=S1)
    S121 = State("S1.2.1", parent=S12)
    S122 = State("S1.2.2", parent=S12)
    end = Final()
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    begin_s12 = on_initial(S12, target=S121)
    t2 = on_event(wait, "Start", target=S1)
    t12 = on_completion(S11, target=S12)
    t122 = on_completion(S121, target=S122)(traces("T1.2.2(effect)"))
    t3 = on_event(S1, "AnotherSignal", target=S1, history=SHALLOW)(traces("T3(effect)"))
    t4 = on_event(S1, "Continue", target=end)


@pssm(
    "History 002-C",
    "S1(entry)::S1.1(entry)::T1.2(effect)::S1.2(entry)::S1(exit)",
    send="Start Continue",
)
class History002C(Traced):
    """A first visit by a history without a default enters the state normally."""

    entries = "S1 S1.1 S1.2"
    exits = "S1"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    S12 = State("S1.2", parent=S1)
    end = Final()
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    t2 = on_event(wait, "Start", target=S1, history=SHALLOW)
    t12 = on_completion(S11, target=S12)(traces("T1.2(effect)"))
    t4 = on_event(S1, "Continue", target=end)


@pssm(
    "History 002-D",
    "S1(entry)::T1.1(effect)::S1.1(entry)::S1(exit)::T1.2(effect)::S1(exit)::T3(effect)"
    "::S1(entry)::T1.3(effect)::S1.2(entry)::S1(exit)",
    send="Start Continue Continue",
)
class History002D(Traced):
    """A region that has reached its final state counts as never visited.

    The published trace names the exit of S1.1 `S1(exit)`; so does this chart.
    """

    entries = "S1 S1.1 S1.2"
    exits = "S1"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    S12 = State("S1.2", parent=S1)
    S1_end = Final(parent=S1)
    end = Final()
    begin = on_initial(ROOT, target=wait)
    t11 = on_initial(S1, target=S11)(traces("T1.1(effect)"))
    t2 = on_event(wait, "Start", target=S1)

    @on_event(S11, "Continue", target=S1_end)
    def t12(self, arg: object) -> None:
        self.trace += ["S1(exit)", "T1.2(effect)"]

    t3 = on_completion(S1, target=S1, history=SHALLOW)(traces("T3(effect)"))
    t13 = on_history_default(S1, SHALLOW, target=S12)(traces("T1.3(effect)"))
    t4 = on_event(S12, "Continue", target=end)
