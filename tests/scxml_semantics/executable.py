"""W3C tests of executable content, event queues, event data and errors."""

from __future__ import annotations

from typing import Any

from tensor_pool.hsm import (
    ANY,
    ROOT,
    DispatchError,
    Final,
    State,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_initial,
)
from tests.scxml_semantics.judged import Judged, content, order, register, w3c


def undefined() -> Any:
    """An expression that cannot be evaluated."""
    return undefined_variable  # type: ignore[name-defined] # noqa: F821


# Events: raised ones in the order in which they are raised, sent ones after all raised ones.


def raise_foo_bar(m: Any) -> None:
    m.post("foo")
    m.post("bar")


order(144, raise_foo_bar, "foo", "bar")
order(158, lambda m: (m.post("event1"), m.post("event2")), "event1", "event2")


def first_true_clause(m: Any) -> None:
    if m.var:
        m.post("foo")
    elif not m.var:
        m.post("bar")
    else:
        m.post("baz")
    m.post("bat")


def else_clause(m: Any) -> None:
    if m.var:
        m.post("foo")
    elif m.var == 2:
        m.post("bar")
    else:
        m.post("baz")
    m.post("bat")


def no_clause(m: Any) -> None:
    if m.var:
        m.post("foo")
    elif m.var == 2:
        m.post("bar")
    m.post("bat")


order(147, first_true_clause, "bar", "bat")
order(148, else_clause, "baz", "bat")
order(149, no_clause, "bat")


def sent_before_raised(m: Any) -> None:
    m.send("event2")
    m.post("event1")


order(189, sent_before_raised, "event1", "event2")
order(193, lambda m: (m.send("event1"), m.post("internal")), "internal", "event1")
order(495, lambda m: (m.send("external"), m.post("internal")), "internal", "external")


def send_a_computed_event(m: Any) -> None:
    m.var = "event1"
    m.var = "event2"
    m.send(m.var)


order(172, send_a_computed_event, "event2")
order(342, lambda m: m.send("fo" + "o"), "foo")
order(348, lambda m: m.send("s0Event"), "s0Event")

# Addresses: a machine that a variable refers to.


def send_to_a_computed_machine(m: Any) -> None:
    m.var = None
    m.var = m
    m.var.send("event1")


order(173, send_to_a_computed_machine, "event1")


def send_to_the_own_address(m: Any) -> None:
    m.var = m
    m.var.send("event2")
    m.post("event1")


order(190, send_to_the_own_address, "event1", "event2")
order(350, send_to_a_computed_machine, "event1")


@w3c(336, 349)
class Replied(Judged):
    """An event that carries its sender can be answered."""

    S0, S1 = State(), State()
    begin = on_initial(ROOT, target=S0)
    other = on_event(ROOT, ANY, target=Judged.failed)
    good = on_event(S1, "bar", target=Judged.passed)

    @on_entry(S0)
    def call(self) -> None:
        self.send("foo", self)

    @on_event(S0, "foo", target=S1)
    def reply(self, sender: Any) -> None:
        sender.send("bar")

    @on_entry(S1)
    def call_again(self) -> None:
        self.send("baz")


@w3c(496, 521)
class NotReached(Judged):
    """An event for a machine that has ended is an error of the sender (H-131)."""

    S0 = State()
    begin = on_initial(ROOT, target=S0)
    good = on_event(S0, "error.communication", target=Judged.passed)
    other = on_event(S0, ANY, target=Judged.failed)

    @on_entry(S0)
    def call(self) -> None:
        self.send("timeout")
        ended = AtItsEnd()
        try:
            ended.dispatch("event")
        except DispatchError as error:
            self.post("error.communication", error)


class AtItsEnd(Judged):
    begin = on_initial(ROOT, target=Judged.passed)


# Errors: one ends the content that it is in, and comes before events from outside.


def error_after_send(m: Any) -> None:
    m.send("foo")
    m.attempt(undefined)


def error_between_raised(m: Any) -> None:
    m.post("event1")
    m.attempt(undefined)
    m.post("event2")


order(401, error_after_send, "error.execution", "foo")
order(402, error_between_raised, "event1", "error.execution", "event2")
order(312, lambda m: m.attempt(lambda: setattr(m, "var", undefined())), "error.execution")


def assign_to_no_place(m: Any) -> None:
    m.attempt(lambda: setattr(m.undeclared, "var", 1))
    m.post("event")


order(286, assign_to_no_place, "error.execution", "event")
order(311, assign_to_no_place, "error.execution", "event")


def assign_an_illegal_expression(m: Any) -> None:
    m.attempt(lambda: setattr(m, "var", eval("return")))
    m.post("event")


order(487, assign_an_illegal_expression, "error.execution", "event")


def skip_after_an_error(m: Any) -> None:
    def both() -> None:
        undefined()
        m.var += 1

    m.attempt(both)


content(159, skip_after_an_error, lambda m: m.var == 0)


def send_with_a_wrong_argument(m: Any) -> None:
    m.attempt(lambda: m.send("event1", undefined()))
    m.send("timeout")


order(553, send_with_a_wrong_argument, "error.execution", "timeout")


def no_loop_over_a_number(m: Any) -> None:
    def loop() -> None:
        for _ in 7:  # type: ignore[attr-defined]
            m.var += 1

    m.attempt(loop)


content(152, no_loop_over_a_number, lambda m: m.var == 0)
content(457, no_loop_over_a_number, lambda m: m.var == 0)


def stop_the_loop_at_an_error(m: Any) -> None:
    def loop() -> None:
        for _ in (1, 2, 3):
            m.var += 1
            undefined()

    m.attempt(loop)


content(156, stop_the_loop_at_an_error, lambda m: m.var == 1)


def write_system_variables(m: Any) -> None:
    for name in ("current", "source", "event", "is_running"):
        m.attempt(lambda name=name: setattr(m, name, "otherwise"))


order(346, write_system_variables, *["error.execution"] * 4)
content(
    329,
    lambda m: [m.attempt(lambda: setattr(m, "event", "otherwise")), m.attempt(lambda: None)],
    lambda m: m.event is None and m.current.name == "working",
)

# Loops and data.


def loop_with_names(m: Any) -> None:
    for m.index, m.item in enumerate((1, 2, 3)):
        m.var += m.item


content(150, loop_with_names, lambda m: m.item == 3)
content(151, loop_with_names, lambda m: m.index == 2)
content(155, loop_with_names, lambda m: m.var == 6)


def remember_rising_items(m: Any) -> None:
    m.rising, before = True, 0
    for m.item in (1, 2, 3):
        m.rising, before = m.rising and m.item > before, m.item


content(153, remember_rising_items, lambda m: m.rising)
content(459, remember_rising_items, lambda m: m.rising and m.item == 3)


def grow_the_list_in_its_loop(m: Any) -> None:
    m.items = [1, 2, 3]
    for _ in tuple(m.items):
        m.items.append(4)
        m.var += 1


content(460, grow_the_list_in_its_loop, lambda m: m.var == 3)
content(525, grow_the_list_in_its_loop, lambda m: m.var == 3 and len(m.items) == 6)
content(287, lambda m: setattr(m, "var", 1), lambda m: m.var == 1)
content(550, lambda m: setattr(m, "var", 1 + 1), lambda m: m.var == 2)
content(303, lambda m: setattr(m, "var", m.var + 1), lambda m: m.var == 1)
content(449, lambda m: None, lambda m: bool("text"))
content(453, lambda m: setattr(m, "call", lambda value: value + 1), lambda m: m.call(1) == 2)
content(456, lambda m: exec("m.var = m.var + 1", {"m": m}), lambda m: m.var == 1)


def assign_within_a_structure(m: Any) -> None:
    m.structure = {"inner": [0]}
    m.structure["inner"][0] = 1


content(452, assign_within_a_structure, lambda m: m.structure == {"inner": [1]})


@w3c(277)
class AssignedLater(Judged):
    """A failed assignment leaves the variable free for a later one."""

    S0, S1 = State(), State()
    begin = on_initial(ROOT, target=S0)

    @on_entry(S0)
    def fail_to_assign(self) -> None:
        self.attempt(lambda: setattr(self, "late", undefined()))

    def has_none(self, arg: object) -> bool:
        return not hasattr(self, "late")

    after_error = on_event(S0, "error.execution", guard=has_none, target=S1)

    @on_entry(S1)
    def assign(self) -> None:
        self.late = 1

    def is_assigned(self) -> bool:
        return self.late == 1

    good = on_completion(S1, guard=is_assigned, target=Judged.passed)
    bad = on_completion(S1, target=Judged.failed)


@w3c(302, 304, 444, 445)
class Scripted(Judged):
    """The assignments of `__init__` are done before the first state is entered (H-041)."""

    S0 = State()
    begin = on_initial(ROOT, target=S0)

    def __init__(self) -> None:
        super().__init__()
        self.script_ran = True
        self.empty = None

    def has_run(self) -> bool:
        return self.script_ran and self.empty is None

    good = on_completion(S0, guard=has_run, target=Judged.passed)
    bad = on_completion(S0, target=Judged.failed)


# Variables belong to the machine: other states see them (278, 551), and before their state is
# entered (279), unless it is an entry handler that assigns them first (280).
content(278, lambda m: None, lambda m: m.var == 0)
content(551, lambda m: None, lambda m: m.var == 0)
content(279, lambda m: setattr(m, "copied", m.var), lambda m: m.copied == 0)


@w3c(280)
class BoundLate(Judged):
    S0, S1 = State(), State()
    begin = on_initial(ROOT, target=S0)

    @on_entry(S0)
    def read_too_early(self) -> None:
        self.attempt(lambda: self.late)

    go = on_event(S0, "error.execution", target=S1)

    @on_entry(S1)
    def assign(self) -> None:
        self.late = 2

    def is_two(self) -> bool:
        return self.late == 2

    good = on_completion(S1, guard=is_two, target=Judged.passed)
    bad = on_completion(S1, target=Judged.failed)


# The current event and its data.


@w3c(318)
class BoundOnTheWay(Judged):
    """The event stays bound while one state is left and the next one entered."""

    S0, S1 = State(), State()
    begin = on_initial(ROOT, target=S0)
    go = on_event(S0, "foo", target=S1)

    @on_entry(S0)
    def call(self) -> None:
        self.post("foo")
        self.post("bar")

    @on_exit(S0)
    def leave(self) -> None:
        self.left_with = self.event

    @on_entry(S1)
    def arrive(self) -> None:
        self.arrived_with = self.event

    def both(self, arg: object) -> bool:
        return self.left_with == self.arrived_with == "foo" and self.event == "bar"

    good = on_event(S1, "bar", guard=both, target=Judged.passed)
    bad = on_event(S1, "bar", target=Judged.failed)


content(319, lambda m: setattr(m, "first", m.event), lambda m: m.first is None)


@w3c(331, 396)
class Bound(Judged):
    """The event is the one that is matched, raised or sent."""

    S0, S1, S2 = State(), State(), State()
    begin = on_initial(ROOT, target=S0)

    @on_entry(S0)
    def call(self) -> None:
        self.send("external")
        self.post("internal")
        self.attempt(undefined)

    def is_internal(self, arg: object) -> bool:
        return self.event == "internal"

    def is_platform(self, arg: object) -> bool:
        return self.event == "error.execution" and isinstance(arg, NameError)

    def is_external(self, arg: object) -> bool:
        return self.event == "external"

    first = on_event(S0, "internal", guard=is_internal, target=S1)
    second = on_event(S1, "error.execution", guard=is_platform, target=S2)
    third = on_event(S2, "external", guard=is_external, target=Judged.passed)


def carrying(number: int, argument: object, later: object) -> None:
    """The data of an event is what was given when it was sent."""

    class Carrying(Judged):
        S0 = State()
        begin = on_initial(ROOT, target=S0)

        @on_entry(S0)
        def call(self) -> None:
            self.var = argument
            self.send("event1", self.var)
            self.var = later

        def is_unchanged(self, arg: object) -> bool:
            return arg is argument

        good = on_event(S0, "event1", guard=is_unchanged, target=Judged.passed)
        bad = on_event(S0, "event1", target=Judged.failed)

    register(number, Carrying)


carrying(176, 2, 1)
carrying(179, "123", "")
carrying(186, 1, 2)
carrying(205, {"aParam": 1}, None)
carrying(354, {"var1": 1, "param1": 2}, None)
carrying(560, {"aParam": 1}, {"aParam": 2})
carrying(578, {"productName": "bar", "size": 27}, None)

# The data of a completion: what the transition to the final state has assigned.


class WithResult(Judged, abstract=True):
    """A state that completes; its completion reads the result that was assigned on the way."""

    result: Any = None
    S0 = State()
    S01, S02 = State(parent=S0), Final(parent=S0)
    begin, begin_s0 = on_initial(ROOT, target=S0), on_initial(S0, target=S01)

    def evaluate(self) -> Any:
        raise NotImplementedError

    @on_completion(S01, target=S02)
    def assign(self) -> None:
        self.attempt(lambda: setattr(self, "result", self.evaluate()))

    def has_result(self) -> bool:
        return self.result is not None


def resulting(number: int, result: object) -> None:
    class Resulting(WithResult):
        def evaluate(self) -> Any:
            return result

        def is_right(self) -> bool:
            return self.result is result

        good = on_completion(WithResult.S0, guard=is_right, target=Judged.passed)
        bad = on_completion(WithResult.S0, target=Judged.failed)

    register(number, Resulting)


resulting(294, {"Var1": 1})
resulting(527, "foo")
resulting(529, 21)

# Documented differences.


@w3c()
class Truthful(Judged):
    S0 = State()
    begin = on_initial(ROOT, target=S0)

    def text(self) -> str:
        return "a text"

    odd = on_completion(S0, guard=text, target=Judged.failed)
    good = on_completion(S0, target=Judged.passed)


register(
    309,
    Truthful,
    lambda m: m.current.name == "failed",
    differs="a guard counts by its truth; SCXML takes every value but a boolean as false",
)


class Guarded(Judged):
    """A guard that fails: the exception reaches the caller and changes nothing."""

    S0 = State()
    begin = on_initial(ROOT, target=S0)

    def broken(self, arg: object) -> bool:
        return bool(undefined())

    go = on_event(S0, "go", guard=broken, target=Judged.failed)


def guarded() -> Guarded:
    made = Guarded()
    try:
        made.dispatch("go")
    except NameError:
        made.var = "raised"
    return made


register(
    344,
    guarded,
    lambda m: m.var == "raised" and m.current is Guarded.S0 and m.is_running,
    differs="an exception in a guard reaches the caller; SCXML takes it as false",
)


class Blocks(Judged):
    """One entry and one exit handler: an exception ends all of it and faults the machine."""

    S0, S1 = State(), State()
    begin = on_initial(ROOT, target=S0)
    go = on_event(S0, "go", target=S1)

    @on_exit(S0)
    def leave(self) -> None:
        undefined()
        self.var += 1

    @on_entry(S1)
    def arrive(self) -> None:
        self.var += 1


def blocks() -> Blocks:
    made = Blocks()
    try:
        made.dispatch("go")
    except NameError:
        return made
    raise AssertionError("the exception was lost")


for number in (376, 378):
    register(
        number,
        blocks,
        lambda m: m.is_faulted and m.var == 0,
        differs="a state has one entry and one exit handler, and an exception in it faults the "
        "machine (H-161); SCXML goes on with the next block",
    )


class ResultFails(WithResult):
    """298, 343, 488, 528: the result cannot be evaluated."""

    completed_first = False

    def evaluate(self) -> Any:
        return undefined()

    good = on_event(ROOT, "error.execution", target=Judged.passed)
    S1 = State()

    @on_completion(WithResult.S0, target=S1)
    def complete(self) -> None:
        self.completed_first = True


for number in (298, 343, 488, 528):
    register(
        number,
        ResultFails,
        lambda m: m.current.name == "passed" and m.completed_first and not m.has_result(),
        differs="a completion comes before every posted event (H-135), also before the error that "
        "was posted on the way to the final state; the result is empty in both",
    )
