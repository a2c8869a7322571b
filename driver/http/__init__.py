"""The optional HTTP pages of a running driver: off without `http_address` and `http_socket`.

The address `auto` never keeps a driver from starting.

Their libraries are imported only then; they take longer to load than the rest of the driver.
"""

from __future__ import annotations

import contextlib
import logging
import socket

from ..core.configuration import AUTOMATIC_ADDRESS, DriverTable
from ..runtime.assembly import Assembly
from ..runtime.loop import LoopCalls

__all__ = ["open_listeners", "open_pages", "page_address"]

_log = logging.getLogger(__name__)


def open_listeners(driver: DriverTable, opened: contextlib.ExitStack) -> list[socket.socket]:
    """Take the addresses, before anything else is opened that would have to be undone.

    Empty where the pages are off. Raises HttpUnavailableError.
    """
    if not (driver.http_address or driver.http_socket):
        return []
    from .server import listen, listen_anywhere
    from .unix_socket import listen_on_path

    listeners = []
    if driver.http_address == AUTOMATIC_ADDRESS:
        listener = listen_anywhere()
        if listener is not None:
            listeners.append(opened.enter_context(listener))
    elif driver.http_address:
        listeners.append(opened.enter_context(listen(driver.http_address)))
    if driver.http_socket:
        listeners.append(opened.enter_context(listen_on_path(driver.http_socket)))
    return listeners


def open_pages(
    listeners: list[socket.socket],
    assembly: Assembly,
    calls: LoopCalls,
    opened: contextlib.ExitStack,
) -> None:
    """Serve pages about a started driver until `opened` is closed; nothing without a listener."""
    if listeners:
        from .server import serve_http

        opened.callback(serve_http(listeners, assembly, calls))
        for listener in listeners:
            _log.info("pages on %s", page_address(listener))


def page_address(listener: socket.socket) -> str:
    """Return the URL of the page on a listening socket; `unix:PATH` for a Unix socket."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
