"""`watch`: the pool as it lives, redrawn a few times a second."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..pool_view.overview import EventView, Overview
from ..pool_view.sources import watch_pool
from ..pool_view.tables import (
    driver_lines,
    lease_table,
    stream_table,
    table_console,
    unknown_lines,
)
from ..support.connection_options import Connection
from ..support.exit_status import FAILED, OK
from ..support.signals import Stop

__all__ = ["watch_screen", "watched"]

_ASK_PERIOD_S = 5.0
_ASK_PATIENCE_S = 1.0
_EVENTS_SHOWN = 10
_FRAME_COLUMNS = 4  # left and right of a panel's content


def watched(
    connection: Connection, http: str | None, *, period_s: float, updates: int | None
) -> int:
    """Show the pool until the user ends it, or `updates` times; FAILED if no driver answered."""
    console = table_console()
    with (
        Stop() as stop,
        watch_pool(connection, http, listen=True) as watcher,
    ):
        watcher.ask_driver(stop)
        asked = time.monotonic()
        answered = False
        # On a terminal the screen is the program's until it ends; elsewhere it is lines.
        with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
            shown = 0
            while not stop.requested and (updates is None or shown < updates):
                watcher.listen(period_s, stop)
                if time.monotonic() - asked >= _ASK_PERIOD_S and not stop.requested:
                    asked = time.monotonic()
                    watcher.ask_driver(stop, _ASK_PATIENCE_S)
                overview = watcher.overview()
                answered = answered or bool(overview.driver.responds)
                screen = watch_screen(overview, console.width, limited=console.is_terminal)
                if console.is_terminal:
                    live.update(screen, refresh=True)
                else:
                    console.print(screen)
                shown += 1
    return OK if answered else FAILED


def watch_screen(overview: Overview, width: int, *, limited: bool) -> RenderableType:
    """Everything there is to see at one moment, for a terminal of `width` columns."""
    leases = overview.leases
    width -= _FRAME_COLUMNS
    parts: list[RenderableType] = [
        driver_lines(overview.driver, overview),
        Panel(stream_table(overview.streams, width), title="streams", title_align="left"),
        Panel(lease_table(leases, width), title=f"leases ({len(leases)})", title_align="left"),
        Panel(_events(overview.events), title="last transitions", title_align="left"),
    ]
    if limited:
        parts.append(Text("Ctrl-C ends", style="dim"))
    parts.append(unknown_lines(overview))
    return Group(*parts)


def _events(events: list[EventView]) -> RenderableType:
    if not events:
        return Text("none while this was watching")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for event in reversed(events[-_EVENTS_SHOWN:]):
        when = time.strftime("%H:%M:%S", time.localtime(event.at)) if event.at is not None else ""
        table.add_row(when, Text(event.text))
    return table
