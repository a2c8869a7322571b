"""Client ids and correlation ids."""

from __future__ import annotations

import random

import pytest

from tensor_pool.client.attachment.identity import Correlations, Identity
from tensor_pool.protocol.errors import ConfigError
from tensor_pool.protocol.wire import QosConsumer, QosProducer
from tests.client.world import STREAM, World

S = 1_000_000_000


def test_C_010_chosen_ids_are_distinct_nonzero_and_not_from_the_random_module() -> None:
    random.seed(1)
    first = {Identity().client_id for _ in range(200)}
    random.seed(1)
    second = {Identity().client_id for _ in range(200)}
    assert len(first) == 200
    assert not first & second
    assert all(1 <= i <= 2**32 - 2 for i in first)


def test_C_010_two_attachments_of_one_client_have_different_ids(world: World) -> None:
    producer, consumer = world.pair()
    ids = {request.client_id for request in world.driver.attach_requests}
    assert ids == {producer.client_id, consumer.client_id}
    assert len(ids) == 2
    assert 0 not in ids


def test_C_010_a_second_live_attachment_with_the_same_id_is_refused(world: World) -> None:
    client = world.client()
    client.producer(STREAM, client_id=7)
    with pytest.raises(ConfigError, match="client_id: 7"):
        client.consumer(STREAM, client_id=7, attach_timeout=5)


@pytest.mark.parametrize("client_id", [-1, 2**32])
def test_a_given_id_must_be_a_u32(client_id: int) -> None:
    with pytest.raises(ConfigError, match="client_id"):
        Identity(client_id)


def test_a_given_id_is_never_renewed() -> None:
    identity = Identity(5)
    identity.renew()
    assert identity.client_id == 5


def test_C_012_consumer_and_producer_ids_are_the_client_ids(world: World) -> None:
    heard = world.listen(1200)
    producer, consumer = world.pair()
    world.run(1.5)
    assert {m.consumer_id for m in world.driver.hellos} == {consumer.client_id}
    assert {m.consumer_id for m in heard if isinstance(m, QosConsumer)} == {consumer.client_id}
    assert {m.producer_id for m in heard if isinstance(m, QosProducer)} == {producer.client_id}


def test_C_013_a_million_correlation_ids_are_distinct_and_positive() -> None:
    correlations = Correlations()
    ids = {correlations.new(2**32 - 2) for _ in range(1_000_000)}
    assert len(ids) == 1_000_000
    assert all(0 < i < 2**63 for i in ids)
    assert {i >> 32 for i in ids} == {0x7FFFFFFE}
    assert 0 not in {i & 0xFFFFFFFF for i in ids}


def test_C_013_the_count_skips_zero_when_it_wraps() -> None:
    correlations = Correlations()
    correlations._count = 0xFFFFFFFF
    assert [correlations.new(1) & 0xFFFFFFFF for _ in range(2)] == [0xFFFFFFFF, 1]


def test_C_014_given_up_requests_are_remembered_sixteen_at_most_for_ten_seconds() -> None:
    correlations = Correlations()
    asked = []
    for second in range(40):
        asked.append(correlations.begin_attach(9))
        correlations.give_up(second * S // 10)
    assert len(correlations._remembered) == 16
    assert correlations.take_late_answer(asked[0], 0) is None
    assert correlations.take_late_answer(asked[-1], 4 * S) == 9
    assert correlations.take_late_answer(asked[-1], 4 * S) is None
    assert correlations.take_late_answer(asked[-2], 15 * S) is None


def test_C_015_each_answer_counts_once_and_only_for_its_own_request() -> None:
    """C-015 and M-202."""
    correlations = Correlations()
    asked = correlations.begin_attach(9)
    assert not correlations.take_answer(asked + 1)
    assert correlations.take_answer(asked)
    assert not correlations.take_answer(asked)
    assert correlations.take_late_answer(asked, 0) is None


def test_M_200_two_clients_take_only_their_own_answers(world: World) -> None:
    world.driver.silent = True
    first = world.client().begin_attach_consumer(STREAM)
    second = world.client().begin_attach_consumer(STREAM)
    world.driver.silent = False
    world.run(0.1)
    assert first.poll_ready()
    assert second.poll_ready()
    assert world.driver.lease_of(first.client_id) != world.driver.lease_of(second.client_id)
    ids = [request.correlation_id for request in world.driver.attach_requests]
    assert len(set(ids)) == len(ids)
