from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.protocol.shm.streams import Stream, create_stream


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory of its own in shared memory, canonical."""
    root = "/dev/shm" if os.path.isdir("/dev/shm") else None
    directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="tensorpool-test-", dir=root)))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def stream(base: Path) -> Iterator[Stream]:
    """Eight slots, pools of 4 KiB and 64 KiB, epoch 7."""
    created = create_stream(base, strides=(4096, 65536))
    yield created
    created.close()
