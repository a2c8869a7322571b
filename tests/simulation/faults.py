"""The faults of a world, by the names of `schedule.FAULTS`, and the repair of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tensor_pool.protocol.testing.faults import NO_FAULTS, Faults
from tensor_pool.protocol.testing.memory_network import MemoryNetwork
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import ShutdownReason

from .memory_store import MemoryDisk
from .processes import CHANNEL, DRIVER, ClientProcess, DriverProcess, Member
from .schedule import MS, OTHER_STREAM, STREAM
from .traffic import STRANGER, Traffic

if TYPE_CHECKING:
    from tensor_pool.protocol.clock import SimulatedClock

__all__ = ["Faulty"]

_WHERE = (None, 1000, 1001, 1100, 1200, 31000)
"""Transport streams that network faults are confined to; None for all."""
_EPOCH_BYTES = 2500
_ROOM = 1 << 40


class Faulty:
    """The part of a world in which things go wrong."""

    clock: SimulatedClock
    network: MemoryNetwork
    traffic: Traffic
    disk: MemoryDisk
    driver: DriverProcess
    processes: list[ClientProcess]
    members: list[Member]
    start: Callable[[ClientProcess], None]
    turn: Callable[[str, Callable[[], object]], bool]

    def begin(self) -> None:
        """Before the first process starts."""
        self.driver_fuse = 0
        self._disturbed: set[tuple[str | None, int | None]] = set()
        stranger = self.network.transport(STRANGER)
        self._stranger = stranger.add_publication(CHANNEL, 1000)

    # -- processes

    def kill(self, process: ClientProcess) -> None:
        """SIGKILL, with what the system then does."""
        self.traffic.forget(process.name)
        self.disk.forget(process.name)
        self._join(process)  # the next process of that name has nothing to do with the cut
        process.kill()

    def crash(self, a: int, _: int) -> None:
        """A client dies between two turns."""
        process = self.processes[a % len(self.processes)]
        if process.client is not None:
            self.kill(process)

    def crash_inside(self, a: int, b: int) -> None:
        """A client will die in its next turn, at some message."""
        self.processes[a % len(self.processes)].fuse = 1 + b % 6

    def revive(self, a: int, _: int) -> None:
        """A dead client's process is started again."""
        process = self.processes[a % len(self.processes)]
        if process.client is None:
            self.start(process)

    def pause(self, a: int, _: int) -> None:
        """SIGSTOP."""
        self.processes[a % len(self.processes)].is_paused = True

    def resume(self, a: int, _: int) -> None:
        """SIGCONT."""
        self.processes[a % len(self.processes)].is_paused = False

    def kill_driver(self, _: int, __: int) -> None:
        """The driver dies between two turns."""
        self.driver.kill()

    def kill_driver_inside(self, a: int, _: int) -> None:
        """The driver will die in its next turn, at some message or call of its store."""
        self.driver_fuse = 1 + a % 8

    def pause_driver(self, _: int, __: int) -> None:
        """The driver is stopped."""
        self.driver.is_paused = True

    def resume_driver(self, _: int, __: int) -> None:
        """The driver goes on."""
        self.driver.is_paused = False

    def revive_driver(self, _: int, __: int) -> None:
        """A new driver on the tree of the last one; never within one second of it (D-080)."""
        if self.driver.driver is None:
            self.clock.step_realtime(1000 * MS)
            self.driver_fuse = 0
            self.turn(DRIVER, self.driver.start)

    def stop_driver(self, a: int, _: int) -> None:
        """An orderly stop is asked for."""
        if self.driver.driver is not None:
            self.driver.driver.request_shutdown(ShutdownReason.ADMIN, f"stop {a}")

    # -- clocks

    def suspend(self, a: int, _: int) -> None:
        """The whole machine sleeps, up to many lease durations."""
        self.clock.advance((50 + a % 2000) * MS)

    def wall_clock(self, a: int, b: int) -> None:
        """Set the clock, to and fro."""
        self.clock.step_realtime((a - 32768) * 100 * MS * (1 + b % 3))

    # -- network

    def _disturb(self, a: int, b: int, faults: Faults) -> None:
        """Faults for one process, one stream, or one stream of one process."""
        names = [None, DRIVER, *(process.name for process in self.processes)]
        key = (names[a % len(names)], _WHERE[b % len(_WHERE)])
        self._disturbed.add(key)
        self.network.set_faults(faults, transport=key[0], stream_id=key[1])

    def back_pressure(self, a: int, b: int) -> None:
        """Publications are full, now and then or for good."""
        some = Faults(back_pressure=0.3, admin_action=0.1)
        all_ = Faults(offer_result=OfferResult.BACK_PRESSURED)
        self._disturb(a, b, all_ if b & 256 else some)

    def not_connected(self, a: int, b: int) -> None:
        """Leave publications without a subscriber."""
        self._disturb(a, b, Faults(offer_result=OfferResult.NOT_CONNECTED))

    def delay(self, a: int, b: int) -> None:
        """Messages take their time; streams overtake each other."""
        most = (5, 40, 150, 400)[(b >> 8) % 4] * MS
        self._disturb(a, b, Faults(max_delay_ns=most, reorder=0.3))

    def reorder(self, a: int, b: int) -> None:
        """Let publishers overtake each other, and a new subscription get old messages."""
        self._disturb(a, b, Faults(reorder=0.5, stale_fragments=True))

    def disconnect(self, a: int, b: int) -> None:
        """Images are lost with what was unread, and come back."""
        self._disturb(a, b, Faults(disconnect=0.1))

    def loss(self, a: int, b: int) -> None:
        """UDP loses messages."""
        self._disturb(a, b, Faults(loss=(0.02, 0.1, 0.5)[(b >> 8) % 3], max_delay_ns=5 * MS))

    def calm_network(self, a: int, _: int) -> None:
        """One or all of the disturbances end."""
        for key in sorted(self._disturbed, key=repr)[: None if a % 2 else 1]:
            self._disturbed.discard(key)
            self.network._faults.pop(key, None)
            if key == (None, None):
                self.network.set_faults(NO_FAULTS)
        for process in self.processes:
            self._join(process)

    def cut(self, a: int, _: int) -> None:
        """Cut a process off in both directions."""
        process = self.processes[a % len(self.processes)]
        transport = self._transport(process)
        if transport is not None and not process.is_cut_off:
            process.is_cut_off = True
            self.network.disconnect(process.name)

    def _join(self, process: ClientProcess) -> None:
        if process.is_cut_off:
            process.is_cut_off = False
            self.network.reconnect(process.name)

    def _transport(self, process: ClientProcess) -> Any:
        transport = self.network._transports.get(process.name)
        return None if transport is None or transport.is_closed else transport

    def lose_media_driver(self, _: int, __: int) -> None:
        """The media driver dies, and with it every transport."""
        self.network.lose_media_driver()
        stranger = self.network.transport(STRANGER)
        self._stranger = stranger.add_publication(CHANNEL, 1000)

    def garbage(self, a: int, b: int) -> None:
        """Send nonsense: noise, or a message cut short or with a bit turned."""
        noise = (a * 2654435761 + b).to_bytes(8, "little") * (b % 9)
        if b % 3 and self.traffic.requests:
            message = bytearray(self.traffic.requests[a % len(self.traffic.requests)])
            if b % 3 == 1:
                noise = bytes(message[: (b >> 3) % len(message)])
            else:
                # Not in the fields with the sender's ids: that would be another client's request.
                message[(b >> 3) % 8] ^= 1 << a % 8
                noise = bytes(message)
        self._stranger.offer(noise)

    def replay(self, a: int, b: int) -> None:
        """An old request arrives once more."""
        if self.traffic.requests:
            self._stranger.offer(
                self.traffic.requests[a * (1 + b % 7) % len(self.traffic.requests)]
            )

    # -- disk

    def disk_full(self, a: int, _: int) -> None:
        """No room, or room for one epoch more."""
        self.disk.capacity_bytes = self.disk.used_bytes + (_EPOCH_BYTES if a % 2 else 0)

    def permission(self, _: int, __: int) -> None:
        """Provisioning is not allowed."""
        if self.driver.driver is not None:
            self.driver.store.faults.permission = True

    def slow_store(self, a: int, _: int) -> None:
        """Provisioning takes up to longer than a lease lasts."""
        if self.driver.driver is not None:
            self.driver.store.faults.slow_ns = (10, 100, 500)[a % 3] * MS

    def unforeseen(self, a: int, _: int) -> None:
        """Have the store raise an unforeseen exception."""
        if self.driver.driver is not None:
            operation = ("provision", "retire", "collect", "refresh_activity")[a % 4]
            self.driver.store.faults.crash = {operation}

    def collect_error(self, _: int, __: int) -> None:
        """Old epochs cannot be removed."""
        if self.driver.driver is not None:
            self.driver.store.faults.collect_error = True

    def heal_store(self, _: int, __: int) -> None:
        """The disk is as it should be."""
        self.disk.capacity_bytes = _ROOM
        if self.driver.driver is not None:
            faults = self.driver.store.faults
            faults.permission = faults.collect_error = False
            faults.slow_ns = 0
            faults.crash = set()

    def delete_files(self, a: int, _: int) -> None:
        """Delete the region files of a stream; mappings stay."""
        stream_id = (STREAM, OTHER_STREAM, 20000)[a % 3]
        for key in [k for k in self.disk.files if k[0] == stream_id]:
            self.disk.files[key].clear()

    def _replace_deleted_files(self) -> None:
        """Do as an operator would: new attaches need a new epoch (D-186)."""
        driver = self.driver.driver
        for stream in driver._lifecycle.streams if driver is not None else ():
            if stream.epoch is not None and not self.disk.files[stream.stream_id, stream.epoch]:
                self.turn(DRIVER, partial(driver.reprovision, stream.stream_id))

    # -- those in charge

    def revoke(self, a: int, _: int) -> None:
        """A lease is revoked by hand."""
        driver = self.driver.driver
        if driver is not None and not self.driver.is_paused:
            leases = list(driver._lifecycle.leases)
            if leases:
                lease_id = leases[a % len(leases)].lease_id
                self.turn(DRIVER, lambda: driver.revoke_lease(lease_id))

    def reprovision(self, a: int, _: int) -> None:
        """A stream is given a new epoch by hand."""
        driver = self.driver.driver
        if driver is not None and not self.driver.is_paused:
            stream_id = (STREAM, OTHER_STREAM)[a % 2]
            self.turn(DRIVER, lambda: driver.reprovision(stream_id))

    # -- and all of it is put right

    def put_right(self) -> None:
        """Every fault ends: from here on there is no excuse."""
        while self._disturbed:
            self.calm_network(1, 0)
        for process in self.processes:
            self._join(process)
            process.is_paused = False
            process.fuse = 0
        self.driver.is_paused = False
        self.driver_fuse = 0
        self.heal_store(0, 0)
        self._replace_deleted_files()
        for process in self.processes:
            if process.client is None:
                self.start(process)
