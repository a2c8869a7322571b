"""The socket of the driver's HTTP server, taken before anything else is opened."""

from __future__ import annotations

import importlib.util
import socket

from tensor_pool.protocol.errors import TensorPoolError

__all__ = ["HttpUnavailableError", "listen", "split_address"]

_LIBRARIES = ("prometheus_client", "starlette", "uvicorn")


class HttpUnavailableError(TensorPoolError):
    """`driver.http_address` is set but cannot be served."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of a `host:port`, whose host may be an IPv6 address in brackets.

    >>> split_address("[::1]:9100")
    ('::1', 9100)
    """
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def listen(address: str) -> socket.socket:
    """A listening socket on a loopback `host:port`; raises HttpUnavailableError."""
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise HttpUnavailableError(
            f"driver.http_address needs {', '.join(missing)}:"
            " pip install 'aeron-tensor-pool[http]', or leave the key empty"
        )
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise HttpUnavailableError(
            f"cannot listen on driver.http_address {address}: {error.strerror}"
        ) from error
