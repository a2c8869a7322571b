"""Copying large arrays out of shared memory, fast on whatever the C library does.

For more than a few KiB a C library's `memmove`, which assigning to an array comes down to, may use
the processor's string instruction. Where that was measured (AMD Zen 4, frames that another core had
just written) it was half as fast as vector loads into arrays that do not start with a cache line,
as most of numpy's, and left slots behind that took longer to write again. A ufunc compiles to
vector loads and stores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["VECTORS_FROM_BYTES", "copy_array", "copy_of"]

VECTORS_FROM_BYTES = 32 * 1024
"""Between 16 KiB, where starting the ufunc costs more than it gains, and 64 KiB, where it pays."""

_WORDS: dict[int, type[np.unsignedinteger[Any]]] = {
    1: np.uint8,
    2: np.uint16,
    4: np.uint32,
    8: np.uint64,
}
_or = np.bitwise_or


def copy_array(target: npt.NDArray[Any], source: npt.NDArray[Any]) -> None:
    """The same as `target[...] = source`, bit for bit where the types are equal."""
    if source.nbytes >= VECTORS_FROM_BYTES:
        dtype = source.dtype
        word = _WORDS.get(dtype.itemsize)
        if word is not None and target.dtype == dtype and target.shape == source.shape:
            words = source.view(word)
            _or(words, words, target.view(word))
            return
    target[...] = source


def copy_of(source: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A new array like `source`, in the order of its memory."""
    if source.nbytes < VECTORS_FROM_BYTES:
        return source.copy(order="K")
    target = np.empty_like(source)
    copy_array(target, source)
    return target
