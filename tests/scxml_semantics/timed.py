"""W3C tests of delayed events, as time events of states (H-240 to H-245)."""

from __future__ import annotations

from collections.abc import Callable

from tensor_pool.hsm import ROOT, Final, Machine, State, on_event, on_initial, on_timeout
from tests.scxml_semantics.judged import Judged, register


class Timed(Judged, abstract=True):
    """A machine whose clock stands until the test moves it."""

    now = 0.0

    def clock(self) -> float:
        return self.now

    def let_time_pass(self) -> None:
        """Process all time events, each at the moment at which it is due."""
        while self.is_running and self.next_deadline is not None:
            self.now = self.next_deadline
            self.poll()


def run_out(machine: type[Timed]) -> Callable[[], Machine]:
    def make() -> Machine:
        made = machine()
        made.let_time_pass()
        return made

    return make


class CurrentDelay(Timed):
    """A delay is evaluated when its state is entered, not before (175)."""

    delay = 10.0
    S0, S1 = State(), State()
    begin = on_initial(ROOT, target=S0)

    @on_timeout(S0, 0.1, target=S1)
    def go(self) -> None:
        self.delay = 0.5

    def current_delay(self) -> float:
        return self.delay

    good = on_timeout(S1, current_delay, target=Judged.passed)
    bad = on_timeout(S1, 1.0, target=Judged.failed)


class InOrder(Timed):
    """The shorter delay comes first, whichever was declared first (185)."""

    S0 = State()
    begin = on_initial(ROOT, target=S0)
    late = on_timeout(S0, 1.0, target=Judged.failed)
    early = on_timeout(S0, 0.5, target=Judged.passed)


class Ended(Timed):
    """A machine that has ended delivers nothing any more (187)."""

    S0 = State()
    done = Final()
    begin = on_initial(ROOT, target=S0)
    late = on_timeout(S0, 1.0, target=Judged.failed)
    end = on_event(S0, "end", target=done)


class Cancelled(Timed):
    """A delayed event that is cancelled: its state is left (208)."""

    S0, S1 = State(), State()
    begin = on_initial(ROOT, target=S0)
    unwanted = on_timeout(S0, 0.5, target=Judged.failed)
    cancel = on_event(S0, "cancel", target=S1)
    good = on_timeout(S1, 1.0, target=Judged.passed)


def ended() -> Machine:
    made = Ended()
    made.dispatch("end")
    made.now = 5.0
    return made


def cancelled() -> Machine:
    made = Cancelled()
    made.now = 0.6  # due already, and not processed yet
    made.dispatch("cancel")
    made.let_time_pass()
    return made


register(175, run_out(CurrentDelay))
register(185, run_out(InOrder))
register(187, ended, lambda m: m.is_complete and m.current is Ended.done and not m.next_deadline)
register(208, cancelled)
