"""The schema files, what was ever published of them, and what is generated from them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from tensor_pool.protocol import wire
from tensor_pool.protocol.wire.generated import catalog, enums, layouts
from tensor_pool.schemas.generator import generate
from tensor_pool.schemas.generator.schema import (
    PRIMITIVES,
    Field,
    Group,
    Message,
    Schema,
    SchemaError,
    load_schema,
    parse_schema,
    snake_case,
)
from tests.protocol.wire.samples import KINDS, block_length
from tests.protocol.wire.vectors_json import FROZEN

CODES = {code: name for name, code in PRIMITIVES.items()}
SCHEMAS = {schema.kind: schema for schema in generate.read_schemas()}
PUBLISHED = [(kind, name) for kind, s in FROZEN["schemas"].items() for name in s["messages"]]


def message(kind: str, name: str) -> Message:
    return next(m for m in SCHEMAS[kind].messages if m.name == name)


def rows(fields: tuple[Field, ...]) -> list[dict[str, Any]]:
    return [
        {
            "name": field.name,
            "id": field.id,
            "type": CODES[field.code],
            "count": field.count,
            "enum": field.enum.name if field.enum else None,
            "offset": field.offset,
            "size": field.size,
            "null": field.null,
        }
        for field in fields
        if field.constant is None
    ]


def items(owner: Message | Group) -> list[dict[str, Any]]:
    kinds = {True: "varAscii", False: "varData"}
    return [{"name": d.name, "type": kinds[d.ascii], "id": d.id} for d in owner.data]


def groups(owner: Message | Group) -> list[dict[str, Any]]:
    """Groups as the registry has them; those without groups inside carry no such key."""
    return [
        {
            "name": group.name,
            "id": group.id,
            "block_length": group.block_length,
            "fields": rows(group.fields),
            "data": items(group),
            **({"groups": groups(group)} if group.groups else {}),
        }
        for group in owner.groups
    ]


# What was published


@pytest.mark.parametrize(("kind", "name"), PUBLISHED)
def test_M_002_fields_are_where_they_were_published(kind: str, name: str) -> None:
    """M-002, M-060: ids, types, offsets and null sentinels of every field; a later version may only
    append, which then is appended to the frozen registry as well."""
    frozen, present = FROZEN["schemas"][kind]["messages"][name], message(kind, name)
    assert present.template_id == frozen["template_id"]
    assert present.block_length == frozen["block_length"]
    assert rows(present.fields) == frozen["fields"]
    assert items(present) == frozen["data"]
    assert groups(present) == frozen["groups"]


@pytest.mark.parametrize("kind", SCHEMAS)
def test_W_240_template_ids_are_never_reused(kind: str) -> None:
    """W-240, M-061: the ids in use are exactly the published ones, each with its message."""
    frozen = FROZEN["schemas"][kind]
    assert SCHEMAS[kind].id == frozen["id"]
    assert {m.name: m.template_id for m in SCHEMAS[kind].messages} == {
        name: m["template_id"] for name, m in frozen["messages"].items()
    }


@pytest.mark.parametrize("kind", SCHEMAS)
def test_W_240_enum_values_are_never_reused(kind: str) -> None:
    """W-240, M-061: and a retired value is not given out again."""
    frozen = FROZEN["schemas"][kind]["enums"]
    present = {
        enum.name: {"encoding": CODES[enum.code], "values": enum.values}
        for enum in SCHEMAS[kind].enums
    }
    assert present == frozen
    for name, values in FROZEN["retired"].items():
        assert not set(values) & set(frozen.get(name, {"values": {}})["values"].values())


def test_W_240_the_python_enums_have_the_published_values() -> None:
    for schema in FROZEN["schemas"].values():
        for name, enum in schema["enums"].items():
            if name != "Bool":
                members = getattr(enums, name).__members__
                assert {key: int(value) for key, value in members.items()} == enum["values"]


def test_M_002_the_offsets_of_in_place_records_are_unaligned_ones() -> None:
    """M-002: named by the protocol because an aligning codec would get them wrong."""
    assert layouts.FRAME_DESCRIPTOR_EPOCH_OFFSET == 4
    assert layouts.SLOT_HEADER_PAYLOAD_OFFSET_OFFSET == 18
    assert layouts.TENSOR_HEADER_DIMS_OFFSET == 11


def test_every_transport_message_of_the_schemas_has_a_codec() -> None:
    described = {
        (schema.id, m.template_id, m.name, m.block_length)
        for schema in SCHEMAS.values()
        for m in schema.messages
    }
    rows_ = (*catalog.CODECS, *catalog.RECORDS)
    assert {
        (c.schema_id, c.template_id, c.kind.__name__, c.block_length) for c in rows_
    } == described
    assert {c.kind.__name__ for c in catalog.RECORDS} == {
        "ShmRegionSuperblock",
        "SlotHeader",
        "TensorHeader",
    }
    assert all(getattr(wire, name) is kind for name, kind in KINDS.items())


@pytest.mark.parametrize("name", KINDS)
def test_block_formats_have_the_size_of_their_block(name: str) -> None:
    kind = next(k for k, schema in FROZEN["schemas"].items() if name in schema["messages"])
    assert struct.calcsize("<" + message(kind, name).format) == block_length(name)


# What is generated


def test_generated_files_match_the_schemas() -> None:
    """Otherwise: `make schemas`."""
    assert generate.stale_files() == []


def test_a_stale_or_missing_file_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed, reformatted, missing, page = (
        tmp_path / name for name in ("a.py", "b.py", "c.py", "d.md")
    )
    changed.write_text("X = 2\n")
    reformatted.write_text("X   =   (1)\n")
    page.write_text("old\n")
    texts = {changed: "X = 1\n", reformatted: "X = 1\n", missing: "X = 1\n", page: "new\n"}
    monkeypatch.setattr(generate, "generate", lambda: texts)
    assert generate.stale_files() == [changed, missing, page]
    assert generate.main(["--check"]) == 1
    assert "c.py does not match" in capsys.readouterr().err
    assert generate.main([]) == 0
    assert generate.stale_files() == []
    assert generate.main(["--check"]) == 0


def test_importing_the_codecs_reads_no_schema_file() -> None:
    """The generated modules stand by themselves: no XML parser at run time."""
    import subprocess
    import sys

    code = (
        "import sys, tensor_pool.protocol.wire as w, tensor_pool.protocol.wire.frame_descriptor;"
        "print(any(m.startswith('xml') or m.endswith('wire.schema') for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# What the reader of schema files refuses

SOUND = """<?xml version="1.0"?>
<sbe:messageSchema xmlns:sbe="http://fixprotocol.io/2016/sbe" package="p" id="1" version="1"
                   byteOrder="littleEndian" headerType="messageHeader">
  <types>
    <composite name="messageHeader">
      <type name="blockLength" primitiveType="uint16"/>
      <type name="templateId" primitiveType="uint16"/>
      <type name="schemaId" primitiveType="uint16"/>
      <type name="version" primitiveType="uint16"/>
    </composite>
    <composite name="groupSizeEncoding">
      <type name="blockLength" primitiveType="uint16"/>
      <type name="numInGroup" primitiveType="uint16"/>
    </composite>
    <composite name="varAsciiEncoding">
      <type name="length" primitiveType="uint32"/><type name="varData" primitiveType="uint8"/>
    </composite>
    <type name="eight" primitiveType="uint8" presence="constant">8</type>
    <type name="pair" primitiveType="int32" length="2"/>
    <enum name="Color" encodingType="uint8"><validValue name="RED">1</validValue></enum>
  </types>
  <sbe:message name="Thing" id="1" blockLength="13">
    <field name="a" id="1" type="uint32" offset="0"/>
    <field name="b" id="2" type="Color" offset="4"/>
    <field name="c" id="3" type="pair" offset="5"/>
    <field name="d" id="4" type="eight" presence="constant"/>
    <group name="things" id="5" blockLength="2" dimensionType="groupSizeEncoding">
      <field name="e" id="1" type="uint16" offset="0"/>
    </group>
    <data name="text" id="6" type="varAsciiEncoding" semanticType="text"/>
  </sbe:message>
</sbe:messageSchema>
"""


def test_a_sound_schema_is_read() -> None:
    schema: Schema = parse_schema(SOUND)
    (thing,) = schema.messages
    assert thing.format == "IB2i"
    assert [field.name for field in thing.fields] == ["a", "b", "c", "d"]
    assert thing.groups[0].fields[0].size == 2


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('id="2" type="Color" offset="4"', 'id="2" type="Color" offset="8"', "Thing.b: offset 8"),
        ('id="1" blockLength="13"', 'id="1" blockLength="14"', "blockLength 14"),
        ('id="2" type="Color"', 'id="1" type="Color"', "id in Thing 1 is used twice"),
        ('name="b" id', 'name="a" id', "name in Thing 'a' is used twice"),
        ('type="Color" offset', 'type="Colour" offset', "unknown type 'Colour'"),
        ('encodingType="uint8"', 'encodingType="float"', "unknown type 'float'"),
        ('<validValue name="RED">1', '<validValue name="RED">one', "'one' is not a number"),
        ('<validValue name="RED">1', '<validValue name="RED">255', "null sentinel"),
        ('byteOrder="littleEndian"', 'byteOrder="bigEndian"', "byteOrder"),
        ('headerType="messageHeader"', 'headerType="other"', "headerType"),
        ('dimensionType="groupSizeEncoding"', 'dimensionType="other"', "dimensionType"),
        ('<composite name="groupSizeEncoding">', '<composite name="other">', "groupSizeEncoding"),
        ('<composite name="messageHeader">', '<composite name="head">', "messageHeader"),
        ('type="varAsciiEncoding"', 'type="varStringEncoding"', "varStringEncoding"),
        ('semanticType="text"', 'semanticType="prose"', "semanticType 'prose'"),
        ('semanticType="text"', "", "semanticType ''"),
        ('<type name="pair"', '<type name="eight"', "'eight' is defined twice"),
        ('type="uint32" offset="0"', 'type="uint32"', "lacks 'offset'"),
        (
            '<field name="e" id="1" type="uint16" offset="0"/>',
            '<ref name="e"/>',
            "may not hold 'ref'",
        ),
        ("<sbe:message name", "<message name", "Thing|not XML|mismatched"),
        ("</sbe:messageSchema>", "", "not XML"),
        ("sbe:messageSchema", "sbe:schema", "root element"),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(old: str, new: str, problem: str) -> None:
    assert old in SOUND
    with pytest.raises(SchemaError, match=problem):
        parse_schema(SOUND.replace(old, new))


def test_the_file_is_named_when_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.xml"
    path.write_text("<nothing/>")
    with pytest.raises(SchemaError, match=r"broken\.xml: root element"):
        load_schema(path)


def test_names_become_snake_case() -> None:
    assert snake_case("leaseExpiryTimestampNs") == "lease_expiry_timestamp_ns"
    assert snake_case("ShmPoolAnnounce") == "shm_pool_announce"
