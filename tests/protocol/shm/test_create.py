from __future__ import annotations

import ast
import errno
import inspect
import mmap
import os
import stat
import threading
from pathlib import Path

import pytest

from tensor_pool.protocol.shm import create, hugepages, libc
from tensor_pool.protocol.shm.create import (
    CreatedDirectory,
    CreatedRegion,
    CreateOptions,
    CreateStep,
    RegionCreateError,
    create_region,
    make_directories,
)
from tensor_pool.protocol.shm.geometry import RegionGeometry
from tensor_pool.protocol.shm.mapping import Mapping
from tensor_pool.protocol.shm.safe_open import AllowedBaseDirs
from tensor_pool.protocol.wire.frame_descriptor import SUPERBLOCK_MAGIC
from tensor_pool.protocol.wire.generated.enums import RegionType
from tests.protocol.shm.streams import (
    NOW_NS,
    PID,
    create_stream,
    mapped_paths,
    open_descriptors,
    umask,
)

RING = RegionGeometry(stream_id=10000, epoch=7, nslots=8)
POOL = RegionGeometry(10000, 7, 8, 1, 65536, RegionType.PAYLOAD_POOL)


def directory_of(base: Path, *parts: str, mode: int = 0o770) -> CreatedDirectory:
    return make_directories(
        str(base), parts, mode=mode, allowed_base_dirs=AllowedBaseDirs.of([str(base)])
    )


def made(
    base: Path,
    geometry: RegionGeometry = RING,
    options: CreateOptions | None = None,
    name: str = "x.ring",
) -> CreatedRegion:
    directory = directory_of(base, "d")
    try:
        return create_region(
            directory, name, geometry, options=options or CreateOptions(), now_ns=NOW_NS, pid=PID
        )
    finally:
        os.close(directory.fd)


def refused(
    base: Path, options: CreateOptions | None = None, geometry: RegionGeometry = RING
) -> RegionCreateError:
    """Creation must fail and leave no descriptor, no mapping."""
    before = open_descriptors()
    with pytest.raises(RegionCreateError) as caught:
        made(base, geometry, options)
    assert open_descriptors() == before
    assert mapped_paths(str(base)) == []
    return caught.value


every_option = pytest.mark.parametrize(
    "options",
    [
        CreateOptions(),
        CreateOptions(prefault=False),
        CreateOptions(lock_memory=True),
        CreateOptions(prefault=False, lock_memory=True),
    ],
    ids=["prefault", "sparse", "locked", "sparse-locked"],
)


@every_option
@pytest.mark.parametrize("geometry", [RING, POOL], ids=["ring", "pool"])
def test_W_010_files_have_their_length_and_W_014_all_other_bytes_are_zero(
    base: Path, options: CreateOptions, geometry: RegionGeometry
) -> None:
    """W-010, W-014, W-050, D-117."""
    region = made(base, geometry, options)
    region.close()
    content = Path(region.path).read_bytes()
    assert len(content) == geometry.length_bytes
    assert content[0:8] == SUPERBLOCK_MAGIC.to_bytes(8, "little")
    assert not any(content[64:])


def test_W_010_lengths() -> None:
    assert RING.length_bytes == 64 + 256 * 8
    assert POOL.length_bytes == 64 + 65536 * 8


def test_W_040_modes_are_exact_whatever_the_umask(base: Path) -> None:
    """W-040, D-115."""
    for number, mask in enumerate((0o000, 0o077)):
        for mode in (0o600, 0o660, 0o640):
            options = CreateOptions(file_mode=mode)
            with umask(mask):
                directory = directory_of(base, f"{mode:o}-{number}", mode=options.directory_mode)
                region = create_region(
                    directory, "r", RING, options=options, now_ns=NOW_NS, pid=PID
                )
                os.close(directory.fd)
            region.close()
            assert stat.S_IMODE(os.stat(region.path).st_mode) == mode
            directory_mode = {0o600: 0o700, 0o660: 0o770, 0o640: 0o750}[mode]
            assert stat.S_IMODE(os.stat(directory.path).st_mode) == directory_mode


def test_W_040_the_default_is_0660_and_set_group_id_directories_are_possible(base: Path) -> None:
    assert CreateOptions().file_mode == 0o660
    directory = directory_of(base, "shared", mode=0o2770)
    os.close(directory.fd)
    assert stat.S_IMODE(os.stat(directory.path).st_mode) == 0o2770


def test_W_222_files_belong_to_the_creating_user_and_group(base: Path) -> None:
    region = made(base)
    region.close()
    status = os.stat(region.path)
    assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())


def test_W_014_an_existing_file_becomes_a_new_inode_and_its_readers_are_not_disturbed(
    base: Path,
) -> None:
    """W-014, D-121."""
    first = made(base)
    fd = os.open(first.path, os.O_RDONLY)
    reader = Mapping(fd, RING.length_bytes, writable=False)
    os.close(fd)
    before = bytes(reader.buffer)
    second = made(base, POOL)
    assert bytes(reader.buffer) == before
    assert os.stat(second.path).st_size == POOL.length_bytes
    for region in (reader, first, second):
        region.close()


def test_W_014_a_reader_that_polls_never_sees_a_magic_with_wrong_fields(base: Path) -> None:
    """W-014, D-114: the magic is stored after everything else."""
    path = base / "d" / "x.ring"
    wrong: list[bytes] = []
    seen = 0
    stop = threading.Event()
    want = made(base)
    want.close()
    expected = path.read_bytes()[:64]

    def watch() -> None:
        nonlocal seen
        while not stop.is_set():
            try:
                content = path.read_bytes()[:64]
            except FileNotFoundError:
                continue
            if content[:8] == expected[:8]:
                seen += 1
                if content != expected:
                    wrong.append(content)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(300):
            made(base).close()
    finally:
        stop.set()
        watcher.join()
    assert seen > 0
    assert wrong == []


def test_W_014_steps_come_in_order(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W-014, D-114: create, mode, length, memory, lock, superblock, flush."""
    trace: list[str] = []

    def traced(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def wrapper(*args: object, **kwargs: object) -> object:
            trace.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapper)

    directory = directory_of(base, "d")
    for name in ("open", "fchmod", "ftruncate", "posix_fallocate", "fsync"):
        traced(os, name)
    traced(Mapping, "populate")
    traced(Mapping, "lock")
    traced(create, "write_superblock")
    options = CreateOptions(lock_memory=True)
    create_region(directory, "r", RING, options=options, now_ns=NOW_NS, pid=PID).close()
    os.close(directory.fd)
    assert trace == [
        "open",
        "fchmod",
        "ftruncate",
        "posix_fallocate",
        "populate",
        "lock",
        "write_superblock",
        "fsync",
    ]


def test_W_014_the_file_is_opened_as_a_new_inode(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W-014, D-114."""
    flags_seen: list[int] = []
    real_open = os.open

    def spy(path: str, flags: int, *args: object, **kwargs: object) -> int:
        if path == "r":
            flags_seen.append(flags)
        return real_open(path, flags, *args, **kwargs)  # type: ignore[arg-type]

    directory = directory_of(base, "d")
    monkeypatch.setattr(os, "open", spy)
    create_region(directory, "r", RING, options=CreateOptions(), now_ns=NOW_NS, pid=PID).close()
    os.close(directory.fd)
    wanted = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    assert flags_seen == [wanted]


def test_W_223_the_only_truncate_is_on_the_inode_just_created() -> None:
    """The creator's code shortens nothing: one ftruncate, under `if is_new`, and no O_TRUNC."""
    tree = ast.parse(inspect.getsource(create))
    names = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    assert "O_TRUNC" not in names
    assert names.count("ftruncate") == 1
    assert "truncate" not in names
    guarded = [
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "is_new"
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute) and inner.attr == "ftruncate"
    ]
    assert len(guarded) == 1


def test_D_121_reuse_keeps_contents_and_inode_and_rewrites_the_superblock(base: Path) -> None:
    old = made(base)
    old.close()
    with open(old.path, "r+b") as file:
        file.seek(64)
        file.write(b"kept")
    inode = os.stat(old.path).st_ino
    newer = RegionGeometry(stream_id=10000, epoch=8, nslots=8)
    region = made(base, newer, CreateOptions(reuse_existing=True))
    region.close()
    content = Path(region.path).read_bytes()
    assert os.stat(region.path).st_ino == inode
    assert content[64:68] == b"kept"
    assert int.from_bytes(content[12:20], "little") == 8


def test_D_121_reuse_of_a_longer_file_does_not_shorten_it(base: Path) -> None:
    made(base, POOL).close()
    region = made(base, RING, CreateOptions(reuse_existing=True))
    region.close()
    assert os.stat(region.path).st_size == POOL.length_bytes


def test_D_121_reuse_of_a_smaller_file_fails_and_leaves_it(base: Path) -> None:
    made(base).close()
    error = refused(base, CreateOptions(reuse_existing=True), POOL)
    assert error.reason == "existing SHM file smaller than expected"
    assert (base / "d" / "x.ring").stat().st_size == RING.length_bytes


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("kind", ["directory", "fifo", "link"])
def test_D_121_anything_but_a_regular_file_fails(base: Path, kind: str, reuse: bool) -> None:
    target = base / "target"
    target.write_text("untouched")
    os.close(directory_of(base, "d").fd)
    path = base / "d" / "x.ring"
    {
        "directory": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(target),
    }[kind]()
    error = refused(base, CreateOptions(reuse_existing=reuse))
    assert error.reason == "SHM path must be a regular file"
    assert target.read_text() == "untouched"


@pytest.mark.parametrize(
    ("owner", "name", "number", "step"),
    [
        (os, "ftruncate", errno.EFBIG, CreateStep.FALLOCATE),
        (os, "posix_fallocate", errno.ENOSPC, CreateStep.FALLOCATE),
        (os, "fchmod", errno.EPERM, CreateStep.CREATE),
        (os, "fsync", errno.EIO, CreateStep.FSYNC),
        (Mapping, "populate", errno.EFAULT, CreateStep.FALLOCATE),
        (Mapping, "lock", errno.ENOMEM, CreateStep.MLOCK),
    ],
)
def test_D_118_a_failure_names_its_step_and_leaves_no_file(
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    number: int,
    step: CreateStep,
) -> None:
    os.close(directory_of(base, "d").fd)

    def fail(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(owner, name, fail)
    error = refused(base, CreateOptions(lock_memory=True))
    assert error.reason == f"{step} failed: {errno.errorcode[number]}"
    assert (error.step, error.error_number) == (step, number)
    assert error.out_of_space is (number == errno.ENOSPC)
    assert os.listdir(base / "d") == []


def test_D_118_a_file_that_cannot_be_opened_is_a_create_failure(base: Path) -> None:
    directory = directory_of(base, "d")
    with pytest.raises(RegionCreateError) as caught:
        create_region(directory, "x" * 300, RING, options=CreateOptions(), now_ns=NOW_NS, pid=PID)
    os.close(directory.fd)
    assert caught.value.reason == "create failed: ENAMETOOLONG"


def test_D_119_without_mlock_a_warning_is_logged_once(
    base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(libc, "HAS_MLOCK", False)
    monkeypatch.setattr(create, "_warned_of_mlock", False)
    for _ in range(2):
        made(base, RING, CreateOptions(lock_memory=True)).close()
    assert [record.getMessage() for record in caplog.records] == [
        "this platform has no mlock; regions stay unlocked"
    ]


@pytest.mark.parametrize("prefault", [True, False])
def test_D_113_memory_is_reserved_at_creation(base: Path, prefault: bool) -> None:
    region = made(base, POOL, CreateOptions(prefault=prefault))
    region.close()
    backed = os.stat(region.path).st_blocks * 512
    if prefault:
        assert backed >= POOL.length_bytes
    else:
        assert mmap.PAGESIZE <= backed < POOL.length_bytes


def test_D_122_only_the_superblock_page_stays_mapped_unless_locked(base: Path) -> None:
    for options, length in (
        (CreateOptions(), mmap.PAGESIZE),
        (CreateOptions(prefault=False), mmap.PAGESIZE),
        (CreateOptions(lock_memory=True), POOL.length_bytes),
    ):
        region = made(base, POOL, options)
        (line,) = [
            line for line in Path("/proc/self/maps").read_text().splitlines() if str(base) in line
        ]
        first, last = (int(part, 16) for part in line.split()[0].split("-"))
        assert last - first == -(-length // mmap.PAGESIZE) * mmap.PAGESIZE
        region.close()
    assert mapped_paths(str(base)) == []


def test_W_046_on_a_huge_page_file_system_the_length_is_rounded_up(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W-046, D-112."""
    page = 2 << 20
    monkeypatch.setattr(libc, "filesystem_of", lambda fd: (hugepages.HUGETLBFS_MAGIC, page))
    region = made(base, POOL)
    region.close()
    assert os.stat(region.path).st_size == page
    assert hugepages.round_up_to_pages(page, page) == page
    assert hugepages.round_up_to_pages(page + 1, page) == 2 * page


def test_W_052_only_the_activity_stamp_changes_after_creation(base: Path) -> None:
    """W-052, W-053."""
    region = made(base)
    path = Path(region.path)
    before = path.read_bytes()
    for number in range(1000):
        region.refresh_activity(NOW_NS + number)
    after = path.read_bytes()
    assert region.activity_ns() == NOW_NS + 999
    region.close()
    assert after[:56] == before[:56]
    assert int.from_bytes(after[56:64], "little") == NOW_NS + 999
    assert after[64:] == before[64:]


def test_an_owner_survives_a_client_that_shortens_its_file(base: Path) -> None:
    """W-223: a producer may write the files; refreshing the stamp must not kill the driver."""
    region = made(base)
    os.truncate(region.path, 0)
    region.refresh_activity(5)
    assert region.lost
    region.close()


def test_W_034_a_directory_below_a_link_is_outside(base: Path, tmp_path: Path) -> None:
    """W-034, D-111: a link below the base is a violation, and nothing is created behind it."""
    (base / "stream").symlink_to(tmp_path)
    with pytest.raises(RegionCreateError) as caught:
        directory_of(base, "stream", "7")
    assert caught.value.reason == "SHM path not within allowed_base_dirs"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("parts", [("..", "x"), ("a/../../x",), (".",), ("",), ("/etc",)])
def test_W_034_a_name_that_leads_outside_is_refused(base: Path, parts: tuple[str, ...]) -> None:
    with pytest.raises(RegionCreateError, match="not within allowed_base_dirs"):
        directory_of(base, *parts)


def test_W_034_a_base_outside_the_allowed_list_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(RegionCreateError, match="not within allowed_base_dirs"):
        make_directories(
            str(tmp_path), ("x",), mode=0o770, allowed_base_dirs=AllowedBaseDirs.of([str(base)])
        )
    assert os.listdir(tmp_path) == []


def test_W_034_a_path_that_no_uri_can_name_is_refused(base: Path) -> None:
    with pytest.raises(RegionCreateError, match="cannot stand in a region URI"):
        directory_of(base, "a b")


def test_D_118_a_file_where_a_directory_belongs(base: Path) -> None:
    (base / "stream").write_text("")
    with pytest.raises(RegionCreateError) as caught:
        directory_of(base, "stream", "7")
    assert caught.value.reason == "mkdir failed: EEXIST"


def test_D_118_directories_made_before_a_failure_are_removed(base: Path) -> None:
    os.close(directory_of(base, "old").fd)
    before = open_descriptors()
    with pytest.raises(RegionCreateError) as caught:
        directory_of(base, "old", "new", "x" * 300)
    assert caught.value.reason == "mkdir failed: ENAMETOOLONG"
    assert os.listdir(base / "old") == []
    assert open_descriptors() == before


def test_D_118_a_directory_whose_mode_cannot_be_set_is_removed(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", fail)
    before = open_descriptors()
    with pytest.raises(RegionCreateError) as caught:
        directory_of(base, "a", "b")
    assert caught.value.reason == "mkdir failed: EPERM"
    assert os.listdir(base) == []
    assert open_descriptors() == before


def test_W_222_directories_keep_an_inherited_set_group_id_bit(base: Path) -> None:
    base.chmod(0o2770)
    directory = directory_of(base, "a")
    os.close(directory.fd)
    assert stat.S_IMODE(os.stat(directory.path).st_mode) == 0o2770


def test_directories_report_which_are_new(base: Path) -> None:
    first = directory_of(base, "a", "b")
    second = directory_of(base, "a", "c")
    assert first.made == (f"{base}/a", f"{base}/a/b")
    assert second.made == (f"{base}/a/c",)
    for directory in (first, second):
        os.close(directory.fd)


def test_W_055_a_new_region_is_active_as_of_its_creation(base: Path) -> None:
    stream = create_stream(base, now_ns=5)
    assert [region.activity_ns() for region in stream.created] == [5, 5]
    stream.close()
