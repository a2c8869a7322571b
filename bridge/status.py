"""The state of a bridge at one moment: `/status.json` and `bridge status` (B-161).

Epochs are texts: they exceed 2^53, and readers that keep numbers as doubles would round them.
"""

from __future__ import annotations

import msgspec

from tensor_pool.hsm import ROOT, Machine, State

from .core.bridge import Bridge
from .core.incoming_link import Incoming
from .core.links import Outgoing
from .core.metric_names import DROPPED_HERE, DROPPED_THERE
from .core.receiving import Receiver
from .core.sending import Sender

__all__ = [
    "BridgeStatus",
    "InStatus",
    "LinkStatus",
    "MachineStatus",
    "OutStatus",
    "take_status",
]

_NS_PER_MS = 1_000_000


class LinkStatus(msgspec.Struct, kw_only=True, frozen=True):
    """One link; `state` is empty for an incoming one, which has no machine.

    `down_s` is the time since an outgoing link was connected, 0 while it is.
    """

    name: str
    direction: str
    channel: str
    state: str = ""
    down_s: float = 0.0
    mbit_s: float = 0.0
    sessions: int = 0
    sources: tuple[str, ...] = ()
    """IP addresses of the senders of an incoming link."""
    counters: dict[str, int] = {}


class OutStatus(msgspec.Struct, kw_only=True, frozen=True):
    """One source stream on one outgoing link; drops are those of this host."""

    link: str
    stream: int
    wire_id: int
    label: str
    state: str
    epoch: str
    has_producer: bool
    path: tuple[str, ...]
    frames_s: float
    mbit_s: float
    share: float
    """Part of the link's bytes, 0 to 1."""
    queue_frames: int
    lag_frames: int
    """Frames that are taken and neither sent nor dropped."""
    drops: dict[str, int]
    counters: dict[str, int]


class InStatus(msgspec.Struct, kw_only=True, frozen=True):
    """One entry of an incoming link; `sender_*` are what the sender counts."""

    link: str
    wire_id: int
    stream: int
    label: str
    state: str
    owner: str
    address: str
    source_stream: int
    path: tuple[str, ...]
    source_epoch: str
    far_epoch: str
    frames_s: float
    mbit_s: float
    lag_frames: int
    age_ms: float
    """Age of the newest frame when it was committed here, plus the time since."""
    sequence: str
    timestamps: str
    clock_offset_ns: int
    clock_spread_ns: int
    drops: dict[str, int]
    sender_frames_sent: int
    sender_frames_dropped: int
    counters: dict[str, int]


class MachineStatus(msgspec.Struct, frozen=True):
    """A machine for the statecharts of the page (B-112)."""

    label: str
    chart: str
    state: str


class BridgeStatus(msgspec.Struct, kw_only=True, frozen=True):
    """A whole bridge."""

    instance_id: str
    state: str
    pid: int
    pool: str
    """Directory of the pool's media driver."""
    http_address: str
    net_directory: str
    links: tuple[LinkStatus, ...]
    outgoing: tuple[OutStatus, ...]
    incoming: tuple[InStatus, ...]
    machines: tuple[MachineStatus, ...]
    counters: dict[str, int]


def take_status(bridge: Bridge, *, pid: int, pool: str, http_address: str = "") -> BridgeStatus:
    """The state now; for the thread that runs the bridge."""
    outgoing = [_out(bridge, o, sender) for o in bridge.outgoing for sender in o.senders]
    incoming = [_in(bridge, i, receiver) for i in bridge.incoming for receiver in i.receivers]
    return BridgeStatus(
        instance_id=bridge.settings.instance_id,
        state=_path(bridge.machine),
        pid=pid,
        pool=pool,
        http_address=http_address,
        net_directory=bridge.net_directory,
        links=(
            *(_out_link(outgoing, bridge.clock.monotonic_ns()) for outgoing in bridge.outgoing),
            *(_in_link(incoming) for incoming in bridge.incoming),
        ),
        outgoing=tuple(outgoing),
        incoming=tuple(incoming),
        machines=(
            _machine(bridge.settings.instance_id, bridge.machine),
            *(_machine(f"link {o.link.name}", o.machine) for o in bridge.outgoing),
            *(_machine(s.label, s.machine) for o in bridge.outgoing for s in o.senders),
            *(_machine(r.label, r.machine) for r in bridge.receivers),
        ),
        counters=bridge.counters.snapshot(),
    )


def _out_link(outgoing: Outgoing, now: int) -> LinkStatus:
    return LinkStatus(
        name=outgoing.link.name,
        direction="out",
        channel=outgoing.link.channel,
        state=_path(outgoing.machine),
        down_s=0.0 if outgoing.is_up else (now - outgoing.down_since_ns) / 1e9,
        mbit_s=sum(_mbit_s(sender) for sender in outgoing.senders),
        counters=outgoing.counters.snapshot(),
    )


def _in_link(incoming: Incoming) -> LinkStatus:
    return LinkStatus(
        name=incoming.link.name,
        direction="in",
        channel=incoming.link.channel,
        mbit_s=sum(_mbit_s(receiver) for receiver in incoming.receivers),
        sessions=incoming.sessions,
        sources=incoming.sources,
        counters=incoming.counters.snapshot(),
    )


def _out(bridge: Bridge, outgoing: Outgoing, sender: Sender) -> OutStatus:
    counted = sender.counters.snapshot()
    link_bytes = sum(s.counters["bytes_sent"] for s in outgoing.senders)
    path = (*bridge.path_of(sender.entry.stream, sender.epoch), bridge.settings.instance_id)
    return OutStatus(
        link=outgoing.link.name,
        stream=sender.entry.stream,
        wire_id=sender.entry.wire_id,
        label=sender.label,
        state=_path(sender.machine),
        epoch=str(sender.epoch),
        has_producer=sender.has_producer,
        path=path,
        frames_s=sender.rates["frames_sent"],
        mbit_s=_mbit_s(sender),
        share=counted["bytes_sent"] / link_bytes if link_bytes else 0.0,
        queue_frames=sender.waiting,
        lag_frames=sender.lag_frames,
        drops={name: counted[name] for name in (*DROPPED_HERE, "skipped_link") if counted[name]},
        counters=counted,
    )


def _in(bridge: Bridge, incoming: Incoming, receiver: Receiver) -> InStatus:
    counted = receiver.counters.snapshot()
    owner = receiver.owner
    info = owner.info if owner is not None else None
    return InStatus(
        link=incoming.link.name,
        wire_id=receiver.entry.wire_id,
        stream=receiver.stream_id,
        label=receiver.label,
        state=_path(receiver.machine),
        owner=info.instance_id if info is not None else "",
        address=incoming.source_of(owner.session) if owner is not None else "",
        source_stream=info.source_stream_id if info is not None else 0,
        path=receiver.path,
        source_epoch=str(receiver.source_epoch),
        far_epoch=str(receiver.far_epoch),
        frames_s=receiver.rates["frames_delivered"],
        mbit_s=_mbit_s(receiver),
        lag_frames=receiver.lag_frames,
        age_ms=receiver.age_ns / _NS_PER_MS,
        sequence="dense" if receiver.is_dense else "source",
        timestamps=str(receiver.entry.timestamps),
        clock_offset_ns=receiver.clocks.offset_ns,
        clock_spread_ns=receiver.clocks.spread_ns,
        drops={name: counted[name] for name in (*DROPPED_THERE, "frames_lost") if counted[name]},
        sender_frames_sent=info.frames_sent if info is not None else 0,
        sender_frames_dropped=info.frames_dropped if info is not None else 0,
        counters=counted,
    )


def _mbit_s(stream: Sender | Receiver) -> float:
    name = "bytes_sent" if isinstance(stream, Sender) else "bytes_received"
    return stream.rates[name] * 8 / 1e6


def _machine(label: str, machine: Machine) -> MachineStatus:
    return MachineStatus(label, type(machine).__name__, _path(machine))


def _path(machine: Machine) -> str:
    """The names of the active state and of those around it, outermost first."""
    names: list[str] = []
    state: State | None = machine.current
    while state is not None and state is not ROOT:
        names.append(state.name)
        state = state.parent
    return ".".join(reversed(names))
