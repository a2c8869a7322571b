"""Files and frames that `publish` cannot publish."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.pools import Command, DriverProcess, run

pytestmark = pytest.mark.process


def test_frames_without_a_receiver_are_reported(pool: DriverProcess, picture: Path) -> None:
    outcome = pool.run("publish", "20010", str(picture), "--linger", "0")
    assert outcome.status == 0, outcome
    assert "published 1 frame (7.03 KiB) to stream 20010" in outcome.stdout


def test_a_frame_that_fits_no_slot_is_refused_with_the_setting_to_change(
    pool: DriverProcess, tmp_path: Path
) -> None:
    np.save(tmp_path / "large.npy", np.zeros((300, 400), np.uint8))
    outcome = pool.run("publish", "10001", str(tmp_path / "large.npy"))
    assert outcome.status == 1
    assert "stride_bytes=120000" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_a_file_that_cannot_be_read_is_wrong_usage_before_any_request(
    tmp_path: Path,
) -> None:
    (tmp_path / "broken.png").write_bytes(b"nonsense")
    arguments = ("--aeron-dir", "/dev/shm/tp-nobody-is-here")
    outcome = run("publish", "10000", str(tmp_path / "broken.png"), *arguments)
    assert outcome.status == 2
    assert "broken.png: not a readable image" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_a_second_producer_is_refused(pool: DriverProcess, camera: Command, picture: Path) -> None:
    outcome = pool.run("publish", "10000", str(picture), "--timeout", "0.3")
    assert outcome.status == 1
    assert "producer already attached" in outcome.stderr


def test_waiting_for_a_consumer_ends_with_ctrl_c_and_status_130(
    pool: DriverProcess, picture: Path
) -> None:
    with pool.running("publish", "20011", str(picture), "--wait", "1") as command:
        while 20011 not in pool.streams():
            assert command.process.poll() is None
        command.interrupt()
        outcome = command.outcome()
    assert outcome.status == 130
    assert "Traceback" not in outcome.stderr


def test_a_missing_package_is_named_with_the_command_to_install_it(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    outcome = run("publish", "10000", str(picture))
    assert outcome.status == 2
    assert "pip install pillow" in outcome.stderr


def test_a_missing_mcap_is_named_with_the_command_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mcap.records", None)
    (tmp_path / "run.mcap").write_bytes(b"")
    outcome = run("replay", str(tmp_path / "run.mcap"), "--info")
    assert outcome.status == 2
    assert "pip install mcap" in outcome.stderr
