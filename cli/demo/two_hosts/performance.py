"""The run of the demo of two hosts: stream, cut the wire, kill each bridge, drain."""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
import time
from pathlib import Path

from tensor_pool.client.doorbell import sweep_abandoned_bells
from tensor_pool.protocol.shm.geometry import stride_for

from ...support.signals import Stop
from ..children import Child, Line, end_all, python_module, tensor_pool_command
from ..protocol import ConsumerReport, ProducerReport
from ..run import DemoRun
from ..sources import Pictures
from ..stage import STREAM_ID, driver_configuration, write_source
from .hosts import Host, Hosts, make_hosts
from .verdict import LIMIT_S, Break, TwoHostsOutcome

__all__ = ["TwoHosts"]

CAMERA = "camera"
VIEWERS = ("viewer-1", "viewer-2")
SENDER, RECEIVER = "bridge-a", "bridge-b"
DRIVERS = ("driver-a", "driver-b")
_SLOTS = 16
_START_TIMEOUT_S = 60.0
_DRAIN_TIMEOUT_S = 20.0
_PATIENCE_S = 2.0
_MTU = "8192"
_COUNT = re.compile(r"(\w+) (\d+)")


class TwoHosts(DemoRun):
    """One run. `run()` leaves no process, file or namespace behind, whatever happens."""

    def __init__(
        self,
        pictures: Pictures,
        *,
        partition_s: float,
        pause_s: float,
        rate_hz: float,
        stop: Stop,
        namespaces: bool | None = None,
    ) -> None:
        super().__init__((CAMERA, *VIEWERS), rate_hz=rate_hz, stop=stop)
        self._pictures = pictures
        self._pause_s = pause_s
        self._namespaces = namespaces
        self._hosts: Hosts | None = None
        self._folder = Path(tempfile.gettempdir())  # until it is made
        self._ended: list[Child] = []  # killed ones, replaced by others of their name
        self.outcome = TwoHostsOutcome(
            source_frames=len(pictures.pictures), partition_s=partition_s
        )

    def run(self) -> None:
        """Run all steps; `outcome` has the result. Raises DemoError, StopRequestedError, OSError
        (namespaces were asked for and cannot be made)."""
        with self._screen:
            try:
                self._open()
                self._rest()
                self._cut()
                self._rest()
                self._kill(SENDER, may_remap=False)
                self._rest()
                self._kill(RECEIVER, may_remap=True)
                self._rest()
                self._drain()
            finally:
                self._clear_up()

    # Steps

    def _open(self) -> None:
        hosts = self._hosts = make_hosts(namespaces=self._namespaces)
        say = self._screen.say
        say(f"hosts: {hosts.description}")
        say(f"source: {len(self._pictures.pictures)} pictures, {self._pictures.origin}")
        self._folder = Path(tempfile.mkdtemp(prefix="tensorpool-demo-bridge-"))
        write_source(self._folder, self._pictures)
        strides = sorted({stride_for(picture.array.nbytes) for picture in self._pictures.pictures})
        for name, host in zip(DRIVERS, (hosts.a, hosts.b), strict=True):
            text = driver_configuration(name, host.aeron_dir, host.base_dir, strides, _SLOTS)
            (self._folder / f"{host.name}.toml").write_text(text)
            self._start_on(
                host, name, tensor_pool_command("driver", "--config", self._config(host))
            )
        for name in (CAMERA, *VIEWERS):
            self._start_on(self._host_of(name), name, python_module("worker"))
        self._await_ready(*DRIVERS)
        for name in (CAMERA, *VIEWERS):
            host = self._host_of(name)
            self._configure(
                name,
                role="producer" if name == CAMERA else "consumer",
                source_folder=self._folder,
                aeron_dir=host.aeron_dir,
                base_dir=host.base_dir,
            )
        self._start_bridge(RECEIVER)
        self._start_bridge(SENDER)
        self._await_ready(RECEIVER, SENDER, CAMERA, *VIEWERS)
        self._screen.show_board()
        for name in (*VIEWERS, CAMERA):
            self._children[name].tell("go")
        self._pump(
            lambda: (
                len(self.outcome.viewers) == 2
                and all(report.frames for report in self.outcome.viewers.values())
            ),
            _START_TIMEOUT_S,
            "both viewers to receive frames",
        )

    def _cut(self) -> None:
        assert self._hosts is not None
        seconds = self.outcome.partition_s
        broken = self._begin(Break(name=f"the partition of {seconds:g} s"))
        self._screen.say(f"CUT   the wire between the hosts, for {seconds:g} s", "bold red")
        self._hosts.cut()
        until = time.monotonic() + seconds
        self._pump(lambda: time.monotonic() >= until, seconds + 60, "time to pass")
        self._hosts.heal()
        self._screen.say("the wire is back", "bold green")
        self._mend(broken)

    def _kill(self, name: str, *, may_remap: bool) -> None:
        broken = self._begin(Break(name=f"the kill of {name}", may_remap=may_remap))
        victim = self._children[name]
        self._may_end.add(name)
        victim.signal(signal.SIGKILL)
        victim.wait(time.monotonic() + 5)
        broken.exit_status = victim.exit_status
        self._ended.append(victim)
        self._screen.say(f"KILL  {name} (pid {victim.pid}) with SIGKILL", "bold red")
        self._ready.discard(name)
        self._start_bridge(name)
        self._may_end.discard(name)
        self._await_ready(name)
        self._screen.say(f"{name} runs again", "bold green")
        self._mend(broken)

    def _begin(self, broken: Break) -> Break:
        viewers = self.outcome.viewers
        broken.frames_before = {name: report.frames for name, report in sorted(viewers.items())}
        broken.remaps = {name: -len(report.mapped_ns) for name, report in sorted(viewers.items())}
        self.outcome.breaks.append(broken)
        return broken

    def _mend(self, broken: Break) -> None:
        """Wait until both viewers have received frames again."""
        mended = time.monotonic()
        before = {name: report.frames for name, report in self.outcome.viewers.items()}
        self._pump(
            lambda: all(r.frames > before[name] for name, r in self.outcome.viewers.items()),
            LIMIT_S + 45,
            "both viewers to receive frames again",
        )
        broken.mended_s = time.monotonic() - mended
        broken.remaps = {
            name: broken.remaps[name] + len(report.mapped_ns)
            for name, report in sorted(self.outcome.viewers.items())
        }
        self._screen.say(f"frames again, {broken.mended_s:.2f} s later", "bold green")

    def _rest(self) -> None:
        until = time.monotonic() + self._pause_s
        self._pump(lambda: time.monotonic() >= until, self._pause_s + 60, "time to pass")

    def _drain(self) -> None:
        outcome = self.outcome
        self._screen.say("draining")
        self._may_end |= set(self._children)
        self._children[CAMERA].tell("stop")
        self._pump(
            lambda: outcome.camera is not None and outcome.camera.final,
            _DRAIN_TIMEOUT_S,
            "the camera to stop",
        )
        for name in VIEWERS:
            self._children[name].tell("stop")
        self._pump(
            lambda: all(report.final for report in outcome.viewers.values()),
            _DRAIN_TIMEOUT_S,
            "the viewers to stop",
        )
        for name in (SENDER, RECEIVER, *DRIVERS):
            child = self._children[name]
            child.signal(signal.SIGTERM)
            self._pump(
                lambda child=child: child.exit_status is not None,  # type: ignore[misc]
                _DRAIN_TIMEOUT_S,
                f"{name} to stop",
            )
            outcome.exit_statuses[name] = child.exit_status
        self._pump(
            lambda: bool(outcome.sent) and bool(outcome.received),
            _DRAIN_TIMEOUT_S,
            "the accounts of the bridges",
        )

    # Programs

    def _host_of(self, name: str) -> Host:
        assert self._hosts is not None
        return self._hosts.a if name in (CAMERA, SENDER, DRIVERS[0]) else self._hosts.b

    def _config(self, host: Host) -> str:
        return str(self._folder / f"{host.name}.toml")

    def _start_bridge(self, name: str) -> None:
        hosts = self._hosts
        assert hosts is not None
        host = self._host_of(name)
        words = (
            ["send", str(STREAM_ID), "--to", hosts.send_to, "--mtu", _MTU]
            if name == SENDER
            else ["receive", str(STREAM_ID), "--at", hosts.listen_at]
        )
        words += ["--instance", host.name, "--config", self._config(host)]
        self._start_on(host, name, tensor_pool_command("bridge", *words))

    def _start_on(self, host: Host, name: str, command: list[str]) -> None:
        self._start(name, [*host.prefix, *command])

    def _await_ready(self, *names: str) -> None:
        self._pump(lambda: self._ready >= set(names), _START_TIMEOUT_S, f"{', '.join(names)}")

    # Lines of programs

    def _take(self, line: Line) -> None:
        if line.text is None:
            return
        if line.child in (CAMERA, *VIEWERS) and line.stream == "stdout":
            self._take_report(line.child, line.text)
            return
        self._last_words[line.child].append(line.text)
        if line.text.startswith(("driver ready", "bridge ready")):
            self._ready.add(line.child)
        elif line.text.startswith(f"sent {STREAM_ID} "):
            self.outcome.sent = _counts(line.text)
        elif line.text.startswith(f"received {STREAM_ID}:"):
            self.outcome.received = _counts(line.text)
        elif "down; frames are skipped" in line.text:
            self.outcome.link_went_down = True
        if line.child in (SENDER, RECEIVER):
            self._screen.say(f"{line.child}: {line.text}", "cyan")

    def _on_report(self, name: str, report: ProducerReport | ConsumerReport) -> None:
        self._scoreboard.on_report(name, report)
        if isinstance(report, ProducerReport):
            self.outcome.camera = report
        else:
            self._note_mappings(name, report)
            self.outcome.viewers[name] = report

    def _note_mappings(self, name: str, report: ConsumerReport) -> None:
        before = self.outcome.viewers.get(name)
        if len(report.mapped_ns) > (len(before.mapped_ns) if before is not None else 0):
            self._screen.say(f"{name}: {'mapped' if before is None else 'remapped'}", "magenta")

    # The end

    def _clear_up(self) -> None:
        """End all processes, clients before drivers; remove files and namespaces."""
        children = self._children
        end_all((c for name, c in children.items() if name not in DRIVERS), _PATIENCE_S)
        end_all((c for name, c in children.items() if name in DRIVERS), _PATIENCE_S)
        left = [name for name, child in children.items() if child.exit_status is None]
        if self._hosts is not None:
            left += self._sweep(self._hosts)
            left += self._hosts.close()
        if self._folder.name.startswith("tensorpool-demo-bridge-"):
            shutil.rmtree(self._folder, ignore_errors=True)
            left += [str(self._folder)] if self._folder.exists() else []
        sweep_abandoned_bells()
        self.outcome.left_behind = left

    def _sweep(self, hosts: Hosts) -> list[str]:
        """A bridge that was killed leaves the directory of its media driver on its host."""
        if hosts.a.prefix:
            return []  # it goes with the host's /dev/shm
        killed = {child.pid for child in self._ended}
        left = []
        for path in Path("/dev/shm").glob("aeron-*-tensorpool-bridge-*"):
            if int(path.name.split("-")[-2]) in killed:
                shutil.rmtree(path, ignore_errors=True)
                left += [str(path)] if path.exists() else []
        return left


def _counts(line: str) -> dict[str, int]:
    return {name: int(count) for name, count in _COUNT.findall(line.partition(":")[2])}
