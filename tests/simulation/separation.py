"""CI-9: what is meant for one attachment of a process changes no other.

Messages and turns reach the attachments of a process one after the other. Around each, those that
it is not meant for are compared with what they were; shutdown and the loss of the transport concern
all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tensor_pool.client.attachment.attachment import Attachment
from tensor_pool.protocol.wire import (
    Role,
    ShmAttachResponse,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmLeaseRevoked,
)

from .invariants_driver import InvariantError
from .processes import ClientProcess

__all__ = ["Separation"]


class Separation:
    """`checks` counts the comparisons made."""

    def __init__(self) -> None:
        self.checks = 0

    def watch_messages(self, process: ClientProcess) -> None:
        """Compare around each message that the process handles from now on."""
        assert process.client is not None
        conductor = process.client._conductor
        for kind, handle in conductor._handlers.items():
            if kind is not ShmDriverShutdown:
                conductor._handlers[kind] = self._around_message(process, handle)

    def watch_turns(self, process: ClientProcess, attachment: Any) -> None:
        """Compare around each turn of an attachment from now on."""
        do_work = attachment.do_work

        def compared(now: int) -> int:
            before = self._states(a for a in self._all(process) if a is not attachment)
            work: int = do_work(now)
            self._compare(process, before, "the turn of another")
            return work

        attachment.do_work = compared

    def _around_message(
        self, process: ClientProcess, handle: Callable[[Any], None]
    ) -> Callable[[Any], None]:
        def compared(message: Any) -> None:
            before = self._states(a for a in self._all(process) if not _concerns(message, a))
            handle(message)
            self._compare(process, before, type(message).__name__)

        return compared

    def _all(self, process: ClientProcess) -> list[Attachment]:
        return process.client._conductor.attachments if process.client is not None else []

    def _states(self, attachments: Iterable[Attachment]) -> list[tuple[Attachment, object]]:
        return [(attachment, _state(attachment)) for attachment in attachments]

    def _compare(
        self, process: ClientProcess, before: list[tuple[Attachment, object]], why: str
    ) -> None:
        self.checks += len(before)
        for attachment, state in before:
            if _state(attachment) != state:
                raise InvariantError(
                    f"CI-9: {process.name}: {why} changed the attachment of client"
                    f" {attachment.client_id} from {state} to {_state(attachment)}"
                )


def _concerns(message: Any, attachment: Attachment) -> bool:
    """Return whether a message may change an attachment, by its ids."""
    correlations = attachment.connection.correlations
    match message:
        case ShmAttachResponse():
            asked = message.correlation_id
            return asked == correlations.outstanding or asked in correlations._remembered
        case ShmDetachResponse():
            return message.correlation_id in correlations._detaches
        case ShmLeaseRevoked(role=Role.CONSUMER):
            grant = attachment.connection.grant
            return grant is not None and grant.lease_id == message.lease_id
        case _:
            return bool(message.stream_id == attachment.stream_id)


def _state(attachment: Attachment) -> object:
    """States, lease and timers: whatever decides what the attachment does next."""
    connection = attachment.connection
    lease_id = connection.grant.lease_id if connection.grant is not None else None
    return (
        connection.current.name,
        lease_id,
        connection.failures,
        attachment.machine.current.name,
        dict(attachment.timers._due_ns),
    )
