"""Options and help of the commands that run a pool, and of the demo."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from .support.connection_options import Connection, connected
from .support.exit_status import leave_with

__all__ = ["add_tool_commands"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ConfigFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]", help="TOML file; without one, the built-in start.", show_default=False
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override one key; may be repeated.", show_default=False
    ),
]


class MachineName(enum.StrEnum):
    """The machines that run a pool."""

    DRIVER = "driver"
    STREAM = "stream"
    LEASE = "lease"
    CONNECTION = "connection"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class DiagramFormat(enum.StrEnum):
    """The format of a diagram."""

    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


def add_tool_commands(app: typer.Typer) -> None:
    """Add `demo`, `bench`, `shm`, `shutdown`, `config` and `diagram`."""
    app.command("demo", epilog="Example: tensor-pool demo --duration 20 --input photos/")(
        demo_command
    )
    app.command("bench", epilog="Example: tensor-pool bench --seconds 2")(bench_command)
    shm = typer.Typer(
        help="Region files in shared memory: look at them, remove old ones.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    shm.command(
        "inspect",
        epilog="Example: tensor-pool shm inspect /dev/shm/tensorpool --slots 0",
    )(inspect_command)
    shm.command("gc", epilog="Example: tensor-pool shm gc --dry-run")(gc_command)
    app.add_typer(shm, name="shm")
    app.command("shutdown", epilog="Example: tensor-pool shutdown --config driver.toml")(
        shutdown_command
    )
    config = typer.Typer(
        help="The driver's configuration.", no_args_is_help=True, rich_markup_mode=None
    )
    config.command("check", epilog="Example: tensor-pool config check driver.toml")(check_command)
    config.command("show", epilog="Example: tensor-pool config show driver.toml --json")(
        show_command
    )
    config.command(
        "init", epilog="Example: tensor-pool config init driver.toml --frame 1920x1080x3"
    )(init_command)
    app.add_typer(config, name="config")
    app.command("diagram", epilog="Example: tensor-pool diagram lease --format svg -o lease.svg")(
        diagram_command
    )


def demo_command(
    duration: Annotated[
        float,
        typer.Option(min=2.0, help="Seconds of streaming; the producer is killed half-way."),
    ] = 20.0,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="PATH",
            help="A directory of images, an image, a .npy or .npz file or a video to stream."
            " Without it: photographs that come with the demo.",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        float, typer.Option(min=1.0, max=10000.0, help="Frames a second to publish.")
    ] = 100.0,
    margin: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="Longest time from the expiry of the killed producer's lease to the next frame;"
            " more for a busy computer.",
        ),
    ] = 1.0,
) -> None:
    """Stream real images through leased shared memory, and survive a crash.

    Starts a driver, a producer and two consumers as processes of their own, kills the producer
    half-way, shows how its lease expires, the epoch is raised, the consumers remap and a second
    producer takes over, and checks the content of every frame received. It always ends all
    processes that it started.

    Exit status: 0 all checks passed and every frame was intact, 1 a check failed, 2 the input
    cannot be streamed, 130 after Ctrl-C.
    """
    from .demo.command import run_demo

    raise typer.Exit(run_demo(source, duration_s=duration, rate_hz=rate, margin_s=margin))


def bench_command(
    seconds: Annotated[
        float, typer.Option(min=0.05, max=60.0, help="Time for each of the seven figures.")
    ] = 1.0,
    json: Json = False,
) -> None:
    """Measure how fast frames travel on this machine.

    With a driver of its own: time to publish and frames received a second for 64 KiB, 1 MiB and
    8 MiB, and the latency to a consumer that sleeps between frames. No running driver is touched.

    Exit status: 0 measured, 1 it could not be done (too little shared memory, for example),
    130 interrupted.
    """
    from .commands.bench import run_bench

    leave_with(run_bench, seconds, as_json=json)


def inspect_command(
    target: Annotated[
        str,
        typer.Argument(
            metavar="PATH|URI",
            help="A region file, a directory with some, or a region URI (shm:file?path=...).",
            show_default=False,
        ),
    ],
    slots: Annotated[
        int, typer.Option(metavar="N", min=0, help="Number of the newest slots to show.")
    ] = 4,
    json: Json = False,
) -> None:
    """Show what region files say: superblock, geometry, owner, newest slots.

    Nothing is mapped, locked or changed, so it can be done beside running producers.

    Exit status: 0 all is well, 1 a region breaks the format, 2 there is no region.
    """
    from .commands.shm_inspect import inspect_regions

    leave_with(inspect_regions, target, slots=slots, as_json=json)


@connected
def gc_command(
    connection: Connection,
    keep: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Newest epochs of a stream to keep; policies.epoch_gc_keep if not given.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only list them; epochs used in the last seconds are kept all the same.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Remove what drivers that are gone have left: old epochs, wake-up bells of dead processes.

    A running driver collects by itself; its namespace is left alone. A driver of another make is
    recognised by an epoch that a living process keeps fresh.

    Exit status: 0 done, 1 something could not be removed, 2 wrong usage or configuration, 3 a
    driver runs.
    """
    from .commands.shm_gc import collect_garbage

    leave_with(collect_garbage, connection, keep=keep, dry_run=dry_run, as_json=json)


@connected
def shutdown_command(
    connection: Connection,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="TENSOR_POOL_SHUTDOWN_TOKEN",
            help="The driver's policies.shutdown_token; that of the configuration if not given.",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
    text: Annotated[
        str, typer.Option(help="Text of the notice that clients receive.")
    ] = "stopped by tensor-pool shutdown",
) -> None:
    """Ask the driver to let its clients detach and stop.

    It needs the token that the driver was configured with. A driver on this machine can as well be
    sent SIGTERM. A token on the command line can be seen by other users; the environment or the
    configuration file keep it.

    Exit status: 0 the driver has stopped, 1 no driver answers, 2 wrong usage or configuration, 3
    the driver runs on (a wrong token, none configured, or a driver without this request).
    """
    from .commands.shutdown import shut_driver_down

    leave_with(shut_driver_down, connection, token=token, text=text)


def check_command(file: ConfigFile = None, set_: Set = None) -> None:
    """Say everything that is wrong with a configuration, or that nothing is.

    Exit status: 0 it can be used, 2 it cannot.
    """
    from .commands.config import check_config

    leave_with(check_config, file, set_ or [])


def show_command(file: ConfigFile = None, set_: Set = None, json: Json = False) -> None:
    """Print the values in force, each with where it comes from; the output is TOML.

    Exit status: 0 printed, 2 the configuration cannot be used.
    """
    from .commands.config import show_config

    leave_with(show_config, file, set_ or [], as_json=json)


def init_command(
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="File to write; default: the terminal.", show_default=False
        ),
    ] = None,
    stream: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=ID", help="A stream; may be repeated.", show_default="camera=10000"
        ),
    ] = None,
    frame: Annotated[
        str, typer.Option(metavar="SIZE", help="The largest frame: 1920x1080x3, 6M or 1500000.")
    ] = "1920x1080x3",
    slots: Annotated[
        int, typer.Option(metavar="N", min=1, help="Frames a stream keeps; a power of two.")
    ] = 32,
    http: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Address of the status page; auto: a free port."),
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a configuration to start from, for frames of one size.

    Exit status: 0 written, 2 wrong usage.
    """
    from .commands.config import init_config

    leave_with(
        init_config,
        out,
        streams=stream or ["camera=10000"],
        frame=frame,
        slots=slots,
        http=http,
        force=force,
    )


def diagram_command(
    machine: Annotated[
        MachineName, typer.Argument(help="The machine to draw.", show_default=False)
    ],
    format_: Annotated[
        DiagramFormat, typer.Option("--format", help="Format of the diagram.")
    ] = DiagramFormat.MERMAID,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to FILE instead of the terminal.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw the statechart of one of the machines that run a pool.

    It is drawn from the code itself.

    Exit status: 0 drawn, 2 wrong usage, or SVG without the `diagrams` extra.
    """
    from .commands.diagram import draw_machine

    leave_with(draw_machine, machine, format_, output)
