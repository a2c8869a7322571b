"""The run of the demo: start everything, stream, kill the producer, recover, drain."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import msgspec

from tensor_pool.client.doorbell import sweep_abandoned_bells

from ..support.signals import Stop
from .children import Line, end_all, python_module, tensor_pool_command
from .protocol import ConsumerReport, ProducerReport
from .run import DemoRun
from .scoreboard import Transition
from .sources import Pictures
from .stage import EXPIRY_S, Stage
from .verdict import Outcome

__all__ = ["CONSUMERS", "Performance"]

CONSUMERS = ("consumer-1", "consumer-2")
FIRST, SECOND = "producer-1", "producer-2"
DRIVER = "driver"

_START_TIMEOUT_S = 60.0
_RECOVERY_TIMEOUT_S = EXPIRY_S + 10.0
_DRAIN_TIMEOUT_S = 10.0
_AFTER_RECOVERY_S = 1.0  # frames of the second producer that every demo shows
_WORKERS_PATIENCE_S = 0.8
_DRIVER_PATIENCE_S = 1.2


class _DriverLogLine(msgspec.Struct):
    level: str = ""
    message: str = ""
    transition: Transition | None = None


class Performance(DemoRun):
    """One run of the demo. `run()` leaves no process and no file behind, whatever happens."""

    def __init__(
        self,
        pictures: Pictures,
        *,
        duration_s: float,
        rate_hz: float,
        margin_s: float,
        stop: Stop,
    ) -> None:
        super().__init__((FIRST, SECOND, *CONSUMERS), rate_hz=rate_hz, stop=stop)
        self._pictures = pictures
        self._duration_s = duration_s
        self._stage = Stage()
        self.outcome = Outcome(
            expiry_s=EXPIRY_S, margin_s=margin_s, source_frames=len(pictures.pictures)
        )

    def run(self) -> None:
        """Run all steps; `outcome` has the result. Raises DemoError, InputError (no room for
        the frames) and StopRequestedError."""
        with self._screen:
            try:
                self._stage.set_up(self._pictures)
                self._open()
                self._stream_until(time.monotonic() + self._duration_s / 2)
                self._crash()
                self._stream_until(self._second_half_ends())
                self._drain()
            finally:
                self._clear_up()

    def _open(self) -> None:
        say = self._screen.say
        say(f"source: {len(self._pictures.pictures)} pictures, {self._pictures.origin}")
        for note in self._pictures.notes:
            say(f"source: {note}")
        # The workers load Python, NumPy and the source while the driver starts.
        self._start(
            DRIVER,
            tensor_pool_command(
                "driver", "--config", str(self._stage.config_file), "--log-format", "json"
            ),
        )
        for name in (FIRST, SECOND, *CONSUMERS):
            self._start(name, python_module("worker"))
        self._pump(lambda: DRIVER in self._ready, _START_TIMEOUT_S, "the driver to be ready")
        for name in (FIRST, SECOND, *CONSUMERS):
            self._configure(
                name,
                role="consumer" if name in CONSUMERS else "producer",
                source_folder=self._stage.source_folder,
                aeron_dir=self._stage.aeron_dir,
                base_dir=self._stage.base_dir,
            )
        self._pump(
            lambda: self._ready >= {FIRST, SECOND, *CONSUMERS},
            _START_TIMEOUT_S,
            "the workers to be ready",
        )
        self._scoreboard.note(SECOND, "standby")
        self._screen.show_board()
        for name in (*CONSUMERS, FIRST):
            self._children[name].tell("go")
        self._pump(
            lambda: self._all_consumers(lambda report: report.frames > 0),
            _START_TIMEOUT_S,
            "both consumers to receive frames",
        )

    def _crash(self) -> None:
        outcome = self.outcome
        outcome.epoch_before = max(
            seen.epoch for report in outcome.consumers.values() for seen in report.epochs
        )
        victim = self._children[FIRST]
        self._may_end.add(FIRST)
        outcome.killed_ns = time.monotonic_ns()
        victim.signal(signal.SIGKILL)
        victim.wait(time.monotonic() + 5)
        outcome.kill_status = victim.exit_status
        self._scoreboard.note(FIRST, "killed")
        self._screen.say(
            f"KILL  {FIRST} (pid {victim.pid}) with SIGKILL; "
            f"its lease expires {EXPIRY_S:.1f} s after its last keepalive",
            "bold red",
        )
        self._pump(
            lambda: outcome.lease_ended_ns is not None,
            _RECOVERY_TIMEOUT_S,
            "the killed producer's lease to end",
        )
        self._children[SECOND].tell("go")
        self._screen.say(f"{SECOND} takes over", "bold green")
        killed_epoch = outcome.epoch_before
        self._pump(
            lambda: self._all_consumers(
                lambda report: any(
                    seen.epoch > killed_epoch and seen.frames > 0 for seen in report.epochs
                )
            ),
            _RECOVERY_TIMEOUT_S,
            "both consumers to receive frames again",
        )
        self._screen.say("both consumers have remapped and receive frames again", "bold green")

    def _second_half_ends(self) -> float:
        assert self.outcome.killed_ns is not None
        half = self.outcome.killed_ns / 1e9 + self._duration_s / 2
        return max(half, time.monotonic() + _AFTER_RECOVERY_S)

    def _drain(self) -> None:
        outcome = self.outcome
        self._screen.say("draining")
        self._may_end |= set(self._children)
        self._children[SECOND].tell("stop")
        self._pump(
            lambda: outcome.producers.get(SECOND, _NOTHING).final,
            _DRAIN_TIMEOUT_S,
            f"{SECOND} to stop",
        )
        for name in CONSUMERS:
            self._children[name].tell("stop")
        self._pump(
            lambda: self._all_consumers(lambda report: report.final),
            _DRAIN_TIMEOUT_S,
            "the consumers to stop",
        )
        driver = self._children[DRIVER]
        driver.signal(signal.SIGTERM)
        self._pump(lambda: driver.exit_status is not None, _DRAIN_TIMEOUT_S, "the driver to stop")
        outcome.driver_exit_status = driver.exit_status

    def _stream_until(self, deadline: float) -> None:
        self._pump(lambda: time.monotonic() >= deadline, self._duration_s + 60, "time to pass")

    def _all_consumers(self, condition: Callable[[ConsumerReport], bool]) -> bool:
        reports = self.outcome.consumers
        return len(reports) == len(CONSUMERS) and all(map(condition, reports.values()))

    # What children say

    def _take(self, line: Line) -> None:
        if line.text is None:
            return
        if line.child == DRIVER:
            self._take_from_driver(line.stream, line.text)
        elif line.stream == "stdout":
            self._take_report(line.child, line.text)
        else:
            self._last_words[line.child].append(line.text)

    def _take_from_driver(self, stream: str, text: str) -> None:
        if stream == "stdout":
            if text.startswith("driver ready"):
                self._ready.add(DRIVER)
            self._screen.say(text)
            return
        try:
            said = msgspec.json.decode(text, type=_DriverLogLine)
        except msgspec.DecodeError:
            said = _DriverLogLine(message=text)
        if said.transition is not None:
            self._on_transition(said.transition)
            return
        self._last_words[DRIVER].append(said.message)
        self._scoreboard.on_driver_message(said.message)
        self._screen.say(f"driver: {said.message}", "" if said.level == "info" else "yellow")

    def _on_transition(self, transition: Transition) -> None:
        self._scoreboard.on_transition(transition)
        self._screen.say(str(transition), "cyan")
        outcome = self.outcome
        if (
            outcome.killed_ns is not None
            and outcome.lease_ended_ns is None
            and transition.machine.startswith("lease ")
            and transition.after.startswith("Live.Ended")
        ):
            outcome.lease_ended_ns = time.monotonic_ns()
            outcome.lease_end = transition.after

    def _on_report(self, name: str, report: ProducerReport | ConsumerReport) -> None:
        if name == FIRST and self.outcome.killed_ns is not None:
            return  # written before it died, read after
        self._scoreboard.on_report(name, report)
        if isinstance(report, ProducerReport):
            self.outcome.producers[name] = report
        else:
            self._say_new_mappings(name, report)
            self.outcome.consumers[name] = report

    def _say_new_mappings(self, name: str, report: ConsumerReport) -> None:
        before = self.outcome.consumers.get(name)
        for count in range(len(before.mapped_ns) if before else 0, len(report.mapped_ns)):
            self._screen.say(f"{name}: {'mapped' if count == 0 else 'remapped'}", "magenta")

    # The end

    def _clear_up(self) -> None:
        """End all processes, workers first so that they can return their leases; remove files."""
        children = self._children
        driver = [child for name, child in children.items() if name == DRIVER]
        end_all((c for name, c in children.items() if name != DRIVER), _WORKERS_PATIENCE_S)
        end_all(driver, _DRIVER_PATIENCE_S)
        self._stage.clear()
        sweep_abandoned_bells()
        self.outcome.left_behind = [
            *(name for name, child in children.items() if child.exit_status is None),
            *([str(self._stage.root)] if self._stage.root.exists() else []),
        ]


_NOTHING = ProducerReport(monotonic_ns=0, state="")
