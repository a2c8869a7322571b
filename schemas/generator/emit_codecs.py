"""Python text of the codecs: for each message one function that decodes, one that encodes and one
that checks before encoding, straight-line code without a lookup of the layout.

The order in a decoder is the one of the receive checks: lengths of block, groups and var data
first, listed enum values of the block last, so that a message that is both truncated and out of
range is reported as truncated (M-050). Each class of group entries has a reader, a writer and a
checker of its own, which messages and outer groups share.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator

from .emit_types import (
    admits_raw_enums,
    attribute,
    entry_class,
    heading,
    schema_entries,
    schema_enums,
)
from .schema import Field, Group, Message, Schema, VarData, snake_case

__all__ = ["emit_catalog", "emit_codecs"]

_READERS = {
    "uri": "read_uri",
    "channel": "read_uri",
    "trailingText": "read_trailing_text",
    "": "read_data",
}
_WRITERS = {"uri": "write_uri", "channel": "write_uri", "": "write_data"}


def emit_codecs(schema: Schema, modules: dict[str, str]) -> str:
    """A module of codec functions; `modules` names the module of each entry class."""
    lines = heading(f"Codecs of the {schema.kind.replace('_', ' ')} schema.")
    enums = schema_enums(schema)
    entries = schema_entries(schema)
    lines += [
        "from struct import Struct",
        "",
        f"from .{schema.kind}_messages import {', '.join(m.name for m in schema.messages)}",
        *(f"from .{modules[name]} import {name}" for name in entries),
        *([f"from .enums import {', '.join(enums)}"] if enums else []),
        "from ..codec_errors import (",
        "    bad_enum, sentinel, truncated_entry, truncated_record, unlisted,",
        ")",
        "from ..header import WireBuffer",
        "from ..vardata import (",
        "    read_data, read_dimension, read_text, read_trailing_text, read_uri,",
        "    write_data, write_dimension, write_error_message, write_text, write_uri,",
        ")",
        "",
    ]
    owners: list[Message | Group] = [*schema.messages, *entries.values()]
    if any(f.enum and f.enum.name == "Bool" for owner in owners for f in owner.fields):
        lines.append("_BOOL = {0: False, 1: True}")
    lines += [f"{_table(name)} = {{member.value: member for member in {name}}}" for name in enums]
    for name, group in entries.items():
        if group.block_length:
            block = "".join(field.format for field in group.fields)
            lines.append(f'{_struct(name)} = Struct("<{block}")')
    for message in schema.messages:
        prefix = "" if message.shared_memory else "Q"
        lines.append(f'{_struct(message.name)} = Struct("<{prefix}{message.format}")')
        if not message.shared_memory:
            lines.append(f'{_struct(message.name)}_BLOCK = Struct("<{message.format}")')
    lines.append("")
    for group in entries.values():
        lines += ["", *_entry_reader(group), "", *_entry_writer(group), "", *_entry_checker(group)]
    for message in schema.messages:
        lines += [
            "",
            *_decoder(message),
            "",
            *_encoder(message, schema),
            "",
            *_checker(message),
            "",
        ]
    lines += ["FIELD_CODES: dict[type, dict[str, str]] = {"]
    for name, group in entries.items():
        lines.append(f"    {name}: {_codes(group.fields)},")
    lines += [f"    {m.name}: {_codes(m.fields)}," for m in schema.messages]
    lines += ["}", '"""`struct` codes by field; a trailing `?` where None is allowed."""', ""]
    return "\n".join(lines)


def emit_catalog(schemas: list[Schema]) -> str:
    """`catalog.py`: every message and record with its ids and functions."""
    lines = heading("Every message: its class, ids, block length and codec functions.")
    lines += ["from typing import Final", "", "from ..codec_entry import Codec"]
    for schema in schemas:
        kind = schema.kind
        names = ", ".join(m.name for m in schema.messages)
        lines.append(f"from . import {kind}_codecs as {kind}")
        lines.append(f"from .{kind}_messages import {names}")
    messages = [(s, m) for s in schemas for m in s.messages if not m.shared_memory]
    records = [(s, m) for s in schemas for m in s.messages if m.shared_memory]
    lines += ["", '__all__ = ["CODECS", "FIELD_CODES", "RECORDS", "Message", "Record"]', ""]
    lines.append(f"type Message = {' | '.join(m.name for _, m in messages)}")
    lines += ['"""A message, which travels over a transport."""', ""]
    lines.append(f"type Record = {' | '.join(m.name for _, m in records)}")
    lines += ['"""A record, which stands in shared memory."""', ""]
    for name, items in (("CODECS", messages), ("RECORDS", records)):
        lines.append(f"{name}: Final = (")
        for schema, message in items:
            kind = schema.kind
            suffix = snake_case(message.name)
            check = f"{kind}.{_checker_name(message)}" if [*_checks(message)] else "None"
            ids = f"{schema.id}, {message.template_id}, {schema.version}, {message.block_length}"
            functions = f"{kind}.decode_{suffix}, {kind}.encode_{suffix}, {check}"
            lines.append(f"    Codec({message.name}, {ids}, {functions}),")
        lines += [")", ""]
    codes = " | ".join(f"{schema.kind}.FIELD_CODES" for schema in schemas)
    lines.append(f"FIELD_CODES: Final = {codes}")
    lines += ['"""`struct` codes by field; a trailing `?` where None is allowed."""', ""]
    return "\n".join(lines)


def _table(enum: str) -> str:
    return f"_{snake_case(enum).upper()}"


def _struct(name: str) -> str:
    return f"_{snake_case(name).upper()}_LAYOUT"


def _codes(fields: tuple[Field, ...]) -> str:
    codes = {
        attribute(f.name): f.format + ("?" if f.null is not None else "") for f in _read(fields)
    }
    return repr(codes)


def _read(fields: tuple[Field, ...]) -> list[Field]:
    """Fields that a reader gets a value from."""
    return [f for f in fields if f.constant is None and f.semantic != "reserved"]


# Decoding


def _decoder(message: Message) -> Iterator[str]:
    base = 0 if message.shared_memory else 8
    block = "_BLOCK" if base else ""
    yield f"def decode_{snake_case(message.name)}("
    yield "    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool"
    yield f") -> {message.name}:"
    if message.shared_memory:
        yield f"    if size < {message.block_length}:"
        yield f'        raise truncated_record("{message.name}", size, {message.block_length})'
    unpacked = f"{_struct(message.name)}{block}.unpack_from(buffer, {base})"
    yield from _unpack(message, unpacked)
    if message.groups or message.data:
        start = f"{base} + block_length" if base else "block_length"
        yield f"    at = {start}"
    for group in message.groups:
        yield from _group_reader(group)
    for item in message.data:
        yield _read_item(item)
    yield from _enum_checks(message)
    yield f"    return {message.name}("
    yield from (f"        {_value(field, message)}," for field in _read(message.fields))
    yield from (f"        tuple({attribute(group.name)})," for group in message.groups)
    yield from (f"        {_local(item.name)}," for item in message.data)
    yield "    )"


def _local(name: str) -> str:
    """A variable's name; a trailing underscore where it would hide a builtin."""
    name = attribute(name)
    return f"{name}_" if hasattr(builtins, name) else name


def _unpack(message: Message, unpacked: str) -> Iterator[str]:
    """Assign the block's values to names; an array takes a slice of them."""
    fields = _read(message.fields)
    if all(field.count == 1 for field in fields):
        yield f"    {', '.join(attribute(field.name) for field in fields)} = {unpacked}"
        return
    yield f"    values = {unpacked}"
    position = 0
    for field in fields:
        index = f"{position}:{position + field.count}" if field.count > 1 else str(position)
        yield f"    {attribute(field.name)} = values[{index}]"
        position += field.count


def _group_reader(group: Group) -> Iterator[str]:
    """Lines that read a whole group into a list named for it."""
    entries = attribute(group.name)
    bounds = f"{group.block_length}" + (", exact=True" if group.semantic == "exactEntries" else "")
    yield f"    entry_bytes, count, at = read_dimension(buffer, at, size, {bounds})"
    yield f"    {entries}: list[{entry_class(group)}] = []"
    yield "    for _ in range(count):"
    entry = snake_case(entry_class(group))
    yield f"        {entry}, at = {_entry_function('read', group)}(buffer, at, size, entry_bytes)"
    yield f"        {entries}.append({entry})"


def _entry_function(verb: str, group: Group) -> str:
    return f"_{verb}_{snake_case(entry_class(group))}"


def _entry_reader(group: Group) -> Iterator[str]:
    """The function that reads one entry and returns it with the next position."""
    entry = entry_class(group)
    yield f"def {_entry_function('read', group)}("
    yield "    buffer: WireBuffer, at: int, size: int, entry_bytes: int"
    yield f") -> tuple[{entry}, int]:"
    yield "    entry_end = at + entry_bytes"
    yield "    if entry_end > size:"
    yield "        raise truncated_entry(at, size)"
    if group.fields:
        names = ", ".join(attribute(field.name) for field in group.fields)
        comma = "," if len(group.fields) == 1 else ""
        yield f"    {names}{comma} = {_struct(entry)}.unpack_from(buffer, at)"
    yield "    at = entry_end"
    for inner in group.groups:
        yield from _group_reader(inner)
    yield from (_read_item(item) for item in group.data)
    for field in group.fields:
        if field.enum is not None:
            name = attribute(field.name)
            yield f"    {name}_ = {_table(field.enum.name)}.get({name})"
            yield f"    if {name}_ is None:"
            yield f'        raise bad_enum("{entry}.{name}", {name})'
    yield f"    return {entry}("
    yield from (f"        {_value(field, group)}," for field in group.fields)
    yield from (f"        tuple({attribute(inner.name)})," for inner in group.groups)
    yield from (f"        {_local(item.name)}," for item in group.data)
    yield "    ), at"


def _read_item(item: VarData) -> str:
    reader = _READERS.get(item.semantic, "read_text")
    return f"    {_local(item.name)}, at = {reader}(buffer, at, size)"


def _enum_checks(message: Message) -> Iterator[str]:
    """Listed values only, unless this message's enums may stay numbers for the driver to judge."""
    for field in _read(message.fields):
        if field.enum is None or message.shared_memory:
            continue
        name = attribute(field.name)
        table = _table(field.enum.name)
        yield f"    {name}_ = {table}.get({name})"
        bad = [f'raise bad_enum("{message.name}.{name}", {name})']
        if admits_raw_enums(message):
            bad = ["if not raw_enums:", f"    {bad[0]}", f"{name}_ = {name}"]
        absent = "" if field.null is None else f" and {name} != {field.null}"
        yield f"    if {name}_ is None{absent}:"
        yield from (f"        {line}" for line in bad)


def _value(field: Field, owner: Message | Group) -> str:
    """Expression for the attribute, from the raw value of the same name."""
    name = attribute(field.name)
    if field.enum is not None and not (isinstance(owner, Message) and owner.shared_memory):
        return f"{name}_"
    if field.null is not None:
        return f"None if {name} == {field.null} else {name}"
    if field.semantic == "privateStreamId":
        return f"0 if {name} == 0xFFFFFFFF else {name}"
    return name


# Encoding


def _encoder(message: Message, schema: Schema) -> Iterator[str]:
    yield f"def encode_{snake_case(message.name)}(message: {message.name}) -> bytes:"
    parts = [*_block_values(message, schema)]
    if not message.groups and not message.data:
        yield f"    return {_struct(message.name)}.pack("
        yield from (f"        {part}," for part in parts)
        yield "    )"
        return
    yield f"    parts = [{_struct(message.name)}.pack("
    yield from (f"        {part}," for part in parts)
    yield "    )]"
    for group in message.groups:
        yield from _group_writer(group, "message", message.name)
    for item in message.data:
        yield f"    parts.append({_write_item(item, 'message', message.name)})"
    yield '    return b"".join(parts)'


def _block_values(message: Message, schema: Schema) -> Iterator[str]:
    if not message.shared_memory:
        word = (
            message.block_length
            | message.template_id << 16
            | schema.id << 32
            | schema.version << 48
        )
        yield f"0x{word:016X}"
    yield from (_packed(field, "message") for field in _read(message.fields))


def _packed(field: Field, owner: str) -> str:
    """Expression for a field's value on the wire."""
    value = f"{owner}.{attribute(field.name)}"
    if field.null is not None:
        value = f"{field.null} if {value} is None else {value}"
    return f"*{value}" if field.count > 1 else value


def _group_writer(group: Group, owner: str, owner_class: str) -> Iterator[str]:
    """Lines that append a whole group to `parts`."""
    entries = f"{owner}.{attribute(group.name)}"
    where = f"{owner_class}.{attribute(group.name)}"
    yield f'    parts.append(write_dimension({group.block_length}, len({entries}), "{where}"))'
    inner = snake_case(entry_class(group))
    yield f"    for {inner} in {entries}:"
    yield f"        {_entry_function('write', group)}(parts, {inner})"


def _entry_writer(group: Group) -> Iterator[str]:
    """The function that appends the bytes of one entry."""
    entry = entry_class(group)
    yield f"def {_entry_function('write', group)}(parts: list[bytes], entry: {entry}) -> None:"
    if group.fields:
        values = ", ".join(_packed(field, "entry") for field in group.fields)
        yield f"    parts.append({_struct(entry)}.pack({values}))"
    for inner in group.groups:
        yield from _group_writer(inner, "entry", entry)
    for item in group.data:
        yield f"    parts.append({_write_item(item, 'entry', entry)})"


def _write_item(item: VarData, owner: str, owner_class: str) -> str:
    name = attribute(item.name)
    if item.semantic == "errorMessage":
        return f"write_error_message({owner}.{name})"
    writer = _WRITERS.get(item.semantic, "write_text")
    return f'{writer}({owner}.{name}, "{owner_class}.{name}")'


def _checker(message: Message) -> Iterator[str]:
    """Refuse, before it is sent, a message that a receiver would reject or read as absent."""
    lines = [*_checks(message)]
    if lines:
        yield f"def {_checker_name(message)}(message: {message.name}) -> None:"
        yield from lines


def _checker_name(message: Message) -> str:
    return f"check_{snake_case(message.name)}"


def _checks(message: Message) -> Iterator[str]:
    if not message.shared_memory:
        yield from _item_checks(message, "message", message.name)


def _entry_checker(group: Group) -> Iterator[str]:
    lines = [*_item_checks(group, "entry", entry_class(group))]
    if lines:
        yield f"def {_entry_function('check', group)}(entry: {entry_class(group)}) -> None:"
        yield from lines


def _item_checks(item: Message | Group, owner: str, owner_class: str) -> Iterator[str]:
    """Lines that check the fields of a message or an entry, then the entries inside."""
    for field in _read(item.fields):
        name = attribute(field.name)
        value, where = f"{owner}.{name}", f'"{owner_class}.{name}"'
        if field.enum is not None:
            given = f"{value} is not None and " if field.null is not None else ""
            yield f"    if {given}{value} not in {_table(field.enum.name)}:"
            yield f"        raise unlisted({where}, {value})"
        elif field.null or field.semantic == "privateStreamId":
            yield f"    if {value} == {field.null or 0xFFFFFFFF}:"
            yield f"        raise sentinel({where}, {value})"
    for group in item.groups:
        if [*_item_checks(group, "entry", entry_class(group))]:
            inner = snake_case(entry_class(group))
            yield f"    for {inner} in {owner}.{attribute(group.name)}:"
            yield f"        {_entry_function('check', group)}({inner})"
