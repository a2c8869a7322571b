"""The conformance commands, as the command line shows them."""

from __future__ import annotations

from typing import Annotated

import typer

from .support.connection_options import Connection, connected
from .support.exit_status import leave_with

__all__ = ["add_conformance_commands"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a check.")]
Stream = Annotated[
    int,
    typer.Option(
        "--stream",
        metavar="ID",
        min=1,
        help="Tensor stream id that no other client uses meanwhile.",
    ),
]


def add_conformance_commands(app: typer.Typer) -> None:
    """Give the program `conformance driver`, `producer` and `consumer`."""
    group = typer.Typer(
        help="Check a driver, a producer or a consumer against the specification, from outside.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("driver", epilog="Example: tensor-pool conformance driver --stream 10000")(
        conformance_driver_command
    )
    group.command(
        "producer",
        epilog="Example: tensor-pool conformance producer --stream 10000 -- python camera.py",
    )(conformance_producer_command)
    group.command(
        "consumer",
        epilog="Example: tensor-pool conformance consumer --stream 10000 -- python viewer.py",
    )(conformance_consumer_command)
    app.add_typer(group, name="conformance")


@connected
def conformance_driver_command(
    connection: Connection,
    stream: Stream = 10_000,
    announce_period: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.01, help="Announce period of the driver, in seconds."
        ),
    ] = 1.0,
    token: Annotated[
        str,
        typer.Option(
            help="Shutdown token of the driver. With it the run ends by stopping the driver.",
            show_default=False,
        ),
    ] = "",
    json: Json = False,
) -> None:
    """Check a running driver, ours or any other, requirement by requirement.

    Attaches to a stream as producer and consumer, lets leases expire, sends wrong and mangled
    requests, reads the region files. One line for each check: holds, broken or not seen.

    Exit status: 0 no check is broken, 1 some are or no driver answers, 2 wrong usage or
    configuration.
    """
    from .commands.conformance import check_driver

    leave_with(
        check_driver,
        connection,
        stream_id=stream,
        announce_period_s=announce_period,
        token=token,
        as_json=json,
    )


Program = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[-- COMMAND...]",
        help="Program under test: started first, ended with SIGTERM by the last check. "
        "Without it, start the program yourself.",
        show_default=False,
    ),
]
Checks = Annotated[
    list[str] | None,
    typer.Option(
        "--check",
        metavar="NAME",
        help="Run this check only; repeat it for several. --json prints the names.",
        show_default=False,
    ),
]
Period = Annotated[
    float,
    typer.Option(
        "--announce-period",
        metavar="SECONDS",
        min=0.05,
        help="Announce, hello and QoS interval of the program, in seconds. A lease lasts three of "
        "them, and at least 3 s.",
    ),
]


@connected
def conformance_producer_command(
    connection: Connection,
    command: Program = None,
    stream: Stream = 10_000,
    announce_period: Period = 1.0,
    check: Checks = None,
    json: Json = False,
) -> None:
    """Check a producer, ours or any other, requirement by requirement.

    Takes the place of the driver on the control stream. Grants, refuses and revokes leases, spoils
    grants and regions, reads every slot that the producer writes. The producer publishes at least
    20 frames a second. One line for each check: holds, broken or not seen.

    Exit status: 0 no check is broken, 1 some are or a driver runs there, 2 wrong usage or
    configuration.
    """
    from tensor_pool.protocol.wire import Role

    from .commands.conformance import check_peer

    leave_with(
        check_peer,
        Role.PRODUCER,
        connection,
        stream_id=stream,
        announce_period_s=announce_period,
        command=command or [],
        names=check or [],
        as_json=json,
    )


@connected
def conformance_consumer_command(
    connection: Connection,
    command: Program = None,
    stream: Stream = 10_000,
    announce_period: Period = 1.0,
    check: Checks = None,
    json: Json = False,
) -> None:
    """Check a consumer, ours or any other, requirement by requirement.

    Takes the place of the driver and of a producer. Publishes right and wrong frames, announces
    and notices; reads the QosConsumer reports of the consumer and the mappings of its process.
    One line for each check: holds, broken or not seen.

    Exit status: 0 no check is broken, 1 some are or a driver runs there, 2 wrong usage or
    configuration.
    """
    from tensor_pool.protocol.wire import Role

    from .commands.conformance import check_peer

    leave_with(
        check_peer,
        Role.CONSUMER,
        connection,
        stream_id=stream,
        announce_period_s=announce_period,
        command=command or [],
        names=check or [],
        as_json=json,
    )
