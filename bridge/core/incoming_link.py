"""An incoming link at work: its subscription, its sessions, and which entry a message is for."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import msgspec

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.wire import (
    BridgeStreamInfo,
    DataSourceAnnounce,
    DataSourceMeta,
    WireError,
    decoder_for,
)

from ..settings import BridgeSettings, ReceiveLink
from .chunks import CHUNK_KEY, read_chunk
from .events import SeenInfo
from .log import BridgeLog
from .loops import checked_path
from .metric_names import LINK_COUNTERS
from .ports import Net, NetSubscription
from .receiving import Receiver

__all__ = ["Incoming"]

_decode = decoder_for([BridgeStreamInfo, DataSourceAnnounce, DataSourceMeta])


class _Session(msgspec.Struct):
    """A sender's session on this link."""

    order: int
    refused: bool


class Incoming:
    """One incoming link and the entries that it serves."""

    def __init__(
        self,
        settings: BridgeSettings,
        link: ReceiveLink,
        receivers: Sequence[Receiver],
        clock: Clock,
    ) -> None:
        self.settings = settings
        self.link = link
        self.receivers = tuple(receivers)
        self.counters = Counters(LINK_COUNTERS)
        self.chunks = 0
        """Chunks received, whatever became of them."""
        self._clock = clock
        self._log = BridgeLog(clock)
        self._subscription: NetSubscription | None = None
        self._sessions: dict[int, _Session] = {}
        self._next_order = 0
        self._entries: dict[int, list[Receiver]] = {}
        for receiver in self.receivers:
            self._entries.setdefault(receiver.entry.wire_id, []).append(receiver)
        # An entry that names its origin wins over one without (B-080).
        for entries in self._entries.values():
            entries.sort(key=lambda receiver: not receiver.entry.origin)
        self._allowed = [ipaddress.ip_network(text, strict=False) for text in link.allow]

    @property
    def sessions(self) -> int:
        """Sessions that are read."""
        return len(self._sessions)

    @property
    def sources(self) -> tuple[str, ...]:
        """IP addresses of the sessions."""
        return tuple(sorted({self.source_of(session) for session in self._sessions}))

    def source_of(self, session_id: int) -> str:
        """IP address that a session comes from; empty if it is not known."""
        subscription = self._subscription
        return subscription.source_address(session_id) if subscription is not None else ""

    def open(self, net: Net) -> None:
        """Open the subscription. Raises TransportError."""
        self._subscription = net.subscription(self.link.channel, self.settings.data_stream_id)

    def close_subscription(self) -> None:
        """Leave the network: every session is gone."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()
        for session in list(self._sessions):
            self._end(session)

    def do_work(self) -> int:
        """Poll once; returns the fragments taken."""
        subscription = self._subscription
        if subscription is None:
            return 0
        fragments = subscription.poll(self._on_message, self.settings.fragment_limit)
        for session in subscription.gone():
            self._end(session)
        return fragments

    def _on_message(self, session_id: int, message: memoryview) -> None:
        session = self._sessions.get(session_id) or self._new_session(session_id)
        if session is None or session.refused:
            return
        if len(message) < 8:
            self.counters.inc("bad_message")
        elif int.from_bytes(message[2:6], "little") == CHUNK_KEY:
            self._on_chunk(session_id, message)
        else:
            self._on_other(session_id, session, message)

    def _on_chunk(self, session_id: int, message: memoryview) -> None:
        self.chunks += 1
        chunk = read_chunk(message)
        if chunk is None:
            self.counters.inc("bad_message")
            return
        entries = self._entries.get(chunk.stream_id)
        if entries is None:
            self.counters.inc("unmapped_chunks")
            return
        for receiver in entries:
            owner = receiver.owner
            if owner is not None and owner.session == session_id:
                receiver.on_chunk(session_id, chunk)
                return
        entries[0].on_foreign_chunk(session_id, chunk)

    def _on_other(self, session_id: int, session: _Session, message: memoryview) -> None:
        try:
            decoded = _decode(message)
        except WireError as error:
            self.counters.inc("ignored" if error.reason.is_ignored else "bad_message")
            return
        if isinstance(decoded, BridgeStreamInfo):
            self._on_info(session_id, session, decoded)
        elif isinstance(decoded, DataSourceAnnounce | DataSourceMeta):
            for receiver in self._entries.get(decoded.stream_id, ()):
                if receiver.owner is not None and receiver.owner.session == session_id:
                    receiver.on_metadata(decoded)
                    return
            self.counters.inc("ignored")

    def _on_info(self, session_id: int, session: _Session, info: BridgeStreamInfo) -> None:
        path = checked_path(info)
        if path is None:
            self.counters.inc("bad_message")
            return
        for receiver in self._entries.get(info.stream_id, ()):
            if receiver.entry.origin in ("", path[0]):
                now = self._clock.monotonic_ns()
                seen = SeenInfo(info, path, session_id, session.order, now)
                if receiver.may_own(seen):
                    receiver.on_info(seen)
                else:
                    self.counters.inc("ignored")
                return
        self.counters.inc("ignored")

    def _new_session(self, session_id: int) -> _Session | None:
        if len(self._sessions) >= self.settings.max_sessions:
            return None
        refused = not self._is_allowed(session_id)
        session = self._sessions[session_id] = _Session(self._next_order, refused)
        self._next_order += 1
        return session

    def _is_allowed(self, session_id: int) -> bool:
        if not self._allowed or self._subscription is None:
            return True
        source = self._subscription.source_address(session_id)
        try:
            address = ipaddress.ip_address(source)
        except ValueError:
            address = None
        if address is not None and any(address in network for network in self._allowed):
            return True
        self.counters.inc("refused_sources")
        self._log.warning(
            "refused source",
            "link %s: a sender at %s is not in allow = %s and is ignored",
            *(self.link.name, source or "an unknown address", list(self.link.allow)),
        )
        return False

    def _end(self, session_id: int) -> None:
        if self._sessions.pop(session_id, None) is not None:
            for receiver in self.receivers:
                receiver.on_session_gone(session_id)
