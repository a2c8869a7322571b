"""`bench`, `shm`, `shutdown`, `config` and `diagram`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tests.cli.pools import TOKEN, Command, DriverProcess, run, until


@pytest.mark.process
def test_bench_measures_with_a_driver_of_its_own() -> None:
    command = Command("bench", "--seconds", "0.05", "--json")
    outcome = command.outcome()
    assert outcome.status == 0, outcome
    figures = outcome.json["figures"]
    assert [figure["measure"] for figure in figures] == ["publish"] * 3 + ["receive"] * 3 + [
        "latency"
    ]
    assert all(figure["frames_per_s"] > 0 for figure in figures)
    assert figures[-1]["p50_us"] > 0
    assert not list(Path("/dev/shm").glob(f"tensorpool-bench-{command.process.pid}-*"))


@pytest.mark.process
def test_bench_ends_with_ctrl_c_and_leaves_nothing() -> None:
    command = Command("bench", "--seconds", "30")
    mine = f"tensorpool-bench-{command.process.pid}-*"
    until(lambda: bool(list(Path("/dev/shm").glob(mine))), "the start of the measurement")
    command.interrupt()
    outcome = command.outcome()
    assert outcome.status == 130
    assert "Traceback" not in outcome.stderr
    assert not list(Path("/dev/shm").glob(mine))


@pytest.mark.process
def test_inspect_prints_geometry_owner_and_newest_slots(
    pool: DriverProcess, camera: Command
) -> None:
    uris = pool.streams()[10000]["uris"]
    outcome = run("shm", "inspect", uris[0], "--json", "--slots", "2")
    assert outcome.status == 0, outcome
    (ring,) = outcome.json
    assert (ring["region_type"], ring["stream_id"], ring["nslots"]) == ("header_ring", 10000, 64)
    assert ring["owner_is_alive"]
    assert ring["problems"] == []
    assert len(ring["slots"]) == 2
    assert ring["slots"][0]["seq"] > ring["slots"][1]["seq"]
    assert {tuple(slot["shape"]) for slot in ring["slots"]} == {(40, 60, 3)}

    (of_pool,) = run("shm", "inspect", uris[1], "--json").json
    assert (of_pool["pool_id"], of_pool["stride_bytes"]) == (1, 65536)


@pytest.mark.process
def test_inspect_of_a_directory_shows_every_region(pool: DriverProcess, camera: Command) -> None:
    outcome = run("shm", "inspect", str(pool.namespace_dir / "10000"), "--slots", "1")
    assert outcome.status == 0, outcome
    assert "header ring of stream 10000" in outcome.stdout
    assert "pool 1 of stream 10000" in outcome.stdout
    assert "uint8 40x60x3" in outcome.stdout


@pytest.mark.process
def test_inspect_of_a_damaged_region_is_1_and_names_the_field(
    pool: DriverProcess, camera: Command, tmp_path: Path
) -> None:
    uri = pool.streams()[10000]["uris"][0]
    data = bytearray(Path(uri.removeprefix("shm:file?path=")).read_bytes())
    data[0] ^= 1
    damaged = tmp_path / "header.ring"
    damaged.write_bytes(data)
    outcome = run("shm", "inspect", str(damaged))
    assert outcome.status == 1
    assert "problem: superblock magic" in outcome.stdout
    damaged.write_bytes(data[:100])
    assert run("shm", "inspect", str(damaged)).status == 1


@pytest.mark.parametrize("target", ["/nowhere", "shm:file?path=relative", "shm:http://x"])
def test_inspect_of_a_file_that_is_not_a_region_is_one_line(target: str) -> None:
    outcome = run("shm", "inspect", target)
    assert outcome.status in (1, 2)
    assert outcome.stderr.count("\n") == 1


def test_inspect_of_a_file_too_short_is_2(tmp_path: Path) -> None:
    (tmp_path / "1.pool").write_bytes(b"x" * 10)
    assert run("shm", "inspect", str(tmp_path / "1.pool")).status == 2
    assert run("shm", "inspect", str(tmp_path / "1.pool" / "..")).status == 2


@pytest.mark.process
def test_gc_beside_a_running_driver_is_3_and_removes_nothing(
    pool: DriverProcess, camera: Command
) -> None:
    before = sorted(pool.namespace_dir.rglob("*"))
    outcome = pool.run("shm", "gc")
    assert outcome.status == 3
    assert "another driver is running" in outcome.stderr
    assert before[0] in pool.namespace_dir.rglob("*")


@pytest.mark.process
def test_shutdown_needs_the_token_and_gc_removes_what_the_driver_left(
    tmp_path: Path,
    media_driver: MediaDriverProcess,
    base_dir: Path,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = DriverProcess(tmp_path, media_driver.directory, base_dir, 1702, cleanup=False)
    try:
        assert driver.run("publish", "10000", str(picture), "--linger", "0").status == 0
        wrong = driver.run("shutdown", "--token", "wrong", "--timeout", "1")
        assert wrong.status == 3
        assert "still answers: the token is wrong" in wrong.stderr
        assert TOKEN not in wrong.stderr
        outcome = driver.run("shutdown", "--text", "enough for today")
        assert outcome.status == 0, outcome
        assert "enough for today" in outcome.stdout
        assert driver.command.outcome().status == 0
    finally:
        driver.command.close()
    left = sorted(driver.namespace_dir.glob("10000/*"))
    assert left
    with monkeypatch.context() as young:
        young.setenv("POLICIES_EPOCH_GC_MIN_AGE_NS", str(3_600_000_000_000))
        for dry_run in (("--dry-run",), ()):
            outcome = driver.run("shm", "gc", "--keep", "0", "--json", *dry_run)
            assert (outcome.status, outcome.json["removed"]) == (0, [])

    def listed() -> bool:
        outcome = driver.run("shm", "gc", "--keep", "0", "--dry-run", "--json")
        assert outcome.status == 0, outcome
        assert sorted(driver.namespace_dir.glob("10000/*")) == left
        return [epoch["path"] for epoch in outcome.json["removed"]] == [str(path) for path in left]

    until(listed, "the epochs are old enough")
    assert driver.run("shm", "gc", "--keep", "0").status == 0
    assert list(driver.namespace_dir.glob("10000/*")) == []


def test_shutdown_without_a_token_prints_where_it_comes_from() -> None:
    outcome = run("shutdown")
    assert outcome.status == 1
    assert "policies.shutdown_token" in outcome.stderr


def test_config_init_writes_a_configuration_that_the_driver_accepts(tmp_path: Path) -> None:
    file = tmp_path / "driver.toml"
    streams = ("--stream", "left=10000", "--stream", "right=10001")
    outcome = run("config", "init", str(file), *streams, "--frame", "640x480x3", "--slots", "16")
    assert outcome.status == 0, outcome
    document = tomllib.loads(file.read_text())
    assert document["streams"]["right"]["stream_id"] == 10001
    assert document["profiles"]["frames"]["payload_pools"][0]["stride_bytes"] == 640 * 480 * 3
    checked = run("config", "check", str(file))
    assert checked.status == 0, checked
    assert run("config", "init", str(file)).status == 2  # it is kept
    assert tomllib.loads(file.read_text()) == document


def test_config_init_without_a_file_prints_it() -> None:
    document = tomllib.loads(run("config", "init", "--frame", "6M").stdout)
    assert document["profiles"]["frames"]["payload_pools"][0]["stride_bytes"] == 6 << 20


@pytest.mark.parametrize(
    "arguments", [("--frame", "huge"), ("--frame", "0"), ("--slots", "3"), ("--stream", "left")]
)
def test_config_init_refuses_what_cannot_be(arguments: tuple[str, str]) -> None:
    outcome = run("config", "init", *arguments)
    assert outcome.status == 2
    assert arguments[0] in outcome.stderr


def test_config_check_names_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "driver.toml"
    file.write_text("[driver]\nfragment_limit = 0\nmedia_driver = 'x'\n[profiles.a]\n")
    outcome = run("config", "check", str(file))
    assert outcome.status == 2
    assert "driver.fragment_limit" in outcome.stderr
    assert "driver.media_driver" in outcome.stderr


def test_config_show_prints_values_and_sources_but_not_the_token() -> None:
    arguments = ("--set", "policies.shutdown_token=hush", "--set", "driver.fragment_limit=7")
    text = run("config", "show", *arguments)
    assert text.status == 0, text
    assert "driver.fragment_limit = 7  # override" in text.stdout
    document = run("config", "show", *arguments, "--json")
    assert document.json["settings"]["driver.fragment_limit"] == {"value": 7, "source": "override"}
    assert "hush" not in text.stdout + document.stdout


def test_a_configuration_that_cannot_be_used_stops_every_command(tmp_path: Path) -> None:
    file = tmp_path / "driver.toml"
    file.write_text("[driver]\ncontrol_channel = 'ipc'\n")
    outcome = run("status", "--config", str(file))
    assert outcome.status == 2
    assert "driver.control_channel: must be an Aeron channel" in outcome.stderr


@pytest.mark.parametrize(
    ("machine", "state"),
    [
        ("driver", "Serving"),
        ("stream", "ProducerAttached"),
        ("lease", "Live"),
        ("connection", "Attaching"),
        ("producer", "Active"),
        ("consumer", "Mapped"),
    ],
)
def test_diagram_draws_each_machine(machine: str, state: str) -> None:
    outcome = run("diagram", machine)
    assert outcome.status == 0, outcome
    assert "stateDiagram-v2" in outcome.stdout
    assert state in outcome.stdout


@pytest.mark.parametrize(("format_", "start"), [("dot", "digraph"), ("svg", "<svg")])
def test_diagram_writes_each_format_to_a_file(tmp_path: Path, format_: str, start: str) -> None:
    file = tmp_path / "lease"
    outcome = run("diagram", "lease", "--format", format_, "--output", str(file))
    assert outcome.status == 0, outcome
    assert start in file.read_text()
