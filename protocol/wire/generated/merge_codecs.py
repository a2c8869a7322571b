"""Codecs of the merge schema.

Generated from `schemas/*.xml` by `make schemas`; edit those, not this file.
"""

from __future__ import annotations

from struct import Struct

from ..codec_errors import (
    bad_enum,
    sentinel,
    truncated_entry,
    unlisted,
)
from ..header import WireBuffer
from ..vardata import (
    read_dimension,
    write_dimension,
)
from .enums import ClockDomain, MergeRuleType, MergeTimeRuleType, TimestampSource
from .merge_messages import (
    SequenceMergeMapAnnounce,
    SequenceMergeMapRequest,
    SequenceMergeRule,
    TimestampMergeMapAnnounce,
    TimestampMergeMapRequest,
    TimestampMergeRule,
)

_CLOCK_DOMAIN = {member.value: member for member in ClockDomain}
_MERGE_RULE_TYPE = {member.value: member for member in MergeRuleType}
_MERGE_TIME_RULE_TYPE = {member.value: member for member in MergeTimeRuleType}
_TIMESTAMP_SOURCE = {member.value: member for member in TimestampSource}
_SEQUENCE_MERGE_RULE_LAYOUT = Struct("<IBiI")
_TIMESTAMP_MERGE_RULE_LAYOUT = Struct("<IBBqQ")
_SEQUENCE_MERGE_MAP_ANNOUNCE_LAYOUT = Struct("<QIQQ")
_SEQUENCE_MERGE_MAP_ANNOUNCE_LAYOUT_BLOCK = Struct("<IQQ")
_SEQUENCE_MERGE_MAP_REQUEST_LAYOUT = Struct("<QIQ")
_SEQUENCE_MERGE_MAP_REQUEST_LAYOUT_BLOCK = Struct("<IQ")
_TIMESTAMP_MERGE_MAP_ANNOUNCE_LAYOUT = Struct("<QIQQBQ")
_TIMESTAMP_MERGE_MAP_ANNOUNCE_LAYOUT_BLOCK = Struct("<IQQBQ")
_TIMESTAMP_MERGE_MAP_REQUEST_LAYOUT = Struct("<QIQ")
_TIMESTAMP_MERGE_MAP_REQUEST_LAYOUT_BLOCK = Struct("<IQ")


def _read_sequence_merge_rule(
    buffer: WireBuffer, at: int, size: int, entry_bytes: int
) -> tuple[SequenceMergeRule, int]:
    entry_end = at + entry_bytes
    if entry_end > size:
        raise truncated_entry(at, size)
    input_stream_id, rule_type, offset, window_size = _SEQUENCE_MERGE_RULE_LAYOUT.unpack_from(
        buffer, at
    )
    at = entry_end
    rule_type_ = _MERGE_RULE_TYPE.get(rule_type)
    if rule_type_ is None:
        raise bad_enum("SequenceMergeRule.rule_type", rule_type)
    return SequenceMergeRule(
        input_stream_id,
        rule_type_,
        None if offset == -2147483648 else offset,
        None if window_size == 4294967295 else window_size,
    ), at


def _write_sequence_merge_rule(parts: list[bytes], entry: SequenceMergeRule) -> None:
    parts.append(
        _SEQUENCE_MERGE_RULE_LAYOUT.pack(
            entry.input_stream_id,
            entry.rule_type,
            -2147483648 if entry.offset is None else entry.offset,
            4294967295 if entry.window_size is None else entry.window_size,
        )
    )


def _check_sequence_merge_rule(entry: SequenceMergeRule) -> None:
    if entry.rule_type not in _MERGE_RULE_TYPE:
        raise unlisted("SequenceMergeRule.rule_type", entry.rule_type)
    if entry.offset == -2147483648:
        raise sentinel("SequenceMergeRule.offset", entry.offset)
    if entry.window_size == 4294967295:
        raise sentinel("SequenceMergeRule.window_size", entry.window_size)


def _read_timestamp_merge_rule(
    buffer: WireBuffer, at: int, size: int, entry_bytes: int
) -> tuple[TimestampMergeRule, int]:
    entry_end = at + entry_bytes
    if entry_end > size:
        raise truncated_entry(at, size)
    input_stream_id, rule_type, timestamp_source, offset_ns, window_ns = (
        _TIMESTAMP_MERGE_RULE_LAYOUT.unpack_from(buffer, at)
    )
    at = entry_end
    rule_type_ = _MERGE_TIME_RULE_TYPE.get(rule_type)
    if rule_type_ is None:
        raise bad_enum("TimestampMergeRule.rule_type", rule_type)
    timestamp_source_ = _TIMESTAMP_SOURCE.get(timestamp_source)
    if timestamp_source_ is None:
        raise bad_enum("TimestampMergeRule.timestamp_source", timestamp_source)
    return TimestampMergeRule(
        input_stream_id,
        rule_type_,
        timestamp_source_,
        None if offset_ns == -9223372036854775808 else offset_ns,
        None if window_ns == 18446744073709551615 else window_ns,
    ), at


def _write_timestamp_merge_rule(parts: list[bytes], entry: TimestampMergeRule) -> None:
    parts.append(
        _TIMESTAMP_MERGE_RULE_LAYOUT.pack(
            entry.input_stream_id,
            entry.rule_type,
            entry.timestamp_source,
            -9223372036854775808 if entry.offset_ns is None else entry.offset_ns,
            18446744073709551615 if entry.window_ns is None else entry.window_ns,
        )
    )


def _check_timestamp_merge_rule(entry: TimestampMergeRule) -> None:
    if entry.rule_type not in _MERGE_TIME_RULE_TYPE:
        raise unlisted("TimestampMergeRule.rule_type", entry.rule_type)
    if entry.timestamp_source not in _TIMESTAMP_SOURCE:
        raise unlisted("TimestampMergeRule.timestamp_source", entry.timestamp_source)
    if entry.offset_ns == -9223372036854775808:
        raise sentinel("TimestampMergeRule.offset_ns", entry.offset_ns)
    if entry.window_ns == 18446744073709551615:
        raise sentinel("TimestampMergeRule.window_ns", entry.window_ns)


def decode_sequence_merge_map_announce(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> SequenceMergeMapAnnounce:
    out_stream_id, epoch, stale_timeout_ns = _SEQUENCE_MERGE_MAP_ANNOUNCE_LAYOUT_BLOCK.unpack_from(
        buffer, 8
    )
    at = 8 + block_length
    entry_bytes, count, at = read_dimension(buffer, at, size, 13)
    rules: list[SequenceMergeRule] = []
    for _ in range(count):
        sequence_merge_rule, at = _read_sequence_merge_rule(buffer, at, size, entry_bytes)
        rules.append(sequence_merge_rule)
    return SequenceMergeMapAnnounce(
        out_stream_id,
        epoch,
        None if stale_timeout_ns == 18446744073709551615 else stale_timeout_ns,
        tuple(rules),
    )


def encode_sequence_merge_map_announce(message: SequenceMergeMapAnnounce) -> bytes:
    parts = [
        _SEQUENCE_MERGE_MAP_ANNOUNCE_LAYOUT.pack(
            0x0001038700010014,
            message.out_stream_id,
            message.epoch,
            18446744073709551615 if message.stale_timeout_ns is None else message.stale_timeout_ns,
        )
    ]
    parts.append(write_dimension(13, len(message.rules), "SequenceMergeMapAnnounce.rules"))
    for sequence_merge_rule in message.rules:
        _write_sequence_merge_rule(parts, sequence_merge_rule)
    return b"".join(parts)


def check_sequence_merge_map_announce(message: SequenceMergeMapAnnounce) -> None:
    if message.stale_timeout_ns == 18446744073709551615:
        raise sentinel("SequenceMergeMapAnnounce.stale_timeout_ns", message.stale_timeout_ns)
    for sequence_merge_rule in message.rules:
        _check_sequence_merge_rule(sequence_merge_rule)


def decode_sequence_merge_map_request(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> SequenceMergeMapRequest:
    out_stream_id, epoch = _SEQUENCE_MERGE_MAP_REQUEST_LAYOUT_BLOCK.unpack_from(buffer, 8)
    return SequenceMergeMapRequest(
        out_stream_id,
        epoch,
    )


def encode_sequence_merge_map_request(message: SequenceMergeMapRequest) -> bytes:
    return _SEQUENCE_MERGE_MAP_REQUEST_LAYOUT.pack(
        0x000103870002000C,
        message.out_stream_id,
        message.epoch,
    )


def decode_timestamp_merge_map_announce(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> TimestampMergeMapAnnounce:
    out_stream_id, epoch, stale_timeout_ns, clock_domain, lateness_ns = (
        _TIMESTAMP_MERGE_MAP_ANNOUNCE_LAYOUT_BLOCK.unpack_from(buffer, 8)
    )
    at = 8 + block_length
    entry_bytes, count, at = read_dimension(buffer, at, size, 22)
    rules: list[TimestampMergeRule] = []
    for _ in range(count):
        timestamp_merge_rule, at = _read_timestamp_merge_rule(buffer, at, size, entry_bytes)
        rules.append(timestamp_merge_rule)
    clock_domain_ = _CLOCK_DOMAIN.get(clock_domain)
    if clock_domain_ is None:
        raise bad_enum("TimestampMergeMapAnnounce.clock_domain", clock_domain)
    return TimestampMergeMapAnnounce(
        out_stream_id,
        epoch,
        None if stale_timeout_ns == 18446744073709551615 else stale_timeout_ns,
        clock_domain_,
        None if lateness_ns == 18446744073709551615 else lateness_ns,
        tuple(rules),
    )


def encode_timestamp_merge_map_announce(message: TimestampMergeMapAnnounce) -> bytes:
    parts = [
        _TIMESTAMP_MERGE_MAP_ANNOUNCE_LAYOUT.pack(
            0x000103870003001D,
            message.out_stream_id,
            message.epoch,
            18446744073709551615 if message.stale_timeout_ns is None else message.stale_timeout_ns,
            message.clock_domain,
            18446744073709551615 if message.lateness_ns is None else message.lateness_ns,
        )
    ]
    parts.append(write_dimension(22, len(message.rules), "TimestampMergeMapAnnounce.rules"))
    for timestamp_merge_rule in message.rules:
        _write_timestamp_merge_rule(parts, timestamp_merge_rule)
    return b"".join(parts)


def check_timestamp_merge_map_announce(message: TimestampMergeMapAnnounce) -> None:
    if message.stale_timeout_ns == 18446744073709551615:
        raise sentinel("TimestampMergeMapAnnounce.stale_timeout_ns", message.stale_timeout_ns)
    if message.clock_domain not in _CLOCK_DOMAIN:
        raise unlisted("TimestampMergeMapAnnounce.clock_domain", message.clock_domain)
    if message.lateness_ns == 18446744073709551615:
        raise sentinel("TimestampMergeMapAnnounce.lateness_ns", message.lateness_ns)
    for timestamp_merge_rule in message.rules:
        _check_timestamp_merge_rule(timestamp_merge_rule)


def decode_timestamp_merge_map_request(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> TimestampMergeMapRequest:
    out_stream_id, epoch = _TIMESTAMP_MERGE_MAP_REQUEST_LAYOUT_BLOCK.unpack_from(buffer, 8)
    return TimestampMergeMapRequest(
        out_stream_id,
        epoch,
    )


def encode_timestamp_merge_map_request(message: TimestampMergeMapRequest) -> bytes:
    return _TIMESTAMP_MERGE_MAP_REQUEST_LAYOUT.pack(
        0x000103870004000C,
        message.out_stream_id,
        message.epoch,
    )


FIELD_CODES: dict[type, dict[str, str]] = {
    SequenceMergeRule: {
        "input_stream_id": "I",
        "rule_type": "B",
        "offset": "i?",
        "window_size": "I?",
    },
    TimestampMergeRule: {
        "input_stream_id": "I",
        "rule_type": "B",
        "timestamp_source": "B",
        "offset_ns": "q?",
        "window_ns": "Q?",
    },
    SequenceMergeMapAnnounce: {"out_stream_id": "I", "epoch": "Q", "stale_timeout_ns": "Q?"},
    SequenceMergeMapRequest: {"out_stream_id": "I", "epoch": "Q"},
    TimestampMergeMapAnnounce: {
        "out_stream_id": "I",
        "epoch": "Q",
        "stale_timeout_ns": "Q?",
        "clock_domain": "B",
        "lateness_ns": "Q?",
    },
    TimestampMergeMapRequest: {"out_stream_id": "I", "epoch": "Q"},
}
"""`struct` codes by field; a trailing `?` where None is allowed."""
