"""PSSM tests of orthogonal regions, forks and joins (H-250 to H-258).

A join is the completion of the state around the regions: each segment into it ends in the `Final`
of its region.
"""

from __future__ import annotations

from tensor_pool.hsm import (
    DEEP,
    ROOT,
    SHALLOW,
    Final,
    Outcome,
    Region,
    State,
    Terminate,
    on_completion,
    on_event,
    on_initial,
)
from tests.pssm.traced import Traced, pssm, traces


class Waiting(Traced, abstract=True):
    """A machine that waits for Start, and a state S1 with two regions."""

    wait = State()
    S1 = State()
    R1 = Region(S1)
    R2 = Region(S1)
    end = Final()
    begin = on_initial(ROOT, target=wait)


@pssm(
    "Transition 019",
    "S1.1(exit)::S2.1(exit)::T1.2(effect)::T2.2(effect)::T1.3(effect)::T2.3(effect)",
    "S1.1(exit)::S2.1(exit)::T2.2(effect)::T1.2(effect)::T2.3(effect)::T1.3(effect)",
    "S1.1(exit)::T1.2(effect)::S2.1(exit)::T2.2(effect)::T1.3(effect)::T2.3(effect)",
    "S2.1(exit)::S1.1(exit)::T1.2(effect)::T2.2(effect)::T1.3(effect)::T2.3(effect)",
    "S2.1(exit)::S1.1(exit)::T2.2(effect)::T1.2(effect)::T2.3(effect)::T1.3(effect)",
    "S2.1(exit)::T2.2(effect)::S1.1(exit)::T1.2(effect)::T2.3(effect)::T1.3(effect)",
    send="Start Continue",
)
class Transition019(Waiting):
    exits = "S1.1 S2.1"
    S11 = State("S1.1", parent=Waiting.R1)
    S12 = State("S1.2", parent=Waiting.R1)
    R1_end = Final(parent=Waiting.R1)
    S21 = State("S2.1", parent=Waiting.R2)
    S22 = State("S2.2", parent=Waiting.R2)
    R2_end = Final(parent=Waiting.R2)
    begin_r1 = on_initial(Waiting.R1, target=S11)
    begin_r2 = on_initial(Waiting.R2, target=S21)
    t2 = on_event(Waiting.wait, "Start", target=Waiting.S1)
    t12 = on_event(S11, "Continue", target=S12)(traces("T1.2(effect)"))
    t22 = on_event(S21, "Continue", target=S22)(traces("T2.2(effect)"))
    t13 = on_completion(S12, target=R1_end)(traces("T1.3(effect)"))
    t23 = on_completion(S22, target=R2_end)(traces("T2.3(effect)"))
    t3 = on_completion(Waiting.S1, target=Waiting.end)


@pssm(
    "Event 009",
    "T1.2(effect)::T2.2(effect)",
    "T2.2(effect)::T1.2(effect)",
    send="Start Continue",
)
class Event009(Waiting):
    S11 = State("S1.1", parent=Waiting.R1)
    S12 = State("S1.2", parent=Waiting.R1)
    S21 = State("S2.1", parent=Waiting.R2)
    S22 = State("S2.2", parent=Waiting.R2)
    begin_r1 = on_initial(Waiting.R1, target=S11)
    begin_r2 = on_initial(Waiting.R2, target=S21)
    t2 = on_event(Waiting.wait, "Start", target=Waiting.S1)
    t12 = on_event(S11, "Continue", target=S12)(traces("T1.2(effect)"))
    t22 = on_event(S21, "Continue", target=S22)(traces("T2.2(effect)"))


_OF_016B = ("T1.2(effect)", "T1.3(effect)"), ("T2.2(effect)", "T2.3(effect)", "T2.4(effect)")


def _admitted_by_016b() -> list[str]:
    """Three effects of three regions in any order, then one of three completions."""
    found = []
    for first in _OF_016B[0]:
        for last in _OF_016B[1]:
            three = [first, "T2.1.2(effect)", "T2.2.2(effect)"]
            for a in three:
                for b in (other for other in three if other != a):
                    (c,) = (other for other in three if other not in (a, b))
                    found.append(f"{a}::{b}::{c}::S2.1(exit)::{last}::S1.2(exit)::S1(exit)")
    return found


def always(self: object, *_: object) -> bool:
    return True


@pssm("Event 016 B", *_admitted_by_016b(), send="Start Continue AnotherSignal", inferred=True)
class Event016B(Waiting):
    """Nested regions: the one event fires a transition in each of the three innermost ones."""

    exits = "S1 S1.2 S2.1"
    S11 = State("S1.1", parent=Waiting.R1)
    S12 = State("S1.2", parent=Waiting.R1)
    S21 = State("S2.1", parent=Waiting.R2)
    R21 = Region(S21)
    R22 = Region(S21)
    S211 = State("S2.1.1", parent=R21)
    R21_end = Final(parent=R21)
    S221 = State("S2.2.1", parent=R22)
    R22_end = Final(parent=R22)
    S22 = State("S2.2", parent=Waiting.R2)
    begin_r1 = on_initial(Waiting.R1, target=S11)
    begin_r2 = on_initial(Waiting.R2, target=S21)
    begin_r21 = on_initial(R21, target=S211)
    begin_r22 = on_initial(R22, target=S221)
    t2 = on_event(Waiting.wait, "Start", target=Waiting.S1)
    t12 = on_event(S11, "Continue", guard=always, target=S12)(traces("T1.2(effect)"))
    t13 = on_event(S11, "Continue", target=S12)(traces("T1.3(effect)"))
    t212 = on_event(S211, "Continue", target=R21_end)(traces("T2.1.2(effect)"))
    t222 = on_event(S221, "Continue", target=R22_end)(traces("T2.2.2(effect)"))
    t22 = on_completion(S21, target=S22)(traces("T2.2(effect)"))
    t3 = on_event(Waiting.S1, "AnotherSignal", target=Waiting.end)


@pssm(
    "Entering 010",
    "S1(entry)::S1.1(entry)::T2.1(effect)::S2.1(entry)",
    "S1(entry)::T2.1(effect)::S1.1(entry)::S2.1(entry)",
    "S1(entry)::T2.1(effect)::S2.1(entry)::S1.1(entry)",
)
class Entering010(Waiting):
    """One region is entered explicitly, the other one by default."""

    entries = "S1 S1.1 S2.1"
    S11 = State("S1.1", parent=Waiting.R1)
    S12 = State("S1.2", parent=Waiting.R1)
    S21 = State("S2.1", parent=Waiting.R2)
    t11 = on_initial(Waiting.R1, target=S12)(traces("T1.1(effect)"))
    t21 = on_initial(Waiting.R2, target=S21)(traces("T2.1(effect)"))
    t2 = on_event(Waiting.wait, "Start", target=S11)


@pssm(
    "Entering 011",
    "S1(entry)::T1.1(effect)::S1.1(entry)::T2.1(effect)::S1.2(entry)",
    "S1(entry)::T1.1(effect)::T2.1(effect)::S1.1(entry)::S1.2(entry)",
    "S1(entry)::T1.1(effect)::T2.1(effect)::S1.2(entry)::S1.1(entry)",
    "S1(entry)::T2.1(effect)::S1.2(entry)::T1.1(effect)::S1.1(entry)",
    "S1(entry)::T2.1(effect)::T1.1(effect)::S1.1(entry)::S1.2(entry)",
    "S1(entry)::T2.1(effect)::T1.1(effect)::S1.2(entry)::S1.1(entry)",
)
class Entering011(Waiting):
    """Both regions are entered by default."""

    entries = "S1 S1.1 S1.2"
    S11 = State("S1.1", parent=Waiting.R1)
    S12 = State("S1.2", parent=Waiting.R2)
    t11 = on_initial(Waiting.R1, target=S11)(traces("T1.1(effect)"))
    t21 = on_initial(Waiting.R2, target=S12)(traces("T2.1(effect)"))
    t2 = on_event(Waiting.wait, "Start", target=Waiting.S1)


@pssm(
    "Exiting 001",
    "S1.1.1(exit)::S1.1(exit)::S2.1(exit)::S1(exit)",
    "S1.1.1(exit)::S2.1(exit)::S1.1(exit)::S1(exit)",
    "S2.1(exit)::S1.1.1(exit)::S1.1(exit)::S1(exit)",
    send="Start Continue",
)
class Exiting001(Waiting):
    exits = "S1 S1.1 S1.1.1 S2.1"
    S11 = State("S1.1", parent=Waiting.R1)
    S111 = State("S1.1.1", parent=S11)
    S21 = State("S2.1", parent=Waiting.R2)
    begin_r1 = on_initial(Waiting.R1, target=S11)
    begin_s11 = on_initial(S11, target=S111)
    begin_r2 = on_initial(Waiting.R2, target=S21)
    t2 = on_event(Waiting.wait, "Start", target=Waiting.S1)
    t3 = on_event(Waiting.S1, "Continue", target=Waiting.end)


@pssm(
    "Exiting 003",
    "S1.1.1(exit)::S1.2.1(exit)::S1.1(exit)::S1(exit)",
    "S1.2.1(exit)::S1.1.1(exit)::S1.1(exit)::S1(exit)",
    send="Start Continue",
)
class Exiting003(Traced):
    """The state with two regions stands inside another one."""

    exits = "S1 S1.1 S1.1.1 S1.2.1"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    R1 = Region(S11)
    R2 = Region(S11)
    S111 = State("S1.1.1", parent=R1)
    S121 = State("S1.2.1", parent=R2)
    end = Final()
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    begin_r1 = on_initial(R1, target=S111)
    begin_r2 = on_initial(R2, target=S121)
    t2 = on_event(wait, "Start", target=S1)
    t3 = on_event(S1, "Continue", target=end)


class Finishing(Waiting, abstract=True):
    """Each region has one state and a final state."""

    S11 = State("S1.1", parent=Waiting.R1)
    R1_end = Final(parent=Waiting.R1)
    S21 = State("S2.1", parent=Waiting.R2)
    R2_end = Final(parent=Waiting.R2)
    begin_r1 = on_initial(Waiting.R1, target=S11)
    begin_r2 = on_initial(Waiting.R2, target=S21)
    t2 = on_event(Waiting.wait, "Start", target=Waiting.S1)


@pssm(
    "Exiting 005",
    "S1.1(exit)::S2.1(exit)::S1(exit)",
    send="Start Continue AnotherSignal",
    inferred=True,
)
class Exiting005(Finishing):
    """A state with regions is left by its completion."""

    exits = "S1 S1.1 S2.1"
    t12 = on_event(Finishing.S11, "Continue", target=Finishing.R1_end)
    t22 = on_event(Finishing.S21, "AnotherSignal", target=Finishing.R2_end)
    t3 = on_completion(Waiting.S1, target=Waiting.end)


@pssm(
    "Join 001",
    "S1.1(exit)::T2.3(effect)::S2.1(exit)::S1(exit)::T2.4(effect)",
    "S1.2(exit)::T2.4(effect)::S1.1(exit)::S1(exit)::T2.4(effect)",
    inferred=True,
)
class Join001(Finishing):
    """In the admitted traces the last segment's effect runs after the owner's exit."""

    exits = "S1 S1.1 S2.1"
    t23 = on_completion(Finishing.S11, target=Finishing.R1_end)(traces("T2.3(effect)"))
    into = on_completion(Finishing.S21, target=Finishing.R2_end)
    t24 = on_completion(Waiting.S1, target=Waiting.end)(traces("T2.4(effect)"))


@pssm(
    "Join 002",
    "T1.2(effect)::T2.2(effect)::S1(exit)::T3(effect)::S2(entry)",
    "T2.2(effect)::T1.2(effect)::S1(exit)::T3(effect)::S2(entry)",
    send="Start Continue",
)
class Join002(Finishing):
    exits = "S1"
    entries = "S2"
    S2 = State()
    t12 = on_event(Finishing.S11, "Continue", target=Finishing.R1_end)(traces("T1.2(effect)"))
    t22 = on_event(Finishing.S21, "Continue", target=Finishing.R2_end)(traces("T2.2(effect)"))
    t3 = on_completion(Waiting.S1, target=S2)(traces("T3(effect)"))


def never(self: object, *_: object) -> bool:
    return False


@pssm(
    "Join 003",
    "T1.2(effect)::T5(effect)",
    "T1.4(effect)::T5(effect)",
    send="Start Continue",
)
class Join003(Finishing):
    """No way leads on from the join: the first segment fires alone, the last one is disabled."""

    t12 = on_completion(Finishing.S11, target=Finishing.R1_end)(traces("T1.2(effect)"))
    t14 = on_completion(Finishing.S21, guard=never, target=Finishing.R2_end)(traces("T1.4(effect)"))
    t5 = on_event(Waiting.S1, "Continue", target=Waiting.end)(traces("T5(effect)"))


@pssm(
    "Terminate 001",
    "S1(entry)::S1.1(entry)::S2.1(entry)::S2.1(exit)",
    "S1(entry)::S2.1(entry)::S1.1(entry)::S2.1(exit)",
)
class Terminate001(Waiting):
    """A terminate vertex in one region ends the machine; the other region is not left."""

    entries = "S1 S1.1 S2.1"
    exits = "S1 S1.1 S2.1"
    S11 = State("S1.1", parent=Waiting.R1)
    S21 = State("S2.1", parent=Waiting.R2)
    dead = Terminate(parent=Waiting.R2)
    begin_r1 = on_initial(Waiting.R1, target=S11)
    begin_r2 = on_initial(Waiting.R2, target=S21)
    t2 = on_event(Waiting.wait, "Start", target=Waiting.S1)
    t22 = on_completion(S21, target=dead)


@pssm(
    "Final 001",
    "S1.1.1(exit)::T1.1.2(effect)::S1.1(exit)::T1.2(effect)::S2.1(exit)",
    send="Start Continue AnotherSignal",
    inferred=True,
)
class Final001(Finishing):
    """A nested final state completes the state around it, not the region further out."""

    exits = "S1.1.1 S1.1 S2.1"
    S111 = State("S1.1.1", parent=Finishing.S11)
    S11_end = Final(parent=Finishing.S11)
    begin_s11 = on_initial(Finishing.S11, target=S111)
    t112 = on_event(S111, "Continue", target=S11_end)(traces("T1.1.2(effect)"))
    t12 = on_completion(Finishing.S11, target=Finishing.R1_end)(traces("T1.2(effect)"))
    t22 = on_event(Finishing.S21, "AnotherSignal", target=Finishing.R2_end)
    t3 = on_completion(Waiting.S1, target=Waiting.end)


_SIBLING_WINS = (
    "a region that takes an event wins over a sibling region that defers it (H-256); in PSSM the "
    "deferral wins"
)


@pssm(
    "Deferred 004 A",
    "S1.1(exit)::T1.2(effect)::S2.1(exit)::T2.2(effect)::S1(exit)::T4(effect)",
    send="Start AnotherSignal Continue",
    differs=_SIBLING_WINS,
    ours="S2.1(exit)::T2.2(effect)::S1.1(exit)::T1.2(effect)::S1(exit)::T4(effect)",
)
class Deferred004A(Waiting):
    exits = "S1 S1.1 S2.1"
    S11 = State("S1.1", parent=Waiting.R1, defer=["AnotherSignal"])
    R1_end = Final(parent=Waiting.R1)
    S21 = State("S2.1", parent=Waiting.R2)
    R2_end = Final(parent=Waiting.R2)
    begin_r1 = on_initial(Waiting.R1, target=S11)
    begin_r2 = on_initial(Waiting.R2, target=S21)
    t2 = on_event(Waiting.wait, "Start", target=Waiting.S1)
    t12 = on_event(S11, "Continue", target=R1_end)(traces("T1.2(effect)"))
    t22 = on_event(S21, "AnotherSignal", target=R2_end)(traces("T2.2(effect)"))
    t4 = on_completion(Waiting.S1, target=Waiting.end)(traces("T4(effect)"))


@pssm(
    "Deferred 004 B",
    "S1.1.1(exit)::T1.1.2(effect)::S1.1(exit)::S2.1(exit)::T2.2(effect)::S1(exit)",
    send="Start AnotherSignal Continue",
    differs=_SIBLING_WINS,
    ours="S2.1(exit)::T2.2(effect)::S1.1.1(exit)::T1.1.2(effect)::S1.1(exit)::S1(exit)",
)
class Deferred004B(Waiting):
    exits = "S1 S1.1 S1.1.1 S2.1"
    S11 = State("S1.1", parent=Waiting.R1, defer=["AnotherSignal"])
    S111 = State("S1.1.1", parent=S11)
    S11_end = Final(parent=S11)
    R1_end = Final(parent=Waiting.R1)
    S21 = State("S2.1", parent=Waiting.R2)
    R2_end = Final(parent=Waiting.R2)
    begin_r1 = on_initial(Waiting.R1, target=S11)
    begin_s11 = on_initial(S11, target=S111)
    begin_r2 = on_initial(Waiting.R2, target=S21)
    t2 = on_event(Waiting.wait, "Start", target=Waiting.S1)
    t112 = on_event(S111, "Continue", target=S11_end)(traces("T1.1.2(effect)"))
    t12 = on_completion(S11, target=R1_end)
    t22 = on_event(S21, "AnotherSignal", target=R2_end)(traces("T2.2(effect)"))
    t4 = on_completion(Waiting.S1, target=Waiting.end)


class Restored(Waiting, abstract=True):
    """Region 2 ends in S2.2.2, by completions; region 1 in S1.2."""

    S11 = State("S1.1", parent=Waiting.R1)
    S12 = State("S1.2", parent=Waiting.R1)
    S21 = State("S2.1", parent=Waiting.R2)
    S22 = State("S2.2", parent=Waiting.R2)
    S221 = State("S2.2.1", parent=S22)
    S222 = State("S2.2.2", parent=S22)
    begin_r1 = on_initial(Waiting.R1, target=S11)
    begin_r2 = on_initial(Waiting.R2, target=S21)
    begin_s22 = on_initial(S22, target=S221)
    t2 = on_event(Waiting.wait, "Start", target=Waiting.S1)
    t12 = on_completion(S11, target=S12)
    t22 = on_completion(S21, target=S22)


_ONE = "S1(entry)::S1.1(exit)::S1.2(entry)::S2.2(entry)::S2.2.1(exit)::S2.2.2(entry)::S1(exit)"


@pssm(
    "History 001-C",
    # Of the twelve admitted traces the one that the specification prints.
    f"{_ONE}::S1(entry)::S2.2(entry)::S2.2.2(entry)::S1.1(exit)::S1.2(entry)::S1(exit)",
    send="Start Leave Recall Leave",
)
class History001C(Restored):
    """A deep history of one region; the other one is entered by default."""

    entries = "S1 S1.2 S2.2 S2.2.2"
    exits = "S1 S1.1 S2.2.1"
    t222 = on_completion(Restored.S221, target=Restored.S222)
    t3 = on_event(Waiting.S1, "Leave", target=Waiting.wait)
    t4 = on_event(Waiting.wait, "Recall", target=Waiting.R2, history=DEEP)


_TWO = "S2.2.1(exit)::T2.2.2(effect)::S2.2.2(entry)::S1(exit)"


@pssm(
    "History 002-B",
    # Of the six admitted traces the one that the specification prints.
    f"S1(entry)::S1.1(exit)::S1.2(entry)::S2.1(exit)::S2.2(entry)::{_TWO}::T3(effect)"
    f"::S1(entry)::S2.2(entry)::S1.1(exit)::S1.2(entry)::{_TWO}",
    send="Start AnotherSignal Continue",
)
class History002B(Restored):
    """A shallow history of one region, recalled by the state around it."""

    entries = "S1 S1.2 S2.2 S2.2.2"
    exits = "S1 S1.1 S2.1 S2.2.1"
    t222 = on_completion(Restored.S221, target=Restored.S222)(traces("T2.2.2(effect)"))
    t3 = on_event(Waiting.S1, "AnotherSignal", target=Waiting.R2, history=SHALLOW)(
        traces("T3(effect)")
    )
    t4 = on_event(Waiting.S1, "Continue", target=Waiting.end)


@pssm("Junction 004", "T3(effect)", send="Start Continue")
class Junction004(Finishing):
    """No way leads through a junction behind the initial of the second region."""

    entries = "S1"
    t2 = on_event(Waiting.wait, "Start", guard=never, target=Finishing.S11)
    t3 = on_event(Waiting.wait, "Continue", target=Waiting.end)(traces("T3(effect)"))


@pssm(
    "Junction 005",
    "S1(entry)::T1.3(effect)::T2.1(effect)::S2.1(entry)::S1.2(exit)::S1(exit)",
    "S1(entry)::T2.1(effect)::S2.1(entry)::T1.3(effect)::S1.2(exit)::S1(exit)",
    "S1(entry)::T2.1(effect)::T1.3(effect)::S2.1(entry)::S1.2(exit)::S1(exit)",
    inferred=True,
)
class Junction005(Waiting):
    """Junctions in both regions; a completion leads out of both."""

    entries = "S1 S2.1"
    exits = "S1 S1.2"
    S11 = State("S1.1", parent=Waiting.R1)
    S12 = State("S1.2", parent=Waiting.R1)
    S21 = State("S2.1", parent=Waiting.R2)
    t2 = on_event(Waiting.wait, "Start", target=Waiting.S1)
    t21 = on_initial(Waiting.R2, target=S21)(traces("T2.1(effect)"))
    t3 = on_completion(S21, target=Waiting.end)

    @on_initial(Waiting.R1, targets=(S11, S12))
    def t11(self) -> Outcome:
        way = (lambda: True, self.S12, self.tracing("T1.3(effect)"))
        return self.choice(self.R1, [way], otherwise=self.S11)
