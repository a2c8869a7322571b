"""A limit on the bytes that a link is given (B-052)."""

from __future__ import annotations

from typing import Self

from tensor_pool.protocol.clock import Clock

from .chunks import CHUNK_OVERHEAD_BYTES, SLOT_BYTES

__all__ = ["TokenBucket"]

_DEPTH_S = 0.01


class TokenBucket:
    """Bytes that may be handed over now; a rate of 0 does not limit them."""

    def __init__(self, bytes_per_s: float, depth_bytes: float, clock: Clock) -> None:
        self._bytes_per_s = bytes_per_s
        self._depth = depth_bytes
        self._clock = clock
        self._tokens = depth_bytes
        self._filled_ns = clock.monotonic_ns()

    @classmethod
    def of(cls, mbit_s: float, chunk_bytes: int, clock: Clock) -> Self:
        """A bucket of 10 ms of the rate, or of two chunks if that is more."""
        bytes_per_s = mbit_s * 1e6 / 8
        two_chunks = 2 * (chunk_bytes + CHUNK_OVERHEAD_BYTES + SLOT_BYTES)
        return cls(bytes_per_s, max(_DEPTH_S * bytes_per_s, two_chunks), clock)

    def may_take(self, nbytes: int) -> bool:
        """Return True if so many bytes may go now."""
        if not self._bytes_per_s:
            return True
        now = self._clock.monotonic_ns()
        gained = (now - self._filled_ns) * self._bytes_per_s / 1e9
        self._tokens = min(self._depth, self._tokens + gained)
        self._filled_ns = now
        return self._tokens >= min(nbytes, self._depth)

    def take(self, nbytes: int) -> None:
        """So many bytes went."""
        self._tokens -= nbytes
