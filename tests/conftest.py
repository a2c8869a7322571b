"""The whole suite on two processors.

Tests that start real processes mostly wait. They run one after the other in groups of about the
same length: those marked `lab`, and those of a few folders each. The rest fill the workers that
become free, a file at a time, files that compute long first.
"""

from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    """Let Ctrl-C work in the processes that tests start: a shell's `make test &` has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_WAITING = (
    ("tests/conformance/", "tests/docs/", "tests/field/"),
    ("tests/driver/", "tests/client/", "tests/chaos/", "tests/soak/"),
)
_LAST_GROUP = len(_WAITING)  # processes of all other folders
_COMPUTE_LONG = ("tests/simulation/", "tests/hsm/oracle/", "tests/typing/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        """Number of the group, of the files that compute long, or of the rest."""
        file = item.location[0]
        if not item.get_closest_marker("process"):
            return _LAST_GROUP + (1 if file.startswith(_COMPUTE_LONG) else 2)
        return next(
            (n for n, folders in enumerate(_WAITING) if file.startswith(folders)), _LAST_GROUP
        )

    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            number = place(item)
            group = f"processes {number}" if number <= _LAST_GROUP else item.location[0]
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=place)
