"""`foxglove`: live streams, their rates and drops, and the driver's log for Foxglove's clients.

The WebSocket server is that of the official SDK. A frame is encoded only while a client has
subscribed to its stream, and the newest one that is waiting is sent: the pool never waits.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from tensor_pool.client.client import Client
from tensor_pool.client.consumer.consumer import Consumer
from tensor_pool.client.consumer.frame import Frame
from tensor_pool.protocol.errors import FrameOverwrittenError, StaleFrameError

from ..media.foxglove_images import foxglove_module, image_topics, raw_image
from ..pool_view.overview import EventView, Overview, StreamView
from ..pool_view.sources import PoolWatcher, watch_pool
from ..support.connection_options import Connection
from ..support.exit_status import OK, CommandError
from ..support.signals import Stop
from ._attach import attach_consumers

__all__ = ["serve_foxglove"]

_LOOK_S = 0.0005
_PAUSE_S = 0.005
_METADATA_PATIENCE_S = 1.5
_ASK_PERIOD_S = 5.0
_ASK_PATIENCE_S = 1.0
_REPORT_PERIOD_S = 1.0
_REPORT_SCHEMA = {
    "type": "object",
    "title": "tensorpool.Stream",
    "properties": {
        "stream_id": {"type": "integer"},
        "name": {"type": "string"},
        "rate_hz": {"type": "number"},
        "last_seq": {"type": "integer"},
        "drops": {"type": "integer"},
        "consumers": {"type": "integer"},
        "state": {"type": "string"},
    },
}


def serve_foxglove(
    connection: Connection,
    streams: list[int | str],
    *,
    host: str,
    port: int,
    max_rate_hz: float | None,
    http: str | None,
) -> int:
    """Serve until a signal ends it."""
    foxglove = foxglove_module()
    with (
        Stop() as stop,
        connection.client() as client,
        watch_pool(connection, http, listen=True) as watcher,
        contextlib.ExitStack() as stack,
    ):
        wanted = streams or [info.stream_id for info in client.streams()]
        if not wanted:
            raise CommandError("the driver has no streams yet; name those that will come")
        watcher.ask_driver(stop)
        consumers = _attached(client, wanted, stop, stack)
        watcher.listen(_REPORT_PERIOD_S, stop)  # names, and reports for the first rates
        context = foxglove.Context()
        view = _View(context, watcher, consumers, max_rate_hz)
        try:
            server = foxglove.start_server(
                name="tensor-pool", host=host, port=port, context=context
            )
        except (OSError, RuntimeError) as error:
            raise CommandError(f"{host}:{port}: {error}") from error
        stack.callback(server.stop)
        print(f"streams for Foxglove: ws://{host}:{server.port}", flush=True)
        asked = time.monotonic()
        while not stop.requested:
            is_busy = view.do_work() > 0
            watcher.listen(_LOOK_S if is_busy else _PAUSE_S, stop)
            if time.monotonic() - asked >= _ASK_PERIOD_S:
                watcher.ask_driver(stop, _ASK_PATIENCE_S)
                asked = time.monotonic()
    return OK


def _attached(
    client: Client, streams: list[int | str], stop: Stop, stack: contextlib.ExitStack
) -> list[Consumer]:
    consumers = attach_consumers(client, streams, stop)
    for consumer in consumers:
        stack.enter_context(consumer)
    return consumers


class _View:
    """The channels, and what is sent on them."""

    def __init__(
        self,
        context: Any,
        watcher: PoolWatcher,
        consumers: list[Consumer],
        max_rate_hz: float | None,
    ) -> None:
        foxglove = foxglove_module()
        channels = foxglove_module("foxglove.channels")
        self._messages = foxglove_module("foxglove.messages")
        self._watcher = watcher
        names = {stream.stream_id: stream.name for stream in watcher.overview().streams}
        sources = {
            one.stream_id: names.get(one.stream_id) or f"stream {one.stream_id}"
            for one in consumers
        }
        topics = image_topics(sources)
        self._images = [
            _Images(
                consumer,
                channels.RawImageChannel(topics[consumer.stream_id], context=context),
                sources[consumer.stream_id],
                gap_s=1 / max_rate_hz if max_rate_hz else 0.0,
            )
            for consumer in consumers
        ]
        self._reports = {
            stream_id: foxglove.Channel(f"{topic}/status", schema=_REPORT_SCHEMA, context=context)
            for stream_id, topic in topics.items()
        }
        self._log = channels.LogChannel("/log", context=context)
        self._logged: set[EventView] = set()
        self._reported = 0.0
        self._states: dict[str, object] = {}

    def do_work(self) -> int:
        """Send what there is; return the number of frames that were looked at."""
        taken = sum(images.do_work() for images in self._images)
        if time.monotonic() - self._reported >= _REPORT_PERIOD_S:
            self._reported = time.monotonic()
            overview = self._watcher.overview()
            for stream in overview.streams:
                if stream.stream_id in self._reports:
                    self._reports[stream.stream_id].log(_report(stream))
            self._log_changes(overview)
        return taken

    def _log_changes(self, overview: Overview) -> None:
        """Log the events of the driver, and states that have changed."""
        for event in overview.events:
            if event not in self._logged:
                self._write(event.text, event.at)
        self._logged = set(overview.events)
        driver = overview.driver
        answers = {None: "not asked", True: "answers", False: "does not answer"}[driver.responds]
        states: dict[str, object] = {"driver": driver.state or answers}
        states |= {f"stream {s.stream_id}": s.state for s in overview.streams if s.state}
        for name, state in states.items():
            if self._states.get(name) != state:
                self._write(f"{name}: {state}", None)
        self._states = states

    def _write(self, text: str, at: float | None) -> None:
        now_ns = time.time_ns() if at is None else round(at * 1e9)
        messages = self._messages
        stamp = messages.Timestamp(sec=now_ns // 10**9, nsec=now_ns % 10**9)
        self._log.log(
            messages.Log(
                timestamp=stamp, level=messages.LogLevel.Info, message=text, name="tensor-pool"
            )
        )


class _Images:
    """The newest frames of one stream on one channel."""

    def __init__(self, consumer: Consumer, channel: Any, source: str, *, gap_s: float) -> None:
        self._consumer = consumer
        self._channel = channel
        self._source = source
        self._gap_s = gap_s
        self._sent = 0.0
        self._began = time.monotonic()

    def do_work(self) -> int:
        """Send the newest frame if there is one and a client has subscribed."""
        now = time.monotonic()
        if now - self._sent < self._gap_s:
            return 0
        frame = self._consumer.latest()
        if frame is None:
            return 0
        if not self._channel.has_sinks() or self._waits_for_format(frame):
            return 1
        image = self._consumer.image_format
        wall_ns = time.time_ns()
        age_ns = time.monotonic_ns() - (frame.timestamp_ns or 0)
        is_monotonic = frame.timestamp_ns and 0 <= age_ns < 3600 * 10**9
        captured_ns = wall_ns - age_ns if is_monotonic else wall_ns
        try:
            message = raw_image(frame.copy(), image, captured_ns, self._source)
        except (FrameOverwrittenError, StaleFrameError):
            return 1
        self._sent = now
        self._channel.log(message, log_time=wall_ns)
        return 1

    def _waits_for_format(self, frame: Frame) -> bool:
        """Return true until the metadata that the frame names is there, for a while at most."""
        metadata = self._consumer.metadata
        is_described = metadata is not None and metadata.attributes is not None
        is_patient = time.monotonic() - self._began < _METADATA_PATIENCE_S
        return bool(frame.meta_version) and not is_described and is_patient


def _report(stream: StreamView) -> dict[str, Any]:
    report = {
        "stream_id": stream.stream_id,
        "name": stream.name,
        "rate_hz": stream.rate_hz,
        "last_seq": stream.last_seq,
        "drops": stream.drops,
        "consumers": len(stream.consumers),
        "state": stream.state,
    }
    return {name: value for name, value in report.items() if value is not None}
