"""PSSM tests of behaviors, transitions, events, entering and terminate, without regions."""

from __future__ import annotations

from tensor_pool.hsm import (
    ROOT,
    Final,
    State,
    Terminate,
    on_completion,
    on_event,
    on_initial,
)
from tests.pssm.traced import Traced, pssm, traces


@pssm("Behavior 001", "S1(entry)")
class Behavior001(Traced):
    entries = "S1"
    wait = State()
    S1 = State()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=S1)


@pssm("Behavior 002", "S1(exit)")
class Behavior002(Traced):
    exits = "S1"
    wait = State()
    S1 = State()
    end = Final()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=S1)
    t3 = on_completion(S1, target=end)


@pssm("Transition 001", "T2(effect)")
class Transition001(Traced):
    wait = State()
    S1 = State()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=S1)(traces("T2(effect)"))


@pssm("Transition 007", "T1(effect)::T2(effect)::T3(effect)")
class Transition007(Traced):
    wait = State()
    S1 = State()
    end = Final()
    t1 = on_initial(ROOT, target=wait)(traces("T1(effect)"))
    t2 = on_event(wait, "Start", target=S1)(traces("T2(effect)"))
    t3 = on_completion(S1, target=end)(traces("T3(effect)"))


@pssm(
    "Transition 011 C",
    "S1(entry)::S1.1(entry)::S1.1(exit)::S1.2(exit)::T1.3(effect)::S1(exit)",
    send="Start AnotherSignal Continue",
    differs="a transition from a child to the state around it takes that state's initial "
    "(H-084); in UML it completes the region",
    ours="S1(entry)::S1.1(entry)::S1.1(exit)::S1.2(exit)::T1.3(effect)::S1.1(entry)",
)
class Transition011C(Traced):
    entries = "S1 S1.1"
    exits = "S1 S1.1 S1.2"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    S12 = State("S1.2", parent=S1)
    end = Final()
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    t2 = on_event(wait, "Start", target=S1)
    t12 = on_event(S11, "AnotherSignal", target=S12)
    t13 = on_event(S12, "Continue", target=S1)(traces("T1.3(effect)"))
    t3 = on_completion(S1, target=end)


@pssm("Transition 022", "T3::T3::T3::T3::T3", inferred=True)
class Transition022(Traced):
    count = 0
    wait = State()
    S1 = State()
    end = Final()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=S1)

    def is_below_five(self) -> bool:
        return self.count < 5

    @on_completion(S1, guard=is_below_five, target=S1)
    def t3(self) -> None:
        self.count += 1
        self.trace.append("T3")

    t4 = on_completion(S1, target=end)


@pssm("Event 001", "wait(exit)")
class Event001(Traced):
    exits = "wait"
    wait = State()
    end = Final()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=end)


@pssm("Event 002", "S1(entry)::S1.1(entry)::S1(exit)")
class Event002(Traced):
    entries = "S1 S1.1"
    exits = "S1"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    S1_end = Final(parent=S1)
    end = Final()
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    t2 = on_event(wait, "Start", target=S1)
    t11 = on_completion(S11, target=S1_end)
    t3 = on_completion(S1, target=end)


@pssm("Event 008", "T2(effect)::T3(effect)", send="Start Continue", inferred=True)
class Event008(Traced):
    wait = State()
    S1 = State()
    end = Final()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=S1)(traces("T2(effect)"))
    t3 = on_event(S1, "Continue", target=end)(traces("T3(effect)"))


def always(self: object, *_: object) -> bool:
    return True


@pssm(
    "Event 010",
    "T2(effect)::S1(entry)::S1.1(entry)::T1.2(effect)::S1.2(entry)",
    "T2(effect)::S1(entry)::S1.1(entry)::T1.3(effect)::S1.3(entry)",
    "T3(effect)::S2(entry)",
    send="Start Continue",
)
class Event010(Traced):
    """Two enabled transitions of one state: UML leaves the choice open, we take the first."""

    entries = "S1 S1.1 S1.2 S1.3 S2"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    S12 = State("S1.2", parent=S1)
    S13 = State("S1.3", parent=S1)
    S2 = State()
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    t2 = on_event(wait, "Start", guard=always, target=S1)(traces("T2(effect)"))
    t3 = on_event(wait, "Start", target=S2)(traces("T3(effect)"))
    t12 = on_event(S11, "Continue", guard=always, target=S12)(traces("T1.2(effect)"))
    t13 = on_event(S11, "Continue", target=S13)(traces("T1.3(effect)"))


@pssm("Event 015", "T1.2(effect)", "T1.3(effect)")
class Event015(Traced):
    """Two enabled completion transitions of one state."""

    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    S12 = State("S1.2", parent=S1)
    S13 = State("S1.3", parent=S1)
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    t2 = on_event(wait, "Start", target=S1)
    t12 = on_completion(S11, guard=always, target=S12)(traces("T1.2(effect)"))
    t13 = on_completion(S11, target=S13)(traces("T1.3(effect)"))


@pssm("Event 016 A", "T1.2(effect)::T3(effect)", send="Start Continue Continue")
class Event016A(Traced):
    """The inner transition takes the first occurrence, the outer one the second."""

    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    S1_end = Final(parent=S1)
    end = Final()
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    t2 = on_event(wait, "Start", target=S1)
    t12 = on_event(S11, "Continue", target=S1_end)(traces("T1.2(effect)"))
    t3 = on_event(S1, "Continue", target=end)(traces("T3(effect)"))


@pssm(
    "Event 017 A",
    "T3(effect)",
    send=[("Start", None), ("Data", 5)],
    inferred=True,
)
class Event017A(Traced):
    """Guards read the data of the event."""

    wait = State()
    S1 = State()
    end = Final()
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_event(wait, "Start", target=S1)

    def is_large(self, value: int) -> bool:
        return value > 10

    def is_small(self, value: int) -> bool:
        return value <= 10

    t2 = on_event(S1, "Data", guard=is_large, target=end)(traces("T2(effect)"))
    t3 = on_event(S1, "Data", guard=is_small, target=end)(traces("T3(effect)"))


@pssm(
    "Event 018",
    "S1.1.1(exit)::S1.1(exit)::S1(exit)::T3(effect)::S2(entry)::S1.2(entry)",
    send="Start Continue",
)
class Event018(Traced):
    exits = "S1 S1.1 S1.1.1"
    entries = "S2 S1.2"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    S111 = State("S1.1.1", parent=S11)
    S2 = State()
    S12 = State("S1.2", parent=S2)
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    begin_s11 = on_initial(S11, target=S111)
    begin_s2 = on_initial(S2, target=S12)
    t2 = on_event(wait, "Start", target=S1)
    t3 = on_event(S1, "Continue", target=S2)(traces("T3(effect)"))


@pssm(
    "Event 019 A",
    "S1(exit)::Call(op)::End::S2(entry)",
    send=[("op", None), ("Continue", None)],
)
class Event019A(Traced):
    """A call returns to its caller at the end of the step that it triggers."""

    exits = "S1"
    S1 = State()
    S2 = State()
    end = Final()
    begin = on_initial(ROOT, target=S1)
    t2 = on_event(S1, "op", target=S2)(traces("Call(op)"))
    t3 = on_event(S2, "Continue", target=end)(traces("S2(entry)"))

    def trace_dispatch_result(self, state: State, event: object, result: object) -> None:
        if event == "op":
            self.trace.append("End")  # the caller goes on


@pssm("Entering 004", "S1(entry)::S1(exit)")
class Entering004(Traced):
    entries = exits = "S1"
    wait = State()
    S1 = State()
    end = Final()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=S1)
    t3 = on_completion(S1, target=end)


@pssm("Entering 005", "T2(effect)::S1(entry)::S1.1(entry)::S1.1.1(entry)")
class Entering005(Traced):
    """A transition deep into a state enters the states around its target, no initials."""

    entries = "S1 S1.1 S1.1.1 S1.1.2"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    S111 = State("S1.1.1", parent=S11)
    S112 = State("S1.1.2", parent=S11)
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    begin_s11 = on_initial(S11, target=S112)
    t2 = on_event(wait, "Start", target=S111)(traces("T2(effect)"))


@pssm("Terminate 003", "wait(exit)::T2(effect)::S1(entry)")
class Terminate003(Traced):
    """A terminate vertex inside a state: the state is entered, nothing else."""

    exits = "wait"
    entries = "S1 S1.1"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    dead = Terminate(parent=S1)
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    t2 = on_event(wait, "Start", target=dead)(traces("T2(effect)"))
