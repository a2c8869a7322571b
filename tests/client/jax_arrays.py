"""Arrays of JAX in and out, with JAX itself: `make test-jax`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tests.client.world import World

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"  # read at the first array


@pytest.fixture
def wide() -> Iterator[None]:
    """Types of 64 bits."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def split() -> Any:
    """An array on two devices."""
    mesh = Mesh(np.array(jax.devices()), ("x",))
    return jax.device_put(jnp.arange(8.0), NamedSharding(mesh, PartitionSpec("x")))


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "?"])
def test_a_frame_is_an_array_of_jax_and_back(world: World, wide: None, dtype: str) -> None:
    """C-074: no copy, except of truth values, which a Frame copies to check them."""
    producer, consumer = world.pair()
    given = jnp.array(np.arange(6).reshape(2, 3) % 2, dtype)
    producer.publish(given)
    frame = consumer.poll()
    taken = jnp.from_dlpack(frame)
    assert (taken.shape, taken.dtype) == (given.shape, given.dtype)
    assert (taken == given).all()
    assert (taken.unsafe_buffer_pointer() == frame.array.ctypes.data) is (dtype != "?")


@pytest.mark.parametrize(
    "strided",
    [lambda a: a.T, np.asfortranarray, lambda a: a[:, ::2], lambda a: a[::-1], lambda a: a[:0]],
    ids=["transposed", "column-major", "every-second", "backwards", "empty"],
)
def test_strides_are_kept_in_both_directions(world: World, strided: Callable[[Any], Any]) -> None:
    producer, consumer = world.pair()
    plain = np.arange(24, dtype=np.float32).reshape(4, 6)
    for given in (strided(plain), strided(jnp.asarray(plain))):
        producer.publish(given)
        taken = jnp.from_dlpack(consumer.poll())
        assert np.array_equal(taken, strided(plain))


def test_donated_memory_of_a_frame_is_not_written(world: World) -> None:
    producer, consumer = world.pair()
    producer.publish(np.ones((2, 3), np.float32))
    frame = consumer.poll()
    raised = jax.jit(lambda image: image + 1, donate_argnums=0)(jnp.from_dlpack(frame))
    assert (raised == 2).all()
    assert (frame.array == 1).all()


def test_without_64_bits_jax_narrows_integers(world: World) -> None:
    producer, consumer = world.pair()
    producer.publish(np.array([2**40 + 7]))
    taken = jnp.from_dlpack(consumer.poll())
    assert (taken.dtype, int(taken[0])) == (jnp.int32, 7)


@pytest.mark.parametrize(
    ("make", "text", "remedy"),
    [
        (lambda: jnp.ones(3, jnp.bfloat16), "Unsupported dtype", lambda a: a.astype("float32")),
        (lambda: jnp.ones(3, jnp.float8_e4m3fn), "Unsupported", lambda a: a.astype("float32")),
        (split, "Sharding over 2 devices", jax.device_get),
        (lambda: jax.random.key(0), "PRNGKey", jax.random.key_data),
    ],
    ids=["bfloat16", "float8", "two-devices", "key"],
)
def test_C_074_arrays_that_cannot_be_sent_are_refused_with_the_remedy(
    world: World, make: Callable[[], Any], text: str, remedy: Callable[[Any], Any]
) -> None:
    producer, consumer = world.pair()
    given = make()
    with pytest.raises(ValueError, match=rf"(?s)has no NumPy array: .*{text}.*of JAX by"):
        producer.publish(given)
    assert producer.publish(remedy(given))
    assert np.array_equal(consumer.poll().array, remedy(given))


def test_within_jit_an_array_is_published_by_a_callback(world: World) -> None:
    producer, consumer = world.pair()
    with pytest.raises(ValueError, match=r"(?s)Abstract tracer .* of JAX by"):
        jax.jit(producer.publish)(jnp.ones(3))

    def doubled(image: Any) -> Any:
        jax.debug.callback(producer.publish, image)
        return image * 2

    jax.jit(doubled)(jnp.ones(3))
    jax.effects_barrier()
    assert consumer.poll().array.tolist() == [1, 1, 1]
