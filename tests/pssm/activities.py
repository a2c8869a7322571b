"""PSSM tests of do-activities, as the only form that there is here: a chain of posted events.

The entry handler of a state posts the first part of its activity, each part the next one, and only
that state takes them. So a part runs on its own, after the completions, and none runs once the
state has been left. An activity that has ended posts `ended`, which takes the place of the state's
completion.
"""

from __future__ import annotations

from tensor_pool.hsm import (
    HANDLED,
    ROOT,
    Final,
    Outcome,
    Region,
    State,
    Terminate,
    on_completion,
    on_entry,
    on_event,
    on_initial,
)
from tests.pssm.traced import Traced, pssm


class TwoParts(Traced, abstract=True):
    """A state with an activity of two parts."""

    wait, S1, end = State(), State(), Final()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=S1)

    @on_entry(S1)
    def enter_s1(self) -> None:
        self._trace_entry(self.S1)
        self.post("part I")

    @on_event(S1, "part I")
    def part_1(self, arg: object) -> Outcome:
        self.trace.append("S1(doActivityPartI)")
        self.post("part II")
        return HANDLED

    @on_event(S1, "part II")
    def part_2(self, arg: object) -> Outcome:
        self.trace.append("S1(doActivityPartII)")
        self.post("ended")
        return HANDLED


class LeftAtOnce(TwoParts, abstract=True):
    """A child of the state leads out of it as soon as it is entered."""

    S11 = State("S1.1", parent=TwoParts.S1)
    begin_s1 = on_initial(TwoParts.S1, target=S11)
    t3 = on_completion(S11, target=TwoParts.end)


@pssm("Behavior 003 A", "S1(entry)", "S1(entry)::S1(doActivityPartI)", inferred=True)
class Behavior003A(LeftAtOnce):
    """The end of the machine is the end of the activity."""

    entries = "S1"


@pssm(
    "Behavior 003 B",
    "S1(entry)::S1(doActivityPartI)::S1(doActivityPartII)",
    inferred=True,
)
class Behavior003B(TwoParts):
    entries = "S1"
    t3 = on_event(TwoParts.S1, "ended", target=TwoParts.end)


@pssm(
    "Exiting 002",
    "S1(doActivityPartI)::S1(exit)",
    differs="a completion comes before every posted event (H-201), so the activity has not begun; "
    "the second part runs in neither",
    ours="S1(exit)",
    inferred=True,
)
class Exiting002(LeftAtOnce):
    """An activity ends with its state."""

    exits = "S1"


@pssm("Transition 015", "S1(entry)::S1(doActivity)", inferred=True)
class Transition015(Traced):
    """A state completes after its activity."""

    entries = "S1"
    wait, S1, end = State(), State(), Final()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=S1)
    t3 = on_event(S1, "ended", target=end)

    @on_entry(S1)
    def enter_s1(self) -> None:
        self._trace_entry(self.S1)
        self.post("activity")

    @on_event(S1, "activity")
    def act(self, arg: object) -> Outcome:
        self.trace.append("S1(doActivity)")
        self.post("ended")
        return HANDLED


@pssm(
    "Terminate 002",
    "S1(entry)::S1.1(entry)::S1.1(doActivityPartI)::S2.1(entry)",
    "S1(entry)::S1.1(entry)::S2.1(entry)",
    "S1(entry)::S1.1(entry)::S2.1(entry)::S1.1(doActivityPartI)",
    "S1(entry)::S2.1(entry)::S1.1(entry)",
    "S1(entry)::S2.1(entry)::S1.1(entry)::S1.1(doActivityPartI)",
)
class Terminate002(Traced):
    """A terminate vertex in the other region ends the activity before its second part."""

    entries = "S1 S1.1 S2.1"
    wait, S1 = State(), State()
    R1, R2 = Region(S1), Region(S1)
    S11 = State("S1.1", parent=R1)
    S21 = State("S2.1", parent=R2)
    dead = Terminate(parent=R2)
    begin = on_initial(ROOT, target=wait)
    begin_r1, begin_r2 = on_initial(R1, target=S11), on_initial(R2, target=S21)
    t2 = on_event(wait, "Start", target=S1)
    t22 = on_completion(S21, target=dead)

    @on_entry(S11)
    def enter_s11(self) -> None:
        self._trace_entry(self.S11)
        self.post("part I")

    @on_event(S11, "part I")
    def part_1(self, arg: object) -> Outcome:
        self.trace.append("S1.1(doActivityPartI)")
        self.post("part II")
        return HANDLED

    @on_event(S11, "part II")
    def part_2(self, arg: object) -> Outcome:
        self.trace.append("S1.1(doActivityPartII)")
        return HANDLED


@pssm(
    "Deferred 006 A",
    "S2(doActivity-AnotherSignal)",
    send="Start AnotherSignal Continue",
    inferred=True,
)
class Deferred006A(Traced):
    """An activity takes an event that the state before has deferred."""

    wait, S1, S2 = State(), State(defer=["AnotherSignal"]), State()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=S1)
    t3 = on_event(S1, "Continue", target=S2)

    @on_event(S2, "AnotherSignal")
    def act(self, arg: object) -> Outcome:
        self.trace.append("S2(doActivity-AnotherSignal)")
        return HANDLED
