"""Options and help of the commands that show a pool.

The modules that carry a command out are imported when it runs.
"""

from __future__ import annotations

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


def add_commands(app: typer.Typer) -> None:
    """Add all commands except `driver`."""
    app.command("status", epilog="Example: tensor-pool status --json")(status_command)
    app.command("streams", epilog="Example: tensor-pool streams --http 127.0.0.1:9464")(
        streams_command
    )
    app.command("leases", epilog="Example: tensor-pool leases")(leases_command)
    app.command("health", epilog="Example: tensor-pool health --expect camera/left")(health_command)
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
