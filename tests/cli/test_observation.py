"""The state of a pool from the messages on its streams."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest

from tensor_pool.cli.media.pixels import half_blocks
from tensor_pool.cli.pool_view.heard import Observation
from tensor_pool.cli.pool_view.overview import overview_of
from tensor_pool.driver.http.page.picture import picture_of
from tensor_pool.protocol.wire import (
    ClockDomain,
    LeaseRevokeReason,
    Mode,
    PayloadPool,
    QosConsumer,
    QosProducer,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDriverShutdown,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    ShutdownReason,
)

SECOND = 1_000_000_000


def announce(epoch: int, producer_id: int = 0) -> ShmPoolAnnounce:
    return ShmPoolAnnounce(
        stream_id=7,
        producer_id=producer_id,
        epoch=epoch,
        announce_timestamp_ns=1,
        announce_clock_domain=ClockDomain.MONOTONIC,
        layout_version=1,
        header_nslots=8,
        header_slot_bytes=256,
        payload_pools=(PayloadPool(1, 8, 4096, "shm:file?path=/x/1.pool"),),
        header_region_uri="shm:file?path=/x/header.ring",
    )


def keepalive(lease_id: int, role: Role = Role.PRODUCER) -> ShmLeaseKeepalive:
    return ShmLeaseKeepalive(lease_id, 7, 40 + role, role, 1)


@pytest.fixture
def observation() -> Observation:
    return Observation(forget_after_ns=3 * SECOND)


def texts(observation: Observation) -> list[str]:
    return [event.text for event in observation.events]


def test_a_grant_is_known_from_request_and_response(observation: Observation) -> None:
    observation.hear(ShmAttachRequest(5, 7, 41, Role.PRODUCER, 1), 0)
    granted = ShmAttachResponse(5, ResponseCode.OK, lease_id=99, lease_expiry_timestamp_ns=8)
    observation.hear(granted, SECOND)
    lease = observation.leases[99]
    assert (lease.stream_id, lease.client_id, lease.role, lease.expiry_ns) == (7, 41, "PRODUCER", 8)
    assert texts(observation) == ["stream 7: lease 99 granted to producer 41"]


def test_a_response_whose_request_was_not_received_is_an_event_too(
    observation: Observation,
) -> None:
    observation.hear(ShmAttachResponse(5, ResponseCode.OK, lease_id=99, stream_id=7), 0)
    observation.hear(
        ShmAttachResponse(6, ResponseCode.REJECTED, error_message="stream draining"), 0
    )
    assert observation.leases == {}  # a keepalive will tell whose it is
    assert texts(observation) == [
        "stream 7: lease 99 granted",
        "an attach was refused: stream draining",
    ]


def test_a_refusal_is_an_event_with_its_reason(observation: Observation) -> None:
    observation.hear(ShmAttachRequest(5, 7, 41, Role.CONSUMER, 1), 0)
    refused = ShmAttachResponse(5, ResponseCode.REJECTED, error_message="stream not provisioned")
    observation.hear(refused, 1)
    assert observation.leases == {}
    assert texts(observation) == ["stream 7: consumer 41 refused: stream not provisioned"]


def test_a_lease_that_was_granted_before_is_known_from_its_keepalive(
    observation: Observation,
) -> None:
    observation.hear(keepalive(99), SECOND)
    assert observation.leases[99].heard_ns == SECOND
    observation.forget_the_silent(4 * SECOND)
    assert 99 in observation.leases
    observation.forget_the_silent(4 * SECOND + 1)
    assert observation.leases == {}


def test_a_notice_ends_a_lease_and_has_the_reason(observation: Observation) -> None:
    observation.hear(keepalive(99, Role.CONSUMER), 0)
    notice = ShmLeaseRevoked(1, 99, 7, 42, Role.CONSUMER, LeaseRevokeReason.EXPIRED)
    observation.hear(notice, 1)
    assert observation.leases == {}
    assert texts(observation) == ["stream 7: lease 99 of consumer 42 ended, expired"]


def test_a_new_epoch_is_an_event(observation: Observation) -> None:
    observation.hear(announce(3), 0)
    observation.hear(announce(4, producer_id=41), 1)
    observation.hear(announce(4, producer_id=41), 2)
    assert texts(observation) == [
        "stream 7: epoch 3",
        "stream 7: epoch 3 -> 4",
        "stream 7: producer client 41",
    ]


def test_the_end_of_the_driver_ends_all_leases(observation: Observation) -> None:
    observation.hear(announce(3), 1)
    observation.hear(keepalive(99), 1)
    observation.hear(ShmDriverShutdown(1, ShutdownReason.ADMIN, "maintenance"), 2)
    assert observation.leases == {}
    assert not observation.driver_heard_ns
    overview = overview_of(None, observation, source="", lease_duration_ns=SECOND)
    assert overview.driver.shutdown == "ADMIN"
    assert not overview.driver.responds
    observation.hear(announce(4), 3)
    overview = overview_of(None, observation, source="", lease_duration_ns=SECOND)
    assert (overview.driver.shutdown, overview.driver.responds) == (None, True)


def test_an_overview_of_received_messages_has_consumers_and_their_drops(
    observation: Observation,
) -> None:
    observation.hear(announce(3, producer_id=41), 0)
    observation.hear(keepalive(99), 0)
    observation.hear(keepalive(100, Role.CONSUMER), 0)
    observation.hear(QosConsumer(7, 42, 3, 10, 5, 2, Mode.RATE_LIMITED), 0)
    overview = overview_of(None, observation, source="", lease_duration_ns=SECOND)
    (stream,) = overview.streams
    (consumer,) = stream.consumers
    assert (stream.producer, stream.epoch, stream.drops) == (41, "3", 7)
    assert (consumer.client_id, consumer.mode, consumer.drops_late) == (42, "RATE_LIMITED", 2)
    assert [lease.role for lease in overview.leases] == ["PRODUCER", "CONSUMER"]
    assert len(overview.unknown) == 3


def test_S_050_an_overview_has_the_values_of_the_monitor(observation: Observation) -> None:
    observation.hear(announce(3, producer_id=41), 0)
    for second in range(3):
        now_ns = second * SECOND
        observation.hear(QosProducer(7, 41, 3, 30 * second), now_ns)
        observation.hear(QosConsumer(7, 42, 3, 30 * second, 4 * second, 0, Mode.STREAM), now_ns)
    observation.forget_the_silent(2 * SECOND)
    overview = overview_of(None, observation, source="", lease_duration_ns=SECOND)
    (stream,) = overview.streams
    (consumer,) = stream.consumers
    (reported,) = observation.qos.snapshot().streams
    assert reported.producer is not None
    assert (stream.rate_hz, stream.qos_state) == (30.0, "Healthy")
    assert (stream.rate_hz, stream.qos_state) == (
        reported.producer.rate_hz,
        reported.producer.state,
    )
    assert (consumer.drops_per_s, consumer.lag, consumer.qos_state) == (4.0, 0, "Dropping")
    (same,) = reported.consumers
    assert (consumer.drops_per_s, consumer.lag, consumer.qos_state) == (
        same.drops_per_s,
        same.lag,
        same.state,
    )


def test_S_051_a_rate_needs_two_reports(observation: Observation) -> None:
    observation.hear(QosProducer(7, 41, 3, 30), 0)
    observation.hear(announce(3, producer_id=41), 0)
    overview = overview_of(None, observation, source="", lease_duration_ns=SECOND)
    assert overview.streams[0].rate_hz is None


@pytest.mark.parametrize(
    ("shape", "dtype", "shown"),
    [
        ((4, 6), np.uint8, (4, 6)),
        ((4, 6, 1), np.uint8, (4, 6)),
        ((4, 6, 2), np.uint8, (4, 6, 4)),
        ((4, 6, 3), np.float32, (4, 6, 3)),
        ((3, 4, 6), np.uint8, (4, 6, 3)),
        ((9, 4, 6), np.int32, (4, 6)),
        ((2, 2, 4, 6, 3), np.uint16, (4, 6, 3)),
        ((5,), np.float64, (1, 5)),
        ((4, 6), np.bool_, (4, 6)),
    ],
)
def test_any_array_can_be_shown(shape: tuple[int, ...], dtype: type, shown: tuple) -> None:
    array = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    picture = picture_of(array)
    assert (picture.shape, picture.dtype) == (shown, np.uint8)


def test_values_that_are_not_numbers_do_not_disturb_a_picture() -> None:
    array = np.array([[np.nan, 1.0], [np.inf, 2.0]])
    assert picture_of(array).tolist() == [[0, 127], [0, 255]]
    assert picture_of(np.full((2, 2), 7.0)).tolist() == [[0, 0], [0, 0]]


def test_half_blocks_set_a_colour_only_where_it_changes() -> None:
    picture = np.zeros((3, 4, 3), np.uint8)
    picture[0, 2:] = (1, 2, 3)
    first, second = half_blocks(picture).split("\n")
    assert first.count("\x1b[38") == 2
    assert "\x1b[38;2;1;2;3;48;2;0;0;0m▀▀" in first
    assert second.count("▀") == 4  # the last line of pixels stands above nothing


@pytest.mark.parametrize("module", ["commands.hz_echo", "pool_view.tables", "commands.config"])
def test_examples_of_the_commands_run(module: str) -> None:
    found = importlib.import_module(f"tensor_pool.cli.{module}")
    result = doctest.testmod(found)
    assert result.attempted
    assert not result.failed
