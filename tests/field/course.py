"""The field test: three cameras, six consumers and a recorder, and what the world does to them.

Troubles come one after the other. After each of them every member gets frames through again. At the
end each consumer has received or counted every frame that was published since its attach, no
frame is corrupt, no camera was refused for 100 ms, and no process has died by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tensor_pool.protocol.transport.aeron import AeronTransport
from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tests.chaos.processes import Child
from tests.driver.garbage import garbage_corpus
from tests.fresh_process import as_user

__all__ = ["LONG", "SHORT", "FieldTest"]

CAMERAS = (10_000, 10_001, 10_002)
CONSUMERS_EACH = 2
LONGEST_REFUSAL_S = 0.1
REGIONS_BYTES = 96 << 20
_MEMBER = str(Path(__file__).with_name("member.py"))
_NOBODY = 65534
_CONFIG = """
[driver]
aeron_dir = "{root}/aeron"
media_driver = "external"
http_socket = "{root}/pages.sock"
http_address = "127.0.0.1:{port}"
[shm]
base_dir = "{root}/regions"
[policies]
announce_period_ms = 300
lease_keepalive_interval_ms = 300
lease_expiry_grace_intervals = 3
[profiles.small]
header_nslots = 512
payload_pools = [{{ pool_id = 1, stride_bytes = 4096 }}]
"""
_STREAM = '[streams.s{0}]\nstream_id = {0}\nprofile = "small"\n'


class FieldTest:
    """One deployment; `run` does everything to it and returns what was wrong."""

    def __init__(self, *, rate_hz: float, bound_s: float) -> None:
        self.rate_hz, self.bound_s = rate_hz, bound_s
        self.problems: list[str] = []
        self.root = Path(tempfile.mkdtemp(prefix="tp-field-", dir="/dev/shm"))
        self.root.chmod(0o755)
        regions = self.root / "regions"
        regions.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={REGIONS_BYTES},mode=755", "tmpfs", regions]
        self.is_mounted = not subprocess.run(mount, capture_output=True, check=False).returncode
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
        self.config = self.root / "driver.toml"
        text = _CONFIG.format(root=self.root, port=self.port)
        self.config.write_text(text + "".join(map(_STREAM.format, CAMERAS)))
        self.errors = (self.root / "errors.log").open("wb")
        self.media_driver = MediaDriverProcess(str(self.root / "aeron"))
        self.driver = self._driver()
        self.cameras = {stream: self._camera(stream) for stream in CAMERAS}
        self.consumers = {
            (stream, n): self._member("consumer", stream)
            for stream in CAMERAS
            for n in range(CONSUMERS_EACH)
        }
        self.recording = self.root / "recording.mcap"
        self.recorder = Child(
            "recorder",
            [
                *("-m", "tensor_pool.cli", "record", str(CAMERAS[0]), str(self.recording)),
                *("--config", str(self.config)),
            ],
            self.errors,
        )

    def run(self, troubles: tuple[str, ...]) -> list[str]:
        """Start, do one trouble after the other, and look at the accounts."""
        try:
            self._until(self._all_are_attached, "every consumer attached")
            (self.root / "go").touch()
            self._until_well("the start")
            for name in troubles:
                getattr(self, name)()
                self._until_well(name)
            self._check_accounts()
            self._check_recording()
        finally:
            self._close()
        return self.problems

    # What the world does

    def stopped_consumer(self) -> None:
        """A1: longer than its lease."""
        child = self.consumers[CAMERAS[0], 0]
        child.stop()
        time.sleep(3.0)
        child.go_on()

    def consumers_that_do_not_read(self) -> None:
        """A1: of every stream, then killed."""
        guests = [self._member("consumer", stream) for stream in CAMERAS]
        self._until(lambda: all(guest.is_ready for guest in guests), "guests attached")
        for guest in guests:
            guest.stop()
        time.sleep(1.0)
        for guest in guests:
            guest.kill()

    def crowd(self) -> None:
        """A2: forty further streams and consumers in one more program."""
        text = (
            "import sys,json; from tensor_pool.client import connect\n"
            "with connect(**json.loads(sys.argv[1])) as pool:\n"
            "    begin = pool.begin_attach_consumer\n"
            "    all = [begin(int(sys.argv[2]), publish_mode=2) for _ in range(40)]\n"
            "    while not all[0].poll_ready(): pool.run_once()\n"
            "    print('{}', flush=True); sys.stdin.read()\n"
        )
        crowd = Child("crowd", ["-c", text, json.dumps(self.endpoints), "10001"], self.errors)
        self._until(lambda: crowd.is_ready, "the crowd attached")
        crowd.kill()

    def full_file_system(self) -> None:
        """A4: while a camera is started again."""
        ballast = self.root / "regions" / "ballast"
        if self.is_mounted:
            space = os.statvfs(self.root / "regions")
            with ballast.open("wb") as file, contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize - (64 << 10))
        self.killed_camera()
        time.sleep(1.5)
        ballast.unlink(missing_ok=True)

    def another_user(self) -> None:
        """A5: tries to get at regions and messages, and to put files in their places."""
        if os.geteuid():
            return
        if got_in := as_user(_NOBODY, _got_in, self.root):
            self.problems.append(f"another user got in, {got_in}")

    def idle_connections(self) -> None:
        """A5: to the page."""
        with contextlib.ExitStack() as opened:
            for _ in range(300):
                with contextlib.suppress(OSError):
                    opened.enter_context(socket.create_connection(("127.0.0.1", self.port), 1.0))
            time.sleep(1.0)

    def garbage(self) -> None:
        """A5: on every shared stream."""
        transport = AeronTransport.connect(str(self.root / "aeron"))
        for stream_id in (1000, 1100, 1200, 1300):
            publication = transport.add_publication("aeron:ipc?term-length=64k", stream_id)
            for message in garbage_corpus(seed=1, count=200):
                publication.offer(bytes(message))
        transport.close()

    def paused_driver(self) -> None:
        """B6: longer than every lease."""
        self.driver.stop()
        time.sleep(self._pause_s)
        self.driver.go_on()

    def killed_driver(self) -> None:
        """B6, B8."""
        self.driver.kill()
        self.driver = self._driver()

    def interrupted_terminal(self) -> None:
        """B6: Ctrl-Z and fg, for everything at once."""
        everything = [self.driver, *self.cameras.values(), *self.consumers.values()]
        for child in everything:
            child.stop()
        time.sleep(1.5)
        for child in everything:
            child.go_on()

    def killed_camera(self) -> None:
        """Its successor begins with a new epoch."""
        stream = CAMERAS[1]
        self.cameras[stream].kill()
        self.cameras[stream] = self._camera(stream)

    _pause_s = 2.0

    # Processes

    @property
    def endpoints(self) -> dict[str, object]:
        return {
            "aeron_dir": str(self.root / "aeron"),
            "allowed_base_dirs": [str(self.root / "regions")],
            "announce_period": 0.3,
            "driver_liveness_timeout": 1.5,
            "reattach_after_shutdown": 0.2,
            "backoff_max": 0.4,
        }

    def _driver(self) -> Child:
        command = ["-m", "tensor_pool.cli", "driver", "--config", str(self.config)]
        return Child("driver", [*command, "--log-level", "error"], self.errors)

    def _camera(self, stream: int) -> Child:
        account = self._account(stream)
        if not account.exists():
            account.write_bytes(bytes(16))
        return self._member("camera", stream, account=str(account), rate_hz=self.rate_hz)

    def _account(self, stream: int) -> Path:
        return self.root / f"account-{stream}"

    def _member(self, role: str, stream: int, **more: object) -> Child:
        settings = {
            "role": "producer" if role == "camera" else role,
            "stream_id": stream,
            "endpoints": self.endpoints,
            "go": str(self.root / "go"),
            **more,
        }
        return Child(f"{role} of {stream}", [_MEMBER, json.dumps(settings)], self.errors)

    def _all(self) -> Iterator[Child]:
        yield from self.cameras.values()
        yield from self.consumers.values()
        yield from (self.recorder, self.driver)

    # What is looked at

    def _all_are_attached(self) -> bool:
        readers = dict.fromkeys(CAMERAS, CONSUMERS_EACH)
        readers[CAMERAS[0]] += 1  # the recorder
        return all(c.last.get("is_ready") for c in self.consumers.values()) and all(
            camera.last.get("consumers", 0) >= readers[stream]
            for stream, camera in self.cameras.items()
        )

    def _until(self, is_true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.bound_s
        while not is_true():
            for child in self._all():
                if not child.runs:
                    raise AssertionError(f"{child.name} ended with {child.process.returncode}")
            if time.monotonic() > deadline:
                seen = {child.name: child.last for child in self._all()}
                raise AssertionError(f"not within {self.bound_s:g} s: {what}; {seen}")
            time.sleep(0.05)

    def _until_well(self, trouble: str) -> None:
        """Wait until every camera publishes and every consumer receives."""
        members = [*self.cameras.values(), *self.consumers.values()]
        before = {member: member.last.get("done", 0) for member in members}
        self._until(
            lambda: all(m.last.get("done", 0) > before[m] for m in members),
            f"frames for all after {trouble}",
        )

    def _check_accounts(self) -> None:
        for stream, camera in self.cameras.items():
            if camera.last.get("refused_s", 0.0) >= LONGEST_REFUSAL_S:
                self.problems.append(f"{camera.name} refused for {camera.last['refused_s']:.3f} s")
            if camera.end() != 0:
                self.problems.append(f"{camera.name} did not end in order")
            begun, committed = struct.unpack("<QQ", self._account(stream).read_bytes())
            assert begun == committed
        time.sleep(1.0)
        for (stream, _), consumer in self.consumers.items():
            if consumer.end() != 0:
                self.problems.append(f"{consumer.name} did not end in order")
            _, committed = struct.unpack("<QQ", self._account(stream).read_bytes())
            last = consumer.last
            # A camera that was killed may have committed a frame that it could not note.
            slack = 1 + self.kills if stream == CAMERAS[1] else 0
            if not committed <= last.get("accounted", 0) <= committed + slack:
                self.problems.append(f"{consumer.name}: {committed} published, {last}")
            if last.get("corrupt"):
                self.problems.append(
                    f"{consumer.name}: {last['corrupt']} corrupt {last['examples']}"
                )

    kills = 2

    def _check_recording(self) -> None:
        if self.recorder.end() not in (0, 4):
            self.problems.append("the recorder did not end in order")
        text = (self.root / "errors.log").read_text(errors="replace")
        if "Traceback" in text:
            self.problems.append(text[text.index("Traceback") :][:3000])
        if not self.recording.exists() or not self.recording.stat().st_size:
            self.problems.append("nothing was recorded")

    def _close(self) -> None:
        for child in self._all():
            child.kill()
        self.media_driver.close()
        self.errors.close()
        if self.is_mounted:
            unmount = ["umount", "--lazy", str(self.root / "regions")]
            subprocess.run(unmount, check=False)
        shutil.rmtree(self.root, ignore_errors=True)


SHORT = ("stopped_consumer", "another_user", "killed_camera", "paused_driver")
LONG = (
    "stopped_consumer",
    "consumers_that_do_not_read",
    "crowd",
    "full_file_system",
    "another_user",
    "idle_connections",
    "garbage",
    "paused_driver",
    "interrupted_terminal",
    "killed_driver",
    "killed_camera",
)


def _got_in(root: Path) -> int:
    """Return the number of the first thing that this process could do, 0 for none."""
    regions = [p for p in root.rglob("*") if p.suffix in (".ring", ".pool")]
    tries: list[Callable[[], object]] = [
        lambda: regions[0].open("r+b"),
        lambda: (root / "regions" / "mine").mkdir(),
        lambda: (root / "aeron" / "cnc.dat").open("r+b"),
        lambda: socket.socket(socket.AF_UNIX).connect(str(root / "pages.sock")),
    ]
    for number, attempt in enumerate(tries, 1):
        with contextlib.suppress(OSError, IndexError):
            attempt()
            return number
    return 0
