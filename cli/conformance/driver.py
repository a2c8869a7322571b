"""All checks of a driver, in the order in which they run."""

from __future__ import annotations

from .check import Check
from .driver_attach import ATTACH_CHECKS
from .driver_leases import LEASE_CHECKS
from .driver_regions import REGION_CHECKS
from .driver_stop import STOP_CHECKS
from .driver_streams import STREAM_CHECKS
from .driver_texts import TEXT_CHECKS
from .driver_world import DriverWorld

__all__ = ["DRIVER_CHECKS"]

DRIVER_CHECKS: tuple[Check[DriverWorld], ...] = (
    *ATTACH_CHECKS,
    *REGION_CHECKS,
    *LEASE_CHECKS,
    *STREAM_CHECKS,
    *TEXT_CHECKS,
    *STOP_CHECKS,
)
