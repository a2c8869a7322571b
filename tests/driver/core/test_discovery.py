"""The driver answers which streams it has, by their names (§2.2 of services)."""

from __future__ import annotations

from typing import Any

import pytest

from tensor_pool.driver.core.descriptions import LONGEST_DESCRIPTION_BYTES
from tensor_pool.driver.messages.discovery_endpoints import DiscoveryEndpoints
from tensor_pool.protocol.testing.faults import Faults
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    Attribute,
    DataSourceAnnounce,
    DataSourceMeta,
    DiscoveryRequest,
    DiscoveryResponse,
    DiscoveryStatus,
    Message,
    Role,
    Tag,
    decode,
    encode,
)
from tensor_pool.protocol.wire.names import ClientName
from tests.driver.core.harness import MS, OTHER_STREAM, SECOND, STREAM, Rig, make_config


class Asker:
    """A client that asks one driver, and describes streams on the metadata stream."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.driver = rig.config.driver
        self.request_id = 0
        self.metadata = rig.client.add_publication(
            self.driver.metadata_channel, self.driver.metadata_stream_id
        )

    def ask(self, **changes: Any) -> DiscoveryResponse | None:
        """The answer on the control stream, or None if there is none."""
        self.request_id += 1
        values: dict[str, Any] = {
            "request_id": self.request_id,
            "client_id": 900,
            "response_stream_id": self.driver.control_stream_id,
            "response_channel": self.driver.control_channel,
        }
        heard = len(self.rig.messages)
        self.rig.say(DiscoveryRequest(**(values | changes)))
        self.rig.settle()
        answers = [m for m in self.rig.messages[heard:] if isinstance(m, DiscoveryResponse)]
        assert len(answers) <= 1
        return answers[0] if answers else None

    def found(self, **changes: Any) -> list[int]:
        answer = self.ask(**changes)
        assert answer is not None
        assert answer.status is DiscoveryStatus.OK
        return [result.stream_id for result in answer.results]

    def describe(
        self,
        stream_id: int,
        name: str,
        *,
        epoch: int = 1,
        version: int = 1,
        tags: str | None = None,
    ) -> None:
        self.send(DataSourceAnnounce(stream_id, 7, epoch, version, name=name, summary="for tests"))
        attributes = () if tags is None else (Attribute("tags", "text/plain", tags.encode()),)
        self.send(DataSourceMeta(stream_id, version, 0, attributes=attributes))
        self.rig.settle()

    def send(self, message: Message) -> None:
        assert self.metadata.offer(encode(message, checked=False)) is OfferResult.ACCEPTED


@pytest.fixture
def asker() -> Asker:
    return Asker(Rig())


def test_S_032_every_stream_is_listed_with_what_an_attach_would_return(asker: Asker) -> None:
    rig = asker.rig
    granted = rig.granted(70, Role.PRODUCER)
    answer = asker.ask()
    assert answer is not None
    first, second = answer.results
    assert (first.stream_id, second.stream_id) == (STREAM, OTHER_STREAM)
    assert first.producer_id == 70
    assert (first.epoch, first.header_region_uri) == (granted.epoch, granted.header_region_uri)
    assert first.payload_pools == granted.payload_pools
    assert first.header_nslots == granted.header_nslots
    assert first.driver_instance_id == rig.config.driver.instance_id
    assert first.driver_control_channel == rig.config.driver.control_channel
    assert first.driver_control_stream_id == rig.config.driver.control_stream_id
    # A stream in Init has no epoch and no files yet, but the pools of its profile.
    assert (second.epoch, second.producer_id, second.header_region_uri) == (0, 0, "")
    pools = [(p.pool_id, p.pool_nslots, p.stride_bytes, p.region_uri) for p in second.payload_pools]
    assert pools == [(1, 8, 4096, ""), (2, 8, 65536, "")]


def test_S_020_the_name_is_that_of_the_metadata_else_of_the_configuration(asker: Asker) -> None:
    answer = asker.ask()
    assert answer is not None
    assert [r.data_source_name for r in answer.results] == ["s10000", "s10001"]
    asker.describe(STREAM, "camera/left")
    assert asker.found(data_source_name="camera/left") == [STREAM]
    assert asker.found(data_source_name="s10000") == []
    asker.describe(STREAM, "camera/front", version=2)
    assert asker.found(data_source_name="camera/front") == [STREAM]
    asker.describe(STREAM, "of an older epoch", epoch=0, version=9)
    asker.describe(STREAM, "camera/left", version=1)
    assert asker.found(data_source_name="camera/front") == [STREAM]


@pytest.mark.parametrize("name", ["", "two words", "tab\there", "x" * 257])
def test_S_020_a_name_that_is_none_leaves_that_of_the_configuration(
    asker: Asker, name: str
) -> None:
    asker.send(DataSourceAnnounce(STREAM, 7, 1, 1, name=name))
    asker.rig.settle()
    assert asker.found(data_source_name="s10000") == [STREAM]


def test_S_032_filters_are_combined(asker: Asker) -> None:
    rig = asker.rig
    rig.granted(70, Role.PRODUCER)
    asker.describe(STREAM, "camera/left", tags="camera room:2 b@d")
    asker.describe(OTHER_STREAM, "camera/right", tags="camera")
    assert asker.found(tags=(Tag("camera"),)) == [STREAM, OTHER_STREAM]
    assert asker.found(tags=(Tag("camera"), Tag("room:2"), Tag("camera"), Tag(""))) == [STREAM]
    assert asker.found(tags=(Tag("b@d"),)) == []
    assert asker.found(producer_id=70) == [STREAM]
    assert asker.found(producer_id=0) == [OTHER_STREAM]
    assert asker.found(producer_id=70, tags=(Tag("camera"),), stream_id=OTHER_STREAM) == []
    assert asker.found(stream_id=OTHER_STREAM) == [OTHER_STREAM]
    answer = asker.ask(stream_id=STREAM)
    assert answer is not None
    assert [tag.tag for tag in answer.results[0].tags] == ["camera", "room:2"]


def test_S_024_S_033_no_stream_has_a_data_source_id(asker: Asker) -> None:
    answer = asker.ask(data_source_id=5)
    assert answer == DiscoveryResponse(asker.request_id, DiscoveryStatus.OK)
    everything = asker.ask()
    assert everything is not None
    assert {result.data_source_id for result in everything.results} == {None}


def test_S_030_a_question_changes_nothing_but_counters(asker: Asker) -> None:
    rig = asker.rig
    rig.granted(70, Role.PRODUCER)
    before = rig.snapshot()
    assert asker.found() == [STREAM, OTHER_STREAM]
    assert rig.snapshot() == before
    assert rig.metrics["discovery_requests"] == rig.metrics["discovery_answers"] == 1


def test_S_030_a_driver_without_discovery_passes_the_question_over() -> None:
    asker = Asker(Rig(make_config(discovery={"enabled": False})))
    ignored = asker.rig.metrics["ignored"]
    assert asker.ask() is None
    assert asker.rig.metrics["ignored"] == ignored + 1
    assert asker.rig.metrics["discovery_requests"] == 0


def test_S_030_a_stream_of_its_own_for_questions_is_read_too() -> None:
    rig = Rig(make_config(discovery={"stream_id": 7000}))
    asker = Asker(rig)
    questions = rig.client.add_publication(rig.config.driver.control_channel, 7000)
    request = DiscoveryRequest(
        5, 1, rig.config.driver.control_stream_id, response_channel=asker.driver.control_channel
    )
    assert questions.offer(encode(request)) is OfferResult.ACCEPTED
    rig.settle()
    assert [m.request_id for m in rig.heard(DiscoveryResponse)] == [5]


def test_S_031_foreign_metadata_takes_no_memory(asker: Asker) -> None:
    descriptions = asker.rig.driver._lifecycle.descriptions
    for number in range(2000):
        asker.send(DataSourceAnnounce(20_000 + number, 7, 1, 1, name=f"n{number}"))
        asker.send(DataSourceAnnounce(0, 20_000 + number, 0, 0, name="client"))
        asker.rig.driver.do_work()
    asker.rig.settle()
    assert not descriptions._streams
    assert not descriptions._clients
    asker.send(DataSourceAnnounce(STREAM, 7, 1, 1, name="n" * 256, summary="s" * 60_000))
    asker.send(
        DataSourceMeta(STREAM, 1, 0, (Attribute("tags", "text/plain", b"tag-of-9 " * 6000),))
    )
    asker.rig.settle()
    kept = descriptions.of_stream(STREAM)
    assert kept is not None
    texts = [kept.name, kept.summary, *kept.tags]
    assert sum(map(len, texts)) <= LONGEST_DESCRIPTION_BYTES


def test_S_031_descriptions_of_removed_streams_are_forgotten() -> None:
    from tensor_pool.driver.core.configuration import IdRange

    rig = Rig(
        make_config(
            streams=(STREAM,),
            driver={"stream_id_range": IdRange(20_000, 20_999)},
            policies={"allow_dynamic_streams": True},
        )
    )
    asker = Asker(rig)
    for client in range(1, 30):
        lease = rig.granted(client, Role.PRODUCER, stream_id=20_000 + client)
        asker.describe(20_000 + client, f"camera/{client}")
        rig.detach(lease, client, Role.PRODUCER)
    assert len(rig.driver._lifecycle.descriptions._streams) <= 2


def test_S_034_what_does_not_fit_is_counted_in_the_text() -> None:
    many = range(STREAM, STREAM + 40)
    asker = Asker(Rig(make_config(streams=many, discovery={"max_results": 7})))
    answer = asker.ask()
    assert answer is not None
    assert len(answer.results) == 7
    assert answer.error_message == "7 of 40 streams"


def test_S_034_no_answer_is_longer_than_the_transport_takes() -> None:
    channel = "aeron:ipc?term-length=64k"
    rig = Rig(make_config(streams=range(STREAM, STREAM + 200), driver={"control_channel": channel}))
    asker = Asker(rig)
    rig.granted(70, Role.PRODUCER)
    answer = asker.ask()
    assert answer is not None
    assert 20 < len(answer.results) < 200
    assert answer.error_message == f"{len(answer.results)} of 200 streams"
    longest = 64 * 1024 // 8
    assert longest - 300 < len(encode(answer)) <= longest


def open_publications(rig: Rig) -> int:
    """The number of publications that the driver has open."""
    publications = rig.network._publications.values()
    return sum(p.transport is rig.transport for found in publications for p in found)


class Elsewhere:
    """An endpoint that is not the control stream."""

    def __init__(self, rig: Rig, stream_id: int, channel: str = "aeron:ipc") -> None:
        self.subscription = rig.client.add_subscription(channel, stream_id)
        self.address = {"response_channel": channel, "response_stream_id": stream_id}

    def heard(self) -> list[Message]:
        messages: list[Message] = []
        self.subscription.poll(lambda buffer: messages.append(decode(bytes(buffer))), 100)
        return messages


def test_S_035_another_endpoint_of_this_host_is_answered(asker: Asker) -> None:
    other = Elsewhere(asker.rig, 7001)
    assert asker.ask(**other.address) is None
    asker.rig.run(200 * MS)
    (answer,) = other.heard()
    assert isinstance(answer, DiscoveryResponse)
    assert [result.stream_id for result in answer.results] == [STREAM, OTHER_STREAM]


@pytest.mark.parametrize(
    "address",
    [
        {"response_channel": "aeron:udp?endpoint=192.0.2.1:40123"},
        {"response_channel": ""},
        {"response_channel": "nonsense"},
        {"response_channel": "aeron:ipc", "response_stream_id": 0},
        {"response_channel": "aeron:ipc", "response_stream_id": 2**31},
    ],
    ids=str,
)
def test_S_035_the_driver_sends_nowhere_else(asker: Asker, address: dict[str, Any]) -> None:
    opened = open_publications(asker.rig)
    assert asker.ask(**address) is None
    assert asker.rig.metrics["discovery_refused"] == 1
    assert open_publications(asker.rig) == opened


@pytest.mark.parametrize("stream_id", [0, 2**31])
def test_S_035_an_impossible_stream_on_the_control_channel_is_reported(
    asker: Asker, stream_id: int
) -> None:
    answer = asker.ask(response_stream_id=stream_id)
    assert answer is not None
    assert answer.status is DiscoveryStatus.ERROR
    assert str(stream_id) in answer.error_message


def test_S_035_few_endpoints_are_open_at_a_time_and_slowly(asker: Asker) -> None:
    rig = asker.rig
    opened = open_publications(rig)
    for number in range(1000):
        asker.ask(response_channel="aeron:ipc", response_stream_id=7001 + number, client_id=number)
        rig.clock.advance(1 * MS)
    assert rig.metrics["discovery_refused"] >= 985
    assert open_publications(rig) - opened <= 11
    for number in range(40):
        rig.clock.advance(101 * MS)
        asker.ask(response_channel="aeron:ipc", response_stream_id=7001 + number, client_id=number)
    assert open_publications(rig) - opened <= 16


def test_S_035_an_endpoint_is_closed_when_it_is_not_used(asker: Asker) -> None:
    rig = asker.rig
    endpoints = DiscoveryEndpoints(rig.client, rig.clock, 16)
    assert endpoints.send("aeron:ipc", 7001, b"x" * 16)
    rig.clock.advance(59 * SECOND)
    endpoints.flush()
    assert len(endpoints) == 1
    assert not endpoints.has_backlog  # an answer waits for a second only
    rig.clock.advance(2 * SECOND)
    endpoints.flush()
    assert len(endpoints) == 0


def test_S_036_more_questions_than_the_limits_are_shed(asker: Asker) -> None:
    for _ in range(150):
        asker.ask(client_id=1)
    assert asker.rig.metrics["discovery_shed"] == 50
    for client in range(2, 16):
        for _ in range(100):
            asker.ask(client_id=client)
    assert asker.rig.metrics["discovery_answers"] == 1000
    asker.rig.clock.advance(SECOND)
    assert asker.found(client_id=1) == [STREAM, OTHER_STREAM]


def test_S_180_an_answer_that_no_client_takes_is_dropped_with_its_age(asker: Asker) -> None:
    rig = asker.rig
    rig.network.set_faults(Faults(offer_result=OfferResult.BACK_PRESSURED), transport="driver")
    assert asker.ask() is None
    rig.clock.advance((rig.config.policies.response_ttl_ms + 1) * MS)
    rig.cycle()
    assert rig.metrics["discovery_answer_drops"] == 1
    rig.network.set_faults(Faults(), transport="driver")
    rig.settle()
    assert rig.heard(DiscoveryResponse) == []


def test_S_046_the_driver_has_the_names_of_clients_with_leases(asker: Asker) -> None:
    rig = asker.rig
    rig.granted(70, Role.PRODUCER)
    asker.send(ClientName("camera.py", 4711, "robot").announce(70))
    asker.send(ClientName("stranger", 1, "x").announce(71))
    rig.settle()
    descriptions = rig.driver._lifecycle.descriptions
    assert descriptions.name_of_client(70) == ClientName("camera.py", 4711, "robot")
    assert descriptions.name_of_client(71) is None
    rig.clock.advance(1500 * MS)
    refused = rig.attach(72, Role.PRODUCER)
    assert refused.error_message == (
        "producer already attached by camera.py (pid 4711 on robot), client 70 for 1.5 s"
    )
