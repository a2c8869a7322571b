"""W3C tests of parallel states, as orthogonal regions (H-250 to H-258)."""

from __future__ import annotations

from collections.abc import Callable

from tensor_pool.hsm import (
    ANY,
    HANDLED,
    ROOT,
    SHALLOW,
    Final,
    Outcome,
    Region,
    State,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
)
from tests.scxml_semantics.judged import Judged, register, w3c


class Parallel(Judged, abstract=True):
    """A state P with two regions."""

    P = State()
    R1, R2 = Region(P), Region(P)


@w3c(310, 451)
class InTheOther(Parallel):
    """A guard in one region sees the state of the other one."""

    S0 = State(parent=Parallel.R1)
    S1 = State(parent=Parallel.R2)
    begin = on_initial(ROOT, target=Parallel.P)
    begin_r1, begin_r2 = on_initial(Parallel.R1, target=S0), on_initial(Parallel.R2, target=S1)

    def is_in_s1(self) -> bool:
        return self.is_in(self.S1)

    good = on_completion(S0, guard=is_in_s1, target=Judged.passed)
    bad = on_completion(S0, target=Judged.failed)


@w3c(448)
class Shared(Parallel):
    """A variable that one region assigns is visible in its sibling and around it."""

    S0 = State(parent=Parallel.R1)
    S1 = State(parent=Parallel.R2)
    begin = on_initial(ROOT, target=Parallel.P)
    begin_r1, begin_r2 = on_initial(Parallel.R1, target=S0), on_initial(Parallel.R2, target=S1)

    @on_entry(S1)
    def assign(self) -> None:
        self.var = 1

    def is_one(self) -> bool:
        return bool(self.var == 1)

    good = on_completion(S0, guard=is_one, target=Judged.passed)
    bad = on_completion(S0, target=Judged.failed)


class Forked(Judged, abstract=True):
    """A state with two regions that a fork enters past their initials."""

    idle = State()
    S1 = State()
    S11 = State(parent=S1)
    P = State(parent=S1)
    R1, R2 = Region(P), Region(P)
    A1, A2 = State(parent=R1), State(parent=R1)
    B1, B2 = State(parent=R2), State(parent=R2)
    begin, begin_s1 = on_initial(ROOT, target=idle), on_initial(S1, target=S11)
    begin_r1, begin_r2 = on_initial(R1, target=A1), on_initial(R2, target=B1)
    fork = on_completion(idle, target=(A2, B2))


@w3c(413)
class IntoBoth(Forked):
    """Exactly the targets of the fork are entered."""

    wrong1 = on_completion(Forked.A1, target=Judged.failed)
    wrong2 = on_completion(Forked.B1, target=Judged.failed)

    def is_in_b2(self) -> bool:
        return self.is_in(self.B2)

    good = on_completion(Forked.A2, guard=is_in_b2, target=Judged.passed)
    bad = on_completion(Forked.A2, target=Judged.failed)


@w3c(576)
class EntryHeard(Forked):
    """An event that one region raises at its entry is taken in the other one."""

    @on_entry(Forked.A2)
    def call(self) -> None:
        self.post("entered A2")

    good = on_event(Forked.B2, "entered A2", target=Judged.passed)
    other = on_event(Forked.S1, ANY, target=Judged.failed)


@w3c(364)
class DefaultEntry(Forked):
    """A fork, and a chain of initials behind it."""

    S3 = State()
    S31 = State(parent=S3)
    S311 = State(parent=S31)
    S3111 = State(parent=S311)
    begin_s3, begin_s31 = on_initial(S3, target=S31), on_initial(S31, target=S311)
    begin_s311 = on_initial(S311, target=S3111)

    @on_entry(Forked.A2)
    def call(self) -> None:
        self.post("entered A2")

    on = on_event(Forked.B2, "entered A2", target=S3)
    good = on_completion(S3111, target=Judged.passed)
    other = on_event(ROOT, ANY, target=Judged.failed)


@w3c("403b")
class Once(Parallel):
    """A transition of the state around both regions is taken once for one event."""

    S0 = State(parent=Parallel.R1)
    S1 = State(parent=Parallel.R2)
    begin = on_initial(ROOT, target=Parallel.P)
    begin_r1, begin_r2 = on_initial(Parallel.R1, target=S0), on_initial(Parallel.R2, target=S1)

    @on_entry(Parallel.P)
    def call(self) -> None:
        self.post("event1")
        self.post("event2")

    @on_event(Parallel.P, "event1")
    def count(self, arg: object) -> Outcome:
        self.var += 1
        return HANDLED

    def is_one(self, arg: object) -> bool:
        return bool(self.var == 1)

    good = on_event(S0, "event2", guard=is_one, target=Judged.passed)
    bad = on_event(S0, "event2", target=Judged.failed)


class Ordered(Parallel, abstract=True):
    """Writes down the order of its behaviours."""

    def __init__(self) -> None:
        self.order: list[str] = []
        super().__init__()


class LeavingOrder(Ordered):
    """404: regions are left in reverse order, before the state around them and the effect."""

    S0 = State(parent=Parallel.R1)
    S1 = State(parent=Parallel.R2)
    after = State()
    begin = on_initial(ROOT, target=Parallel.P)
    begin_r1, begin_r2 = on_initial(Parallel.R1, target=S0), on_initial(Parallel.R2, target=S1)

    @on_exit(S0)
    def leave1(self) -> None:
        self.order.append("region 1")

    @on_exit(S1)
    def leave2(self) -> None:
        self.order.append("region 2")

    @on_exit(Parallel.P)
    def leave(self) -> None:
        self.order.append("owner")

    @on_event(Parallel.P, "go", target=after)
    def effect(self, arg: object) -> None:
        self.order.append("effect")


class EnteringOrder(Ordered):
    """406: the effect, then the state around the regions, then the regions in their order."""

    idle = State()
    S0 = State(parent=Parallel.R1)
    S1 = State(parent=Parallel.R2)
    begin = on_initial(ROOT, target=idle)
    begin_r1, begin_r2 = on_initial(Parallel.R1, target=S0), on_initial(Parallel.R2, target=S1)

    @on_event(idle, "go", target=Parallel.P)
    def effect(self, arg: object) -> None:
        self.order.append("effect")

    @on_entry(Parallel.P)
    def enter(self) -> None:
        self.order.append("owner")

    @on_entry(S0)
    def enter1(self) -> None:
        self.order.append("region 1")

    @on_entry(S1)
    def enter2(self) -> None:
        self.order.append("region 2")


def going(machine: type[Ordered]) -> Callable[[], Ordered]:
    def make() -> Ordered:
        made = machine()
        made.dispatch("go")
        return made

    return make


register(404, going(LeavingOrder), lambda m: m.order == ["region 2", "region 1", "owner", "effect"])
register(
    406, going(EnteringOrder), lambda m: m.order == ["effect", "owner", "region 1", "region 2"]
)


@w3c(417)
class AllDone(Parallel):
    """A state completes when all its regions are at their final states."""

    S0, end1 = State(parent=Parallel.R1), Final(parent=Parallel.R1)
    S1, end2 = State(parent=Parallel.R2), Final(parent=Parallel.R2)
    begin = on_initial(ROOT, target=Parallel.P)
    begin_r1, begin_r2 = on_initial(Parallel.R1, target=S0), on_initial(Parallel.R2, target=S1)
    done1, done2 = on_completion(S0, target=end1), on_completion(S1, target=end2)
    good = on_completion(Parallel.P, target=Judged.passed)


@w3c(570)
class EachDone(Parallel):
    """The state in each region completes by itself, then the state around both regions.

    Here a completion goes to its own state (H-132) and not, as in SCXML, to the states around it.
    """

    S0, end1 = State(parent=Parallel.R1), Final(parent=Parallel.R1)
    S1, end2 = State(parent=Parallel.R2), Final(parent=Parallel.R2)
    S01, S0_end = State(parent=S0), Final(parent=S0)
    S11, S1_end = State(parent=S1), Final(parent=S1)
    begin = on_initial(ROOT, target=Parallel.P)
    begin_r1, begin_r2 = on_initial(Parallel.R1, target=S0), on_initial(Parallel.R2, target=S1)
    begin_s0, begin_s1 = on_initial(S0, target=S01), on_initial(S1, target=S11)
    e1, e2 = on_event(S01, "e1", target=S0_end), on_event(S11, "e2", target=S1_end)

    @on_entry(Parallel.P)
    def call(self) -> None:
        self.post("e1")
        self.post("e2")

    @on_completion(S0, target=end1)
    def first(self) -> None:
        self.var += 1

    @on_completion(S1, target=end2)
    def second(self) -> None:
        self.var += 1

    def is_two(self) -> bool:
        return bool(self.var == 2)

    good = on_completion(Parallel.P, guard=is_two, target=Judged.passed)
    bad = on_completion(Parallel.P, target=Judged.failed)


@w3c(580)
class OnlyStates(Parallel):
    """Nothing but declared states is ever active, also on a way through a history."""

    S0 = State(parent=Parallel.R1)
    S1 = State(parent=Parallel.R2)
    S11, S12 = State(parent=S1), State(parent=S1)
    begin = on_initial(ROOT, target=Parallel.P)
    begin_r1, begin_r2 = on_initial(Parallel.R1, target=S0), on_initial(Parallel.R2, target=S1)
    default = on_history_default(S1, SHALLOW, target=S11)
    on = on_completion(S11, target=S12)
    again = on_event(S1, "again", target=S1, history=SHALLOW)

    def look(self) -> None:
        if not all(leaf in (*type(self).states, ROOT) for leaf in (*self.leaves, self.current)):
            self.post("not a state")

    @on_initial(S1, target=S1, history=SHALLOW)
    def through_the_history(self) -> None:
        self.look()

    @on_entry(ANY)
    def enter(self, state: State) -> None:
        self.look()

    @on_exit(S1)
    def leave(self) -> None:
        self.var += 1
        self.look()

    @on_entry(S12)
    def go_on(self) -> None:
        self.look()
        self.post("again" if self.var == 0 else "end")

    def was_left_once(self, arg: object) -> bool:
        return bool(self.var == 1)

    bad = on_event(Parallel.P, "not a state", target=Judged.failed)
    good = on_event(S1, "end", guard=was_left_once, target=Judged.passed)


class TransitionsWhole(Ordered):
    """405: the transitions of two regions run one after the other, each whole."""

    S0, S01 = State(parent=Parallel.R1), State(parent=Parallel.R1)
    S1, S11 = State(parent=Parallel.R2), State(parent=Parallel.R2)
    begin = on_initial(ROOT, target=Parallel.P)
    begin_r1, begin_r2 = on_initial(Parallel.R1, target=S0), on_initial(Parallel.R2, target=S1)

    @on_exit(S0)
    def exit1(self) -> None:
        self.order.append("exit 1")

    @on_exit(S1)
    def exit2(self) -> None:
        self.order.append("exit 2")

    @on_event(S0, "go", target=S01)
    def effect1(self, arg: object) -> None:
        self.order.append("effect 1")

    @on_event(S1, "go", target=S11)
    def effect2(self, arg: object) -> None:
        self.order.append("effect 2")


register(
    405,
    going(TransitionsWhole),
    lambda m: m.order == ["exit 1", "effect 1", "exit 2", "effect 2"],
    differs="the transitions of several regions run one after the other, each whole (H-252); "
    "SCXML leaves all states first",
)


class Inwards(Parallel):
    """504, 533: a transition from a state with regions into one of them."""

    S0 = State(parent=Parallel.R1)
    S1 = State(parent=Parallel.R2)
    begin = on_initial(ROOT, target=Parallel.P)
    begin_r1, begin_r2 = on_initial(Parallel.R1, target=S0), on_initial(Parallel.R2, target=S1)
    go = on_event(Parallel.P, "foo", target=S0)

    @on_exit(Parallel.P)
    def leave(self) -> None:
        self.var += 1


def inwards() -> Inwards:
    made = Inwards()
    made.dispatch("foo")
    return made


for number in (504, 533):
    register(
        number,
        inwards,
        lambda m: m.var == 0 and m.is_in(m.S0),
        differs="a transition into its own source is local (H-081); SCXML leaves a parallel "
        "source also when the transition is internal",
    )
