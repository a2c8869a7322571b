"""A driver inside an application's own process (C-130 to C-133, D-004).

    with EmbeddedDriver(config) as driver:
        client = tensor_pool.client.connect(driver.client_config())

It runs the same parts as the daemon, on a thread of its own or polled by the caller, and talks with
clients by messages and shared memory only; clients in other processes may attach as well.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, Self

from tensor_pool.protocol.errors import ClosedError, ForkedProcessError
from tensor_pool.protocol.wire import ShutdownReason

from ..config.for_clients import ClientConfig, client_config_for
from ..config.load import check_config, load_config
from ..core.configuration import DriverConfig
from ..http import open_listeners, open_pages
from ..runtime.assembly import Assembly
from ..runtime.loop import LoopCalls, run_driver
from ..runtime.report import DriverReport, take_report

__all__ = ["EmbeddedDriver"]


class EmbeddedDriver:
    """One driver from construction, when it is ready for clients, to `close()`.

    `config` comes from `load_config`, or is made by hand and checked here; without one it is that
    of `tensor-pool driver` without a file, and the region files are removed at the end. With
    `threaded=False` nothing runs by itself: the caller calls `do_work()` often, at least once a
    millisecond while it expects answers. `observer` gets the trace hooks of all machines, in the
    driver's thread, instead of the log.

    Raises what keeps it from starting: ConfigError, DriverLockedError, TransportError,
    HttpUnavailableError, ProvisionError, OSError.
    """

    def __init__(
        self,
        config: DriverConfig | None = None,
        *,
        threaded: bool = True,
        observer: object | None = None,
    ) -> None:
        if config is None:
            config = load_config(overrides=[("policies.cleanup_shm_on_exit", True)]).config
        check_config(config)
        self._config = config
        self._pid = os.getpid()
        self._calls = LoopCalls()
        self._error: BaseException | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        with contextlib.ExitStack() as opened:
            listeners = open_listeners(config.driver, opened)
            self._assembly = Assembly(config, observer=observer)
            opened.callback(self._assembly.close)
            # Started by this thread, run by another: handed over before it is shared.
            self._assembly.driver.start()
            opened.callback(self._assembly.driver.close, drain=False)
            open_pages(listeners, self._assembly, self._calls, opened)
            if threaded:
                self._thread = threading.Thread(
                    target=self._run, name="tensor-pool-driver", daemon=True
                )
                self._thread.start()
            self._opened = opened.pop_all()

    def _run(self) -> None:
        try:
            run_driver(self._assembly.driver, self._assembly.clock, self._calls)
        except BaseException as error:  # noqa: BLE001 - raised by the next call of the application
            self._error = error

    @property
    def aeron_dir(self) -> str:
        """Directory of the media driver in use."""
        return self._assembly.aeron_dir

    @property
    def is_running(self) -> bool:
        """Return whether it still serves clients; false after a requested stop or a fatal error."""
        return not (self._closed or self._error or self._assembly.driver.is_stopped)

    def client_config(self, **changes: Any) -> ClientConfig:
        """Return the settings of a Client of this driver; `changes` are fields of ClientConfig."""
        return client_config_for(self._config, self.aeron_dir, **changes)

    def do_work(self) -> int:
        """One duty cycle, for `threaded=False`; returns how much there was to do."""
        if self._thread is not None:
            raise RuntimeError("this driver runs on a thread of its own; do not poll it as well")
        self._check_open()
        work = self._assembly.driver.do_work()
        self._calls.serve()
        return work

    def request_shutdown(
        self, reason: ShutdownReason = ShutdownReason.NORMAL, text: str = ""
    ) -> None:
        """Let clients detach, then stop; from any thread."""
        self._assembly.driver.request_shutdown(reason, text)

    def revoke_lease(self, lease_id: int, text: str = "") -> bool:
        """End a lease and notify its client; False if the lease does not exist (D-089)."""
        return self._in_loop(lambda: self._assembly.driver.revoke_lease(lease_id, text))

    def reprovision(self, stream_id: int) -> bool:
        """Give a stream a new epoch; False if it cannot have one (D-097)."""
        return self._in_loop(lambda: self._assembly.driver.reprovision(stream_id))

    def report(self) -> DriverReport:
        """State, streams, leases and metrics at this moment (D-191)."""
        return self._in_loop(lambda: take_report(self._assembly))

    def _in_loop[T](self, function: Callable[[], T]) -> T:
        self._check_open()
        if self._thread is None or self._thread is threading.current_thread():
            return function()
        try:
            return self._calls.call(function).result()
        except CancelledError:
            raise self._error or ClosedError("the embedded driver has stopped") from None

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedProcessError(
                "this EmbeddedDriver belongs to the parent process; a forked child must not use it"
            )
        if self._closed:
            raise ClosedError("the embedded driver is closed")

    def close(self, drain: bool = True) -> None:
        """Stop the driver and release everything; with `drain` let clients detach first (D-142).

        Raises the error that ended the driver's thread, if one did. In a forked child it does
        nothing: everything is the parent's.
        """
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        driver = self._assembly.driver
        if self._thread is not None:
            if drain:
                driver.request_shutdown()
            else:
                self._calls.call(lambda: driver.close(drain=False))
            self._thread.join()
        with self._opened:
            driver.close(drain=drain)
        self._calls.close()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
