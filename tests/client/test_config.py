"""Defaults and limits of the client's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from tensor_pool.client.client import Client
from tensor_pool.client.config import ClientConfig
from tensor_pool.client.consumer.options import ConsumerOptions
from tensor_pool.protocol.errors import ConfigError, ShmError
from tensor_pool.protocol.wire import HugepagesPolicy, Mode, PublishMode
from tests.client.world import STREAM, World


def test_C_004_defaults() -> None:
    """C-004, and the client's part of W-231."""
    config = ClientConfig()
    assert config.aeron_dir is None
    assert (config.control_channel, config.control_stream_id) == ("aeron:ipc?term-length=4m", 1000)
    assert (config.announce_channel, config.announce_stream_id) == (config.control_channel, 1000)
    assert config.descriptor_stream_id == 1100
    assert config.qos_stream_id == 1200
    assert config.metadata_stream_id == 1300
    assert config.allowed_base_dirs == ("/dev/shm/tensorpool",)
    assert config.expected_layout_version == 1
    assert config.hugepages is HugepagesPolicy.UNSPECIFIED
    assert (config.attach_timeout, config.response_timeout) == (None, 1)
    assert (config.backoff_base, config.backoff_max) == (0.1, 3.2)
    assert config.retry_refused
    assert config.auto_reattach
    assert config.reattach_after_shutdown == 1
    assert config.keepalive_interval == 1
    assert (config.detach_timeout, config.detach_attempts) == (1, 3)
    assert config.announce_freshness == config.announce_wait == 3
    assert config.driver_liveness_timeout == 5
    assert (config.hello_interval, config.qos_interval) == (1, 1)
    assert config.max_outstanding_seq_gap == 256
    assert config.max_loans == 8
    assert (config.progress_interval_us, config.progress_bytes, config.progress_units) == (
        250,
        65536,
        0,
    )
    assert not config.mlock
    assert config.fragment_limit == 10


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("aeron_dir", "relative/dir"),
        ("control_stream_id", 0),
        ("announce_stream_id", -1),
        ("descriptor_stream_id", 2**31),
        ("qos_stream_id", 0),
        ("metadata_stream_id", 0),
        ("allowed_base_dirs", ()),
        ("allowed_base_dirs", ("relative",)),
        ("expected_layout_version", 2),
        ("attach_timeout", 0),
        ("response_timeout", 0),
        ("response_timeout", 6),
        ("backoff_base", 0),
        ("backoff_max", 0.05),
        ("reattach_after_shutdown", -1),
        ("keepalive_interval", 0),
        ("detach_timeout", 0),
        ("detach_attempts", 0),
        ("announce_period", 0),
        ("announce_freshness", 0),
        ("announce_wait", 0),
        ("driver_liveness_timeout", 2.9),
        ("hello_interval", 0),
        ("qos_interval", 0),
        ("max_outstanding_seq_gap", -1),
        ("max_loans", 0),
        ("progress_interval_us", -1),
        ("progress_bytes", -1),
        ("progress_units", -1),
        ("fragment_limit", 0),
        ("fragment_limit", 1001),
    ],
)
def test_C_004_each_violation_names_the_parameter(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        ClientConfig(**{name: value})


def test_C_004_every_value_can_be_set_and_read_back() -> None:
    changes = {
        "announce_period": 0.5,
        "announce_freshness": 2.0,
        "announce_wait": 2.5,
        "driver_liveness_timeout": 4.0,
        "hello_interval": 0.3,
        "qos_interval": 0.4,
        "max_outstanding_seq_gap": 0,
        "mlock": True,
    }
    config = ClientConfig(**changes)
    assert {name: getattr(config, name) for name in changes} == changes


def test_C_004_the_error_for_a_missing_base_directory_has_a_remedy(world: World) -> None:
    config = ClientConfig(allowed_base_dirs=("/dev/shm/tp-none-such",))
    with pytest.raises(ConfigError, match="start `tensor-pool driver` first"):
        Client(config, transport=world.network.transport("x"))


def test_C_004_max_loans_is_at_most_half_the_ring(world: World) -> None:
    world.driver.add_stream(STREAM, nslots=8)
    client = world.client(max_loans=5, attach_timeout=1.0)
    with pytest.raises(ConfigError, match="max_loans"):
        client.producer(STREAM)
    assert world.client(max_loans=4).producer(STREAM).poll_ready()


def test_C_002_the_environment_has_no_effect(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AERON_DIR", "CONTROL_STREAM_ID", "SHM_BASE_DIR", "CLIENT_ID"):
        for prefix in ("TP_", "DRIVER_"):
            monkeypatch.setenv(prefix + name, "nonsense")
    producer, _ = world.pair()
    assert producer.poll_ready()
    assert producer._client.config.control_stream_id == 1000


def test_the_publish_mode_of_each_role_is_as_documented(world: World) -> None:
    """C-004 and C-035."""
    world.pair()
    modes = [request.publish_mode for request in world.driver.attach_requests]
    assert modes == [PublishMode.EXISTING_OR_CREATE, PublishMode.REQUIRE_EXISTING]


def test_C_096_a_rate_limited_consumer_needs_a_rate() -> None:
    with pytest.raises(ConfigError, match="max_rate_hz"):
        ConsumerOptions(mode=Mode.RATE_LIMITED)


@pytest.mark.parametrize("half", ["descriptor", "control"])
def test_C_098_a_channel_with_token_zero_is_refused(half: str) -> None:
    with pytest.raises(ConfigError, match=f"{half}_token"):
        ConsumerOptions(**{f"{half}_channel": "aeron:ipc", f"{half}_token": 0})
    ConsumerOptions(**{f"{half}_channel": "aeron:ipc", f"{half}_token": 1})


def test_mapping_outside_the_allowed_directories_fails_the_attach(
    world: World, tmp_path: Path
) -> None:
    client = world.client(allowed_base_dirs=(str(tmp_path),), attach_timeout=1.0)
    with pytest.raises(ShmError):
        client.consumer(STREAM, attach_timeout=5)
