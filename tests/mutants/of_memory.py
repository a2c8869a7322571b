"""Wrong shared memory: regions, superblocks, slots, tensors."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        "the magic is written before the rest of the superblock",
        "client/shm/superblock.py",
        "    words[0] = 0\n",
        "    words[0] = SUPERBLOCK_MAGIC\n",
        ("tests/shm/test_superblock.py",),
    ),
    Mutant(
        "a superblock of another epoch is accepted",
        "client/shm/superblock.py",
        '        ("epoch", superblock.epoch, region.epoch),\n',
        "",
        ("tests/shm/test_superblock.py",),
    ),
    Mutant(
        "memory is stale at the end of its window already",
        "client/shm/superblock.py",
        "now_ns - activity_ns <= window_ns",
        "now_ns - activity_ns < window_ns",
        ("tests/shm/test_superblock.py",),
    ),
    Mutant(
        "memory never refreshed counts as fresh",
        "client/shm/superblock.py",
        "return activity_ns != 0 and ",
        "return ",
        ("tests/shm/test_superblock.py",),
    ),
    Mutant(
        "links inside the base directory are followed",
        "client/shm/paths.py",
        "_DIRECTORY_FLAGS | os.O_NOFOLLOW",
        "_DIRECTORY_FLAGS",
        ("tests/shm/test_paths.py",),
    ),
    Mutant(
        "a file exchanged between look and open is accepted",
        "client/shm/paths.py",
        "            (opened.st_dev, opened.st_ino) == (before.st_dev, before.st_ino),\n",
        "            opened.st_dev == before.st_dev,\n",
        ("tests/shm/test_paths.py",),
    ),
    Mutant(
        "a file that is too short is mapped",
        "client/shm/paths.py",
        "            opened.st_size >= region.length_bytes,\n",
        "            opened.st_size >= region.length_bytes - 1,\n",
        ("tests/shm/test_paths.py", "tests/shm/test_mapped_stream.py"),
    ),
    Mutant(
        "a slot may point at another slot's payload",
        "client/shm/slot.py",
        "        if payload_slot != header_index:\n",
        "        if payload_slot > header_index:\n",
        ("tests/shm/test_slot.py",),
    ),
    Mutant(
        "a payload slot one past the ring is accepted",
        "client/shm/slot.py",
        "        if payload_slot >= self._nslots:\n",
        "        if payload_slot > self._nslots:\n",
        ("tests/shm/test_slot.py",),
    ),
    Mutant(
        "a full slot is refused",
        "client/shm/slot.py",
        "        if values_len_bytes > stride_bytes:\n",
        "        if values_len_bytes >= stride_bytes:\n",
        ("tests/shm/test_slot.py",),
    ),
    Mutant(
        "a shape that reaches past its payload is accepted",
        "client/shm/slot.py",
        "        if layout.extent > values_len_bytes > 0:\n",
        "        if layout.extent > stride_bytes > 0:\n",
        ("tests/shm/test_slot.py",),
    ),
    Mutant(
        "overlapping strides are accepted",
        "client/shm/tensor.py",
        "or 0 < given < need:",
        "or 0 < given < element_bytes:",
        ("tests/shm/test_tensor.py",),
    ),
    Mutant(
        "the last element is left out of the extent",
        "client/shm/tensor.py",
        "    return element_bytes + reach\n",
        "    return reach\n",
        ("tests/shm/test_tensor.py",),
    ),
    Mutant(
        "the first commit word is the second slot's",
        "client/shm/commit.py",
        "    return _FIRST_WORD + WORDS_PER_SLOT * slot\n",
        "    return _FIRST_WORD + WORDS_PER_SLOT * slot + 1\n",
        ("tests/shm/test_commit.py",),
    ),
    Mutant(
        "a slot's payload starts one slot late",
        "client/shm/slot.py",
        "    return SUPERBLOCK_BYTES + stride_bytes * slot\n",
        "    return SUPERBLOCK_BYTES + stride_bytes * (slot + 1)\n",
        ("tests/shm/test_slot.py",),
    ),
)
