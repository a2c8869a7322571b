"""The check, by its descriptor, that a file lies on a huge page file system (W-045).

Only an explicit hugetlbfs counts: transparent huge pages are a hint that the kernel may ignore.
"""

from __future__ import annotations

from . import libc

__all__ = ["HUGETLBFS_MAGIC", "huge_page_bytes", "round_up_to_pages"]

HUGETLBFS_MAGIC = 0x958458F6


def huge_page_bytes(fd: int) -> int | None:
    """The huge page size of the file system behind `fd`; None if it is not known to be
    hugetlbfs."""
    try:
        magic, block_bytes = libc.filesystem_of(fd)
    except OSError:
        return None
    return block_bytes if magic == HUGETLBFS_MAGIC and block_bytes > 0 else None


def round_up_to_pages(length: int, page_bytes: int | None) -> int:
    """`length` rounded up to a multiple of the huge page size; unchanged without one (W-046)."""
    return length if page_bytes is None else -(-length // page_bytes) * page_bytes
