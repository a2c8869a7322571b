"""A machine that a thread or an asyncio task runs (H-263)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from .errors import DispatchError
from .machine import Machine
from .states import EventLike

LONGEST_SLEEP_S = 0.5
"""With a clock of its own, a machine's deadlines are looked at this often while nothing comes."""


class Runner:
    """The owner of a machine: it takes events from any thread and processes the timers.

        Args:
            machine: a machine that only this runner drives from now on.

    `post` is thread-safe and does not block. `await run()` or `run_in_thread()` processes the
    inbox and the time events. It sleeps until the next deadline, or an event. A new machine
    is started first. The run ends when `stop()` is called, when the machine has ended, or when a
    step raises. The inbox is kept, and `run` may be called again.

    >>> from tensor_pool.hsm import Machine, Runner, State, on_event, on_initial, ROOT
    >>> class Lamp(Machine):
    ...     Off = State()
    ...     On = State()
    ...     begin = on_initial(ROOT, target=Off)
    ...     up = on_event(Off, "up", target=On)
    >>> async def light():
    ...     runner = Runner(Lamp())
    ...     task = asyncio.create_task(runner.run())
    ...     runner.post("up")
    ...     await asyncio.sleep(0.01)
    ...     runner.stop()
    ...     await task
    ...     return runner.machine.current
    >>> import asyncio
    >>> asyncio.run(light())
    State('On')
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.error: BaseException | None = None
        """The exception that ended the thread of `run_in_thread`, or None."""
        self._inbox: deque[tuple[EventLike, Any]] = deque()
        self._wake: Callable[[], object] | None = None
        self._owner = threading.Lock()
        self._stops = False

    def post(self, event: EventLike, arg: Any = None) -> None:
        """Put an event into the inbox; from any thread, without blocking."""
        self._inbox.append((event, arg))
        self._notify()

    def stop(self) -> None:
        """End the run after the current step; from any thread, without waiting for it.

        Events in the inbox stay there for a later run.
        """
        self._stops = True
        self._notify()

    @property
    def waiting(self) -> int:
        """The number of events in the inbox."""
        return len(self._inbox)

    async def run(self) -> None:
        """Process events and timers in this asyncio task until the runner ends.

        Raises:
            DispatchError: another run is active.
            BaseException: what a step raised; events that it did not reach stay in the inbox.
        """
        import asyncio  # here, since it takes long and most programs need no asyncio

        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        self._begin(lambda: loop.call_soon_threadsafe(woken.set))
        try:
            while self._work():
                woken.clear()  # an event that arrives from here on sets it again
                if self._inbox or self._stops:
                    await asyncio.sleep(0)
                    continue
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), self._pause())
        finally:
            self._end()

    def run_in_thread(self, *, daemon: bool = True) -> threading.Thread:
        """Return a started thread that processes events and timers until the runner ends.

        An exception of a step ends the thread; it is then the runner's `error`.

        Raises:
            DispatchError: another run is active.
        """
        woken = threading.Event()
        self.error = None
        self._begin(woken.set)

        def run() -> None:
            try:
                while self._work():
                    woken.clear()
                    if not (self._inbox or self._stops):
                        woken.wait(self._pause())
            except BaseException as error:  # noqa: BLE001 - the owner of the runner looks at it
                self.error = error
            finally:
                self._end()

        name = f"{type(self.machine).__qualname__} runner"
        thread = threading.Thread(target=run, name=name, daemon=daemon)
        thread.start()
        return thread

    # Internal -----------------------------------------------------------------------------------

    def _begin(self, wake: Callable[[], object]) -> None:
        machine = self.machine
        if machine.is_complete or machine.is_terminated or machine.is_faulted:
            raise DispatchError(f"the runner's {type(machine).__qualname__} has ended; reset it")
        if not self._owner.acquire(blocking=False):
            raise DispatchError(
                f"the runner of {type(self.machine).__qualname__} runs already; stop it first"
            )
        self._wake = wake
        self._stops = False

    def _end(self) -> None:
        self._wake = None
        self._owner.release()

    def _notify(self) -> None:
        wake = self._wake
        if wake is not None:
            # An event loop that has been closed is not woken; the inbox keeps the event.
            with contextlib.suppress(RuntimeError):
                wake()

    def _work(self) -> bool:
        """Process one event and the timers that are due; return False when the run has ended."""
        machine = self.machine
        if self._stops:
            return False
        if not machine.is_running:
            machine.start()
        if machine.next_deadline is not None:
            machine.poll()
        if machine.is_running and self._inbox and not self._stops:
            machine.dispatch(*self._inbox.popleft())
        return machine.is_running

    def _pause(self) -> float | None:
        """The seconds to sleep when no event comes; None without a timer."""
        deadline = self.machine.next_deadline
        if deadline is None:
            return None
        left = max(0.0, deadline - self.machine.clock())
        return left if self.machine.clock is time.monotonic else min(left, LONGEST_SLEEP_S)
