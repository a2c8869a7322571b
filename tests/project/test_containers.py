"""The compose file and the commands of the page on containers, run in namespaces."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.pools import until
from tests.docs_snippets import snippets
from tests.project.containers import (
    REPOSITORY,
    Container,
    Engine,
    Service,
    healthcheck,
    read_compose,
    read_docker_run,
    read_dockerfile,
)

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of containers take root"),
]

PAGE = REPOSITORY / "docs" / "how-to" / "containers.md"
COMPOSE = REPOSITORY / "docker" / "compose.yaml"
IMAGE = read_dockerfile(REPOSITORY / "docker" / "Dockerfile")
KINDS = ("pid", "ipc", "mnt", "net", "uts")

# A program of a user's own: receives frames, and counts the rings that woke it.
PROGRAM = """
import json, os
from tensor_pool.client import connect
with connect(wait=60) as pool, pool.consumer(20_000, attach_timeout=60) as viewer:
    frames = [viewer.receive(60) for _ in range(30)]
    print(json.dumps({
        "pid": os.getpid(),
        "shapes": sorted({frame.shape for frame in frames}),
        "wakeups": viewer.metrics()["wakeups"],
        "wakeups_unrung": viewer.metrics()["wakeups_unrung"],
    }))
"""


def answers(driver: Container) -> bool:
    return driver.execute(*healthcheck(COMPOSE, "driver")).returncode == 0


def frames_seen(viewer: Container) -> int:
    """The count in the newest line of `hz`."""
    counts = re.findall(r"(\d+) frames, \d+ lost", viewer.output)
    return int(counts[-1]) if counts else 0


def test_the_image_is_built_from_every_package() -> None:
    """A context with all that pip reads; src/ has links to the packages."""
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    packages = {link.resolve().name for link in (REPOSITORY / "src" / "tensor_pool").iterdir()}
    assert sent == packages | {"LICENSE", "README.md", "pyproject.toml", "src"}


def test_the_compose_file_carries_frames_between_containers_without_privileges(
    tmp_path: Path,
) -> None:
    services, volumes = read_compose(COMPOSE, IMAGE)
    with Engine(tmp_path, IMAGE, volumes) as engine:
        driver = engine.start(services["driver"])
        until(lambda: answers(driver) or not driver.runs, "an answer of the driver")
        members = [driver, *(engine.start(services[name]) for name in ("camera", "viewer"))]
        camera, viewer = members[1:]
        own = engine.start(services["viewer"], ["python3", "-c", PROGRAM])
        until(lambda: not own.runs, "thirty frames")
        assert own.wait() == 0, own.output + camera.output + driver.output
        received = json.loads(own.output.splitlines()[-1])
        assert received["pid"] == 1
        assert received["shapes"] == [[480, 640, 3]]
        assert received["wakeups"] > 0, received
        assert received["wakeups_unrung"] < received["wakeups"], received
        until(lambda: frames_seen(viewer) > 0, "frames at the viewer")

        for kind in KINDS:
            spaces = {member.namespace(kind) for member in members}
            assert len(spaces | {os.readlink(f"/proc/self/ns/{kind}")}) == 4, kind
        for member in members:
            assert member.status("Uid").split() == ["1000"] * 4
            assert {member.status(f"Cap{kind}") for kind in ("Eff", "Prm", "Bnd")} == {"0" * 16}
            assert member.status("NoNewPrivs") == "1"

        assert driver.stop() == 0
        driver = engine.start(services["driver"])
        before = frames_seen(viewer)
        until(lambda: frames_seen(viewer) > before + 30, "frames after the restart")
        assert [member.stop() for member in (viewer, camera, driver)] == [0, 0, 0]


def test_the_docker_run_lines_of_the_page_share_the_memory_of_the_driver(tmp_path: Path) -> None:
    """A fourth container, with a /dev/shm of its own, gets the reason."""
    (block,) = [snippet for snippet in snippets(PAGE) if snippet.title == "docker run"]
    lines = [read_docker_run(line, IMAGE) for line in block.text.splitlines()]
    size = lines[0][1]["--shm-size"]
    with Engine(tmp_path, IMAGE, {"pool": f"mode=1777,size={size}"}) as engine:
        containers: dict[str, Container] = {}
        for service, flags in lines:
            kind, _, owner = flags["--ipc"].partition(":")
            assert kind == ("container" if owner else "shareable")
            if owner:
                until(lambda: "driver ready" in containers["driver"].output, "a driver")
            service = replace(
                service,
                volumes={"pool": "/dev/shm"},
                ipc_of=containers[owner] if owner else None,
            )
            containers[flags.get("--name", service.command[0])] = engine.start(service)
        viewer = containers["hz"]
        until(lambda: frames_seen(viewer) > 0, "frames at the viewer")
        assert len({each.namespace("ipc") for each in containers.values()}) == 1
        assert len({each.namespace("pid") for each in containers.values()}) == 3

        alone = engine.start(Service(["status"], IMAGE.user, has_network=False))
        assert alone.wait() == 1
        assert "no media driver is running in /dev/shm/aeron-" in alone.output
