"""The conductor may take the mapping away between any two instructions of the receiving thread.

Threads are not exchanged between just any two, but which two depends on the interpreter; so the
mapping is taken away before each instruction in turn.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from tensor_pool.client.consumer import receiver
from tensor_pool.client.consumer.consumer import Consumer
from tensor_pool.client.consumer.frame import Frame
from tensor_pool.protocol.errors import StaleFrameError
from tests.client.world import STREAM, World

CLIENT = Path(receiver.__file__).parent
WATCHED = {
    str(CLIENT / name) for name in ("receiver.py", "read_state.py", "frame.py", "consumer.py")
}


def unmapping_at(instruction: int, consumer: Consumer, action: Callable[[], object]) -> bool:
    """Run `action`, unmapping before its n-th instruction; False if it has fewer."""
    left = instruction

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in WATCHED:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                consumer._attachment.stop_reading()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return left <= 0


def copy(frame: Frame) -> object:
    return frame.copy()


def view(frame: Frame) -> object:
    return frame.array.sum() if frame.valid else None


def payload(frame: Frame) -> object:
    return bytes(frame.payload)


@pytest.mark.parametrize("use", [copy, view, payload])
@pytest.mark.parametrize("seen_before", [False, True])
def test_C_111_unmapping_between_any_two_instructions_raises_nothing_else(
    use: Callable[[Frame], object], seen_before: bool, base: Path
) -> None:
    """C-111, C-095: a frame comes, or none does; using it works, or reports that it is stale."""
    world = World(base)
    producer, previous = world.pair()
    image = np.arange(6, dtype=np.uint16).reshape(2, 3)
    with contextlib.closing(world):
        for instruction in itertools.count():  # 0 is a rehearsal, nothing happens before the 0th
            consumer = previous._client.consumer(STREAM)
            previous.close()
            previous = consumer
            if seen_before:  # the common case: its format and its array are known
                for _ in range(8):
                    producer.publish(image)
                    frame = consumer.poll()
                    assert isinstance(frame, Frame)
                    use(frame)
            producer.publish(image)
            outcomes: list[object] = []
            polled = [] if use is copy else [consumer.poll()]  # one use is enough for the polls

            def action(
                consumer: Consumer = consumer,
                outcomes: list[object] = outcomes,
                polled: list[Frame | bool | None] = polled,
            ) -> None:
                frame = polled[0] if polled else consumer.poll()
                if isinstance(frame, Frame):
                    try:
                        outcomes.append(use(frame))
                    except StaleFrameError:
                        outcomes.append(None)

            reached = unmapping_at(instruction, consumer, action)
            metrics = consumer.metrics()
            assert metrics["frames_ok"] + metrics["drops_unmapped"] == 1 + 8 * seen_before
            if not reached:
                break
    assert instruction > (100 if use is copy else 20)
    assert all(map(os.path.isfile, WATCHED))
    assert outcomes[0] is not None  # the last time nothing came in between
