"""Whole frames with their values, as the page's window gets them."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tensor_pool.client import ImageFormat
from tensor_pool.driver.http.page import pixels as pixels_module
from tensor_pool.driver.http.page.pixels import pixels_of

type Array = np.ndarray[Any, np.dtype[Any]]


class StillFrame:
    """A frame whose producer has or has not come round meanwhile."""

    seq = 7

    def __init__(self, array: Array, valid: bool = True) -> None:
        self.array = array
        self.shape = array.shape
        self.valid = valid


def unpacked(
    array: Array, image: ImageFormat | None = None
) -> tuple[dict[str, Any], Image.Image, Array]:
    body = pixels_of(StillFrame(array), image)  # type: ignore[arg-type]
    assert body is not None
    length = int.from_bytes(body[:4], "little")
    head = json.loads(body[4 : 4 + length])
    at = 4 + length + head["picture_bytes"]
    shape = (head["height"], head["width"])
    count = len(head["layers"])
    values = np.frombuffer(body[at:], head["dtype"])
    values = values.reshape((count, *shape) if head["planar"] else (*shape, count))
    return head, Image.open(io.BytesIO(body[4 + length : at])), values


@pytest.mark.parametrize(
    ("shape", "dtype", "layers", "planar"),
    [
        ((48, 64), np.uint16, ["value"], False),
        ((48, 64, 3), np.uint8, ["channel 0", "channel 1", "channel 2"], False),
        ((3, 48, 64), np.float32, ["plane 0", "plane 1", "plane 2"], True),
        ((2, 3, 8, 8), np.int64, [f"plane {n}" for n in range(6)], True),
        ((40, 9, 9), np.float64, [f"plane {n}" for n in range(16)], True),
        ((100,), np.int8, ["value"], False),
        ((), np.uint32, ["value"], False),
    ],
)
def test_D_199_values_are_those_of_the_frame(
    shape: tuple[int, ...], dtype: type[Any], layers: list[str], planar: bool
) -> None:
    array = np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)
    head, picture, values = unpacked(array)
    assert (head["seq"], head["step"], head["layers"]) == (7, 1, layers)
    assert head["planar"] is planar
    assert values.ravel().tolist() == array.ravel()[: values.size].tolist()
    assert picture.size == (head["width"], head["height"])


@pytest.mark.parametrize("shape", [(0,), (0, 3), (4, 0), (0, 8, 3), (2, 0, 4, 4)])
@pytest.mark.parametrize("image", [None, ImageFormat(encoding="rgb8", width=4, height=2)])
def test_D_199_a_frame_without_a_pixel_is_one_black_one(
    shape: tuple[int, ...], image: ImageFormat | None
) -> None:
    head, picture, values = unpacked(np.zeros(shape, np.uint16), image)
    assert head["shape"] == list(shape)
    assert values.ravel().tolist() == [0]
    assert (picture.size, picture.getpixel((0, 0))) == ((1, 1), 0)


@pytest.mark.parametrize(
    ("encoding", "channels", "layers"),
    [("mono8", 1, ["value"]), ("rgb8", 3, ["red", "green", "blue"]), ("bayer_rggb8", 1, ["value"])],
)
def test_D_199_a_flat_row_with_an_image_format_has_its_width_and_height(
    encoding: str, channels: int, layers: list[str]
) -> None:
    """D-199: as the picture beside the values."""
    row = np.arange(2 * 4 * channels, dtype=np.uint8)
    head, picture, values = unpacked(row, ImageFormat(encoding=encoding, width=4, height=2))
    assert (head["width"], head["height"], head["layers"]) == (4, 2, layers)
    assert picture.size == (4, 2)
    assert values.ravel().tolist() == row.tolist()


def test_D_199_bools_are_0_and_1() -> None:
    _, _, values = unpacked(np.array([[True, False]]))
    assert values.ravel().tolist() == [1, 0]


def test_D_199_layers_have_the_names_of_their_colours() -> None:
    pixel = np.array([[[1, 2, 3]]], np.uint8)
    head, picture, values = unpacked(pixel, ImageFormat(encoding="bgr8"))
    assert head["layers"] == ["blue", "green", "red"]
    assert values.ravel().tolist() == [1, 2, 3]
    assert picture.getpixel((0, 0)) == (3, 2, 1)


def test_D_199_of_a_large_frame_every_kth_pixel_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels_module, "_MOST_BYTES", 1000)
    array = np.arange(120 * 90, dtype=np.uint8).reshape(120, 90)
    head, _, values = unpacked(array)
    assert head["step"] == 4
    assert values[:, :, 0].tolist() == array[::4, ::4].tolist()


def test_D_199_a_frame_that_was_overwritten_meanwhile_is_not_sent() -> None:
    frame = StillFrame(np.ones((10, 10), np.uint8), valid=False)
    assert pixels_of(frame) is None  # type: ignore[arg-type]
