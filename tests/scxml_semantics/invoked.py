"""W3C tests of `<invoke>`: machines that own other machines.

The translation is the same everywhere. A child is a machine with a reference to its parent. An
entry handler makes it, which starts it; the exit handler of the same state stops it (H-264). Both
send to the queue of the parent, as `send` does. A parent takes events only from the children that
it owns. A child that has completed is reported by the event `done.invoke`. Every event of a child
carries the child itself, where SCXML has an id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensor_pool.hsm import (
    ANY,
    HANDLED,
    ROOT,
    UNHANDLED,
    Final,
    Machine,
    Outcome,
    Region,
    State,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_initial,
    on_timeout,
)
from tests.scxml_semantics.executable import undefined
from tests.scxml_semantics.judged import Judged, register
from tests.scxml_semantics.timed import Timed


@dataclass(frozen=True)
class FromChild:
    """The argument of an event that a child sent."""

    sender: Child
    data: Any = None


class Child(Machine, abstract=True):
    """A machine that another one owns; it completes in `done`."""

    done = Final()

    def __init__(self, parent: Invoking, var: Any = 0) -> None:
        self.parent = parent
        self.var = var
        super().__init__(start=False)

    def clock(self) -> float:
        return self.parent.now

    def send(self, event: str, data: Any = None) -> None:
        if self in self.parent.children:
            self.parent.send(event, FromChild(self, data))


class Invoking(Timed, abstract=True):
    """A machine that owns children, with one clock for all."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        super().__init__()

    def invoke(self, kind: Callable[..., Child], *values: Any, **named: Any) -> Child:
        child = kind(self, *values, **named)
        self.children.append(child)
        child.start()
        self.look_after(child)
        return child

    def tell(self, child: Child, event: str) -> None:
        child.dispatch(event)
        self.look_after(child)

    def look_after(self, child: Child) -> None:
        if child.is_complete:
            child.send("done.invoke")
            self.children.remove(child)

    def cancel_all(self) -> None:
        children, self.children = self.children, []
        for child in children:
            child.stop()

    def live(self) -> None:
        """Process what was sent, then the next moment at which something is due, to the end."""
        while self.is_running:
            if self.outside:
                self.dispatch(*self.outside.popleft())
                continue
            machines = (self, *self.children)
            deadlines = [m.next_deadline for m in machines if m.next_deadline is not None]
            if not deadlines:
                return
            self.now = min(deadlines)
            for machine in machines:
                if machine.is_running:
                    machine.poll()
                if machine is not self:
                    self.look_after(machine)


def invokes(*numbers: int) -> Callable[[type[Invoking]], type[Invoking]]:
    """Register a machine class as the tests of these numbers."""

    def mark(machine: type[Invoking]) -> type[Invoking]:
        def lived() -> Machine:
            made = machine()
            made.live()
            return made

        for number in numbers:
            register(number, lived)
        return machine

    return mark


# Children.


class AtOnce(Child):
    """Completes when it starts."""

    begin = on_initial(ROOT, target=Child.done)


class Calling(Child):
    """Sends one event and completes."""

    sub0 = State()
    begin = on_initial(ROOT, target=sub0)
    end = on_completion(sub0, target=Child.done)

    @on_entry(sub0)
    def call(self) -> None:
        self.send("childToParent", 2)


class Answering(Child):
    """Sends an event, waits for one from its parent, and reports it."""

    sub0 = State()
    begin = on_initial(ROOT, target=sub0)
    late = on_timeout(sub0, 3.0, target=Child.done)

    @on_entry(sub0)
    def call(self) -> None:
        self.send("childToParent")

    @on_event(sub0, "parentToChild", "childToParent", target=Child.done)
    def answer(self, arg: object) -> None:
        self.send("eventReceived")


class Comparing(Child):
    """Reports if its variable is 1."""

    sub0 = State()
    begin = on_initial(ROOT, target=sub0)

    def is_one(self) -> bool:
        return bool(self.var == 1)

    @on_completion(sub0, guard=is_one, target=Child.done)
    def success(self) -> None:
        self.send("success")

    @on_completion(sub0, target=Child.done)
    def failure(self) -> None:
        self.send("failure")


class Sleeping(Child):
    """Completes after two seconds, and sends an event when its state is left."""

    has_left = False
    sub0 = State()
    begin = on_initial(ROOT, target=sub0)
    wake = on_timeout(sub0, 2.0, target=Child.done)

    @on_exit(sub0)
    def call(self) -> None:
        self.has_left = True
        self.send("childToParent")


# Parents.


class One(Invoking, abstract=True):
    """Owns a child while S0 is active; fails after the longest time that a child takes."""

    kind: Any = AtOnce
    S0 = State()
    S01, S02, S03 = State(parent=S0), State(parent=S0), State(parent=S0)
    begin, begin_s0 = on_initial(ROOT, target=S0), on_initial(S0, target=S01)
    late = on_timeout(S0, 4.0, target=Judged.failed)

    @on_entry(S0)
    def start_child(self) -> None:
        self.child = self.invoke(self.kind)

    @on_exit(S0)
    def stop_child(self) -> None:
        self.cancel_all()


@invokes(191)
class FromTheChild(One):
    """A child reaches its parent."""

    kind = Calling
    good = on_event(One.S0, "childToParent", target=Judged.passed)
    other = on_event(One.S0, ANY, target=Judged.failed)


@invokes(192)
class ToTheChild(One):
    """A parent reaches its child, which answers."""

    kind = Answering
    bad = on_event(One.S0, "done.invoke", target=Judged.failed)
    good = on_event(One.S02, "eventReceived", target=Judged.passed)

    @on_event(One.S01, "childToParent", target=One.S02)
    def tell_it(self, arg: object) -> None:
        self.tell(self.child, "parentToChild")


@invokes(347)
class BothWays(One):
    """After an event each way the child completes."""

    kind = Answering
    to_s02 = on_event(One.S01, "childToParent", target=One.S02)
    good = on_event(One.S02, "done.invoke", target=Judged.passed)

    @on_entry(One.S02)
    def tell_it(self) -> None:
        self.tell(self.child, "parentToChild")


class TimersOfItsOwn(Child):
    """Reports which of its timers came first."""

    waiting = State()
    begin = on_initial(ROOT, target=waiting)

    @on_entry(waiting)
    def call(self) -> None:
        self.send("childToParent")

    @on_timeout(waiting, 1.0, target=Child.done)
    def first(self) -> None:
        self.send("pass")

    @on_timeout(waiting, 1.5, target=Child.done)
    def second(self) -> None:
        self.send("fail")


@invokes(207)
class OtherTimers(One):
    """A parent that disarms its own timer disarms no timer of its child."""

    kind = TimersOfItsOwn
    own = on_timeout(One.S01, 1.0, target=Judged.failed)
    disarm = on_event(One.S01, "childToParent", target=One.S02)
    good = on_event(One.S02, "pass", target=Judged.passed)
    bad = on_event(One.S02, "fail", target=Judged.failed)


@invokes(215, 216, 530)
class ChosenLate(One):
    """The class of the child is read when the state is entered."""

    kind = None
    good = on_event(One.S0, "done.invoke", target=Judged.passed)
    other = on_event(One.S0, ANY, target=Judged.failed)

    @on_entry(One.S0)
    def start_child(self) -> None:
        self.kind = AtOnce
        self.invoke(self.kind)


@invokes(220, 247)
class DoneIsReported(One):
    good = on_event(One.S0, "done.invoke", target=Judged.passed)
    other = on_event(One.S0, ANY, target=Judged.failed)


@invokes(223, 228, 235, 338)
class DoneOfTheChild(One):
    """The event of a child leads to the child that the parent has kept."""

    def is_from_it(self, arg: FromChild) -> bool:
        return arg.sender is self.child and arg.sender.is_complete

    good = on_event(One.S0, "done.invoke", guard=is_from_it, target=Judged.passed)
    other = on_event(One.S0, ANY, target=Judged.failed)


@invokes(225)
class TwoChildren(One):
    """The events of two children of one class are distinguished."""

    @on_entry(One.S0)
    def start_child(self) -> None:
        self.first, self.second = self.invoke(AtOnce), self.invoke(AtOnce)

    def is_first(self, arg: FromChild) -> bool:
        return arg.sender is self.first

    def is_second(self, arg: FromChild) -> bool:
        return arg.sender is self.second and self.second is not self.first

    one = on_event(One.S01, "done.invoke", guard=is_first, target=One.S02)
    two = on_event(One.S02, "done.invoke", guard=is_second, target=Judged.passed)
    other = on_event(One.S0, ANY, target=Judged.failed)


@invokes(226, 243, 244, 276)
class ValueHandedOver(One):
    """A value given to the child is in force in its first guard, before its own default."""

    @on_entry(One.S0)
    def start_child(self) -> None:
        self.invoke(Comparing, 1)

    good = on_event(One.S0, "success", target=Judged.passed)
    other = on_event(One.S0, ANY, target=Judged.failed)


@invokes(240, 241)
class TwoSpellings(Invoking):
    """A value given by position or by name does the same."""

    S01, S02 = State(), State()
    begin = on_initial(ROOT, target=S01)
    then = on_event(S01, "success", target=S02)
    good = on_event(S02, "success", target=Judged.passed)
    bad = on_event(ROOT, "failure", target=Judged.failed)

    @on_entry(S01)
    def by_position(self) -> None:
        self.invoke(Comparing, 1)

    @on_entry(S02)
    def by_name(self) -> None:
        self.invoke(Comparing, var=1)


@invokes(229)
class Forwarded(One):
    """A state forwards every event to its child; the search goes on in the state around it."""

    kind = Answering

    @on_event(One.S01, ANY)
    def forward(self, arg: object, event: str) -> Outcome:
        if self.child.is_running:
            self.tell(self.child, event)
        return UNHANDLED

    @on_event(One.S0, "childToParent")
    def stay(self, arg: object) -> Outcome:
        return HANDLED

    good = on_event(One.S0, "eventReceived", target=Judged.passed)
    other = on_event(One.S0, ANY, target=Judged.failed)


class CallingTwice(Child):
    sub0 = State()
    begin = on_initial(ROOT, target=sub0)

    @on_completion(sub0, target=Child.done)
    def call(self) -> None:
        self.send("childToParent1")
        self.send("childToParent2")


@invokes(232)
class InTheirOrder(One):
    """The events of a child arrive in their order; its completion is the last."""

    kind = CallingTwice
    first = on_event(One.S01, "childToParent1", target=One.S02)
    second = on_event(One.S02, "childToParent2", target=One.S03)
    good = on_event(One.S03, "done.invoke", target=Judged.passed)
    other = on_event(One.S0, ANY, target=Judged.failed)


@invokes(233)
class Finalized(One):
    """The inner state takes the child's value over before a guard of the outer state looks."""

    kind = Calling

    @on_event(One.S01, ANY)
    def take_over(self, arg: FromChild, event: str) -> Outcome:
        self.var = arg.data
        return UNHANDLED

    def is_two(self, arg: object) -> bool:
        return bool(self.var == 2)

    good = on_event(One.S0, "childToParent", guard=is_two, target=Judged.passed)
    other = on_event(One.S0, ANY, target=Judged.failed)


@invokes(234)
class FinalizedInOneRegion(Invoking):
    """Each of two regions takes values over from its own child only."""

    first = second = 1
    P, S1 = State(), State()
    R1, R2 = Region(P), Region(P)
    P1, P2 = State(parent=R1), State(parent=R2)
    P11, P21 = State(parent=P1), State(parent=P2)
    begin = on_initial(ROOT, target=P)
    begin_r1, begin_r2 = on_initial(R1, target=P1), on_initial(R2, target=P2)
    begin_p1, begin_p2 = on_initial(P1, target=P11), on_initial(P2, target=P21)
    late = on_timeout(P, 3.0, target=Judged.failed)

    @on_entry(P1)
    def start_first(self) -> None:
        self.calling = self.invoke(Calling)

    @on_entry(P2)
    def start_second(self) -> None:
        self.sleeping = self.invoke(Sleeping)

    @on_event(P11, "childToParent")
    def take_first(self, arg: FromChild) -> Outcome:
        if arg.sender is self.calling:
            self.first = arg.data
        return UNHANDLED

    @on_event(P21, "childToParent")
    def take_second(self, arg: FromChild) -> Outcome:
        if arg.sender is self.sleeping:
            self.second = arg.data
        return UNHANDLED

    @on_event(P1, "childToParent", targets=(S1, Judged.failed))
    def decide(self, arg: FromChild) -> Outcome:
        return self.transition(self.S1 if self.first == 2 else self.failed)

    def is_untouched(self) -> bool:
        return bool(self.second == 1)

    good = on_completion(S1, guard=is_untouched, target=Judged.passed)
    bad = on_completion(S1, target=Judged.failed)


@invokes(236)
class DoneIsLast(Invoking):
    """The event of the child's last exit handler comes before its completion, and nothing after."""

    S0 = State()
    S01, S02, S03 = State(parent=S0), State(parent=S0), State(parent=S0)
    begin, begin_s0 = on_initial(ROOT, target=S0), on_initial(S0, target=S01)
    first = on_event(S01, "childToParent", target=S02)
    then = on_event(S02, "done.invoke", target=S03)
    good = on_timeout(S03, 2.0, target=Judged.passed)
    other = on_event(S0, ANY, target=Judged.failed)

    @on_entry(S0)
    def start_child(self) -> None:
        self.invoke(Sleeping)


@invokes(237)
class Stopped(Invoking):
    """A child that was stopped never completes."""

    S0, S1 = State(), State()
    begin = on_initial(ROOT, target=S0)
    go = on_timeout(S0, 1.0, target=S1)
    good = on_timeout(S1, 2.0, target=Judged.passed)
    bad = on_event(S1, ANY, target=Judged.failed)

    @on_entry(S0)
    def start_child(self) -> None:
        self.invoke(Sleeping)

    @on_exit(S0)
    def stop_child(self) -> None:
        self.cancel_all()


@invokes(252)
class NotHeardAnyMore(Invoking):
    """The exit handler of a stopped child runs, and its event is not taken any more."""

    S0 = State()
    S01, S02 = State(parent=S0), State(parent=S0)
    begin, begin_s0 = on_initial(ROOT, target=S0), on_initial(S0, target=S01)
    leave = on_event(S01, "foo", target=S02)
    bad = on_event(S0, "childToParent", "done.invoke", target=Judged.failed)

    @on_entry(S01)
    def start_child(self) -> None:
        self.send("foo")
        self.child = self.invoke(Sleeping)

    @on_exit(S01)
    def stop_child(self) -> None:
        self.cancel_all()

    def child_has_left(self) -> bool:
        return self.child.has_left

    good = on_timeout(S0, 2.0, guard=child_has_left, target=Judged.passed)


class Named(Child):
    """Sends its variable as an event."""

    sub0 = State()
    begin = on_initial(ROOT, target=sub0)

    @on_completion(sub0, target=Child.done)
    def call(self) -> None:
        self.send(self.var)


@invokes(422)
class OnlyWhereItStays(Invoking):
    """Children of the states that are active once the completions are done, and of no other.

    Entry handlers post the start: a posted event comes after the completions (H-201).
    """

    S1 = State()
    S11, S12 = State(parent=S1), State(parent=S1)
    begin, begin_s1 = on_initial(ROOT, target=S1), on_initial(S1, target=S11)
    on = on_completion(S11, target=S12)

    @on_entry(S1, S11, S12)
    def post_the_start(self) -> None:
        self.post(f"start {self.current.name}")

    @on_event(S1, "start S1")
    def start_s1(self, arg: object) -> Outcome:
        self.invoke(Named, "invokeS1")
        return HANDLED

    @on_event(S11, "start S11")
    def start_s11(self, arg: object) -> Outcome:
        self.invoke(Named, "invokeS11")
        return HANDLED

    @on_event(S12, "start S12")
    def start_s12(self, arg: object) -> Outcome:
        self.invoke(Named, "invokeS12")
        return HANDLED

    @on_event(S1, "invokeS1", "invokeS12")
    def count(self, arg: object) -> Outcome:
        self.var += 1
        return HANDLED

    bad = on_event(S1, "invokeS11", target=Judged.failed)

    def is_two(self) -> bool:
        return bool(self.var == 2)

    good = on_timeout(S1, 2.0, guard=is_two, target=Judged.passed)


@invokes(554)
class NotStarted(Invoking):
    """An error in the arguments of a child ends its start."""

    S0 = State()
    begin = on_initial(ROOT, target=S0)
    bad = on_event(S0, "done.invoke", target=Judged.failed)

    @on_entry(S0)
    def start_child(self) -> None:
        self.attempt(lambda: self.invoke(AtOnce, undefined()))

    good = on_timeout(S0, 2.0, target=Judged.passed)
