"""Options and help of the commands that show a pool.

The modules that carry a command out are imported when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options_conformance import add_conformance_commands
from .options_frames import add_frame_commands
from .options_tools import add_tool_commands
from .support.connection_options import Connection, connected
from .support.exit_status import leave_with

__all__ = ["add_commands"]

Http = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="The driver's status page; default: that of the configuration, if it answers.",
        show_default=False,
    ),
]
Observe = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0.0,
        help="Listen to the pool's streams for SECONDS. Default without a status page: a little"
        " more than two announce periods.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _trace_id(text: str | None) -> str | None:
    """Return the id in decimal digits; BadParameter for what is not one."""
    if text is None:
        return None
    try:
        number = int(text, 0)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None
    if not 0 < number < 1 << 64:
        raise typer.BadParameter(f"{number} is not a trace id (1..2^64-1); 0 stands for none")
    return str(number)


def add_commands(app: typer.Typer) -> None:
    """Add all commands except `driver`."""
    app.command("status", epilog="Example: tensor-pool status --json")(status_command)
    app.command("streams", epilog="Example: tensor-pool streams --http 127.0.0.1:9464")(
        streams_command
    )
    app.command("leases", epilog="Example: tensor-pool leases")(leases_command)
    app.command("health", epilog="Example: tensor-pool health --expect camera/left")(health_command)
    app.command("trace", epilog="Example: tensor-pool trace 7182381239123968")(trace_command)
    app.command("watch", epilog="Example: tensor-pool watch --http 127.0.0.1:9464")(watch_command)
    add_frame_commands(app)
    add_tool_commands(app)
    add_conformance_commands(app)


@connected
def status_command(
    connection: Connection, http: Http = None, observe: Observe = None, json: Json = False
) -> None:
    """Show the state of the driver and test that it answers.

    The driver's status page has everything. Without one, the messages on the pool's streams have a
    part, and the rest is printed as not known. A request that changes nothing, a detach of a lease
    that does not exist, then tests that the driver answers.

    Exit status: 0 a driver answers, 1 none does, 2 wrong usage or configuration.
    """
    from .commands.status import print_status

    leave_with(print_status, connection, http, observe, json)


@connected
def streams_command(
    connection: Connection, http: Http = None, observe: Observe = None, json: Json = False
) -> None:
    """List the streams with their producer, consumers, rate, drops.

    Without a status page only streams that have had a client are listed, since the driver
    announces a stream from its first attach on.

    Exit status: 0 a driver answers, 1 none does, 2 wrong usage or configuration.
    """
    from .commands.status import print_streams

    leave_with(print_streams, connection, http, observe, json)


@connected
def leases_command(
    connection: Connection, http: Http = None, observe: Observe = None, json: Json = False
) -> None:
    """List the leases: stream, role, client, time to expiry.

    Leases have no message of their own. Without a status page they come from the keepalives of
    their clients, and their expiry is estimated.

    Exit status: 0 a driver answers, 1 none does, 2 wrong usage or configuration.
    """
    from .commands.status import print_leases

    leave_with(print_leases, connection, http, observe, json)


@connected
def health_command(
    connection: Connection,
    http: Http = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STREAM",
            help="A stream that must be there, by id or name; may be repeated.",
            show_default=False,
        ),
    ] = None,
    observe: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.0,
            help="Listen for SECONDS before the verdict. Default: a little more than three announce"
            " or QoS periods, the longer of the two. Silent clients show after three periods only.",
            show_default=False,
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Print each change of the verdict until Ctrl-C.")
    ] = False,
    json: Json = False,
) -> None:
    """Give one verdict for the pool: driver, streams, consumers, bridges.

    The pool is as bad as its worst part. It is degraded while a stream has no producer, a client is
    silent, loses frames or lags, or a bridge link is choked; it is failing without a driver or an
    expected stream, or while a link is down for 10 s. With --watch it becomes better only after 3 s
    without a worse verdict. Nothing is started, stopped or configured, and no lease is taken.

    Exit status: 0 healthy, 1 degraded, 2 failing, nothing received, or wrong usage; with --watch
    that of the last verdict.
    """
    from .commands.health import health

    leave_with(health, connection, http, expect or [], observe=observe, watch=watch, as_json=json)


@connected
def trace_command(
    connection: Connection,
    trace_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            callback=_trace_id,
            help="The trace, such as `frame.trace_id`; without one, a trace that begins now.",
            show_default=False,
        ),
    ] = None,
    stream: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STREAM",
            help="Show frames of this stream only: an id, a name or a pattern such as camera/*; may"
            " be repeated.",
            show_default=False,
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Print frames and links as they come, until Ctrl-C.")
    ] = False,
    window: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.1,
            help="Keep what came in the last SECONDS, at most a million frames and links.",
        ),
    ] = 60.0,
    settle: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.0,
            help="A trace is complete when nothing of it came for SECONDS; the longest time between"
            " two stages of the pipeline.",
        ),
    ] = 1.0,
    duration: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.0,
            help="Exit after SECONDS. Default: --window, and never with --follow.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Read a recording instead of the pool; may be repeated, one for each stream.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show from which frames a frame was made, and which were made from it.

    Prints a tree: the traces that the one asked for comes from, and those made from it, each with
    its frames, their streams and times. Frames have a trace if their producer has `trace=True` or
    publishes them with `parents=...`. A trace is received only while its frames are published;
    `tensor-pool record` keeps traces for later, see --file. The command takes no lease and does not
    slow any process down.

    Exit status: 0 the trace was shown, 1 it did not come, or no media driver runs, 2 wrong usage.
    """
    from .commands.trace import follow_pool, trace_pool, trace_recordings

    asked = None if trace_id is None else int(trace_id)
    streams = stream or []
    if file:
        if follow or duration is not None:
            raise typer.BadParameter("--file is read to its end; it takes no --follow, --duration")
        leave_with(trace_recordings, file, asked, streams, as_json=json)
    if follow:
        leave_with(
            follow_pool,
            connection,
            asked,
            streams,
            window_s=window,
            duration_s=duration,
            as_json=json,
        )
    leave_with(
        trace_pool,
        connection,
        asked,
        streams,
        window_s=window,
        settle_s=settle,
        duration_s=duration,
        as_json=json,
    )


@connected
def watch_command(
    connection: Connection,
    http: Http = None,
    period: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.05, help="Time between two updates.")
    ] = 0.5,
    updates: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Exit after N updates.", show_default=False),
    ] = None,
) -> None:
    """Watch the pool live: driver, streams, leases, transitions.

    Ctrl-C ends it. It takes no lease and does not slow any process down.

    Exit status: 0 a driver answered, 1 none did, 2 wrong usage or configuration.
    """
    from .commands.watch import watched

    leave_with(watched, connection, http, period_s=period, updates=updates)
