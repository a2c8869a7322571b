"""ConsumerHello and its answer: transport streams for one consumer (§14.3)."""

from __future__ import annotations

from typing import Any

import pytest

from tensor_pool.driver.core.configuration import IdRange
from tensor_pool.protocol.wire import ConsumerConfig, Mode, Role, ShmAttachResponse
from tensor_pool.protocol.wire.stream_pairs import STREAM_WIDE_ID, STREAM_WIDE_TOKEN
from tests.driver.core.harness import OTHER_STREAM, SECOND, STREAM, Rig, make_config

RANGES = {
    "descriptor_stream_id_range": IdRange(31000, 31001),
    "control_stream_id_range": IdRange(32000, 32001),
}
IPC = "aeron:ipc"
NULL = 2**32 - 1
DECLINED = ("", 0, "", 0)
ABSENT = [("", 0), ("", NULL)]
REQUESTED = (IPC, 1)
MALFORMED = [("", 5), (IPC, 0), (IPC, NULL)]


def make_rig(**driver: Any) -> Rig:
    return Rig(make_config(driver=RANGES | driver))


def ask(rig: Rig, descriptor: tuple[str, int], control: tuple[str, int], **changes: Any) -> Any:
    return rig.hello(
        changes.pop("consumer_id", 1),
        descriptor_channel=descriptor[0],
        descriptor_stream_id=descriptor[1],
        control_channel=control[0],
        control_stream_id=control[1],
        **changes,
    )


def given_to(config: ConsumerConfig | None) -> tuple[str, int, str, int]:
    assert config is not None
    return (
        config.descriptor_channel,
        config.descriptor_stream_id,
        config.control_channel,
        config.control_stream_id,
    )


def test_D_166_only_the_consumer_of_the_stream_counts() -> None:
    rig = make_rig()
    assert ask(rig, REQUESTED, REQUESTED) is None  # before its attach
    lease = rig.granted(1)
    rig.granted(2, Role.PRODUCER)
    assert ask(rig, REQUESTED, REQUESTED, stream_id=OTHER_STREAM) is None
    assert ask(rig, REQUESTED, REQUESTED, consumer_id=2) is None  # a producer
    assert ask(rig, REQUESTED, REQUESTED) is not None
    rig.detach(lease, 1, Role.CONSUMER)
    assert ask(rig, REQUESTED, REQUESTED) is None
    assert rig.metrics["hello_unmatched"] == 4
    assert rig.metrics["hello_received"] == 5


KINDS = {"absent": ABSENT, "requested": [REQUESTED], "malformed": MALFORMED}


@pytest.mark.parametrize("control", KINDS)
@pytest.mark.parametrize("descriptor", KINDS)
def test_D_167_the_nine_combinations(descriptor: str, control: str) -> None:
    """D-167, D-168"""
    for wanted in KINDS[descriptor]:
        for other in KINDS[control]:
            rig = make_rig()
            rig.granted(1)
            config = ask(rig, wanted, other)
            if descriptor == control == "absent":
                assert config is None
                continue
            expected: tuple[Any, ...] = DECLINED
            if "malformed" not in (descriptor, control):
                expected = (
                    *((IPC, 31000) if descriptor == "requested" else ("", 0)),
                    *((IPC, 32000) if control == "requested" else ("", 0)),
                )
            assert given_to(config) == expected
            assert rig.metrics["configs_declined"] == ("malformed" in (descriptor, control))
            assert rig.metrics["configs_sent"] == 1


def test_D_168_repeated_hellos_get_the_same_ids_until_the_lease_ends() -> None:
    """D-168, D-170"""
    rig = make_rig()
    lease = rig.granted(1)
    first = ask(rig, (IPC, 9), (IPC, 9))
    again = ask(rig, (IPC, 31001), (IPC, 32001))
    assert given_to(first) == given_to(again) == (IPC, 31000, IPC, 32000)
    assert given_to(ask(rig, ("", 0), (IPC, 1)))[3] == 32000
    rig.detach(lease, 1, Role.CONSUMER)
    rig.granted(1)
    assert given_to(ask(rig, (IPC, 1), (IPC, 1))) == (IPC, 31001, IPC, 32001)


def test_D_168_the_requested_number_is_granted_if_it_is_in_the_range_and_free() -> None:
    """D-168, W-163"""
    rig = make_rig(descriptor_stream_id_range=IdRange(31000, 31009))
    leases = {client: rig.granted(client) for client in (1, 2, 3, 4)}
    assert given_to(ask(rig, (IPC, 31007), (IPC, 32001))) == (IPC, 31007, IPC, 32001)
    taken = ask(rig, (IPC, 31007), (IPC, 32001), consumer_id=2)
    assert given_to(taken) == (IPC, 31000, IPC, 32000)
    outside = ask(rig, (IPC, 31010), ("", 0), consumer_id=3)
    assert given_to(outside)[1] == 31001
    rig.detach(leases[1], 1, Role.CONSUMER)
    assert given_to(ask(rig, (IPC, 31007), ("", 0), consumer_id=4))[1] == 31007


def test_D_168_a_half_is_declined_by_itself() -> None:
    """D-168, D-170"""
    rig = make_rig(control_stream_id_range=None)
    for client in (1, 2, 3):
        rig.granted(client)
    assert given_to(ask(rig, REQUESTED, REQUESTED)) == (IPC, 31000, "", 0)
    assert given_to(ask(rig, REQUESTED, ("", 0), consumer_id=2)) == (IPC, 31001, "", 0)
    assert given_to(ask(rig, REQUESTED, ("", 0), consumer_id=3)) == DECLINED
    assert len(rig.snapshot().leases) == 3


@pytest.mark.parametrize(
    ("channel", "number", "granted"),
    [
        ("aeron:ipc", 2**31 - 2, True),
        ("aeron:ipc", 2**31, False),
        ("aeron:ipc?term-length=64k", 7, True),
        ("aeron:ipcx", 7, False),
        ("aeron:udp?endpoint=localhost:4000", 7, False),
        ("aeron:udp?endpoint=localhost:4001", 7, True),  # the configured announce channel
    ],
)
def test_D_168_channel_and_number_must_be_usable(channel: str, number: int, granted: bool) -> None:
    rig = make_rig(
        announce_channel="aeron:udp?endpoint=localhost:4001",
        announce_stream_id=1001,
    )
    rig.granted(1)
    expected = (channel, 31000, "", 0) if granted else DECLINED
    assert given_to(ask(rig, (channel, number), ("", 0))) == expected


@pytest.mark.parametrize(
    ("asked", "told"),
    [(Mode.STREAM, Mode.STREAM), (Mode.RATE_LIMITED, Mode.RATE_LIMITED), (0, Mode.STREAM)],
)
def test_D_169_config_has_shm_and_the_mode_asked_for(asked: int, told: Mode) -> None:
    rig = make_rig()
    rig.granted(1)
    config = ask(rig, REQUESTED, REQUESTED, mode=asked)
    assert config is not None
    assert (config.use_shm, config.mode, config.payload_fallback_uri) == (True, told, "")
    assert (config.stream_id, config.consumer_id) == (10000, 1)


def test_D_023_hello_is_answered_while_draining() -> None:
    rig = make_rig()
    rig.granted(1)
    rig.driver.request_shutdown()
    rig.settle()
    assert given_to(ask(rig, REQUESTED, REQUESTED)) == (IPC, 31000, IPC, 32000)


def test_assignments_end_with_an_expired_lease() -> None:
    """D-168, D-191"""
    rig = make_rig()
    lease = rig.granted(1)
    ask(rig, REQUESTED, REQUESTED)
    (assignment,) = rig.snapshot().assignments
    assert (assignment.lease_id, assignment.descriptor_stream_id, assignment.control_stream_id) == (
        lease.lease_id,
        31000,
        32000,
    )
    rig.run(5 * SECOND)
    assert rig.snapshot().assignments == ()


WIDE = (IPC, STREAM_WIDE_TOKEN)


def test_D_168_all_consumers_of_a_stream_share_one_wide_stream_on_the_control_channel() -> None:
    rig = make_rig()
    for client in (1, 2):
        rig.granted(client)
    rig.granted(3, stream_id=OTHER_STREAM)
    channel = rig.config.driver.control_channel
    answers = [
        given_to(ask(rig, WIDE, ABSENT[0], consumer_id=client, stream_id=stream))[:2]
        for client, stream in ((1, STREAM), (2, STREAM), (3, OTHER_STREAM), (1, STREAM))
    ]
    assert answers == [(channel, 31000), (channel, 31000), (channel, 31001), (channel, 31000)]


def test_D_168_a_producer_is_sent_the_streams_of_its_consumers_before_its_grant() -> None:
    rig = make_rig(descriptor_stream_id_range=IdRange(31000, 31005))
    rig.granted(1)
    rig.granted(2)
    ask(rig, WIDE, ABSENT[0], consumer_id=1)
    private = given_to(ask(rig, REQUESTED, ABSENT[0], consumer_id=2))
    heard = len(rig.messages)
    rig.granted(9, Role.PRODUCER)
    sent = rig.messages[heard:]
    wide, other, grant = sent[:3]
    assert isinstance(wide, ConsumerConfig)
    assert (wide.consumer_id, given_to(wide)[1]) == (STREAM_WIDE_ID, 31000)
    assert isinstance(other, ConsumerConfig)
    assert (other.consumer_id, given_to(other)) == (2, private)
    assert isinstance(grant, ShmAttachResponse)


def test_D_168_without_a_range_the_wide_stream_is_declined_and_no_producer_gets_a_message() -> None:
    rig = make_rig(descriptor_stream_id_range=None)
    rig.granted(1)
    assert given_to(ask(rig, WIDE, ABSENT[0])) == DECLINED
    heard = len(rig.messages)
    rig.granted(9, Role.PRODUCER)
    assert not isinstance(rig.messages[heard], ConsumerConfig)


def test_D_169_a_wide_answer_that_a_consumer_has_had_is_repeated_ever_more_rarely() -> None:
    """Every client receives it; a request for a private stream is always answered."""
    rig = make_rig()
    rig.granted(1)
    answered = [n for n in range(1, 201) if ask(rig, WIDE, ABSENT[0]) is not None]
    assert answered == [1, 2, 4, 8, 16, 32, 64, 128, 192]
    assert ask(rig, REQUESTED, ABSENT[0]) is not None
    assert ask(rig, REQUESTED, ABSENT[0]) is not None
