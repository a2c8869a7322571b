"""PSSM tests of choices and junctions, without regions.

A junction decides before anything is left: here that is the guard of a candidate (H-199). A choice
decides on the way: `Machine.choice`.
"""

from __future__ import annotations

from tensor_pool.hsm import ROOT, Final, Outcome, State, on_completion, on_event, on_initial
from tests.pssm.traced import Traced, pssm, traces


@pssm("Choice 001", "T4(effect)::T4(effect)::T4(effect)::T4(effect)", inferred=True)
class Choice001(Traced):
    """The guards of the choice read the result of the incoming effect."""

    count = 0
    wait = State()
    S1 = State()
    end = Final()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=S1)

    def count_up(self) -> None:
        self.count += 1

    @on_completion(S1, targets=(S1, end))
    def t3(self) -> Outcome:
        again = (lambda: self.count <= 4, self.S1, self.tracing("T4(effect)"))
        return self.choice(ROOT, [again], otherwise=self.end, effect=self.count_up)


@pssm("Choice 002", "T3(effect)", "T4(effect)", "T5(effect)")
class Choice002(Traced):
    """Several guards are true: UML leaves the choice open, we take the first."""

    wait = State()
    S1 = State()
    S2 = State()
    S3 = State()
    begin = on_initial(ROOT, target=wait)

    @on_event(wait, "Start", targets=(S1, S2, S3))
    def t2(self, arg: object) -> Outcome:
        branches = [
            (lambda: True, self.S1, self.tracing("T3(effect)")),
            (lambda: True, self.S2, self.tracing("T4(effect)")),
        ]
        return self.choice(ROOT, branches, otherwise=(self.S3, self.tracing("T5(effect)")))


@pssm("Choice 003", "T4(effect)", inferred=True)
class Choice003(Traced):
    """No guard is true: the else branch is taken."""

    wait = State()
    S1 = State()
    S2 = State()
    begin = on_initial(ROOT, target=wait)

    @on_event(wait, "Start", targets=(S1, S2))
    def t2(self, arg: object) -> Outcome:
        never = (lambda: False, self.S1, self.tracing("T3(effect)"))
        return self.choice(ROOT, [never], otherwise=(self.S2, self.tracing("T4(effect)")))


@pssm("Choice 004", "T4(effect)", inferred=True)
class Choice004(Traced):
    """One guard is true: its branch is taken, not the else branch."""

    wait = State()
    S1 = State()
    S2 = State()
    S3 = State()
    begin = on_initial(ROOT, target=wait)

    @on_event(wait, "Start", targets=(S1, S2, S3))
    def t2(self, arg: object) -> Outcome:
        branches = [
            (lambda: False, self.S1, self.tracing("T3(effect)")),
            (lambda: True, self.S2, self.tracing("T4(effect)")),
        ]
        return self.choice(ROOT, branches, otherwise=(self.S3, self.tracing("T5(effect)")))


@pssm(
    "Choice 005",
    "T1.2(guard)::T1.3(guard)::T2(effect)::S1(entry)::T1.4(guard)::T1.5(guard)::S1.1(entry)",
)
class Choice005(Traced):
    """The guards of a junction run before the transition, those of a choice on the way."""

    entries = "S1 S1.1"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    S12 = State("S1.2", parent=S1)
    begin = on_initial(ROOT, target=wait)

    def answers(self, text: str, answer: bool) -> bool:
        self.trace.append(text)
        return answer

    def junction_has_a_way(self, arg: object) -> bool:
        ways = [self.answers("T1.2(guard)", True), self.answers("T1.3(guard)", False)]
        return any(ways)

    t2 = on_event(wait, "Start", guard=junction_has_a_way, target=S1)(traces("T2(effect)"))

    @on_initial(S1, targets=(S11, S12))
    def t11(self) -> Outcome:
        branches = [
            (lambda: self.answers("T1.4(guard)", True), self.S11),
            (lambda: self.answers("T1.5(guard)", False), self.S12),
        ]
        return self.choice(self.S1, branches, otherwise=self.S12)


@pssm(
    "Junction 001",
    "S1(entry)::T1.1(effect)::T1.2(effect)::S1(exit)",
    send="Start Continue",
)
class Junction001(Traced):
    """A junction behind an initial; its one open way makes a choice take the same decision."""

    entries = exits = "S1"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1)
    S12 = State("S1.2", parent=S1)
    end = Final()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=S1)
    t3 = on_event(S1, "Continue", target=end)

    @on_initial(S1, targets=(S11, S12))
    def t11(self) -> Outcome:
        way = (lambda: True, self.S11, self.tracing("T1.2(effect)"))
        return self.choice(self.S1, [way], otherwise=self.S12, effect=self.tracing("T1.1(effect)"))


def never(self: object, *_: object) -> bool:
    return False


@pssm("Junction 002", "T3(effect)", send="Start Continue")
class Junction002(Traced):
    """No way leads on from the junction: the transition into it is not enabled."""

    wait = State()
    S1 = State()
    S2 = State()
    end = Final()
    begin = on_initial(ROOT, target=wait)
    t21 = on_event(wait, "Start", guard=never, target=S1)(traces("T2.1(effect)"))
    t22 = on_event(wait, "Start", guard=never, target=S2)(traces("T2.2(effect)"))
    t3 = on_event(wait, "Continue", target=end)(traces("T3(effect)"))


@pssm(
    "Junction 003",
    "T1.3(effect)::T3.1.1(effect)::T3.1.1.2(effect)::T1.6(effect)",
    "T1.4(effect)::T1.4.1(effect)::T1.8(effect)",
    inferred=True,
)
class Junction003(Traced):
    """Two ways through a chain of junctions are open: UML leaves it open, we take the first."""

    wait = State()
    S1 = State()
    S2 = State()
    S3 = State()
    end = Final()
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_event(wait, "Start", target=S1)

    def is_open(self) -> bool:
        return True

    @on_completion(S1, guard=is_open, target=S2)
    def by_the_first_way(self) -> None:
        self.trace += ["T1.3(effect)", "T3.1.1(effect)", "T3.1.1.2(effect)"]

    @on_completion(S1, target=S3)
    def by_the_second_way(self) -> None:
        self.trace += ["T1.4(effect)", "T1.4.1(effect)"]

    t16 = on_completion(S2, target=end)(traces("T1.6(effect)"))
    t18 = on_completion(S3, target=end)(traces("T1.8(effect)"))
