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
_WIDTH_FOR_ALL = 160  # of a terminal; narrower ones get the columns that matter most, uncut
_IDS_SHOWN = 3


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


def stream_table(streams: Sequence[StreamView], width: int) -> RenderableType:
    """One line a stream, for a terminal of `width` columns; only a name may be cut there."""
    is_wide = width >= _WIDTH_FOR_ALL
    columns = ["stream", "name", "state", "producer", "consumers", "rate", "drops"]
    if is_wide:
        columns = [*columns[:3], "epoch", *columns[3:], "slots"]
        if any(stream.origin for stream in streams):
            columns += ["origin", "path"]
    table = plain_table(*columns, is_wide=is_wide)
    for stream in streams:
        cells = {
            "stream": str(stream.stream_id),
            "name": stream.name or "",
            "state": _state(stream.state),
            "epoch": _epoch(stream),
            "producer": _client(stream.producer, stream.producer_name if is_wide else None),
            "consumers": _consumers(stream.consumers, ids=_IDS_SHOWN if is_wide else 0),
            "rate": f"{stream.rate_hz:.1f} Hz" if stream.rate_hz is not None else UNKNOWN,
            "drops": _drops(stream),
            "slots": _slots(stream),
            "origin": stream.origin or "",
            "path": ">".join(stream.path),
        }
        table.add_row(*(_cell(column, cells[column]) for column in columns))
    return table if streams else Text("no streams")


def lease_table(leases: Sequence[LeaseView], width: int) -> RenderableType:
    """One line a lease, for a terminal of `width` columns."""
    is_wide = width >= _WIDTH_FOR_ALL
    table = plain_table("lease", "stream", "role", "client", "state", "expires in", is_wide=is_wide)
    for lease in leases:
        expiry = lease.expires_in_ms
        table.add_row(
            lease.lease_id,
            str(lease.stream_id),
            lease.role.lower(),
            _client(lease.client_id, lease.client if is_wide else None),
            _state(lease.state),
            f"{expiry / 1000:.1f} s" if expiry is not None else UNKNOWN,
        )
    return table if leases else Text("no leases")


def unknown_lines(overview: Overview) -> RenderableType:
    """Return the lines of the values that are not known."""
    return Group(*(Text(f"not known: {text}", style="dim") for text in overview.unknown))


def plain_table(*columns: str, is_wide: bool = True) -> Table:
    """Return an empty table with these columns, a space apart if it is not wide."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1 if is_wide else 0))
    for column in columns:
        table.add_column(column, no_wrap=column != "name")
    return table


def _cell(column: str, text: str) -> Text | str:
    return Text(text, no_wrap=True, overflow="ellipsis") if column == "name" else text


def _client(client_id: int | None, name: str | None) -> str:
    if client_id is None:
        return "-"
    return f"{client_id} {name}" if name else str(client_id)


def _state(path: str | None) -> str:
    return UNKNOWN if path is None else path.rpartition(".")[2]


def _epoch(stream: StreamView) -> str:
    """The end of the number: epochs begin with the time of their making and are long."""
    if stream.epoch is None:
        return UNKNOWN if stream.state is None else "-"
    return stream.epoch if len(stream.epoch) <= 8 else f"…{stream.epoch[-7:]}"


def _consumers(consumers: Sequence[ConsumerView], *, ids: int) -> str:
    """Return the number, and the first client ids; `--json` has all."""
    if not consumers or not ids:
        return str(len(consumers)) if consumers else "-"
    shown = [str(consumer.client_id) for consumer in consumers[:ids]]
    return f"{len(consumers)}: {', '.join(shown + ['…'] * (len(consumers) > ids))}"


def _drops(stream: StreamView) -> str:
    if stream.drops is not None:
        return str(stream.drops)
    return UNKNOWN if stream.consumers else ""


def _slots(stream: StreamView) -> str:
    if not stream.header_nslots:
        return UNKNOWN
    return f"{stream.header_nslots} x {' + '.join(map(bytes_text, stream.strides_bytes))}"
