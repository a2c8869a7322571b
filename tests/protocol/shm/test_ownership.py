"""Memory that another user owns or can write to is neither served nor mapped (D-115, W-041)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tensor_pool.protocol.errors import ShmValidationError
from tensor_pool.protocol.shm.geometry import RegionGeometry
from tensor_pool.protocol.shm.ownership import ownership_problem, uid_of_directory_name
from tensor_pool.protocol.shm.safe_open import AllowedBaseDirs, open_region
from tensor_pool.protocol.shm.uri import format_region_uri
from tests.fresh_process import as_user

REGION = RegionGeometry(10_000, 7, 4)
OTHER_UID = 5001


@pytest.fixture
def base() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tp-own-", dir="/dev/shm"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


def region_below(base: Path, user: str) -> Path:
    directory = base / f"tensorpool-{user}" / "default" / "10000" / "7"
    directory.mkdir(parents=True)
    file = directory / "header.ring"
    file.write_bytes(bytes(REGION.length_bytes))
    for path in (file, *directory.parents):
        if path.is_relative_to(base) and path != base:
            path.chmod(0o770 if path.is_dir() else 0o660)
    directory.chmod(0o770)
    return file


def squat(base: Path) -> None:
    """Make the directory of another user, open for every user."""
    os.umask(0)
    region_below(base, f"uid-{OTHER_UID}")
    (base / f"tensorpool-uid-{OTHER_UID}").chmod(0o777)


def open_it(base: Path, file: Path) -> None:
    opened = open_region(
        format_region_uri(str(file)),
        REGION,
        allowed_base_dirs=AllowedBaseDirs((str(base),)),
        writable=True,
    )
    os.close(opened.fd)


def test_a_tree_of_one_user_is_mapped(base: Path) -> None:
    open_it(base, region_below(base, f"uid-{os.geteuid()}"))


@pytest.mark.parametrize("depth", range(5))
def test_D_115_whatever_every_user_can_write_to_is_refused(base: Path, depth: int) -> None:
    """D-115: the file itself, then each directory above it."""
    file = region_below(base, f"uid-{os.geteuid()}")
    target = (file, *file.parents)[depth]
    target.chmod(target.stat().st_mode | 0o002)
    with pytest.raises(ShmValidationError, match="every user can write to it") as refused:
        open_it(base, file)
    if depth:
        assert str(target) in str(refused.value)


def test_D_115_a_directory_named_for_another_user_is_refused(base: Path) -> None:
    """D-115: `tensorpool-uid-5001` belongs to the user with that uid, or to root."""
    file = region_below(base, f"uid-{OTHER_UID}")
    if os.geteuid() == 0:
        for path in (file, *list(file.parents)[:4]):
            os.chown(path, 5002, 5002)
    with pytest.raises(ShmValidationError, match="owned by"):
        open_it(base, file)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as other users")
class TestWithTwoUsers:
    def _owned(self, file: Path, uid: int) -> None:
        for path in (file, *list(file.parents)[:4]):
            os.chown(path, uid, uid)

    @pytest.mark.parametrize("depth", range(5))
    def test_D_115_whatever_belongs_to_another_user_is_refused(
        self, base: Path, depth: int
    ) -> None:
        file = region_below(base, f"uid-{OTHER_UID}")
        self._owned(file, OTHER_UID)
        open_it(base, file)
        target = (file, *file.parents)[depth]
        os.chown(target, 5002, 5002)
        with pytest.raises(ShmValidationError, match="owned by uid 5002, not by uid 5001"):
            open_it(base, file)

    def test_D_115_a_squatter_gets_neither_regions_nor_frames(self, base: Path) -> None:
        """D-115: the attacker makes the victim's directory first, then puts files there."""
        user = base / f"tensorpool-uid-{OTHER_UID}"
        as_user(5002, squat, base)
        file = user / "default" / "10000" / "7" / "header.ring"
        file.chmod(0o666)
        for path in file.parents[:4]:
            path.chmod(0o777)
        with pytest.raises(ShmValidationError):
            open_it(base, file)
        with pytest.raises(ShmValidationError):
            as_user(OTHER_UID, open_it, base, file)


def test_the_owner_of_a_directory_is_in_its_name() -> None:
    assert uid_of_directory_name("tensorpool-root") == 0
    assert uid_of_directory_name("tensorpool-uid-77") == 77
    assert uid_of_directory_name("tensorpool-no-such-user-here") is None
    assert uid_of_directory_name("pools") is None


def test_the_problem_names_owner_and_mode(base: Path) -> None:
    status = base.stat()
    assert ownership_problem(status, status.st_uid) == (
        "mode 1777, so that every user can write to it"
    )
