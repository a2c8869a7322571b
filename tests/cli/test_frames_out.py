"""`hz`, `echo` and `view`: what comes on a stream."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tensor_pool.client import Producer
from tests.cli.conftest import pixels
from tests.cli.pools import Command, DriverProcess, run, until

pytestmark = pytest.mark.process


def test_hz_measures_the_rate_and_the_size(pool: DriverProcess, camera: Command) -> None:
    outcome = pool.run("hz", "10000", "--duration", "1.5", "--json")
    assert outcome.status == 0, outcome
    last = outcome.json_lines[-1]
    assert last["frames"] > 2
    assert last["bytes_per_s"] == pytest.approx(last["rate_hz"] * 7200)


def test_hz_is_1_when_nothing_comes(pool: DriverProcess) -> None:
    outcome = pool.run("hz", "10001", "--duration", "0.1")
    assert outcome.status == 1
    assert "stream 10001" in outcome.stderr


def test_hz_ends_with_ctrl_c_in_order(pool: DriverProcess, camera: Command) -> None:
    with pool.running("hz", "10000") as command:
        assert command.process.stdout is not None
        while (line := command.process.stdout.readline()) and " Hz " not in line:
            pass
        command.interrupt()
        outcome = command.outcome()
    assert outcome.status == 0
    assert "Traceback" not in outcome.stderr


def test_echo_once_prints_shape_type_and_statistics(pool: DriverProcess, camera: Command) -> None:
    outcome = pool.run("echo", "10000", "--once", "--json")
    assert outcome.status == 0, outcome
    (line,) = outcome.json_lines
    assert line["shape"] == [40, 60, 3]
    assert line["dtype"] == "uint8"
    assert line["nbytes"] == 7200
    assert line["mean"] == pytest.approx(pixels().mean())
    assert line["meta_version"] >= 1


def test_echo_counts_lines_for_people(pool: DriverProcess, camera: Command) -> None:
    outcome = pool.run("echo", "10000", "--count", "3", "--no-stats")
    assert outcome.status == 0, outcome
    assert len(outcome.stdout.splitlines()) == 3
    assert "uint8 40x60x3" in outcome.stdout


def test_echo_of_a_stream_that_does_not_exist_prints_why_it_waits(pool: DriverProcess) -> None:
    outcome = pool.run("echo", "9999", "--once", "--idle", "0.5")
    assert outcome.status == 1
    waiting, refused = outcome.stderr.splitlines()
    assert waiting == "tensor-pool: stream 9999: stream not provisioned; waiting for a producer"
    assert refused.startswith("tensor-pool: stream 9999: attach refused by the driver")


def test_echo_is_1_when_no_driver_answers(pool: DriverProcess) -> None:
    outcome = pool.run("echo", "10000", "--timeout", "0.2", "--control-stream-id", "1999")
    assert outcome.status == 1
    assert "no driver answered on aeron:ipc?term-length=4m stream 1999" in outcome.stderr


def test_echo_gives_up_after_the_idle_time(pool: DriverProcess) -> None:
    outcome = pool.run("echo", "10001", "--once", "--idle", "0.1")
    assert outcome.status == 1
    assert "stream 10001" in outcome.stderr


def test_a_reader_that_leaves_ends_echo_without_a_traceback(
    pool: DriverProcess, camera: Command
) -> None:
    line = f"{sys.executable} -m tensor_pool.cli echo 10000 --config {pool.config} | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 141
    assert done.stderr == ""
    assert "uint8" in done.stdout


def test_view_saves_the_frame_as_it_was_published(
    pool: DriverProcess, camera: Command, tmp_path: Path
) -> None:
    outcome = pool.run("view", "10000", "--png", str(tmp_path / "frame.png"))
    assert outcome.status == 0, outcome
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "frame.png")), pixels())


def test_S_133_view_shows_the_colours_that_the_stream_has(
    pool: DriverProcess, tmp_path: Path
) -> None:
    with pool.client() as client, client.producer(10001) as bgr:
        bgr.set_image_format("bgr8")
        arguments = ("view", "10001", "--png", str(tmp_path / "frame.png"))
        with pool.running(*arguments) as view:
            until(lambda: publish_until_ended(bgr, view), "the end of `view`")
            outcome = view.outcome()
    assert outcome.status == 0, outcome
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "frame.png")), pixels())


def publish_until_ended(bgr: Producer, view: Command) -> bool:
    bgr.publish(np.ascontiguousarray(pixels()[:, :, ::-1]))
    return view.process.poll() is not None


def test_view_draws_the_frame_in_the_terminal(pool: DriverProcess, camera: Command) -> None:
    outcome = pool.run("view", "10000", "--width", "30")
    assert outcome.status == 0, outcome
    *lines, title = outcome.stdout.splitlines()
    assert len(lines) == 10  # 30 x 20 pixels, two above each other
    assert all(line.count("▀") == 30 for line in lines)
    assert "uint8 40x60x3" in title


def test_view_into_a_directory_that_is_not_there_is_one_line(
    pool: DriverProcess, camera: Command, tmp_path: Path
) -> None:
    outcome = pool.run("view", "10000", "--png", str(tmp_path / "no" / "frame.png"))
    assert outcome.status == 1
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize("stream", ["camera left", "", "kamera/größe"])
def test_a_stream_that_is_neither_a_number_nor_a_name_is_wrong_usage(stream: str) -> None:
    assert run("echo", stream).status == 2
