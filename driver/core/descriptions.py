"""Names of streams and clients, as the driver reads them in metadata (S-031, S-046).

Names are hints for people and for discovery: no grant depends on one. The tables are bounded by
the streams and leases that the driver has, however much arrives on the metadata stream.
"""

from __future__ import annotations

import re

import msgspec

from tensor_pool.protocol.wire import DataSourceAnnounce, DataSourceMeta
from tensor_pool.protocol.wire.names import ClientName, is_name, parse_tags

from .lease_table import LeaseTable
from .stream_table import StreamTable

__all__ = ["Descriptions", "StreamDescription"]

LONGEST_DESCRIPTION_BYTES = 4096  # of one stream, tags included
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


class StreamDescription(msgspec.Struct, frozen=True):
    """The newest metadata of one stream; `name` is empty where it is not a legal one."""

    epoch: int
    meta_version: int
    name: str
    summary: str
    tags: tuple[str, ...] = ()
    has_tags: bool = False  # the attributes of this version have come


class Descriptions:
    """The names that streams and clients of this driver gave themselves."""

    __slots__ = ("_clients", "_configured_names", "_leases", "_streams", "_table")

    def __init__(
        self, configured_names: dict[int, str], table: StreamTable, leases: LeaseTable
    ) -> None:
        self._configured_names = configured_names
        self._table = table
        self._leases = leases
        self._streams: dict[int, StreamDescription] = {}
        self._clients: dict[int, ClientName] = {}

    def of_stream(self, stream_id: int) -> StreamDescription | None:
        """The metadata of a stream, if any came."""
        return self._streams.get(stream_id)

    def name_of_stream(self, stream_id: int) -> str:
        """The name in the metadata, else in the configuration, else "" (S-020)."""
        known = self._streams.get(stream_id)
        if known is not None and known.name:
            return known.name
        return self._configured_names.get(stream_id, "")

    def name_of_client(self, client_id: int) -> ClientName | None:
        """The name, process and host of a client that has a lease, if it sent them (S-046)."""
        return self._clients.get(client_id)

    def on_announce(self, announce: DataSourceAnnounce) -> None:
        """Take the name of a stream; of a client, where the stream id is 0."""
        if announce.stream_id == 0:
            self._name_client(announce)
            return
        if self._table.get(announce.stream_id) is None:
            return
        known = self._streams.get(announce.stream_id)
        if known is not None:
            if announce.epoch < known.epoch:
                return
            if announce.epoch == known.epoch and announce.meta_version <= known.meta_version:
                return
        elif len(self._streams) >= len(self._table):
            self._forget_removed_streams()
        name = announce.name if is_name(announce.name) else ""
        room = LONGEST_DESCRIPTION_BYTES - len(name)
        self._streams[announce.stream_id] = StreamDescription(
            announce.epoch, announce.meta_version, name, _short(announce.summary, room)
        )

    def on_meta(self, meta: DataSourceMeta) -> None:
        """Take the tags of the version that was announced."""
        known = self._streams.get(meta.stream_id)
        if known is None or known.has_tags or meta.meta_version != known.meta_version:
            return
        texts = [a.value for a in meta.attributes if a.key == "tags"]
        room = LONGEST_DESCRIPTION_BYTES - len(known.name) - len(known.summary)
        tags = parse_tags(texts[0][: max(room, 0)]) if len(texts) == 1 else ()
        self._streams[meta.stream_id] = msgspec.structs.replace(known, tags=tags, has_tags=True)

    def _name_client(self, announce: DataSourceAnnounce) -> None:
        if self._leases.of_client(announce.producer_id) is None:
            return
        if len(self._clients) > 2 * len(self._leases):
            of_client = self._leases.of_client
            self._clients = {c: n for c, n in self._clients.items() if of_client(c) is not None}
        self._clients[announce.producer_id] = ClientName.from_announce(announce)

    def _forget_removed_streams(self) -> None:
        table = self._table
        self._streams = {s: d for s, d in self._streams.items() if table.get(s) is not None}


def _short(text: str, room: int) -> str:
    return _UNPRINTABLE.sub("?", text).encode()[: max(room, 0)].decode(errors="ignore")
