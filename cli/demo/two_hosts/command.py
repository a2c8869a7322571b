"""`bridge demo`: run it, print its summary, return its exit status."""

from __future__ import annotations

from pathlib import Path

from ...media.files import InputError
from ...support.signals import Stop, StopRequestedError
from ..command import EXIT_BAD_INPUT, EXIT_FAILED, print_summary
from ..run import DemoError
from ..screen import Screen
from ..sources import load_pictures
from .performance import TwoHosts
from .verdict import judge

__all__ = ["run_two_hosts"]


def run_two_hosts(
    source: Path | None,
    *,
    partition_s: float,
    pause_s: float,
    rate_hz: float,
    namespaces: bool | None,
) -> int:
    """Run the demo and print its summary; return the exit status."""
    try:
        pictures = load_pictures(source)
        with Stop(second_ends=False) as stop:
            performance = TwoHosts(
                pictures,
                partition_s=partition_s,
                pause_s=pause_s,
                rate_hz=rate_hz,
                stop=stop,
                namespaces=namespaces,
            )
            performance.run()
    except InputError as error:
        Screen.complain(str(error))
        return EXIT_BAD_INPUT
    except (DemoError, OSError) as error:
        Screen.complain(str(error))
        return EXIT_FAILED
    except StopRequestedError as error:
        Screen.complain(f"{error}; everything is stopped and removed")
        return error.exit_status
    return EXIT_FAILED if print_summary(judge(performance.outcome)) else 0
