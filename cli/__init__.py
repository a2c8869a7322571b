"""Entry point of the `tensor-pool` command.

Typer and what it brings take longer to import than the whole driver. A daemon's usual command line
does without; any other is left to Typer, with its help and its error texts. A plain installation of
the library comes without Typer: there only the daemon's runs.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]

_OF_THE_EXTRA = ("rich", "typer")


def main() -> None:
    """Run the program with the arguments of this process, and exit."""
    # No command does linear algebra. numpy's starts a thread a processor, and with them numpy takes
    # half as long again to load.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if sys.argv[1:2] == ["driver"]:
        from tensor_pool.driver.daemon.command import plain_command, run_driver_command

        command = plain_command(sys.argv[2:])
        if command is not None:
            sys.exit(run_driver_command(command))
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if error.name not in _OF_THE_EXTRA:
            raise
        print(
            f"tensor-pool: this command needs the package {error.name} of the extra cli:"
            f" pip install {' '.join(_OF_THE_EXTRA)}",
            file=sys.stderr,
        )
        sys.exit(1)
    app()
