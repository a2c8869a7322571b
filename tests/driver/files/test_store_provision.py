"""Creating the regions of an epoch."""

from __future__ import annotations

import contextlib
import errno
import grp
import hashlib
import logging
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tensor_pool.driver.core.configuration import Pool, Profile
from tensor_pool.driver.core.ports import ProvisionError, ProvisionFailure, Regions
from tensor_pool.driver.files import store as store_module
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.shm import create, libc
from tensor_pool.protocol.shm.geometry import RegionGeometry
from tensor_pool.protocol.shm.mapping import Mapping
from tensor_pool.protocol.shm.region import map_region
from tensor_pool.protocol.shm.safe_open import AllowedBaseDirs
from tensor_pool.protocol.shm.superblock import decode_superblock
from tensor_pool.protocol.shm.uri import parse_region_uri
from tensor_pool.protocol.wire import RegionType
from tests.driver.config.configs import SMALL, SMALL_BYTES
from tests.driver.conftest import Stores


def paths_of(regions: Regions) -> list[Path]:
    uris = [regions.header_uri, *(pool.uri for pool in regions.pools)]
    return [Path(parse_region_uri(uri).path) for uri in uris]


def tree(directory: Path) -> list[str]:
    """Everything below a directory except the lock."""
    return sorted(
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.name != ".driver.lock"
    )


def namespace_dir(stores: Stores) -> Path:
    (user_dir,) = stores.base_dir.glob("tensorpool-*")
    return user_dir / "default"


def open_files_and_mappings(directory: Path) -> tuple[int, int]:
    """Count the descriptors and mappings of this process below `directory`."""
    descriptors = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            descriptors += os.readlink(f"/proc/self/fd/{fd}").startswith(str(directory))
    maps = Path("/proc/self/maps").read_text().count(str(directory))
    return descriptors, maps


def test_D_112_files_have_exactly_the_size_of_their_regions(stores: Stores) -> None:
    """D-112, W-010."""
    header, first, second = paths_of(stores.open().provision(10000, SMALL, 7))
    assert header.stat().st_size == 64 + 4 * 256
    assert first.stat().st_size == 64 + 4 * 4096
    assert second.stat().st_size == 64 + 4 * 16384


def test_D_116_superblocks_say_what_the_region_is(stores: Stores, clock: SimulatedClock) -> None:
    """D-116, W-051, W-054: checked by the steps that a client goes through."""
    regions = stores.open().provision(10000, SMALL, 7)
    allowed = AllowedBaseDirs.of([str(stores.base_dir)])
    expected = [
        (regions.header_uri, RegionGeometry(10000, 7, 4)),
        *(
            (
                pool.uri,
                RegionGeometry(
                    10000, 7, 4, pool.pool_id, pool.stride_bytes, RegionType.PAYLOAD_POOL
                ),
            )
            for pool in regions.pools
        ),
    ]
    for uri, geometry in expected:
        region = map_region(uri, geometry, allowed_base_dirs=allowed, writable=False)
        superblock = region.superblock()
        region.close()
        assert superblock.pid == os.getpid()
        assert superblock.start_timestamp_ns == clock.monotonic_ns()
        assert superblock.activity_timestamp_ns == clock.monotonic_ns()
        assert superblock.slot_bytes == geometry.slot_bytes


@pytest.mark.parametrize("prefault", [True, False])
def test_D_117_new_regions_read_as_zero_after_the_superblock(
    stores: Stores, prefault: bool
) -> None:
    store = stores.open(policies={"prefault_shm": prefault})
    for path in paths_of(store.provision(10000, SMALL, 7)):
        assert not any(path.read_bytes()[64:])


def test_prefaulted_regions_are_backed_by_memory_and_others_by_one_page(stores: Stores) -> None:
    """D-113, D-114: so that lack of space never shows as SIGBUS."""
    eager = stores.open(shm={"namespace": "eager"})
    lazy = stores.open(shm={"namespace": "lazy"}, policies={"prefault_shm": False})
    for path in paths_of(eager.provision(10000, SMALL, 7)):
        assert path.stat().st_blocks * 512 >= path.stat().st_size
    for path in paths_of(lazy.provision(10000, SMALL, 7)):
        assert 0 < path.stat().st_blocks * 512 <= mmap.PAGESIZE


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    before = os.umask(0)
    os.umask(before)
    yield lambda mask: os.umask(mask) and None
    os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o077])
@pytest.mark.parametrize(
    ("mode", "file_mode", "directory_mode"),
    [("660", 0o660, 0o770), ("600", 0o600, 0o700), ("664", 0o664, 0o775)],
)
def test_D_115_modes_are_as_configured_whatever_the_umask(
    stores: Stores,
    umask: Callable[[int], None],
    mask: int,
    mode: str,
    file_mode: int,
    directory_mode: int,
) -> None:
    """D-115, W-040."""
    umask(mask)
    base = stores.base_dir / "made" / "base"
    store = stores.open(shm={"base_dir": str(base), "permissions_mode": mode})
    header, *_ = paths_of(store.provision(10000, SMALL, 7))

    files = [*paths_of(store.provision(10001, SMALL, 7)), header.parents[2] / ".driver.lock"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {file_mode}
    directories = header.parents[:4]  # epoch, stream, namespace, user
    assert {stat.S_IMODE(path.stat().st_mode) for path in directories} == {directory_mode}
    assert stat.S_IMODE(base.stat().st_mode) == 0o1777


def test_D_115_an_existing_base_dir_keeps_its_mode(stores: Stores) -> None:
    os.chmod(stores.base_dir, 0o755)
    stores.open()
    assert stat.S_IMODE(stores.base_dir.stat().st_mode) == 0o755


def test_W_222_files_belong_to_the_driver_and_a_group_directory_hands_its_group_down(
    stores: Stores,
) -> None:
    """W-222."""
    group = next(
        (one for one in os.getgroups() if one != os.getegid()),
        grp.getgrgid(os.getegid()).gr_gid if os.geteuid() else 12345,
    )
    os.chown(stores.base_dir, -1, group)
    os.chmod(stores.base_dir, 0o2770)
    store = stores.open()
    header, *_ = paths_of(store.provision(10000, SMALL, 7))
    assert header.stat().st_uid == os.geteuid()
    assert header.stat().st_gid == group
    assert stat.S_IMODE(header.stat().st_mode) == 0o660


def test_D_120_uris_name_huge_pages_only_on_hugetlbfs(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-120, D-112, W-046: hugetlbfs is played by a file system that claims 2 MiB pages."""
    plain = stores.open(shm={"namespace": "plain"})
    regions = plain.provision(10000, SMALL, 7)
    assert not plain.on_hugetlbfs
    assert "|" not in regions.header_uri + "".join(pool.uri for pool in regions.pools)

    page = 2 << 20
    monkeypatch.setattr(store_module, "huge_page_bytes_at", lambda path: page)
    monkeypatch.setattr(create, "huge_page_bytes", lambda fd: page)
    huge = stores.open(shm={"namespace": "huge"})
    regions = huge.provision(10000, SMALL, 7)
    assert huge.on_hugetlbfs
    uris = [regions.header_uri, *(pool.uri for pool in regions.pools)]
    assert all(uri.endswith("|require_hugepages=true") for uri in uris)
    assert {path.stat().st_size for path in paths_of(regions)} == {page}


def _seen_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the calls that touch files, in order and by name of the file."""
    calls: list[str] = []

    def record(module: Any, name: str, describe: Callable[..., str]) -> None:
        real = getattr(module, name)

        def wrapper(*arguments: Any, **options: Any) -> Any:
            calls.append(describe(*arguments, **options))
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, wrapper)
        if real in os.supports_dir_fd:
            monkeypatch.setattr(os, "supports_dir_fd", os.supports_dir_fd | {wrapper})

    def opened(path: Any, flags: int, *_: Any, **__: Any) -> str:
        wanted = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        return f"create {path}" if flags & os.O_CREAT and flags & wanted == wanted else "open"

    record(os, "mkdir", lambda path, *_, **__: f"mkdir {path}")
    record(os, "open", opened)
    record(os, "fchmod", lambda fd, mode: "fchmod")
    record(os, "ftruncate", lambda fd, length: "size")
    record(os, "posix_fallocate", lambda fd, offset, length: "reserve")
    record(os, "fsync", lambda fd: "fsync dir" if stat.S_ISDIR(os.fstat(fd).st_mode) else "fsync")
    record(create, "write_superblock", lambda *_, **__: "superblock")
    monkeypatch.setattr(create, "Mapping", _RecordingMapping)
    monkeypatch.setattr(_RecordingMapping, "calls", calls)
    return calls


class _RecordingMapping(Mapping):
    calls: ClassVar[list[str]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.calls.append("map")
        super().__init__(*arguments, **options)

    def populate(self) -> None:
        self.calls.append("touch")
        super().populate()

    def lock(self) -> None:
        self.calls.append("lock")
        super().lock()


def test_D_114_an_epoch_is_made_in_the_prescribed_order(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-114, W-014."""
    store = stores.open(policies={"mlock_shm": True})
    calls = _seen_calls(monkeypatch)

    store.provision(10000, SMALL, 7)

    steps = [call for call in calls if call != "open"]
    one_file = ["fchmod", "size", "reserve", "map", "touch", "lock", "superblock", "fsync"]
    assert steps == [
        "mkdir tensorpool-" + namespace_dir(stores).parent.name.removeprefix("tensorpool-"),
        "mkdir default",
        "mkdir 10000",
        "fchmod",
        "mkdir 7",
        "fchmod",
        *(["create header.ring", *one_file]),
        *(["create 1.pool", *one_file]),
        *(["create 2.pool", *one_file]),
        "fsync dir",
    ]


def test_D_114_a_magic_is_never_seen_with_wrong_fields(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-114, W-014: looked at after every single store into the superblock."""
    seen: list[bytes] = []
    words_type = memoryview

    class Watched:
        """Passes stores on to the mapping, and takes a picture after each."""

        def __init__(self, buffer: memoryview, view: memoryview) -> None:
            self._buffer, self._view = buffer, view

        def __setitem__(self, key: Any, value: Any) -> None:
            self._view[key] = value
            seen.append(bytes(self._buffer[:64]))

    real = create.write_superblock

    def watched(buffer: memoryview, words: memoryview, *arguments: Any, **options: Any) -> None:
        assert isinstance(words, words_type)
        real(Watched(buffer, buffer), Watched(buffer, words), *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(create, "write_superblock", watched)
    header, *_ = paths_of(stores.open().provision(10000, SMALL, 7))

    complete = header.read_bytes()[:64]
    with_magic = [one for one in seen if decode_superblock(one).magic]
    assert len(seen) > len(with_magic) > 0
    assert with_magic[0] == complete


@pytest.mark.parametrize("reuse", [False, True])
def test_D_121_a_file_that_is_not_regular_is_refused(stores: Stores, reuse: bool) -> None:
    store = stores.open(policies={"reuse_existing_shm": reuse})
    epoch_dir = namespace_dir(stores) / "10000" / "7"
    epoch_dir.mkdir(parents=True)
    outside = stores.base_dir / "outside"
    outside.write_bytes(b"untouched")
    for make in (
        lambda path: path.symlink_to(outside),
        lambda path: os.mkfifo(path),
        lambda path: path.mkdir(),
    ):
        make(epoch_dir / "1.pool")
        with pytest.raises(ProvisionError, match=r"^SHM path must be a regular file$") as caught:
            store.provision(10000, SMALL, 7)
        assert caught.value.kind is ProvisionFailure.OTHER
        assert [path.name for path in epoch_dir.iterdir()] == ["1.pool"]
        if (epoch_dir / "1.pool").is_dir() and not (epoch_dir / "1.pool").is_symlink():
            (epoch_dir / "1.pool").rmdir()
        else:
            (epoch_dir / "1.pool").unlink()
    assert outside.read_bytes() == b"untouched"


def test_D_121_an_existing_file_is_replaced_by_a_new_inode(stores: Stores) -> None:
    """D-121, W-014: who has the old one mapped is not disturbed."""
    store = stores.open()
    epoch_dir = namespace_dir(stores) / "10000" / "7"
    epoch_dir.mkdir(parents=True)
    (epoch_dir / "1.pool").write_bytes(b"old" * 10000)
    with open(epoch_dir / "1.pool", "rb") as old:
        _, first, _ = paths_of(store.provision(10000, SMALL, 7))
        assert old.read() == b"old" * 10000
        assert os.fstat(old.fileno()).st_ino != first.stat().st_ino
    assert not any(first.read_bytes()[64:])


def test_D_121_a_reused_file_keeps_its_contents_under_a_new_superblock(stores: Stores) -> None:
    store = stores.open(policies={"reuse_existing_shm": True})
    epoch_dir = namespace_dir(stores) / "10000" / "7"
    epoch_dir.mkdir(parents=True)
    size = 64 + 4 * 4096 + 100
    (epoch_dir / "1.pool").write_bytes(b"x" * size)
    inode = (epoch_dir / "1.pool").stat().st_ino

    _, first, _ = paths_of(store.provision(10000, SMALL, 7))

    assert first.stat().st_ino == inode
    content = first.read_bytes()
    assert content[64:] == b"x" * (size - 64)
    assert decode_superblock(content[:64]).epoch == 7


def test_D_121_a_reused_file_must_be_large_enough(stores: Stores) -> None:
    store = stores.open(policies={"reuse_existing_shm": True})
    epoch_dir = namespace_dir(stores) / "10000" / "7"
    epoch_dir.mkdir(parents=True)
    (epoch_dir / "1.pool").write_bytes(b"x" * (64 + 4 * 4096 - 1))
    with pytest.raises(ProvisionError, match=r"^existing SHM file smaller than expected$"):
        store.provision(10000, SMALL, 7)
    assert [path.name for path in epoch_dir.iterdir()] == ["1.pool"], "what stood there stays"


def _fail(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, number: int, nth: int) -> None:
    """Let the n-th call of a function fail with an OS error."""
    real = getattr(module, name)
    count = 0

    def wrapper(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == nth:
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, wrapper)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ENOMEM])
@pytest.mark.parametrize(
    ("module", "name", "nth", "step"),
    [
        (os, "mkdir", 3, "mkdir"),
        (os, "mkdir", 4, "mkdir"),
        (os, "ftruncate", 1, "fallocate"),
        (os, "ftruncate", 3, "fallocate"),
        (os, "posix_fallocate", 1, "fallocate"),
        (os, "posix_fallocate", 3, "fallocate"),
        (libc, "mlock", 1, "mlock"),
        (libc, "mlock", 3, "mlock"),
        (os, "fsync", 1, "fsync"),
        (os, "fsync", 3, "fsync"),
        (os, "fsync", 4, "fsync"),
    ],
)
def test_D_118_a_failure_at_any_step_leaves_nothing(
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    nth: int,
    step: str,
    number: int,
) -> None:
    """D-118, D-119."""
    store = stores.open(policies={"mlock_shm": True})
    store.provision(10001, SMALL, 6)
    before = tree(stores.base_dir), open_files_and_mappings(stores.base_dir)

    with monkeypatch.context() as patch:
        _fail(patch, module, name, number, nth)
        with pytest.raises(ProvisionError) as caught:
            store.provision(10000, SMALL, 7)

    assert caught.value.text == f"{step} failed: {errno.errorcode[number]}"
    assert caught.value.kind is ProvisionFailure.OTHER
    assert (tree(stores.base_dir), open_files_and_mappings(stores.base_dir)) == before
    store.provision(10000, SMALL, 8)


def test_D_118_a_file_in_the_place_of_a_directory(stores: Stores) -> None:
    store = stores.open()
    (namespace_dir(stores) / "10000").write_bytes(b"")
    with pytest.raises(ProvisionError, match=r"^mkdir failed: EEXIST$"):
        store.provision(10000, SMALL, 7)


@pytest.mark.parametrize("level", ["stream", "epoch"])
def test_D_111_a_symlink_below_base_dir_is_a_violation(
    stores: Stores, tmp_path: Path, level: str
) -> None:
    """D-111, W-034."""
    store = stores.open()
    link = namespace_dir(stores) / "10000"
    if level == "epoch":
        link.mkdir()
        link /= "7"
    link.symlink_to(tmp_path)
    with pytest.raises(ProvisionError, match=r"^SHM path not within allowed_base_dirs$"):
        store.provision(10000, SMALL, 7)
    assert list(tmp_path.iterdir()) == []


def test_W_034_a_linked_namespace_keeps_the_store_from_opening(
    stores: Stores, tmp_path: Path
) -> None:
    """D-111, W-034."""
    stores.open()
    user_dir = namespace_dir(stores).parent
    (user_dir / "linked").symlink_to(tmp_path)
    with pytest.raises(Exception, match="SHM path not within allowed_base_dirs"):
        stores.open(shm={"namespace": "linked"})
    assert list(tmp_path.iterdir()) == []


def test_W_034_a_base_dir_outside_the_allowed_ones_is_refused(
    stores: Stores, tmp_path: Path
) -> None:
    """D-111, W-034: a store made by hand has not been through the checks of the configuration."""
    with pytest.raises(Exception, match="SHM path not within allowed_base_dirs"):
        stores.open(shm={"allowed_base_dirs": [str(tmp_path)]})
    assert tree(stores.base_dir) == []


def test_D_119_a_locked_region_stays_locked_while_it_is_current(stores: Stores) -> None:
    """D-119, D-122."""
    store = stores.open(policies={"mlock_shm": True})
    header, *_ = paths_of(store.provision(10000, SMALL, 7))
    assert _locked_bytes(header) > 0
    store.retire(10000, 7)
    assert _locked_bytes(header) == 0


def _locked_bytes(path: Path) -> int:
    inside, locked = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            inside = line.endswith(str(path))
        elif inside and line.startswith("Locked:"):
            locked += int(line.split()[1]) * 1024
    return locked


def test_D_119_without_mlock_on_the_platform_there_is_one_warning(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(libc, "HAS_MLOCK", False)
    monkeypatch.setattr(create, "_warned_of_mlock", False)
    with caplog.at_level(logging.WARNING):
        store = stores.open(policies={"mlock_shm": True})
        store.provision(10000, SMALL, 7)
        store.provision(10001, SMALL, 7)
    assert sum("mlock" in record.message for record in caplog.records) == 1


def test_D_122_mappings_and_descriptors_stay_bounded(stores: Stores) -> None:
    """D-122: 100 epochs, one current; only its superblock pages are mapped."""
    store = stores.open(policies={"epoch_gc_min_age_ns": 1})
    tiny = Profile(header_nslots=64, payload_pools=(Pool(1, 65536),))
    store.provision(10000, tiny, 1)
    once = open_files_and_mappings(stores.base_dir)
    for epoch in range(2, 101):
        store.provision(10000, tiny, epoch)
        store.retire(10000, epoch - 1)
        stores.clock.advance(10)
        store.collect(stores.clock.monotonic_ns())
    assert open_files_and_mappings(stores.base_dir) == once
    assert once[1] == 2
    mapped_pages = [
        line for line in Path("/proc/self/maps").read_text().splitlines() if "/100/" in line
    ]
    for line in mapped_pages:
        begin, end = line.split(" ")[0].split("-")
        assert int(end, 16) - int(begin, 16) == mmap.PAGESIZE


def test_D_131_all_regions_of_the_current_epoch_are_refreshed(
    stores: Stores, clock: SimulatedClock
) -> None:
    """D-131, W-053."""
    store = stores.open()
    paths = paths_of(store.provision(10000, SMALL, 7))
    others = paths_of(store.provision(10001, SMALL, 7))
    before = [path.read_bytes() for path in paths]

    store.refresh_activity(10000, 7, 123_456_789_012)

    for path, old in zip(paths, before, strict=True):
        new = path.read_bytes()
        assert decode_superblock(new[:64]).activity_timestamp_ns == 123_456_789_012
        assert new[:56] == old[:56]
        assert new[64:] == old[64:]
    for path in others:
        stamp = decode_superblock(path.read_bytes()[:64]).activity_timestamp_ns
        assert stamp == clock.monotonic_ns()


def test_D_005_slots_and_payloads_are_never_touched_after_provisioning(stores: Stores) -> None:
    """D-005, D-098: refreshes, passes and other streams' epochs for a simulated hour."""
    store = stores.open()
    paths = paths_of(store.provision(10000, SMALL, 1))
    for number, path in enumerate(paths):
        with open(path, "r+b") as file:
            file.seek(64)
            file.write(bytes([number + 1]) * (path.stat().st_size - 64))

    def checksums() -> list[str]:
        return [
            hashlib.sha256(content[:56] + content[64:]).hexdigest()
            for content in (path.read_bytes() for path in paths)
        ]

    before = checksums()
    for epoch in range(1, 121):
        store.provision(10001, SMALL, epoch)
        store.retire(10001, epoch)
        stores.clock.advance(30_000_000_000)
        store.refresh_activity(10000, 1, stores.clock.monotonic_ns())
        store.collect(stores.clock.monotonic_ns())
    assert checksums() == before


def test_deleted_files_do_not_hurt_the_driver(stores: Stores) -> None:
    """D-186: region files are deleted, or cut to nothing."""
    store = stores.open()
    header, *pools = paths_of(store.provision(10000, SMALL, 7))
    os.truncate(pools[0], 0)
    header.unlink()
    store.refresh_activity(10000, 7, 5)
    store.retire(10000, 7)
    store.provision(10000, SMALL, 8)
    store.refresh_activity(10000, 8, 6)


def test_D_113_lack_of_space_is_reported_in_bytes_and_leaves_nothing(
    stores: Stores, small_tmpfs: Callable[[int], Path]
) -> None:
    """D-113."""
    base = small_tmpfs(64 * 1024)
    store = stores.open(shm={"base_dir": str(base)})
    before = tree(base)
    free = store.free_bytes()
    with pytest.raises(ProvisionError) as caught:
        store.provision(10000, SMALL, 7)
    assert caught.value.text == f"insufficient shm space: need {SMALL_BYTES} bytes, have {free}"
    assert caught.value.kind is ProvisionFailure.SPACE
    assert caught.value.needed_bytes == SMALL_BYTES
    assert tree(base) == before


def test_D_113_a_shortage_collects_retired_epochs_whatever_their_age(
    stores: Stores, small_tmpfs: Callable[[int], Path]
) -> None:
    """D-113, D-126: room for one epoch and a half; the current epochs of others are spared."""
    base = small_tmpfs(SMALL_BYTES * 5 // 2)
    store = stores.open(shm={"base_dir": str(base)}, policies={"epoch_gc_keep": 9})
    store.provision(10001, SMALL, 1)
    store.provision(10000, SMALL, 1)
    store.retire(10000, 1)

    store.provision(10000, SMALL, 2)

    (user_dir,) = base.glob("tensorpool-*")
    epochs = sorted(str(path.relative_to(user_dir)) for path in user_dir.glob("*/*/*"))
    assert epochs == ["default/10000/2", "default/10001/1"]
    assert stores.metrics["gc_removed"] == 1
    with pytest.raises(ProvisionError, match="insufficient shm space"):
        store.provision(10002, SMALL, 1)
    assert sorted(str(path.relative_to(user_dir)) for path in user_dir.glob("*/*/*")) == epochs


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize(
    ("name", "step"), [("mkdir", "mkdir"), ("posix_fallocate", "fallocate"), ("fsync", "fsync")]
)
def test_D_113_running_out_while_creating_collects_and_tries_once_more(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, number: int, name: str, step: str
) -> None:
    store = stores.open(policies={"epoch_gc_keep": 1})
    store.provision(10001, SMALL, 1)
    store.provision(10001, SMALL, 2)
    store.retire(10001, 1)
    with monkeypatch.context() as patch:
        _fail(patch, os, name, number, nth=4 if name == "mkdir" else 2)
        store.provision(10000, SMALL, 7)
    assert stores.metrics["gc_removed"] == 1, "the retired epoch made room"

    def always(*arguments: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    passes = stores.metrics["gc_passes"]
    monkeypatch.setattr(os, name, always)
    with pytest.raises(
        ProvisionError, match=f"^{step} failed: {errno.errorcode[number]}$"
    ) as caught:
        store.provision(10000, SMALL, 8)
    assert caught.value.kind is ProvisionFailure.SPACE
    assert caught.value.needed_bytes == SMALL_BYTES
    assert stores.metrics["gc_passes"] == passes + 1


def test_D_113_no_collection_where_it_is_switched_off(
    stores: Stores, small_tmpfs: Callable[[int], Path]
) -> None:
    """D-113, D-124."""
    base = small_tmpfs(SMALL_BYTES * 3 // 2)
    store = stores.open(shm={"base_dir": str(base)}, policies={"epoch_gc_enabled": False})
    store.provision(10000, SMALL, 1)
    store.retire(10000, 1)
    with pytest.raises(ProvisionError, match="insufficient shm space"):
        store.provision(10000, SMALL, 2)
    assert stores.metrics["gc_passes"] == 0
    assert not store.has_retired()


def test_a_file_system_without_a_size_has_no_shortage(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-113: a tmpfs mounted without a limit reports no blocks at all."""
    store = stores.open()
    monkeypatch.setattr(
        os, "statvfs", lambda path: os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))
    )
    store.provision(10000, SMALL, 7)
