"""The page's events without a browser: their contents, their receivers and their end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import Any

import msgspec
import pytest

from tensor_pool.driver.core.snapshots import DriverSnapshot, StatusSnapshot, StreamSnapshot
from tensor_pool.driver.http.page import event_hub as hub_module
from tensor_pool.driver.http.page.event_hub import Hub, Measures
from tensor_pool.driver.http.page.viewer_process import Viewer
from tensor_pool.driver.http.traffic import ConsumerTraffic, StreamTraffic
from tensor_pool.driver.runtime.message_feed import MessageFeed
from tensor_pool.driver.runtime.report import DriverReport
from tensor_pool.driver.runtime.transition_feed import TransitionFeed
from tensor_pool.protocol.wire import ShmDriverShutdown, ShutdownReason


def report_of(state: str = "Serving.Running.Normal", *streams: StreamSnapshot) -> DriverReport:
    status = StatusSnapshot(
        instance_id="lab-7",
        state=state,
        shutdown_reason="NORMAL",
        shutdown_text="",
        conditions=(),
        leases=0,
        streams=len(streams),
        next_lease_id=1,
        next_node_id=1,
        next_dynamic_stream_id=None,
        stream_id_range=None,
        descriptor_stream_id_range=None,
        control_stream_id_range=None,
    )
    return DriverReport(
        snapshot=DriverSnapshot(status, (), streams, ()),
        metrics={},
        taken_ns=0,
        aeron_dir="/dev/shm/aeron",
        embeds_media_driver=True,
        control_channel="aeron:ipc",
        control_stream_id=1000,
    )


def stream(stream_id: int, producer_lease_id: int | None) -> StreamSnapshot:
    return StreamSnapshot(
        stream_id=stream_id,
        header_nslots=4,
        strides_bytes=(4096,),
        dynamic=False,
        epoch=1,
        last_epoch=1,
        uris=(),
        producer_lease_id=producer_lease_id,
        consumer_lease_ids=(),
        state="Live.Active.Ready",
    )


class ScriptedReporter:
    """Answers at once with `report`, or never where that is None; counts the questions."""

    def __init__(self, report: DriverReport | None) -> None:
        self.report = report
        self.asked = 0

    def request_report(self) -> Future[DriverReport]:
        self.asked += 1
        future: Future[DriverReport] = Future()
        if self.report is not None:
            future.set_result(self.report)
        return future


class RecordingViewer(Viewer):
    """A viewer that records the hub's requests."""

    def __init__(self) -> None:
        self.heard: Callable[[dict[str, object]], None] | None = None
        self.streams: list[list[int]] = []
        self.asked: list[int] = []
        self.closed = 0

    def open(self, heard: Callable[[dict[str, object]], None]) -> None:
        self.heard = heard

    def look_at(self, stream_ids: Iterable[int]) -> None:
        if not self.streams or self.streams[-1] != list(stream_ids):
            self.streams.append(list(stream_ids))

    def ask_pixels(self, stream_id: int) -> None:
        self.asked.append(stream_id)

    async def close(self) -> None:
        self.heard = None
        self.closed += 1

    def show(self, stream_id: int, seq: int) -> None:
        assert self.heard is not None
        self.heard({"type": "frame", "stream_id": stream_id, "seq": seq})


class Scene:
    """A hub among stand-ins."""

    def __init__(self, report: DriverReport | None, measures: Measures | None = None) -> None:
        self.reporter = ScriptedReporter(report)
        self.feed = TransitionFeed(lambda: 5)
        self.viewer = RecordingViewer()
        self.messages = MessageFeed()
        self.hub = Hub(self.reporter, self.feed, self.viewer, measures, self.messages)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the hub's waits short."""
    for name in ("_POLL_S", "_REPORT_S", "_REPORT_SOON_S", "_LINGER_S", "_AGES_S", "_TRAFFIC_S"):
        monkeypatch.setattr(hub_module, name, 0.001)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await scenario

    asyncio.run(limited())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def next_event(events: AsyncIterator[bytes], kind: str) -> dict[str, Any]:
    """The next event of a kind; those of other kinds before it are passed over."""
    async for event in events:
        name, _, data = event.decode().partition("\ndata: ")
        if name == f"event: {kind}":
            assert data.endswith("\n\n")
            document: dict[str, Any] = json.loads(data)
            return document
    raise AssertionError(f"no {kind} came")


def test_a_page_first_gets_the_events_from_before_it_came() -> None:
    async def scenario() -> None:
        scene = Scene(report_of())
        note(scene.feed, "earlier")
        events = scene.hub.watch()
        hello = await next_event(events, "hello")
        assert [record["text"] for record in hello["records"]] == ["earlier"]
        report = await next_event(events, "report")
        assert report["driver"]["instance_id"] == "lab-7"
        note(scene.feed, "now")
        happened = await next_event(events, "happened")
        assert [record["text"] for record in happened["records"]] == ["now"]
        second = scene.hub.watch()
        hello = await next_event(second, "hello")
        assert [record["text"] for record in hello["records"]] == ["earlier", "now"]
        await events.aclose()
        await second.aclose()

    run(scenario())


def test_what_happened_before_a_report_is_sent_before_it() -> None:
    """Else a page would go back from the state of the report to the states on the way there."""

    async def scenario() -> None:
        scene = Scene(report_of())
        answer = scene.reporter.request_report

        def request_report() -> Future[DriverReport]:
            note(scene.feed, "before the report")
            made = msgspec.structs.replace(report_of(), last_record=scene.feed.last_number)
            note(scene.feed, "after the report")
            scene.reporter.report = made
            return answer()

        scene.reporter.request_report = request_report  # type: ignore[method-assign]
        events = scene.hub.watch()
        texts = []
        async for event in events:
            if event.startswith(b"event: report"):
                break
            if event.startswith(b"event: happened"):
                texts += [
                    record["text"]
                    for record in json.loads(event.partition(b"data: ")[2])["records"]
                ]
        assert texts == ["before the report"]
        happened = await next_event(events, "happened")
        assert happened["records"][0]["text"] == "after the report"
        await events.aclose()

    run(scenario())


def test_the_driver_is_asked_for_all_pages_together_and_not_at_all_without_one() -> None:
    async def scenario() -> None:
        scene = Scene(report_of())
        await asyncio.sleep(0)
        assert scene.reporter.asked == 0
        pages = [scene.hub.watch() for _ in range(5)]
        for page in pages:
            await next_event(page, "report")
        for page in pages:
            await page.aclose()
        await until(lambda: scene.viewer.closed == 1)
        asked = scene.reporter.asked
        await asyncio.sleep(0.02)
        assert scene.reporter.asked == asked

    run(scenario())


def test_a_report_that_costs_the_loop_much_is_asked_for_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The driver's loop is to spend a small part of its time on pages."""
    clock = [0.0]
    monkeypatch.setattr(hub_module.time, "monotonic", lambda: clock[0])

    async def scenario() -> None:
        scene = Scene(msgspec.structs.replace(report_of(), cost_ns=500_000_000))
        await scene.hub._turn(clock[0])
        for _ in range(9):
            clock[0] += 1.0
            note(scene.feed, "something")
            await scene.hub._turn(clock[0])
        assert scene.reporter.asked == 1
        clock[0] += 1.0
        await scene.hub._turn(clock[0])
        assert scene.reporter.asked == 2

    run(scenario())


def test_a_page_that_does_not_keep_up_is_let_go_and_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "_BACKLOG", 8)

    async def scenario() -> None:
        scene = Scene(report_of())
        slow, quick_one = scene.hub.watch(), scene.hub.watch()
        await next_event(slow, "hello")
        for number in range(30):
            note(scene.feed, str(number))
            happened = await next_event(quick_one, "happened")
            assert happened["records"][-1]["text"] == str(number)
        assert [event async for event in slow] == []
        await quick_one.aclose()

    run(scenario())


def test_of_each_stream_only_the_newest_frame_waits_and_only_for_who_asked() -> None:
    async def scenario() -> None:
        scene = Scene(report_of("Serving.Running.Normal", stream(7, 70), stream(8, 80)))
        both, one = scene.hub.watch([7, 8]), scene.hub.watch([8])
        pending = [asyncio.ensure_future(anext(page)) for page in (both, one)]
        await until(lambda: scene.viewer.streams[-1:] == [[7, 8]])
        for seq in range(100):
            scene.viewer.show(7, seq)
        scene.viewer.show(8, 5)
        first = json.loads((await pending[0]).decode().partition("data: ")[2])
        assert first == {"stream_id": 7, "seq": 99}
        assert (await next_event(both, "frame"))["stream_id"] == 8
        assert json.loads((await pending[1]).decode().partition("data: ")[2])["stream_id"] == 8
        await both.aclose()
        await one.aclose()

    run(scenario())


@pytest.mark.parametrize("state", ["Serving.Draining", "Stopped"])
def test_a_driver_that_stops_is_not_kept_by_the_viewer(state: str) -> None:
    """Only streams with a producer are looked at, and none in a driver that drains."""

    async def scenario() -> None:
        scene = Scene(report_of("Serving.Running.Degraded", stream(7, 70), stream(8, None)))
        page = scene.hub.watch([7, 8, 9])
        waiting = asyncio.ensure_future(anext(page))
        await until(lambda: scene.viewer.streams[-1:] == [[7]])
        scene.reporter.report = report_of(state, stream(7, 70))
        await until(lambda: scene.viewer.streams[-1] == [])
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await page.aclose()

    run(scenario())


def test_a_loop_that_hangs_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "_PATIENCE_S", 0.001)

    async def scenario() -> None:
        events = Scene(None).hub.watch()
        assert "does not answer" in (await next_event(events, "trouble"))["text"]
        await events.aclose()

    run(scenario())


class Figures:
    """Measures of one stream."""

    def figures(self) -> tuple[StreamTraffic, ...]:
        return (StreamTraffic(7, 10, 640, 5.0, 320.0, (ConsumerTraffic(9, 1, 2, 0.25),)),)

    def ages_s(self) -> dict[int, float]:
        return {7: 0.5}


def test_pages_get_the_figures_and_the_age_of_frames() -> None:
    async def scenario() -> None:
        scene = Scene(report_of(), Figures())
        events = scene.hub.watch()
        assert await next_event(events, "ages") == {"seconds": {"7": 0.5}}
        (figures,) = (await next_event(events, "traffic"))["streams"]
        assert figures["frames_per_s"] == 5.0
        assert figures["consumers"][0]["latency_s"] == 0.25
        await events.aclose()

    run(scenario())


def test_D_199_a_frame_with_its_values_goes_to_all_who_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        scene = Scene(report_of())
        events = scene.hub.watch()
        await next_event(events, "hello")
        waiting = [asyncio.ensure_future(scene.hub.pixels(stream_id)) for stream_id in (7, 7, 8)]
        await until(lambda: scene.viewer.heard is not None and len(scene.viewer.asked) == 3)
        assert scene.viewer.heard is not None
        scene.viewer.heard({"type": "pixels", "stream_id": 7, "body": b"values"})
        assert await waiting[0] == await waiting[1] == b"values"
        assert not waiting[2].done()
        waiting[2].cancel()
        monkeypatch.setattr(hub_module, "_PIXELS_S", 0.001)
        assert await scene.hub.pixels(8) is None
        await events.aclose()

    run(scenario())


def test_D_199_a_page_gets_the_messages_from_before_and_then_what_changes() -> None:
    async def scenario() -> None:
        scene = Scene(report_of())
        scene.messages.sent(ShmDriverShutdown(0, ShutdownReason.NORMAL))
        events = scene.hub.watch()
        (record,) = (await next_event(events, "messages"))["records"]
        assert record["text"] == "shutdown: NORMAL"
        scene.messages.sent(ShmDriverShutdown(0, ShutdownReason.ADMIN))
        async for event in events:
            if b"ADMIN" in event:
                break
        await events.aclose()

    run(scenario())


def test_a_page_is_sent_the_clients_of_all_pages_before_what_they_did() -> None:
    """Else it would show them, and hide them a moment later."""

    async def scenario() -> None:
        scene = Scene(report_of())
        first = scene.hub.watch()
        await next_event(first, "hello")
        await until(lambda: scene.viewer.heard is not None)
        assert scene.viewer.heard is not None
        for clients in ([41], [41, 42]):
            scene.viewer.heard({"type": "own", "clients": clients})
        second = scene.hub.watch()
        kind, _, data = (await anext(second)).decode().partition("\ndata: ")
        assert kind == "event: own"
        assert json.loads(data) == {"clients": [41, 42]}
        await first.aclose()
        await second.aclose()

    run(scenario())


def test_closing_ends_every_connection() -> None:
    async def scenario() -> None:
        scene = Scene(report_of())
        pages = [scene.hub.watch(), scene.hub.watch([7])]
        waiting = [asyncio.ensure_future(drain(page)) for page in pages]
        await until(lambda: scene.reporter.asked > 0)
        scene.hub.close_soon()
        await asyncio.gather(*waiting)
        assert not scene.hub.has_room
        await until(lambda: scene.viewer.closed == 1)

    run(scenario())


async def drain(events: AsyncIterator[bytes]) -> None:
    async for _ in events:
        pass


def note(feed: TransitionFeed, text: str) -> None:
    """Put something into the feed as a driver would."""
    feed._note(Something(), "state", text)  # type: ignore[arg-type]


class Something(msgspec.Struct):
    """A machine as far as the feed looks at it."""

    label: str = "driver"
