"""Vectors as objects: the JSON of `vectors/` and how its field values map to message classes."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from tensor_pool.protocol import wire
from tensor_pool.schemas.generator.schema import snake_case

VECTORS = Path(__file__).parent / "vectors"
GOLDEN: dict[str, dict[str, str]] = json.loads((VECTORS / "golden.json").read_text())
INDEPENDENT: list[dict[str, Any]] = json.loads((VECTORS / "wire.json").read_text())
BRIDGE: list[dict[str, Any]] = json.loads((VECTORS / "bridge.json").read_text())
SERVICES: list[dict[str, Any]] = json.loads((VECTORS / "services.json").read_text())
RECORDS = INDEPENDENT + BRIDGE + SERVICES
FROZEN: dict[str, Any] = json.loads((VECTORS / "frozen_registry.json").read_text())

SHARED_MEMORY = {"ShmRegionSuperblock", "SlotHeader", "TensorHeader"}
ENTRIES: dict[str, type] = {
    "payload_pools": wire.PayloadPool,
    "attributes": wire.Attribute,
    "tags": wire.Tag,
    "results": wire.DiscoveryResult,
    "parents": wire.TraceParent,
}
RULES: dict[type, type] = {
    wire.SequenceMergeMapAnnounce: wire.SequenceMergeRule,
    wire.TimestampMergeMapAnnounce: wire.TimestampMergeRule,
}
"""Entries of groups called `rules`, by the message that holds them."""
NOT_ATTRIBUTES = {"pad", "pad_align"}


def golden(name: str) -> bytes:
    """Bytes of V1..V14."""
    return bytes.fromhex(GOLDEN[name]["hex"])


def messages() -> list[dict[str, Any]]:
    """Records of transport messages."""
    return [r for r in RECORDS if r["schema"] != "shm" and r["message"] not in SHARED_MEMORY]


def records(message: str) -> list[dict[str, Any]]:
    """Records of one message name."""
    return [r for r in RECORDS if r["message"] == message]


def name_of(record: dict[str, Any]) -> str:
    """Test id of a record."""
    return f"{record['message']}-{record['case']}"


def plain(value: Any) -> Any:
    """JSON field value of a message attribute, in the form that the vectors use."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if hasattr(value, "__struct_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, int):
        return int(value)
    return value


def expected(fields: dict[str, Any]) -> dict[str, Any]:
    """The record's fields under attribute names, binary data as bytes."""
    attributes: dict[str, Any] = {}
    for key, value in fields.items():
        name = snake_case(key)
        if name in NOT_ATTRIBUTES:
            assert not any(value) if isinstance(value, list) else value == 0
            continue
        name = "bytes_" if name == "bytes" else name
        if name in ENTRIES or name == "rules":
            attributes[name] = [expected(entry) for entry in value]
        elif isinstance(value, dict):
            attributes[name] = bytes.fromhex(value["$hex"])
        elif name == "value" and isinstance(value, str):
            attributes[name] = value.encode("ascii")
        elif name == "trace_id" and value == 0:
            attributes[name] = None
        else:
            attributes[name] = value
    return attributes


def build(kind: type, attributes: dict[str, Any]) -> Any:
    """An object of `kind` from attributes as `expected` gives them."""
    values = {}
    for name, value in attributes.items():
        entry_kind = ENTRIES.get(name) or (RULES[kind] if name == "rules" else None)
        if entry_kind:
            values[name] = tuple(build(entry_kind, entry) for entry in value)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def load_u64(buffer: bytes | bytearray, offset: int) -> int:
    """A u64 from a private copy of bytes."""
    value: int = struct.unpack_from("<Q", buffer, offset)[0]
    return value
