"""Epochs: which number comes next, and handing their regions to and from the store (§8, §10).

The store may fail in unforeseen ways. An attach sees the failure and answers with it. Where an
epoch ends, the failure is logged and counted, since the end of a lease must not depend on a disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from tensor_pool.protocol.clock import Clock

from .configuration import Profile
from .events import DriverEvent
from .health import HealthMonitor
from .log_limit import WarningLimit
from .ports import (
    DriverLockedError,
    Metrics,
    ProvisionError,
    ProvisionFailure,
    Regions,
    ShmStore,
)
from .timers import CycleTime

__all__ = ["LAST_EPOCH", "EpochKeeper", "EpochOwner"]

LAST_EPOCH = 2**64 - 2  # the null value comes next

FAILURES_LOGGED = 5  # lines per second and operation

_log = logging.getLogger(__name__)


class EpochOwner(Protocol):
    """A stream, as far as its next epoch goes."""

    stream_id: int
    profile: Profile | None
    last_epoch: int


class EpochKeeper:
    """The only caller of the store's provisioning, retirement and collection."""

    __slots__ = (
        "_clock",
        "_health",
        "_log_limit",
        "_metrics",
        "_obstacle",
        "_post",
        "_retired",
        "_store",
        "_time",
    )

    def __init__(
        self,
        store: ShmStore,
        clock: Clock,
        time: CycleTime,
        metrics: Metrics,
        health: HealthMonitor,
        post: Callable[[DriverEvent, object], None],
    ) -> None:
        self._post = post
        self._log_limit = WarningLimit(clock, lines=FAILURES_LOGGED)
        self._store = store
        self._clock = clock
        self._time = time
        self._metrics = metrics
        self._health = health
        self._retired = False
        self._obstacle = ""  # the last reason why the directories could not be made anew

    def provision(self, stream: EpochOwner) -> Regions:
        """Provision the next epoch of a stream (D-095).

        Raises ProvisionError, or whatever the store did not foresee.
        """
        try:
            regions = self._provision(stream)
        except Exception as error:
            self._metrics.inc("provision_failures")
            if isinstance(error, ProvisionError) and error.kind is ProvisionFailure.SPACE:
                self._health.space_ran_out(error.needed_bytes, self._time.now)
            raise
        finally:
            self._time.read()
        self._metrics.inc("epochs_provisioned")
        self._health.provisioned()
        return regions

    def provision_successor(self, stream: EpochOwner) -> Regions | None:
        """As `provision`, but every failure is logged and None."""
        try:
            return self.provision(stream)
        except ProvisionError as error:
            if self._log_limit.admit("provision") is not None:
                _log.warning(
                    "stream %d has no next epoch: %s",
                    stream.stream_id,
                    error.text,
                    extra={"hint": error.hint} if error.hint else None,
                )
        except Exception:  # noqa: BLE001 - counted and logged
            self._unforeseen("provision", stream.stream_id)
        return None

    def _provision(self, stream: EpochOwner) -> Regions:
        if stream.profile is None:
            raise ProvisionError(ProvisionFailure.OTHER, "profile not found")
        stream_id = stream.stream_id
        epoch = max(
            stream.last_epoch + 1,
            self._store.highest_epoch(stream_id) + 1,
            self._clock.realtime_ns(),
        )
        if epoch > LAST_EPOCH:
            raise ProvisionError(ProvisionFailure.OTHER, "no epoch number is left")
        try:
            return self._store.provision(stream_id, stream.profile, epoch)
        except DriverLockedError as error:
            self._post(DriverEvent.FATAL_ERROR, str(error))
            raise ProvisionError(ProvisionFailure.OTHER, str(error)) from error

    def retire(self, stream_id: int, epoch: int) -> None:
        """The epoch is current no more."""
        self._metrics.inc("epochs_retired")
        self._retired = True
        try:
            self._store.retire(stream_id, epoch)
        except Exception:  # noqa: BLE001 - counted and logged
            self._unforeseen("retire", stream_id)

    def refresh(self, stream_id: int, epoch: int) -> None:
        """Stamp the epoch's regions as alive (D-131)."""
        try:
            self._store.refresh_activity(stream_id, epoch, self._time.now)
        except Exception:  # noqa: BLE001 - counted and logged
            self._unforeseen("refresh_activity", stream_id)

    def keep_tree(self) -> None:
        """Make the driver's directories anew if they were removed, so that clients find them."""
        try:
            self._store.keep_tree()
        except DriverLockedError as error:
            self._post(DriverEvent.FATAL_ERROR, str(error))
        except Exception as error:  # noqa: BLE001 - logged, and reported by the next attach
            if str(error) != self._obstacle:
                self._obstacle = str(error)
                _log.warning("the driver's directories cannot be made anew: %s", error)
        else:
            self._obstacle = ""

    def collect_if_retired(self) -> None:
        """A collection pass, if an epoch was retired since the last one (D-126)."""
        if self._retired:
            self._collect()

    def collect_waiting(self) -> None:
        """A collection pass, if retired epochs still wait to be old enough (D-126).

        A pass that failed is repeated whatever the store remembers: only a good one clears the
        health condition.
        """
        if self._retired or self._store.has_retired():
            self._collect()

    def _collect(self) -> None:
        self._retired = False
        try:
            self._store.collect(self._time.now)
        except Exception as error:  # noqa: BLE001 - whatever it was, collection does not work
            if self._log_limit.admit("collect") is not None:
                _log.warning("collecting old epochs failed: %s", error)
            self._retired = True
            self._health.collected(error)
        else:
            self._health.collected(None)

    def _unforeseen(self, operation: str, stream_id: int) -> None:
        self._metrics.inc("handler_errors")
        if self._log_limit.admit(operation) is not None:
            _log.exception("stream %d: %s failed unexpectedly", stream_id, operation)
