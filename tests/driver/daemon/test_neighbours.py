"""Full memory, small containers, recycled process ids and other users: the daemon lives or reports.

Each test makes what it needs: a private /dev/shm in a mount namespace, a process id namespace, a
second uid. All of that takes root.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport import media_driver as media
from tensor_pool.protocol.transport.media_driver import (
    EmbeddedMediaDriver,
    MediaDriverProcess,
    is_media_driver_active,
    unique_aeron_dir,
)
from tensor_pool.protocol.transport.remedies import no_media_driver
from tests.driver.daemons import until

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and other users take root"),
]

DRIVER = [sys.executable, "-m", "tensor_pool.cli", "driver", "--log-format", "json"]


@contextmanager
def private_shm(size: str, program: str) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program where /dev/shm is a file system of its own."""
    mount = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec {sys.executable} -c "$0"'
    process = subprocess.Popen(
        ["unshare", "--mount", "bash", "-c", mount, textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def result_of(size: str, program: str) -> dict[str, Any]:
    """Return what a program in a private /dev/shm printed as its last line."""
    with private_shm(size, program) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


START = f"""
import json, os, signal, subprocess, sys, time
import numpy as np
from tensor_pool.client import connect
from tensor_pool.protocol.errors import TensorPoolError
stderr = open("/tmp/tp-" + str(os.getpid()), "w")
driver = subprocess.Popen({DRIVER!r}, stdout=subprocess.PIPE, stderr=stderr, text=True)
ready = driver.stdout.readline()
log = lambda: open("/tmp/tp-" + str(os.getpid())).read()
def fill():
    with open("/dev/shm/filler", "wb", 0) as file:
        for step in (1 << 20, 4096, 1):
            try:
                while True: file.write(bytes(step))
            except OSError: pass
frame = np.zeros(64, np.uint8)
"""
END = """
driver.send_signal(signal.SIGTERM)
answer["status"] = driver.wait(20)
answer["log"] = log()
os.unlink("/tmp/tp-" + str(os.getpid()))
print(json.dumps(answer))
"""


def test_a_full_dev_shm_ends_neither_driver_nor_clients() -> None:
    """D-113, D-186: what runs goes on, new attaches are refused with a text, and it heals."""
    answer = result_of(
        "420m",
        START
        + """
with connect(attach_timeout=5) as pool, pool.producer(10000) as camera:
    viewer = pool.consumer(10000)
    camera.publish(frame)
    fill()
    deadline, sent, refused = time.monotonic() + 6, 0, ""
    while time.monotonic() < deadline:
        sent += bool(camera.publish(frame))
        viewer.latest()
        time.sleep(0.002)
    try:
        pool.producer(20000).close()
    except TensorPoolError as error:
        refused = str(error)
    alive = driver.poll() is None
    os.unlink("/dev/shm/filler")
    time.sleep(2)
    with pool.producer(20001) as other:
        again = bool(other.publish(frame))
    answer = {"sent": sent, "refused": refused, "alive": alive, "again": again}
"""
        + END,
    )
    assert answer["alive"]
    assert answer["sent"] > 300
    assert "space" in answer["refused"]
    assert answer["again"]
    assert answer["status"] == 0


def test_a_container_with_little_shared_memory_gets_the_setting_as_a_remedy() -> None:
    """64 MiB is Docker's default: the driver starts, and a client reads the remedy."""
    answer = result_of(
        "64m",
        START
        + """
try:
    with connect() as pool, pool.producer(10000) as camera: pass
    text = ""
except TensorPoolError as error:
    text = str(error)
answer = {"text": text, "ready": ready}
"""
        + END,
    )
    assert answer["ready"].startswith("driver ready")
    assert "--shm-size" in answer["text"]
    assert "insufficient shm space: need" in answer["text"]
    assert answer["status"] == 0


def test_a_driver_that_does_not_fit_ends_with_the_remedy() -> None:
    with private_shm(
        "16m", f"import subprocess, sys; sys.exit(subprocess.run({DRIVER!r}).returncode)"
    ) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "--shm-size" in output
    assert "Traceback" not in output


def test_process_1_of_a_container_is_back_after_a_kill(tmp_path: Path) -> None:
    """The process id in cnc.dat is that of the next process 1 as well."""
    aeron_dir, base_dir = unique_aeron_dir(), tempfile.mkdtemp(dir="/dev/shm")
    settings = [f"driver.aeron_dir={aeron_dir}", f"shm.base_dir={base_dir}"]
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *DRIVER]
    for setting in settings:
        command += ["--set", setting]

    def start(log: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log.open("w"), text=True)

    first = start(tmp_path / "first")
    assert first.stdout is not None
    assert first.stdout.readline().startswith("driver ready")
    first.kill()
    first.wait()
    second = start(tmp_path / "second")
    assert second.stdout is not None
    try:
        ready = second.stdout.readline()
        assert ready.startswith("driver ready"), (tmp_path / "second").read_text()
    finally:
        for child in Path(f"/proc/{second.pid}/task/{second.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGTERM)
        second.wait(20)
        for process in (first, second):
            assert process.stdout is not None
            process.stdout.close()
        subprocess.run(["rm", "-rf", aeron_dir, base_dir], check=True)


@pytest.mark.parametrize("pid", ["this process", "process 1", "an older one", "a later one"])
def test_a_recycled_process_id_does_not_make_a_dead_media_driver_alive(pid: str) -> None:
    """The number in cnc.dat belongs to a process that is not the media driver.

    A number of another pid namespace can be that of any process, also of one that is older.
    """
    driver = MediaDriverProcess()
    later = None
    try:
        driver.kill()
        number = {"process 1": 1, "an older one": os.getppid()}.get(pid, os.getpid())
        if pid == "a later one":
            time.sleep(media._CLOCK_SLACK_S + 0.2)  # the clock's slack
            later = subprocess.Popen(["sleep", "60"])
            number = later.pid
        with open(f"{driver.directory}/cnc.dat", "r+b") as file:
            file.seek(40)
            file.write(number.to_bytes(8, "little"))
        assert not is_media_driver_active(driver.directory)
        EmbeddedMediaDriver(driver.directory).close()
    finally:
        if later is not None:
            later.kill()
            later.wait()
        driver.close()


def test_a_lock_on_dev_shm_keeps_no_media_driver_from_starting() -> None:
    holder = subprocess.Popen(
        ["flock", "/dev/shm", "sleep", "60"], preexec_fn=lambda: os.setuid(5001)
    )
    try:
        until(
            lambda: bool(subprocess.run(["flock", "-n", "/dev/shm", "true"]).returncode), "a lock"
        )
        EmbeddedMediaDriver(unique_aeron_dir()).close()
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize("kind", ["file", "link", "directory", "fifo"])
def test_what_stands_in_place_of_the_lock_file_is_named(kind: str) -> None:
    directory = unique_aeron_dir()
    path = Path(f"{directory}.lock")
    {
        "file": path.touch,
        "link": lambda: path.symlink_to("/etc/passwd"),
        "directory": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
    }[kind]()
    os.chown(path, 5001, 5001, follow_symlinks=False)
    try:
        with pytest.raises(TransportError, match=r"cannot be locked: owned by uid 5001"):
            EmbeddedMediaDriver(directory)
        assert not Path(directory).exists()
    finally:
        with suppress(OSError):
            path.rmdir() if kind == "directory" else path.unlink()


def test_the_lock_file_is_gone_afterwards() -> None:
    directory = unique_aeron_dir()
    with EmbeddedMediaDriver(directory):
        assert not Path(f"{directory}.lock").exists()
    assert not Path(directory).exists()


def test_a_media_driver_that_may_not_be_used_is_reported_with_owner_and_remedy() -> None:
    with MediaDriverProcess() as driver:
        program = (
            "import os\n"
            "from tensor_pool.protocol.transport.remedies import no_media_driver\n"
            "os.setgroups([]); os.setgid(5001); os.setuid(5001)\n"
            f"print(no_media_driver({driver.directory!r}))"
        )
        text = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        assert "no permission to use the media driver in" in text
        assert "runs as uid 5001" in text
        assert "belongs to root (uid 0) and has mode 0644" in text
        assert "umask 007" in text
    assert "no media driver is running in" in no_media_driver(driver.directory)
