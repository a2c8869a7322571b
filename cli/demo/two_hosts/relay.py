"""A UDP path that can be cut, for two hosts that share one loopback interface."""

from __future__ import annotations

import select
import socket
import threading

__all__ = ["Relay"]

_LARGEST_DATAGRAM = 1 << 16
_BUFFER_BYTES = 4 << 20
_ONE_BATCH = 64
_TICK_S = 0.2


class Relay:
    """Carries datagrams between a program that sends to `port` and the address behind it.

    The sender sends to the relay, the receiver answers to it: each takes the relay for the other.
    While `is_cut` is true everything is thrown away, in both directions.
    """

    def __init__(self, target_port: int, host: str = "127.0.0.1") -> None:
        self.is_cut = False
        self.tick_s = _TICK_S
        self._target = (host, target_port)
        self._sender: tuple[str, int] | None = None
        self._near = _socket(host)  # the sender's side
        self._far = _socket(host)  # the receiver's side
        self._ended = threading.Event()
        self.port: int = self._near.getsockname()[1]
        self._thread = threading.Thread(target=self._carry, name="relay", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it; may be called again."""
        self._ended.set()
        self._thread.join()
        self._near.close()
        self._far.close()

    def _carry(self) -> None:
        while not self._ended.is_set():
            ready, _, _ = select.select([self._near, self._far], [], [], self.tick_s)
            for side in ready:
                self._drain(side)
            self._each_turn()

    def _each_turn(self) -> None:
        """Nothing; for paths that delay."""

    def _drain(self, side: socket.socket) -> None:
        for _ in range(_ONE_BATCH):
            try:
                datagram, address = side.recvfrom(_LARGEST_DATAGRAM)
            except OSError:  # nothing left, or an unreachable port reported by ICMP
                return
            if side is self._near:
                self._sender = address
                self._pass(self._far, datagram, self._target)
            elif self._sender is not None:
                self._pass(self._near, datagram, self._sender)

    def _pass(self, out: socket.socket, datagram: bytes, to: tuple[str, int]) -> None:
        if self.is_cut:
            return
        try:
            out.sendto(datagram, to)
        except OSError:
            return  # lost, as on any network


def _socket(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
    made.bind((host, 0))
    return made
