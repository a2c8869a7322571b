"""Section 3: what a class body declares, and every mistake that is found in it."""

import functools
import unittest.mock
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    SHALLOW,
    UNHANDLED,
    DefinitionError,
    DispatchError,
    Final,
    Machine,
    State,
    Terminate,
    TransitionError,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
)


def test_H_001_states_are_in_document_order_inherited_first() -> None:
    class Base(Machine):
        B = State()
        A = State(parent=B)
        begin = on_initial(ROOT, target=B)
        inner = on_initial(B, target=A)

    class Sub(Base):
        C = Final()
        D = Terminate()

    assert [state.name for state in Base.states] == ["B", "A"]
    assert [state.name for state in Sub.states] == ["B", "A", "C", "D"]


def test_H_001_states_of_plain_mixins_belong_to_the_machine() -> None:
    class Mixin:
        Extra = State()

    class Whole(Mixin, Machine):
        Own = State()
        begin = on_initial(ROOT, target=Own)

    assert [state.name for state in Whole.states] == ["Extra", "Own"]


def test_H_002_name_and_parent() -> None:
    class Named(Machine):
        Top = State()
        odd = State("Strange name", parent=Top)
        begin = on_initial(ROOT, target=Top)
        inner = on_initial(Top, target=odd)

    assert Named.odd.name == "Strange name"
    assert Named.odd.parent is Named.Top
    assert Named.Top.name == "Top"
    assert Named.Top.parent is ROOT
    assert ROOT.name == "ROOT"
    assert ROOT.parent is None


def test_H_003_references_may_be_names_of_what_comes_later() -> None:
    class Forward(Machine):
        begin = on_initial("ROOT", target="A")
        A = State(parent="Whole")
        Whole = State()
        inner = on_initial("Whole", target="A")

        @on_event("A", "go", targets="B")
        def _go(self, arg: Any) -> Any:
            return self.transition("B") if arg == "name" else self.transition(self.B)

        B = State()
        back = on_event(B, "go", target="ROOT")

    machine = Forward()
    assert machine.current is Forward.A
    assert Forward.A.parent is Forward.Whole
    with pytest.raises(TransitionError):
        machine.dispatch("go", "name")
    assert machine.current is Forward.A
    machine.dispatch("go")
    assert machine.current is Forward.B
    machine.dispatch("go")
    assert machine.current is Forward.A


def test_H_003_targets_takes_one_reference_or_any_iterable() -> None:
    class Several(Machine):
        A = State()
        B = State()
        begin = on_initial(ROOT, target=A)

        @on_event(A, "go", targets=(name for name in ("A", "B")))
        def _go(self, arg: Any) -> Any:
            return self.transition(self.B)

        @on_event(B, "go", targets=A)
        def _back(self, arg: Any) -> Any:
            return self.transition(self.A)

    machine = Several()
    machine.dispatch("go")
    machine.dispatch("go")
    assert machine.current is Several.A


def test_H_004_decorated_functions_stay_ordinary_methods() -> None:
    def function(self: Any, arg: Any) -> Any:
        """Handle 1."""
        return HANDLED if arg == 1 else UNHANDLED

    assert on_event("A", "x")(function) is function

    class Whole(Machine):
        A = State()
        begin = on_initial(ROOT, target=A)
        handler = on_event(A, "y")(function)

    machine = Whole()
    assert Whole.handler is function
    assert Whole.handler.__doc__ == "Handle 1."
    assert Whole.handler.__name__ == "function"
    assert machine.handler(1) is HANDLED
    assert machine.dispatch("x", 1) is HANDLED
    assert machine.dispatch("y", 1) is HANDLED


def test_H_005_declaration_without_a_function() -> None:
    class Bare(Machine):
        A = State()
        B = State()
        C = State(parent=B)
        begin = on_initial(ROOT, target=A)
        inner = on_initial(B, target=C)
        go = on_event(A, "x", target=B)
        done = on_completion(C, target=A)
        recall = on_event(A, "h", target=B, history=DEEP)
        default = on_history_default(B, DEEP, target=C)

    machine = Bare()
    assert machine.dispatch("x") is HANDLED
    assert machine.current is Bare.A


def test_H_006_events_match_by_equality_and_hash_only() -> None:
    class Message: ...

    class Special(Message): ...

    class Typed(Machine):
        A = State()
        begin = on_initial(ROOT, target=A)

        @on_event(A, Message, 7, ("tuple", 1), frozenset({1}))
        def _take(self, arg: Any) -> Any:
            return HANDLED

    machine = Typed()
    assert machine.dispatch(Message) is HANDLED
    assert machine.dispatch(7.0) is HANDLED
    assert machine.dispatch(("tuple", 1)) is HANDLED
    assert machine.dispatch(frozenset({1})) is HANDLED
    assert machine.dispatch(Special) is UNHANDLED
    with pytest.raises(DispatchError, match=r"dispatch\(type\(message\), message\)"):
        machine.dispatch(Message())  # H-261


def test_H_006_none_is_an_event_like_others() -> None:
    class Nothing(Machine):
        A = State()
        begin = on_initial(ROOT, target=A)

        @on_event(A, None)
        def _take(self, arg: Any) -> Any:
            with pytest.raises(Exception, match="during a step"):
                self.dispatch("x")
            return arg

    machine = Nothing()
    assert machine.dispatch(None, HANDLED) is HANDLED
    assert machine.dispatch(None, UNHANDLED) is UNHANDLED
    assert machine.dispatch("x") is UNHANDLED


def test_H_007_all_mistakes_are_reported_at_once_with_place_and_remedy() -> None:
    with pytest.raises(DefinitionError) as caught:

        class Wrong(Machine):
            A = State(parent="Nowhere")
            B = State()
            begin = on_initial(ROOT, target=A)

            @on_event(A, "x")
            def _short(self) -> Any: ...

            bare = on_event(B, "y")

    problems = caught.value.problems
    assert len(problems) == 3
    assert caught.value.__cause__ is None
    text = str(caught.value)
    assert "Wrong" in text
    assert "3 mistakes" in text
    for name in ("'A'", "Nowhere", "_short", "bare"):
        assert name in text
    assert text.count(Path(__file__).name) == 3


def _line_of(text: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if text.replace("'", '"') in line)


def test_H_007_the_place_is_the_line_of_the_declaration() -> None:
    with pytest.raises(DefinitionError) as caught:

        class Wrong(Machine):
            A = State()
            begin = on_initial(ROOT, target=A)
            nowhere = on_event(A, "unique event of this test", target="Nowhere")

    line = _line_of('on_event(A, "unique event of this test"')
    assert f"{Path(__file__).name}:{line})" in caught.value.problems[0]


def test_H_008_abstract_classes_need_not_be_complete() -> None:
    class Empty(Machine, abstract=True): ...

    class Base(Machine, abstract=True):
        A = State()
        B = State(parent=A)

    class Concrete(Base):
        begin = on_initial(ROOT, target=Base.A)
        inner = on_initial(Base.A, target=Base.B)

    for abstract in (Machine, Empty, Base):
        with pytest.raises(TypeError, match="abstract"):
            abstract()
    assert Concrete().current is Base.B
    with pytest.raises(DefinitionError):

        class Incomplete(Base): ...

    with pytest.raises(DefinitionError):

        class StillChecked(Machine, abstract=True):
            A = State(parent="Nowhere")


def small(**more: Any) -> type[Machine]:
    """A machine of one state, `A`, and what is given."""
    body = {"A": State(), "begin": on_initial(ROOT, target="A"), **more}
    return type(Machine)("Small", (Machine,), body)


def test_H_009_a_class_is_closed() -> None:
    cls = small()

    def function(self: Any, arg: Any) -> Any: ...

    before = cls.states
    for value in (State(), on_event("A", "x", target="A"), on_event("A", "x")(function)):
        with pytest.raises(DefinitionError, match="closed"):
            cls.New = value
    assert cls.states is before
    assert not hasattr(cls, "New")


def test_H_009_other_attributes_do_not_affect_the_plans() -> None:
    @on_event("A", "x")
    def handler(self: Any, arg: Any) -> Any:
        return HANDLED

    cls = small(handler=handler)
    cls.handler = lambda self, arg: UNHANDLED
    cls.anything = 3
    assert cls().dispatch("x") is HANDLED


# Mistakes -----------------------------------------------------------------------------------------


def defining(body: dict[str, Any], bases: tuple[type, ...] = (Machine,), **keywords: Any) -> Any:
    """Define a class of the states `A`, `B`, `C` in `B` with initials, and of `body`."""
    whole = {
        "A": State(),
        "B": State(),
        "C": State(parent="B"),
        "begin": on_initial(ROOT, target="A"),
        "b_initial": on_initial("B", target="C"),
        **body,
    }
    return type(Machine)("Defined", bases, whole, **keywords)


def handler(self: Any, arg: Any) -> Any: ...


def new(function: Callable[..., Any]) -> Callable[..., Any]:
    """A fresh function of the same body; declarations stick to function objects."""
    return FunctionType(function.__code__, globals(), function.__name__)


def event(*arguments: Any, **keywords: Any) -> Any:
    return on_event(*arguments, **keywords)(new(handler))


def lonely() -> Any:
    return State("lonely")


class Elsewhere(Machine):
    Foreign = State()
    begin = on_initial(ROOT, target=Foreign)


class Inherited(Machine):
    A = State()
    begin = on_initial(ROOT, target=A)
    inherited = event("A", "x")


shared = State()


class Owner(Machine):
    Shared = shared
    begin = on_initial(ROOT, target=shared)


def no_arguments(self: Any) -> Any: ...
def one_state(self: Any, state: Any) -> Any: ...
def three(self: Any, arg: Any, event: Any) -> Any: ...
def four(self: Any, state: Any, arg: Any, more: Any) -> Any: ...
def keyword_only(self: Any, arg: Any, *, needed: Any) -> Any: ...
async def coroutine(self: Any, arg: Any) -> Any: ...
def generator(self: Any, arg: Any) -> Any:
    yield 1


MISTAKES: dict[str, list[Callable[[], Any]]] = {
    "H-010": [
        lambda: defining({"D": State(parent="D")}),
        lambda: defining({"D": State(parent="E"), "E": State(parent="F"), "F": State(parent="D")}),
    ],
    "H-011": [
        lambda: defining({"D": State(parent="Nowhere")}),
        lambda: defining({"D": State(parent=Elsewhere.Foreign)}),
        lambda: defining({"D": State(parent=lonely())}),
        lambda: defining({"D": State(parent=ANY)}),
        lambda: defining({"D": State(parent=7)}),
    ],
    "H-012": [
        lambda: defining({"D": State("A")}),
        lambda: defining({}, (small(),)),
        lambda: type(Machine)("Both", (small(), small()), {}),
    ],
    "H-013": [
        lambda: defining({"D": (d := State()), "E": d}),
        lambda: defining({"D": shared}),
        lambda: defining({"D": ROOT}),
    ],
    "H-014": [
        lambda: defining({"D": State("")}),
        lambda: defining({"D": State(5)}),
        lambda: defining({"D": State("ROOT")}),
        lambda: defining({"D": State("ANY")}),
        lambda: defining({"current": State("fine")}),
        lambda: defining({"dispatch": event("A", "x")}),
        lambda: defining({"trace_entry": on_entry("A")(new(no_arguments))}),
        lambda: defining({"states": State("fine")}),
        lambda: defining({"edges": State("fine")}),
    ],
    "H-016": [
        lambda: defining({"D": Final(), "E": State(parent="D")}),
        lambda: defining({"D": Terminate(), "E": Final(parent="D")}),
    ],
    "H-017": [
        lambda: defining({"D": Final(), "x": on_entry("D")(new(no_arguments))}),
        lambda: defining({"D": Final(), "x": on_exit("D")(new(no_arguments))}),
        lambda: defining({"D": Final(), "x": event("D", "x")}),
        lambda: defining({"D": Terminate(), "x": on_event("D", "x", target="A")}),
        lambda: defining({"D": Final(), "x": on_completion("D", target="A")}),
        lambda: defining({"D": Final(), "x": on_initial("D", target="A")}),
        lambda: defining({"D": Final(), "x": on_history_default("D", DEEP, target="A")}),
    ],
    "H-018": [
        lambda: defining({"x": event("Nowhere", "x")}),
        lambda: defining({"x": event(Elsewhere.Foreign, "x")}),
        lambda: defining({"x": event(None, "x")}),
        lambda: defining({"x": on_event("A", "x", target="Nowhere")}),
        lambda: defining({"x": on_event("A", "x", target=Elsewhere.Foreign)}),
        lambda: defining({"x": event("A", "x", targets=("B", "Nowhere"))}),
        lambda: defining({"x": event("A", "x", targets=5)}),
        lambda: defining({"x": on_initial("Nowhere", target="A")}),
        lambda: defining({"x": on_entry("Nowhere")(new(no_arguments))}),
        lambda: defining({"x": on_completion("Nowhere", target="A")}),
        lambda: defining({"x": on_history_default("Nowhere", DEEP, target="A")}),
        lambda: defining({"x": on_history_default("B", DEEP, target="Nowhere")}),
        lambda: defining({"x": on_event("A", "x", target=ANY)}),
    ],
    "H-019": [
        lambda: defining({"x": event("A")}),
        lambda: defining({"x": event("A", [])}),
        lambda: defining({"x": event("A", State("s"))}),
        lambda: defining({"x": event("A", Elsewhere.Foreign)}),
        lambda: defining({"x": event("A", "e", ANY)}),
        lambda: defining({"x": event(ANY, "e")}),
    ],
    "H-020": [
        lambda: defining({"x": event("A", "e"), "y": event("A", "e")}),
        lambda: defining({"x": event("A", "e", "e")}),
        lambda: defining({"x": event("A", "e"), "y": event("A", "e", guard=handler)}),
        lambda: defining(
            {
                "x": on_event("A", ANY)(new(three)),
                "y": on_event("A", ANY, target="B"),
            }
        ),
        lambda: defining(
            {"x": on_completion("A", target="B"), "y": on_completion("A", target="C")}
        ),
    ],
    "H-021": [
        lambda: defining(
            {"x": on_entry("A")(new(no_arguments)), "y": on_entry("A")(new(no_arguments))}
        ),
        lambda: defining(
            {"x": on_exit("A", "B")(new(no_arguments)), "y": on_exit("B")(new(no_arguments))}
        ),
        lambda: defining({"x": on_initial("B", target="C")}),
        lambda: defining({"x": on_entry(ANY)(new(one_state)), "y": on_entry(ANY)(new(one_state))}),
        lambda: defining({"x": on_exit(ANY)(new(one_state)), "y": on_exit(ANY)(new(one_state))}),
        lambda: defining(
            {
                "x": on_history_default("B", DEEP, target="C"),
                "y": on_history_default("B", DEEP, target="C"),
            }
        ),
    ],
    "H-022": [
        lambda: defining({"x": on_entry()(new(no_arguments))}),
        lambda: defining({"x": on_exit()(new(no_arguments))}),
        lambda: defining({"x": on_entry(ROOT)(new(no_arguments))}),
        lambda: defining({"x": on_exit("ROOT")(new(no_arguments))}),
        lambda: defining({"x": on_completion(ROOT, target="A")}),
        lambda: defining({"x": on_initial(ANY, target="A")}),
        lambda: defining({"x": on_completion(ANY, target="A")}),
        lambda: defining({"x": on_history_default(ANY, DEEP, target="A")}),
    ],
    "H-023": [
        lambda: defining({"x": event("A", "e", target="B", targets="C")}),
        lambda: defining({"x": event("A", "e", targets=())}),
        lambda: defining({"x": on_initial("C", target="A", targets="A")}),
    ],
    "H-024": [
        lambda: defining({"x": event("A", "e", history=DEEP)}),
        lambda: defining({"x": event("A", "e", targets="B", history=DEEP)}),
        lambda: defining({"x": on_event("A", "e", target="B", history="deep")}),
        lambda: defining({"x": on_event("A", "e", target=ROOT, history=DEEP)}),
        lambda: defining({"x": on_event("A", "e", target="A", history=SHALLOW)}),
    ],
    "H-025": [
        lambda: defining({"D": State(), "E": State(parent="D"), "x": on_initial("D")}),
        lambda: defining({"D": State(), "E": State(parent="D"), "x": on_initial("D", target="A")}),
        lambda: defining({"D": State(), "E": State(parent="D"), "x": on_initial("D", target="D")}),
        lambda: defining(
            {
                "D": State(),
                "E": State(parent="D"),
                "x": on_initial("D", targets=("E", "A"))(new(no_arguments)),
            }
        ),
        lambda: defining({"x": on_initial("A", target="A")}),
        lambda: defining(
            {
                "D": State(),
                "E": State(parent="D"),
                "x": on_initial("D", target="D", history=DEEP),
                "y": on_history_default("D", SHALLOW, target="E"),
            }
        ),
    ],
    "H-026": [
        lambda: defining({"x": on_history_default(ROOT, DEEP, target="A")}),
        lambda: defining({"x": on_history_default("A", DEEP, target="C")}),
        lambda: defining({"x": on_history_default("B", "deep", target="C")}),
        lambda: defining({"x": on_history_default("B", DEEP, target="A")}),
        lambda: defining({"x": on_history_default("B", DEEP, target="B")}),
    ],
    "H-027": [
        lambda: defining({"x": on_event("A", "e")(lambda: None)}),
        lambda: defining({"x": on_event("A", "e")(new(no_arguments))}),
        lambda: defining({"x": on_event("A", "e")(new(three))}),
        lambda: defining({"x": on_event("A", ANY)(new(handler))}),
        lambda: defining({"x": on_entry("A")(new(three))}),
        lambda: defining({"x": on_exit(ANY)(new(four))}),
        lambda: defining({"x": on_entry(ANY)(new(no_arguments))}),
        lambda: defining({"x": on_completion("A")(new(handler))}),
        lambda: defining({"x": on_event("A", "e")(new(coroutine))}),
        lambda: defining({"x": on_event("A", "e")(new(generator))}),
        lambda: defining({"x": on_event("A", "e")(staticmethod(handler))}),
        lambda: defining({"x": on_event("A", "e")(len)}),
        lambda: defining({"x": on_event("A", "e")(functools.partial(handler))}),
        lambda: defining({"x": on_event("A", "e")(type("Callable", (), {"__call__": handler})())}),
        lambda: defining({"x": on_event("A", "e", target="B", guard=no_arguments)}),
        lambda: defining({"x": on_event("A", "e", target="B", guard=5)}),
        lambda: defining({"x": on_event("A", "e", target="B", guard=functools.partial(three))}),
        lambda: defining({"x": on_completion("A", target="B", guard=handler)}),
        lambda: defining({"x": on_event("A", "e")(keyword_only)}),
    ],
    "H-028": [
        lambda: type(Machine)("Hides", (Inherited,), {"inherited": 5}),
        lambda: type(Machine)("Hides", (Inherited,), {"inherited": staticmethod(handler)}),
        lambda: type(Machine)("Hides", (Inherited,), {"inherited": property(handler)}),
    ],
    "H-029": [
        lambda: defining({"D": State(defer=5)}),
        lambda: defining({"D": State(defer=[[]])}),
        lambda: defining({"D": State(defer=[ANY])}),
        lambda: defining({"D": State(defer="tick")}),
    ],
    "H-030": [
        lambda: type(Machine)("Nothing", (Machine,), {}),
    ],
    "H-031": [
        lambda: type(Machine)("NoStart", (Machine,), {"A": State()}),
    ],
    "H-032": [
        lambda: defining({"D": State(), "E": State(parent="D")}),
        lambda: defining({"D": State(), "E": State(parent="D"), "F": Final(parent="D")}),
    ],
}


@pytest.mark.parametrize(
    ("requirement", "define"),
    [(requirement, define) for requirement, rows in MISTAKES.items() for define in rows],
)
def test_mistakes_are_found_when_the_class_is_defined(
    requirement: str, define: Callable[[], Any]
) -> None:
    """H-010 H-011 H-012 H-013 H-014 H-016 H-017 H-018 H-019 H-020 H-021 H-022 H-023 H-024 H-025
    H-026 H-027 H-028 H-029 H-030 H-031 H-032"""
    with pytest.raises(DefinitionError) as caught:
        define()
    assert str(caught.value)
    assert len(caught.value.problems) <= 3, "one mistake shall not cause reports of others"


def test_the_base_of_the_mistakes_is_sound() -> None:
    machine = defining({"x": event("A", "e"), "y": on_event("A", "f", target="B", history=DEEP)})()
    machine.dispatch("f")
    assert machine.current.name == "C"


def test_H_013_one_object_bound_twice_in_another_class_spoils_neither_earlier_class() -> None:
    with pytest.raises(DefinitionError, match=r"Owner\.Shared"):
        defining({"D": shared})
    assert Owner().current is shared


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("State()", "State()"),
        ("State()", "5"),
        ("on_event(B, 'x', target=B)", "None"),
        ("on_event(B, 'x')(new(handler))", "new(handler)"),
        ("on_event(B, 'x')(new(handler))", "on_event(B, 'y')(new(handler))"),
    ],
)
def test_H_015_a_name_bound_again_in_one_body(first: str, second: str) -> None:
    body = f"""
class Again(Machine):
    B = State()
    begin = on_initial(ROOT, target=B)
    twice = {first}
    twice = {second}
"""
    with pytest.raises(DefinitionError, match="twice"):
        exec(body, {**globals()})


def test_H_015_undecorated_functions_may_be_bound_again() -> None:
    class Fine(Machine):
        A = State()
        begin = on_initial(ROOT, target=A)

        @property
        def level(self) -> int:
            return self._level

        @level.setter
        def level(self, value: int) -> None:
            self._level = value

        def plain(self) -> int:
            return 1

        def plain(self) -> int:  # noqa: F811
            return 2

    assert Fine().plain() == 2


def test_H_020_a_guarded_candidate_may_be_followed() -> None:
    cls = defining(
        {
            "x": event("A", "e", guard=lambda self, arg: arg),
            "y": on_event("A", "e", target="B"),
        }
    )
    machine = cls()
    machine.dispatch("e", False)
    assert machine.current.name == "C"


def test_H_032_a_state_with_final_children_only_needs_no_initial() -> None:
    cls = defining({"D": State(), "E": Final(parent="D"), "x": on_event("A", "d", target="D")})
    machine = cls()
    machine.dispatch("d")
    assert machine.current is cls.D


def test_H_033_misuse_of_choice_is_not_found_at_definition_time() -> None:
    def choose(self: Any, arg: Any) -> Any:
        return self.choice(self.B, [], otherwise=None)

    machine = defining({"x": on_event("A", "choose", targets="C")(choose)})()
    with pytest.raises(TransitionError):
        machine.dispatch("choose")
    assert machine.current.name == "A"


class _Wrapper:
    """A decorator's object that follows the convention of `functools.wraps`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__wrapped__ = function

    def __call__(self, *arguments: Any) -> Any:
        return self.__wrapped__(*arguments)


@pytest.mark.parametrize(
    "wrap",
    [
        staticmethod,
        classmethod,
        property,
        functools.lru_cache,
        functools.partial,
        functools.cached_property,
        _Wrapper,
        lambda function: staticmethod(_Wrapper(function)),
        lambda function: classmethod(property(function)),
    ],
)
def test_H_015_a_declaration_below_another_decorator_is_reported(wrap: Any) -> None:
    with pytest.raises(DefinitionError, match=r"\bx\b.*@on_event.*put @on_event on top"):
        defining({"x": wrap(on_event("A", "e")(new(handler)))})


def test_H_015_functions_around_a_declared_function_keep_its_declarations() -> None:
    """`functools.wraps` copies them; what it returns is a plain function."""
    calls: list[str] = []
    inner = on_event("A", "e")(new(answering))

    @functools.wraps(inner)
    def outer(*arguments: Any) -> Any:
        calls.append("outer")
        return inner(*arguments)

    machine = defining({"x": outer})()
    assert machine.dispatch("e") is HANDLED
    assert calls == ["outer"]


def test_H_015_a_mock_among_the_attributes_is_not_searched_for_ever() -> None:
    assert defining({"x": unittest.mock.MagicMock()})().is_running


def answering(self: Any, arg: Any) -> Any:
    return HANDLED
