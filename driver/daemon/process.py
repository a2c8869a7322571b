"""The daemon: one process that runs one driver until a signal stops it (D-192).

Signals only count; the loop turns the count into requests (D-144). The first SIGTERM, SIGINT or
SIGHUP lets clients detach, a second one stops the driver at once.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from types import FrameType

from tensor_pool.protocol.errors import TensorPoolError
from tensor_pool.protocol.wire import ShutdownReason

from ..core.configuration import DriverConfig
from ..core.ports import DriverLockedError, ProvisionError
from ..driver import Driver
from ..http import open_listeners, open_pages, page_address
from ..runtime.assembly import Assembly, allow_many_files
from ..runtime.loop import LoopCalls, run_driver
from .systemd import SystemdNotifier

__all__ = ["EXIT_FATAL", "EXIT_LOCKED", "EXIT_OK", "run_daemon"]

EXIT_OK = 0
EXIT_FATAL = 1
EXIT_LOCKED = 3

_log = logging.getLogger(__name__)


class StopSignals:
    """Counts SIGTERM, SIGINT and SIGHUP while installed."""

    def __init__(self) -> None:
        self.count = 0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        # A hangup that is ignored already, by nohup for instance, stays ignored.
        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run_daemon(config: DriverConfig) -> int:
    """Run a driver in this process, on its main thread; returns the exit status."""
    signals = StopSignals()
    with signals.installed():
        try:
            return _Daemon(config, signals).run()
        except DriverLockedError as error:
            _log.error("%s", error)
            return EXIT_LOCKED
        except (TensorPoolError, ProvisionError, OSError) as error:
            _log.error("the driver cannot run: %s", error)
        except Exception:  # noqa: BLE001 - the last resort of a process
            _log.exception("the driver cannot run")
        return EXIT_FATAL


class _Daemon:
    """A running daemon and its resources."""

    def __init__(self, config: DriverConfig, signals: StopSignals) -> None:
        self._config = config
        self._signals = signals
        self._signals_handled = 0
        self._notifier = SystemdNotifier()

    def run(self) -> int:
        allow_many_files()
        calls = LoopCalls()
        with contextlib.ExitStack() as opened:
            # First, since nothing has to be undone where the address is taken.
            listeners = open_listeners(self._config.driver, opened)
            assembly = Assembly(self._config)
            opened.callback(assembly.close)
            driver = assembly.driver
            driver.start()
            opened.callback(driver.close, drain=False)
            open_pages(listeners, assembly, calls, opened)
            self._say_ready(assembly.aeron_dir, [page_address(listener) for listener in listeners])
            run_driver(driver, assembly.clock, calls, lambda now: self._after_cycle(driver, now))
            shutdown = driver.shutdown
        if shutdown.reason is ShutdownReason.ERROR:
            _log.error("stopped by a fatal error: %s", shutdown.text)
            return EXIT_FATAL
        return EXIT_OK

    def _say_ready(self, aeron_dir: str, pages: list[str]) -> None:
        config, driver = self._config, self._config.driver
        nbytes = sum(config.profiles[stream.profile].nbytes for stream in config.streams.values())
        print(
            f"driver ready instance={driver.instance_id} control={driver.control_channel}"
            f" stream={driver.control_stream_id} memory={nbytes / 2**20:.1f}MiB"
            f" aeron_dir={aeron_dir}",
            *(f"page={page}" for page in pages),
            flush=True,
        )
        self._notifier.ready(f"serving on {driver.control_channel} {driver.control_stream_id}")

    def _after_cycle(self, driver: Driver, now: int) -> None:
        self._notifier.alive(now)
        while self._signals_handled < self._signals.count:
            self._signals_handled += 1
            if self._signals_handled == 1:
                _log.info("stopping: waiting for clients to detach")
                self._notifier.stopping()
                driver.request_shutdown()
            elif not driver.is_stopped:
                _log.info("stopping at once")
                driver.close(drain=False)
