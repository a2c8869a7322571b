"""The parts of the page's own client: thumbnails, and the life of its process."""

from __future__ import annotations

import asyncio
import base64
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tensor_pool.client import ClientConfig
from tensor_pool.driver.http.page import viewer_process
from tensor_pool.driver.http.page.thumbnail import thumbnail_of
from tensor_pool.driver.http.page.viewer_process import ViewerProcess


class StillFrame:
    """A frame whose producer has or has not come round meanwhile."""

    def __init__(self, array: np.ndarray[Any, Any], valid: bool = True) -> None:
        self.array = array
        self.valid = valid


def picture(array: np.ndarray[Any, Any]) -> Image.Image:
    url = thumbnail_of(StillFrame(array))  # type: ignore[arg-type]
    assert url is not None
    head, _, data = url.partition(",")
    assert head in ("data:image/jpeg;base64", "data:image/png;base64")
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(
    ("shape", "dtype", "size"),
    [
        ((480, 640, 3), np.uint8, (480, 360)),
        ((2160, 3840, 3), np.uint8, (480, 270)),
        ((2160, 3840), np.uint16, (480, 270)),
        ((240, 320), np.float32, (320, 240)),
        ((3, 600, 800), np.float32, (480, 360)),
        ((5, 600, 800), np.int32, (480, 360)),
        ((2, 3, 100, 100), np.float16, (100, 100)),
        ((100, 100, 4), np.uint8, (100, 100)),
        ((100, 100), np.bool_, (100, 100)),
        ((1000,), np.float64, (480, 1)),
        ((1,), np.int8, (1, 1)),
        ((), np.int64, (1, 1)),
        ((0,), np.uint8, (1, 1)),
        ((0, 640, 3), np.uint8, (1, 1)),
        ((2, 3, 0, 100), np.float32, (1, 1)),
    ],
)
def test_any_tensor_becomes_a_small_picture(
    shape: tuple[int, ...], dtype: type[Any], size: tuple[int, int]
) -> None:
    assert picture(np.ones(shape, dtype)).size == size


def test_colours_are_those_of_the_frame() -> None:
    array = np.zeros((200, 300, 3), np.uint8)
    array[:, :150] = (250, 20, 10)
    small = picture(array).convert("RGB")
    left, right = small.getpixel((40, 100)), small.getpixel((260, 100))
    assert np.allclose(left, (250, 20, 10), atol=10)  # type: ignore[arg-type]
    assert np.allclose(right, (0, 0, 0), atol=10)  # type: ignore[arg-type]


def test_a_frame_that_was_overwritten_meanwhile_is_not_shown() -> None:
    frame = StillFrame(np.ones((100, 100), np.uint8), valid=False)
    assert thumbnail_of(frame) is None  # type: ignore[arg-type]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets another program take the place of the viewer."""

    def replace(code: str) -> None:
        program = tmp_path / "program"
        program.write_text(f"#!{sys.executable} -S\nimport sys, json, time\n{code}\n")
        program.chmod(0o700)
        monkeypatch.setattr(viewer_process.sys, "executable", str(program))

    return replace


def run(viewer: ViewerProcess, enough: Callable[[list[dict[str, Any]]], bool]) -> list[Any]:
    """Return its output until that is enough."""

    async def until_enough() -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = []
        async with asyncio.timeout(20):
            viewer.open(heard.append)
            while not enough(heard):
                await asyncio.sleep(0.005)
            await viewer.close()
        return heard

    return asyncio.run(until_enough())


ECHO = "for line in sys.stdin: print(json.dumps({'got': json.loads(line)}), flush=True)"


@pytest.mark.process
def test_the_process_gets_its_configuration_and_the_streams(
    stand_in: Callable[[str], None],
) -> None:
    stand_in(ECHO)
    viewer = ViewerProcess(ClientConfig(control_stream_id=4321))
    viewer.look_at([8, 7])
    heard = run(viewer, lambda heard: len(heard) >= 2)
    assert heard[0]["got"]["control_stream_id"] == 4321
    assert heard[1]["got"] == {"streams": [7, 8]}


@pytest.mark.process
def test_D_199_bytes_behind_a_line_are_part_of_its_message(
    stand_in: Callable[[str], None],
) -> None:
    stand_in(
        "body = bytes(range(256)) * 30000\n"
        "sys.stdout.buffer.write(json.dumps({'body_bytes': len(body)}).encode() + b'\\n' + body)\n"
        "print('{}', flush=True); sys.stdin.read()"
    )
    heard = run(ViewerProcess(ClientConfig()), lambda heard: len(heard) >= 2)
    assert heard[0] == {"body": bytes(range(256)) * 30000}
    assert heard[1] == {}


@pytest.mark.process
def test_a_process_that_dies_is_started_again(
    stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer_process, "_RESTART_S", 0.0)
    stand_in("print('{}', flush=True); sys.exit(1)")
    assert len(run(ViewerProcess(ClientConfig()), lambda heard: len(heard) >= 3)) >= 3


@pytest.mark.process
def test_a_process_that_does_not_end_is_killed(
    stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer_process, "_END_S", 0.05)
    stand_in("print('{}', flush=True)\nwhile True: time.sleep(1)")
    assert run(ViewerProcess(ClientConfig()), lambda heard: len(heard) >= 1)


@pytest.mark.process
def test_a_process_that_cannot_be_started_is_reported_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(viewer_process, "_RESTART_S", 0.0)
    monkeypatch.setattr(viewer_process.sys, "executable", "/nowhere/python")
    run(ViewerProcess(ClientConfig()), lambda heard: len(caplog.records) >= 2)
    assert "cannot be started" in caplog.text
