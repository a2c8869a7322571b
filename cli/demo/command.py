"""`demo`: run it, print its summary, return its exit status."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from ..media.files import InputError
from ..support.signals import Stop, StopRequestedError
from .performance import Performance
from .run import DemoError
from .screen import Screen
from .sources import load_pictures
from .verdict import Check, judge

__all__ = ["EXIT_BAD_INPUT", "EXIT_FAILED", "print_summary", "run_demo"]

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2


def run_demo(source: Path | None, *, duration_s: float, rate_hz: float, margin_s: float) -> int:
    """Run the demo and print its summary; return the exit status."""
    try:
        pictures = load_pictures(source)
        with Stop(second_ends=False) as stop:  # the demo always ends its processes in order
            performance = Performance(
                pictures, duration_s=duration_s, rate_hz=rate_hz, margin_s=margin_s, stop=stop
            )
            performance.run()
            return EXIT_FAILED if print_summary(judge(performance.outcome)) else 0
    except InputError as error:
        Screen.complain(str(error))
        return EXIT_BAD_INPUT
    except DemoError as error:
        Screen.complain(str(error))
        return EXIT_FAILED
    except StopRequestedError as error:
        Screen.complain(f"{error}; everything is stopped and removed")
        return error.exit_status
    except BrokenPipeError:  # the reader of the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:  # while the pictures were read: nothing has been started
        return 128 + signal.SIGINT


def print_summary(checks: list[Check]) -> list[Check]:
    """Print what was verified; return the checks that failed."""
    print("\nSummary")
    for check in checks:
        print(f"  {'ok  ' if check.passed else 'FAIL'}  {check.text}")
    failed = [check for check in checks if not check.passed]
    print(f"\n{len(checks)} checks, {len(failed)} failed", flush=True)
    return failed
