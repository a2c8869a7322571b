"""A place of its own for what the pages start with default settings."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def deployment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Driver and clients without options meet here, and nowhere else.

    Aeron's default directory is named after `USER`; region files go to a namespace of their own
    below the driver's default base directory, which a reader's own driver may be using.
    """
    tmp_path_factory.getbasetemp()  # pytest names it after USER, and would leave one for each test
    name = f"tensor-pool-docs-{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("USER", name)
    monkeypatch.setenv("SHM_NAMESPACE", name)
    monkeypatch.delenv("AERON_DIR", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    yield
    shutil.rmtree(f"/dev/shm/aeron-{name}", ignore_errors=True)
    base = Path("/dev/shm/tensorpool")
    owned = base / f"tensorpool-{pwd.getpwuid(os.getuid()).pw_name}"
    shutil.rmtree(owned / name, ignore_errors=True)
    for folder in (owned, base):
        with contextlib.suppress(OSError):  # it is not empty: another test is using it
            folder.rmdir()
