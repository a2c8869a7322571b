"""The clients' invariants that can be seen after each turn of a process.

Only the process that had the turn can have changed, so only it is looked at. CI-5 to CI-7 and CI-9
are elsewhere: in `traffic.py`, `frames.py` and `separation.py`.
"""

from __future__ import annotations

from typing import Any

from tensor_pool.client.attachment.attachment import Attachment
from tensor_pool.client.attachment.connection_machine import (
    ConnectionTimer,
    DriverConnection,
)
from tensor_pool.client.consumer.attachment import ConsumerAttachment
from tensor_pool.client.consumer.machine import ConsumerMachine, ConsumerTimer
from tensor_pool.client.producer.attachment import ProducerAttachment
from tensor_pool.client.producer.machine import ProducerMachine

from .invariants_driver import InvariantError
from .memory_store import MemoryDisk
from .processes import ClientProcess

__all__ = ["ClientChecks"]

_CONNECTION_TIMERS: dict[Any, ConnectionTimer] = {
    DriverConnection.Attaching: ConnectionTimer.RESPONSE,
    DriverConnection.Attached: ConnectionTimer.KEEPALIVE,
    DriverConnection.Detaching: ConnectionTimer.DETACH,
    DriverConnection.Backoff: ConnectionTimer.BACKOFF,
}
_CONSUMER_TIMERS: dict[Any, ConsumerTimer] = {
    ConsumerMachine.Remapping: ConsumerTimer.ANNOUNCE_WAIT,
    ConsumerMachine.Backoff: ConsumerTimer.BACKOFF,
}


class ClientChecks:
    """`checks` counts the invariant checks made."""

    def __init__(self, disk: MemoryDisk) -> None:
        self.checks = 0
        self._disk = disk
        self._mapped_epoch: dict[tuple[str, int], int] = {}

    def check(self, process: ClientProcess) -> None:
        """After a turn: everything holds, or InvariantError."""
        client = process.client
        if client is None:
            return
        in_use = 0
        for attachment in client._conductor.attachments:
            self.checks += 6
            self._check_timers(process, attachment)
            in_use += self._check_mapping(process, attachment)
        self.checks += 1
        mapped = len(self._disk.mappings.get(process.name, ()))
        if mapped != in_use:
            raise InvariantError(
                f"CI-10: {process.name} has {mapped} regions mapped, uses {in_use}"
            )

    def _check_timers(self, process: ClientProcess, attachment: Attachment) -> None:
        """CI-4 and CI-8: nothing waits forever, and one question is asked at a time."""
        connection = attachment.connection
        state = connection.current
        armed = attachment.timers._due_ns
        needed = _CONNECTION_TIMERS.get(state)
        if needed is not None:
            if needed not in armed:
                raise InvariantError(f"CI-8: {process.name} is {state} and no timer runs")
        elif not (
            attachment.is_closing or attachment._requests or ConnectionTimer.REATTACH in armed
        ):
            raise InvariantError(f"CI-8: {process.name} is Unattached for good")
        asks = connection.correlations.outstanding is not None
        if asks and state is not DriverConnection.Attaching:
            raise InvariantError(f"CI-4: {process.name} is {state} and asks for a lease")

    def _check_mapping(self, process: ClientProcess, attachment: Attachment) -> int:
        """CI-1 to CI-3; returns how many regions are in use."""
        if isinstance(attachment, ProducerAttachment):
            state: Any = attachment.producer._state
            uses = attachment._machine.current is ProducerMachine.Active
            mapping = state.mapping if state is not None else None
        else:
            assert isinstance(attachment, ConsumerAttachment)
            machine = attachment._machine
            state = attachment.receiver.state
            uses = machine.current is ConsumerMachine.Mapped
            mapping = machine.mapping
            needed = _CONSUMER_TIMERS.get(machine.current)
            if needed is not None and needed not in attachment.timers._due_ns:
                raise InvariantError(f"CI-8: {process.name} is {machine.current}, no timer runs")
        if (state is not None) != uses or (mapping is not None) != uses:
            raise InvariantError(f"CI-1: {process.name}: {attachment.machine.current}, {state}")
        if not uses:
            return 0
        connection = attachment.connection
        if connection.current is not DriverConnection.Attached:
            raise InvariantError(f"CI-1: {process.name} uses regions while {connection.current}")
        regions = mapping.stream.regions()
        epoch = mapping.epoch
        if state.epoch != epoch or any(r.mapping.closed for r in regions):
            raise InvariantError(f"CI-2: {process.name} uses epoch {state.epoch} of {epoch}")
        if regions[0].superblock().epoch != epoch:
            raise InvariantError(f"CI-2: {process.name}: another superblock in epoch {epoch}")
        assert connection.grant is not None
        key = (process.name, connection.grant.lease_id)
        if epoch < self._mapped_epoch.get(key, 0):
            raise InvariantError(f"CI-3: {process.name} went back to epoch {epoch}")
        self._mapped_epoch[key] = epoch
        return len(regions)
