"""Discovery: the driver answers which streams it has (S-030 to S-036).

The provider is plain code on a question and the tables. It changes nothing but counters. An answer
to the control stream goes through the driver's publisher, any other through `Answers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from tensor_pool.protocol.wire import (
    DiscoveryRequest,
    DiscoveryResponse,
    DiscoveryResult,
    DiscoveryStatus,
    PayloadPool,
    Tag,
    encode,
)

from .descriptions import Descriptions
from .ports import PublishOutcome, Target
from .services import Services
from .stream_machine import HEADER_SLOT_BYTES, LAYOUT_VERSION, StreamLifecycle
from .stream_table import StreamTable

__all__ = ["Answers", "DiscoveryProvider"]

REQUESTS_PER_CLIENT = 100  # in one second
REQUESTS_IN_ALL = 1000
_SECOND_NS = 1_000_000_000
_MAX_DIMS = 8
_MAX_STREAM_ID = 0x7FFFFFFF


class Answers(Protocol):
    """The way to endpoints other than the control stream."""

    def answer(self, channel: str, stream_id: int, message: bytes) -> bool:
        """Send an answer; False if the endpoint is refused (S-035)."""
        ...

    def longest_message_bytes(self, channel: str) -> int:
        """Return the length of the longest message on a channel; 0 for an illegal one."""
        ...


class DiscoveryProvider:
    """Handles discovery requests on behalf of DriverLifecycle."""

    __slots__ = (
        "_answers",
        "_descriptions",
        "_from_client",
        "_in_all",
        "_second_ns",
        "_services",
        "_streams",
    )

    def __init__(
        self,
        services: Services,
        streams: StreamTable,
        descriptions: Descriptions,
        answers: Answers,
    ) -> None:
        self._services = services
        self._streams = streams
        self._descriptions = descriptions
        self._answers = answers
        self._second_ns = -_SECOND_NS
        self._in_all = 0
        self._from_client: dict[int, int] = {}

    def handle(self, request: DiscoveryRequest) -> None:
        """Answer one request, or count why not."""
        metrics = self._services.metrics
        metrics.inc("discovery_requests")
        if not self._admits(request.client_id):
            metrics.inc("discovery_shed")
            return
        driver = self._services.config.driver
        channel, stream_id = request.response_channel, request.response_stream_id
        is_legal = 1 <= stream_id <= _MAX_STREAM_ID
        if not channel or not (is_legal or channel == driver.control_channel):
            metrics.inc("discovery_refused")
            return
        if not is_legal:
            text = f"responseStreamId {stream_id} must be in 1..{_MAX_STREAM_ID}"
            self._to_control(
                DiscoveryResponse(request.request_id, DiscoveryStatus.ERROR, error_message=text)
            )
            return
        answer = self._answer(request, self._answers.longest_message_bytes(channel))
        if (channel, stream_id) == (driver.control_channel, driver.control_stream_id):
            self._to_control(answer)
        elif self._answers.answer(channel, stream_id, encode(answer, checked=False)):
            metrics.inc("discovery_answers")
        else:
            metrics.inc("discovery_refused")

    def _admits(self, client_id: int) -> bool:
        """Return False beyond 100 requests of one client or 1000 in all in a second (S-036)."""
        now = self._services.time.now
        if now - self._second_ns >= _SECOND_NS:
            self._second_ns = now
            self._in_all = 0
            self._from_client.clear()
        of_client = self._from_client.get(client_id, 0)
        if self._in_all >= REQUESTS_IN_ALL or of_client >= REQUESTS_PER_CLIENT:
            return False
        self._in_all += 1
        self._from_client[client_id] = of_client + 1
        return True

    def _to_control(self, answer: DiscoveryResponse) -> None:
        outcome = self._services.publisher.publish(Target.CONTROL, answer)
        if outcome is not PublishOutcome.DROPPED:
            self._services.metrics.inc("discovery_answers")

    def _answer(self, request: DiscoveryRequest, longest: int) -> DiscoveryResponse:
        matching = list(self._matching(request))
        results: list[DiscoveryResult] = []
        limit = self._services.config.discovery.max_results
        size = len(encode(DiscoveryResponse(request.request_id, DiscoveryStatus.OK), checked=False))
        size += 64  # for the text of an answer that is cut short
        for stream in matching[:limit]:
            result = self._result(stream)
            size += _encoded_bytes(result)
            if size > longest:
                break
            results.append(result)
        text = ""
        if len(results) < len(matching):
            text = f"{len(results)} of {len(matching)} streams"
        return DiscoveryResponse(
            request.request_id, DiscoveryStatus.OK, tuple(results), error_message=text
        )

    def _matching(self, request: DiscoveryRequest) -> Iterator[StreamLifecycle]:
        """The streams that pass every filter, by ascending id (S-032)."""
        if request.data_source_id is not None:
            return  # S-024: no stream has one
        wanted = {tag.tag for tag in request.tags if tag.tag}
        for stream in self._streams:
            if request.stream_id is not None and stream.stream_id != request.stream_id:
                continue
            producer_id = stream.producer.client_id if stream.producer is not None else 0
            if request.producer_id is not None and producer_id != request.producer_id:
                continue
            name = self._descriptions.name_of_stream(stream.stream_id)
            if request.data_source_name and name != request.data_source_name:
                continue
            description = self._descriptions.of_stream(stream.stream_id)
            if wanted - set(description.tags if description is not None else ()):
                continue
            yield stream

    def _result(self, stream: StreamLifecycle) -> DiscoveryResult:
        driver = self._services.config.driver
        regions, profile = stream.regions, stream.profile
        pools = stream.payload_pools
        nslots = profile.header_nslots if profile is not None else 0
        if regions is not None:
            nslots = regions.nslots
        elif profile is not None:
            pools = tuple(
                PayloadPool(pool.pool_id, nslots, pool.stride_bytes, "")
                for pool in profile.payload_pools
            )
        description = self._descriptions.of_stream(stream.stream_id)
        tags = description.tags if description is not None else ()
        return DiscoveryResult(
            stream_id=stream.stream_id,
            producer_id=stream.producer.client_id if stream.producer is not None else 0,
            epoch=regions.epoch if regions is not None else 0,
            layout_version=LAYOUT_VERSION,
            header_nslots=nslots,
            header_slot_bytes=HEADER_SLOT_BYTES,
            max_dims=_MAX_DIMS,
            data_source_id=None,
            driver_control_stream_id=driver.control_stream_id,
            payload_pools=pools,
            tags=tuple(Tag(tag) for tag in tags),
            header_region_uri=regions.header_uri if regions is not None else "",
            data_source_name=self._descriptions.name_of_stream(stream.stream_id),
            driver_instance_id=driver.instance_id,
            driver_control_channel=driver.control_channel,
        )


def _encoded_bytes(result: DiscoveryResult) -> int:
    """Bytes that one result adds to an answer (section 1)."""
    texts = 4 * 4 + len(result.header_region_uri) + len(result.data_source_name)
    texts += len(result.driver_instance_id) + len(result.driver_control_channel)
    pools = 4 + sum(10 + 4 + len(pool.region_uri) for pool in result.payload_pools)
    tags = 4 + sum(4 + len(tag.tag) for tag in result.tags)
    return 39 + pools + tags + texts
