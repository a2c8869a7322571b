"""W3C tests of states, transitions, history and completion, without parallel states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    SHALLOW,
    Final,
    Machine,
    Outcome,
    State,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
)
from tensor_pool.hsm.scxml import import_scxml
from tests.scxml_semantics.judged import Judged, register, w3c


@w3c(145)
class Spontaneous(Judged):
    """An eventless transition is taken after those that events take."""

    S0, S1, S2 = State(), State(), State()
    begin = on_initial(ROOT, target=S0)

    @on_entry(S0)
    def call(self) -> None:
        self.post("foo")
        self.post("bar")

    foo = on_event(S0, "foo", target=S1)
    bar = on_event(S1, "bar", target=S2)
    done = on_completion(S2, target=Judged.passed)
    other = on_event(ROOT, ANY, target=Judged.failed)


@w3c(372)
class DoneAfterEntry(Judged):
    """A completion comes after what runs on the way into the final state."""

    S0 = State()
    S01 = State(parent=S0)
    S0_end = Final(parent=S0)
    begin, begin_s0 = on_initial(ROOT, target=S0), on_initial(S0, target=S01)

    @on_completion(S01, target=S0_end)
    def assign(self) -> None:
        self.var = 2

    def is_two(self) -> bool:
        return bool(self.var == 2)

    good = on_completion(S0, guard=is_two, target=Judged.passed)
    bad = on_completion(S0, target=Judged.failed)


class Recalled(Judged, abstract=True):
    """Two levels of states that post their names when they are entered."""

    S0 = State()
    S01, S02 = State(parent=S0), State(parent=S0)
    S011, S012 = State(parent=S01), State(parent=S01)
    S021, S022 = State(parent=S02), State(parent=S02)
    S1 = State()
    begin_s0 = on_initial(S0, target=S01)
    begin_s01, begin_s02 = on_initial(S01, target=S011), on_initial(S02, target=S021)
    shallow_default = on_history_default(S0, SHALLOW, target=S02)
    deep_default = on_history_default(S0, DEEP, target=S022)

    @on_entry(ANY)
    def entering(self, state: State) -> None:
        if state in (self.S011, self.S012, self.S021, self.S022):
            self.post(f"entering {state.name}")


@w3c(387)
class Defaults(Recalled):
    """A history of a state that was never left leads to its default."""

    begin = on_initial(ROOT, target=Recalled.S1)
    recall = on_completion(Recalled.S1, target=Recalled.S0, history=DEEP)
    good = on_event(Recalled.S0, "entering S022", target=Judged.passed)
    bad = on_event(Recalled.S0, ANY, target=Judged.failed)


@w3c(388)
class Remembered(Recalled):
    """A deep history leads back to the leaf, a shallow one to the child and its initial."""

    S2 = State()
    begin = on_initial(ROOT, target=Recalled.S012)
    deep = on_completion(Recalled.S1, target=Recalled.S0, history=DEEP)
    shallow = on_completion(S2, target=Recalled.S0, history=SHALLOW)

    @on_entry(Recalled.S0)
    def count(self) -> None:
        self.var += 1

    def is_first(self, arg: object) -> bool:
        return bool(self.var == 1)

    def is_second(self, arg: object) -> bool:
        return bool(self.var == 2)

    def is_third(self, arg: object) -> bool:
        return bool(self.var == 3)

    one = on_event(Recalled.S0, "entering S012", guard=is_first, target=Recalled.S1)
    two = on_event(Recalled.S0, "entering S012", guard=is_second, target=S2)
    three = on_event(Recalled.S0, "entering S011", guard=is_third, target=Judged.passed)
    other = on_event(Recalled.S0, ANY, target=Judged.failed)


def never(self: object, arg: object) -> bool:
    return False


@w3c("403a")
class ChildFirst(Judged):
    """The transition of a child comes before that of its parent, if it is enabled."""

    S0 = State()
    S01, S02 = State(parent=S0), State(parent=S0)
    begin, begin_s0 = on_initial(ROOT, target=S0), on_initial(S0, target=S01)
    outer1 = on_event(S0, "event1", target=Judged.failed)
    outer2 = on_event(S0, "event2", target=Judged.passed)
    inner = on_event(S01, "event1", target=S02)
    other = on_event(S01, ANY, target=Judged.failed)
    not_this = on_event(S02, "event1", target=Judged.failed)
    nor_this = on_event(S02, "event2", guard=never, target=Judged.failed)

    @on_entry(S01)
    def first(self) -> None:
        self.post("event1")

    @on_entry(S02)
    def second(self) -> None:
        self.post("event2")


@w3c(407)
class Left(Judged):
    S0, S1 = State(), State()
    begin = on_initial(ROOT, target=S0)
    go = on_completion(S0, target=S1)

    @on_exit(S0)
    def count(self) -> None:
        self.var += 1

    def is_one(self) -> bool:
        return bool(self.var == 1)

    good = on_completion(S1, guard=is_one, target=Judged.passed)
    bad = on_completion(S1, target=Judged.failed)


@w3c(412)
class InitialContent(Judged):
    """The effect of an initial runs between the entry of its owner and that of its target."""

    S0 = State()
    S01, S02 = State(parent=S0), State(parent=S0)
    S03, S04 = State(parent=S0), State(parent=S0)
    S011 = State(parent=S01)
    begin, begin_s0 = on_initial(ROOT, target=S0), on_initial(S0, target=S01)
    go = on_completion(S011, target=S02)
    first = on_event(S02, "event1", target=S03)
    second = on_event(S03, "event2", target=S04)
    third = on_event(S04, "event3", target=Judged.passed)
    other = on_event(S0, ANY, target=Judged.failed)

    @on_entry(S01)
    def event1(self) -> None:
        self.post("event1")

    @on_initial(S01, target=S011)
    def event2(self) -> None:
        self.post("event2")

    @on_entry(S011)
    def event3(self) -> None:
        self.post("event3")


@w3c(416)
class Done(Judged):
    S1 = State()
    S11 = State(parent=S1)
    S111 = State(parent=S11)
    S11_end = Final(parent=S11)
    begin, begin_s1 = on_initial(ROOT, target=S1), on_initial(S1, target=S11)
    begin_s11 = on_initial(S11, target=S111)
    end = on_completion(S111, target=S11_end)
    good = on_completion(S11, target=Judged.passed)


@w3c(419)
class CompletionFirst(Judged):
    """An eventless transition comes before any event."""

    S1 = State()
    begin = on_initial(ROOT, target=S1)
    bad = on_event(S1, ANY, target=Judged.failed)
    good = on_completion(S1, target=Judged.passed)

    @on_entry(S1)
    def call(self) -> None:
        self.post("internalEvent")
        self.send("externalEvent")


@w3c(421)
class InternalFirst(Judged):
    """All raised events come before one that was sent."""

    S1 = State()
    S11, S12 = State(parent=S1), State(parent=S1)
    begin, begin_s1 = on_initial(ROOT, target=S1), on_initial(S1, target=S11)
    bad = on_event(S1, "externalEvent", target=Judged.failed)
    first = on_event(S11, "internalEvent1", target=S12)
    second = on_event(S12, "internalEvent2", target=Judged.passed)

    @on_entry(S1)
    def call(self) -> None:
        self.send("externalEvent")
        self.post("internalEvent1")
        self.post("internalEvent2")


@w3c(423)
class UntilOneMatches(Judged):
    """An event that nothing takes is dropped, and the next one is tried."""

    S0, S1 = State(), State()
    begin = on_initial(ROOT, target=S0)
    first = on_event(S0, "internalEvent", target=S1)
    other = on_event(S0, ANY, target=Judged.failed)
    good = on_event(S1, "externalEvent2", target=Judged.passed)
    bad = on_event(S1, "internalEvent", target=Judged.failed)

    @on_entry(S0)
    def call(self) -> None:
        self.send("externalEvent1")
        self.send("externalEvent2")
        self.post("internalEvent")


class Counted(Judged, abstract=True):
    """Raises foo and bar on the way to S2, and counts how often S2 and S21 are left."""

    outer = inner = effects = 0
    expected: tuple[int, int]
    S1, S2 = State(), State()
    S21 = State(parent=S2)
    S3 = State()
    begin = on_initial(ROOT, target=S1)
    begin_s2 = on_initial(S2, target=S21)
    to_s2 = on_completion(S1, target=S2)

    @on_entry(S1)
    def call(self) -> None:
        self.post("foo")
        self.post("bar")

    @on_exit(S2)
    def leave_outer(self) -> None:
        self.outer += 1

    @on_exit(S21)
    def leave_inner(self) -> None:
        self.inner += 1

    def was_taken(self, arg: object) -> bool:
        return self.effects == 1

    to_s3 = on_event(S2, "bar", guard=was_taken, target=S3)
    bad = on_event(S2, "bar", target=Judged.failed)

    def counts_are_right(self) -> bool:
        return (self.outer, self.inner) == self.expected

    good = on_completion(S3, guard=counts_are_right, target=Judged.passed)
    wrong = on_completion(S3, target=Judged.failed)


@w3c(503)
class Targetless(Counted):
    """A transition without a target leaves nothing."""

    expected = (1, 1)

    @on_event(Counted.S2, "foo")
    def stay(self, arg: object) -> Outcome:
        self.effects += 1
        return HANDLED


@w3c(505)
class Inward(Counted):
    """A transition to a descendant does not leave its source (internal in SCXML)."""

    expected = (1, 2)

    @on_event(Counted.S2, "foo", target=Counted.S21)
    def inwards(self, arg: object) -> None:
        self.effects += 1


@w3c(506)
class ToItself(Counted):
    """A transition to its own source leaves it, also when SCXML calls it internal."""

    expected = (2, 2)

    @on_event(Counted.S2, "foo", target=Counted.S2)
    def again(self, arg: object) -> None:
        self.effects += 1


@w3c(579)
class HistoryContent(Judged):
    """The default of a history runs after entry and initial, and only without a memory."""

    S0 = State()
    S01, S02, S03 = State(parent=S0), State(parent=S0), State(parent=S0)
    S2, S3 = State(), State()
    begin = on_initial(ROOT, target=S0)

    @on_entry(S0)
    def event1(self) -> None:
        self.send("timeout")
        self.post("event1")

    @on_initial(S0, target=S0, history=SHALLOW)
    def event2(self) -> None:
        self.post("event2")

    @on_history_default(S0, SHALLOW, target=S01)
    def event3(self) -> None:
        self.post("event3")

    @on_exit(S0)
    def count(self) -> None:
        self.var += 1

    def is_first(self, arg: object) -> bool:
        return bool(self.var == 0)

    def is_second(self, arg: object) -> bool:
        return bool(self.var == 1)

    one = on_event(S01, "event1", target=S02)
    two = on_event(S02, "event2", target=S03)
    # From outside of S03: a transition to a state around its source would stay in it (H-084).
    three = on_event(S0, "event3", guard=is_first, target=S0)
    four = on_event(S03, "event1", guard=is_second, target=S2)
    five = on_event(S2, "event2", target=S3)
    bad = on_event(S3, "event3", target=Judged.failed)
    good = on_event(S3, "timeout", target=Judged.passed)
    other = on_event(S0, ANY, target=Judged.failed)


# Documents: what the importer has to get right.


def imported(number: int, body: str, behaviours: Mapping[str, Any] | None = None) -> None:
    text = (
        '<scxml xmlns="http://www.w3.org/2005/07/scxml" xmlns:hsm="urn:tensor-pool:hsm">'
        f"{body}<final id='passed'/><final id='failed'/></scxml>"
    )

    def make() -> Machine:
        return import_scxml(text, behaviours)()

    register(number, make)


imported(
    355,
    "<state id='s0'><transition target='passed'/></state>"
    "<state id='s1'><transition target='failed'/></state>",
)


def event1(self: Machine) -> None:
    self.post("event1")


def event2(self: Machine) -> None:
    self.post("event2")


_TWO = "<hsm:call name='event1'/></on{0}><on{0}><hsm:call name='event2'/>"
_READ = (
    "<state id='s{0}'><transition event='event1' target='s{1}'/>"
    "<transition event='*' target='failed'/></state>"
    "<state id='s{1}'><transition event='event2' target='passed'/>"
    "<transition event='*' target='failed'/></state>"
)
imported(
    375,
    f"<state id='s0'><onentry>{_TWO.format('entry')}</onentry><transition target='s1'/></state>"
    + _READ.format(1, 2),
    {"event1": event1, "event2": event2},
)
imported(
    377,
    f"<state id='s0'><onexit>{_TWO.format('exit')}</onexit><transition target='s1'/></state>"
    + _READ.format(1, 2),
    {"event1": event1, "event2": event2},
)


def _raising(event: str) -> Any:
    def post(self: Machine) -> None:
        self.post(event)

    return post


# The event foo.zoo stands in the document, because descriptors match the events that it names.
imported(
    399,
    "<state id='s01'><onentry><hsm:call name='foo'/></onentry>"
    "<transition event='foo bar' target='s02'/></state>"
    "<state id='s02'><onentry><hsm:call name='bar'/></onentry>"
    "<transition event='foo bar' target='s03'/></state>"
    "<state id='s03'><onentry><hsm:call name='zoo'/></onentry>"
    "<transition event='foo bar' target='s04'/></state>"
    "<state id='s04'><onentry><hsm:call name='foos'/></onentry>"
    "<transition event='foo' target='failed'/><transition event='foos' target='s05'/></state>"
    "<state id='s05'><onentry><hsm:call name='zoo'/></onentry>"
    "<transition event='foo.*' target='s06'/></state>"
    "<state id='s06'><onentry><hsm:call name='foo'/></onentry>"
    "<transition event='*' target='passed'/></state>"
    "<state id='s07'><transition event='foo.zoo' target='failed'/></state>",
    {
        "foo": _raising("foo"),
        "bar": _raising("bar"),
        "zoo": _raising("foo.zoo"),
        "foos": _raising("foos"),
    },
)
