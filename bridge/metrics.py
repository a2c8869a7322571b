"""Metrics of a bridge in the text format of Prometheus (B-162)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .core.metric_names import GAUGES
from .status import BridgeStatus, InStatus, LinkStatus, OutStatus

__all__ = ["CONTENT_TYPE", "PREFIX", "metrics_page", "samples"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "tensor_pool_bridge_"

type Sample = tuple[str, dict[str, str], float]


def metrics_page(status: BridgeStatus) -> bytes:
    """Every metric: gauges by their name, counters with the customary `_total`."""
    grouped: dict[str, list[tuple[dict[str, str], float]]] = {}
    for name, labels, value in samples(status):
        grouped.setdefault(name, []).append((labels, value))
    lines = []
    for name, found in sorted(grouped.items()):
        kind, suffix = ("gauge", "") if name in GAUGES else ("counter", "_total")
        lines.append(f"# TYPE {PREFIX}{name}{suffix} {kind}")
        for labels, value in found:
            inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            lines.append(f"{PREFIX}{name}{suffix}{{{inside}}} {value:.17g}")
    return ("\n".join(lines) + "\n").encode()


def samples(status: BridgeStatus) -> Iterator[Sample]:
    """Name, labels and value of everything that is counted or measured."""
    bridge = {"instance": status.instance_id}
    for name, value in status.counters.items():
        yield name, bridge, value
    for link in status.links:
        yield from _of_link(bridge, link)
    for out in status.outgoing:
        labels = {**bridge, "link": out.link, "stream": str(out.wire_id)}
        for name, value in out.counters.items():
            yield name, labels, value
        yield from _of_out(labels, out)
    for entry in status.incoming:
        labels = {**bridge, "link": entry.link, "stream": str(entry.wire_id)}
        for name, value in entry.counters.items():
            yield name, labels, value
        yield from _of_in(labels, entry)


def _of_link(bridge: dict[str, str], link: LinkStatus) -> Iterator[Sample]:
    labels = {**bridge, "link": link.name}
    for name, value in link.counters.items():
        yield name, labels, value
    if link.direction == "out":
        yield "link_up", labels, link.state.startswith("Up")
        yield "link_choked", labels, link.state.endswith("Choked")
    else:
        yield "sessions", labels, link.sessions


def _of_out(labels: dict[str, str], out: OutStatus) -> Iterator[Sample]:
    yield "queue_frames", labels, out.queue_frames
    yield "lag_frames", {**labels, "side": "out"}, out.lag_frames
    yield "source_epoch", {**labels, "side": "out"}, int(out.epoch)


def _of_in(labels: dict[str, str], entry: InStatus) -> Iterator[Sample]:
    yield "lag_frames", {**labels, "side": "in"}, entry.lag_frames
    yield "age_ms", labels, entry.age_ms
    yield "clock_offset_ns", labels, entry.clock_offset_ns
    yield "clock_spread_ns", labels, entry.clock_spread_ns
    yield "source_epoch", {**labels, "side": "in"}, int(entry.source_epoch)
    yield "far_epoch", labels, int(entry.far_epoch)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
