"""H-090: the complete transition table of the worked example."""

import pytest

from tensor_pool.hsm import HANDLED, UNHANDLED, Outcome
from tests.hsm.six_states import SixStates

# leaf, event, foo before (None: any), tried, log, new leaf, foo after (None: same)
TABLE = [
    ("s11", "A", None, "s11 s1", "-s11 -s1 +s1 +s11", "s11", None),
    ("s11", "B", None, "s11 s1", "-s11 +s11", "s11", None),
    ("s11", "C", None, "s11 s1", "-s11 -s1 +s2 +s21 +s211", "s211", None),
    ("s11", "D", 0, "s11 s1", "-s11 -s1 +s1 +s11", "s11", 0),
    ("s11", "D", 1, "s11", "-s11 * +s11", "s11", 0),
    ("s11", "E", None, "s11 s1 s", "-s11 -s1 +s1 +s11", "s11", None),
    ("s11", "F", None, "s11 s1", "-s11 -s1 +s2 +s21 +s211", "s211", None),
    ("s11", "G", None, "s11", "-s11 -s1 +s2 +s21 +s211", "s211", None),
    ("s11", "H", None, "s11", "-s11 -s1 +s1 +s11", "s11", None),
    ("s11", "I", None, "s11 s1", "", "s11", None),
    ("s211", "A", None, "s211 s21", "-s211 -s21 +s21 +s211", "s211", None),
    ("s211", "B", None, "s211 s21", "-s211 +s211", "s211", None),
    ("s211", "C", None, "s211 s21 s2", "-s211 -s21 -s2 +s1 +s11", "s11", None),
    ("s211", "D", None, "s211", "-s211 +s211", "s211", None),
    ("s211", "E", None, "s211 s21 s2 s", "-s211 -s21 -s2 +s1 +s11", "s11", None),
    ("s211", "F", None, "s211 s21 s2", "-s211 -s21 -s2 +s1 +s11", "s11", None),
    ("s211", "G", None, "s211 s21", "-s211 -s21 -s2 +s1 +s11", "s11", None),
    ("s211", "H", None, "s211", "-s211 -s21 -s2 +s1 +s11", "s11", None),
    ("s211", "I", 0, "s211 s21 s2", "", "s211", 1),
    ("s211", "I", 1, "s211 s21 s2 s", "", "s211", 0),
    ("s11", "other", None, "s11 s1 s ROOT", None, "s11", None),
    ("s211", "other", None, "s211 s21 s2 s ROOT", None, "s211", None),
]
ROWS = [
    (leaf, event, foo, tried, log, new_leaf, foo if after is None else after)
    for leaf, event, wanted, tried, log, new_leaf, after in TABLE
    for foo in ((0, 1) if wanted is None else (wanted,))
]


class Attempts:
    """An observer that lists the states that are asked."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    def trace_dispatch_attempt(self, machine: SixStates, state, event) -> None:
        self.tried.append(state.name)


def machine_in(leaf: str, foo: int, observer: object = None) -> SixStates:
    machine = SixStates(observer=observer)
    if leaf == "s11":
        machine.dispatch("C")
    machine.foo = foo
    machine.log.clear()
    assert machine.current.name == leaf
    return machine


def test_H_090_start_enters_the_path_and_skips_the_initial_of_s21() -> None:
    machine = SixStates()
    assert machine.log == ["+s", "+s2", "+s21", "+s211"]
    assert machine.current is SixStates.s211
    assert machine.foo == 0


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize(("leaf", "event", "foo", "tried", "log", "new_leaf", "after"), ROWS)
def test_H_090_table(
    leaf: str,
    event: str,
    foo: int,
    tried: str,
    log: str | None,
    new_leaf: str,
    after: int,
    observed: bool,
) -> None:
    attempts = Attempts() if observed else None
    machine = machine_in(leaf, foo, attempts)
    if attempts:
        attempts.tried.clear()
    expected: Outcome = UNHANDLED if log is None else HANDLED
    assert machine.dispatch(event) is expected
    assert machine.log == (log or "").split()
    assert machine.current.name == new_leaf
    assert machine.foo == after
    if attempts:
        assert attempts.tried == tried.split()
