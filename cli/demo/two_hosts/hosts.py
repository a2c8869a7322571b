"""Two hosts on one machine: namespaces where root is there, else two directories and loopback.

A host of namespaces has a network, a `/dev/shm` and a host name of its own. Its namespaces have no
name: a process holds them, that ends with the demo, however the demo ends.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Protocol

from .relay import Relay

__all__ = ["Host", "Hosts", "LoopbackHosts", "NamespaceHosts", "make_hosts"]

NAMES = ("host-a", "host-b")
_PORT = 40456
_WIRE_MTU = 9000
_SET_UP = (
    "mount -t tmpfs -o size=1g,mode=1777 tmpfs /dev/shm && echo $0 > /proc/sys/kernel/hostname"
    " && ip link set lo up && echo up && exec cat"
)


class Host:
    """One host: its directories, and the words that make a command run on it."""

    def __init__(self, name: str, shared_memory: Path, prefix: list[str]) -> None:
        self.name = name
        self.prefix = prefix
        self.base_dir = shared_memory / "regions"
        self.aeron_dir = shared_memory / "aeron"


class Hosts(Protocol):
    """Two hosts and the path between them."""

    description: str
    a: Host
    b: Host
    listen_at: str
    """The address at which b receives."""
    send_to: str
    """The address to which a sends, to reach b."""

    def cut(self) -> None:
        """Let nothing pass between the hosts."""
        ...

    def heal(self) -> None: ...

    def close(self) -> list[str]:
        """Remove everything; returns what could not be removed. Programs have ended before."""
        ...


class NamespaceHosts:
    """Hosts that share nothing but a wire. Raises OSError if that is not allowed here."""

    def __init__(self, wire_mtu: int = _WIRE_MTU) -> None:
        self.description = "two hosts in namespaces of their own, joined by a virtual wire"
        self._anchors: list[subprocess.Popen[str]] = []
        try:
            a, b = (self._anchor(name) for name in NAMES)
            _run(
                *(
                    "ip",
                    "link",
                    "add",
                    "eth",
                    "netns",
                    str(a),
                    "mtu",
                    str(wire_mtu),
                    "type",
                    "veth",
                ),
                *("peer", "name", "eth", "netns", str(b), "mtu", str(wire_mtu)),
            )
            for number, pid in enumerate((a, b), 1):
                _run(*_into(pid), "ip", "addr", "add", f"10.77.0.{number}/24", "dev", "eth")
                _run(*_into(pid), "ip", "link", "set", "eth", "up")
        except BaseException:
            self.close()
            raise
        # The directories are within the host's own /dev/shm, so both hosts may use one name.
        self.a = Host(NAMES[0], Path("/dev/shm/pool"), _into(a))
        self.b = Host(NAMES[1], Path("/dev/shm/pool"), _into(b))
        self.listen_at = self.send_to = f"10.77.0.2:{_PORT}"

    def cut(self) -> None:
        _run(*self.b.prefix, "ip", "link", "set", "eth", "down")

    def heal(self) -> None:
        _run(*self.b.prefix, "ip", "link", "set", "eth", "up")

    def close(self) -> list[str]:
        for anchor in self._anchors:
            anchor.communicate()
        return [f"namespaces of pid {a.pid}" for a in self._anchors if a.poll() is None]

    def _anchor(self, name: str) -> int:
        anchor = subprocess.Popen(
            ["unshare", "--net", "--mount", "--uts", "sh", "-c", _SET_UP, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self._anchors.append(anchor)
        assert anchor.stdout is not None
        if anchor.stdout.readline().strip() != "up":
            _, trouble = anchor.communicate()
            raise OSError(trouble.strip() or "no namespaces")
        return anchor.pid


class LoopbackHosts:
    """Hosts with a driver, a media driver and directories of their own, and one loopback."""

    def __init__(self) -> None:
        self.description = "two base directories and media drivers over loopback"
        self._root = Path(
            tempfile.mkdtemp(prefix=f"tensorpool-demo-{os.getpid()}-", dir="/dev/shm")
        )
        for name in NAMES:
            (self._root / name).mkdir()
        self.a, self.b = (Host(name, self._root / name, []) for name in NAMES)
        port = _free_port()
        self._relay = Relay(port)
        self.listen_at = f"127.0.0.1:{port}"
        self.send_to = f"127.0.0.1:{self._relay.port}"

    def cut(self) -> None:
        self._relay.is_cut = True

    def heal(self) -> None:
        self._relay.is_cut = False

    def close(self) -> list[str]:
        self._relay.close()
        shutil.rmtree(self._root, ignore_errors=True)
        return [str(self._root)] if self._root.exists() else []


def make_hosts(*, namespaces: bool | None = None, wire_mtu: int = _WIRE_MTU) -> Hosts:
    """Hosts of namespaces if this process may make them, else on loopback.

    `namespaces` asks for one of the two; True raises OSError where they are not to be had.
    """
    if namespaces is False:
        return LoopbackHosts()
    try:
        return NamespaceHosts(wire_mtu)
    except (OSError, subprocess.SubprocessError) as error:
        if namespaces:
            raise
        hosts = LoopbackHosts()
        hosts.description += f" (no namespaces: {error})"
        return hosts


def _into(pid: int) -> list[str]:
    return ["nsenter", *(f"--{kind}=/proc/{pid}/ns/{name}" for kind, name in _KINDS)]


_KINDS = (("net", "net"), ("mount", "mnt"), ("uts", "uts"))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
