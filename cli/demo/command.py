"""`tensor-pool demo` as the command line sees it.

What it runs is imported when it runs, so that the other commands do not pay for it at start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo_command"]


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
            help="What to stream: a directory of images, an image, a .npy or .npz file, a video."
            " Photographs that come with the demo if not given.",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        float, typer.Option(min=1.0, max=10000.0, help="Frames a second to publish.")
    ] = 100.0,
) -> None:
    """Stream real images through leased shared memory, and survive a crash.

    Starts a driver, a producer and two consumers as processes of their own, kills the producer
    half-way, shows how its lease expires, the epoch is raised, the consumers remap and a second
    producer takes over, and checks the content of every frame received.

    Exit status: 0 all of that happened and every frame was intact, 1 it did not, 2 the input cannot
    be streamed, 130 after Ctrl-C. Nothing is left running in any case.
    """
    from .run import run_demo

    raise typer.Exit(run_demo(source, duration_s=duration, rate_hz=rate))
