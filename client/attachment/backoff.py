"""The delay after the n-th failure in a row (C-032)."""

from __future__ import annotations

import random
from collections.abc import Callable

from ..config import ClientConfig, ns

__all__ = ["backoff_delay_ns", "jitter"]

_random = random.SystemRandom()


def jitter() -> float:
    """A uniform factor in [0.5, 1.0], so that clients do not come back in step."""
    return _random.uniform(0.5, 1.0)


def backoff_delay_ns(
    config: ClientConfig,
    failures: int,
    *,
    permanent: bool = False,
    jitter: Callable[[], float] = jitter,
) -> int:
    """Delay in ns after `failures` (>= 1) failures; the longest at once for a permanent refusal."""
    longest = ns(config.backoff_max)
    if permanent:
        return round(longest * jitter())
    return round(min(longest, ns(config.backoff_base) << min(failures - 1, 40)) * jitter())
