"""`bridge status`: the bridges of this host, their links and streams."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from tensor_pool.bridge.status import BridgeStatus, InStatus, LinkStatus, OutStatus
from tensor_pool.bridge.status_socket import bridges_here

from ..pool_view.tables import plain_table, table_console
from ..support.exit_status import FAILED, OK, CommandError, complain
from ..support.status_page import fetch_page

__all__ = ["bridge_tables", "bridges_of", "print_bridges"]


def print_bridges(http: str | None, timeout_s: float, *, as_json: bool) -> int:
    """Every bridge of this host, or the one at `http`; FAILED if there is none."""
    found = [_fetch(http, timeout_s)] if http else bridges_here()
    if as_json:
        document = msgspec.json.format(msgspec.json.encode(found), indent=2)
        sys.stdout.buffer.write(document + b"\n")
    else:
        table_console().print(bridge_tables(found))
    if found:
        return OK
    complain("no bridge of this user runs on this host")
    return FAILED


def bridges_of(aeron_dir: str) -> list[BridgeStatus]:
    """The bridges of this host that carry streams of the pool with this media driver."""
    wanted = Path(aeron_dir).resolve()
    return [found for found in bridges_here() if Path(found.pool).resolve() == wanted]


def bridge_tables(bridges: Sequence[BridgeStatus]) -> RenderableType:
    """Tables of links, streams sent and streams received."""
    parts: list[RenderableType] = []
    for status in bridges:
        state = status.state.rpartition(".")[2]
        page = f", http://{status.http_address}/" if status.http_address else ""
        parts.append(Text(f"bridge {status.instance_id}: {state}, pid {status.pid}{page}"))
        parts.append(_links(status.links))
        if status.outgoing:
            parts.append(_outgoing(status.outgoing))
        if status.incoming:
            parts.append(_incoming(status.incoming))
    return Group(*parts)


def _links(links: Sequence[LinkStatus]) -> RenderableType:
    table = plain_table("link", "direction", "state", "Mbit/s", "senders")
    for link in links:
        state = link.state.rpartition(".")[2] or f"{link.sessions} sessions"
        table.add_row(
            *(link.name, link.direction, state, f"{link.mbit_s:.1f}", ", ".join(link.sources))
        )
    return table


def _outgoing(streams: Sequence[OutStatus]) -> RenderableType:
    table = plain_table("sent", "to", "state", "path", "frames/s", "share", "lag", "drops here")
    for one in streams:
        table.add_row(
            *(f"{one.stream} as {one.wire_id}", one.link, one.state.rpartition(".")[2]),
            *(">".join(one.path), f"{one.frames_s:.1f}", f"{one.share:.0%}"),
            *(f"{one.lag_frames} frames", _drops(one.drops)),
        )
    return table


def _incoming(streams: Sequence[InStatus]) -> RenderableType:
    table = plain_table(
        *("received", "state", "from", "path", "frames/s", "lag", "age", "drops here"),
        "drops there",
    )
    for one in streams:
        table.add_row(
            *(f"{one.wire_id} into {one.stream}", one.state.rpartition(".")[2]),
            f"{one.owner}:{one.source_stream}" if one.owner else "-",
            *(">".join(one.path), f"{one.frames_s:.1f}", f"{one.lag_frames} frames"),
            *(f"{one.age_ms:.1f} ms", _drops(one.drops), str(one.sender_frames_dropped)),
        )
    return table


def _drops(drops: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in drops.items()) or "none"


def _fetch(address: str, timeout_s: float) -> BridgeStatus:
    url, page = fetch_page(address, timeout_s)
    try:
        return msgspec.json.decode(page, type=BridgeStatus)
    except msgspec.MsgspecError as error:
        raise CommandError(f"{url}: not the status of a bridge: {error}") from error
