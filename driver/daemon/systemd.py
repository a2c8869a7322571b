"""Readiness and watchdog notices to systemd (`Type=notify`); silent without a listener.

The protocol is one datagram a notice to the socket named by `NOTIFY_SOCKET`.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

__all__ = ["SystemdNotifier"]

_log = logging.getLogger(__name__)


class SystemdNotifier:
    """Sends `READY=1`, `STOPPING=1` and, as often as the unit asks for, `WATCHDOG=1`."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog_period_ns = _watchdog_period_ns(environ) if self._address else 0
        self._next_watchdog_ns = 0

    def ready(self, status: str) -> None:
        """The service answers its clients."""
        self._notify(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")

    def stopping(self) -> None:
        """The service is on its way down."""
        self._notify("STOPPING=1\nSTATUS=draining")

    def alive(self, now: int) -> None:
        """Called every cycle with the monotonic time; a notice goes out when one is due."""
        if self._watchdog_period_ns and now >= self._next_watchdog_ns:
            self._next_watchdog_ns = now + self._watchdog_period_ns
            self._notify("WATCHDOG=1")

    def _notify(self, notice: str) -> None:
        if not self._address:
            return
        # A leading @ stands for a socket in the abstract namespace.
        path = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(notice.encode(), path)
        except OSError as error:
            _log.warning("systemd could not be notified", extra={"error": str(error)})


def _watchdog_period_ns(environ: Mapping[str, str]) -> int:
    """Half of the timeout of the unit, if it is meant for this process; else 0."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0
    timeout_us = environ.get("WATCHDOG_USEC", "")
    return int(timeout_us) * 500 if timeout_us.isdigit() else 0
