"""A function in a process of its own, for tests that fork or change their user.

The processes of the suite have threads. A fork copies only the thread that calls it, which is why
Python warns of forks there.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

__all__ = ["as_user", "in_fresh_process"]


def in_fresh_process[**P, T](
    function: Callable[P, T], *arguments: P.args, **options: P.kwargs
) -> T:
    """Call a function of a module in a new process with one thread; its result, or its exception.

    Arguments and result are pickled.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(function, *arguments, **options).result()


def as_user[**P, T](
    uid: int, function: Callable[P, T], *arguments: P.args, **options: P.kwargs
) -> T:
    """Do as `in_fresh_process`, with the rights of another user."""
    return in_fresh_process(_with_uid, uid, function, arguments, options)


def _with_uid[T](
    uid: int, function: Callable[..., T], arguments: tuple[object, ...], options: dict[str, object]
) -> T:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    return function(*arguments, **options)
