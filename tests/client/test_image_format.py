"""Image formats and frames of several parts (§5a of services)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_pool.client import ENCODINGS, AttributeValue, Consumer, ImageFormat, Producer
from tensor_pool.client.frame_parts import PARTS_KEY, parse_parts
from tensor_pool.client.image_format import image_format_of
from tests.client.pool_world import LEFT, PoolWorld

STEREO = np.dtype([("rgb", "u1", (4, 6, 3)), ("depth", "<f4", (4, 6)), ("pose", "<f8", (4, 4))])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PoolWorld]:
    world = PoolWorld(tmp_path)
    yield world
    world.close()


@pytest.fixture
def ends(world: PoolWorld) -> tuple[Producer, Consumer]:
    return world.client().producer(LEFT), world.client().consumer(LEFT)


def received(world: PoolWorld, ends: tuple[Producer, Consumer]) -> Consumer:
    world.run(0.1)
    return ends[1]


def test_S_130_the_format_is_attributes_of_the_metadata(
    world: PoolWorld, ends: tuple[Producer, Consumer]
) -> None:
    """S-130, S-132"""
    camera = ends[0]
    assert received(world, ends).image_format is None
    camera.set_image_format("bgr8", width=640, height=480, planes=3, color_space="sRGB")
    viewer = received(world, ends)
    assert viewer.metadata is not None
    assert {key: value.text for key, value in (viewer.metadata.attributes or {}).items()} == {
        "image.encoding": "bgr8",
        "image.width": "640",
        "image.height": "480",
        "image.planes": "3",
        "image.color_space": "sRGB",
    }
    assert viewer.image_format == ImageFormat(
        encoding="bgr8", width=640, height=480, planes=3, color_space="sRGB"
    )


def test_S_132_a_format_stays_and_one_call_is_one_version(
    world: PoolWorld, ends: tuple[Producer, Consumer]
) -> None:
    camera = ends[0]
    camera.set_image_format("bayer_rggb8", width=640, height=480)
    camera.set_image_format("bayer_rggb8", width=640, height=480)
    assert camera.metadata_version == 1
    camera.set_metadata("camera/left", attributes={"exposure_us": 800}, tags=["a"])
    assert camera.metadata_version == 2
    assert received(world, ends).image_format == ImageFormat(
        encoding="bayer_rggb8", width=640, height=480
    )
    camera.set_image_format("mono8")
    assert received(world, ends).image_format == ImageFormat(encoding="mono8")
    assert camera.metadata_version == 3
    camera.set_image_format(None)
    viewer = received(world, ends)
    assert viewer.image_format is None
    assert viewer.metadata is not None
    assert set(viewer.metadata.attributes or {}) == {"exposure_us", "tags"}


def test_S_132_attributes_that_are_given_replace_the_format(
    world: PoolWorld, ends: tuple[Producer, Consumer]
) -> None:
    ends[0].set_image_format("rgb8")
    ends[0].set_metadata("camera", attributes={"image.encoding": "bgr8"})  # as `replay` does
    assert received(world, ends).image_format == ImageFormat(encoding="bgr8")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"encoding": "bgr"}, "'bgr' is not known; did you mean bgr"),
        ({"encoding": "RGB8"}, "'RGB8' is not known"),
        ({"encoding": ""}, "see ENCODINGS"),
        ({"encoding": "rgb8", "planes": 2}, "planes: 2 must be 1 or, one for each value, 3"),
        ({"encoding": "rgb8", "width": -1}, "width: -1"),
        ({"encoding": "rgb8", "height": 1 << 31}, "height: 2147483648"),
    ],
)
def test_S_131_what_is_not_of_the_vocabulary_is_refused(
    ends: tuple[Producer, Consumer], arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        ends[0].set_image_format(**arguments)
    assert ends[0].metadata_version == 0


def test_S_131_the_vocabulary_is_that_of_ros() -> None:
    assert {"mono8", "mono16", "rgb8", "bgr8", "rgba8", "bgra8", "rgb16"} <= set(ENCODINGS)
    assert {"bayer_rggb8", "bayer_bggr16", "yuv422", "yuv422_yuy2"} <= set(ENCODINGS)
    assert {"8UC1", "16UC1", "16SC2", "32FC1", "64FC4"} <= set(ENCODINGS)
    layouts = {name: (each.dtype, each.channels, each.order) for name, each in ENCODINGS.items()}
    assert layouts["16UC1"] == ("uint16", 1, "")
    assert layouts["32FC3"] == ("float32", 3, "")
    assert layouts["bgra16"] == ("uint16", 4, "bgr")
    assert layouts["bayer_gbrg8"] == ("uint8", 1, "gbrg")
    assert layouts["yuv422"] == ("uint8", 2, "uyvy")


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        (None, None),
        ({}, None),
        ({"image.width": "5"}, None),
        ({"image.encoding": "jpeg"}, ImageFormat(encoding="jpeg")),
        ({"image.encoding": "rgb8", "image.width": "-5"}, ImageFormat(encoding="rgb8")),
        ({"image.encoding": "rgb8", "image.planes": "9" * 30}, ImageFormat(encoding="rgb8")),
        ({"image.encoding": "rgb8", "image.height": "²"}, ImageFormat(encoding="rgb8")),
    ],
    ids=str,
)
def test_S_130_attributes_of_others_are_read_as_far_as_they_can_be(
    attributes: dict[str, str] | None, found: ImageFormat | None
) -> None:
    values = attributes and {
        k: AttributeValue("text/plain", v.encode()) for k, v in attributes.items()
    }
    assert image_format_of(values if attributes is not None else None) == found


def test_S_134_parts_have_one_time_and_are_neither_copied_nor_torn(
    world: PoolWorld, ends: tuple[Producer, Consumer]
) -> None:
    camera = ends[0]
    camera.set_parts(STEREO)
    with camera.loan((STEREO.itemsize,), np.uint8) as loan:
        parts = loan.array.view(STEREO)[0]
        parts["rgb"] = 7
        parts["depth"] = np.arange(24).reshape(4, 6)
        parts["pose"] = np.eye(4)
        loan.commit(timestamp_ns=5)
    viewer = received(world, ends)
    assert viewer.parts == STEREO
    frame = viewer.poll()
    assert frame is not None
    assert frame.timestamp_ns == 5
    found = frame.array.view(viewer.parts)[0]
    assert (found["rgb"] == 7).all()
    assert np.array_equal(found["depth"], np.arange(24).reshape(4, 6))
    assert np.array_equal(found["pose"], np.eye(4))
    assert np.shares_memory(found["depth"], frame.array)


def test_S_134_parts_and_an_image_format_stand_beside_each_other(
    world: PoolWorld, ends: tuple[Producer, Consumer]
) -> None:
    camera = ends[0]
    camera.set_parts(np.dtype([("a", "u1"), ("b", "<i2", (2,))], align=True))
    camera.set_image_format("rgb8")
    camera.set_metadata("camera")
    viewer = received(world, ends)
    assert viewer.image_format is not None
    assert viewer.parts == np.dtype([("a", "u1"), ("b", "<i2", (2,))], align=True)
    camera.set_parts(None)
    viewer = received(world, ends)
    assert (viewer.parts, viewer.image_format) == (None, ImageFormat(encoding="rgb8"))


@pytest.mark.parametrize(
    "dtype", ["u1", [("a", "O")], [("a", ">f4")], [("a", [("b", "u1")])], [("a", "U3")]], ids=str
)
def test_S_134_what_cannot_be_shared_is_refused(
    ends: tuple[Producer, Consumer], dtype: Any
) -> None:
    with pytest.raises(ValueError, match="parts: "):
        ends[0].set_parts(np.dtype(dtype))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"nbytes": 8, "parts": [{"name": "a", "dtype": "O", "shape": [], "offset": 0}]}',
        '{"nbytes": 4, "parts": [{"name": "a", "dtype": "<f8", "shape": [], "offset": 0}]}',
        '{"nbytes": 4, "parts": [{"name": "a", "dtype": "<f4", "shape": [], "offset": -4}]}',
        '{"nbytes": 4, "parts": [{"name": "a", "dtype": "<f4", "shape": [-1], "offset": 0}]}',
        '{"nbytes": 1e99, "parts": []}',
        " " * 70_000,
    ],
    ids=lambda text: text[:60],
)
def test_S_134_a_description_that_is_not_sound_is_none(text: str) -> None:
    attributes = {PARTS_KEY: AttributeValue("application/json", text.encode())}
    assert parse_parts(attributes) is None


def test_S_135_half_precision_travels_as_its_bits(
    world: PoolWorld, ends: tuple[Producer, Consumer]
) -> None:
    """float16 is viewed in place; bfloat16 is the upper half of a float32."""
    producer, consumer = ends
    producer.set_attribute("element.dtype", "text/plain", "float16")
    weights = np.linspace(-2, 2, 9, dtype=np.float16)
    producer.publish(weights.view(np.uint16))
    received(world, ends)
    frame = consumer.poll()
    assert frame is not None
    assert consumer.metadata is not None
    named = consumer.metadata.attributes["element.dtype"].value.decode()
    halves = frame.array.view(named)
    assert np.shares_memory(halves, frame.array)
    assert halves.tolist() == weights.tolist()
    exact = np.array([1.0, -2.5, 3.140625], np.float32)
    producer.publish((exact.view(np.uint32) >> 16).astype(np.uint16))
    received(world, ends)
    frame = consumer.poll()
    assert frame is not None
    assert (frame.array.astype(np.uint32) << 16).view(np.float32).tolist() == exact.tolist()
