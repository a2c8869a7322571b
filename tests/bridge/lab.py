"""Two or more hosts on one machine, made of namespaces (B-180).

A host is a network namespace, a mount namespace with a `/dev/shm` of its own, and where a test
needs it a time namespace. They are joined by veth pairs; nothing is sent outside. Names carry the
pid of the test. The next lab removes the leftovers of a killed test.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Host", "Lab", "LabError"]

_NAME = re.compile(r"tpl(\d+)-(\d+)-(\w+)")
_REPOSITORY = Path(__file__).resolve().parents[2]
_SET_UP = (
    "mount -t tmpfs -o size=1g tmpfs /dev/shm && echo $0 > /proc/sys/kernel/hostname"
    " && echo up && exec cat"
)
_labs = 0


class LabError(Exception):
    """The machine does not allow what the lab needs."""


class Host:
    """One host; `run` starts a program on it."""

    def __init__(self, lab: Lab, name: str, address: str, time_offset_s: int) -> None:
        self.lab = lab
        self.name = name
        self.address = address
        self.namespace = lab.prefix + name
        self.home = lab.folder / name
        self.home.mkdir()
        self.processes: list[subprocess.Popen[str]] = []
        _ip("netns", "add", self.namespace)
        _ip("-n", self.namespace, "link", "set", "lo", "up")
        shift = str(time_offset_s)
        time_flags = ["--time", "--monotonic", shift, "--fork"] if time_offset_s else []
        # The anchor keeps the mount namespace; it ends when its input does, so with this process.
        self._anchor = subprocess.Popen(
            [
                *("ip", "netns", "exec", self.namespace, "unshare", "--mount", "--uts"),
                *time_flags,
                *("sh", "-c", _SET_UP, name),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._anchor.stdout is not None
        if self._anchor.stdout.readline().strip() != "up":
            raise LabError("cannot make a mount namespace with a /dev/shm of its own")
        self._anchor_pid = _innermost(self._anchor.pid)

    @property
    def prefix(self) -> list[str]:
        """Words that make a command run on this host."""
        pid = str(self._anchor_pid)
        namespaces = [f"--net=/proc/{pid}/ns/net", f"--mount=/proc/{pid}/ns/mnt"]
        shared = [f"--{kind}=/proc/{pid}/ns/{kind}" for kind in ("uts", "time")]
        return ["nsenter", *namespaces, *shared]

    def start(self, *command: str, output: str | None = None) -> subprocess.Popen[str]:
        """Start a program; its output goes to the file `output` below the host's home."""
        target = (self.home / (output or "output.txt")).open("a")
        with target:
            process = subprocess.Popen(
                # It ends with this process, however that ends.
                ["setpriv", "--pdeathsig", "KILL", *self.prefix, *command],
                stdout=target,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
            )
        self.processes.append(process)
        return process

    def run(self, *command: str, timeout: float = 60) -> str:
        """Run a program to its end and return what it prints. Raises LabError if it fails."""
        done = subprocess.run(
            [*self.prefix, *command], capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            words = " ".join(command)
            raise LabError(f"{self.name}: {words}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def tool(self, *arguments: str, output: str) -> subprocess.Popen[str]:
        """Start `tensor-pool` with these arguments."""
        return self.start(sys.executable, "-m", "tensor_pool.cli", *arguments, output=output)

    def text(self, output: str) -> str:
        """Return the output of a started program so far."""
        path = self.home / output
        return path.read_text() if path.exists() else ""

    def wait_for(self, output: str, text: str, timeout: float = 60, count: int = 1) -> None:
        """Wait until a program has printed `text` so often. Raises LabError at the timeout."""
        deadline = time.monotonic() + timeout
        while self.text(output).count(text) < count:
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: no {text!r} in {output}:\n{self.text(output)}")
            time.sleep(0.02)

    def narrow(self, mbit_s: int) -> None:
        """Let only so much out of this host."""
        rate = ("rate", f"{mbit_s}mbit", "burst", "64kb", "limit", "8mb")
        self._tc("add", "dev", "eth", "root", "tbf", *rate)

    def widen(self) -> None:
        """End `narrow`."""
        self._tc("del", "dev", "eth", "root")

    def link_down(self) -> None:
        """Cut the host off."""
        _ip("-n", self.namespace, "link", "set", "eth", "down")

    def link_up(self) -> None:
        """Join it again."""
        _ip("-n", self.namespace, "link", "set", "eth", "up")

    def _tc(self, *arguments: str) -> None:
        _call("tc", "-n", self.namespace, "qdisc", *arguments)

    def close(self) -> None:
        """End its programs, first in order, then at once."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._anchor.communicate()
        subprocess.run(["ip", "netns", "del", self.namespace], check=False, capture_output=True)


class Lab:
    """Hosts on one network, 10.77.x.0/24, apart from every other network."""

    def __init__(
        self, *names: str, mtu: int = 1500, offsets_s: dict[str, int] | None = None
    ) -> None:
        global _labs
        _labs += 1
        self.prefix = f"tpl{os.getpid()}-{_labs}-"
        self.folder = Path(f"/tmp/{self.prefix}lab")
        self.hosts: dict[str, Host] = {}
        self._require_rights()
        remove_leftovers()
        self.folder.mkdir()
        try:
            self._switch = self.prefix + "sw"
            _ip("netns", "add", self._switch)
            _ip("-n", self._switch, "link", "add", "name", "sw0", "type", "bridge")
            _ip("-n", self._switch, "link", "set", "sw0", "up")
            for number, name in enumerate(names, 1):
                offset = (offsets_s or {}).get(name, 0)
                host = self.hosts[name] = Host(self, name, f"10.77.{_labs % 250}.{number}", offset)
                self._plug(host, number, mtu)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is not None:
            self.print_outputs()
        self.close()

    @contextlib.contextmanager
    def reported(self) -> Iterator[None]:
        """Print what every program printed if the block fails; for a lab that several tests use."""
        try:
            yield
        except BaseException:
            self.print_outputs()
            raise

    def print_outputs(self) -> None:
        """Print the end of what every program printed."""
        for host in self.hosts.values():
            for path in sorted(host.home.iterdir()):
                if path.is_file():
                    text = path.read_bytes()[-4000:].decode(errors="replace")
                    print(f"--- {host.name} {path.name}\n{text}")

    def close(self) -> None:
        """Remove everything."""
        for host in self.hosts.values():
            host.close()
        subprocess.run(["ip", "netns", "del", self.prefix + "sw"], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _plug(self, host: Host, number: int, mtu: int) -> None:
        port = f"port{number}"
        _ip(
            *("link", "add", "eth", "netns", host.namespace, "mtu", str(mtu), "type", "veth"),
            *("peer", "name", port, "netns", self._switch, "mtu", str(mtu)),
        )
        _ip("-n", self._switch, "link", "set", port, "master", "sw0", "up")
        _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth")
        _ip("-n", host.namespace, "link", "set", "eth", "up")

    @staticmethod
    def _require_rights() -> None:
        if os.geteuid() != 0:
            raise LabError(
                "the lab makes network namespaces, which needs root here: run the tests as root or"
                " within `unshare -Urn`"
            )


def remove_leftovers() -> None:
    """Remove namespaces and folders of labs whose process is gone."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]
    for name in names:
        if _is_left_over(name):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    for path in Path("/tmp").glob("tpl*-lab"):
        if _is_left_over(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _is_left_over(name: str) -> bool:
    match = _NAME.match(name)
    return match is not None and not Path(f"/proc/{match[1]}").exists()


def _innermost(pid: int) -> int:
    """The last in a line of only children: `unshare --fork` puts one in between."""
    while True:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return pid
        if not children:
            return pid
        pid = int(children[0])


def _ip(*arguments: str) -> None:
    _call("ip", *arguments)


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
