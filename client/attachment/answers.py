"""The driver's answers to the attach requests of one attachment, sorted for its machine (C-015)."""

from __future__ import annotations

from collections.abc import Callable

from tensor_pool.protocol.errors import ProtocolViolationError
from tensor_pool.protocol.wire import ResponseCode, ShmAttachResponse

from .connection_machine import DriverConnection
from .events import ConnectionEvent
from .grant import Grant, LateGrant, check_grant, usable_lease_id

__all__ = ["MAX_ERROR_TEXT", "AttachAnswers"]

MAX_ERROR_TEXT = 1024  # characters kept of a text that the driver sends


class AttachAnswers:
    """Turns answers into events of the connection machine."""

    def __init__(
        self,
        connection: DriverConnection,
        *,
        expected_layout_version: int,
        fail_attach: Callable[[Exception], None],
    ) -> None:
        self._connection = connection
        self._expected_layout_version = expected_layout_version
        self._fail_attach = fail_attach

    def take(self, response: ShmAttachResponse, now: int) -> None:
        """Dispatch the event of an answer: to the current request, or to one that was given up.

        The answer to a request of another attachment is ignored.
        """
        connection = self._connection
        correlations = connection.correlations
        if correlations.take_answer(response.correlation_id):
            client_id = connection.identity.client_id
            if response.code is not ResponseCode.OK:
                refusal = (response.code, response.error_message[:MAX_ERROR_TEXT])
                connection.dispatch(ConnectionEvent.ATTACH_REFUSED, refusal)
                return
            try:
                grant = self._check(response, client_id, now)
            except ProtocolViolationError as error:
                self._fail_attach(error)
                late = _late(response, client_id, None)
                connection.dispatch(ConnectionEvent.ATTACH_INVALID, late)
            else:
                connection.dispatch(ConnectionEvent.ATTACH_OK, grant)
            return
        late_client_id = correlations.take_late_answer(response.correlation_id, now)
        if late_client_id is not None and response.code is ResponseCode.OK:
            try:
                late_grant = self._check(response, late_client_id, now)
            except ProtocolViolationError:
                late_grant = None
            late = _late(response, late_client_id, late_grant)
            connection.dispatch(ConnectionEvent.LATE_ATTACH_OK, late)

    def take_unreadable(self, correlation_id: int, why: str) -> bool:
        """End the current attempt if this is its correlation id; return whether it is (C-016)."""
        connection = self._connection
        if not connection.correlations.take_answer(correlation_id):
            return False
        self._fail_attach(ProtocolViolationError(why))
        late = LateGrant(None, 0, connection.identity.client_id, None)
        connection.dispatch(ConnectionEvent.ATTACH_INVALID, late)
        return True

    def _check(self, response: ShmAttachResponse, client_id: int, now: int) -> Grant:
        return check_grant(
            response,
            client_id=client_id,
            requested_stream_id=self._connection.requested_stream_id,
            expected_layout_version=self._expected_layout_version,
            desired_node_id=self._connection.desired_node_id,
            now=now,
        )


def _late(response: ShmAttachResponse, client_id: int, grant: Grant | None) -> LateGrant:
    return LateGrant(usable_lease_id(response), response.stream_id or 0, client_id, grant)
