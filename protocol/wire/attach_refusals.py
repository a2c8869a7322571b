"""Every refusal of an attach request: code, text, cause and remedy.

The texts are part of the protocol: a driver sends exactly these, and a client compares with
CLIENT_ID_ATTACHED. Driver, tests and the page "When an attach is refused" use this table.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .generated.enums import ResponseCode

__all__ = ["ATTACH_REFUSALS", "CLIENT_ID_ATTACHED", "PERMANENT_REFUSALS", "AttachRefusal"]

PERMANENT_REFUSALS: Final = (ResponseCode.UNSUPPORTED, ResponseCode.INVALID_PARAMS)
"""The same request would be refused again; any other refusal may pass."""


class AttachRefusal(NamedTuple):
    """A reason to refuse an attach. `row` is its place in D-070, or the requirement beside it.

    A text that ends with `: ` is followed by the details of the failure.
    """

    row: str
    code: ResponseCode
    text: str
    cause: str
    remedy: str


_REJECTED, _INVALID = ResponseCode.REJECTED, ResponseCode.INVALID_PARAMS
_rows: list[AttachRefusal] = []


def _row(row: str, code: ResponseCode, text: str, cause: str, remedy: str) -> AttachRefusal:
    _rows.append(AttachRefusal(row, code, text, cause, remedy))
    return _rows[-1]


UNSUPPORTED_VERSION: Final = _row(
    "D-061",
    ResponseCode.UNSUPPORTED,
    "unsupported driver schema version",
    "The message has a schema version above 1.",
    "Use a client of this protocol version.",
)
DRAINING: Final = _row(
    "1", _REJECTED, "driver draining", "The driver is stopping.", "Attach after its restart."
)
UNKNOWN_ROLE: Final = _row(
    "2",
    _INVALID,
    "unknown role",
    "`role` is neither PRODUCER (1) nor CONSUMER (2).",
    "Send 1 or 2.",
)
NO_CLIENT_ID: Final = _row(
    "3",
    _INVALID,
    "client_id must be non-zero",
    "`clientId` is 0.",
    "Choose an id at random for each attachment.",
)
UNSUPPORTED_MODE: Final = _row(
    "4",
    ResponseCode.UNSUPPORTED,
    "unsupported publish_mode",
    "`publishMode` is neither absent nor 1 or 2.",
    "Send REQUIRE_EXISTING (1) or EXISTING_OR_CREATE (2).",
)
UNKNOWN_HUGEPAGES: Final = _row(
    "5",
    _INVALID,
    "unknown hugepages policy",
    "`requireHugepages` is above 2.",
    "Send UNSPECIFIED (0), STANDARD (1) or HUGEPAGES (2).",
)
NO_HUGEPAGES: Final = _row(
    "6",
    _REJECTED,
    "hugepages required but unavailable",
    "HUGEPAGES is asked for, and `shm.base_dir` is not on hugetlbfs.",
    "Ask for UNSPECIFIED, or move `shm.base_dir` to a hugetlbfs mount.",
)
ONLY_HUGEPAGES: Final = _row(
    "7",
    _REJECTED,
    "hugepages required by driver policy",
    "STANDARD is asked for, and `shm.base_dir` is on hugetlbfs.",
    "Ask for UNSPECIFIED or HUGEPAGES.",
)
CLIENT_ATTACHED: Final = _row(
    "8b",
    _REJECTED,
    "client_id already attached",
    "An active lease has the same `clientId`.",
    "Use another id; a client of ours that chose its id takes a new one by itself (C-011).",
)
LEASE_LIMIT: Final = _row(
    "9",
    _REJECTED,
    "lease limit reached",
    "`policies.max_leases` leases are active.",
    "Wait for one to end, or raise the limit.",
)
UNKNOWN_STREAM: Final = _row(
    "10",
    _REJECTED,
    "stream not provisioned",
    "The stream is not configured, and none may be created for this request.",
    "Configure it, or set `policies.allow_dynamic_streams` and attach with EXISTING_OR_CREATE.",
)
NO_STREAM_RANGE: Final = _row(
    "11",
    _INVALID,
    "stream_id_range not configured",
    "Streams may be created, but `driver.stream_id_range` is unset.",
    "Set the range.",
)
OUTSIDE_STREAM_RANGE: Final = _row(
    "12",
    _INVALID,
    "stream_id outside stream_id_range",
    "The stream is unknown, and its id lies outside the range of dynamic streams.",
    "Take an id of the range, or 0 to let the driver choose.",
)
STREAM_RANGE_EXHAUSTED: Final = _row(
    "13",
    _INVALID,
    "stream_id_range exhausted",
    "The driver is to choose an id, and all of the range are in use.",
    "Widen the range, or wait until a dynamic stream ends.",
)
NO_PROFILE: Final = _row(
    "14",
    _INVALID,
    "profile not found",
    "The profile of the stream is not defined.",
    "Define it under `[profiles]`.",
)
STREAM_DRAINING: Final = _row(
    "15", _REJECTED, "stream draining", "The stream is closing.", "Attach again later."
)
LAYOUT_MISMATCH: Final = _row(
    "16",
    _REJECTED,
    "layout_version mismatch",
    "`expectedLayoutVersion` is neither 0 nor 1.",
    "Send 1, or 0 to accept any.",
)
NO_POOLS: Final = _row(
    "17",
    _INVALID,
    "stream has no payload pools",
    "The profile of the stream lists no pool.",
    "Add `payload_pools` to the profile.",
)
PRODUCER_ATTACHED: Final = _row(
    "18",
    _REJECTED,
    "producer already attached",
    "Another producer holds the stream; `by NAME` follows if it has a name.",
    "Wait until it detaches or its lease expires, or stop it.",
)
NOT_PROVISIONED: Final = _row(
    "19",
    _REJECTED,
    "stream not provisioned",
    "The stream has no epoch yet, and REQUIRE_EXISTING is asked for.",
    "Attach with EXISTING_OR_CREATE, wait for a producer, or set `policies.provision_on_startup`.",
)
NO_NODE_ID: Final = _row(
    "20",
    _REJECTED,
    "node_id unavailable",
    "`desiredNodeId` is in use or cooling down.",
    "Ask for none, or for another.",
)
PROVISIONING_FAILED: Final = _row(
    "21",
    ResponseCode.INTERNAL_ERROR,
    "failed to provision SHM: ",
    "The driver could not make the regions; the reason follows.",
    "Free space below `shm.base_dir`, or mend its permissions. It is tried anew by each attach.",
)
INTERNAL_ERROR: Final = _row(
    "D-064",
    ResponseCode.INTERNAL_ERROR,
    "internal error",
    "An unexpected exception in the driver.",
    "See the error in the driver's log.",
)

ATTACH_REFUSALS: Final = tuple(_rows)

CLIENT_ID_ATTACHED: Final = CLIENT_ATTACHED.text
"""The refused id belongs to a live lease: a client that chose it at random chooses another."""
