"""The deployment of the field test: three cameras, six consumers and a recorder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mcap.reader import make_reader

from tensor_pool.cli.commands._mcap_reader import Recording
from tests.chaos.processes import Child
from tests.chaos.proving_frames import prove
from tests.wall_clock import WallClock

__all__ = ["CAMERAS", "Deployment", "with_a_shared_memory_of_its_own"]

CAMERAS = (10_000, 10_001, 10_002)
CONSUMERS_EACH = 2
_LEDGER_BYTES = 32 << 10
SHARED_MEMORY_BYTES = 768 << 20
_SHARED_MEMORY = Path("/dev/shm")
_MEMBER = str(Path(__file__).with_name("member.py"))
_RECORDER_STATUS = (0, 4)  # 4: frames are missing in the file, and it has their number
_PROCESS_1 = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
_CONFIG = """
[driver]
aeron_dir = "{shm}/aeron"
media_driver = "external"
http_socket = "{root}/pages.sock"
http_address = "127.0.0.1:{port}"
[shm]
base_dir = "{shm}/regions"
[policies]
announce_period_ms = 300
lease_keepalive_interval_ms = 300
lease_expiry_grace_intervals = 3
[profiles.small]
header_nslots = 512
payload_pools = [{{ pool_id = 1, stride_bytes = 4096 }}]
"""
_STREAM = '[streams.s{0}]\nstream_id = {0}\nprofile = "small"\n'


def with_a_shared_memory_of_its_own() -> bool:
    """Give this process and its children a /dev/shm of their own; False without the right to."""
    if os.geteuid():
        return False
    os.unshare(os.CLONE_NEWNS)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    options = f"size={SHARED_MEMORY_BYTES},mode=1777"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(_SHARED_MEMORY)]
    subprocess.run(mount, check=True)
    return True


class Deployment:
    """The processes, their accounts, and what is asked of them."""

    def __init__(
        self, *, rate_hz: float, bound_s: float, longest_refusal_s: float, is_private: bool
    ) -> None:
        """`is_private`: the shared memory is that of this process and its children alone."""
        self.longest_refusal_s = longest_refusal_s
        self.rate_hz, self.bound_s, self.is_private = rate_hz, bound_s, is_private
        self.problems: list[str] = []
        self.killed_cameras = dict.fromkeys(CAMERAS, 0)
        self.lost_transports = 0  # a camera may notice it up to a second after its consumers
        self.root = Path(tempfile.mkdtemp(prefix="tp-field-"))
        self.shm = Path(tempfile.mkdtemp(prefix="tp-field-", dir=_SHARED_MEMORY))
        for directory in (self.root, self.shm):
            directory.chmod(0o755)
        self.regions = self.shm / "regions"
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
        self.config = self.root / "driver.toml"
        text = _CONFIG.format(root=self.root, shm=self.shm, port=self.port)
        self.config.write_text(text + "".join(map(_STREAM.format, CAMERAS)))
        self.errors = (self.root / "errors.log").open("wb")
        self.wall_clock = WallClock(self.root)
        self.begin_transport()
        self.begin_driver()
        self.cameras = {stream: self.camera(stream) for stream in CAMERAS}
        self.consumers = {
            (stream, number): self.member("consumer", stream)
            for stream in CAMERAS
            for number in range(CONSUMERS_EACH)
        }
        self.recording = self.root / "recording.mcap"
        record = ["-m", "tensor_pool.cli", "record", str(CAMERAS[0]), str(self.recording)]
        self.recorder = self._child("recorder", [*record, "--config", str(self.config)])

    def begin(self) -> None:
        """Let the cameras publish once every consumer is attached."""
        self.until(self._all_are_attached, "every consumer attached")
        (self.root / "go").touch()
        self.until_well("the start")

    # Processes

    @property
    def endpoints(self) -> dict[str, object]:
        """Keyword arguments of `connect`."""
        return {
            "aeron_dir": str(self.shm / "aeron"),
            "allowed_base_dirs": [str(self.regions)],
            "announce_period": 0.3,
            "driver_liveness_timeout": 1.5,
            "reattach_after_shutdown": 0.2,
            "backoff_max": 0.4,
        }

    def begin_transport(self, *, is_process_1: bool = False) -> None:
        """Start a media driver, as process 1 of a namespace of its own if asked to."""
        command = ["-m", "tensor_pool.protocol.transport.media_driver", str(self.shm / "aeron")]
        self.media_driver = self._child("media driver", command, is_process_1=is_process_1)
        deadline = time.monotonic() + self.bound_s
        while not self.media_driver.is_ready:
            if not self.media_driver.runs or time.monotonic() > deadline:
                raise AssertionError("the media driver does not start")
            time.sleep(0.02)

    def begin_driver(self, *, is_process_1: bool = False) -> None:
        """Start a driver, as process 1 of a namespace of its own if asked to."""
        command = ["-m", "tensor_pool.cli", "driver", "--config", str(self.config)]
        self.driver = self._child(
            "driver", [*command, "--log-level", "error"], is_process_1=is_process_1
        )

    def camera(self, stream: int) -> Child:
        """Start a camera; its ledger goes on from that of its predecessor."""
        ledger = self._ledger(stream)
        if not ledger.exists():
            ledger.write_bytes(bytes(_LEDGER_BYTES))
        return self.member("camera", stream, ledger=str(ledger), rate_hz=self.rate_hz)

    def member(self, role: str, stream: int, **more: object) -> Child:
        """Start a process of `member.py`."""
        settings = {
            "role": "producer" if role == "camera" else role,
            "stream_id": stream,
            "endpoints": self.endpoints,
            "go": str(self.root / "go"),
            **more,
        }
        return self._child(f"{role} of {stream}", [_MEMBER, json.dumps(settings)])

    def guest(self, name: str, program: str) -> Child:
        """Start a further client; `program` finds `connect` and `endpoints`."""
        begin = (
            "import json, signal, sys\nfrom tensor_pool.client import connect\n"
            "endpoints = json.loads(sys.argv[1])\n"
        )
        return self._child(name, ["-c", begin + program, json.dumps(self.endpoints)])

    def kill_camera(self, stream: int) -> None:
        """Kill a camera; its successor begins with a new epoch."""
        self.cameras[stream].kill()
        self.killed_cameras[stream] += 1
        self.cameras[stream] = self.camera(stream)

    def everything(self) -> Iterator[Child]:
        """Every process but the media driver."""
        yield from self.cameras.values()
        yield from self.consumers.values()
        yield from (self.recorder, self.driver)

    def _child(self, name: str, command: list[str], *, is_process_1: bool = False) -> Child:
        below = _PROCESS_1 if is_process_1 else ()
        return Child(name, command, self.errors, below=below, environ=self.wall_clock.environ)

    def _ledger(self, stream: int) -> Path:
        return self.root / f"ledger-{stream}"

    # Conditions

    def until(self, is_true: Callable[[], bool], what: str) -> None:
        """Wait for a condition while every process lives."""
        deadline = time.monotonic() + self.bound_s
        while not is_true():
            for child in (*self.everything(), self.media_driver):
                if not child.runs:
                    raise AssertionError(f"{child.name} ended with {child.process.returncode}")
            if time.monotonic() > deadline:
                seen = {child.name: child.last for child in self.everything()}
                raise AssertionError(f"not within {self.bound_s:g} s: {what}; {seen}")
            time.sleep(0.05)

    def until_well(self, trouble: str, frames: int = 1) -> None:
        """Wait until every camera publishes and every consumer receives so many more frames."""
        members = [*self.cameras.values(), *self.consumers.values()]
        before = {member: member.last.get("done", 0) for member in members}
        self.until(
            lambda: all(m.last.get("done", 0) >= before[m] + frames for m in members),
            f"frames for all after {trouble}",
        )

    def _all_are_attached(self) -> bool:
        readers = dict.fromkeys(CAMERAS, CONSUMERS_EACH)
        readers[CAMERAS[0]] += 1  # the recorder
        return all(c.last.get("is_ready") for c in self.consumers.values()) and all(
            camera.last.get("consumers", 0) >= readers[stream]
            for stream, camera in self.cameras.items()
        )

    # Accounts

    def check_accounts(self) -> None:
        """End cameras, then consumers and the recorder, and compare what they have counted."""
        for camera in self.cameras.values():
            if camera.end() != 0:
                self.problems.append(f"{camera.name} did not end in order")
            if camera.last.get("refused_s", 0.0) >= self.longest_refusal_s:
                self.problems.append(
                    f"{camera.name} refused for {camera.last['refused_s']:.3f} s, {camera.last}"
                )
        time.sleep(1.0)
        for (stream, _), consumer in self.consumers.items():
            if consumer.end() != 0:
                self.problems.append(f"{consumer.name} did not end in order")
            if consumer.last.get("corrupt"):
                self.problems.append(f"{consumer.name}: corrupt {consumer.last['examples']}")
            published = self._published(stream, map(tuple, consumer.last.get("epochs", ())))
            if consumer.last.get("accounted", 0) not in published:
                self.problems.append(f"{consumer.name}: {published} published, {consumer.last}")
        self._check_recording()
        text = self.error_text()
        if "Traceback" in text:
            self.problems.append(text[text.index("Traceback") :][:3000])

    def error_text(self) -> str:
        """Return what all processes have written to standard error."""
        return (self.root / "errors.log").read_text(errors="replace")

    def _published(self, stream: int, received: Iterable[tuple[int, int]]) -> range:
        """Possible numbers of frames that a reader has received or counted (C-108).

        `received` has one frame of each epoch that it received any of, by camera and number: all
        frames of those epochs are among them. Those of the others may be: they can have come and
        gone while the reader had no lease. A killed camera may not have noted its last frame.
        """
        words = memoryview(self._ledger(stream).read_bytes()).cast("Q")
        epochs = [tuple(words[1 + 3 * n : 4 + 3 * n]) for n in range(words[0])]
        heard = set()
        for camera, number in received:
            heard.add(max(e for e in epochs if e[0] == camera and e[1] <= number))
        unheard = round(self.lost_transports * self.rate_hz)
        at_least = sum(committed for _, _, committed in heard) - unheard
        at_most = sum(committed for _, _, committed in epochs) + self.killed_cameras[stream]
        return range(at_least, at_most + 1)

    def _check_recording(self) -> None:
        """Every frame of the file is whole, and the missing ones are counted in it."""
        stream = CAMERAS[0]
        if self.recorder.end() not in _RECORDER_STATUS:
            self.problems.append(f"the recorder ended with {self.recorder.process.returncode}")
        with self.recording.open("rb") as file:
            records = {one.name: one.metadata for one in make_reader(file).iter_metadata()}
        lost = int(records["tensorpool.recording.end"]["lost"])
        with Recording(self.recording) as recording:
            frames = [(frame.epoch, prove(frame.array())) for _, frame in recording.frames()]
        sound = [(e, proof) for e, proof in frames if proof and proof.stream_id == stream]
        if len(sound) < len(frames):
            self.problems.append(f"{len(frames) - len(sound)} recorded frames are corrupt")
        epochs = {epoch: (proof.producer, proof.number) for epoch, proof in sound}
        published = self._published(stream, epochs.values())
        if len(frames) + lost not in published:
            counts = f"{len(frames)} recorded, {lost} lost"
            self.problems.append(f"recorder: {published} published, {counts}")

    def close(self) -> None:
        """End every process and remove every file."""
        for child in (*self.everything(), self.media_driver):
            child.go_on()
            child.kill()
        self.errors.close()
        for directory in (self.shm, self.root):
            shutil.rmtree(directory, ignore_errors=True)

    @contextlib.contextmanager
    def full_shared_memory(self) -> Iterator[None]:
        """Leave no byte of the private shared memory free inside the block."""
        ballast = _SHARED_MEMORY / "ballast"
        if not self.is_private:
            yield
            return
        with ballast.open("wb", buffering=0) as file:
            while (free := os.statvfs(_SHARED_MEMORY)).f_bavail:  # what others close comes free
                with contextlib.suppress(OSError):
                    length = file.seek(0, os.SEEK_END)
                    os.posix_fallocate(file.fileno(), length, free.f_bavail * free.f_frsize)
                with contextlib.suppress(OSError):
                    file.seek(0, os.SEEK_END)
                    while file.write(bytes(4096)):
                        pass
        try:
            yield
        finally:
            ballast.unlink()
