"""`Driver`: the whole driver as an object that a loop drives (D-190).

    with Driver(config, clock=…, transport=…, store=…, metrics=…) as driver:
        while not driver.is_stopped:
            if driver.do_work() == 0:
                ...  # idle, not longer than until driver.next_due_ns

It has no thread and never blocks; the loop decides how to
idle, which signals to handle and where to log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tensor_pool.protocol.errors import ForkedProcessError
from tensor_pool.protocol.transport.ports import Transport
from tensor_pool.protocol.wire import Message, ShutdownReason

from .core.configuration import DriverConfig
from .core.driver_machine import DriverLifecycle
from .core.events import DriverEvent, LeaseCheck, Revocation, Shutdown
from .core.health import HealthMonitor
from .core.ports import Clock, Metrics, ShmStore
from .core.router import Router
from .core.services import Services
from .core.snapshots import DriverSnapshot, state_path, take_snapshot
from .core.timers import CycleTime, Timers
from .messages.discovery_endpoints import DiscoveryEndpoints
from .messages.endpoints import TransportEndpoints
from .messages.incoming import Adapter
from .messages.outgoing import Proxy

__all__ = ["LONGEST_POLL_NS", "Driver"]

LONGEST_POLL_NS = 2_000_000
"""Time after which a cycle takes no further batch of messages, so that timers stay punctual."""


def _pause() -> None:
    time.sleep(0.001)


class Driver:
    """One driver from `start()` to `close()`.

    All calls come from the thread that runs the loop, except `request_shutdown`, which any thread
    may call. In a forked child every call raises ForkedProcessError.

    `config` must be valid (`load_config` sees to that). `transport` and its media driver stay the
    caller's. After its loss `reconnect` opens another one, or raises; without it the loss is fatal
    (D-146). `observer` gets the trace hooks of all machines, each of which has a `label`. `sent` is
    called with each message that has left. `pause` lets about a millisecond pass; a simulation
    passes its own.
    """

    def __init__(
        self,
        config: DriverConfig,
        *,
        clock: Clock,
        transport: Transport,
        store: ShmStore,
        metrics: Metrics,
        observer: object | None = None,
        pause: Callable[[], None] = _pause,
        reconnect: Callable[[], Transport] | None = None,
        sent: Callable[[Message], None] | None = None,
    ) -> None:
        self._pid = os.getpid()
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._pause = pause
        self._time = CycleTime(clock)
        policies = config.policies
        self._timers = Timers(
            policies.lease_keepalive_interval_ms * 1_000_000,
            policies.announce_period_ms * 1_000_000,
        )
        self._router = Router(metrics, clock)
        proxy = Proxy(policies, clock, metrics, self._router.post, sent)
        self._endpoints = TransportEndpoints(
            config,
            transport,
            proxy,
            DiscoveryEndpoints(transport, clock, config.discovery.max_endpoints),
            pause,
            reconnect,
        )
        self._services = Services(
            config,
            clock=clock,
            store=store,
            publisher=proxy,
            metrics=metrics,
            time=self._time,
            health=HealthMonitor(self._router.post),
            post=self._router.post,
            post_first=self._router.post_first,
            observer=observer,
        )
        self._lifecycle = DriverLifecycle(self._services, self._endpoints, self._timers)
        self._router.machine = self._lifecycle
        self._adapter = Adapter(
            self._router,
            self._lifecycle,
            proxy,
            metrics,
            clock,
            policies.shutdown_token,
            answers_discovery=config.discovery.enabled,
        )
        self._fragment_limit = config.driver.fragment_limit
        self._longest_cycle_ns = 0

    def start(self) -> None:
        """Take the lock, open the transport's ends, create the configured streams (D-100).

        Raises what kept it from starting: DriverLockedError, ProvisionError, OSError or a
        transport's error. Nothing is held then, and the driver is Stopped for good.
        """
        self._check_process()
        self._time.read()
        self._lifecycle.start()
        self._router.drain()
        if self._lifecycle.start_error is not None:
            raise self._lifecycle.start_error

    def do_work(self) -> int:
        """One duty cycle (D-014); returns how much there was to do, 0 when idle.

        Raises only when the driver cannot go on: RuntimeError if an error of its own has broken
        it, ForkedProcessError in a forked child.
        """
        self._check_process()
        now = self._time.read()
        router, timers, metrics = self._router, self._timers, self._metrics
        if (failure := self._endpoints.failure) is not None and self.is_serving:
            router.dispatch(DriverEvent.TRANSPORT_LOST, failure)
        if self.is_serving:
            router.dispatch(DriverEvent.TICK, now)
        fragments, is_drained = self._poll()
        work = fragments
        work += self._poll_side_streams()
        if timers.lease_check.fires(now):
            check = LeaseCheck(now, drained=is_drained)
            router.dispatch(DriverEvent.LEASE_CHECK_TIMER_FIRED, check)
            work += 1
        if timers.announce.fires(now):
            router.dispatch(DriverEvent.ANNOUNCE_TIMER_FIRED, now)
            work += 1
        if timers.drain.fires(now):
            router.dispatch(DriverEvent.SHUTDOWN_TIMEOUT)
            work += 1
        work += router.drain()
        metrics.inc("duty_cycles")
        if work:
            metrics.inc("fragments", fragments)
            metrics.inc("work_done", work)
        took_ns = self._clock.monotonic_ns() - now
        if took_ns > self._longest_cycle_ns:
            self._longest_cycle_ns = took_ns
            metrics.set("max_cycle_ns", took_ns)
        if self._lifecycle.is_faulted:
            raise RuntimeError("the driver is broken by the error logged before; restart it")
        return work

    @property
    def requests(self) -> int:
        """Messages so far that were not plainly for others: a sign of active clients."""
        return self._adapter.requests

    @property
    def has_backlog(self) -> bool:
        """Return whether messages of the driver wait to be offered again, by `do_work`."""
        return self._endpoints.has_backlog

    def has_input(self) -> bool:
        """Return whether `do_work` has input: a message, or a call from another thread.

        Far cheaper than `do_work`, for a loop with nothing else to do. It does not see timers, a
        backlog, a lost transport or free space. So call `do_work` now and then all the same.
        """
        if self._router.posted:
            return True
        try:
            return self._endpoints.has_arrived()
        except Exception:  # noqa: BLE001 - do_work meets it as well, and ends the driver
            return True

    def request_shutdown(
        self, reason: ShutdownReason = ShutdownReason.NORMAL, text: str = ""
    ) -> None:
        """Begin to drain in the next cycle; safe from any thread (D-141)."""
        self._router.post(DriverEvent.SHUTDOWN_REQUESTED, Shutdown(reason, text))

    def revoke_lease(self, lease_id: int, text: str = "") -> bool:
        """End a lease and notify its client; False if the lease does not exist (D-089)."""
        self._check_process()
        self._time.read()
        if not self.is_serving or self._lifecycle.leases.get(lease_id) is None:
            return False
        self._router.dispatch(DriverEvent.REVOKE_LEASE, Revocation(lease_id, text))
        self._router.drain()
        return True

    def reprovision(self, stream_id: int) -> bool:
        """Give a stream a new epoch; a producer loses its lease by it (D-097).

        False if the stream is unknown, the driver is not Running, or provisioning failed.
        """
        self._check_process()
        self._time.read()
        stream = self._lifecycle.streams.get(stream_id)
        if stream is None or not self.is_serving:
            return False
        epoch_before = stream.last_epoch
        self._router.dispatch(DriverEvent.REPROVISION, stream_id)
        self._router.drain()
        return stream.last_epoch != epoch_before

    def close(self, drain: bool = True) -> None:
        """Stop: with `drain` wait for clients to detach, within the configured time (D-190).

        On a driver that is draining already, and without `drain`, it stops at once.
        """
        self._check_process()
        already_draining = self._lifecycle.is_in(self._lifecycle.Draining)
        try:
            if self.is_serving:
                self.request_shutdown()
                if already_draining or not drain:
                    self._router.post(DriverEvent.SHUTDOWN_TIMEOUT)
                while self.is_serving:
                    if self.do_work() == 0:
                        self._pause()
        finally:
            if self._lifecycle.is_faulted:
                self._services.store.close()
            self._endpoints.close()

    def snapshot(self) -> DriverSnapshot:
        """A copy of everything at this moment (D-191)."""
        self._check_process()
        return take_snapshot(self._config, self._lifecycle, self._services)

    @property
    def state(self) -> str:
        """Path of the driver's state, such as `Serving.Running.Normal`."""
        return state_path(self._lifecycle.current)

    @property
    def is_serving(self) -> bool:
        """Started and not stopped."""
        lifecycle = self._lifecycle
        return lifecycle.is_running and lifecycle.is_in(lifecycle.Serving)

    @property
    def is_stopped(self) -> bool:
        """Return whether the driver has ended; see `shutdown` for why."""
        return self._lifecycle.is_in(self._lifecycle.Stopped)

    @property
    def shutdown(self) -> Shutdown:
        """Reason and text of the stop; ERROR after a fatal error such as a lost transport."""
        return self._lifecycle.shutdown

    @property
    def next_due_ns(self) -> int | None:
        """Monotonic time by which `do_work` has to be called again for a timer (D-193)."""
        return self._timers.next_due_ns()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _poll(self) -> tuple[int, bool]:
        """Take what has come on the control stream, in batches, for at most 2 ms (D-014).

        Returns the number of fragments, and True if none was left at the last look.
        """
        limit, taken = self._fragment_limit, 0
        give_up_ns = self._time.now + LONGEST_POLL_NS
        try:
            while True:
                batch = self._endpoints.poll(self._adapter.on_fragment, limit)
                taken += batch
                if batch < limit:
                    return taken, True
                if self._clock.monotonic_ns() >= give_up_ns:
                    return taken, False
        except Exception as error:  # noqa: BLE001 - without the stream there is nothing to do
            self._router.post(DriverEvent.TRANSPORT_LOST, f"control subscription: {error}")
            return taken, True

    def _poll_side_streams(self) -> int:
        try:
            return self._endpoints.poll_side_streams(
                self._adapter.on_side_fragment, self._fragment_limit
            )
        except Exception as error:  # noqa: BLE001 - as for the control stream
            self._router.post(DriverEvent.TRANSPORT_LOST, f"metadata subscription: {error}")
            return 0

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedProcessError(
                "this Driver belongs to the parent process; a forked child must not use it"
            )
