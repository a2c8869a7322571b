"""The reference page of all messages: `docs/reference/messages.md`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .emit_types import attribute, entry_class, shared_enums
from .schema import PRIMITIVES, Field, Group, Message, Schema, VarData

__all__ = ["emit_reference"]

_TYPES = {code: name for name, code in PRIMITIVES.items()}

_INTRODUCTION = """\
# Messages

<!-- Generated from schemas/*.xml by `make schemas`; edit those, not this file. -->

Every message and every record in shared memory, byte by byte. The files in
[`schemas/`](../../schemas/README.md) are the source; the classes of the same names are in
`tensor_pool.protocol.wire`, with attributes in snake case.

```python
from tensor_pool.protocol.wire import Role, ShmLeaseKeepalive, decode, encode

raw = encode(ShmLeaseKeepalive(9, 10000, 21, Role.PRODUCER, client_timestamp_ns=1))
assert decode(raw).lease_id == 9
```

A transport message is an 8-byte header, a block of fixed fields, then groups, then var data, with
nothing between them. Integers are little-endian and fields are packed: an offset is the sum of the
sizes before it. Offsets below count from the start of the block.

| Header field | Type | Offset | |
| --- | --- | --- | --- |
| `blockLength` | uint16 | 0 | bytes of the block; a reader skips what it does not know at its end |
| `templateId` | uint16 | 2 | which message of the schema |
| `schemaId` | uint16 | 4 | SCHEMAS |
| `version` | uint16 | 6 | 1 |

A group is a 4-byte dimension (uint16 bytes of an entry's fields, uint16 number of entries, at most
65534) and its entries; an entry is its fields and then its var data. A var data item is a uint32
length, at most 1 GiB, and that many bytes; length 0 means "not provided". URIs and channels hold
bytes 0x21 to 0x7E only, other text 0x01 to 0x7F; error messages are cut at 1024 bytes when sent.
"""


def emit_reference(schemas: list[Schema]) -> str:
    """The page as Markdown."""
    ids = ", ".join(f"{schema.id} {schema.kind.replace('_', ' ')}" for schema in schemas)
    lines = [_INTRODUCTION.replace("SCHEMAS", ids), "## Enums", ""]
    lines += ["| Enum | Type | Values |", "| --- | --- | --- |"]
    for enum in shared_enums(schemas):
        values = ", ".join(f"{name} {value}" for name, value in enum.values.items())
        lines.append(f"| {enum.name} | {_TYPES[enum.code]} | {values} |")
    lines += ["", "## Index", ""]
    lines += ["| Schema | Template | Message | Block | |", "| --- | --- | --- | --- | --- |"]
    for schema in schemas:
        for message in schema.messages:
            link = f"[{message.name}](#{message.name.lower()})"
            lines.append(
                f"| {schema.id} | {message.template_id} | {link} | {message.block_length} |"
                f" {message.description} |"
            )
    for schema in schemas:
        for message in schema.messages:
            lines += ["", *_message(schema, message)]
    return "\n".join([*lines, ""])


def _message(schema: Schema, message: Message) -> Iterator[str]:
    yield f"## {message.name}"
    yield ""
    block = message.block_length
    ids = f"Schema {schema.id}, template {message.template_id}"
    if message.shared_memory:
        yield f"{message.description}. {ids}; {block} bytes in shared memory, without a header."
    else:
        yield f"{message.description}. {ids}, block of {block} bytes, {block + 8} with its header."
    yield ""
    yield from _fields(message.fields)
    for group in message.groups:
        yield ""
        yield from _group(group)
    if message.data:
        yield ""
        yield "Then, as var data:"
        yield ""
        yield from _var_data(message.data)


def _fields(fields: Iterable[Field]) -> Iterator[str]:
    yield "| Field | Attribute | Id | Type | Offset | Bytes | Not provided | |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for field in fields:
        code = _TYPES[field.code] + (f"[{field.count}]" if field.count > 1 else "")
        type_name = f"{field.enum.name} ({code})" if field.enum else code
        kept = field.constant is None and field.semantic != "reserved"
        python = f"`{attribute(field.name)}`" if kept else ""
        offset = "-" if field.constant is not None else str(field.offset)
        null = "" if field.null is None else str(field.null)
        yield (
            f"| `{field.name}` | {python} | {field.id} | {type_name} | {offset} | {field.size} |"
            f" {null} | {field.description} |"
        )


def _group(group: Group, where: str = "Then") -> Iterator[str]:
    length = f"entries of {group.block_length} bytes" if group.fields else "entries without fields"
    python = f"attribute `{attribute(group.name)}`: a tuple of `{entry_class(group)}`"
    yield f"{where} group `{group.name}` (id {group.id}), {python}, {length}:"
    yield ""
    if group.fields:
        yield from _fields(group.fields)
    for inner in group.groups:
        yield ""
        yield from _group(inner, f"In each entry of `{group.name}`,")
    if group.data:
        if group.fields:
            yield ""
            yield f"and for each entry of `{group.name}`, as var data:"
            yield ""
        yield from _var_data(group.data)


def _var_data(items: Iterable[VarData]) -> Iterator[str]:
    yield "| Item | Attribute | Id | Content | |"
    yield "| --- | --- | --- | --- | --- |"
    for item in items:
        content = {"uri": "URI", "channel": "channel"}.get(item.semantic, "text")
        yield (
            f"| `{item.name}` | `{attribute(item.name)}` | {item.id} |"
            f" {content if item.ascii else 'bytes'} | {item.description} |"
        )
