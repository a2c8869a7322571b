"""Stories of the lab, short for `make test` and long for `make lab-bridge` (section 16.2)."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tensor_pool.bridge.core.metric_names import DROPPED_HERE, DROPPED_THERE
from tests.bridge.carried import counts_in, program
from tests.bridge.lab import Host, Lab

__all__ = ["LONG", "PROFILES", "SHORT", "Size", "carry_three_streams", "squeeze"]

PROFILES = (
    "--set", "profiles.camera={header_nslots=64,payload_pools=[{pool_id=1,stride_bytes=327680}]}",
    "--set", "profiles.state={header_nslots=2048,payload_pools=[{pool_id=1,stride_bytes=64}]}",
    "--set", "streams.camera={stream_id=10001,profile='camera'}",
    "--set", "streams.state={stream_id=10003,profile='state'}",
)  # fmt: skip
"""Options of a driver: stream 10000 has its usual 32 slots of 1 MiB, beside these two."""


class Size(NamedTuple):
    """Frames of each stream, as `publish_all` takes them, and a narrow link."""

    streams: tuple[str, ...]
    mbit_s: int
    flood: tuple[str, ...]  # four times what the narrow link carries
    patience_s: float


# In the short form no more frames than half the slots, so that none is dropped however slow the
# machine is.
SHORT = Size(
    ("10001:30:30:480x640:uint8", "10000:14:10:512x512:float32", "10003:500:1000:64:uint8"),
    8,
    ("10001:64:32:256x256:uint8", "10000:64:32:256x256:uint8"),
    60,
)
LONG = Size(
    ("10001:600:30:480x640:uint8", "10000:200:10:512x512:float32", "10003:20000:1000:64:uint8"),
    100,
    ("10001:3800:380:256x256:uint8", "10000:3800:380:256x256:uint8"),
    180,
)


def carry_three_streams(lab: Lab, size: Size) -> None:
    """Three streams to three places at once: a host, a dead address, and a control address that two
    receivers read, of which one is stopped. Every frame arrives at both receivers that live, or is
    counted: a machine that is too slow for the rate drops the oldest frames that wait (B-043). In
    the short form none can be dropped, as the queues have room for all."""
    a, b = lab["A"], lab["B"]
    streams = [spec.split(":")[0] for spec in size.streams]
    shared = f"control={a.address}:41010|control-mode=dynamic"
    places = [f"{b.address}:41001", f"{b.address}:41009", f"aeron:udp?{shared}"]
    at = [
        f"{b.address}:41001",
        *(f"aeron:udp?endpoint={b.address}:4100{n}|{shared}" for n in (2, 3)),
    ]
    sender = a.tool(
        *("bridge", "send", *streams, *(w for place in places for w in ("--to", place))),
        *("--set", "send_timeout_ms=60000", "--set", "media_driver=shared"),
        output="fan",
    )
    receivers = [
        b.tool("bridge", "receive", *ids, "--at", place, "--instance", f"b{n}", output=f"fan-{n}")
        for n, (place, ids) in enumerate(
            zip(at, (streams, ["10001=20001"], ["10001=20002"]), strict=True)
        )
    ]
    consumer = program(b, "consume_all", *streams, "20001", output="fan-arrived")
    local = program(a, "consume_all", *streams, output="fan-local")
    go = a.home / "go-fan"
    producer = program(a, "publish_all", str(go), *size.streams, output="fan-sent")
    for number, lines in enumerate((len(streams), 1, 1)):
        b.wait_for(f"fan-{number}", "carries epoch", count=lines)
    for host, output in ((b, "fan-arrived"), (a, "fan-local")):
        for stream in (*streams, "20001")[: 4 if host is b else 3]:
            host.wait_for(output, f"\n{stream} ")
    receivers[2].send_signal(signal.SIGSTOP)
    go.touch()
    a.wait_for("fan-sent", "counters", timeout=size.patience_s)
    before, sent = _parts(a, "fan-sent")
    twice = [("20001", *row[1:]) for row in sent if row[0] == "10001"]
    for stream, seq, digest in (_by_last(sent) | _by_last(twice)).values():
        b.wait_for("fan-arrived", f"\n{stream} {seq} {digest}\n")
    Path(f"{go}.end").touch()
    directories = a.run("ls", "/dev/shm").split()
    for process in (producer, local, consumer, sender, receivers[2], *receivers[:2]):
        _end(process)

    assert not any("tensorpool-bridge" in name for name in directories)  # it is the pool's
    assert "counters 0\n" in a.text("fan-sent")
    early = {(stream, seq) for stream, seq, _ in before}
    early |= {("20001", seq) for stream, seq in early if stream == "10001"}
    arrived = [row for row in _rows(b, "fan-arrived") if row[:2] not in early]
    wanted_rows, arrived_rows = _by_stream([*sent, *twice]), _by_stream(arrived)
    assert "gaps 0 0 0\n" in a.text("fan-local")
    frames = Counter(row[0] for row in [*before, *sent])
    wanted = Counter(row[0] for row in sent)
    for link, stream, output in (
        *((places[0], stream, "fan-0") for stream in streams),
        ("aeron", "10001", "fan-1"),
    ):
        (counted,) = _counted(a, "fan", f"sent {stream} to {link}")
        dropped = sum(counted[name] for name in DROPPED_HERE)
        assert not dropped or size is LONG
        assert wanted[stream] <= counted["frames_taken"] <= frames[stream]
        settled = counted["frames_sent"] + counted["skipped_link"] + dropped
        assert settled == counted["frames_taken"]
        (there,) = _counted(b, output, f"received {stream}")
        account = there["frames_delivered"] + sum(there[name] for name in DROPPED_THERE)
        account += there["frames_before"] + there["frames_lost"]
        assert counted["frames_sent"] <= account <= counted["frames_sent"] + dropped
        far = "20001" if output == "fan-1" else stream
        missing = set(wanted_rows[far]) - set(arrived_rows[far])
        assert len(missing) <= dropped
        assert arrived_rows[far] == [row for row in wanted_rows[far] if row not in missing]
    for stream in streams:
        (counted,) = _counted(a, "fan", f"sent {stream} to {places[1]}")
        assert counted["skipped_link"] == counted["frames_taken"] >= wanted[stream]


def squeeze(lab: Lab, size: Size) -> None:
    """Two streams over a link of a quarter of their rate, with queues of 1 and of 8 frames."""
    a, b = lab["A"], lab["B"]
    queues = {"10001": 1, "10000": 8}
    listing = ", ".join(f"{{stream = {s}, queue_frames = {n}}}" for s, n in queues.items())
    file = a.home / "narrow.toml"
    window = size.mbit_s * 16_384  # a part of a second; more would only hold older frames
    file.write_text(
        f'[[send]]\nto = "{b.address}:41020"\nname = "narrow"\nwindow = {window}\n'
        f"streams = [{listing}]\n"
    )
    a.narrow(size.mbit_s)
    sender = a.tool("bridge", "run", str(file), output="narrow")
    at = f"aeron:udp?endpoint={b.address}:41020|rcv-wnd={window}"
    receiver = b.tool("bridge", "receive", *queues, "--at", at, output="narrow")
    consumer = program(b, "consume_all", *queues, output="narrow-arrived")
    local = program(a, "consume_all", *queues, output="narrow-local")
    observers = [program(host, "observe", output="observed") for host in (a, b)]
    go = a.home / "go-narrow"
    producer = program(a, "publish_all", str(go), *size.flood, output="narrow-sent")
    for host, output in ((b, "narrow-arrived"), (a, "narrow-local")):
        for stream in queues:
            host.wait_for(output, f"\n{stream} ")
    go.touch()
    a.wait_for("narrow-sent", "counters", timeout=size.patience_s)
    lasts = [
        max(int(row[1]) for row in _rows(a, "narrow-sent") if row[0] == stream) for stream in queues
    ]
    for stream, last in zip(queues, lasts, strict=True):
        b.wait_for("narrow-arrived", f"\n{stream} {last} ")  # the newest is never dropped
    Path(f"{go}.end").touch()
    for process in (*observers, producer, local, consumer, sender, receiver):
        _end(process)
    a.widen()

    assert "counters 0\n" in a.text("narrow-sent")  # B-004: the source does not notice
    assert "gaps 0 0\n" in a.text("narrow-local")
    sent, arrived = _by_stream(_rows(a, "narrow-sent")), _by_stream(_rows(b, "narrow-arrived"))
    for stream, limit in queues.items():
        assert set(arrived[stream]) <= set(sent[stream])
        assert all(int(one[0]) < int(next_[0]) for one, next_ in pairwise(arrived[stream]))
        (here,) = _counted(a, "narrow", f"sent {stream} to narrow")
        assert here["frames_taken"] <= len(sent[stream])
        assert here["dropped_superseded"] > 0
        settled = here["frames_sent"] + here["skipped_link"]
        assert here["frames_taken"] == settled + sum(here[name] for name in DROPPED_HERE)
        (there,) = _counted(b, "narrow", f"received {stream}")
        account = there["frames_delivered"] + there["frames_before"] + there["frames_lost"]
        account += sum(there[name] for name in DROPPED_THERE)
        given_up = here["dropped_overwritten"] + here["dropped_stalled"] + here["dropped_link"]
        assert here["frames_sent"] <= account <= here["frames_sent"] + given_up
        assert _observed(a)["queues"][f"out {stream}→{stream} @ narrow"] <= limit
    for host in (a, b):
        assert all(kib < 8 << 10 for kib in _observed(host)["growth_kib"].values())


def _rows(host: Host, output: str) -> list[tuple[str, ...]]:
    """`STREAM SEQ SHA256` of each frame that a program printed."""
    return _rows_of(host.text(output))


def _rows_of(text: str) -> list[tuple[str, ...]]:
    rows = [line.split() for line in text.splitlines()]
    return [tuple(row) for row in rows if row[0].isdigit()]


def _parts(host: Host, output: str) -> list[list[tuple[str, ...]]]:
    """The frames before the line `go`, and those after it."""
    parts = host.text(output).split("\ngo\n")
    return [_rows_of(part) for part in parts]


def _by_last(rows: list[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The last frame of each stream."""
    return {row[0]: row for row in rows}


def _by_stream(rows: list[tuple[str, ...]]) -> dict[str, list[tuple[str, ...]]]:
    found: dict[str, list[tuple[str, ...]]] = {}
    for stream, *rest in rows:
        found.setdefault(stream, []).append(tuple(rest))
    return found


def _counted(host: Host, output: str, start: str) -> list[Counter[str]]:
    lines = host.text(output).splitlines()
    return [Counter(counts_in(line, start)) for line in lines if line.startswith(start)]


def _observed(host: Host) -> dict[str, dict[str, int]]:
    (line,) = [t for t in host.text("observed").splitlines() if t.startswith("observed ")]
    found: dict[str, dict[str, int]] = json.loads(line.removeprefix("observed "))
    return found


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.wait(30)
