"""The lookup of the stream that has a name, at every attempt to attach (S-021)."""

from __future__ import annotations

from collections.abc import Callable

from tensor_pool.protocol.errors import AmbiguousStreamError

from ..discovery.directory import Directory
from ..discovery.names import one_of, unknown_stream
from ..discovery.stream_info import StreamInfo
from .connection_machine import DriverConnection
from .events import ConnectionEvent

__all__ = ["StreamLookup"]


class StreamLookup:
    """Asks the directory; the connection machine gets STREAM_RESOLVED or STREAM_UNRESOLVED.

    An answer that comes after the attempt ended, or after a newer lookup began, is ignored.
    """

    def __init__(
        self,
        connection: DriverConnection,
        directory: Directory,
        fail_attach: Callable[[Exception], None],
    ) -> None:
        self._connection = connection
        self._directory = directory
        self._fail_attach = fail_attach
        self._lookups = 0

    def begin(self, name: str) -> None:
        """Ask for the stream of this name."""
        self._lookups += 1
        lookup = self._lookups
        self._directory.ask(lambda found: self._take(lookup, name, found), name=name)

    def _take(self, lookup: int, name: str, found: list[StreamInfo]) -> None:
        if not self._is_awaited(lookup):
            return
        try:
            info = one_of(name, found)
        except AmbiguousStreamError as error:
            self._fail(error)
            return
        if info is not None:
            self._connection.dispatch(ConnectionEvent.STREAM_RESOLVED, info.stream_id)
        else:
            self._directory.ask(lambda there_are: self._explain(lookup, name, there_are))

    def _explain(self, lookup: int, name: str, there_are: list[StreamInfo]) -> None:
        if self._is_awaited(lookup):
            self._fail(unknown_stream(name, there_are))

    def _is_awaited(self, lookup: int) -> bool:
        return lookup == self._lookups and self._connection.is_in(DriverConnection.Attaching)

    def _fail(self, error: Exception) -> None:
        self._fail_attach(error)
        self._connection.dispatch(ConnectionEvent.STREAM_UNRESOLVED)
