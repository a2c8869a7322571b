"""Read the SBE schema files and refuse those that are not sound.

Everything with a layout (codecs, flyweights, the reference pages) is generated from the result of
`load_schema`, so a mistake in the XML has to be found here: offsets are added up again and
compared with the ones written down, ids must be unique, types and enums must exist and fit. Only
the part of SBE that our schemas use is read; anything else is an error rather than skipped.
"""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "PRIMITIVES",
    "Enumeration",
    "Field",
    "Group",
    "Message",
    "Schema",
    "SchemaError",
    "VarData",
    "load_schema",
    "parse_schema",
    "snake_case",
]

_SBE = "{http://fixprotocol.io/2016/sbe}"

PRIMITIVES = {
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
    "int16": "h",
    "int32": "i",
    "int64": "q",
}
"""The primitive types our schemas may use, with their `struct` codes."""

_SEMANTICS = {
    "field": {"", "privateStreamId", "commitWord", "reserved"},
    "ascii": {"uri", "channel", "text", "secret", "errorMessage", "trailingText"},
    "data": {""},
    "group": {"", "exactEntries"},
    "message": {"", "sharedMemory"},
}

_HEADER_COMPOSITE = [("blockLength", "H"), ("templateId", "H"), ("schemaId", "H"), ("version", "H")]
_GROUP_COMPOSITE = [("blockLength", "H"), ("numInGroup", "H")]
_DATA_COMPOSITE = [("length", "I"), ("varData", "B")]


class SchemaError(Exception):
    """A schema file contradicts itself or uses what the generator does not know."""


@dataclass(frozen=True, slots=True)
class Enumeration:
    """An enum type: `code` is its `struct` code."""

    name: str
    code: str
    values: dict[str, int]
    notes: dict[str, str]
    description: str


@dataclass(frozen=True, slots=True)
class Field:
    """A fixed-size field: `count` elements of `struct` code `code` at `offset` of its block.

    `null` is the value that means "not provided", None for a required field. `constant` is set for
    a field that is never on the wire; its size is 0.
    """

    name: str
    id: int
    type: str
    code: str
    count: int
    offset: int
    null: int | None
    enum: Enumeration | None
    constant: int | None
    semantic: str
    description: str

    @property
    def size(self) -> int:
        return 0 if self.constant is not None else self.count * struct.calcsize("<" + self.code)

    @property
    def format(self) -> str:
        """This field's part of the block's `struct` format; reserved bytes are written as zero."""
        if self.constant is not None:
            return ""
        if self.semantic == "reserved":
            return f"{self.size}x"
        return f"{self.count}{self.code}" if self.count > 1 else self.code


@dataclass(frozen=True, slots=True)
class VarData:
    """A var data item: a u32 length and that many bytes."""

    name: str
    id: int
    ascii: bool
    semantic: str
    description: str


@dataclass(frozen=True, slots=True)
class Group:
    """A repeating group; its entries may hold groups of their own."""

    owner: str
    name: str
    id: int
    block_length: int
    fields: tuple[Field, ...]
    groups: tuple[Group, ...]
    data: tuple[VarData, ...]
    semantic: str
    description: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message, or (`shared_memory`) a record that stands in a region without a header."""

    name: str
    template_id: int
    block_length: int
    fields: tuple[Field, ...]
    groups: tuple[Group, ...]
    data: tuple[VarData, ...]
    shared_memory: bool
    description: str

    @property
    def format(self) -> str:
        """`struct` format of the block, without the byte order."""
        return "".join(field.format for field in self.fields)


@dataclass(frozen=True, slots=True)
class Schema:
    """A whole schema file."""

    id: int
    version: int
    package: str
    description: str
    enums: tuple[Enumeration, ...]
    messages: tuple[Message, ...]

    @property
    def kind(self) -> str:
        """The last part of the package: what generated modules are named for."""
        return self.package.rpartition(".")[2]


def load_schema(path: Path) -> Schema:
    """Read a schema file.

    Raises SchemaError, naming the file and the offending item.
    """
    try:
        return parse_schema(path.read_text(encoding="utf-8"))
    except SchemaError as error:
        raise SchemaError(f"{path.name}: {error}") from error


def parse_schema(text: str) -> Schema:
    """Read a schema from XML text. Raises SchemaError."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise SchemaError(f"not XML: {error}") from error
    _require(root.tag == _SBE + "messageSchema", f"root element is {root.tag!r}")
    _require(root.get("byteOrder") == "littleEndian", "byteOrder must be littleEndian")
    _require(root.get("headerType") == "messageHeader", "headerType must be messageHeader")
    types = _Types(root.findall("types"))
    messages = tuple(_message(node, types) for node in root.findall(_SBE + "message"))
    _require(len(messages) > 0, "no messages")
    _unique("message name", (message.name for message in messages))
    _unique("template id", (message.template_id for message in messages))
    return Schema(
        id=_number(root, "id"),
        version=_number(root, "version"),
        package=root.get("package", ""),
        description=root.get("description", ""),
        enums=tuple(types.enums.values()),
        messages=messages,
    )


def snake_case(name: str) -> str:
    """`leaseExpiryTimestampNs` -> `lease_expiry_timestamp_ns`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


class _Types:
    """The `types` section: enums, named simple types, and the composites of SBE's own framing."""

    def __init__(self, sections: Iterable[ET.Element]) -> None:
        self.enums: dict[str, Enumeration] = {}
        self.simple: dict[str, ET.Element] = {}
        self.composites: dict[str, list[tuple[str, str]]] = {}
        for node in (child for section in sections for child in section):
            name = _text(node, "name")
            known = (
                self.enums.keys() | self.simple.keys() | self.composites.keys() | PRIMITIVES.keys()
            )
            _require(name not in known, f"type {name!r} is defined twice")
            if node.tag == "enum":
                self.enums[name] = _enumeration(node)
            elif node.tag == "type":
                _code(_text(node, "primitiveType"), name)
                self.simple[name] = node
            elif node.tag == "composite":
                self.composites[name] = [
                    (_text(part, "name"), _code(_text(part, "primitiveType"), name))
                    for part in node
                ]
            else:
                raise SchemaError(f"types may not hold {node.tag!r} ({name!r})")
        self.require_composite("messageHeader", _HEADER_COMPOSITE)

    def require_composite(self, name: str, parts: list[tuple[str, str]]) -> None:
        _require(
            self.composites.get(name) == parts, f"composite {name!r} is missing or not {parts}"
        )


def _enumeration(node: ET.Element) -> Enumeration:
    name = _text(node, "name")
    values: dict[str, int] = {}
    notes: dict[str, str] = {}
    code = _code(_text(node, "encodingType"), name)
    for child in node:
        _require(child.tag == "validValue", f"enum {name!r} may not hold {child.tag!r}")
        key = _text(child, "name")
        _require(key not in values, f"{name}.{key} is defined twice")
        values[key] = _integer(child.text, f"{name}.{key}")
        notes[key] = child.get("description", "")
    _unique(f"value of {name}", values.values())
    _require(_default_null(code) not in values.values(), f"{name} uses its null sentinel")
    return Enumeration(name, code, values, notes, node.get("description", ""))


def _message(node: ET.Element, types: _Types) -> Message:
    name = _text(node, "name")
    semantic = _semantic(node, "message")
    block_length, fields, groups, data = _body(node, types, name)
    return Message(
        name=name,
        template_id=_number(node, "id"),
        block_length=block_length,
        fields=fields,
        groups=groups,
        data=data,
        shared_memory=semantic == "sharedMemory",
        description=node.get("description", ""),
    )


def _group(node: ET.Element, types: _Types, owner: str) -> Group:
    name = _text(node, "name")
    _require(node.get("dimensionType") == "groupSizeEncoding", f"{owner}.{name}: dimensionType")
    types.require_composite("groupSizeEncoding", _GROUP_COMPOSITE)
    block_length, fields, groups, data = _body(node, types, f"{owner}.{name}")
    return Group(
        owner=owner,
        name=name,
        id=_number(node, "id"),
        block_length=block_length,
        fields=fields,
        groups=groups,
        data=data,
        semantic=_semantic(node, "group"),
        description=node.get("description", ""),
    )


def _body(
    node: ET.Element, types: _Types, owner: str
) -> tuple[int, tuple[Field, ...], tuple[Group, ...], tuple[VarData, ...]]:
    """Block length, fields, groups and var data of a message or group, in wire order."""
    fields: list[Field] = []
    groups: list[Group] = []
    data: list[VarData] = []
    end = 0
    for child in node:
        if child.tag == "field":
            _require(not groups and not data, f"{owner}: a field after groups or var data")
            field = _field(child, types, owner, end)
            end += field.size
            fields.append(field)
        elif child.tag == "group":
            _require(not data, f"{owner}: a group after var data")
            groups.append(_group(child, types, owner))
        elif child.tag == "data":
            data.append(_var_data(child, types, owner))
        else:
            raise SchemaError(f"{owner} may not hold {child.tag!r}")
    items: list[Field | Group | VarData] = [*fields, *groups, *data]
    _unique(f"name in {owner}", (item.name for item in items))
    _unique(f"id in {owner}", (item.id for item in items))
    block_length = _number(node, "blockLength")
    _require(
        block_length == end, f"{owner}: blockLength {block_length}, but its fields end at {end}"
    )
    return block_length, tuple(fields), tuple(groups), tuple(data)


def _field(node: ET.Element, types: _Types, owner: str, end: int) -> Field:
    name = _text(node, "name")
    where = f"{owner}.{name}"
    type_name = _text(node, "type")
    enum = types.enums.get(type_name)
    simple = types.simple.get(type_name)
    if enum is not None:
        code = enum.code
    else:
        code = _code(simple.get("primitiveType", "") if simple is not None else type_name, where)
    inherited = simple.get("presence", "required") if simple is not None else "required"
    presence = node.get("presence", inherited)
    null: int | None = None
    constant: int | None = None
    if presence == "optional":
        declared = simple.get("nullValue") if simple is not None else None
        null = _default_null(code) if declared is None else _integer(declared, where)
    elif presence == "constant":
        constant = _integer(simple.text if simple is not None else None, where)
    else:
        _require(presence == "required", f"{where}: presence {presence!r}")
    if constant is None:
        written = _number(node, "offset")
        _require(
            written == end, f"{where}: offset {written}, but the fields before it end at {end}"
        )
    return Field(
        name=name,
        id=_number(node, "id"),
        type=type_name,
        code=code,
        count=int(simple.get("length", "1")) if simple is not None else 1,
        offset=end,
        null=null,
        enum=enum,
        constant=constant,
        semantic=_semantic(node, "field"),
        description=node.get("description", ""),
    )


def _var_data(node: ET.Element, types: _Types, owner: str) -> VarData:
    name = _text(node, "name")
    encoding = _text(node, "type")
    _require(
        encoding in ("varAsciiEncoding", "varDataEncoding"), f"{owner}.{name}: type {encoding!r}"
    )
    types.require_composite(encoding, _DATA_COMPOSITE)
    is_ascii = encoding == "varAsciiEncoding"
    semantic = _semantic(node, "ascii" if is_ascii else "data")
    return VarData(name, _number(node, "id"), is_ascii, semantic, node.get("description", ""))


def _semantic(node: ET.Element, kind: str) -> str:
    semantic = node.get("semanticType", "")
    _require(
        semantic in _SEMANTICS[kind], f"{node.get('name')}: semanticType {semantic!r} of {kind}"
    )
    return semantic


def _default_null(code: str) -> int:
    """All ones for unsigned types, the smallest value for signed ones."""
    bits = 8 * struct.calcsize("<" + code)
    return (1 << bits) - 1 if code.isupper() else -(1 << (bits - 1))


def _code(primitive: str, where: str) -> str:
    _require(primitive in PRIMITIVES, f"{where}: unknown type {primitive!r}")
    return PRIMITIVES[primitive]


def _text(node: ET.Element, attribute: str) -> str:
    value = node.get(attribute)
    if not value:
        raise SchemaError(f"{node.tag} {node.get('name')!r} lacks {attribute!r}")
    return value


def _number(node: ET.Element, attribute: str) -> int:
    return _integer(_text(node, attribute), f"{node.get('name')}.{attribute}")


def _integer(text: str | None, where: str) -> int:
    try:
        return int(text or "")
    except ValueError:
        raise SchemaError(f"{where}: {text!r} is not a number") from None


def _unique(what: str, items: Iterable[object]) -> None:
    seen: set[object] = set()
    for item in items:
        _require(item not in seen, f"{what} {item!r} is used twice")
        seen.add(item)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise SchemaError(message)
