"""Entry point of the `tensor-pool` command.

Typer and what it brings take longer to import than the whole driver. A daemon's usual command line
does without; any other is left to Typer, with its help and its error texts.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the program with the arguments of this process, and exit."""
    if sys.argv[1:2] == ["driver"]:
        from tensor_pool.driver.daemon.command import plain_command, run_driver_command

        command = plain_command(sys.argv[2:])
        if command is not None:
            sys.exit(run_driver_command(command))
    from .app import app

    app()
