"""The fuzzing corpus, replayed without a fuzzer: every input that once reached new code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tensor_pool.protocol import wire
from tensor_pool.protocol.wire.generated.catalog import CODECS
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("target", TARGETS)
def test_M_052_the_corpus_breaks_no_promise(target: str) -> None:
    """M-052, M-050: decoders, region URIs, superblocks and slots, under any bytes."""
    inputs = [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]
    assert inputs
    for data in inputs:
        TARGETS[target](data)


def test_the_corpus_holds_every_message() -> None:
    """So that fuzzing starts inside each decoder."""
    seen = set()
    for path in (CORPUS / "message").iterdir():
        try:
            seen.add(type(wire.decode(path.read_bytes())))
        except wire.WireError:
            continue
    assert seen == {codec.kind for codec in CODECS}


def test_a_broken_promise_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that lets a foreign exception out is noticed by the target."""

    def careless(buffer: memoryview, *, raw_enums: bool) -> wire.Message:
        raise IndexError("read past the end")

    monkeypatch.setattr(wire, "decode", careless)
    with pytest.raises(IndexError):
        TARGETS["message"](b"")
