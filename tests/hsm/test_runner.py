"""H-263: a machine that a thread or an asyncio task owns."""

import asyncio
import threading
from typing import Any

import pytest

from tensor_pool.hsm import (
    HANDLED,
    ROOT,
    DispatchError,
    Final,
    Machine,
    Outcome,
    Runner,
    State,
    on_event,
    on_initial,
    on_timeout,
)

DEADLINE_S = 60  # a test that waits longer has failed


class Counter(Machine):
    A = State()
    Late = State()
    End = Final()
    begin = on_initial(ROOT, target=A)
    end = on_event(ROOT, "end", target=End)
    late = on_timeout(A, 5.0, target=Late)

    def __init__(self, **keywords: Any) -> None:
        self.now = 0.0
        self.seen: list[Any] = []
        self.reached = threading.Event()
        super().__init__(**keywords)

    def clock(self) -> float:
        return self.now

    @on_event(ROOT, "count")
    def _count(self, arg: Any) -> Outcome:
        self.seen.append(arg)
        return HANDLED

    @on_event(ROOT, "reached")
    def _reached(self, arg: Any) -> Outcome:
        self.reached.set()
        return HANDLED

    @on_event(ROOT, "call")
    def _call(self, call: Any) -> Outcome:
        call()
        return HANDLED


def test_H_263_four_threads_post_ten_thousand_events_each_and_none_is_lost() -> None:
    runner = Runner(Counter())
    machine: Any = runner.machine
    thread = runner.run_in_thread()

    def post(number: int) -> None:
        for index in range(10_000):
            runner.post("count", (number, index))

    posting = [threading.Thread(target=post, args=(number,)) for number in range(4)]
    for each in posting:
        each.start()
    for each in posting:
        each.join(DEADLINE_S)
    runner.post("end")
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
    assert runner.error is None
    assert len(machine.seen) == 40_000
    for number in range(4):
        assert [i for n, i in machine.seen if n == number] == list(range(10_000))


def test_H_263_asyncio_runs_until_the_machine_has_ended() -> None:
    async def main() -> list[Any]:
        runner = Runner(Counter(start=False))
        task = asyncio.create_task(runner.run())
        for index in range(100):
            runner.post("count", index)
        posting = threading.Thread(target=runner.post, args=("end",))
        posting.start()
        await asyncio.wait_for(task, DEADLINE_S)
        posting.join()
        machine: Any = runner.machine
        assert machine.is_complete
        return machine.seen

    assert asyncio.run(main()) == list(range(100))


def test_H_263_cancellation_keeps_the_inbox_and_the_machine() -> None:
    async def main() -> None:
        runner = Runner(Counter())
        task = asyncio.create_task(runner.run())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        runner.post("count", 1)
        assert runner.waiting == 1
        runner.post("end")
        await asyncio.wait_for(runner.run(), DEADLINE_S)
        machine: Any = runner.machine
        assert machine.seen == [1]

    asyncio.run(main())


def test_H_263_an_error_of_a_step_ends_the_run_and_keeps_the_inbox() -> None:
    async def main() -> None:
        runner = Runner(Counter())
        runner.post("call", lambda: 1 / 0)
        runner.post("count", 1)
        with pytest.raises(ZeroDivisionError):
            await runner.run()
        assert runner.waiting == 1
        assert runner.machine.is_running

    asyncio.run(main())
    runner = Runner(Counter())
    runner.post("call", lambda: 1 / 0)
    runner.post("count", 1)
    runner.run_in_thread().join(DEADLINE_S)
    assert isinstance(runner.error, ZeroDivisionError)
    assert runner.waiting == 1


def test_H_263_stop_ends_after_the_current_step() -> None:
    runner = Runner(Counter())
    runner.post("call", runner.stop)
    runner.post("count", 1)
    runner.run_in_thread().join(DEADLINE_S)
    assert runner.waiting == 1
    runner.post("end")
    runner.run_in_thread().join(DEADLINE_S)
    assert runner.machine.is_complete


def test_H_263_stop_wakes_a_runner_that_sleeps() -> None:
    runner = Runner(Counter())
    thread = runner.run_in_thread()
    runner.stop()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


class Timeless(Machine):
    """Has no deadline that would wake its runner."""

    A = State()
    End = Final()
    begin = on_initial(ROOT, target=A)
    end = on_event(A, "end", target=End)


class Drowsy(Runner):
    """Reports that it goes to sleep: an event posted from then on has to wake it."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.sleeps = threading.Event()

    def _pause(self) -> float | None:
        self.sleeps.set()
        return super()._pause()


def test_H_263_an_event_wakes_a_thread_that_sleeps() -> None:
    runner = Drowsy(Timeless())
    thread = runner.run_in_thread()
    assert runner.sleeps.wait(DEADLINE_S)
    runner.post("end")
    thread.join(DEADLINE_S / 4)
    assert runner.machine.is_complete


def test_H_263_an_event_wakes_a_task_that_sleeps() -> None:
    runner = Drowsy(Timeless())

    def post() -> None:
        assert runner.sleeps.wait(DEADLINE_S)
        runner.post("end")

    poster = threading.Thread(target=post)
    poster.start()
    asyncio.run(asyncio.wait_for(runner.run(), DEADLINE_S / 4))
    poster.join()
    assert runner.machine.is_complete


def test_H_263_time_events_by_the_machine_s_own_clock() -> None:
    runner = Runner(Counter())
    machine: Any = runner.machine

    def later() -> None:
        machine.now = 5.0

    runner.post("call", later)
    runner.post("reached")
    thread = runner.run_in_thread()
    assert machine.reached.wait(DEADLINE_S)
    assert machine.current is Counter.Late
    runner.stop()
    thread.join(DEADLINE_S)


def test_H_263_a_deadline_wakes_the_runner_without_any_event() -> None:
    class Waiting(Machine):
        A = State()
        End = Final()
        begin = on_initial(ROOT, target=A)
        late = on_timeout(A, 0.05, target=End)

    for run in (lambda r: asyncio.run(r.run()), lambda r: r.run_in_thread().join(DEADLINE_S)):
        runner = Runner(Waiting())
        run(runner)
        assert runner.machine.is_complete


def test_H_263_one_run_at_a_time_and_none_for_a_machine_that_has_ended() -> None:
    runner = Runner(Counter())
    thread = runner.run_in_thread()
    with pytest.raises(DispatchError, match="runs already"):
        runner.run_in_thread()
    runner.post("end")
    thread.join(DEADLINE_S)
    with pytest.raises(DispatchError, match="has ended"):
        runner.run_in_thread()
    with pytest.raises(DispatchError, match="has ended"):
        asyncio.run(runner.run())
