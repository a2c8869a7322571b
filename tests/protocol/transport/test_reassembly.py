"""Fragments become the message they were, or nothing: never parts of two."""

from __future__ import annotations

from tensor_pool.protocol.transport.reassembly import Reassembly

BEGIN, MIDDLE, END = 0x80, 0, 0x40


def feed(reassembly, data, flags, offset, session=1):
    return reassembly.add(memoryview(data), flags, session, offset, len(data) + 32)


def test_M_054_fragments_in_order_make_the_message():
    reassembly = Reassembly()
    assert feed(reassembly, b"a" * 1376, BEGIN, 0) is None
    assert feed(reassembly, b"b" * 1376, MIDDLE, 1408) is None
    assert feed(reassembly, b"c", END, 2816) == b"a" * 1376 + b"b" * 1376 + b"c"


def test_a_message_that_misses_a_fragment_is_dropped_and_the_next_one_is_not():
    reassembly = Reassembly()
    feed(reassembly, b"a" * 1376, BEGIN, 0)
    assert feed(reassembly, b"c", END, 2816) is None
    feed(reassembly, b"d" * 1376, BEGIN, 2880)
    assert feed(reassembly, b"e", END, 4288) == b"d" * 1376 + b"e"


def test_an_end_whose_beginning_was_not_seen_is_dropped():
    reassembly = Reassembly()
    assert feed(reassembly, b"tail", END, 1408) is None
    assert feed(reassembly, b"middle", MIDDLE, 1408) is None


def test_a_new_beginning_replaces_an_unfinished_message():
    reassembly = Reassembly()
    feed(reassembly, b"a" * 1376, BEGIN, 0)
    feed(reassembly, b"b" * 1376, BEGIN, 4096)
    assert feed(reassembly, b"c", END, 5504) == b"b" * 1376 + b"c"


def test_sessions_are_kept_apart_and_a_gone_one_is_forgotten():
    reassembly = Reassembly()
    feed(reassembly, b"a" * 1376, BEGIN, 0, session=1)
    feed(reassembly, b"b" * 1376, BEGIN, 0, session=2)
    reassembly.forget(1)
    assert feed(reassembly, b"x", END, 1408, session=1) is None
    assert feed(reassembly, b"y", END, 1408, session=2) == b"b" * 1376 + b"y"
