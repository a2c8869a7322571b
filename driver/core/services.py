"""The ports that all machines act through, and the tables that outlive one event."""

from __future__ import annotations

from collections.abc import Callable

from .configuration import DriverConfig
from .epochs import EpochKeeper
from .events import DriverEvent
from .health import HealthMonitor
from .node_ids import NodeIds
from .ports import Clock, Metrics, Publisher, ShmStore
from .private_streams import PrivateStreams
from .timers import CycleTime

__all__ = ["Services"]


class Services:
    """One per driver; every machine holds a reference to it.

    `post` puts an event for DriverLifecycle into the router's queue, to be handled after the
    current one (D-013); `post_first` puts it before what waits there.
    """

    __slots__ = (
        "clock",
        "config",
        "epochs",
        "health",
        "lease_duration_ns",
        "metrics",
        "node_ids",
        "observer",
        "post",
        "post_first",
        "private_streams",
        "publisher",
        "store",
        "time",
    )

    def __init__(
        self,
        config: DriverConfig,
        *,
        clock: Clock,
        store: ShmStore,
        publisher: Publisher,
        metrics: Metrics,
        time: CycleTime,
        health: HealthMonitor,
        post: Callable[[DriverEvent, object], None],
        post_first: Callable[[DriverEvent, object], None],
        observer: object | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self.store = store
        self.publisher = publisher
        self.metrics = metrics
        self.time = time
        self.health = health
        self.post = post
        self.post_first = post_first
        self.observer = observer
        self.epochs = EpochKeeper(store, clock, time, metrics, health, post)
        self.node_ids = NodeIds(config.policies.node_id_reuse_cooldown_ms * 1_000_000)
        self.private_streams = PrivateStreams(config.driver)
        self.lease_duration_ns = config.policies.lease_duration_ns
