"""`status`, `streams`, `leases` and `watch`, with the driver's page and without."""

from __future__ import annotations

import signal

import pytest

from tests.cli.pools import Command, DriverProcess, run, until

pytestmark = pytest.mark.process


def test_status_of_a_driver_with_a_page_prints_its_state(pool: DriverProcess) -> None:
    outcome = pool.run("status", "--json", "--http", pool.http)
    assert outcome.status == 0, outcome
    assert outcome.json["driver"]["state"] == "Serving.Running.Normal"
    assert outcome.json["unknown"] == []
    assert {stream["stream_id"] for stream in outcome.json["streams"]} == {10000, 10001}


def test_status_without_a_page_asks_the_driver_and_names_the_missing_facts(
    pool: DriverProcess,
) -> None:
    outcome = pool.run("status")
    assert outcome.status == 0, outcome
    assert "running, answers within" in outcome.stdout
    assert "not known: states of the driver" in outcome.stdout


def test_status_is_1_without_an_answer(pool: DriverProcess) -> None:
    arguments = ("--control-stream-id", "1999", "--timeout", "0.2", "--observe", "0.1")
    outcome = pool.run("status", *arguments)

    assert outcome.status == 1
    assert "no driver answers" in outcome.stderr


def test_status_is_1_where_no_media_driver_runs() -> None:
    outcome = run("status", "--aeron-dir", "/dev/shm/tp-nobody-is-here")
    assert outcome.status == 1
    assert outcome.stderr.startswith("tensor-pool: no media driver is running in")
    assert outcome.stderr.count("\n") == 1


def test_a_page_that_was_asked_for_and_is_not_there_is_an_error(pool: DriverProcess) -> None:
    outcome = pool.run("status", "--http", "127.0.0.1:9")
    assert outcome.status == 1
    assert "http://127.0.0.1:9/status.json" in outcome.stderr


def test_streams_prints_producer_rate_and_name_from_the_wire_alone(
    pool: DriverProcess, camera: Command
) -> None:
    outcome = pool.run("streams", "--json", "--observe", "2.5")
    assert outcome.status == 0, outcome
    (stream,) = (one for one in outcome.json if one["stream_id"] == 10000)
    assert stream["producer"] is not None
    assert stream["name"] == "cam"
    assert stream["rate_hz"] > 1
    assert stream["header_nslots"] == 64
    assert stream["strides_bytes"] == [65536]
    assert stream["state"] is None


def test_streams_as_a_table_name_every_stream(pool: DriverProcess, camera: Command) -> None:
    outcome = pool.run("streams", "--http", pool.http)
    assert outcome.status == 0, outcome
    assert "10001" in outcome.stdout
    assert "ProducerAttached" in outcome.stdout


@pytest.mark.parametrize("with_page", [True, False])
def test_leases_are_known_with_their_expiry(
    pool: DriverProcess, camera: Command, with_page: bool
) -> None:
    arguments = ("--http", pool.http) if with_page else ()
    outcome = pool.run("leases", "--json", *arguments)
    assert outcome.status == 0, outcome
    (lease,) = (one for one in outcome.json if one["stream_id"] == 10000)
    assert lease["role"] == "PRODUCER"
    assert 0 < lease["expires_in_ms"] <= 2000
    assert (lease["state"] is not None) == with_page


def test_watch_shows_driver_streams_leases_and_what_changes(
    pool: DriverProcess, camera: Command
) -> None:
    with pool.running("watch", "--period", "0.2") as watch:
        assert watch.process.stdout is not None
        lines = iter(watch.process.stdout.readline, "")
        shown = next(line for line in lines if "answers within" in line)
        assert pool.run("echo", "10000", "--count", "2", "--no-stats").status == 0
        for text in ("ended, detached", "producer"):  # the latest event is the first of its table
            shown += next(line for line in lines if text in line)
        shown += next(line for line in lines if " granted" in line)
        watch.interrupt()
        outcome = watch.outcome()
    assert outcome.status == 0, outcome
    assert "driver" in shown
    assert "stream 10000: lease" in shown


def test_watch_shows_the_transitions_that_the_driver_sends(
    pool: DriverProcess, camera: Command
) -> None:
    assert pool.run("echo", "10000", "--once").status == 0
    outcome = pool.run("watch", "--period", "0.1", "--updates", "1", "--http", pool.http)
    assert outcome.status == 0, outcome
    assert "granted to consumer" in outcome.stdout
    assert "returned by its client" in outcome.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_ends_with_a_signal_in_order(pool: DriverProcess, number: signal.Signals) -> None:
    with pool.running("watch", "--period", "0.1") as command:
        assert command.process.stdout is not None
        until(lambda: "driver" in command.process.stdout.readline(), "a picture")  # type: ignore[union-attr]
        command.interrupt(number)
        outcome = command.outcome()
    assert outcome.status == 0
    assert "Traceback" not in outcome.stderr
