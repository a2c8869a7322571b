"""Idling, calls from other threads, log lines, notices to systemd."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tensor_pool.driver.core.log_limit import WarningLimit
from tensor_pool.driver.daemon.log import HumanFormatter, JsonFormatter, configure_logging
from tensor_pool.driver.daemon.systemd import SystemdNotifier
from tensor_pool.driver.runtime.idle import IdleBackoff
from tensor_pool.driver.runtime.loop import LoopCalls, run_driver
from tensor_pool.driver.runtime.transition_log import TransitionLog
from tensor_pool.hsm import HANDLED, ROOT, Machine, Outcome, State, on_event, on_initial
from tensor_pool.protocol.clock import SimulatedClock

SECOND = 1_000_000_000
MS = 1_000_000


class Idling:
    def __init__(self) -> None:
        self.sleeps: list[float] = []
        self.yields = 0
        self.backoff = IdleBackoff(self.sleeps.append, self._yield)

    def _yield(self) -> None:
        self.yields += 1


def test_D_193_an_idle_loop_spins_then_yields_then_sleeps_ever_longer() -> None:
    idling = Idling()
    steps: list[str] = []
    for _ in range(1000):
        before = idling.yields, len(idling.sleeps)
        idling.backoff.idle(0, None)
        after = idling.yields, len(idling.sleeps)
        steps.append("yield" if after[0] > before[0] else "sleep" if after != before else "spin")
    kinds = [kind for n, kind in enumerate(steps) if n == 0 or steps[n - 1] != kind]
    assert kinds == ["spin", "yield", "sleep"]
    assert idling.sleeps == sorted(idling.sleeps)
    assert idling.sleeps[-1] == 0.001


def test_D_193_the_loop_never_sleeps_longer_than_to_the_next_timer() -> None:
    idling = Idling()
    for _ in range(1000):
        idling.backoff.idle(now=5 * SECOND, next_due_ns=5 * SECOND + 30_000)
    assert max(idling.sleeps) == 30e-6
    count = len(idling.sleeps)
    idling.backoff.idle(now=6 * SECOND, next_due_ns=5 * SECOND)
    assert len(idling.sleeps) == count, "a timer that is due leaves no time to sleep"


def test_D_193_a_reset_brings_the_loop_back_to_spinning() -> None:
    idling = Idling()
    for _ in range(1000):
        idling.backoff.idle(0, None)
    slept = len(idling.sleeps)
    idling.backoff.reset()
    for _ in range(5):
        idling.backoff.idle(0, None)
    assert len(idling.sleeps) == slept


class ScriptedDriver:
    """Stops after so many cycles, in each of which there was `work`."""

    next_due_ns: int | None = None
    requests = 0
    has_backlog = False

    def __init__(self, cycles: int, work: int = 0) -> None:
        self.clock = SimulatedClock(0, 8)
        self.cycles = cycles
        self.work = work
        self.asked_in: set[int] = set()
        """The cycles, counted down, in which a request comes."""
        self.input_ns: int | None = None
        """The time at which input comes."""
        self.did: list[str] = []

    @property
    def is_stopped(self) -> bool:
        return self.cycles <= 0

    def do_work(self) -> int:
        self.did.append("cycle")
        self.requests += self.cycles in self.asked_in
        self.cycles -= 1
        return self.work

    def has_input(self) -> bool:
        self.did.append("look")
        return self.input_ns is not None and self.clock.monotonic_ns() >= self.input_ns

    def _sleep(self, seconds: float) -> None:
        self.did.append("sleep")
        self.clock.advance(round(seconds * 1e9))

    def run(self) -> list[int]:
        """Return the times of the whole cycles in ms; a sleep takes exactly its time."""
        times: list[int] = []
        backoff = IdleBackoff(self._sleep, lambda: self.did.append("yield"))
        run_driver(self, self.clock, LoopCalls(), times.append, backoff)  # type: ignore[arg-type]
        return [time // MS for time in times]


def test_an_idle_loop_looks_often_and_takes_a_whole_cycle_now_and_then() -> None:
    """D-193: a lost transport or free space, which no message reports, is still noticed."""
    driver = ScriptedDriver(cycles=4)
    assert driver.run()[:3] == [0, 50, 100]
    assert driver.did.count("sleep") >= 150
    assert driver.did.count("look") > driver.did.count("sleep")


def test_an_idle_loop_takes_a_cycle_when_a_timer_is_due() -> None:
    """D-193, D-014"""
    driver = ScriptedDriver(cycles=2)
    driver.next_due_ns = 7 * MS
    assert driver.run() == [0, 7]


def test_an_idle_loop_takes_a_cycle_when_something_has_come() -> None:
    """D-193, D-014"""
    driver = ScriptedDriver(cycles=2)
    driver.input_ns = 20 * MS
    (_, then) = driver.run()
    assert 20 <= then <= 21


def test_a_backlog_is_offered_again_after_every_wait() -> None:
    """D-172, D-193"""
    driver = ScriptedDriver(cycles=1000)
    driver.has_backlog = True
    driver.run()
    assert "look" not in driver.did
    assert driver.did.count("sleep") > 100
    waits = [n for n, what in enumerate(driver.did) if what != "cycle"]
    assert all(driver.did[n + 1] == "cycle" for n in waits if n + 1 < len(driver.did))


def test_only_requests_bring_an_idle_loop_back_to_spinning() -> None:
    """D-193: the driver's own announces, which it receives as well, do not keep it awake."""

    def first_wait_of_the_second_cycle(asked_in: set[int]) -> str:
        driver = ScriptedDriver(cycles=3, work=1)
        driver.asked_in = asked_in
        driver.run()
        did = [what for what in driver.did if what != "look"]
        return did[did.index("cycle", 1) + 1]

    assert first_wait_of_the_second_cycle(set()) == "sleep"
    assert first_wait_of_the_second_cycle({2}) != "sleep"


def test_calls_from_other_threads_are_made_between_cycles() -> None:
    """D-190, D-191: by the loop's thread, and the result or the error comes back."""
    calls = LoopCalls()
    driver: Any = ScriptedDriver(cycles=2)
    driver.has_backlog = True
    caller = calls.call(threading.current_thread)
    failing = calls.call(lambda: 1 // 0)
    times: list[int] = []
    run_driver(driver, SimulatedClock(7, 8), calls, times.append)
    assert caller.result() is threading.current_thread()
    assert isinstance(failing.exception(), ZeroDivisionError)
    assert times == [7, 7]


def test_a_call_that_comes_too_late_is_cancelled_and_not_lost() -> None:
    calls = LoopCalls()
    waiting = calls.call(lambda: 1)
    calls.close()
    with pytest.raises(CancelledError):
        waiting.result(timeout=5)
    with pytest.raises(CancelledError):
        calls.call(lambda: 2).result(timeout=5)


def test_a_call_that_comes_while_the_driver_stops_is_cancelled() -> None:
    """D-141, D-190: a stopped driver makes no report any more."""
    calls = LoopCalls()
    waiting: list[Future[int]] = []

    class Stopping(ScriptedDriver):
        def do_work(self) -> int:
            work = super().do_work()
            if self.is_stopped:
                waiting.append(calls.call(lambda: 1))
            return work

    run_driver(Stopping(cycles=1), SimulatedClock(), calls)  # type: ignore[arg-type]
    assert waiting[0].cancelled()


def test_calls_are_cancelled_when_the_loop_breaks() -> None:
    calls = LoopCalls()
    driver: Any = SimpleNamespace(
        has_input=None, is_stopped=False, requests=0, do_work=lambda: 1 // 0
    )
    with pytest.raises(ZeroDivisionError):
        run_driver(driver, SimulatedClock(), calls)
    assert calls.call(lambda: 1).cancelled()


class Lamp(Machine):
    """On and Off below Lit, to have a nested initial transition."""

    label = "lamp 1"

    Dark = State()
    Lit = State()
    Dim = State(parent=Lit)
    Bright = State(parent=Lit)

    first = on_initial(ROOT, target=Dark)
    lit_first = on_initial(Lit, target=Dim)
    press = on_event(Dark, "press", target=Lit)
    turn = on_event(Dim, "turn", target=Bright)

    @on_event(Lit, "look")
    def _look(self, _: object) -> Outcome:
        """Internal: the state stays."""
        return HANDLED

    @on_event(Bright, "break", target=Dark)
    def _break(self, _: object) -> None:
        raise RuntimeError("broken")


@pytest.fixture
def transitions(caplog: pytest.LogCaptureFixture) -> Iterator[list[tuple[str, str, str, str]]]:
    found: list[tuple[str, str, str, str]] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            one = record.__dict__["transition"]
            found.append((one["machine"], one["from"], one["to"], one["event"]))

    logger = logging.getLogger("tensor_pool.driver.runtime.transition_log")
    handler = Collector()
    logger.addHandler(handler)
    with caplog.at_level(logging.INFO, logger=logger.name):
        yield found
    logger.removeHandler(handler)


def test_D_194_each_transition_is_one_line_whatever_is_nested_in_it(
    transitions: list[tuple[str, str, str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    lamp = Lamp(observer=TransitionLog())
    lamp.dispatch("press")
    lamp.dispatch("look")
    lamp.dispatch("turn")
    assert transitions == [
        ("lamp 1", "", "Dark", ""),
        ("lamp 1", "Dark", "Lit.Dim", "press"),
        ("lamp 1", "Lit.Dim", "Lit.Bright", "turn"),
    ]
    assert caplog.messages[1] == "lamp 1: Dark -> Lit.Dim on press"


def test_a_failed_transition_does_not_confuse_later_lines(
    transitions: list[tuple[str, str, str, str]],
) -> None:
    observer = TransitionLog()
    lamp = Lamp(observer=observer)
    lamp.dispatch("press")
    lamp.dispatch("turn")
    with pytest.raises(RuntimeError):
        lamp.dispatch("break")
    other = Lamp(observer=observer)
    other.dispatch("press")
    assert transitions[-1] == ("lamp 1", "Dark", "Lit.Dim", "press")


def record(message: str, **details: object) -> logging.LogRecord:
    one = logging.LogRecord("tensor_pool.driver.x", logging.WARNING, "f", 1, message, (), None)
    one.__dict__.update(details)
    return one


def test_json_lines_carry_the_details() -> None:
    """D-194."""
    line = JsonFormatter().format(record("refused", client_id=7, path=Path("/x")))
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "warning",
        "logger": "tensor_pool.driver.x",
        "message": "refused",
        "client_id": 7,
        "path": "/x",
    }
    assert "\n" not in line


def test_json_lines_carry_the_traceback() -> None:
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    try:
        raise ValueError("what happened")
    except ValueError:
        logging.getLogger("x").exception("it failed")
    assert "what happened" in json.loads(stream.getvalue())["exception"]
    logging.getLogger().handlers.clear()


def test_human_lines_stay_on_one_line_and_cannot_steer_the_terminal() -> None:
    line = HumanFormatter().format(record("bad \x1b[2J text\nsecond", name_of="a\rb"))
    assert line.endswith("WARNING bad \\x1b[2J text\\nsecond  name_of=a\\rb")
    assert "\x1b" not in line


def test_the_automatic_form_is_json_unless_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, is_json in ((io.StringIO(), True), (Terminal(), False)):
        configure_logging("auto", "info", stream)
        logging.getLogger("x").info("hello")
        logging.getLogger("x").debug("not this")
        assert stream.getvalue().startswith("{") is is_json
        assert stream.getvalue().count("\n") == 1
    logging.getLogger().handlers.clear()


def test_D_194_one_warning_a_second_and_cause() -> None:
    clock = SimulatedClock()
    limit = WarningLimit(clock)
    assert limit.admit("malformed") == 0
    assert [limit.admit("malformed") for _ in range(999)] == [None] * 999
    assert limit.admit("foreign") == 0, "causes are independent"
    clock.advance(SECOND - 1)
    assert limit.admit("malformed") is None
    clock.advance(1)
    assert limit.admit("malformed") == 1000
    clock.advance(SECOND)
    assert limit.admit("malformed") == 0


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.setblocking(False)
        yield receiver, address


def received(receiver: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(receiver.recv(4096).decode())
        except BlockingIOError:
            return found


def test_watchdog_notices_come_at_half_the_timeout(systemd: tuple[socket.socket, str]) -> None:
    receiver, address = systemd
    notifier = SystemdNotifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000"})
    for now in (0, SECOND // 2, SECOND - 1, SECOND, SECOND + 1, 2 * SECOND):
        notifier.alive(now)
    assert received(receiver) == ["WATCHDOG=1"] * 3
    notifier.ready("serving")
    notifier.stopping()
    assert received(receiver) == [
        f"READY=1\nSTATUS=serving\nMAINPID={os.getpid()}",
        "STOPPING=1\nSTATUS=draining",
    ]


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "junk"}, {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}],
)
def test_no_watchdog_notices_unless_asked_for_by_this_unit(
    systemd: tuple[socket.socket, str], environ: dict[str, str]
) -> None:
    receiver, address = systemd
    SystemdNotifier({"NOTIFY_SOCKET": address, **environ}).alive(SECOND)
    assert received(receiver) == []


def test_an_abstract_socket_is_reached() -> None:
    name = f"tp-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name)
        receiver.setblocking(False)
        SystemdNotifier({"NOTIFY_SOCKET": "@" + name}).stopping()
        assert len(received(receiver)) == 1


def test_nothing_is_sent_without_systemd_and_a_dead_socket_does_no_harm(tmp_path: Path) -> None:
    SystemdNotifier({}).ready("x")
    SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("x")
