"""The claims of the security page are tested in the places that it names."""

from __future__ import annotations

import re
import stat
import tempfile
from pathlib import Path

import pytest

from tensor_pool.driver import (
    DriverConfig,
    DriverTable,
    EmbeddedDriver,
    Pool,
    Profile,
    ShmTable,
    StreamConfig,
)

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("page", "least"),
    [
        ("security.md", 41),
        ("how-to/other-languages.md", 6),
        ("how-to/duties.md", 18),
        ("how-to/drops.md", 18),
        ("reference/attach-refusals.md", 15),
    ],
)
def test_every_test_that_a_page_names_exists(page: str, least: int) -> None:
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)(?:\[\w+\])?`", text))
    defined: set[str] = set()
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        defined.update(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")))
    assert len(named) >= least
    assert named - defined == set()


@pytest.mark.process
def test_aeron_files_are_written_by_their_owner_only() -> None:
    with tempfile.TemporaryDirectory(prefix="tensor-pool-docs-", dir="/dev/shm") as directory:
        config = DriverConfig(
            driver=DriverTable(aeron_dir=f"{directory}/aeron"),
            shm=ShmTable(base_dir=f"{directory}/pools"),
            profiles={"camera": Profile(header_nslots=4, payload_pools=(Pool(1, 4096),))},
            streams={"front": StreamConfig(stream_id=10_000, profile="camera")},
        )
        with EmbeddedDriver(config) as driver:
            files = [Path(driver.aeron_dir), *Path(driver.aeron_dir).rglob("*")]
            modes = {str(path): stat.S_IMODE(path.stat().st_mode) for path in files}
    assert modes
    assert not [path for path, mode in modes.items() if mode & 0o022], modes
