"""The release procedure: build what would be published, and check it (`make release-check`).

Works on a copy of the last commit. In it, relative links of README become absolute and the project
gets its address, since both are shown outside of the repository. Then: wheel and source archive,
`twine check --strict`, the tags and contents of the wheel, and an installation of it into an empty
environment.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESERVED_URL = "https://tensor-pool.example"  # RFC 2606: leads nowhere
PLATFORM = "manylinux_2_17_x86_64"

_LINK = re.compile(r"(!?)\]\((?!\w+:|#)([^)\s]+)\)")


def with_absolute_links(markdown: str, url: str) -> str:
    """Return README with its relative links below `url`; pictures lead to the raw file."""

    def absolute(match: re.Match[str]) -> str:
        is_picture = markdown.rfind("![", 0, match.start()) > markdown.rfind("](", 0, match.start())
        return f"]({url}/{'raw' if is_picture else 'blob'}/main/{match[2]})"

    return _LINK.sub(absolute, markdown)


def relative_links(markdown: str) -> list[str]:
    """Return the targets of links and pictures that are not absolute."""
    return [match[2] for match in _LINK.finditer(markdown)]


def prepare(copy: Path, url: str) -> None:
    """Copy the last commit, with absolute links and the address of the project."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", "HEAD"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    with tempfile.TemporaryFile() as file:
        file.write(archive)
        file.seek(0)
        with tarfile.open(fileobj=file) as tar:
            tar.extractall(copy, filter="tar")
    readme = copy / "README.md"
    readme.write_text(with_absolute_links(readme.read_text(), url))
    project = copy / "pyproject.toml"
    urls = "\n".join(
        [
            "[project.urls]",
            f'Homepage = "{url}"',
            f'Source = "{url}"',
            f'Documentation = "{url}/blob/main/docs/index.md"',
            f'Changelog = "{url}/blob/main/CHANGELOG.md"',
            f'Issues = "{url}/issues"',
        ]
    )
    project.write_text(
        project.read_text().replace("[project.scripts]", f"{urls}\n\n[project.scripts]", 1)
    )


def metadata_of(wheel: Path) -> Message:
    """Return the metadata in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def problems_of(wheel: Path, url: str) -> list[str]:
    """Return the faults in a wheel, as lines."""
    found = []
    metadata = metadata_of(wheel)
    if not wheel.name.endswith(f"-py3-none-{PLATFORM}.whl"):
        found.append(f"{wheel.name}: the platform tag is not {PLATFORM}")
    fields = ("Author", "License-Expression", "Requires-Python", "Summary")
    found += [f"{wheel.name}: no {field}" for field in fields if not metadata.get(field)]
    if not any(url in value for value in metadata.get_all("Project-URL", [])):
        found.append(f"{wheel.name}: no Project-URL below {url}")
    payload = metadata.get_payload()
    if relative := relative_links(payload if isinstance(payload, str) else ""):
        found.append(f"{wheel.name}: relative links in the long description: {relative}")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    foreign = [n for n in names if n.startswith("tensor_pool/schemas/generator/") or "/tests/" in n]
    if foreign:
        found.append(f"{wheel.name}: contains {foreign[:3]}")
    packages = ("hsm", "protocol", "client", "driver", "cli", "schemas")
    found += [
        f"{wheel.name}: no py.typed in {package}"
        for package in packages
        if f"tensor_pool/{package}/py.typed" not in names
    ]
    return found


def installs(wheel: Path, directory: Path) -> None:
    """Install a wheel into an empty environment, and run the program there."""
    environment = directory / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}[cli]"],
        check=True,
        cwd=directory,
    )
    for command in (
        [environment / "bin" / "tensor-pool", "--version"],
        [environment / "bin" / "tensor-pool", "driver", "--check"],
        [python, "-c", "from tensor_pool import client, driver, hsm"],
    ):
        subprocess.run(command, check=True, cwd=directory, stdout=subprocess.DEVNULL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="", help="address of the published repository")
    url = parser.parse_args().url.rstrip("/") or RESERVED_URL
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        copy, dist = Path(name) / "source", Path(name) / "dist"
        copy.mkdir()
        prepare(copy, url)
        subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, copy],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        subprocess.run(
            [sys.executable, "-m", "twine", "check", "--strict", *sorted(dist.iterdir())],
            check=True,
        )
        (wheel,) = dist.glob("*.whl")
        if problems := problems_of(wheel, url):
            print(*problems, sep="\n", file=sys.stderr)
            return 1
        installs(wheel, Path(name))
        print(f"{wheel.name}: installs and runs")
        if url == RESERVED_URL:
            print("checked with a reserved address; PROJECT_URL=https://... builds into dist/")
            return 0
        target = ROOT / "dist"
        target.mkdir(exist_ok=True)
        for path in sorted(dist.iterdir()):
            shutil.copy(path, target)
            print(f"dist/{path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
