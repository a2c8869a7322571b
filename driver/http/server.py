"""The HTTP server of the driver: its socket, and the thread that serves the pages.

The libraries of the extra `http` are imported when they are needed: they take longer to load than
the rest of the driver, and `listen` reports a missing one.
"""

from __future__ import annotations

import importlib.util
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future

from tensor_pool.protocol.errors import TensorPoolError

from ..config.for_clients import client_config_for
from ..core.configuration import USUAL_ADDRESS
from ..runtime.assembly import Assembly
from ..runtime.loop import LoopCalls
from ..runtime.report import DriverReport, MetricsReport, take_metrics, take_report

__all__ = ["HttpUnavailableError", "listen", "require_libraries", "serve_http", "split_address"]

_ANY_ADDRESS = "127.0.0.1:0"
_LIBRARIES = ("prometheus_client", "sse_starlette", "starlette", "uvicorn")
_STOP_TIMEOUT_S = 3.0

_log = logging.getLogger(__name__)


class HttpUnavailableError(TensorPoolError):
    """`driver.http_address` or `driver.http_socket` is set but cannot be served."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of a `host:port`, whose host may be an IPv6 address in brackets.

    >>> split_address("[::1]:9100")
    ('::1', 9100)
    """
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def require_libraries(key: str) -> None:
    """Raise HttpUnavailableError if a library is missing that a key of the configuration needs."""
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise HttpUnavailableError(
            f"{key} needs {', '.join(missing)} of the extra http:"
            " pip install pillow prometheus-client sse-starlette starlette uvicorn, or leave the"
            " key empty"
        )


def listen(address: str) -> socket.socket:
    """A listening socket on a loopback `host:port`; raises HttpUnavailableError."""
    require_libraries("driver.http_address")
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise HttpUnavailableError(
            f"cannot listen on driver.http_address {address}: {error.strerror}"
        ) from error


def listen_anywhere() -> socket.socket | None:
    """A listening socket for the address `auto`; None where the pages cannot be served.

    It is the usual port, or any free one if that is taken.
    """
    try:
        return listen(USUAL_ADDRESS)
    except HttpUnavailableError:
        pass
    try:
        return listen(_ANY_ADDRESS)
    except HttpUnavailableError as error:
        _log.info("no web page: %s", error)
        return None


class _LoopReporter:
    """Has reports made by the loop."""

    def __init__(self, assembly: Assembly, calls: LoopCalls) -> None:
        self._assembly = assembly
        self._calls = calls

    def request_metrics(self) -> Future[MetricsReport]:
        return self._calls.call(lambda: take_metrics(self._assembly))

    def request_report(self) -> Future[DriverReport]:
        return self._calls.call(lambda: take_report(self._assembly))


def serve_http(
    listeners: list[socket.socket], assembly: Assembly, calls: LoopCalls
) -> Callable[[], None]:
    """Serve on listening sockets until the returned function is called."""
    import uvicorn

    from .app import create_app
    from .connections import ACCEPTED_AT_ONCE, BoundedProtocol
    from .meter import Meter
    from .page.event_hub import Hub
    from .page.viewer_process import ViewerProcess

    reporter = _LoopReporter(assembly, calls)
    client_config = client_config_for(assembly.config, assembly.aeron_dir)
    viewer = ViewerProcess(client_config)
    meter = Meter(client_config)
    hub = Hub(
        reporter,
        assembly.feed,
        viewer,
        meter,
        assembly.messages,
        shows_frames=assembly.config.driver.http_images,
    )
    app = create_app(reporter, hub, meter.figures)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="off",
            loop="asyncio",
            http=BoundedProtocol,
            backlog=ACCEPTED_AT_ONCE,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": listeners}, name="driver-http", daemon=True
    )
    thread.start()
    meter.start()

    def stop() -> None:
        hub.close_soon()  # open pages would keep the server waiting
        server.should_exit = True
        thread.join(_STOP_TIMEOUT_S)
        meter.close()

    return stop
