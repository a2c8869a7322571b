"""Wrong shared memory: regions, superblocks, slots, tensors."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        "the magic is written before the rest of the superblock",
        "protocol/shm/superblock.py",
        "    words[0] = 0\n",
        "    words[0] = SUPERBLOCK_MAGIC\n",
        ("tests/protocol/shm/test_superblock.py",),
    ),
    Mutant(
        "a superblock of another epoch is accepted",
        "protocol/shm/superblock.py",
        '        ("epoch", superblock.epoch, region.epoch),\n',
        "",
        ("tests/protocol/shm/test_superblock.py",),
    ),
    Mutant(
        "memory is stale at the end of its window already",
        "protocol/shm/superblock.py",
        "now_ns - activity_ns <= window_ns",
        "now_ns - activity_ns < window_ns",
        ("tests/protocol/shm/test_superblock.py",),
    ),
    Mutant(
        "memory never refreshed counts as fresh",
        "protocol/shm/superblock.py",
        "return activity_ns != 0 and ",
        "return ",
        ("tests/protocol/shm/test_superblock.py",),
    ),
    Mutant(
        "links inside the base directory are followed",
        "protocol/shm/safe_open.py",
        "_DIRECTORY_FLAGS | os.O_NOFOLLOW",
        "_DIRECTORY_FLAGS",
        ("tests/protocol/shm/test_paths.py",),
    ),
    Mutant(
        "a file exchanged between look and open is accepted",
        "protocol/shm/safe_open.py",
        "            (opened.st_dev, opened.st_ino) == (before.st_dev, before.st_ino),\n",
        "            opened.st_dev == before.st_dev,\n",
        ("tests/protocol/shm/test_paths.py",),
    ),
    Mutant(
        "a file that is too short is mapped",
        "protocol/shm/safe_open.py",
        "            opened.st_size >= region.length_bytes,\n",
        "            opened.st_size >= region.length_bytes - 1,\n",
        ("tests/protocol/shm/test_paths.py", "tests/protocol/shm/test_mapped_stream.py"),
    ),
    Mutant(
        "a slot may point at another slot's payload",
        "protocol/shm/slot_header.py",
        "        if payload_slot != header_index:\n",
        "        if payload_slot > header_index:\n",
        ("tests/protocol/shm/test_slot_header.py",),
    ),
    Mutant(
        "a payload slot one past the ring is accepted",
        "protocol/shm/slot_header.py",
        "        if payload_slot >= self._nslots:\n",
        "        if payload_slot > self._nslots:\n",
        ("tests/protocol/shm/test_slot_header.py",),
    ),
    Mutant(
        "a full slot is refused",
        "protocol/shm/slot_header.py",
        "        if values_len_bytes > stride_bytes:\n",
        "        if values_len_bytes >= stride_bytes:\n",
        ("tests/protocol/shm/test_slot_header.py",),
    ),
    Mutant(
        "a shape that reaches past its payload is accepted",
        "protocol/shm/slot_header.py",
        "        if layout.extent > values_len_bytes > 0:\n",
        "        if layout.extent > stride_bytes > 0:\n",
        ("tests/protocol/shm/test_slot_header.py",),
    ),
    Mutant(
        "overlapping strides are accepted",
        "protocol/shm/tensor.py",
        "or 0 < given < need:",
        "or 0 < given < element_bytes:",
        ("tests/protocol/shm/test_tensor.py",),
    ),
    Mutant(
        "the last element is left out of the extent",
        "protocol/shm/tensor.py",
        "    return element_bytes + reach\n",
        "    return reach\n",
        ("tests/protocol/shm/test_tensor.py",),
    ),
    Mutant(
        "the first commit word is the second slot's",
        "protocol/shm/commit_word.py",
        "    return _FIRST_WORD + WORDS_PER_SLOT * slot\n",
        "    return _FIRST_WORD + WORDS_PER_SLOT * slot + 1\n",
        ("tests/protocol/shm/test_commit.py",),
    ),
    Mutant(
        "a slot's payload starts one slot late",
        "protocol/shm/slot_header.py",
        "    return SUPERBLOCK_BYTES + stride_bytes * slot\n",
        "    return SUPERBLOCK_BYTES + stride_bytes * (slot + 1)\n",
        ("tests/protocol/shm/test_slot_header.py",),
    ),
)
