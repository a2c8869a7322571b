"""The whole suite on two processors.

Tests that start real processes run one after the other on one worker, where they do not disturb
each other's timing; the others fill the second worker, a file at a time.
"""

from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    """Let Ctrl-C work in the processes that tests start: a shell's `make test &` has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    processes, others = [], []
    for item in items:
        if item.get_closest_marker("process"):
            item.add_marker(pytest.mark.xdist_group("processes"))
            processes.append(item)
        else:
            item.add_marker(pytest.mark.xdist_group(item.location[0]))
            others.append(item)
    items[:] = processes + others
