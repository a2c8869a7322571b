"""Ctrl-C in the middle of `publish` leaves a producer that can be used and closed."""

from __future__ import annotations

import contextlib
import dis
import functools
import itertools
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

from tensor_pool.client.producer.producer import Producer
from tests.client.world import World

IMAGE = np.arange(6, dtype=np.uint16).reshape(2, 3)


@functools.cache
def behind_calls(code: CodeType) -> frozenset[int]:
    """Offsets of what follows a call, which is where the interpreter looks for signals."""
    pairs = itertools.pairwise(dis.get_instructions(code))
    return frozenset(after.offset for call, after in pairs if call.opname.startswith("CALL"))


def interrupted_behind(call: int, producer: Producer) -> bool:
    """Publish, interrupted behind the n-th call; False if there are fewer."""
    left = call

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code is not Producer.publish.__code__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_lasti in behind_calls(frame.f_code):
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        producer.publish(IMAGE)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_C_112_ctrl_c_in_publish_keeps_neither_the_next_one_nor_the_conductor_out(
    base: Path,
) -> None:
    for call in itertools.count():  # 0 is a rehearsal, nothing is interrupted behind the 0th
        (base / str(call)).mkdir()
        world = World(base / str(call))
        with contextlib.closing(world):
            producer, consumer = world.pair()
            producer.publish(IMAGE)
            was_interrupted = interrupted_behind(call, producer)
            if is_kept := not producer._lock._items:
                producer._lock.leave()  # or closing would wait for ever
            assert not is_kept
            assert producer.publish(IMAGE + 1)
            frames = [frame.copy() for frame in iter(consumer.poll, None)]
            assert np.array_equal(frames[-1], IMAGE + 1)
        if call and not was_interrupted:
            break
    assert call > 5
