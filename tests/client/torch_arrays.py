"""Tensors of torch in and out, with torch itself: `make test-torch`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.client.deployment import Deployment
from tests.client.world import World


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "?"])
def test_a_frame_is_a_tensor_and_back(world: World, dtype: str) -> None:
    """C-074: no copy, except of truth values, which a Frame copies to check them."""
    producer, consumer = world.pair()
    given = torch.from_numpy((np.arange(6).reshape(2, 3) % 2).astype(dtype))
    producer.publish(given)
    frame = consumer.poll()
    taken = torch.from_dlpack(frame)
    assert (taken.shape, taken.dtype) == (given.shape, given.dtype)
    assert (taken == given).all()
    assert (taken.data_ptr() == frame.array.ctypes.data) is (dtype != "?")


@pytest.mark.parametrize(
    "strided",
    [
        lambda t: t.T,
        lambda t: t[:, ::2],
        lambda t: t[:1].expand(3, 6),
        lambda t: t.reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
        lambda t: t[:0],
    ],
    ids=["transposed", "every-second", "expanded", "channels-last", "empty"],
)
def test_strides_are_kept(world: World, strided: Callable[[Any], Any]) -> None:
    producer, consumer = world.pair()
    given = strided(torch.arange(24, dtype=torch.float32).reshape(4, 6))
    producer.publish(given)
    assert torch.equal(torch.from_dlpack(consumer.poll()), given)


@pytest.mark.parametrize(
    ("given", "text", "remedy"),
    [
        (torch.ones(3, dtype=torch.bfloat16), "Unsupported dtype", torch.Tensor.float),
        (torch.ones(3, requires_grad=True), "require gradient", torch.Tensor.detach),
        (torch.nn.Parameter(torch.ones(3)), "require gradient", torch.Tensor.detach),
        (torch.eye(3).to_sparse(), "layout other than", torch.Tensor.to_dense),
    ],
    ids=["bfloat16", "gradient", "parameter", "sparse"],
)
def test_C_074_tensors_that_cannot_be_sent_are_refused_with_the_remedy(
    world: World, given: Any, text: str, remedy: Callable[[Any], Any]
) -> None:
    producer, consumer = world.pair()
    with pytest.raises(ValueError, match=f"has no NumPy array: .*{text}.*PyTorch by detach"):
        producer.publish(given)
    assert producer.publish(remedy(given))
    assert np.array_equal(consumer.poll().array, remedy(given))


def test_bfloat16_crosses_as_its_bits(world: World) -> None:
    producer, consumer = world.pair()
    given = torch.tensor([1.0, -2.5, 3.140625], dtype=torch.bfloat16)
    producer.publish(given.view(torch.uint16))
    assert torch.equal(torch.from_dlpack(consumer.poll()).view(torch.bfloat16), given)


WRITES = """
import json, sys, torch
from tensor_pool.client import connect
with (
    connect(**json.loads(sys.argv[1])) as pool,
    pool.producer(10_000) as camera,
    pool.consumer(10_000) as viewer,
):
    while (frame := viewer.receive(0.05)) is None:
        camera.publish(torch.ones(3))
    tensor = torch.from_dlpack(frame)
    print("taken", flush=True)
    tensor += 1
"""


@pytest.mark.process
def test_writing_in_place_to_a_tensor_over_a_frame_ends_the_process(
    deployment: Deployment,
) -> None:
    """As the guide warns: the memory is read-only, and torch does not know."""
    deployment.daemon()
    done = subprocess.run(
        [sys.executable, "-c", WRITES, json.dumps(deployment.endpoints)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("taken\n", -signal.SIGSEGV), done.stderr
