"""The twelve steps of W-030, one refusal each, for both ways of opening."""

from __future__ import annotations

import inspect
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tensor_pool.protocol.errors import (
    ConfigError,
    ShmUriError,
    ShmValidationError,
    UnsupportedPlatformError,
)
from tensor_pool.protocol.shm import hugepages, libc
from tensor_pool.protocol.shm import safe_open as paths
from tensor_pool.protocol.shm.geometry import RegionGeometry
from tensor_pool.protocol.shm.region import map_region
from tensor_pool.protocol.shm.safe_open import AllowedBaseDirs, FilePolicy, open_region
from tests.protocol.shm.streams import Stream, mapped_paths, open_descriptors

REGION = RegionGeometry(stream_id=10000, epoch=7, nslots=8)

both_roles = pytest.mark.parametrize("writable", [False, True], ids=["consumer", "producer"])


def refused(
    path: Path | str,
    base: Path,
    *,
    writable: bool = False,
    region: RegionGeometry = REGION,
    suffix: str = "",
    **options: object,
) -> ShmValidationError:
    """Map the region at `path`, which must fail; check the diagnostic and that nothing leaks."""
    allowed = AllowedBaseDirs.of([str(base)])
    before = open_descriptors()
    mapped_before = mapped_paths(str(base))
    with pytest.raises(ShmValidationError) as caught:
        map_region(
            f"shm:file?path={path}{suffix}",
            region,
            allowed_base_dirs=allowed,
            writable=writable,
            **options,  # type: ignore[arg-type]
        )
    error = caught.value
    assert open_descriptors() == before
    assert mapped_paths(str(base)) == mapped_before
    assert error.region == "header ring"
    assert error.seen
    assert error.wanted
    assert f"step {error.step}" in str(error)
    return error


@pytest.fixture
def good(stream: Stream) -> Path:
    """A header ring that maps; its creator's own mapping is gone."""
    stream.close()
    return stream.header_path


@both_roles
def test_W_030_a_good_region_maps(stream: Stream, writable: bool) -> None:
    region = stream.map_header(writable=writable)
    assert region.pid == 4242
    assert region.close() is True


def test_W_030_step_1_the_uri_must_parse(base: Path) -> None:
    """W-030, C-045: step 1 is a ShmUriError, naming the region."""
    with pytest.raises(ShmUriError, match="header ring: region URI 'file:/x'"):
        map_region(
            "file:/x", REGION, allowed_base_dirs=AllowedBaseDirs.of([str(base)]), writable=False
        )


@both_roles
def test_W_030_step_4_missing_file(base: Path, writable: bool) -> None:
    error = refused(base / "none", base, writable=writable)
    assert (error.step, error.seen) == (4, "ENOENT")


@both_roles
def test_W_030_step_3_symlinked_file(good: Path, base: Path, writable: bool) -> None:
    link = base / "link"
    link.symlink_to(good)
    error = refused(link, base, writable=writable)
    assert (error.step, error.seen) == (3, "a symbolic link")


def test_W_030_step_4_a_path_that_does_not_resolve(good: Path, base: Path) -> None:
    through_a_file = refused(f"{good}/x", base)
    assert (through_a_file.step, through_a_file.seen) == (4, "ENOTDIR")
    loop = base / "loop"
    loop.symlink_to(loop)
    through_a_loop = refused(f"{loop}/x", base)
    assert (through_a_loop.step, through_a_loop.seen) == (4, "ELOOP")


@both_roles
def test_W_030_step_5_directory_link_leading_outside(
    good: Path, base: Path, tmp_path: Path, writable: bool
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "header.ring").write_bytes(good.read_bytes())
    (base / "dir").symlink_to(outside)
    error = refused(base / "dir" / "header.ring", base, writable=writable)
    assert error.step == 5
    assert str(outside) in error.seen


def test_W_030_directory_link_leading_inside_is_accepted(stream: Stream, base: Path) -> None:
    (base / "inside").symlink_to(stream.header_path.parent)
    region = map_region(
        f"shm:file?path={base}/inside/header.ring",
        stream.geometry.header_ring(),
        allowed_base_dirs=stream.allowed,
        writable=False,
    )
    assert region.path == str(stream.header_path)
    region.close()


def test_W_030_step_5_dot_dot(base: Path) -> None:
    error = refused(f"{base}/../../../etc/hostname", base)
    assert (error.step, error.seen) == (5, "resolves to /etc/hostname")


def test_W_030_step_5_sibling_with_the_base_as_prefix(good: Path, base: Path) -> None:
    inner = base / "base"
    sibling = base / "base2"
    inner.mkdir()
    sibling.mkdir()
    good.rename(sibling / "header.ring")
    assert refused(sibling / "header.ring", inner).step == 5


def test_W_030_step_5_the_base_itself_is_not_inside(base: Path) -> None:
    assert refused(base, base).step == 5


@both_roles
@pytest.mark.parametrize("kind", ["directory", "FIFO", "socket"])
def test_W_030_step_6_special_files(base: Path, writable: bool, kind: str) -> None:
    path = base / "special"
    if kind == "directory":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(path))
    error = refused(path, base, writable=writable)
    assert (error.step, error.seen) == (6, f"a {kind}")


def test_W_030_step_6_device_node() -> None:
    assert refused("/dev/null", Path("/dev")).seen == "a character device"


def test_W_030_step_7_a_link_put_there_after_step_6_is_not_followed(
    good: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = base / "moved"

    def swap() -> None:
        good.rename(moved)
        good.symlink_to(moved)

    monkeypatch.setattr(paths, "_open_beneath", _before(paths._open_beneath, swap))
    error = refused(good, base)
    assert (error.step, error.seen) == (7, "ELOOP")


def test_W_030_step_7_a_directory_swapped_for_a_link_is_not_followed(
    good: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The open walks down from the base, so a link in the middle fails as one at the end does."""

    def swap() -> None:
        good.parent.rename(base / "old")
        good.parent.symlink_to(base / "old")

    monkeypatch.setattr(paths, "_open_beneath", _before(paths._open_beneath, swap))
    error = refused(good, base)
    assert (error.step, error.seen) == (7, "ENOTDIR")


def test_W_030_step_7_a_fifo_put_there_after_step_6_does_not_hang(
    good: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swap() -> None:
        good.unlink()
        os.mkfifo(good)

    monkeypatch.setattr(paths, "_open_beneath", _before(paths._open_beneath, swap))
    error = refused(good, base)
    assert (error.step, error.seen) == (8, "a FIFO")


@both_roles
def test_W_030_step_8_file_swapped_between_steps_6_and_8(
    good: Path, base: Path, monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    def swap() -> None:
        content = good.read_bytes()
        good.rename(base / "kept")  # the inode stays in use, so its number cannot be given out anew
        good.write_bytes(content)

    monkeypatch.setattr(paths, "_open_beneath", _before(paths._open_beneath, swap))
    error = refused(good, base, writable=writable)
    assert error.step == 8
    assert "inode" in error.seen


@both_roles
def test_W_030_step_9_one_byte_short(good: Path, base: Path, writable: bool) -> None:
    """W-010: exact length maps, one byte less does not."""
    assert good.stat().st_size == 64 + 256 * 8
    os.truncate(good, 64 + 256 * 8 - 1)
    error = refused(good, base, writable=writable)
    assert (error.step, error.seen, error.wanted) == (9, "2111 bytes", "at least 2112")


def test_W_010_a_longer_file_maps_and_its_surplus_is_ignored(stream: Stream) -> None:
    """W-010, W-046: also how a length rounded up to huge pages passes."""
    os.truncate(stream.header_path, 2 * 1024 * 1024)
    region = stream.map_header()
    assert len(region.buffer) == 64 + 256 * 8
    region.close()


def test_W_045_required_huge_pages_on_a_normal_file_system(good: Path, base: Path) -> None:
    """W-045, W-030: step 10, by the URI and by local configuration."""
    by_uri = refused(good, base, suffix="|require_hugepages=true")
    by_configuration = refused(good, base, require_hugepages=True)
    assert by_uri.step == by_configuration.step == 10
    assert by_uri.seen == "not on a huge page file system"


def test_W_045_a_file_system_that_cannot_be_determined_is_refused(
    good: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(fd: int) -> tuple[int, int]:
        raise OSError("not on this platform")

    monkeypatch.setattr(libc, "filesystem_of", unknown)
    assert refused(good, base, require_hugepages=True).step == 10


@pytest.mark.parametrize(
    ("magic", "block_bytes", "accepted"),
    [(0x958458F6, 2 << 20, True), (0x958458F6, 0, False), (0x01021994, 4096, False)],
)
def test_W_045_the_mount_is_hugetlbfs_with_a_page_size(
    good: Path,
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    magic: int,
    block_bytes: int,
    accepted: bool,
) -> None:
    monkeypatch.setattr(libc, "filesystem_of", lambda fd: (magic, block_bytes))
    assert (hugepages.huge_page_bytes(0) is not None) is accepted
    os.truncate(good, 2 << 20)
    if not accepted:
        assert refused(good, base, require_hugepages=True).step == 10
        return
    opened = open_region(
        f"shm:file?path={good}",
        REGION,
        allowed_base_dirs=AllowedBaseDirs.of([str(base)]),
        writable=False,
        require_hugepages=True,
    )
    os.close(opened.fd)
    assert opened.map_bytes == 2 << 20, "W-046: mappings of huge pages have whole pages"


def test_W_045_the_real_file_system_is_recognised_by_its_magic(base: Path) -> None:
    fd = os.open(base, os.O_RDONLY)
    try:
        magic, block_bytes = libc.filesystem_of(fd)
    finally:
        os.close(fd)
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    tmpfs = {mount[1] for mount in mounts if mount[2] == "tmpfs"}
    assert block_bytes > 0
    assert (magic == 0x01021994) is (str(base.parent) in tmpfs)


@pytest.mark.parametrize(
    ("policy", "mode", "seen"),
    [
        (FilePolicy(forbidden_mode=0o020), 0o660, "mode 0660"),
        (FilePolicy(owners=frozenset({4_000_000})), 0o600, f"owner {os.geteuid()}"),
        (FilePolicy(groups=frozenset({4_000_000})), 0o600, f"group {os.getegid()}"),
    ],
    ids=["group-writable", "owner", "group"],
)
def test_W_041_a_configured_policy_refuses(
    good: Path, base: Path, policy: FilePolicy, mode: int, seen: str
) -> None:
    good.chmod(mode)
    error = refused(good, base, policy=policy)
    assert (error.step, error.seen) == (8, seen)


def test_W_041_a_policy_that_is_met_accepts(stream: Stream) -> None:
    owner = stream.header_path.stat()
    policy = FilePolicy(0o002, frozenset({owner.st_uid}), frozenset({owner.st_gid}))
    stream.map_header(policy=policy).close()


def test_W_031_an_empty_list_rejects_every_region(good: Path) -> None:
    with pytest.raises(ShmValidationError, match="there is none") as caught:
        map_region(
            f"shm:file?path={good}", REGION, allowed_base_dirs=AllowedBaseDirs.of(), writable=False
        )
    assert caught.value.step == 5


def test_W_031_without_a_list_the_base_directory_is_allowed(base: Path) -> None:
    assert AllowedBaseDirs.of([], shm_base_dir=str(base)).directories == (str(base),)
    listed = AllowedBaseDirs.of(["/tmp"], shm_base_dir=str(base)).directories
    assert listed == (os.path.realpath("/tmp"),)


def test_W_031_a_base_given_through_a_link_works(stream: Stream, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(stream.base)
    allowed = AllowedBaseDirs.of([str(link)])
    assert allowed.directories == (str(stream.base),)
    for named in (stream.header_path, link / stream.header_path.relative_to(stream.base)):
        map_region(
            f"shm:file?path={named}",
            stream.geometry.header_ring(),
            allowed_base_dirs=allowed,
            writable=False,
        ).close()


def test_W_031_base_directories_are_made_canonical_once(stream: Stream, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(stream.base)
    allowed = AllowedBaseDirs.of([str(link)])
    link.unlink()
    link.symlink_to("/etc")
    assert allowed.containing("/etc/hostname") is None
    assert allowed.containing(str(stream.header_path)) == str(stream.base)


@pytest.mark.parametrize("directory", ["relative", "/no/such/directory", "/etc/hostname"])
def test_W_031_base_directories_must_exist(directory: str) -> None:
    with pytest.raises(ConfigError, match="allowed base directory"):
        AllowedBaseDirs.of([directory])


def test_the_root_directory_as_base_allows_everything_below_it() -> None:
    assert AllowedBaseDirs.of(["/"]).containing("/etc/hostname") == "/"
    assert AllowedBaseDirs.of(["/"]).containing("/") is None


def test_W_032_without_the_no_follow_flag_mapping_fails(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_NOFOLLOW")
    with pytest.raises(UnsupportedPlatformError, match="without following links"):
        stream.map_header()


def test_W_032_without_opens_relative_to_a_directory_mapping_fails(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "supports_dir_fd", set())
    with pytest.raises(UnsupportedPlatformError):
        stream.map_header()


@both_roles
def test_W_134_opens_carry_no_create_or_truncate_flag(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    """W-134, C-045: the file is opened not following links, and with nothing that changes it."""
    seen: list[int] = []
    real_open = os.open

    def spy(path: str, flags: int, *args: object, **kwargs: object) -> int:
        if path == "header.ring":
            seen.append(flags)
        return real_open(path, flags, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", spy)
    monkeypatch.setattr(os, "supports_dir_fd", {spy})
    stream.map_header(writable=writable).close()
    (flags,) = seen
    assert flags & (os.O_CREAT | os.O_TRUNC | os.O_APPEND) == 0
    assert flags & os.O_NOFOLLOW
    assert flags & os.O_CLOEXEC
    assert flags & os.O_ACCMODE == (os.O_RDWR if writable else os.O_RDONLY)


def test_W_017_any_file_name_in_an_allowed_directory_maps(stream: Stream) -> None:
    ring = stream.header_path.rename(stream.base / "a.bin")
    pool = stream.pool_path().rename(stream.base / "b.bin")
    for path, geometry in (
        (ring, stream.geometry.header_ring()),
        (pool, stream.geometry.pool(stream.geometry.pools[0])),
    ):
        map_region(
            f"shm:file?path={path}", geometry, allowed_base_dirs=stream.allowed, writable=False
        ).close()


def test_W_221_nothing_switches_the_checks_off() -> None:
    """Every option of the mapping functions makes them stricter or names a purpose; none skips."""
    options = set(inspect.signature(map_region).parameters)
    assert options == {
        "uri",
        "expected",
        "allowed_base_dirs",
        "writable",
        "require_hugepages",
        "lock_memory",
        "freshness",
        "policy",
        "group",
    }


def test_W_224_a_failing_map_prints_no_payload(stream: Stream) -> None:
    secret = b"do not print this"
    writer = stream.map(writable=True)
    writer.pools[1].buffer[64 : 64 + len(secret)] = secret
    writer.header.buffer[0:8] = secret[:8]
    writer.retire()
    with pytest.raises(ShmValidationError) as caught:
        stream.map()
    assert secret.decode() not in str(caught.value)
    assert "magic" in str(caught.value)


def _before(function: Callable[..., int], action: Callable[[], None]) -> Callable[..., int]:
    def wrapped(*args: object) -> int:
        action()
        return function(*args)

    return wrapped
