"""The whole suite on two processors.

Tests that start real processes mostly wait. They run one after the other in three groups, each on
a worker of its own: those marked `lab`, those of the folders that wait longest, and the others. The
bridge's demo goes to the worker that is free first. The rest fill the fourth worker, a file at a
time, files that compute long first.
"""

from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    """Let Ctrl-C work in the processes that tests start: a shell's `make test &` has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_WAIT_LONG = ("tests/conformance/", "tests/docs/", "tests/field/")
_COMPUTE_LONG = ("tests/simulation/", "tests/hsm/oracle/", "tests/typing/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        if not item.get_closest_marker("process"):
            return 2 if item.location[0].startswith(_COMPUTE_LONG) else 3
        return 0 if item.location[0].startswith(_WAIT_LONG) else 1

    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            groups = ("waiting", "processes", item.location[0], item.location[0])
            item.add_marker(pytest.mark.xdist_group(groups[place(item)]))
    items.sort(key=place)
