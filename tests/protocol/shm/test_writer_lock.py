"""A stand-alone producer does not start beside another one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tensor_pool.protocol.errors import ShmError
from tensor_pool.protocol.shm.writer_lock import AnotherWriterError, require_single_writer
from tests.protocol.shm.streams import STREAM_ID, create_stream

SECOND = 1_000_000_000
WINDOW_NS = 3 * SECOND
PARTS = ("tensorpool-test", "default", str(STREAM_ID))

# Its clock is set by the test: the first stamp is an argument, each further one a line of input.
PRODUCER = f"""
import os, sys
from pathlib import Path
from tensor_pool.protocol.shm.writer_lock import AnotherWriterError, require_single_writer
from tests.protocol.shm.streams import create_stream
base, epoch, now_ns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
try:
    require_single_writer(base, {PARTS!r}, now_ns=now_ns, window_ns={WINDOW_NS})
except AnotherWriterError as error:
    sys.exit(str(error))
stream = create_stream(Path(base), epoch=epoch, now_ns=now_ns, pid=os.getpid())
print("writing", flush=True)
for line in sys.stdin:
    for region in stream.created:
        region.refresh_activity(int(line))
    print("refreshed", flush=True)
"""


class Producer:
    """A process that writes the stream, or was refused."""

    def __init__(self, base: Path, *, epoch: int, now_s: float) -> None:
        arguments = (str(base), str(epoch), str(int(now_s * SECOND)))
        self.process = subprocess.Popen(
            [sys.executable, "-c", PRODUCER, *arguments],
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.is_writing = self._said() == "writing"

    def _said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def refresh(self, now_s: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{int(now_s * SECOND)}\n")
        self.process.stdin.flush()
        assert self._said() == "refreshed"

    def refusal(self) -> str:
        """The last text of a refused producer."""
        _, text = self.process.communicate(timeout=30)
        assert self.process.returncode == 1
        return text.strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.process
def test_W_213_a_second_producer_starts_only_when_the_first_is_stale_or_dead(
    base: Path, processes: ExitStack
) -> None:
    def start(epoch: int, now_s: float) -> Producer:
        producer = Producer(base, epoch=epoch, now_s=now_s)
        processes.callback(producer.kill)
        return producer

    first = start(epoch=7, now_s=1)
    assert first.is_writing
    refused = start(epoch=8, now_s=3)
    assert not refused.is_writing
    text = refused.refusal()
    epoch_dir = base.joinpath(*PARTS, "7")
    assert f"process {first.process.pid} " in text
    assert f"{epoch_dir} 2.0 s ago" in text
    assert "stop it first" in text
    assert [path.name for path in epoch_dir.parent.iterdir()] == ["7"]

    first.refresh(now_s=4)
    assert not start(epoch=8, now_s=7).is_writing
    second = start(epoch=8, now_s=7.1)
    assert second.is_writing
    assert first.process.poll() is None

    assert not start(epoch=9, now_s=8).is_writing
    second.kill()
    assert start(epoch=9, now_s=8).is_writing


def live_foreign_pid() -> int:
    return os.getppid()


def require(base: Path, *, now_ns: int) -> None:
    require_single_writer(str(base), PARTS, now_ns=now_ns, window_ns=WINDOW_NS)


def test_only_the_newest_epoch_counts_and_its_number_not_its_name_decides(base: Path) -> None:
    """W-213"""
    create_stream(base, epoch=9, now_ns=SECOND, pid=live_foreign_pid()).close()
    with pytest.raises(AnotherWriterError) as caught:
        require(base, now_ns=2 * SECOND)
    assert isinstance(caught.value, ShmError)
    assert caught.value.pid == live_foreign_pid()
    assert caught.value.path == "/".join((str(base), *PARTS, "9"))
    assert caught.value.age_ns == SECOND
    create_stream(base, epoch=10, now_ns=SECOND, pid=os.getpid()).close()
    base.joinpath(*PARTS, "011").mkdir()
    require(base, now_ns=2 * SECOND)


def test_a_missing_or_unreadable_region_is_not_an_objection(base: Path) -> None:
    """W-213"""
    require(base / "nowhere", now_ns=SECOND)
    require(base, now_ns=SECOND)
    stream = create_stream(base, now_ns=SECOND, pid=live_foreign_pid())
    stream.close()
    with pytest.raises(AnotherWriterError):
        require(base, now_ns=SECOND)
    header = stream.header_path
    whole = header.read_bytes()
    for damaged in (b"", whole[:63], bytes(8) + whole[8:]):
        header.write_bytes(damaged)
        require(base, now_ns=SECOND)
    header.unlink()
    require(base, now_ns=SECOND)
    elsewhere = base / "elsewhere"
    elsewhere.write_bytes(whole)
    header.symlink_to(elsewhere)
    require(base, now_ns=SECOND)


def test_a_stream_directory_behind_a_link_is_not_looked_into(base: Path) -> None:
    """W-213"""
    create_stream(base, now_ns=SECOND, pid=live_foreign_pid()).close()
    stream_dir = base.joinpath(*PARTS)
    stream_dir.rename(base / "moved")
    stream_dir.symlink_to(base / "moved")
    require(base, now_ns=SECOND)


@pytest.mark.parametrize("pid", [0, 2**64 - 1], ids=["none", "impossible"])
def test_a_pid_that_cannot_live_is_not_an_objection(base: Path, pid: int) -> None:
    """W-213"""
    create_stream(base, now_ns=SECOND, pid=pid).close()
    require(base, now_ns=SECOND)
