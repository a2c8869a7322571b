"""Judge a bridge by its status (S-170)."""

from __future__ import annotations

from tensor_pool.bridge.status import BridgeStatus, InStatus, LinkStatus

from .verdict import Node, Verdict, worst_of

__all__ = ["judge_bridge"]

_DOWN_FOR_LONG_S = 10.0
_SEE = "tensor-pool bridge status"
_INCOMING = {
    "Holding": (Verdict.DEGRADED, "the sender is silent; its last epoch is kept"),
    "Looped": (Verdict.FAILING, "refused, since its frames come from this bridge"),
    "Refused": (Verdict.FAILING, "the driver of this host refuses the stream"),
}


def judge_bridge(status: BridgeStatus) -> Node:
    """Return the node of a bridge, with its links and incoming streams as children."""
    parts = (
        *(_link(link) for link in status.links if link.direction == "out"),
        *(_incoming(stream) for stream in status.incoming),
    )
    worst = worst_of(parts)
    cause = "; ".join(f"{part.label}: {part.cause}" for part in parts if part.verdict is worst)
    return Node(
        kind="bridge",
        name=status.instance_id,
        verdict=worst,
        cause="all is well" if worst is Verdict.HEALTHY else cause,
        see=_SEE,
        children=parts,
    )


def _link(link: LinkStatus) -> Node:
    state = link.state.rpartition(".")[2]
    verdict, cause = Verdict.HEALTHY, f"in state {link.state}"
    if state == "Choked":
        verdict, cause = Verdict.DEGRADED, "choked: the receiver or the network is slower"
    elif state == "Down":
        is_long = link.down_s > _DOWN_FOR_LONG_S
        verdict = Verdict.FAILING if is_long else Verdict.DEGRADED
        cause = f"not connected for {link.down_s:.0f} s"
    return Node(kind="link", name=link.name, verdict=verdict, cause=cause, see=_SEE)


def _incoming(stream: InStatus) -> Node:
    state = stream.state.rpartition(".")[2]
    verdict, cause = _INCOMING.get(state, (Verdict.HEALTHY, f"in state {stream.state}"))
    name = f"{stream.wire_id} into {stream.stream}"
    return Node(kind="incoming stream", name=name, verdict=verdict, cause=cause, see=_SEE)
