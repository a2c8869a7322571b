"""The bridge commands as the command line shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .support.connection_options import Connection, connected
from .support.exit_status import leave_with

__all__ = ["bridge_app"]

bridge_app = typer.Typer(
    no_args_is_help=True,
    help="Carry frames between the pools of two hosts over UDP.",
    rich_markup_mode=None,
)

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a top-level key, such as hold_ms=5000. May be repeated.",
        show_default=False,
    ),
]
Instance = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Name of this bridge (the host's name).", show_default=False),
]
AllowPublic = Annotated[
    bool,
    typer.Option("--allow-public", help="Accept addresses that are reachable from any network."),
]
HttpAddress = Annotated[
    str,
    typer.Option(
        "--http",
        metavar="HOST:PORT",
        help="Serve status page, /status.json and /metrics at this loopback address.",
        show_default=False,
    ),
]
File = Annotated[Path, typer.Argument(metavar="FILE", help="The bridge's TOML file.")]


@bridge_app.command("run", epilog="Example: tensor-pool bridge run bridge.toml")
@connected
def run_command(connection: Connection, file: File, set_: Set = None) -> None:
    """Run the links of a configuration file.

    Prints "bridge ready" once all links are open. Ctrl-C or SIGTERM ends it in order.

    Exit status: 0 ended as asked, 1 fatal error, 2 configuration error.
    """
    from .commands.bridge import run_file

    leave_with(run_file, connection, file, set_ or [])


@bridge_app.command("check", epilog="Example: tensor-pool bridge check bridge.toml")
def check_command(file: File, set_: Set = None) -> None:
    """Validate a configuration file; print channels, window and memory of each link.

    Exit status: 0 it is sound, 2 it is not.
    """
    from .commands.bridge import check_file

    leave_with(check_file, file, set_ or [])


@bridge_app.command("status", epilog="Example: tensor-pool bridge status")
def status_command(
    http: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The bridge whose http_address this is. Default: every bridge of this host.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Wait at most SECONDS for the page.")
    ] = 3.0,
) -> None:
    """Show links and streams of the bridges: states, rates, lag, age, drops by reason.

    Asks the bridges of the own user on this host (root: all of them); no address is needed.

    Exit status: 0 there are some, 1 there is none.
    """
    from .commands.bridge_status import print_bridges

    leave_with(print_bridges, http, timeout, as_json=json)


@bridge_app.command("demo", epilog="Example: tensor-pool bridge demo --partition 3")
def demo_command(
    partition: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Cut the wire for SECONDS.")
    ] = 8.0,
    pause: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="Stream for SECONDS between steps.")
    ] = 3.0,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="PATH",
            help="Images to stream. Without it: photographs that come with the demo.",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        float, typer.Option(metavar="HZ", min=1.0, max=1000.0, help="Frames a second.")
    ] = 10.0,
    namespaces: Annotated[
        bool | None,
        typer.Option(
            "--namespaces/--loopback",
            help="Hosts in namespaces (root), or on loopback. Default: namespaces if possible.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Carry real images to another host, cut the wire, and kill each bridge.

    Two hosts on this machine, each with a driver: a camera on one, two viewers on the other. The
    content of every frame that arrives is compared with its source. All processes, files and
    namespaces are removed at the end.

    Exit status: 0 all checks passed, 1 a check failed, 2 the input cannot be streamed, 130 after
    Ctrl-C.
    """
    from .demo.two_hosts.command import run_two_hosts

    raise typer.Exit(
        run_two_hosts(
            source, partition_s=partition, pause_s=pause, rate_hz=rate, namespaces=namespaces
        )
    )


@bridge_app.command("send", epilog="Example: tensor-pool bridge send 10000 --to 10.0.0.2:40456")
@connected
def send_command(
    connection: Connection,
    streams: Annotated[
        list[str],
        typer.Argument(metavar="STREAM[=WIRE]...", help="Stream ids; WIRE is its id on the wire."),
    ],
    to: Annotated[
        list[str],
        typer.Option("--to", metavar="HOST:PORT", help="Where to send. May be repeated."),
    ],
    max_rate_hz: Annotated[
        float, typer.Option(metavar="HZ", min=0.0, help="Most frames per second; 0: all.")
    ] = 0.0,
    queue_frames: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=1024,
            help="Frames that may wait for the link; 1: only the newest; 0: half the slots.",
        ),
    ] = 0,
    max_mbit_s: Annotated[
        float, typer.Option(metavar="MBIT", min=0.0, help="Most Mbit/s of a link; 0: all.")
    ] = 0.0,
    mtu: Annotated[
        int, typer.Option(metavar="BYTES", help="Largest packet; 8192 with jumbo frames.")
    ] = 1408,
    crc: Annotated[bool, typer.Option("--crc", help="Add a checksum to every chunk.")] = False,
    headers: Annotated[
        bool, typer.Option("--headers", help="Send type and shape without the payload.")
    ] = False,
    instance: Instance = None,
    http: HttpAddress = "",
    allow_public: AllowPublic = False,
    set_: Set = None,
) -> None:
    """Send streams of this host's pool to another host.

    Exit status: 0 ended as asked, 1 fatal error, 2 configuration error.
    """
    from .commands.bridge import pair_of, run_document

    entries: list[dict[str, Any]] = [
        {
            "stream": stream,
            "as": wire_id,
            "max_rate_hz": max_rate_hz,
            "queue_frames": queue_frames,
            "payload": "headers" if headers else "full",
        }
        for stream, wire_id in map(pair_of, streams)
    ]
    link = {"to": to, "streams": entries, "max_mbit_s": max_mbit_s, "mtu": mtu, "crc": crc}
    document: dict[str, Any] = {"send": [link], "allow_public": allow_public, "http_address": http}
    if instance is not None:
        document["instance_id"] = instance
    leave_with(run_document, connection, document, set_ or [])


@bridge_app.command(
    "receive", epilog="Example: tensor-pool bridge receive 10000 --at 10.0.0.2:40456"
)
@connected
def receive_command(
    connection: Connection,
    streams: Annotated[
        list[str],
        typer.Argument(metavar="WIRE[=STREAM]...", help="Ids on the wire; STREAM is the id here."),
    ],
    at: Annotated[
        list[str],
        typer.Option("--at", metavar="HOST:PORT", help="Local address. May be repeated."),
    ],
    origin: Annotated[
        str,
        typer.Option(
            "--from", metavar="NAME", help="Only from this bridge; else any.", show_default=False
        ),
    ] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            help="Only senders in this network, such as 10.0.0.0/24. May be repeated.",
            show_default=False,
        ),
    ] = None,
    sequence: Annotated[
        str, typer.Option(metavar="WORD", help="Numbers of frames: auto, source, dense.")
    ] = "auto",
    timestamps: Annotated[
        str, typer.Option(metavar="WORD", help="Capture times: local, wall, arrival, source.")
    ] = "local",
    instance: Instance = None,
    http: HttpAddress = "",
    allow_public: AllowPublic = False,
    set_: Set = None,
) -> None:
    """Receive streams of other hosts into this host's pool.

    Exit status: 0 ended as asked, 1 fatal error, 2 configuration error.
    """
    from .commands.bridge import pair_of, run_document

    entries: list[dict[str, Any]] = [
        {
            "id": wire_id,
            "stream": stream,
            "from": origin,
            "sequence": sequence,
            "timestamps": timestamps,
        }
        for wire_id, stream in map(pair_of, streams)
    ]
    document: dict[str, Any] = {
        "receive": [{"at": at, "streams": entries, "allow": allow or []}],
        "allow_public": allow_public,
        "http_address": http,
    }
    if instance is not None:
        document["instance_id"] = instance
    leave_with(run_document, connection, document, set_ or [])
