"""The release procedure finds what must not be published."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from tests import matrix, release

URL = "https://tensor-pool.example"
GOOD = f"aeron_tensor_pool-1.0-py3-none-{release.PLATFORM}.whl"
PACKAGES = ("hsm", "protocol", "client", "driver", "cli", "schemas")
METADATA = f"""\
Metadata-Version: 2.4
Name: aeron-tensor-pool
Version: 1.0
Summary: text
Author: Jane Roe
License-Expression: MIT
Requires-Python: >=3.12
Project-URL: Source, {URL}

See [the guide]({URL}/blob/main/guide.md).
"""


def wheel(directory: Path, metadata: str = METADATA, *, name: str = GOOD, extra: str = "") -> Path:
    path = directory / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("aeron_tensor_pool-1.0.dist-info/METADATA", metadata)
        for package in PACKAGES:
            archive.writestr(f"tensor_pool/{package}/py.typed", "")
        if extra:
            archive.writestr(extra, "")
    return path


def test_the_links_of_readme_become_absolute() -> None:
    text = (release.ROOT / "README.md").read_text()
    assert release.relative_links(text)
    published = release.with_absolute_links(text, URL)
    assert release.relative_links(published) == []
    for target in release.relative_links(text):
        kind = "raw" if Path(target).suffix in (".svg", ".webp", ".png") else "blob"
        assert f"({URL}/{kind}/main/{target})" in published


def test_a_wheel_without_fault_passes(tmp_path: Path) -> None:
    assert release.problems_of(wheel(tmp_path), URL) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"name": GOOD.replace(release.PLATFORM, "any")}, "platform tag"),
        ({"metadata": METADATA.replace("Author: Jane Roe\n", "")}, "no Author"),
        ({"metadata": METADATA.replace("Project-URL: Source", "X-Other: a")}, "Project-URL"),
        ({"metadata": METADATA + "[more](docs/index.md)\n"}, "relative links"),
        ({"extra": "tensor_pool/schemas/generator/generate.py"}, "contains"),
    ],
)
def test_a_fault_in_a_wheel_is_named(tmp_path: Path, change: dict[str, str], found: str) -> None:
    (problem,) = release.problems_of(wheel(tmp_path, **change), URL)
    assert found in problem


def test_the_matrix_finds_the_interpreter_that_runs_this_test() -> None:
    version, _ = matrix.found_interpreters()[sys.version_info.minor]
    assert version == sys.version.split()[0]
