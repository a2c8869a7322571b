"""Overviews as tables for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from .overview import ConsumerView, DriverView, LeaseView, Overview, StreamView

__all__ = [
    "bytes_text",
    "driver_lines",
    "lease_table",
    "plain_table",
    "stream_table",
    "table_console",
    "unknown_lines",
]

UNKNOWN = "?"
_WIDTH_OF_A_PIPE = 200


def table_console() -> Console:
    """Return a console as wide as the terminal, or as wide as a table needs in a pipe."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE, highlight=False)


def bytes_text(nbytes: float) -> str:
    """A size for people.

    >>> bytes_text(1 << 20), bytes_text(1500), bytes_text(7)
    ('1 MiB', '1.46 KiB', '7 B')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if nbytes < 1024 or unit == "GiB":
            return f"{nbytes:.3g} {unit}" if nbytes < 1000 else f"{nbytes:.0f} {unit}"
        nbytes /= 1024
    raise AssertionError("unreachable")


def driver_lines(driver: DriverView, overview: Overview) -> RenderableType:
    """Return the table of the driver."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    if driver.shutdown is not None:
        answer = f"shut down ({driver.shutdown.lower()})"
    elif driver.responds:
        answer = "running"
    elif driver.responds is None:
        answer = "silent so far"
    else:
        answer = "does not answer"
    if driver.round_trip_ms is not None:
        answer += f", answers within {driver.round_trip_ms:.1f} ms"
    rows = [
        ("driver", answer),
        ("instance", driver.instance_id),
        ("state", driver.state),
        ("conditions", ", ".join(driver.conditions) if driver.conditions else None),
        ("control", f"{driver.control_channel} stream {driver.control_stream_id}"),
        ("media driver", driver.aeron_dir),
        ("streams", str(len(overview.streams))),
        ("leases", str(len(overview.leases))),
        ("known from", overview.source),
    ]
    for name, value in rows:
        if value is not None:
            table.add_row(name, Text(value))
    return table


def stream_table(streams: Sequence[StreamView]) -> RenderableType:
    """One line a stream."""
    bridged = any(stream.origin for stream in streams)
    table = plain_table(
        *("stream", "name", "state", "epoch", "producer", "consumers", "rate", "drops", "slots"),
        *(("origin", "path") if bridged else ()),
    )
    for stream in streams:
        table.add_row(
            str(stream.stream_id),
            stream.name or "",
            _state(stream.state),
            _epoch(stream),
            _client(stream.producer, stream.producer_name) if stream.producer is not None else "-",
            _consumers(stream.consumers),
            f"{stream.rate_hz:.1f} Hz" if stream.rate_hz is not None else UNKNOWN,
            str(stream.drops)
            if stream.drops is not None
            else ("" if not stream.consumers else "?"),
            _slots(stream),
            *((stream.origin or "", ">".join(stream.path)) if bridged else ()),
        )
    return table if streams else Text("no streams")


def lease_table(leases: Sequence[LeaseView]) -> RenderableType:
    """One line a lease."""
    table = plain_table("lease", "stream", "role", "client", "state", "expires in")
    for lease in leases:
        expiry = lease.expires_in_ms
        table.add_row(
            lease.lease_id,
            str(lease.stream_id),
            lease.role.lower(),
            _client(lease.client_id, lease.client),
            _state(lease.state),
            f"{expiry / 1000:.1f} s" if expiry is not None else UNKNOWN,
        )
    return table if leases else Text("no leases")


def unknown_lines(overview: Overview) -> RenderableType:
    """Return the lines of the values that are not known."""
    return Group(*(Text(f"not known: {text}", style="dim") for text in overview.unknown))


def plain_table(*columns: str) -> Table:
    """Return an empty table with these columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _client(client_id: int, name: str | None) -> str:
    return f"{client_id} {name}" if name else str(client_id)


def _state(path: str | None) -> str:
    return UNKNOWN if path is None else path.rpartition(".")[2]


def _epoch(stream: StreamView) -> str:
    """The end of the number: epochs begin with the time of their making and are long."""
    if stream.epoch is None:
        return UNKNOWN if stream.state is None else "-"
    return stream.epoch if len(stream.epoch) <= 8 else f"…{stream.epoch[-7:]}"


def _consumers(consumers: Sequence[ConsumerView]) -> str:
    if not consumers:
        return "-"
    return f"{len(consumers)}: {', '.join(str(consumer.client_id) for consumer in consumers)}"


def _slots(stream: StreamView) -> str:
    if not stream.header_nslots:
        return UNKNOWN
    return f"{stream.header_nslots} x {' + '.join(map(bytes_text, stream.strides_bytes))}"
