"""Copies are the source bit for bit, whatever its type, order and length (C-094)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

from tensor_pool.protocol.shm.copying import VECTORS_FROM_BYTES, copy_array, copy_of

type Order = Literal["C", "F"]

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "?"]
RNG = np.random.default_rng(7)


def noise(dtype: str, shape: tuple[int, ...], order: Order = "C") -> npt.NDArray[Any]:
    """Every bit pattern that the type can hold, signalling NaNs among them."""
    kind = np.dtype(dtype)
    count = int(np.prod(shape))
    raw = RNG.bytes(count * kind.itemsize)
    flat = np.frombuffer(raw, np.uint8) & 1 if dtype == "?" else np.frombuffer(raw, np.uint8)
    array = flat.view(kind).reshape(shape, order=order)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bytes_off", [-8, 0, 8])
def test_C_094_copies_are_equal_bit_for_bit_around_the_threshold(
    dtype: str, bytes_off: int
) -> None:
    count = (VECTORS_FROM_BYTES + bytes_off) // np.dtype(dtype).itemsize
    source = noise(dtype, (count,))
    target = np.zeros(count, dtype)
    copy_array(target, source)
    assert target.tobytes() == source.tobytes()
    assert copy_of(source).tobytes() == source.tobytes()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_C_094_the_order_of_the_memory_is_kept(order: Order, dtype: str) -> None:
    source = noise(dtype, (161, 641), order)
    result = copy_of(source)
    assert result.strides == source.strides
    assert result.tobytes("A") == source.tobytes("A")
    assert result.flags.writeable
    assert not np.shares_memory(result, source)


def test_targets_of_another_layout_or_start_are_filled_as_by_assignment() -> None:
    source = noise("u2", (200, 300))
    padded = np.zeros((200, 400), np.uint16)[:, 3:303]
    copy_array(padded, source)
    assert (padded == source).all()
    swapped = np.zeros((200, 300), ">u2")
    copy_array(swapped, source)
    assert (swapped == source).all()
    wider = np.zeros((2, 200, 300), np.float64)
    copy_array(wider, source)
    assert (wider == source).all()


def test_what_assignment_refuses_is_refused() -> None:
    source = noise("u2", (200, 300))
    with pytest.raises(ValueError, match="could not broadcast"):
        copy_array(np.zeros((300, 200), np.uint16), source)
    read_only = np.zeros((200, 300), np.uint16)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        copy_array(read_only, source)
