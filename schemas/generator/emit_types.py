"""Python text of what has no behaviour: enums, message classes, layout constants."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Iterator

from .schema import (
    Enumeration,
    Field,
    Group,
    Message,
    Schema,
    SchemaError,
    snake_case,
)

__all__ = [
    "admits_raw_enums",
    "all_groups",
    "attribute",
    "emit_enums",
    "emit_layouts",
    "emit_messages",
    "entry_class",
    "entry_modules",
    "heading",
    "schema_entries",
    "schema_enums",
    "shared_enums",
]

_RAW_ENUM_MESSAGES = frozenset({"ShmAttachRequest", "ConsumerHello"})
"""Requests whose enums the driver judges itself: their classes admit a plain int (M-043)."""

_LAID_OUT: dict[str, tuple[str, ...] | None] = {
    "FrameDescriptor": ("epoch", "seq"),
    "ShmRegionSuperblock": ("activityTimestampNs",),
    "SlotHeader": (
        "seqCommit",
        "valuesLenBytes",
        "payloadOffset",
        "timestampNs",
        "metaVersion",
    ),
    "TensorHeader": ("dims",),
    "BridgeFrameChunk": None,
}
"""Messages read and written in place, with the fields whose offsets are used; None: all."""

_ENTRY_CLASSES = {
    "payloadPools": "PayloadPool",
    "attributes": "Attribute",
    "SequenceMergeMapAnnounce.rules": "SequenceMergeRule",
    "TimestampMergeMapAnnounce.rules": "TimestampMergeRule",
    "parents": "TraceParent",
    "results": "DiscoveryResult",
    "tags": "Tag",
}


def heading(summary: str) -> list[str]:
    """Docstring and first lines of a generated module."""
    return [
        f'"""{summary}',
        "",
        "Generated from `schemas/*.xml` by `make schemas`; edit those, not this file.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
    ]


def attribute(name: str) -> str:
    """The Python name of a schema item; a trailing underscore where Python owns the word."""
    snake = snake_case(name)
    return f"{snake}_" if keyword.iskeyword(snake) or snake == "bytes" else snake


def entry_class(group: Group) -> str:
    """Class of the entries of a group: by its name, or by its owner's and its own."""
    for key in (f"{group.owner}.{group.name}", group.name):
        if key in _ENTRY_CLASSES:
            return _ENTRY_CLASSES[key]
    raise SchemaError(f"no class name is known for entries of {group.owner}.{group.name}")


def admits_raw_enums(message: Message) -> bool:
    """Return whether a decoder may leave this message's enums as numbers."""
    return message.shared_memory or message.name in _RAW_ENUM_MESSAGES


def shared_enums(schemas: Iterable[Schema]) -> list[Enumeration]:
    """All enums by first appearance; one that two schemas define must be the same in both."""
    enums: dict[str, Enumeration] = {}
    for enum in (enum for schema in schemas for enum in schema.enums):
        if enums.setdefault(enum.name, enum) != enum:
            raise SchemaError(f"enum {enum.name} differs between the schemas")
    return list(enums.values())


def emit_enums(schemas: list[Schema]) -> str:
    """`enums.py`: one IntEnum for each enum type, except Bool, which is Python's own."""
    enums = [enum for enum in shared_enums(schemas) if enum.name != "Bool"]
    lines = heading("Enum values as they stand on the wire.")
    lines += ["import enum", "", *_all(enum.name for enum in enums)]
    for enum in enums:
        lines += ["", f"class {enum.name}(enum.IntEnum):", f'    """{enum.description}."""', ""]
        for name, value in enum.values.items():
            note = f"  # {enum.notes[name]}" if enum.notes[name] else ""
            lines.append(f"    {name} = {value}{note}")
        lines.append("")
    return "\n".join(lines)


def all_groups(owner: Message | Group) -> Iterator[Group]:
    """Groups of a message or group, those inside others first."""
    for group in owner.groups:
        yield from all_groups(group)
        yield group


def schema_entries(schema: Schema) -> dict[str, Group]:
    """The groups of a schema by the name of their entry class, inner ones first."""
    groups = (group for message in schema.messages for group in all_groups(message))
    return {entry_class(group): group for group in groups}


def schema_enums(schema: Schema) -> list[str]:
    """Names of the enums that messages and group entries of a schema use, Bool left out."""
    owners: list[Message | Group] = [*schema.messages, *schema_entries(schema).values()]
    return sorted({f.enum.name for o in owners for f in o.fields if f.enum} - {"Bool"})


def entry_modules(schemas: Iterable[Schema]) -> dict[str, str]:
    """The module that defines each entry class: the one of the first schema that uses it."""
    modules: dict[str, str] = {}
    for schema in schemas:
        for name in schema_entries(schema):
            modules.setdefault(name, f"{schema.kind}_messages")
    return modules


def emit_messages(schema: Schema, modules: dict[str, str]) -> str:
    """A module of message classes. Entry classes that another schema defines are imported."""
    here = f"{schema.kind}_messages"
    entries = schema_entries(schema)
    own = {name: group for name, group in entries.items() if modules[name] == here}
    lines = heading(f"Messages of the {schema.kind.replace('_', ' ')} schema.")
    lines += ["from msgspec import Struct", ""]
    lines += [f"from .{modules[name]} import {name}" for name in entries if name not in own]
    if enums := schema_enums(schema):
        lines.append(f"from .enums import {', '.join(enums)}")
    lines += ["", *_all([*own, *(m.name for m in schema.messages)]), ""]
    for name, group in own.items():
        lines += _class(name, group.description, group, raw=False)
    for message in schema.messages:
        lines += _class(message.name, message.description, message, raw=admits_raw_enums(message))
    return "\n".join(lines)


def _class(name: str, description: str, owner: Message | Group, *, raw: bool) -> Iterator[str]:
    yield f"class {name}(Struct, frozen=True, gc=False):"
    yield f'    """{description}."""'
    yield ""
    fields = [f for f in owner.fields if f.constant is None and f.semantic != "reserved"]
    for field, default in zip(fields, _defaults(fields), strict=True):
        yield f"    {attribute(field.name)}: {_annotation(field, raw=raw)}{default}"
        yield f'    """{_sentence(field.description)}"""'
    for group in owner.groups:
        yield f"    {attribute(group.name)}: tuple[{entry_class(group)}, ...] = ()"
        yield f'    """{_sentence(group.description)}"""'
    for item in owner.data:
        kind, empty = ("str", '""') if item.ascii else ("bytes", 'b""')
        yield f"    {attribute(item.name)}: {kind} = {empty}"
        yield f'    """{_sentence(item.description)}"""'
    yield ""
    yield ""


def _annotation(field: Field, *, raw: bool) -> str:
    if field.count > 1:
        return f"tuple[{', '.join(['int'] * field.count)}]"
    kind = "int"
    if field.enum is not None:
        kind = "bool" if field.enum.name == "Bool" else field.enum.name
        if raw:
            kind += " | int"
    return kind if field.null is None else f"{kind} | None"


def _defaults(fields: list[Field]) -> list[str]:
    """Defaults by field: Python allows them only where every later field has one as well."""
    defaults: list[str] = []
    for field in reversed(fields):
        later = not defaults or bool(defaults[-1])
        defaults.append(_default(field) if later else "")
    return defaults[::-1]


def _default(field: Field) -> str:
    """Optional items default to None; a field that has a natural "nothing" defaults to that."""
    if field.null is not None:
        return " = None"
    if field.semantic == "privateStreamId":
        return " = 0"
    if field.enum is not None and "UNSPECIFIED" in field.enum.values:
        return f" = {field.enum.name}.UNSPECIFIED"
    return ""


def emit_layouts(schemas: list[Schema]) -> str:
    """`layouts.py`: formats and offsets of what is read and written in place."""
    lines = heading("The fields of in-place records: `struct` formats, sizes, offsets.")
    lines += ["from typing import Final", ""]
    for schema in schemas:
        prefix = schema.kind.upper()
        lines += [f"{prefix}_SCHEMA_ID: Final = {schema.id}"]
        lines += [f"{prefix}_SCHEMA_VERSION: Final = {schema.version}", ""]
    for message in (m for schema in schemas for m in schema.messages if m.name in _LAID_OUT):
        prefix = snake_case(message.name).upper()
        lines += ["", f"# {message.name}: {message.description}."]
        lines.append(f"{prefix}_TEMPLATE_ID: Final = {message.template_id}")
        lines.append(f"{prefix}_BLOCK_BYTES: Final = {message.block_length}")
        lines.append(f'{prefix}_FORMAT: Final = "{message.format}"')
        for field in message.fields:
            name = f"{prefix}_{snake_case(field.name).upper()}"
            if field.constant is not None:
                lines.append(f"{name}: Final = {field.constant}")
            elif (used := _LAID_OUT[message.name]) is None or field.name in used:
                lines.append(f"{name}_OFFSET: Final = {field.offset}")
    return "\n".join([*lines, ""])


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _all(names: Iterable[str]) -> list[str]:
    return ["__all__ = [", *(f'    "{name}",' for name in sorted(names)), "]", ""]
