"""The counters of a media driver, read in its file.

Each publication, each subscription and each pair of the two takes one, and there is a fixed number
of them. When none is left, Aeron refuses a publication with an error, but not a subscription: that
one is never connected, and its reader gets nothing without being informed.
"""

from __future__ import annotations

import os
import struct
import time

__all__ = ["counters_problem", "counters_remedy", "counters_total", "counters_used"]

_CNC_FILE = "cnc.dat"
_LENGTHS = struct.Struct("<iiiii")  # version; bytes to driver, to clients, of metadata, of values
_HEADER_BYTES = 128
_METADATA_BYTES = 512  # of one counter
_VALUE_BYTES = 128  # of one counter
_ALLOCATED = b"\x01\0\0\0"
_NEVER_USED = b"\0\0\0\0"
_RECORD = struct.Struct("<iiq")  # state, type, wall clock in ms from which it can be used again


def counters_total(directory: str) -> int:
    """Return the number of counters that the media driver has. Raises OSError."""
    with open(os.path.join(directory, _CNC_FILE), "rb") as file:
        return _layout(file.fileno())[1]


def counters_used(directory: str) -> list[int]:
    """Return the types of all counters in use. Raises OSError."""
    with open(os.path.join(directory, _CNC_FILE), "rb") as file:
        start, total = _layout(file.fileno())
        data = os.pread(file.fileno(), total * _METADATA_BYTES, start)
    return [
        int.from_bytes(data[at + 4 : at + 8], "little", signed=True)
        for at in range(0, len(data), _METADATA_BYTES)
        if data[at : at + 4] == _ALLOCATED
    ]


def counters_problem(directory: str) -> str:
    """Return a text with the limit and the remedy if no counter is free; empty otherwise.

    Cheap as a rule: the media driver takes the last counter only when it has used all others once.
    """
    try:
        with open(os.path.join(directory, _CNC_FILE), "rb") as file:
            start, total = _layout(file.fileno())
            at = start + (total - 1) * _METADATA_BYTES
            if os.pread(file.fileno(), 4, at) == _NEVER_USED:
                return ""
            data = os.pread(file.fileno(), total * _METADATA_BYTES, start)
    except (OSError, struct.error):
        return ""
    now_ms = time.time() * 1000
    for at in range(0, len(data), _METADATA_BYTES):
        state, _, free_at_ms = _RECORD.unpack_from(data, at)
        if state == 0 or (state < 0 and free_at_ms < now_ms):
            return ""
    return counters_remedy(directory)


def counters_remedy(directory: str) -> str:
    """Return a text about a media driver that has no free counter."""
    total = counters_total(directory)
    doubled_mib = 2 * total * _VALUE_BYTES >> 20
    return (
        f"all {total:,} counters of the media driver are in use; put more producers and consumers"
        f" into one client, or start the media driver with AERON_COUNTERS_BUFFER_LENGTH="
        f"{doubled_mib}m in its environment, which doubles them"
    )


def _layout(descriptor: int) -> tuple[int, int]:
    """The offset of the counters' metadata, and the number of counters."""
    head = os.pread(descriptor, _LENGTHS.size, 0)
    _, to_driver, to_clients, _, values = _LENGTHS.unpack(head)
    return _HEADER_BYTES + to_driver + to_clients, values // _VALUE_BYTES
