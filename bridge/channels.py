"""Aeron channels of links: from HOST:PORT to a full text (B-021, B-022, B-131)."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Final

import msgspec

__all__ = [
    "UDP_PREFIX",
    "address_of",
    "auto_window",
    "is_loopback",
    "publication_channel",
    "receive_buffer_limit",
    "refused_address",
    "subscription_channel",
]

UDP_PREFIX: Final = "aeron:udp?"
_LEAST_BUFFER: Final = 128 * 1024
_MAX_AUTO_WINDOW: Final = 4 << 20
_RMEM_MAX = Path("/proc/sys/net/core/rmem_max")
_USUAL_RMEM_MAX: Final = 212_992


class Parameters(msgspec.Struct, frozen=True):
    """A channel in parts; the order of parameters is kept."""

    values: dict[str, str]

    @classmethod
    def of(cls, text: str) -> Parameters:
        """Of HOST:PORT or of a text that starts with `aeron:udp?`. Raises ValueError."""
        if not text.startswith("aeron:"):
            host, colon, port = text.rpartition(":")
            if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError(f"{text!r} is neither HOST:PORT nor an aeron:udp channel")
            return cls({"endpoint": text})
        if not text.startswith(UDP_PREFIX):
            raise ValueError(f"{text!r} must start with {UDP_PREFIX}")
        values: dict[str, str] = {}
        for item in filter(None, text.removeprefix(UDP_PREFIX).split("|")):
            key, equals, value = item.partition("=")
            if not equals or not value:
                raise ValueError(f"{text!r}: parameter {item!r} has no value")
            values[key] = value
        if not values.keys() & {"endpoint", "control"}:
            raise ValueError(f"{text!r} has neither endpoint nor control")
        return cls(values)

    def with_defaults(self, **defaults: object) -> str:
        """The whole text, with the parameters that are lacking; empty values are left out."""
        values = dict(self.values)
        for name, value in defaults.items():
            if value not in ("", None):
                values.setdefault(name.replace("_", "-"), str(value))
        return UDP_PREFIX + "|".join(f"{key}={value}" for key, value in values.items())


def receive_buffer_limit() -> int:
    """Bytes that a socket's buffer may have here (`net.core.rmem_max`)."""
    try:
        return int(_RMEM_MAX.read_text())
    except (OSError, ValueError):
        return _USUAL_RMEM_MAX


def auto_window(term_length: int) -> int:
    """The receiver window where none is configured, in bytes."""
    return max(_LEAST_BUFFER, min(_MAX_AUTO_WINDOW, receive_buffer_limit(), term_length // 4))


def publication_channel(
    to: str,
    *,
    mtu: int,
    term_length: int,
    window: int,
    alias: str,
    interface: str = "",
    ttl: int | None = None,
    flow_control: str = "",
) -> str:
    """The channel of an outgoing link. Raises ValueError.

    `pub-wnd` bounds what waits in the log buffer, so the age of frames on a slow link; Aeron's own
    value is half a term.
    """
    buffer = max(window, _LEAST_BUFFER)
    parameters = Parameters.of(to)
    own_terms = "term-length" in parameters.values
    return parameters.with_defaults(
        mtu=mtu,
        term_length=term_length,
        pub_wnd="" if own_terms else max(mtu, min(buffer, term_length // 2)),
        so_sndbuf=buffer,
        so_rcvbuf=buffer,
        fc=flow_control,
        interface=interface,
        ttl=ttl,
        alias=alias,
    )


def subscription_channel(
    at: str,
    *,
    window: int,
    alias: str,
    congestion: str = "",
    interface: str = "",
) -> str:
    """The channel of an incoming link. Raises ValueError."""
    buffer = max(window, _LEAST_BUFFER)
    return Parameters.of(at).with_defaults(
        so_sndbuf=buffer,
        so_rcvbuf=buffer,
        rcv_wnd=window,
        cc=congestion,
        interface=interface,
        alias=alias,
    )


def address_of(text: str) -> tuple[str, int]:
    """Host and port that a place names. Raises ValueError."""
    values = Parameters.of(text).values
    place = values.get("endpoint") or values["control"]
    host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port)


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        pass
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return []
    return [ipaddress.ip_address(str(info[4][0])) for info in infos]


def is_loopback(text: str) -> bool:
    """Return True if a place is on this host only."""
    addresses = _addresses(address_of(text)[0])
    return bool(addresses) and all(address.is_loopback for address in addresses)


def refused_address(text: str, *, listening: bool) -> str | None:
    """Return the objection to a place unless `allow_public` is set (B-131), or None."""
    host, _ = address_of(text)
    for address in _addresses(host):
        if address.is_global and not address.is_multicast:
            return f"{host} can be reached from anywhere"
        if listening and address.is_unspecified:
            return f"{host} listens on every interface"
    return None
