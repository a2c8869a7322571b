"""Exit status and error line of a command.

| status | meaning |
| --- | --- |
| 0 | done |
| 1 | not done: no driver answers, the driver refused, nothing came in time, ... |
| 2 | the command line, the configuration or an input file is wrong |
| 3 | another driver uses the directory that the command needs |
| 4 | done, but frames were lost on the way |
| 130 | interrupted by Ctrl-C before there was anything to show for it (143 for SIGTERM) |
| 141 | the reader of the output has gone |
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import typer

from .signals import StopRequestedError

__all__ = [
    "DRIVER_RUNS",
    "FAILED",
    "FRAMES_LOST",
    "INTERRUPTED",
    "OK",
    "USAGE",
    "CommandError",
    "complain",
    "leave_with",
]

OK = 0
FAILED = 1
USAGE = 2
DRIVER_RUNS = 3
FRAMES_LOST = 4
INTERRUPTED = 128 + signal.SIGINT
_OUTPUT_CLOSED = 128 + signal.SIGPIPE


class CommandError(Exception):
    """The command failed; the text is one line with the reason."""

    def __init__(self, text: str, status: int = FAILED) -> None:
        super().__init__(text)
        self.status = status


def complain(text: str) -> None:
    """One line on standard error, under the program's name."""
    print(f"tensor-pool: {' '.join(text.split())}", file=sys.stderr, flush=True)


def leave_with[**P](function: Callable[P, int], *args: P.args, **kwargs: P.kwargs) -> NoReturn:
    """Run the body of a command and end the program with its status."""
    raise typer.Exit(_status_of(lambda: function(*args, **kwargs)))


def _status_of(function: Callable[[], int]) -> int:
    # Imported late: what these modules bring along is only needed once something runs.
    from tensor_pool.driver.config.findings import ConfigError as DriverConfigError
    from tensor_pool.protocol.errors import ConfigError, TensorPoolError

    from ..media.files import InputError

    try:
        status = function()
        sys.stdout.flush()
        return status
    except CommandError as error:
        complain(str(error))
        return error.status
    except InputError as error:
        complain(str(error))
        return USAGE
    except DriverConfigError as error:
        for problem in error.problems:
            complain(f"configuration: {problem}")
        return USAGE
    except ConfigError as error:
        complain(str(error))
        return USAGE
    except TensorPoolError as error:
        complain(str(error) or type(error).__name__)
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _OUTPUT_CLOSED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}")
        return FAILED
    except StopRequestedError as error:
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED
