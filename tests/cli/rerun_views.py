"""Live streams and recordings as Rerun's own readers find them: `make test-rerun`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rerun.chunk import McapReader, RrdReader

from tensor_pool.cli.media.rerun_images import rerun_image, rerun_recording
from tensor_pool.client.image_format import ImageFormat
from tests.cli.conftest import pixels
from tests.cli.pools import Command, DriverProcess, until
from tests.cli.test_recordings_of_several import with_images


def columns(chunks: Any, entity: str, name: str) -> list[Any]:
    """The values of a column of an entity."""
    found = []
    for chunk in chunks:
        batch = chunk.to_record_batch()
        if chunk.entity_path == entity and name in batch.schema.names:
            found += [value[0] for value in batch.column(name).to_pylist() if value]
    return found


@pytest.mark.process
def test_a_live_stream_is_logged_with_its_pixels_and_sequences(
    pool: DriverProcess, camera: Command, tmp_path: Path
) -> None:
    out = tmp_path / "run.rrd"
    with pool.running("view", "10000", "--rerun", str(out)) as viewer:
        until(lambda: out.exists() and out.stat().st_size > 30_000, "some frames in the file")
        viewer.interrupt()
        outcome = viewer.outcome()
    assert outcome.status == 0, outcome
    assert "logged " in outcome.stdout
    chunks = list(RrdReader(out).stream())
    buffers = columns(chunks, "/cam", "Image:buffer")
    assert len(buffers) > 2
    assert all(bytes(buffer) == pixels().tobytes() for buffer in buffers)
    formats = columns(chunks, "/cam", "Image:format")
    assert {(f["width"], f["height"]) for f in formats} == {(60, 40)}
    assert columns(chunks, "/cam/lost", "Scalars:scalars")


@pytest.mark.parametrize(
    ("encoding", "dtype", "shape"),
    [
        ("bgr8", np.uint8, (4, 6, 3)),
        ("mono16", np.uint16, (4, 6)),
        ("32FC1", np.float32, (4, 6)),
        ("bayer_rggb8", np.uint8, (4, 6)),
        ("yuv422_yuy2", np.uint8, (4, 6, 2)),
        ("", np.int64, (4, 6)),
    ],
)
def test_pixels_of_every_encoding_are_kept(
    tmp_path: Path, encoding: str, dtype: type, shape: tuple[int, ...]
) -> None:
    array = (np.random.default_rng(3).random(shape) * 250).astype(dtype)
    image = ImageFormat(encoding=encoding) if encoding else None
    with rerun_recording(str(tmp_path / "run.rrd"), "test") as recording:
        recording.log("image", rerun_image(array, image))
    chunks = list(RrdReader(tmp_path / "run.rrd").stream())
    (buffer,) = columns(chunks, "/image", "Image:buffer")
    assert len(bytes(buffer)) == (array.nbytes if encoding else array.size)
    assert bytes(buffer) == array.tobytes() or not encoding


def test_rerun_reads_the_images_of_a_recording(tmp_path: Path) -> None:
    path, frames = with_images(tmp_path / "run.mcap")
    chunks = list(McapReader(path).stream())
    buffers = [bytes(b) for b in columns(chunks, "/left_camera", "Image:buffer")]
    assert buffers == [frames[n].payload for n in (0, 2, 4)]


def test_rerun_finds_no_fault_in_a_recording_that_has_an_end(tmp_path: Path) -> None:
    """A file without its end is refused, so this check can fail."""
    path, _ = with_images(tmp_path / "run.mcap")
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(path.read_bytes()[:-100])
    rerun = Path(sys.executable).with_name("rerun")
    verdicts = [
        subprocess.run([rerun, "mcap", "check", file], capture_output=True, text=True, check=False)
        for file in (path, cut)
    ]
    assert [verdict.returncode for verdict in verdicts] == [0, 1], verdicts
    assert "/left_camera" in verdicts[0].stdout
    assert "summary is missing" in verdicts[1].stderr
