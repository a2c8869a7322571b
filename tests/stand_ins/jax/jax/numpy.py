"""Arrays of NumPy, which has the same functions."""

from numpy import arange, float32, from_dlpack

__all__ = ["arange", "float32", "from_dlpack"]
