"""Serving the driver's pages from a thread of its own."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future

import uvicorn

from .assembly import Assembly
from .http_app import create_app
from .loop import LoopDesk
from .report import DriverReport, MetricsReport, take_metrics, take_report

__all__ = ["serve_http"]

_STOP_TIMEOUT_S = 3.0

_log = logging.getLogger(__name__)


class _LoopReporter:
    """Has reports made by the loop."""

    def __init__(self, assembly: Assembly, desk: LoopDesk) -> None:
        self._assembly = assembly
        self._desk = desk

    def request_metrics(self) -> Future[MetricsReport]:
        return self._desk.call(lambda: take_metrics(self._assembly))

    def request_report(self) -> Future[DriverReport]:
        return self._desk.call(lambda: take_report(self._assembly))


def serve_http(listener: socket.socket, assembly: Assembly, desk: LoopDesk) -> Callable[[], None]:
    """Serve on a listening socket until the returned function is called."""
    app = create_app(_LoopReporter(assembly, desk))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="off",
            loop="asyncio",
            http="h11",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="driver-http", daemon=True
    )
    thread.start()
    host, port = listener.getsockname()[:2]
    _log.info("pages on http://%s:%d/", f"[{host}]" if ":" in host else host, port)

    def stop() -> None:
        server.should_exit = True
        thread.join(_STOP_TIMEOUT_S)

    return stop
