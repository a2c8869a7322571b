"""`bridge`: run, send, receive, check; `status` is in bridge_status."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensor_pool.bridge.config import LoadedBridge, read_document
from tensor_pool.bridge.core.bridge import Bridge
from tensor_pool.bridge.http import PagesUnavailableError, serve_pages
from tensor_pool.bridge.net import AeronNet
from tensor_pool.bridge.pool import ClientPool
from tensor_pool.bridge.process import run_bridge
from tensor_pool.bridge.reporting import Reporter
from tensor_pool.bridge.status import BridgeStatus, take_status
from tensor_pool.bridge.status_socket import serve_status
from tensor_pool.client.client import Client
from tensor_pool.client.config import NoBaseDirError
from tensor_pool.protocol.clock import SystemClock
from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.media_driver import default_aeron_dir

from ..support.connection_options import Connection
from ..support.exit_status import USAGE, CommandError, complain
from ..support.signals import Stop

__all__ = ["await_client", "check_file", "pair_of", "run_document", "run_file"]

_NOT_SECURE = (
    "link {name}: frames travel unencrypted and senders are not authenticated; use a tunnel that"
    " does both (WireGuard, IPsec) or a network that only the two hosts share"
)
_RETRY_S = 1.0
_TOP_LEVEL_LISTS = ("send", "receive", "pool")


def pair_of(text: str) -> tuple[int, int]:
    """`10000=50000` as two ids; `10000` stands for both. Raises CommandError."""
    first, _, second = text.partition("=")
    try:
        return int(first), int(second or first)
    except ValueError:
        raise CommandError(f"{text!r} must be an id, or two with = between them", USAGE) from None


def run_file(connection: Connection, file: Path, overrides: list[str]) -> int:
    """Run a configuration file."""
    return run_document(connection, _document(file), overrides)


def check_file(file: Path, overrides: list[str]) -> int:
    """Print what a configuration file means."""
    loaded = _loaded(_document(file), overrides)
    for line in _lines(loaded):
        print(line)
    return 0


def run_document(connection: Connection, document: dict[str, Any], overrides: list[str]) -> int:
    """Run a bridge until a signal comes."""
    loaded = _loaded(document, overrides)
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    clock = SystemClock()
    pool_of_file = document.get("pool")
    if isinstance(pool_of_file, Mapping):
        connection = _with_pool_keys(connection, pool_of_file)
    with contextlib.ExitStack() as opened:
        stop = opened.enter_context(Stop())
        client = await_client(connection, stop)
        if client is None:
            return 0
        opened.enter_context(client)
        config = client.config
        pool_directory = config.aeron_dir or default_aeron_dir()

        def open_net() -> AeronNet:
            if loaded.media_driver == "own":
                return AeronNet(threading_mode=loaded.threading)
            shared = loaded.media_driver == "shared"
            return AeronNet(pool_directory if shared else loaded.media_driver)

        bridge = Bridge(loaded.settings, ClientPool(client), open_net, clock)
        address = ""

        def take() -> BridgeStatus:
            return take_status(bridge, pid=os.getpid(), pool=pool_directory, http_address=address)

        reporter = Reporter(take)
        try:
            if loaded.http_address:
                address = opened.enter_context(serve_pages(loaded.http_address, reporter))
                print(f"status page: http://{address}/")
            bridge.start()
        except (TransportError, PagesUnavailableError) as error:
            raise CommandError(str(error)) from error
        opened.enter_context(serve_status(reporter))
        for line in _lines(loaded):
            print(line)
        for note in loaded.notes:
            if not note.is_loopback:
                complain(_NOT_SECURE.format(name=note.name))
        print(f"bridge ready: {loaded.settings.instance_id}", flush=True)
        run_bridge(bridge, lambda: stop.requested, reporter.serve)
        for line in _summary(bridge):
            print(line, flush=True)
    return 0


def await_client(connection: Connection, stop: Stop) -> Client | None:
    """A client as soon as there is a driver (B-140); None if a signal comes first.

    Without one there is no media driver, or no base directory, which the driver makes.
    """
    waits = False
    while True:
        try:
            return connection.client()
        except CommandError as error:
            if not isinstance(error.__cause__, TransportError | NoBaseDirError):
                raise
            if not waits:
                complain(f"{error}. The bridge waits for it")
            waits = True
        if stop.wait(_RETRY_S):
            return None


def _with_pool_keys(connection: Connection, pool: Mapping[str, Any]) -> Connection:
    import msgspec

    known = set(connection.__struct_fields__)
    unknown = sorted(set(pool) - known)
    if unknown:
        raise CommandError(f"pool.{unknown[0]}: unknown key", USAGE)
    given = {key: value for key, value in pool.items() if getattr(connection, key) is None}
    return msgspec.structs.replace(connection, **given)


def _document(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", USAGE) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: {error}", USAGE) from error


def _loaded(document: dict[str, Any], overrides: list[str]) -> LoadedBridge:
    document.update(_from_environment())
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or key in _TOP_LEVEL_LISTS:
            raise CommandError(f"--set {text}: give a top-level key and a value", USAGE)
        document[key] = value
    loaded, errors = read_document(document)
    if loaded is None:
        raise CommandError("\n".join(errors), USAGE)
    for warning in loaded.warnings:
        complain(warning)
    return loaded


def _from_environment() -> dict[str, Any]:
    prefix = "BRIDGE_"
    return {
        key.removeprefix(prefix).lower(): value
        for key, value in os.environ.items()
        if key.startswith(prefix) and key.removeprefix(prefix).lower() not in _TOP_LEVEL_LISTS
    }


def _lines(loaded: LoadedBridge) -> Sequence[str]:
    settings = loaded.settings
    lines = []
    memory = {note.name: note.memory_bytes for note in loaded.notes}
    for send in settings.send:
        streams = ", ".join(f"{s.stream} as {s.wire_id}" for s in send.streams)
        lines.append(f"send {streams}: {send.channel}")
        lines.append(
            f"  chunks of {send.chunk_bytes} bytes, log buffers {memory[send.name] >> 20} MiB"
        )
    for receive in settings.receive:
        streams = ", ".join(f"{e.wire_id} into {e.stream}" for e in receive.streams)
        lines.append(f"receive {streams}: {receive.channel}")
    return lines


def _summary(bridge: Bridge) -> Sequence[str]:
    lines = []
    for outgoing in bridge.outgoing:
        for sender in outgoing.senders:
            counted = {k: v for k, v in sender.counters.snapshot().items() if v}
            lines.append(f"sent {sender.entry.stream} to {outgoing.link.name}: {_joined(counted)}")
    for receiver in bridge.receivers:
        counted = {k: v for k, v in receiver.counters.snapshot().items() if v}
        lines.append(f"received {receiver.entry.wire_id}: {_joined(counted)}")
    return lines


def _joined(counted: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in counted.items()) or "nothing"
