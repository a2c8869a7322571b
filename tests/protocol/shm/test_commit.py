from __future__ import annotations

import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tensor_pool.protocol.errors import UnsupportedPlatformError
from tensor_pool.protocol.shm import commit_word as commit
from tensor_pool.protocol.shm.commit_word import (
    MAX_SEQ,
    commit_word_index,
    committed_word,
    full_fence,
    in_progress_word,
    is_committed,
    require_supported_platform,
    seq_of,
)
from tensor_pool.protocol.shm.create import CreateOptions, create_region
from tensor_pool.protocol.shm.region import map_region
from tests.protocol.shm.streams import Stream


def test_W_080_encoding_of_the_commit_word() -> None:
    assert in_progress_word(5) == 10
    assert committed_word(5) == 11
    for seq in (0, 5, MAX_SEQ):
        assert seq_of(in_progress_word(seq)) == seq_of(committed_word(seq)) == seq
        assert is_committed(committed_word(seq))
        assert not is_committed(in_progress_word(seq))
    assert committed_word(MAX_SEQ) == 2**64 - 1


def test_W_080_a_slot_never_written_reads_as_not_committed(stream: Stream) -> None:
    mapped = stream.map()
    words = mapped.header.words
    assert not any(is_committed(words[commit_word_index(slot)]) for slot in range(8))
    mapped.retire()


def test_W_088_the_last_sequence_of_an_epoch_still_fits() -> None:
    assert MAX_SEQ == 2**63 - 1
    assert committed_word(MAX_SEQ).bit_length() == 64


def test_W_050_slot_i_starts_at_64_plus_256_i(stream: Stream) -> None:
    """W-010, W-050, W-085: word and byte address of a slot's commit word; never across a line."""
    mapped = stream.map(writable=True)
    header = mapped.header
    for slot in range(8):
        index = commit_word_index(slot)
        assert index * 8 == 64 + 256 * slot
        assert (header.mapping.address + index * 8) % 64 == 0
        header.words[index] = committed_word(slot + 1)
        assert header.buffer[index * 8 : index * 8 + 8] == (2 * slot + 3).to_bytes(8, "little")
    mapped.retire()


def test_W_005_a_big_endian_host_is_refused(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "byteorder", "big")
    with pytest.raises(UnsupportedPlatformError, match="big-endian"):
        require_supported_platform()
    with pytest.raises(UnsupportedPlatformError):
        stream.map_header()


def test_free_threaded_python_is_refused(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with pytest.raises(UnsupportedPlatformError, match="PYTHON_GIL=1"):
        require_supported_platform()
    with pytest.raises(UnsupportedPlatformError):
        stream.map_header()


@pytest.mark.parametrize("machine", ["aarch64", "ppc64le", "riscv64", "i686", ""])
def test_W_086_a_processor_without_that_order_is_refused(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(UnsupportedPlatformError, match="order of loads and stores"):
        require_supported_platform()
    with pytest.raises(UnsupportedPlatformError):
        stream.map()


def test_W_086_the_creator_refuses_too(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(UnsupportedPlatformError):
        create_region(
            None,  # type: ignore[arg-type]  # never looked at
            "x",
            stream.geometry.header_ring(),
            options=CreateOptions(),
            now_ns=1,
            pid=1,
        )


@pytest.mark.parametrize("machine", ["x86_64", "AMD64"])
def test_W_086_a_processor_with_that_order_is_accepted(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    mapped = stream.map()
    assert not mapped.retired
    mapped.retire()


def test_a_fence_can_be_taken_any_number_of_times() -> None:
    for _ in range(3):
        full_fence()
    assert not commit._fence_lock.locked()


@pytest.mark.process
def test_W_085_two_processes_flipping_a_word_never_show_another_value(stream: Stream) -> None:
    """A writer flips a word between all zeros and all ones; 10^7 loads see nothing else."""
    writer = textwrap.dedent(
        f"""
        import sys
        from tensor_pool.protocol.shm.commit_word import commit_word_index
        from tensor_pool.protocol.shm.safe_open import AllowedBaseDirs
        from tensor_pool.protocol.shm.region import map_region
        from tensor_pool.protocol.shm.geometry import RegionGeometry

        region = map_region(
            {stream.geometry.header_uri!r},
            RegionGeometry(stream_id=10000, epoch=7, nslots=8),
            allowed_base_dirs=AllowedBaseDirs.of([{str(stream.base)!r}]),
            writable=True,
        )
        words, index = region.words, commit_word_index(3)
        ones = 2**64 - 1
        print("running", flush=True)
        while True:
            for _ in range(10000):
                words[index] = ones
                words[index] = 0
        """
    )
    region = map_region(
        stream.geometry.header_uri,
        stream.geometry.header_ring(),
        allowed_base_dirs=stream.allowed,
        writable=False,
    )
    process = subprocess.Popen(
        [sys.executable, "-c", writer],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        words, index = region.words, commit_word_index(3)
        seen: dict[int, int] = {}
        for _ in range(100):
            batch = [words[index] for _ in range(100_000)]
            for value in set(batch):
                seen[value] = seen.get(value, 0) + batch.count(value)
    finally:
        process.kill()
        process.communicate()
        region.close()
    assert sum(seen.values()) == 10**7
    assert set(seen) == {0, 2**64 - 1}
