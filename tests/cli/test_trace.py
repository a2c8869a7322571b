"""`trace`: lineages of frames over several processes, and from recordings (S-154)."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tensor_pool.cli.commands.trace import TraceSession
from tensor_pool.client.traces.store import TracedFrame, TraceLink
from tests.cli.pools import PATIENCE_S, Command, DriverProcess, Outcome, until
from tests.cli.traced_stage import CYCLE, FIRST, IDS, ROLES

pytestmark = pytest.mark.process
STAGE = Path(__file__).with_name("traced_stage.py")


@pytest.fixture(scope="module")
def pipeline(pool: DriverProcess) -> Iterator[DriverProcess]:
    """Cameras, two filters and a join, in four processes."""
    stages = [
        subprocess.Popen(
            [sys.executable, str(STAGE), str(pool.config), role], stdin=subprocess.PIPE
        )
        for role in ROLES
    ]
    yield pool
    for stage in stages:
        assert stage.stdin is not None
        stage.stdin.close()
    assert [stage.wait(PATIENCE_S) for stage in stages] == [0] * len(stages)


def streams_of(document: dict[str, Any], trace_id: str) -> set[str]:
    (trace,) = (each for each in document["traces"] if each["trace_id"] == trace_id)
    return {frame["stream"] for frame in trace["frames"]}


def traced(pool: DriverProcess, *arguments: str, streams: int) -> dict[str, Any]:
    """Run `trace` until it shows so many streams: the pipeline may have begun just now."""
    found: list[dict[str, Any]] = []

    def shows() -> bool:
        outcome = pool.run("trace", *arguments, "--json")
        if outcome.status == 0:
            found.append(outcome.json)
        return outcome.status == 0 and len(shown(outcome)) == streams

    until(shows, f"a trace over {streams} streams")
    return found[-1]


def shown(outcome: Outcome) -> set[str]:
    return {frame["stream"] for trace in outcome.json["traces"] for frame in trace["frames"]}


def test_S_154_a_trace_that_begins_now_is_shown_through_four_processes(
    pipeline: DriverProcess,
) -> None:
    """Cameras, two filters, a join: one hands its trace on, the join makes one of two."""
    document = traced(pipeline, streams=3)
    source = document["trace_id"]
    (joined,) = {each["trace_id"] for each in document["traces"]} - {source}
    assert (document["ancestors"], document["descendants"]) == ([], [joined])
    assert streams_of(document, source) in ({"left", "edges"}, {"right", "blur"})
    assert streams_of(document, joined) == {"pairs"}
    made = next(each for each in document["traces"] if each["trace_id"] == joined)
    assert source in made["parents"]
    assert len(made["parents"]) == 2


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_S_154_the_trace_that_begins_now_was_made_from_no_other(order: tuple[int, ...]) -> None:
    """Also when the command begins between a picture and the pair that is made from it."""
    now = time.time_ns() + 10**9
    records = (
        TracedFrame(stream_id=4, epoch=1, seq=1, trace_id=90, received_ns=now),
        TraceLink(4, epoch=1, seq=1, trace_id=90, parents=(1, 2), received_ns=now),
        TracedFrame(stream_id=1, epoch=1, seq=2, trace_id=3, received_ns=now),
        TracedFrame(stream_id=4, epoch=1, seq=1, trace_id=90, received_ns=now),
    )
    session = TraceSession(None, window_s=60, settle_s=0.5)
    session.take(TracedFrame(1, epoch=1, seq=1, trace_id=1, received_ns=now - 10**9))
    for index in order:
        session.take(records[index])
    session.take(TracedFrame(1, epoch=1, seq=3, trace_id=4, received_ns=now))
    assert session.trace_id in {3, 4}


def test_S_154_a_trace_that_is_asked_for_is_printed_as_a_tree(pipeline: DriverProcess) -> None:
    asked = str(FIRST + 7)  # comes again every CYCLE frames
    document = traced(pipeline, asked, streams=3)
    assert streams_of(document, asked) == {"left", "edges"}
    outcome = pipeline.run("trace", hex(FIRST + 8), "--stream", "e*", "--stream", "20105")
    assert outcome.status == 0, outcome
    lines = outcome.stdout.splitlines()
    assert lines[0] == f"trace {FIRST + 8} *"
    assert f"edges ({IDS['edges']}) epoch" in lines[1]
    assert lines[1].startswith("  ")
    assert any(line.startswith("  trace ") and f"made from {FIRST + 8}, " in line for line in lines)
    assert "left (" not in outcome.stdout  # not chosen


def test_S_154_a_recording_keeps_traces_and_a_replay_sends_them_again(
    pipeline: DriverProcess, tmp_path: Path
) -> None:
    files = {name: tmp_path / f"{name}.mcap" for name in ("left", "edges", "blur", "pairs")}
    with pipeline.running("record", "left", str(files["left"]), "--count", str(3 * CYCLE)) as left:
        until(lambda: files["left"].exists(), "the recorder of the camera has attached")
        for name in ("edges", "pairs"):
            outcome = pipeline.run(
                "record", name, str(files[name]), "--count", "40", "--timeout", "30"
            )
            assert outcome.status in (0, 4), outcome  # 4: a frame was lost on a busy machine
        left.interrupt()
        assert left.outcome().status in (0, 4)
    everything = pipeline.run("trace", "--json", "--file", str(files["pairs"]))
    links = [line for line in everything.json_lines if "parents" in line]
    frames = {line["trace_id"] for line in everything.json_lines if "parents" not in line}
    links = [link for link in links if link["trace_id"] in frames]
    assert links
    joined = links[0]["trace_id"]
    sources = [f for f in files.values() if f.exists()]
    arguments = [part for file in sources for part in ("--file", str(file))]
    tree = pipeline.run("trace", joined, *arguments, "--json")
    assert tree.status == 0, tree
    assert sorted(tree.json["ancestors"]) == sorted(links[0]["parents"])
    assert streams_of(tree.json, joined) == {"pairs"}
    assert any("left" in streams_of(tree.json, trace) for trace in tree.json["ancestors"])
    unknown = pipeline.run("trace", "17", *arguments)
    assert (unknown.status, unknown.stdout) == (1, "")
    assert "trace 17 is not in these recordings" in unknown.stderr

    with pipeline.running("trace", "--follow", "--json", "--stream", "20190") as follower:
        assert follower.process.stderr is not None
        assert "listening" in follower.process.stderr.readline()
        again = pipeline.run("replay", str(files["pairs"]), "--stream", "20190", "--rate", "200")
        assert again.status == 0, again
        follower.interrupt()
        followed = follower.outcome()
    assert followed.status == 0, followed
    heard = [line for line in followed.json_lines if "parents" in line]
    assert [(each["trace_id"], each["parents"]) for each in heard] == [
        (each["trace_id"], each["parents"]) for each in links
    ]


def test_S_154_what_does_not_come_is_explained(pool: DriverProcess, camera: Command) -> None:
    """Also the streams whose frames have no trace."""
    outcomes: list[Outcome] = []

    def is_explained() -> bool:
        outcomes.append(pool.run("trace", "5", "--duration", "0.5", "--stream", "cam"))
        return "of cam (10000)" in outcomes[-1].stderr

    until(is_explained, "frames of the camera are counted")
    outcome = outcomes[-1]
    assert (outcome.status, outcome.stdout) == (1, "")
    assert "trace 5 did not come among" in outcome.stderr
    assert "their producers publish without trace=True" in outcome.stderr
    assert not any(lease["role"] == "consumer" for lease in pool.run("leases", "--json").json)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["0"], "0 is not a trace id"),
        (["left"], "'left' is not a number"),
        ([str(1 << 64)], "is not a trace id"),
        (["5", "--file", "x.mcap", "--follow"], "takes no --follow"),
        (["5", "--file", "missing.mcap"], "missing.mcap: No such file"),
    ],
)
def test_S_154_wrong_usage_is_refused(
    pool: DriverProcess, arguments: list[str], reason: str
) -> None:
    outcome = pool.run("trace", *arguments)
    assert outcome.status == 2
    assert reason in " ".join(outcome.stderr.split())
