"""Configuration: complete validation, channels, addresses (B-021, B-022, B-122, B-131, B-150)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tensor_pool.bridge import channels
from tensor_pool.bridge.config import LoadedBridge, read_document
from tensor_pool.cli.commands.bridge import await_client
from tensor_pool.cli.support.connection_options import Connection
from tensor_pool.cli.support.exit_status import CommandError
from tensor_pool.cli.support.signals import Stop
from tensor_pool.protocol.errors import ConfigError, TransportError

EXAMPLE = """
instance_id = "cam-host"

[[send]]
to = "10.0.0.2:40456"
streams = [
  { stream = 10000, as = 50000 },
  { stream = 10001, as = 50001, max_rate_hz = 10 },
  { stream = 10002, as = 50002, payload = "headers" },
]

[[receive]]
at = "10.0.0.1:40456"
streams = [ { id = 60000, stream = 60001, from = "lab-host" } ]
"""


def loaded(document: dict[str, Any]) -> LoadedBridge:
    bridge, errors = read_document(document)
    assert errors == ()
    assert bridge is not None
    return bridge


def sending(**changes: Any) -> dict[str, Any]:
    link = {"to": "10.0.0.2:40456", "streams": [{"stream": 1}], "window": 131072, **changes}
    return {"instance_id": "x", "send": [link]}


def receiving(**changes: Any) -> dict[str, Any]:
    link = {"at": "10.0.0.1:40456", "streams": [{"id": 1}], "window": 131072, **changes}
    return {"instance_id": "x", "receive": [link]}


def errors_of(document: dict[str, Any]) -> str:
    bridge, errors = read_document(document)
    assert bridge is None
    return "\n".join(errors)


def test_B_150_the_example_of_the_specification_is_read() -> None:
    settings = loaded(tomllib.loads(EXAMPLE)).settings
    assert settings.instance_id == "cam-host"
    (link,) = settings.send
    assert [(s.stream, s.wire_id) for s in link.streams] == [
        (10000, 50000),
        (10001, 50001),
        (10002, 50002),
    ]
    assert link.streams[1].max_rate_hz == 10
    assert link.streams[2].headers_only
    (entry,) = settings.receive[0].streams
    assert (entry.wire_id, entry.stream, entry.origin) == (60000, 60001, "lab-host")


def test_B_150_every_mistake_is_listed_at_once() -> None:
    document = {
        "instance_id": "no good",
        "hold_ms": -1,
        "send": [{"to": "nowhere", "mtu": 1400, "streams": [{"stream": 0}]}],
    }
    text = errors_of(document)
    for name in ("instance_id", "hold_ms", "send[0].to", "send[0].mtu", "streams[0].stream"):
        assert name in text
    assert "'no good'" in text
    assert "1400 must be a multiple of 32" in text


def test_B_150_an_unknown_key_is_a_warning() -> None:
    bridge = loaded({**sending(), "hold": 3})
    assert bridge.warnings == ("hold: unknown key, ignored",)


def test_B_021_a_place_becomes_a_channel_and_a_channel_keeps_its_own_values() -> None:
    bridge = loaded(sending(mtu=8192, term_length="4m"))
    assert bridge.settings.send[0].channel == (
        "aeron:udp?endpoint=10.0.0.2:40456|mtu=8192|term-length=4194304|pub-wnd=131072"
        "|so-sndbuf=131072|so-rcvbuf=131072|alias=x-10.0.0.2:40456"
    )
    bridge = loaded(sending(to="aeron:udp?endpoint=10.0.0.2:40456|mtu=4096|term-length=1m"))
    channel = bridge.settings.send[0].channel
    assert "|mtu=4096|term-length=1m|" in channel
    assert channel.count("mtu=") == 1
    assert "pub-wnd" not in channel  # it may not be more than half of a term of its own length
    small = loaded(sending(term_length="128k", window="64k", chunk_bytes=1200))
    assert "|pub-wnd=65536|" in small.settings.send[0].channel
    bridge = loaded(receiving())
    assert "|rcv-wnd=131072|cc=static|" in bridge.settings.receive[0].channel


def test_B_022_a_window_that_the_host_does_not_allow_is_cut_and_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channels, "receive_buffer_limit", lambda: 200_000)
    bridge = loaded(sending(window="4m"))
    (warning,) = bridge.warnings
    assert "4194304 is cut to 200000" in warning
    assert "sysctl -w net.core.rmem_max=4194304" in warning
    assert "so-rcvbuf=200000" in bridge.settings.send[0].channel


def test_B_023_a_list_of_places_makes_a_link_each() -> None:
    bridge = loaded(sending(to=["10.0.0.2:1", "10.0.0.3:1"]))
    assert [link.name for link in bridge.settings.send] == ["10.0.0.2:1", "10.0.0.3:1"]


def test_B_046_a_chunk_has_to_fit_the_terms() -> None:
    text = errors_of(sending(term_length="256k", window=8192))
    assert "61440" in text
    assert "262144" in text


def test_B_080_two_entries_may_not_mean_the_same() -> None:
    streams = [{"id": 1, "stream": 5}, {"id": 1, "stream": 6}]
    assert "wire id 1 is named twice" in errors_of(receiving(streams=streams))
    named = [{"id": 1, "stream": 5, "from": "a"}, {"id": 1, "stream": 6, "from": "b"}]
    assert len(loaded(receiving(streams=named)).settings.receive[0].streams) == 2
    same = [{"id": 1, "stream": 5}, {"id": 2, "stream": 5}]
    assert "far stream 5 is named twice" in errors_of(receiving(streams=same))


def test_B_122_a_bridge_does_not_send_to_itself() -> None:
    document = sending() | receiving(at="10.0.0.2:40456")
    text = errors_of(document)
    assert "send to 10.0.0.2:40456 and receive at 10.0.0.2:40456" in text
    loaded(sending() | receiving(at="10.0.0.2:40456", streams=[{"id": 2}]))


def test_B_124_streams_are_bounded() -> None:
    streams = [{"stream": 1, "as": number} for number in range(1, 1026)]
    assert "1025 streams" in errors_of(sending(streams=streams))
    entries = [{"id": number} for number in range(1, 4098)]
    assert "at most 4096" in errors_of(receiving(streams=entries))


@pytest.mark.parametrize("place", ["8.8.8.8:40456", "aeron:udp?endpoint=1.1.1.1:40456"])
def test_B_131_a_public_address_is_refused(place: str) -> None:
    assert "allow_public" in errors_of(sending(to=place))
    loaded({**sending(to=place), "allow_public": True})


@pytest.mark.parametrize("place", ["0.0.0.0:40456", "8.8.8.8:40456"])
def test_B_131_listening_everywhere_is_refused(place: str) -> None:
    assert "allow_public" in errors_of(receiving(at=place))


def test_B_130_only_links_of_other_hosts_are_not_loopback() -> None:
    assert loaded(sending(to="127.0.0.1:40456")).notes[0].is_loopback
    assert not loaded(sending()).notes[0].is_loopback


def test_B_151_a_file_of_the_reference_is_answered_with_ours() -> None:
    document = {
        "bridge": {"payload_channel": "aeron:udp?endpoint=10.0.0.2:40456"},
        "mappings": [{"source_stream_id": 1, "dest_stream_id": 5}],
    }
    text = errors_of(document)
    assert "streams = [{ stream = 1, as = 5 }]" in text
    send = text[text.index("[[send]]") : text.index("[[receive]]")]
    loaded(tomllib.loads(send))


def test_B_140_a_bridge_waits_for_the_first_driver_that_its_host_ever_had(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """B-140: after a boot there is no base directory either, until the driver makes it."""
    missing = tmp_path / "not-there"
    connection = Connection(base_dir=[str(missing)], aeron_dir=str(tmp_path / "aeron"))
    waits = iter((False, True))
    monkeypatch.setattr(Stop, "wait", lambda *_: next(waits))
    assert await_client(connection, Stop()) is None  # a signal came after two attempts
    error = capsys.readouterr().err
    assert f"{missing}' does not exist" in error
    assert error.count("The bridge waits for it") == 1


def test_B_140_a_bridge_waits_for_the_driver_of_its_host(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """B-140: bridges and drivers start in any order. A configuration error is not waited for."""
    found = object()
    answers: list[object] = [
        *([TransportError("no media driver")] * 3),
        *(found, ConfigError("bad key")),
    ]

    def client(_: Connection) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise CommandError(str(answer)) from answer
        return answer

    monkeypatch.setattr(Connection, "client", client)
    monkeypatch.setattr(Stop, "wait", lambda *_: len(answers) == 3)
    assert await_client(Connection(), Stop()) is None  # a signal came after two attempts
    assert await_client(Connection(), Stop()) is found
    with pytest.raises(CommandError, match="bad key"):
        await_client(Connection(), Stop())
    assert capsys.readouterr().err.count("no media driver. The bridge waits") == 2
