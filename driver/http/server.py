"""Serving the driver's pages from a thread of its own."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future

import uvicorn

from ..config.for_clients import client_config_for
from ..runtime.assembly import Assembly
from ..runtime.loop import LoopDesk
from ..runtime.report import DriverReport, MetricsReport, take_metrics, take_report
from .app import create_app
from .page.hub import Hub
from .page.viewer_process import ViewerProcess

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
    reporter = _LoopReporter(assembly, desk)
    viewer = ViewerProcess(client_config_for(assembly.config, assembly.aeron_dir))
    hub = Hub(reporter, assembly.feed, viewer, shows_frames=assembly.config.driver.http_images)
    app = create_app(reporter, hub)
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
        hub.close_soon()  # open pages would keep the server waiting
        server.should_exit = True
        thread.join(_STOP_TIMEOUT_S)

    return stop
