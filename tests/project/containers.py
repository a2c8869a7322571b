"""Containers made of namespaces, from a Dockerfile, a compose file or `docker run` lines.

A container has what these files give it and nothing else: process, IPC, mount, host name and
network namespaces of its own, the user, no capabilities, a root of the image's files, and the
volumes. In place of the image's files there are this Python's installation and the system's
programs. A word that is not carried out here is an error, so these files hold nothing that the
tests do not try. Takes root.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from tests.driver.daemons import until

REPOSITORY = Path(__file__).resolve().parents[2]

_SYSTEM = ("/bin", "/lib", "/lib64", "/sbin", "/usr")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_IGNORED = {"restart", "healthcheck", "depends_on", "build"}  # what the tests do by themselves


@dataclass(frozen=True)
class Image:
    """The settings of a Dockerfile for every container."""

    entrypoint: list[str]
    command: list[str]
    user: str
    environ: dict[str, str]


@dataclass(frozen=True)
class Service:
    """One container, as a file describes it.

    `volumes` are names and mount points; `ipc_of` is the container whose IPC namespace it shares.
    """

    command: list[str]
    user: str
    volumes: dict[str, str] = field(default_factory=dict)
    is_read_only: bool = False
    has_network: bool = True
    keeps_capabilities: bool = True
    may_gain_privileges: bool = True
    ipc_of: Container | None = None

    @property
    def privileges(self) -> str:
        """The command before its own that gives up what it may not have."""
        user, group = self.user.split(":")
        flags = [
            "setpriv",
            "--pdeathsig=KILL",
            "--clear-groups",
            f"--reuid={user}",
            f"--regid={group}",
        ]
        if not self.keeps_capabilities:
            flags += ["--bounding-set=-all", "--inh-caps=-all"]
        if not self.may_gain_privileges:
            flags.append("--no-new-privs")
        return " ".join(flags)


def read_dockerfile(path: Path) -> Image:
    """Return the settings of the last stage."""
    text = path.read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    words = dict[str, list[str]]()
    for line in text.splitlines()[1:]:
        if line and not line.startswith("#"):
            instruction, _, rest = line.partition(" ")
            assert instruction in {"COPY", "ENV", "USER", "ENTRYPOINT", "CMD"}, line
            words.setdefault(instruction, []).append(rest)
    environ = dict(line.split("=", 1) for line in words["ENV"])
    programs = environ["PATH"].replace("/opt/tensor-pool", sys.prefix)  # the image's stand-in
    environ["PATH"] = programs.replace("$PATH", _PATH)
    (user,), (entrypoint,), (command,) = words["USER"], words["ENTRYPOINT"], words["CMD"]
    return Image(json.loads(entrypoint), json.loads(command), user, environ)


def read_compose(path: Path, image: Image) -> tuple[dict[str, Service], dict[str, str]]:
    """Return the services, and the tmpfs options of each volume."""
    file = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {key for key in file if not key.startswith("x-")} == {"name", "services", "volumes"}
    services = {name: _compose_service(entry, image) for name, entry in file["services"].items()}
    volumes = {}
    for name, entry in file["volumes"].items():
        options = entry.pop("driver_opts")
        assert entry == {"driver": "local"}
        volumes[name] = options.pop("o")
        assert options == {"type": "tmpfs", "device": "tmpfs"}
    return services, volumes


def healthcheck(path: Path, service: str) -> list[str]:
    """Return the command with which a compose file tests a service."""
    entry = yaml.safe_load(path.read_text(encoding="utf-8"))["services"][service]
    kind, *command = entry["healthcheck"]["test"]
    assert kind == "CMD"
    return command


def _compose_service(entry: Mapping[str, Any], image: Image) -> Service:
    left = {key: value for key, value in entry.items() if key not in _IGNORED}
    assert left.pop("image") == "tensor-pool"
    assert left.pop("network_mode") == "none"
    assert left.pop("cap_drop") == ["ALL"]
    assert left.pop("security_opt") == ["no-new-privileges:true"]
    service = Service(
        left.pop("command"),
        left.pop("user", image.user),
        dict(volume.split(":") for volume in left.pop("volumes")),
        is_read_only=left.pop("read_only"),
        has_network=False,
        keeps_capabilities=False,
        may_gain_privileges=False,
    )
    assert not left, f"not carried out by the tests: {sorted(left)}"
    return service


def read_docker_run(line: str, image: Image) -> tuple[Service, dict[str, str]]:
    """Return the service of a `docker run` line, and its other options."""
    words = shlex.split(line)
    assert words[:2] == ["docker", "run"], line
    flags: dict[str, str] = {}
    rest = words[2:]
    while rest[0].startswith("--"):
        flag, _, value = rest.pop(0).partition("=")
        flags[flag] = value
    assert rest.pop(0) == "tensor-pool"
    service = Service(
        rest,
        flags.pop("--user", image.user),
        is_read_only=flags.pop("--read-only", None) is not None,
        has_network=flags.pop("--network", "") != "none",
        keeps_capabilities=flags.pop("--cap-drop", "") != "ALL",
        may_gain_privileges=flags.pop("--security-opt", "") != "no-new-privileges",
    )
    unknown = flags.keys() - {"--name", "--detach", "--rm", "--ipc", "--shm-size"}
    assert not unknown, f"not carried out by the tests: {sorted(unknown)}"
    return service, flags


class Container:
    """A service that runs; its output goes to a file."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        service: Service,
        output: Path,
        environ: Mapping[str, str],
    ) -> None:
        self._process = process
        self._service = service
        self._output = output
        self._environ = environ

    @property
    def output(self) -> str:
        """Everything it has printed."""
        return self._output.read_text()

    @functools.cached_property
    def process_1(self) -> int:
        """The number that its first process has outside."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        until(lambda: bool(children.read_text()) or not self.runs, "the first process")
        return int(children.read_text())

    def namespace(self, kind: str) -> str:
        """Return what names its namespace of a kind."""
        return os.readlink(f"/proc/{self.process_1}/ns/{kind}")

    def status(self, key: str) -> str:
        """Return a line of the status of its first process, such as that of `Uid`."""
        text = Path(f"/proc/{self.process_1}/status").read_text()
        (found,) = re.findall(rf"^{key}:\t(.*)$", text, re.MULTILINE)
        return str(found)

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run another program in it, as `docker exec` does."""
        enter = ["nsenter", "--target", str(self.process_1), "--all", "--root", "--wd"]
        return subprocess.run(
            [*enter, *self._service.privileges.split(), *command],
            capture_output=True,
            text=True,
            env=dict(self._environ),
            check=False,
        )

    def stop(self) -> int:
        """End it as `docker stop` does; returns its exit status."""
        os.kill(self.process_1, signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it as `docker kill` does."""
        if self.runs:
            os.kill(self.process_1, signal.SIGKILL)
            self._process.wait()

    def wait(self) -> int:
        """Wait for its end; returns its exit status."""
        return self._process.wait(60)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None


class Engine:
    """Starts containers. Everything of it ends with this process."""

    def __init__(self, directory: Path, image: Image, volumes: Mapping[str, str]) -> None:
        """`volumes`: the tmpfs options of each."""
        self._directory = directory
        self._image = image
        self._containers: list[Container] = []
        for name in ("root", *volumes):
            (directory / name).mkdir()
        mounts = [
            f"mount -t tmpfs -o {options} tmpfs {directory / name}"
            for name, options in volumes.items()
        ]
        # Volumes are mounted in a namespace that ends with this process.
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", " && ".join([*mounts, "echo mounted", "exec cat"])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"mounted\n"

    def start(self, service: Service, entrypoint: list[str] | None = None) -> Container:
        """Start a container; `entrypoint` takes the place of the image's."""
        output = self._directory / f"output-{len(self._containers)}.txt"
        command = [*(entrypoint or self._image.entrypoint), *service.command]
        namespaces = ["--pid", "--fork", "--kill-child", "--mount", "--uts"]
        namespaces += [] if service.has_network else ["--net"]
        enter = [f"--mount=/proc/{self._holder.pid}/ns/mnt"]
        if service.ipc_of is None:
            namespaces.append("--ipc")
        else:
            enter.append(f"--ipc=/proc/{service.ipc_of.process_1}/ns/ipc")
        root = self._directory / "root"
        script = [*self._mounts(service, root), f'exec chroot {root} {service.privileges} "$@"']
        with output.open("wb") as file:
            process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", "nsenter", *enter),
                    *("unshare", *namespaces, "sh", "-c", " && ".join(script), "sh", *command),
                ],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self._image.environ,
            )
        self._containers.append(Container(process, service, output, self._image.environ))
        return self._containers[-1]

    def _mounts(self, service: Service, root: Path) -> Iterator[str]:
        """Yield the commands that make the container's files, in its own mount namespace."""
        yield f"mount -t tmpfs -o mode=755 tmpfs {root}"
        bound: list[Path] = []
        for path in map(Path, (*_SYSTEM, sys.base_prefix, sys.prefix, REPOSITORY)):
            if path.is_symlink() and str(path) in _SYSTEM:
                yield f"ln -s {path.readlink()} {root}{path}"
            elif path.exists() and not any(path.is_relative_to(other) for other in bound):
                bound.append(path)
                yield f"mkdir -p {root}{path}"
                yield f"mount --bind {path} {root}{path}"
                if service.is_read_only:
                    yield f"mount -o remount,bind,ro {root}{path}"
        yield f"mkdir -p {root}/proc {root}/tmp {root}/etc {root}/dev/shm"
        yield f"chmod 1777 {root}/tmp"
        yield f"cp /etc/ld.so.cache {root}/etc"
        yield f"echo root:x:0:0:root:/root:/bin/sh > {root}/etc/passwd"
        for device in _DEVICES:
            yield f"touch {root}{device}"
            yield f"mount --bind {device} {root}{device}"
        yield f"mount -t proc proc {root}/proc"
        if "/dev/shm" not in service.volumes.values():
            yield f"mount -t tmpfs -o mode=1777,size=64m tmpfs {root}/dev/shm"
        for name, target in service.volumes.items():
            yield f"mount --bind {self._directory / name} {root}{target}"
        if service.is_read_only:
            yield f"mount -o remount,ro {root}"

    def close(self) -> None:
        """End all containers, then the volumes."""
        for container in self._containers:
            container.kill()
        self._holder.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
