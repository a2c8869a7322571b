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
    VarData,
    snake_case,
)

__all__ = [
    "admits_raw_enums",
    "attribute",
    "emit_enums",
    "emit_layouts",
    "emit_messages",
    "entry_class",
    "heading",
    "shared_enums",
]

_RAW_ENUM_MESSAGES = frozenset({"ShmAttachRequest", "ConsumerHello"})
"""Requests whose enums the driver judges itself: their classes admit a plain int (M-043)."""

_LAID_OUT = ("FrameDescriptor", "ShmRegionSuperblock", "SlotHeader", "TensorHeader")
"""What is read and written in place, by offset, on the hot path."""

_ENTRY_CLASSES = {"payloadPools": "PayloadPool", "attributes": "Attribute"}


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
    """Class of the entries of a group."""
    if group.name not in _ENTRY_CLASSES:
        raise SchemaError(f"no class name is known for entries of {group.name!r}")
    return _ENTRY_CLASSES[group.name]


def admits_raw_enums(message: Message) -> bool:
    """Whether a decoder may leave this message's enums as numbers."""
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


def emit_messages(schema: Schema, other: Schema | None, summary: str) -> str:
    """A module of message classes. Entry classes that `other` defines are imported from it."""
    known = {entry_class(g) for m in other.messages for g in m.groups} if other else set()
    entries = {entry_class(g): g for m in schema.messages for g in m.groups}
    inherited = sorted(entries.keys() & known)
    names = [*(name for name in entries if name not in known), *(m.name for m in schema.messages)]
    enums = sorted(
        {f.enum.name for m in schema.messages for f in m.fields if f.enum and f.enum.name != "Bool"}
    )
    lines = heading(summary)
    lines += ["from msgspec import Struct", ""]
    if other and inherited:
        lines.append(f"from .control_messages import {', '.join(inherited)}")
    lines += [f"from .enums import {', '.join(enums)}", "", *_all(names), ""]
    for name, group in entries.items():
        if name not in known:
            lines += _class(name, group.description, group.fields, (), group.data, raw=False)
    for message in schema.messages:
        lines += _class(
            message.name,
            message.description,
            message.fields,
            message.groups,
            message.data,
            raw=admits_raw_enums(message),
        )
    return "\n".join(lines)


def _class(
    name: str,
    description: str,
    fields: tuple[Field, ...],
    groups: tuple[Group, ...],
    data: tuple[VarData, ...],
    *,
    raw: bool,
) -> Iterator[str]:
    yield f"class {name}(Struct, frozen=True, gc=False):"
    yield f'    """{description}."""'
    yield ""
    defaults = False
    for field in fields:
        if field.constant is not None or field.semantic == "reserved":
            continue
        default = _default(field, after_optional=defaults)
        defaults = defaults or bool(default)
        yield f"    {attribute(field.name)}: {_annotation(field, raw=raw)}{default}"
        yield f'    """{_sentence(field.description)}"""'
    for group in groups:
        yield f"    {attribute(group.name)}: tuple[{entry_class(group)}, ...] = ()"
        yield f'    """{_sentence(group.description)}"""'
    for item in data:
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


def _default(field: Field, *, after_optional: bool) -> str:
    """Optional items default to None; a field that has a natural "nothing" defaults to that."""
    if field.null is not None:
        return " = None"
    if field.semantic == "privateStreamId":
        return " = 0"
    if field.enum is not None and "UNSPECIFIED" in field.enum.values:
        return f" = {field.enum.name}.UNSPECIFIED"
    if after_optional:
        raise SchemaError(f"{field.name} follows an optional field and has no natural default")
    return ""


def emit_layouts(schemas: list[Schema]) -> str:
    """`layouts.py`: formats and offsets of what is read and written in place."""
    lines = heading("Where the fields of in-place records are: `struct` formats, sizes, offsets.")
    lines += ["from typing import Final", ""]
    for schema in schemas:
        prefix = schema.package.rpartition(".")[2].upper()
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
            else:
                lines.append(f"{name}_OFFSET: Final = {field.offset}")
    return "\n".join([*lines, ""])


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _all(names: Iterable[str]) -> list[str]:
    return ["__all__ = [", *(f'    "{name}",' for name in sorted(names)), "]", ""]
