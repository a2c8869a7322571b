from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_pool.protocol.errors import ShmUriError
from tensor_pool.protocol.shm.uri import RegionUri, format_region_uri, parse_region_uri


@pytest.mark.parametrize(
    ("text", "path", "require_hugepages"),
    [
        ("shm:file?path=/dev/shm/x", "/dev/shm/x", False),
        ("shm:file?path=/dev/shm/x|require_hugepages=true", "/dev/shm/x", True),
        ("shm:file?path=/dev/shm/x|require_hugepages=false", "/dev/shm/x", False),
        ("shm:file?path=/a=b&c%20d", "/a=b&c%20d", False),
        ("shm:file?path=/", "/", False),
        ("shm:file?path=/!~}{@>", "/!~}{@>", False),
    ],
)
def test_W_020_accepts(text: str, path: str, require_hugepages: bool) -> None:
    assert parse_region_uri(text) == RegionUri(path, require_hugepages)


def test_W_020_ampersand_separates_nothing() -> None:
    parsed = parse_region_uri("shm:file?path=/x&require_hugepages=true")
    assert parsed == RegionUri("/x&require_hugepages=true", False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shm:",
        "shm:file",
        "shm:file?",
        "shm:anon?path=/x",
        "aeron:ipc",
        "SHM:file?path=/x",
        "shm:File?path=/x",
        "shm:file?Path=/x",
        " shm:file?path=/x",
        "shm:file?path=",
        "shm:file?path=x",
        "shm:file?path=./x",
        "shm:file?path=|require_hugepages=true",
        "shm:file?require_hugepages=true",
        "shm:file?require_hugepages=true|path=/x",
        "shm:file?path=/x|path=/y",
        "shm:file?path=/x|require_hugepages=true|require_hugepages=true",
        "shm:file?path=/x|require_hugepages=1",
        "shm:file?path=/x|require_hugepages=TRUE",
        "shm:file?path=/x|require_hugepages=",
        "shm:file?path=/x|require_hugepages",
        "shm:file?path=/x|mode=ro",
        "shm:file?path=/x|",
        "shm:file?path=/x||require_hugepages=true",
        "shm:file?path=/a b",
        "shm:file?path=/a?b",
        "shm:file?path=/a\n",
        "shm:file?path=/a\x00b",
        "shm:file?path=/a\x7f",
        "shm:file?path=/\u00e4",
        "shm:file?path=/x\ud800",
    ],
)
def test_W_020_rejects(text: str) -> None:
    with pytest.raises(ShmUriError):
        parse_region_uri(text)


def test_W_020_length_is_at_most_4096_bytes() -> None:
    longest = "shm:file?path=/" + "x" * (4096 - len("shm:file?path=/"))
    assert len(parse_region_uri(longest).path) == 4096 - len("shm:file?path=")
    with pytest.raises(ShmUriError, match="4097 bytes"):
        parse_region_uri(longest + "x")


def test_W_021_hugepages_are_not_required_by_default() -> None:
    assert parse_region_uri("shm:file?path=/x").require_hugepages is False


def test_W_022_other_path_forms_are_rejected() -> None:
    for path in ("C:\\x", "\\\\server\\x", "\\\\.\\pipe\\x"):
        with pytest.raises(ShmUriError, match="absolute path"):
            parse_region_uri("shm:file?path=" + path)


def test_an_error_quotes_hostile_text_escaped_and_cut_short() -> None:
    with pytest.raises(ShmUriError) as caught:
        parse_region_uri("shm:file?path=\x1b[2J" + "y" * 4000)
    text = str(caught.value)
    assert "\x1b" not in text
    assert "\\x1b[2J" in text
    assert len(text) < 400


def test_D_120_the_parameter_is_written_only_when_huge_pages_are_required() -> None:
    assert format_region_uri("/a/b") == "shm:file?path=/a/b"
    assert format_region_uri("/a/b", require_hugepages=True).endswith("|require_hugepages=true")


@pytest.mark.parametrize(
    "path", ["relative", "", "/a b", "/a|b", "/a?b", "/\u00e4", "/" + "x" * 4090]
)
def test_a_path_that_no_uri_can_name_is_refused_on_the_way_out(path: str) -> None:
    with pytest.raises(ShmUriError):
        format_region_uri(path)


PATH_CHARACTERS = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in "?|")


@given(st.text(PATH_CHARACTERS, max_size=80), st.booleans())
def test_W_020_round_trip(tail: str, require_hugepages: bool) -> None:
    text = format_region_uri("/" + tail, require_hugepages=require_hugepages)
    parsed = parse_region_uri(text)
    assert parsed == RegionUri("/" + tail, require_hugepages)
    assert str(parsed) == text


@settings(max_examples=150)
@given(st.one_of(st.text(max_size=60), st.text(max_size=60).map("shm:file?path=/".__add__)))
def test_W_220_any_text_gives_a_uri_or_the_documented_error(text: str) -> None:
    try:
        parsed = parse_region_uri(text)
    except ShmUriError:
        return
    assert parsed.path.startswith("/")
    assert all(character in PATH_CHARACTERS for character in parsed.path)
