"""The pages of a driver or a bridge that commands read: `/status.json` of its HTTP server."""

from __future__ import annotations

import http.client
import socket
from typing import Any

import msgspec

from tensor_pool.driver.core.configuration import AUTOMATIC_ADDRESS, USUAL_ADDRESS, DriverConfig
from tensor_pool.protocol.transport.media_driver import default_aeron_dir

from .exit_status import CommandError

__all__ = ["address_of_pages", "fetch_page", "fetch_status"]

_LONGEST_PAGE_BYTES = 64 << 20


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a server on a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the path."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def address_of_pages(config: DriverConfig, timeout_s: float) -> str:
    """The address of a driver's pages, or the path of their socket; "" where it is not known.

    Behind the address `auto` there may be another driver: its Aeron directory and control stream
    are compared.
    """
    table = config.driver
    address = table.http_socket or table.http_address
    if address.endswith(":0"):
        return ""  # any free port: the driver logs its number
    if address != AUTOMATIC_ADDRESS:
        return address
    try:
        found = fetch_status(USUAL_ADDRESS, timeout_s)["driver"]
    except CommandError:
        return ""
    wanted = (table.aeron_dir or default_aeron_dir(), table.control_stream_id)
    seen = (found.get("aeron_dir"), found.get("control_stream_id"))
    return USUAL_ADDRESS if seen == wanted else ""


def fetch_status(address: str, timeout_s: float) -> dict[str, Any]:
    """The status document of the driver at `host:port` or at the path of a Unix socket.

    Raise CommandError if it cannot be had.
    """
    url, page = fetch_page(address, timeout_s)
    try:
        document = msgspec.json.decode(page)
    except msgspec.DecodeError as error:
        raise CommandError(f"{url}: {error}") from error
    if not isinstance(document, dict) or not {"driver", "streams", "leases"} <= document.keys():
        raise CommandError(f"{url}: not the status of a tensor pool driver")
    return document


def fetch_page(address: str, timeout_s: float) -> tuple[str, bytes]:
    """The name of `/status.json` at `host:port` or at the path of a Unix socket, and its bytes.

    It is on this machine: a proxy that is configured for the web is not asked. Raise CommandError
    if it cannot be had.
    """
    is_path = address.startswith("/")
    url = f"{address} /status.json" if is_path else f"http://{address}/status.json"
    try:
        connection = (
            _UnixConnection(address, timeout_s)
            if is_path
            else http.client.HTTPConnection(address, timeout=timeout_s)
        )
        try:
            connection.request("GET", "/status.json")
            response = connection.getresponse()
            page = response.read(_LONGEST_PAGE_BYTES)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CommandError(f"{url}: {error}") from error
    if response.status != http.client.OK:
        raise CommandError(f"{url}: {response.status} {response.reason}")
    return url, page
