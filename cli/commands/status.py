"""`status`, `streams` and `leases`."""

from __future__ import annotations

import sys

import msgspec

from tensor_pool.protocol.transport.media_driver import default_aeron_dir

from ..pool_view.overview import Overview
from ..pool_view.sources import watch_pool
from ..pool_view.tables import (
    driver_lines,
    lease_table,
    stream_table,
    table_console,
    unknown_lines,
)
from ..support.connection_options import Connection
from ..support.exit_status import FAILED, OK, complain
from ..support.signals import Stop
from .bridge_status import bridge_tables, bridges_of

__all__ = ["print_leases", "print_status", "print_streams"]


def print_status(
    connection: Connection, http: str | None, observe: float | None, as_json: bool
) -> int:
    """The driver and totals; FAILED if no driver answers."""
    overview = _look(connection, http, observe)
    overview.bridges = bridges_of(connection.client_config().aeron_dir or default_aeron_dir())
    if as_json:
        _print_json(overview)
    else:
        console = table_console()
        console.print(driver_lines(overview.driver, overview))
        console.print(bridge_tables(overview.bridges))
        console.print(unknown_lines(overview))
    if overview.driver.responds:
        return OK
    complain("no driver answers; is `tensor-pool driver` running with the same control channel?")
    return FAILED


def print_streams(
    connection: Connection, http: str | None, observe: float | None, as_json: bool
) -> int:
    """Every stream that is known; FAILED if no driver answers."""
    overview = _look(connection, http, observe, listen=True)
    if as_json:
        _print_json(overview.streams)
    else:
        console = table_console()
        console.print(stream_table(overview.streams, console.width))
        console.print(unknown_lines(overview))
    return _status(overview)


def print_leases(
    connection: Connection, http: str | None, observe: float | None, as_json: bool
) -> int:
    """Every lease that is known; FAILED if no driver answers."""
    overview = _look(connection, http, observe)
    if as_json:
        _print_json(overview.leases)
    else:
        console = table_console()
        console.print(lease_table(overview.leases, console.width))
        console.print(unknown_lines(overview))
    return _status(overview)


def _look(
    connection: Connection,
    http: str | None,
    observe: float | None,
    *,
    listen: bool = False,
) -> Overview:
    with (
        Stop() as stop,
        watch_pool(connection, http, listen=listen or bool(observe)) as watcher,
    ):
        if observe is None:
            watcher.listen_long_enough(stop, reports=listen)
        else:
            watcher.listen(observe, stop)
        stop.check()
        return watcher.overview()


def _status(overview: Overview) -> int:
    if overview.driver.responds is False:
        complain("no driver answers; the output, if any, comes from messages of its clients")
        return FAILED
    return OK


def _print_json(document: object) -> None:
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
