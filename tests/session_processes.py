"""Processes that serve all tests of a worker, and end before the tests that only compute.

An idle media driver takes 5 % of a processor.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack

__all__ = ["end_session_processes", "for_the_session"]

_running = ExitStack()


def for_the_session[T](context: AbstractContextManager[T]) -> T:
    """Enter a context until the tests with processes are over."""
    return _running.enter_context(context)


def end_session_processes() -> None:
    """Leave all contexts; nothing happens a second time."""
    _running.close()
