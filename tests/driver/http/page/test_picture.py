"""Arrays as pictures by their image format (S-133)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensor_pool.client import ImageFormat
from tensor_pool.driver.http.page.picture import picture_of, sampled

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def image(encoding: str, **more: Any) -> ImageFormat:
    return ImageFormat(encoding=encoding, **more)


def test_S_133_orders_of_colours() -> None:
    pixel = np.array([[[1, 2, 3]]], np.uint8)
    assert picture_of(pixel, image("rgb8")).tolist() == [[[1, 2, 3]]]
    assert picture_of(pixel, image("bgr8")).tolist() == [[[3, 2, 1]]]
    pixel = np.array([[[1, 2, 3, 4]]], np.uint8)
    assert picture_of(pixel, image("bgra8")).tolist() == [[[3, 2, 1, 4]]]
    planes = np.array([[[1]], [[2]], [[3]]], np.uint8)
    assert picture_of(planes, image("bgr8", planes=3)).tolist() == [[[3, 2, 1]]]
    row = np.arange(12, dtype=np.uint8)
    shown = picture_of(row, image("bgr8", width=2, height=2))
    assert shown.tolist() == [[[2, 1, 0], [5, 4, 3]], [[8, 7, 6], [11, 10, 9]]]


@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_S_133_a_mosaic_has_its_colours(order: str, bits: int) -> None:
    dtype = np.uint8 if bits == 8 else np.uint16
    values = {"r": 255, "g": 100, "b": 0}
    cell = np.array([values[c] for c in order], dtype).reshape(2, 2)
    shown = picture_of(np.tile(cell, (3, 4)), image(f"bayer_{order}{bits}"))
    assert shown.shape == (6, 8, 3)
    assert np.unique(shown.reshape(-1, 3), axis=0).tolist() == [[255, 100, 0]]


@pytest.mark.parametrize(("encoding", "order"), [("yuv422", "uyvy"), ("yuv422_yuy2", "yuyv")])
def test_S_133_yuv_has_its_colours(encoding: str, order: str) -> None:
    pixels = {RED: (81, 90, 240), GREEN: (145, 54, 34), BLUE: (41, 240, 110)}
    for colour, (y, u, v) in pixels.items():
        pair = [[y, u], [y, v]] if order == "yuyv" else [[u, y], [v, y]]
        shown = picture_of(np.array([pair * 2] * 2, np.uint8), image(encoding))
        assert shown.shape == (2, 4, 3)
        assert np.abs(shown.astype(int) - colour).max() <= 3


@pytest.mark.parametrize(
    ("array", "encoding"),
    [
        (np.zeros((4, 4, 3), np.uint8), "mono8"),
        (np.zeros((4, 4), np.uint8), "rgb8"),
        (np.arange(48, dtype=np.float32).reshape(4, 4, 3), "bgr8"),
        (np.arange(48, dtype=np.uint8).reshape(4, 4, 3), "bayer_rggb8"),
        (np.zeros((1, 1), np.uint8), "bayer_rggb8"),
        (np.zeros((4, 4, 2), np.uint8), "jpeg"),
        (np.zeros((5,), np.uint8), "rgb8"),
        (np.zeros((2, 2, 4, 4), np.uint8), "rgb8"),
    ],
    ids=str,
)
def test_S_133_an_array_that_does_not_fit_is_shown_without_the_format(
    array: np.ndarray[Any, Any], encoding: str
) -> None:
    assert np.array_equal(picture_of(array, image(encoding)), picture_of(array))


@pytest.mark.parametrize(
    ("shape", "encoding", "planes", "expected"),
    [
        ((90, 120, 3), "bgr8", 1, (30, 40, 3)),
        ((3, 90, 120), "bgr8", 3, (3, 30, 40)),
        ((90, 120), "bayer_rggb8", 1, (30, 40)),
        ((91, 121), "bayer_rggb8", 1, (30, 40)),
        ((90, 120, 2), "yuv422", 1, (30, 40, 2)),
        ((10, 10), "bayer_rggb8", 1, (10, 10)),
    ],
)
def test_S_133_pixels_are_left_out_without_breaking_a_pattern(
    shape: tuple[int, ...], encoding: str, planes: int, expected: tuple[int, ...]
) -> None:
    array = np.zeros(shape, np.uint8)
    format_ = image(encoding, planes=planes)
    assert sampled(array, format_, 40, 30).shape == expected
    if encoding == "bayer_rggb8":
        array[::2, ::2], array[1::2, 1::2] = 255, 9
        shown = picture_of(sampled(array, format_, 40, 30), format_)
        assert np.unique(shown.reshape(-1, 3), axis=0).tolist() == [[255, 0, 9]]
