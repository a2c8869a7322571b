"""Configuration of a bridge: one TOML document, checked completely before anything is opened.

`read_document` returns every mistake at once (B-150). The commands `send` and `receive` build the
same document from their options, so there is one set of rules.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from . import channels
from .core.chunks import (
    CHUNK_OVERHEAD_BYTES,
    MAX_CHUNK_BYTES,
    MAX_PAYLOAD_BYTES,
    SLOT_BYTES,
    checksum_problem,
)
from .core.loops import INSTANCE_ID, instance_id_from
from .http.server import split_address
from .settings import (
    BridgeSettings,
    CrcPolicy,
    ReceiveLink,
    ReceiveStream,
    SendLink,
    SendStream,
    SequencePolicy,
    TimestampPolicy,
)

__all__ = ["LinkNote", "LoadedBridge", "read_document"]

_MAX_STREAMS: Final = 1024
_MAX_ENTRIES: Final = 4096
_MAX_MESSAGE: Final = 16 << 20
_LARGEST_ID: Final = (1 << 32) - 2
_SUFFIXES: Final = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class LinkNote(msgspec.Struct, frozen=True):
    """The printed description of a link."""

    name: str
    place: str
    channel: str
    is_loopback: bool
    memory_bytes: int
    """Bytes of Aeron's log buffers for its session, on each end."""


class LoadedBridge(msgspec.Struct, frozen=True):
    """A checked configuration."""

    settings: BridgeSettings
    media_driver: str
    threading: str
    http_address: str
    notes: tuple[LinkNote, ...]
    warnings: tuple[str, ...]


class _Reader:
    """Values of one table, each checked when it is taken; what is left over is unknown."""

    def __init__(self, where: str, table: object, errors: list[str]) -> None:
        self.where = where
        self.errors = errors
        self.taken: set[str] = set()
        self.table: Mapping[str, Any] = table if isinstance(table, Mapping) else {}
        if not isinstance(table, Mapping):
            errors.append(f"{where or 'the file'}: {table!r} must be a table")

    def fail(self, key: str, text: str) -> None:
        self.errors.append(f"{self._name(key)}: {text}")

    def _name(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def take(self, key: str, default: Any = None) -> Any:
        self.taken.add(key)
        return self.table.get(key, default)

    def integer(self, key: str, default: int, least: int, most: int) -> int:
        value = self.take(key, default)
        if isinstance(value, str) and value.strip().isdigit():
            value = int(value)
        if type(value) is not int or not least <= value <= most:
            self.fail(key, f"{value!r} must be a whole number in {least}..{most}")
            return default
        return value

    def size(self, key: str, default: str, least: int, most: int) -> int:
        value = self.take(key, default)
        parsed = _size(value)
        if parsed is None or not least <= parsed <= most:
            self.fail(key, f"{value!r} must be a size in {least}..{most}, such as 16m")
            return _size(default) or least
        return parsed

    def number(self, key: str) -> float:
        value = self.take(key, 0)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number) or number < 0:
            self.fail(key, f"{value!r} must be a number, 0 or above")
            return 0.0
        return number

    def boolean(self, key: str) -> bool:
        value = self.take(key, False)
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value.lower(), value)
        if not isinstance(value, bool):
            self.fail(key, f"{value!r} must be true or false")
            return False
        return value

    def text(self, key: str, default: str = "") -> str:
        value = self.take(key, default)
        if not isinstance(value, str):
            self.fail(key, f"{value!r} must be a text")
            return default
        return value

    def choice(self, key: str, default: str, allowed: Iterable[str]) -> str:
        value = self.text(key, default)
        names = list(allowed)
        if value not in names:
            self.fail(key, f"{value!r} must be one of {', '.join(names)}")
            return default
        return value

    def tables(self, key: str) -> list[_Reader]:
        value = self.take(key, [])
        if not isinstance(value, list):
            self.fail(key, "must be a list of tables")
            value = []
        name = self._name(key)
        return [_Reader(f"{name}[{i}]", item, self.errors) for i, item in enumerate(value)]

    def unknown(self) -> list[str]:
        return [self._name(key) for key in self.table if key not in self.taken]


def _size(value: object) -> int | None:
    if type(value) is int:
        return value
    if isinstance(value, str) and value:
        digits, scale = value, 1
        if value[-1].lower() in _SUFFIXES:
            digits, scale = value[:-1], _SUFFIXES[value[-1].lower()]
        if digits.isdigit():
            return int(digits) * scale
    return None


class _Loader:
    """One document on its way to settings."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.notes: list[LinkNote] = []
        self.top = _Reader("", document, self.errors)
        self.instance = self._instance()
        self.allow_public = self.top.boolean("allow_public")
        self._readers = [self.top]

    def load(self) -> LoadedBridge | None:
        """The bridge, or None with `errors` filled."""
        top = self.top
        top.take("pool")
        send = [s for reader in top.tables("send") for s in self._send_links(reader)]
        receive = [r for reader in top.tables("receive") for r in self._receive_links(reader)]
        integer = top.integer
        settings = BridgeSettings(
            instance_id=self.instance,
            send=tuple(send),
            receive=tuple(receive),
            data_stream_id=integer("data_stream_id", 3000, 1, (1 << 31) - 1),
            info_interval_ms=integer("info_interval_ms", 1000, 10, 3_600_000),
            hold_ms=integer("hold_ms", 15_000, 0, 3_600_000),
            assembly_timeout_ms=integer("assembly_timeout_ms", 1000, 50, 60_000),
            send_timeout_ms=integer("send_timeout_ms", 1000, 10, 60_000),
            choke_ms=integer("choke_ms", 100, 1, 60_000),
            shutdown_timeout_ms=integer("shutdown_timeout_ms", 2000, 0, 60_000),
            max_payload_bytes=integer("max_payload_bytes", MAX_PAYLOAD_BYTES, 1, MAX_PAYLOAD_BYTES),
            max_hops=integer("max_hops", 3, 1, 16),
            max_sessions=integer("max_sessions", 64, 1, 4096),
            fragment_limit=integer("fragment_limit", 256, 1, 4096),
            clock_synced=top.boolean("clock_synced"),
        )
        media_driver = top.text("media_driver", "own")
        if media_driver not in ("own", "shared") and not os.path.isabs(media_driver):
            top.fail("media_driver", f"{media_driver!r} must be own, shared or a directory's path")
        threading = top.choice(
            "threading", "auto", ("auto", "dedicated", "shared", "shared_network")
        )
        if threading == "auto":
            threading = "dedicated" if (os.cpu_count() or 1) >= 4 else "shared"
        http_address = top.text("http_address")
        if http_address:
            try:
                split_address(http_address)
            except ValueError as error:
                top.fail("http_address", str(error))
        self._check_whole(settings)
        for reader in self._readers:
            self.warnings += [f"{name}: unknown key, ignored" for name in reader.unknown()]
        if self.errors:
            return None
        return LoadedBridge(
            settings,
            media_driver,
            threading,
            http_address,
            tuple(self.notes),
            tuple(self.warnings),
        )

    def _instance(self) -> str:
        instance = self.top.text("instance_id") or instance_id_from(socket.gethostname())
        if not INSTANCE_ID.fullmatch(instance):
            self.top.fail("instance_id", f"{instance!r} must be 1-64 of A-Z a-z 0-9 . _ -")
        return instance

    # Links

    def _places(self, reader: _Reader, key: str) -> list[str]:
        value = reader.take(key)
        places = value if isinstance(value, list) else [value]
        good = []
        for place in places:
            if not isinstance(place, str):
                reader.fail(key, f"{place!r} must be HOST:PORT or an aeron:udp channel")
                continue
            try:
                channels.address_of(place)
            except (ValueError, KeyError) as error:
                reader.fail(key, str(error))
                continue
            problem = channels.refused_address(place, listening=key == "at")
            if problem is not None and not self.allow_public:
                reader.fail(
                    key,
                    f"{problem}; frames would travel unencrypted. Use a tunnel's address, or set"
                    " allow_public = true",
                )
                continue
            good.append(place)
        return good

    def _send_links(self, reader: _Reader) -> list[SendLink]:
        self._readers.append(reader)
        term_length = reader.size("term_length", "16m", 64 << 10, 1 << 30)
        if term_length & (term_length - 1):
            reader.fail("term_length", f"{term_length} must be a power of two")
        window = self._window(reader, term_length)
        mtu = reader.integer("mtu", 1408, 512, 65504)
        if mtu % 32:
            reader.fail("mtu", f"{mtu} must be a multiple of 32")
        chunk_bytes = reader.integer("chunk_bytes", 61440, 256, MAX_CHUNK_BYTES)
        most = min(term_length // 8, _MAX_MESSAGE)
        if chunk_bytes + CHUNK_OVERHEAD_BYTES + SLOT_BYTES > most:
            reader.fail(
                "chunk_bytes",
                f"{chunk_bytes} with term_length {term_length}: a chunk takes"
                f" {chunk_bytes + CHUNK_OVERHEAD_BYTES + SLOT_BYTES} bytes,"
                f" a message at most {most}",
            )
        streams = self._send_streams(reader)
        max_mbit_s = reader.number("max_mbit_s")
        crc = reader.boolean("crc")
        if crc and (problem := checksum_problem()) is not None:
            reader.fail("crc", problem)
        interface, flow_control = reader.text("interface"), reader.text("flow_control")
        ttl = reader.integer("ttl", 1, 0, 255) if "ttl" in reader.table else None
        links = []
        places = self._places(reader, "to")
        name = reader.text("name")
        for place in places:
            link_name = name if name and len(places) == 1 else place
            channel = channels.publication_channel(
                place,
                mtu=mtu,
                term_length=term_length,
                window=window,
                alias=_alias(self.instance, link_name),
                interface=interface,
                ttl=ttl,
                flow_control=flow_control,
            )
            links.append(
                SendLink(
                    name=link_name,
                    channel=channel,
                    streams=streams,
                    chunk_bytes=chunk_bytes,
                    crc=crc,
                    max_mbit_s=max_mbit_s,
                )
            )
            loopback = channels.is_loopback(place)
            self.notes.append(LinkNote(link_name, place, channel, loopback, 3 * term_length))
        return links

    def _send_streams(self, link: _Reader) -> tuple[SendStream, ...]:
        streams = []
        seen: set[int] = set()
        for reader in link.tables("streams"):
            self._readers.append(reader)
            stream = reader.integer("stream", 0, 1, _LARGEST_ID)
            wire_id = reader.integer("as", stream or 1, 1, _LARGEST_ID)
            if wire_id in seen:
                reader.fail("as", f"wire id {wire_id} is used twice on this link")
            seen.add(wire_id)
            payload = reader.choice("payload", "full", ("full", "headers"))
            streams.append(
                SendStream(
                    stream=stream,
                    wire_id=wire_id,
                    max_rate_hz=reader.number("max_rate_hz"),
                    queue_frames=reader.integer("queue_frames", 0, 0, 1024),
                    headers_only=payload == "headers",
                )
            )
        if not 0 < len(streams) <= _MAX_STREAMS:
            link.fail("streams", f"{len(streams)} streams; a link carries 1..{_MAX_STREAMS}")
        return tuple(streams)

    def _receive_links(self, reader: _Reader) -> list[ReceiveLink]:
        self._readers.append(reader)
        window = self._window(reader, 16 << 20)
        allow = reader.take("allow", [])
        networks = allow if isinstance(allow, list) else [allow]
        for network in networks:
            try:
                ipaddress.ip_network(network, strict=False)
            except ValueError as error:
                reader.fail("allow", str(error))
        streams = self._receive_streams(reader)
        congestion, interface = reader.text("congestion", "static"), reader.text("interface")
        name, places = reader.text("name"), self._places(reader, "at")
        links = []
        for place in places:
            link_name = name if name and len(places) == 1 else place
            channel = channels.subscription_channel(
                place,
                window=window,
                alias=_alias(self.instance, link_name),
                congestion=congestion,
                interface=interface,
            )
            links.append(
                ReceiveLink(
                    name=link_name,
                    channel=channel,
                    streams=streams,
                    allow=tuple(map(str, networks)),
                )
            )
            loopback = channels.is_loopback(place)
            self.notes.append(LinkNote(link_name, place, channel, loopback, 3 * (16 << 20)))
        return links

    def _receive_streams(self, link: _Reader) -> tuple[ReceiveStream, ...]:
        streams = []
        for reader in link.tables("streams"):
            self._readers.append(reader)
            wire_id = reader.integer("id", 0, 1, _LARGEST_ID)
            origin = reader.text("from")
            if origin and not INSTANCE_ID.fullmatch(origin):
                reader.fail("from", f"{origin!r} must be 1-64 of A-Z a-z 0-9 . _ -")
            streams.append(
                ReceiveStream(
                    wire_id=wire_id,
                    stream=reader.integer("stream", wire_id, 0, _LARGEST_ID),
                    origin=origin,
                    sequence=SequencePolicy(reader.choice("sequence", "auto", SequencePolicy)),
                    timestamps=TimestampPolicy(
                        reader.choice("timestamps", "local", TimestampPolicy)
                    ),
                    crc=CrcPolicy(reader.choice("crc", "auto", CrcPolicy)),
                )
            )
        if not streams:
            link.fail("streams", "0 streams; a link needs at least one")
        return tuple(streams)

    def _window(self, reader: _Reader, term_length: int) -> int:
        if reader.table.get("window", "auto") == "auto":
            reader.take("window")
            return channels.auto_window(term_length)
        window = reader.size("window", "128k", 1408, term_length // 2)
        limit = channels.receive_buffer_limit()
        if window > limit:
            self.warnings.append(
                f"{reader.where}.window: {window} is cut to {limit}, the limit of this host;"
                f" lift it with: sysctl -w net.core.rmem_max={window} net.core.wmem_max={window}"
            )
            return limit
        return window

    # The whole

    def _check_whole(self, settings: BridgeSettings) -> None:
        if not settings.send and not settings.receive and not self.errors:
            self.errors.append("nothing to do: there is neither a send nor a receive table")
        entries = [(link, e) for link in settings.receive for e in link.streams]
        if len(entries) > _MAX_ENTRIES:
            self.errors.append(f"receive: {len(entries)} entries; at most {_MAX_ENTRIES}")
        self._require_unique(
            "receive", entries, lambda link, e: (link.name, e.wire_id, e.origin), "wire id"
        )
        self._require_unique("receive", entries, lambda _, e: e.stream or object(), "far stream")
        listened = {(_place(link.channel), e.wire_id): link.name for link, e in entries}
        for send in settings.send:
            for stream in send.streams:
                heard = listened.get((_place(send.channel), stream.wire_id))
                if heard is not None:
                    self.errors.append(
                        f"send to {send.name} and receive at {heard}: wire id {stream.wire_id}"
                        " would be sent to this bridge itself"
                    )

    def _require_unique(
        self,
        where: str,
        entries: list[tuple[ReceiveLink, ReceiveStream]],
        key: Callable[[ReceiveLink, ReceiveStream], object],
        what: str,
    ) -> None:
        seen: set[object] = set()
        for link, entry in entries:
            value = key(link, entry)
            if value in seen:
                number = entry.wire_id if what == "wire id" else entry.stream
                self.errors.append(f"{where} at {link.name}: {what} {number} is named twice")
            seen.add(value)


def _alias(instance: str, link_name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._:-]", "_", f"{instance}-{link_name}")


def _place(channel: str) -> tuple[str, int]:
    return channels.address_of(channel)


def read_document(
    document: Mapping[str, Any],
) -> tuple[LoadedBridge | None, tuple[str, ...]]:
    """The bridge that a document describes, or None and every mistake in it."""
    bridge = document.get("bridge")
    if "mappings" in document or isinstance(bridge, Mapping):
        return None, (_in_our_form(document),)
    loader = _Loader(document)
    loaded = loader.load()
    return loaded, tuple(loader.errors)


def _in_our_form(document: Mapping[str, Any]) -> str:
    """The answer to a file of the reference implementation: the same mappings, written for us."""
    bridge = document.get("bridge")
    channel = bridge.get("payload_channel", "") if isinstance(bridge, Mapping) else ""
    mappings = document.get("mappings")
    sources = [
        (m.get("source_stream_id", 0), m.get("dest_stream_id", 0))
        for m in (mappings if isinstance(mappings, list) else [])
        if isinstance(m, Mapping)
    ]
    send = ", ".join(f"{{ stream = {source}, as = {far} }}" for source, far in sources)
    receive = ", ".join(f"{{ id = {far} }}" for _, far in sources)
    return (
        "this is a file of the reference bridge; write its mappings like this, the first table on"
        f" the sending host and the second on the receiving one:\n"
        f'[[send]]\nto = "{channel or "HOST:PORT"}"\nstreams = [{send}]\n\n'
        f'[[receive]]\nat = "{channel or "HOST:PORT"}"\nstreams = [{receive}]'
    )
