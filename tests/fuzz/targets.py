"""The targets of the fuzzer: each takes any bytes and raises only when a promise is broken.

Five things come from processes that are not trusted: transport messages, region URIs,
superblocks, header slots, and what a bridge receives over the network. For each, the only outcomes
are the documented ones; anything else that escapes is a finding. An accepted value is looked at
again: it must survive another round trip, and must not depend on bytes behind its end.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from typing import Final

from tensor_pool.protocol import wire
from tensor_pool.protocol.errors import ShmError, ShmUriError
from tensor_pool.protocol.shm.geometry import RegionGeometry, StreamGeometry
from tensor_pool.protocol.shm.slot_header import SlotFault, SlotValidator
from tensor_pool.protocol.shm.superblock import check_activity, check_superblock
from tensor_pool.protocol.shm.tensor import TensorLayout
from tensor_pool.protocol.shm.uri import format_region_uri, parse_region_uri
from tensor_pool.protocol.wire import WireError
from tensor_pool.protocol.wire import frame_descriptor as flyweights
from tensor_pool.protocol.wire.generated.catalog import CODECS
from tensor_pool.protocol.wire.vardata import ERROR_MESSAGE_BYTES
from tests.fuzz.net_side import bridge

__all__ = ["TARGETS"]


def message(data: bytes) -> None:
    """Whole messages: header checks, dispatch and every decoder (M-050, M-052)."""
    _look_at(data)


def body(data: bytes) -> None:
    """The same behind a sound header, so that no effort is lost on dispatch.

    The first byte picks the message, the second one makes the block larger than the schema's.
    """
    if len(data) < 2:
        return
    codec = CODECS[data[0] % len(CODECS)]
    block_length = codec.block_length + (data[1] if data[1] < 16 else 0)
    ids = (block_length, codec.template_id, codec.schema_id, codec.version)
    _look_at(struct.pack("<HHHH", *ids) + data[2:])


def _look_at(data: bytes) -> None:
    for raw_enums in (False, True):
        try:
            decoded = wire.decode(memoryview(data), raw_enums=raw_enums)
        except WireError:
            continue
        assert wire.decode(data + b"\xee" * 5, raw_enums=raw_enums) == decoded
        if _can_be_sent(decoded):
            again = wire.encode(decoded, checked=False)
            assert wire.decode(again, raw_enums=raw_enums) == decoded
        if isinstance(decoded, wire.ShmPoolAnnounce | wire.ShmAttachResponse):
            with contextlib.suppress(ShmError):
                StreamGeometry.from_message(decoded).check_structure()
    correlation_id = wire.peek_correlation_id(data)
    assert correlation_id is None or len(data) >= 16


def _can_be_sent(decoded: wire.Message) -> bool:
    """Replaced characters and long error messages are received as they are, but not sent so."""
    texts = [getattr(decoded, name) for name in decoded.__struct_fields__]
    if isinstance(decoded, wire.DataSourceMeta):
        texts = [text for entry in decoded.attributes for text in (entry.key, entry.format)]
    error_message = getattr(decoded, "error_message", "")
    return len(error_message) <= ERROR_MESSAGE_BYTES and not any(
        "\ufffd" in text for text in texts if isinstance(text, str)
    )


def record(data: bytes) -> None:
    """Shared memory records as a tool reads them from a copy."""
    for kind in (wire.ShmRegionSuperblock, wire.SlotHeader, wire.TensorHeader):
        try:
            decoded = wire.decode_record(kind, data)
        except WireError:
            continue
        again = wire.decode_record(kind, wire.encode_record(decoded))
        assert again == decoded


def uri(data: bytes) -> None:
    """Region URIs, as text of any kind: a RegionUri that can be written again, or ShmUriError."""
    text = data.decode("utf-8", "surrogateescape")
    refusal = ""
    try:
        parsed = parse_region_uri(text)
    except ShmUriError as error:
        refusal = str(error)
    if refusal:  # has the value seen: escaped, and not all of it
        assert refusal.isascii()
        assert len(refusal) < 3000
        return
    assert parsed.path.startswith("/")
    written = format_region_uri(parsed.path, require_hugepages=parsed.require_hugepages)
    assert parse_region_uri(written) == parsed
    assert len(written) <= len(text)


_WANTED: Final = RegionGeometry(stream_id=10000, epoch=7, nslots=8)
_NOW: Final = 5_000_000_000


def superblock(data: bytes) -> None:
    """A superblock against what was announced: accepted as it must be, or ShmError (W-054, W-055).

    The bytes are laid over a superblock that is right, so that single deviations are found too.
    """
    right = flyweights.SUPERBLOCK.pack(
        *(flyweights.SUPERBLOCK_MAGIC, 1, 7, 10000, 1, 0, 8, 256, 0, 1, _NOW, _NOW)
    )
    at = data[0] % 64 if data else 0
    raw = (right[:at] + data[1:] + right[at + len(data[1:]) :])[: flyweights.SUPERBLOCK_BYTES]
    found = wire.decode_record(wire.ShmRegionSuperblock, raw)
    try:
        check_superblock(found, _WANTED, "/dev/shm/header.ring")
        check_activity(found, _WANTED, "/dev/shm/header.ring", now_ns=_NOW, window_ns=3)
    except ShmError:
        return
    assert raw[:12] == right[:12]  # magic and layout version
    assert (found.epoch, found.stream_id, found.region_type) == (7, 10000, 1)
    assert (found.pool_id, found.nslots, found.slot_bytes) == (0, 8, 256)
    assert found.activity_timestamp_ns >= _NOW - 3


_SLOT: Final = flyweights.SLOT_BODY.pack(
    *(24, 5, 1, 0, 1, 3, flyweights.SLOT_HEADER_BYTES_LENGTH, flyweights.TENSOR_HEADER_WORD),
    *(9, 1, 2, 0, 0, 2, 3, 0, 0, 0, 0, 0, 0, 12, 4, 0, 0, 0, 0, 0, 0),
)


def slot(data: bytes) -> None:
    """A header slot: a layout whose payload lies inside its pool's slot, or a reason to drop it.

    The bytes are laid over a slot that is right.
    """
    at = data[0] if data else 0
    raw = (_SLOT[:at] + data[1:] + _SLOT[at + len(data[1:]) :])[: len(_SLOT)]
    values_len, payload_slot, pool_id, offset = struct.unpack_from("<IIHI", raw)
    image = raw[flyweights.SLOT_HEADER_BYTES_OFFSET - flyweights.SLOT_BODY_OFFSET :]
    checked = SlotValidator(8, {1: 4096}).check(5, values_len, payload_slot, pool_id, offset, image)
    if isinstance(checked, SlotFault):
        return
    assert isinstance(checked, TensorLayout)
    assert (payload_slot, pool_id, offset) == (5, 1, 0)
    assert values_len <= 4096
    assert values_len == 0 or checked.extent <= values_len
    assert 1 <= len(checked.shape) <= 8


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "message": message,
    "body": body,
    "record": record,
    "uri": uri,
    "superblock": superblock,
    "slot": slot,
    "bridge": bridge,
}
"""By name, as `make fuzz` and the corpus directories call them."""
