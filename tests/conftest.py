"""The whole suite on two processors.

The tests of a file run one after the other in one worker. Files that start real processes come
first, since their tests mostly wait, the longest of them before all others; the rest computes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from typing import Any

import pytest

from tests.session_processes import end_session_processes

# Before numpy is loaded, here and in every process that tests start: its linear algebra starts a
# thread a processor, and with them numpy takes half as long again to load.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_configure() -> None:
    """Let Ctrl-C work in the processes that tests start: a shell's `make test &` has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# In this order; a name may be that of a folder.
_LONG = (
    "tests/conformance/test_peer_checks.py",
    "tests/docs/test_pages.py",
    "tests/cli/demo/",
    "tests/bridge/test_two_hosts.py",
    "tests/driver/http/page/",
    "tests/project/test_packaging.py",
    "tests/simulation/",
    "tests/docs/test_site.py",
    "tests/bridge/test_demo.py",
    "tests/hsm/oracle/",
    "tests/typing/",
)
_PROCESS_FILES = pytest.StashKey[set[str]]()
_OTHER_PROCESSES = len(_LONG)
_OTHERS = _OTHER_PROCESSES + 1


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    has_processes = {_file(item) for item in items if _starts_processes(item)}

    def place(item: pytest.Item) -> int:
        file = _file(item)
        otherwise = _OTHER_PROCESSES if file in has_processes else _OTHERS
        return next((n for n, name in enumerate(_LONG) if file.startswith(name)), otherwise)

    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(_file(item)))
    items.sort(key=place)


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _starts_processes(item: pytest.Item) -> bool:
    return item.get_closest_marker("process") is not None or "media_driver" in getattr(
        item, "fixturenames", ()
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    session.stash[_PROCESS_FILES] = {
        _file(item) for item in session.items if _starts_processes(item)
    }


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """End what the session's fixtures started before the tests that only compute."""
    yield
    if nextitem is not None and _file(nextitem) not in item.session.stash[_PROCESS_FILES]:
        end_session_processes()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Stop where the groups have no effect, as with pytest 9.2 and pytest-xdist 3.8.

    Each worker would run some tests of each file, and start its servers and browsers again.
    """
    alone = [test for test in ids if "@" not in test]
    if node.config.option.dist == "loadgroup" and alone:
        pytest.exit(
            f"pytest {pytest.__version__} runs {alone[0]} outside its group:"
            " pip install -e '.[dev]' has a version that keeps the groups",
            returncode=4,
        )
