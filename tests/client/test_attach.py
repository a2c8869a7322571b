"""Attaching: outcomes, retries, late answers (§5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tensor_pool.protocol.errors import (
    AttachRejectedError,
    AttachTimeoutError,
    ClosedError,
    ConfigError,
    ProtocolViolationError,
    ShmUriError,
    ShmValidationError,
)
from tensor_pool.protocol.wire import (
    HugepagesPolicy,
    PublishMode,
    ResponseCode,
    Role,
    ShmAttachResponse,
)
from tests.client.fake_driver import lines_of_maps
from tests.client.world import MS, STREAM, S, World


def test_C_030_blocking_attach_returns_a_ready_handle(world: World) -> None:
    client = world.client()
    producer = client.producer(STREAM)
    consumer = client.consumer(STREAM)
    assert (producer.state, consumer.state) == ("Active", "Mapped")
    assert producer.poll_ready()
    assert consumer.poll_ready()


def test_C_030_begin_attach_returns_at_once_and_poll_ready_reports(world: World) -> None:
    client = world.client()
    at = world.clock.monotonic_ns()
    handles = [client.begin_attach_producer(STREAM), client.begin_attach_consumer(STREAM)]
    assert world.clock.monotonic_ns() == at
    assert not any(h.poll_ready() for h in handles)
    world.run(0.1)
    assert all(h.poll_ready() for h in handles)


@pytest.mark.parametrize("code", [ResponseCode.UNSUPPORTED, ResponseCode.INVALID_PARAMS])
def test_C_031_a_permanent_refusal_raises_at_once(world: World, code: ResponseCode) -> None:
    """C-031, M-223."""
    world.driver.refusal = (code, "stream has no pools")
    at = world.clock.monotonic_ns()
    with pytest.raises(AttachRejectedError, match="stream has no pools") as caught:
        world.client().producer(STREAM)
    assert (caught.value.code, caught.value.message) == (code, "stream has no pools")
    assert world.clock.monotonic_ns() - at < 100 * MS


@pytest.mark.parametrize("code", [ResponseCode.REJECTED, ResponseCode.INTERNAL_ERROR])
def test_C_031_a_temporary_refusal_is_retried_until_the_timeout(
    world: World, code: ResponseCode
) -> None:
    """C-031, M-223."""
    world.driver.refusal = (code, "second producer")
    at = world.clock.monotonic_ns()
    with pytest.raises(AttachRejectedError, match="second producer"):
        world.client().producer(STREAM)
    assert world.clock.monotonic_ns() - at >= 5 * S
    assert len(world.driver.attach_requests) >= 3


def test_C_031_a_refusal_that_ends_in_time_is_survived(world: World) -> None:
    world.driver.refusal = (ResponseCode.REJECTED, "second producer")
    client = world.client()

    def idle() -> None:
        world.idle()
        if len(world.driver.attach_requests) == 2:
            world.driver.refusal = None

    assert client.producer(STREAM, idle=idle).poll_ready()


def test_C_031_without_retry_refused_every_refusal_raises_at_once(world: World) -> None:
    world.driver.refusal = (ResponseCode.REJECTED, "no")
    with pytest.raises(AttachRejectedError):
        world.client(retry_refused=False).consumer(STREAM)
    assert len(world.driver.attach_requests) == 1


def test_C_031_silence_is_a_timeout_with_a_remedy(world: World) -> None:
    world.driver.silent = True
    with pytest.raises(AttachTimeoutError, match=r"attach timed out.*is `tensor-pool driver`"):
        world.client().consumer(STREAM, attach_timeout=5)
    with pytest.raises(TimeoutError):
        world.client().consumer(STREAM, attach_timeout=5)


def test_C_031_an_invalid_answer_is_a_protocol_violation(world: World) -> None:
    world.driver.change_response = lambda r: msgspec.structs.replace(r, epoch=0)
    with pytest.raises(ProtocolViolationError) as caught:
        world.client().consumer(STREAM, attach_timeout=5)
    assert caught.value.rule == 3


def test_C_031_a_failing_map_raises_what_failed(world: World) -> None:
    """C-031, C-045."""
    stream = world.driver.add_stream(STREAM)
    stream.poke(1, 0, b"\0")
    with pytest.raises(ShmValidationError, match="pool 1"):
        world.client().consumer(STREAM, attach_timeout=5)
    assert list(lines_of_maps(world.base)) == []


def test_a_uri_that_does_not_parse_is_named_as_such(world: World) -> None:
    """C-040 rule 10 looks at the syntax before C-045 step 1 can."""
    world.driver.change_response = lambda r: msgspec.structs.replace(
        r, header_region_uri="shm:file?path=/x?y"
    )
    with pytest.raises(ProtocolViolationError) as caught:
        world.client().consumer(STREAM, attach_timeout=5)
    assert caught.value.rule == 10
    assert isinstance(caught.value.__cause__, ShmUriError)


def test_C_031_a_failed_attach_leaves_nothing_behind(world: World) -> None:
    world.driver.silent = True
    client = world.client()
    with pytest.raises(AttachTimeoutError):
        client.consumer(STREAM, attach_timeout=5)
    assert client._handles == {}
    world.run(1)
    assert client._conductor.attachments == []


def test_C_034_a_lease_that_comes_after_giving_up_is_returned(world: World) -> None:
    delayed: list[ShmAttachResponse] = []

    def delay(r: ShmAttachResponse) -> Any:
        delayed.append(r)
        return b""

    world.driver.change_response = delay
    client = world.client(detach_timeout=0.1)
    handle = client.begin_attach_consumer(STREAM)
    world.run(1.05)  # given up once, now in Backoff
    assert handle.connection_state == "Backoff"
    assert len(delayed) == 1
    world.driver.change_response = lambda r: r
    world.run(0.5)
    assert handle.poll_ready()
    world.driver.send(delayed[0])
    world.run(0.05)
    assert [d.lease_id for d in world.driver.detach_requests] == [delayed[0].lease_id]
    assert handle.poll_ready()


def test_C_034_a_lease_granted_to_a_handle_closed_meanwhile_is_returned(world: World) -> None:
    """Found by simulation, seed 0: no handle was left to take the answer."""
    delayed: list[ShmAttachResponse] = []

    def delay(r: ShmAttachResponse) -> Any:
        delayed.append(r)
        return b""

    world.driver.change_response = delay
    client = world.client()
    client.begin_attach_consumer(STREAM)
    world.run(0.05)
    for handle in list(client._handles.values()):
        handle.close()
    assert client._conductor.attachments == []
    world.driver.send(delayed[0])
    world.run(0.05)
    assert [d.lease_id for d in world.driver.detach_requests] == [delayed[0].lease_id]
    world.run(11)
    assert client._conductor._leaving == []


def test_a_late_answer_is_adopted_when_it_is_still_useful(world: World) -> None:
    """C-015 and the late-response sequence of §13."""
    delayed: list[ShmAttachResponse] = []

    def delay(r: ShmAttachResponse) -> Any:
        delayed.append(r)
        return b""

    world.driver.change_response = delay
    handle = world.client().begin_attach_consumer(STREAM)
    world.run(1.05)
    assert handle.connection_state == "Backoff"
    world.driver.send(delayed[0])
    world.run(0.02)
    assert handle.poll_ready()
    assert len(world.driver.attach_requests) == 1


def test_C_033_a_silent_driver_is_asked_again_with_new_ids(world: World) -> None:
    world.driver.silent = True
    with pytest.raises(AttachTimeoutError):
        world.client().consumer(STREAM, attach_timeout=5)
    ids = [request.correlation_id for request in world.driver.attach_requests]
    assert len(ids) >= 2
    assert len(set(ids)) == len(ids)


def test_C_032_attaches_that_map_badly_do_not_spin(world: World) -> None:
    stream = world.driver.add_stream(STREAM)
    stream.poke(1, 0, b"\0")
    consumer = world.client().begin_attach_consumer(STREAM)
    world.run(10)
    assert not consumer.poll_ready()
    assert 4 <= len(world.driver.attach_requests) <= 20
    assert world.driver.leases == {}


def test_C_035_the_request_carries_what_was_asked_for(world: World) -> None:
    client = world.client(expected_layout_version=0, hugepages=HugepagesPolicy.STANDARD)
    world.driver.change_response = lambda r: msgspec.structs.replace(r, node_id=12)
    client.producer(
        STREAM, publish_mode=PublishMode.REQUIRE_EXISTING, desired_node_id=12, client_id=99
    )
    [request] = world.driver.attach_requests
    assert request.stream_id == STREAM
    assert request.client_id == 99
    assert request.role is Role.PRODUCER
    assert request.expected_layout_version == 0
    assert request.publish_mode is PublishMode.REQUIRE_EXISTING
    assert request.require_hugepages is HugepagesPolicy.STANDARD
    assert request.desired_node_id == 12
    client.consumer(STREAM)
    assert world.driver.attach_requests[-1].desired_node_id is None


def test_C_035_stream_zero_asks_the_driver_to_choose_each_time(world: World) -> None:
    producer = world.client().producer(0)
    assert producer.stream_id == 20_000
    world.driver.revoke(world.driver.lease_of(producer.client_id))
    world.run(0.5)
    assert producer.poll_ready()
    assert [r.stream_id for r in world.driver.attach_requests] == [0, 0]


def test_C_036_without_a_driver_the_attach_times_out_and_nothing_else(world: World) -> None:
    world.network.disconnect("driver")
    at = world.clock.monotonic_ns()
    with pytest.raises(AttachTimeoutError):
        world.client().producer(STREAM)
    assert world.clock.monotonic_ns() - at >= 5 * S
    assert world.driver.attach_requests == []


def test_C_015_an_answer_after_the_accepted_one_changes_nothing(world: World) -> None:
    """C-015, M-202: also a refusal, also twice the same OK."""
    _, consumer = world.pair()
    lease = world.driver.lease_of(consumer.client_id)
    correlation_id = world.driver.attach_requests[-1].correlation_id
    world.driver.send(world.driver.response(correlation_id, lease))
    world.driver.send(
        ShmAttachResponse(
            correlation_id=correlation_id, code=ResponseCode.REJECTED, error_message="late"
        )
    )
    world.run(0.05)
    assert consumer.poll_ready()
    assert consumer._attachment.connection.grant.lease_id == lease.lease_id
    assert world.driver.detach_requests == []


def test_C_042_the_text_of_a_refusal_is_shown_and_decides_nothing(world: World) -> None:
    """C-042: two texts, one behaviour."""
    seen: list[tuple[int, str]] = []
    for text in ("stream not provisioned", "OK, attached"):
        world.driver.refusal = (ResponseCode.REJECTED, text)
        consumer = world.client().begin_attach_consumer(
            STREAM, on_refused=lambda code, said: seen.append((code, said))
        )
        world.run(0.02)
        assert consumer.connection_state == "Backoff"
        assert isinstance(consumer.last_error, AttachRejectedError)
        consumer._client.close()
    assert [text for _, text in seen] == ["stream not provisioned", "OK, attached"]


@pytest.mark.parametrize("stream_id", [-1, 2**32 - 1])
def test_a_stream_id_out_of_range_is_refused(world: World, stream_id: int) -> None:
    with pytest.raises(ConfigError, match="stream_id"):
        world.client().consumer(stream_id)


def test_C_011_an_id_in_use_is_replaced_after_the_backoff(world: World) -> None:
    world.driver.refusal = (ResponseCode.REJECTED, "client_id already attached")
    client = world.client()

    def heal(count: int) -> Callable[[], None]:
        def idle() -> None:
            world.idle()
            if len(world.driver.attach_requests) >= count:
                world.driver.refusal = None

        return idle

    consumer = client.consumer(STREAM, idle=heal(1))
    first, second = world.driver.attach_requests
    assert first.client_id != second.client_id == consumer.client_id


def test_attaching_to_a_closed_client_is_refused(world: World) -> None:
    client = world.client()
    client.close()
    with pytest.raises(ClosedError):
        client.consumer(STREAM, attach_timeout=5)


def test_C_045_producers_write_and_consumers_cannot(world: World) -> None:
    """C-045, W-033, W-134: read-write for producers, read-only for consumers, nothing created."""
    world.pair()
    maps = list(lines_of_maps(world.base))
    assert len(maps) == 6
    assert sum(" rw-s " in line for line in maps) == 3
    assert sum(" r--s " in line for line in maps) == 3


def test_C_046_stale_files_map_after_an_attach(world: World) -> None:
    """C-046, W-133: an attach needs no fresh activity, an announce does."""
    stream = world.driver.add_stream(STREAM)
    world.driver.refreshes = world.driver.announces = False
    world.clock.advance(10 * S)
    consumer = world.client().consumer(STREAM)
    assert consumer.state == "Mapped"
    stream.new_epoch(1)
    world.driver.announce(stream)
    world.run(0.02)
    assert consumer.state == "Backoff"
    assert isinstance(consumer.last_error, ShmValidationError)


def test_C_047_the_attach_answer_resets_the_highest_epoch(world: World) -> None:
    stream = world.driver.add_stream(STREAM)
    stream.new_epoch(world.clock.monotonic_ns(), epoch=50)
    _, consumer = None, world.client().consumer(STREAM)
    assert consumer._attachment.highest_epoch == 50
    stream.new_epoch(world.clock.monotonic_ns(), epoch=10)
    world.driver.revoke(world.driver.lease_of(consumer.client_id))
    world.run(0.5)
    assert consumer.state == "Mapped"
    assert consumer._attachment.highest_epoch == 10
