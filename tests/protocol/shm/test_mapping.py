"""A mapping survives held views, forks, and files that are shortened under it."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tensor_pool.protocol.shm.faults_and_forks import MappingGroup
from tensor_pool.protocol.shm.mapping import Mapping
from tests.protocol.shm.streams import mapped_paths, open_descriptors

LENGTH = 1 << 20


@pytest.fixture
def file(base: Path) -> Path:
    path = base / "region"
    path.write_bytes(bytes(range(256)) * (LENGTH // 256))
    return path


@pytest.fixture
def mapping(file: Path) -> Iterator[Mapping]:
    opened = map_file(file)
    yield opened
    opened.close()


def map_file(file: Path, *, writable: bool = False, group: MappingGroup | None = None) -> Mapping:
    fd = os.open(file, os.O_RDWR if writable else os.O_RDONLY)
    try:
        return Mapping(fd, LENGTH, writable=writable, group=group)
    finally:
        os.close(fd)


def truncate_in_another_process(path: Path, length: int) -> None:
    subprocess.run(
        [sys.executable, "-c", f"import os; os.truncate({str(path)!r}, {length})"], check=True
    )


def test_W_033_a_consumers_memory_is_read_only(mapping: Mapping) -> None:
    assert mapping.buffer.readonly
    assert mapping.words.readonly
    array = np.frombuffer(mapping.buffer, np.uint8)
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True


def test_the_address_is_page_aligned_and_real(mapping: Mapping) -> None:
    assert mapping.address % 4096 == 0
    lines = Path("/proc/self/maps").read_text()
    assert f"{mapping.address:x}-" in lines


def test_W_143_closing_with_views_neither_fails_nor_pulls_memory_away(file: Path) -> None:
    """W-142, W-143, C-095: unmapped with the last view, and the descriptor with it."""
    before = open_descriptors()
    mapping = map_file(file)
    view = mapping.buffer[16:32]
    array = np.frombuffer(mapping.buffer[64:128], np.uint8)
    assert mapping.close() is False
    assert mapping.closed
    assert bytes(view) == bytes(range(16, 32))
    assert array[0] == 64
    view.release()
    assert len(mapped_paths(str(file))) == 1
    del array
    assert mapped_paths(str(file)) == []
    assert open_descriptors() == before


def test_W_143_a_view_of_a_view_keeps_the_memory(file: Path) -> None:
    mapping = map_file(file)
    whole = np.frombuffer(mapping.buffer, np.uint8)
    part = whole[100:].reshape(-1, 4)[3:, ::2]
    del whole
    assert mapping.close() is False
    assert int(part[0, 0]) == 112
    del part
    assert mapped_paths(str(file)) == []


def test_W_143_an_array_that_exports_no_buffer_keeps_the_memory_too(file: Path) -> None:
    """`np.ndarray(buffer=view)` refers to the mmap object itself and holds no export of it.

    With `mmap.close()` the memory would go from under such an array.
    """
    mapping = map_file(file)
    array: np.ndarray = np.ndarray(16, np.uint8, buffer=mapping.buffer[16:32])  # type: ignore[type-arg]
    assert mapping.close() is False
    gc.collect()
    assert array.tolist() == list(range(16, 32))
    del array
    assert mapped_paths(str(file)) == []


def test_W_143_a_closed_mapping_does_not_itself_keep_the_memory(file: Path) -> None:
    """Also when something exports `buffer` itself, which then cannot be released."""
    mapping = map_file(file)
    export = pickle.PickleBuffer(mapping.buffer)
    assert mapping.close() is False
    assert export.raw()[1] == 1
    del export
    assert mapped_paths(str(file)) == []
    assert mapping.closed


def test_a_closed_mapping_refuses_access_and_closes_once(mapping: Mapping) -> None:
    assert mapping.close() is True
    assert mapping.close() is True
    assert mapping.file_length() == 0
    for view in (mapping.buffer, mapping.words):
        with pytest.raises(ValueError, match="released memoryview"):
            view[0]


def test_C_095_after_100_mappings_one_is_left_when_views_are_let_go(file: Path) -> None:
    before = open_descriptors()
    held = []
    current = map_file(file)
    for number in range(100):
        held.append(np.frombuffer(current.buffer, np.uint8)[number:])
        current.close()
        current = map_file(file)
    assert len(mapped_paths(str(file))) == 101
    assert [int(view[0]) for view in held] == list(range(100))
    held.clear()
    assert len(mapped_paths(str(file))) == 1
    current.close()
    assert open_descriptors() == before


def test_no_leak_after_1000_mappings_without_views(file: Path) -> None:
    before = open_descriptors()
    for _ in range(1000):
        map_file(file).close()
    assert mapped_paths(str(file)) == []
    assert open_descriptors() == before


def test_a_mapping_that_is_forgotten_is_unmapped(file: Path) -> None:
    mapping = map_file(file)
    assert mapping.buffer[1] == 1
    del mapping
    gc.collect()
    assert mapped_paths(str(file)) == []


def test_W_212_removal_of_a_mapped_file_is_survived(mapping: Mapping, file: Path) -> None:
    file.unlink()
    assert bytes(mapping.buffer[:256]) == bytes(range(256))
    assert mapping.lost is False


@pytest.mark.process
@pytest.mark.parametrize("length", [0, 4096])
@pytest.mark.parametrize("access", ["bytes", "numpy", "word", "write"])
def test_W_223_a_file_shortened_by_another_process_is_an_error_not_sigbus(
    file: Path, length: int, access: str
) -> None:
    mapping = map_file(file, writable=True)
    array = np.frombuffer(mapping.buffer[:], np.uint8)
    truncate_in_another_process(file, length)
    assert mapping.file_length() == length
    assert mapping.lost is False
    if access == "bytes":
        read = bytes(mapping.buffer)
        assert not any(read[4096:])
    elif access == "numpy":
        assert not np.copy(array)[4096:].any()
    elif access == "word":
        assert mapping.words[LENGTH // 8 - 1] == 0
    else:
        mapping.buffer[LENGTH - 8 :] = b"vanished"
    assert mapping.lost is True
    if access == "write":
        assert file.stat().st_size == length, "nothing reaches the file any more"
    del array
    mapping.close()


@pytest.mark.process
def test_W_223_losing_one_region_voids_all_of_the_stream(base: Path, file: Path) -> None:
    """The header ring reads as zero when a pool was shortened, so the commit word check fails."""
    ring_file = base / "ring"
    ring_file.write_bytes(b"\x03" * LENGTH)
    other_file = base / "other"
    other_file.write_bytes(b"\x03" * LENGTH)
    group = MappingGroup()
    ring = map_file(ring_file, group=group)
    pool = map_file(file, group=group)
    other = map_file(other_file)
    assert ring.words[9] != 0
    truncate_in_another_process(file, 0)
    assert not any(bytes(pool.buffer))
    assert ring.lost
    assert pool.lost
    assert ring.words[9] == 0
    assert other.lost is False
    assert other.buffer[9] == 3
    for mapping in (ring, pool, other):
        mapping.close()


@pytest.mark.process
def test_W_223_a_loss_while_threads_copy_is_survived(file: Path) -> None:
    """The copies run without the interpreter lock and fault on several threads at once."""
    script = f"""
        import os, threading
        import numpy as np
        from pathlib import Path
        from tests.protocol.shm.test_mapping import LENGTH, map_file

        file = Path({str(file)!r})
        mapping = map_file(file)
        source = np.frombuffer(mapping.buffer, np.uint8)
        started = threading.Barrier(5)

        def copy():
            target = np.empty_like(source)
            started.wait()
            while not mapping.lost:
                np.copyto(target, source)
            np.copyto(target, source)
            assert not target[4096:].any()

        threads = [threading.Thread(target=copy) for _ in range(4)]
        for thread in threads:
            thread.start()
        started.wait()
        os.truncate(file, 4096)
        for thread in threads:
            thread.join()
        print("survived", mapping.lost)
    """
    assert run(script).stdout == "survived True\n"


@pytest.mark.process
def test_a_bus_error_elsewhere_still_kills(base: Path) -> None:
    """Only our mappings are guarded; other faults keep their meaning and their handler."""
    script = f"""
        import mmap, os
        from pathlib import Path
        from tests.protocol.shm.test_mapping import LENGTH, map_file

        guarded = Path({str(base)!r}) / "guarded"
        guarded.write_bytes(bytes(LENGTH))
        mapping = map_file(guarded)
        foreign = os.open({str(base)!r} + "/foreign", os.O_RDWR | os.O_CREAT)
        os.ftruncate(foreign, 4096)
        memory = mmap.mmap(foreign, 4096)
        os.ftruncate(foreign, 0)
        print(memory[0])
    """
    assert run(script, check=False).returncode == -signal.SIGBUS


@pytest.mark.process
@pytest.mark.parametrize("when", ["before", "after"])
def test_faulthandler_and_the_guard_work_together(file: Path, when: str) -> None:
    enable = "import faulthandler; faulthandler.enable()"
    script = f"""
        import os
        from pathlib import Path
        from tests.protocol.shm.test_mapping import map_file

        {enable if when == "before" else ""}
        mapping = map_file(Path({str(file)!r}))
        {enable if when == "after" else ""}
        os.truncate({str(file)!r}, 0)
        print(any(bytes(mapping.buffer)), mapping.lost)
    """
    assert run(script).stdout == "False True\n"


@pytest.mark.process
def test_a_sigbus_sent_by_a_process_keeps_its_default(file: Path) -> None:
    script = f"""
        import os, signal
        from pathlib import Path
        from tests.protocol.shm.test_mapping import map_file

        mapping = map_file(Path({str(file)!r}))
        os.kill(os.getpid(), signal.SIGBUS)
        print("still here")
    """
    assert run(script, check=False).returncode == -signal.SIGBUS


@pytest.mark.process
def test_C_045_a_forked_child_neither_shares_nor_crashes(file: Path) -> None:
    """C-045, C-114: the child reads zeros; its writes and its cleanup do not reach the parent."""
    script = f"""
        import gc, os
        from pathlib import Path
        from tests.protocol.shm.test_mapping import LENGTH, map_file

        file = Path({str(file)!r})
        mapping = map_file(file, writable=True)
        view = mapping.buffer[:]
        child = os.fork()
        if child == 0:
            assert mapping.lost
            assert not any(bytes(view)), "zero pages"
            view[:5] = b"child"
            mapping.close()
            view.release()
            del view
            gc.collect()
            blocks = [bytes(1 << 20) for _ in range(50)]
            os._exit(0 if not any(map(any, blocks)) else 1)
        _, status = os.waitpid(child, 0)
        print(status, mapping.lost, bytes(view[:5]) == bytes(range(5)))
    """
    assert run(script).stdout == "0 False True\n"


def test_mlock_failing_leaves_nothing_mapped(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(mapping: Mapping) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(Mapping, "lock", fail)
    before = open_descriptors()
    fd = os.open(file, os.O_RDONLY)
    with pytest.raises(OSError, match="Cannot allocate"):
        Mapping(fd, LENGTH, writable=False, lock_memory=True)
    os.close(fd)
    gc.collect()
    assert mapped_paths(str(file)) == []
    assert open_descriptors() == before


def test_locked_memory_is_reported_by_the_system(file: Path) -> None:
    fd = os.open(file, os.O_RDWR)
    mapping = Mapping(fd, LENGTH, writable=True, lock_memory=True)
    os.close(fd)
    smaps = Path("/proc/self/smaps").read_text().split(str(file))[1]
    locked = next(line for line in smaps.splitlines() if line.startswith("Locked:"))
    assert int(locked.split()[1]) * 1024 == LENGTH
    mapping.close()


def test_populate_keeps_contents(file: Path) -> None:
    before = file.read_bytes()
    mapping = map_file(file, writable=True)
    mapping.populate()
    mapping.close()
    assert file.read_bytes() == before


def test_populate_touches_pages_where_the_kernel_has_no_call_for_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tensor_pool.protocol.shm.mapping._MADV_POPULATE_WRITE", 9999)
    os.truncate(file, 0)
    os.truncate(file, LENGTH)
    assert file.stat().st_blocks == 0
    mapping = map_file(file, writable=True)
    mapping.populate()
    mapping.close()
    assert file.stat().st_blocks * 512 >= LENGTH


def run(script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if check:
        assert result.returncode == 0, result.stderr
    return result
