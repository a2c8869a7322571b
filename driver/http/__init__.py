"""The optional HTTP pages of a running driver: off unless `driver.http_address` is set.

Their libraries are imported only then; they take longer to load than the rest of the driver.
"""

from __future__ import annotations

import contextlib
import socket

from ..runtime.assembly import Assembly
from ..runtime.loop import LoopCalls

__all__ = ["open_listener", "open_pages"]


def open_listener(address: str, opened: contextlib.ExitStack) -> socket.socket | None:
    """Take the address, before anything else is opened that would have to be undone.

    None where the pages are off. Raises HttpUnavailableError.
    """
    if not address:
        return None
    from .server import listen

    return opened.enter_context(listen(address))


def open_pages(
    listener: socket.socket | None,
    assembly: Assembly,
    calls: LoopCalls,
    opened: contextlib.ExitStack,
) -> None:
    """Serve pages about a started driver until `opened` is closed; nothing without a listener."""
    if listener is not None:
        from .server import serve_http

        opened.callback(serve_http(listener, assembly, calls))
