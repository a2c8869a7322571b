"""A real media driver for tests, one per test process.

Use it from another area's `conftest.py`:

    from tests.protocol.transport.media_driver import media_driver  # noqa: F401
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tests.session_processes import end_session_processes, for_the_session

__all__ = ["media_driver"]


@pytest.fixture(scope="session")
def media_driver() -> Iterator[MediaDriverProcess]:
    """A media driver in a child process, in a directory of its own below /dev/shm."""
    yield for_the_session(MediaDriverProcess())
    end_session_processes()
