"""The HTTP server of a bridge: three pages for this machine, from the standard library.

Nothing here changes anything. It listens on loopback only, answers to loopback names only (a web
page from elsewhere could let its own name resolve to 127.0.0.1), and not to pages from elsewhere.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import msgspec

from tensor_pool.protocol.errors import TensorPoolError

from ..metrics import CONTENT_TYPE, metrics_page
from ..reporting import Reporter

__all__ = ["PagesUnavailableError", "serve_pages", "split_address"]

_STATIC = Path(__file__).parent / "static"
_KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FILES: Final = {
    "/": _STATIC / "index.html",
    **{f"/static/{p.relative_to(_STATIC)}": p for p in _STATIC.rglob("*") if p.suffix in _KINDS},
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_REQUESTS_AT_ONCE = 16
_TIMEOUT_S = 5.0


class PagesUnavailableError(TensorPoolError):
    """`http_address` is set but cannot be served."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of a loopback `host:port`. Raises ValueError.

    >>> split_address("127.0.0.1:9465")
    ('127.0.0.1', 9465)
    """
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdigit() or int(port) > 65535 or not _is_loopback(host):
        raise ValueError(f"{address!r} must be a port on loopback, such as 127.0.0.1:9465")
    return host, int(port)


@contextlib.contextmanager
def serve_pages(address: str, reporter: Reporter) -> Iterator[str]:
    """Serve until the block ends; yields the address. Raises PagesUnavailableError."""
    host, port = split_address(address)
    try:
        server = _Server((host, port), reporter)
    except OSError as error:
        raise PagesUnavailableError(
            f"cannot listen on http_address {address}: {error.strerror}"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="bridge-http", daemon=True)
    thread.start()
    try:
        yield f"{f'[{host}]' if ':' in host else host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_TIMEOUT_S)


class _Server(ThreadingHTTPServer):
    """Answers a bounded number of requests at once; more are closed unanswered."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], reporter: Reporter) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.reporter = reporter
        self._room = threading.BoundedSemaphore(_REQUESTS_AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that has gone is not an event."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _TIMEOUT_S
    server: _Server

    def do_GET(self) -> None:
        if not _is_loopback(_host_name(self.headers.get("Host", ""))):
            self._answer(421, "text/plain", b"this server answers to loopback names only\n")
        elif not self._is_from_here():
            self._answer(403, "text/plain", b"only this server's own page may ask for this\n")
        elif self.path == "/status.json":
            self._report()
        elif self.path == "/metrics":
            self._report(metrics=True)
        elif (file := _FILES.get(self.path)) is not None:
            self._answer(200, _KINDS[file.suffix], file.read_bytes())
        else:
            self._answer(404, "text/plain", b"there are /, /status.json and /metrics\n")

    def _is_from_here(self) -> bool:
        own = self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        link = self.path == "/" and self.headers.get("Sec-Fetch-Mode") == "navigate"
        return own or link

    def _report(self, *, metrics: bool = False) -> None:
        try:
            status = self.server.reporter.status()
        except TimeoutError:
            self._answer(503, "text/plain", b"the bridge did not answer in time\n")
            return
        if metrics:
            self._answer(200, CONTENT_TYPE, metrics_page(status))
        else:
            self._answer(200, "application/json", msgspec.json.encode(status))

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "tensor-pool"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as inherited
        """Requests are not logged."""


def _host_name(host: str) -> str:
    """The Host header without its port, an IPv6 address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
