"""`tensor-pool driver` that stops itself (SIGSTOP) at a chosen point of a duty cycle.

SIGUSR1 arms it: the process stops at the N-th reading of the cycle's time from then on, where N is
the number in the file named by the first argument. The others are those of the command.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from tensor_pool.cli import main
from tensor_pool.driver.core.timers import CycleTime

point_file = Path(sys.argv.pop(1))
readings_left = -1


def arm(_number: int, _frame: FrameType | None) -> None:
    global readings_left
    readings_left = int(point_file.read_text())


read = CycleTime.read


def stopping_read(self: CycleTime) -> int:
    global readings_left
    if readings_left == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
    now = read(self)
    if readings_left == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    if readings_left >= 0:
        readings_left -= 2
        readings_left = -1 if readings_left < 0 else readings_left
    return now


CycleTime.read = stopping_read  # type: ignore[method-assign]
signal.signal(signal.SIGUSR1, arm)
sys.exit(main())
