"""The page's own client: a process that attaches as a consumer and looks into frames.

The driver may not look into frames (D-005), and what looks should not be able to hold it up or pull
it down. So the driver starts this while a page is open, sends the ids of the streams to its stdin
and relays its output. It is a client like any other: its leases are granted, seen
in every list and returned. It ends when its stdin does, so it cannot outlive the driver.

Lines are JSON: first the client's configuration, then `{"streams": [...]}` as often as that
changes, and `{"pixels": ID}` for one whole frame; out come `frame`, `own` and `problem` messages,
and `pixels` with as many bytes behind the line as it has in `body_bytes`.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, BinaryIO

import msgspec

from tensor_pool.client.bridge_origin import BRIDGE_ATTRIBUTE, read_origin
from tensor_pool.client.client import Client
from tensor_pool.client.config import ClientConfig
from tensor_pool.client.consumer.consumer import Consumer
from tensor_pool.client.consumer.frame import Frame
from tensor_pool.protocol.clock import SystemClock
from tensor_pool.protocol.errors import StaleFrameError, TensorPoolError
from tensor_pool.protocol.transport.aeron import AeronTransport
from tensor_pool.protocol.transport.channel import untethered
from tensor_pool.protocol.wire import Mode

__all__ = ["main"]

_FRAMES_HZ = 5
_IDLE_S = 0.01


class Wishes:
    """The streams that the driver requests, read by a thread of their own."""

    def __init__(self, lines: BinaryIO) -> None:
        self.streams: frozenset[int] = frozenset()
        self.pixels: set[int] = set()
        self.ended = False
        self._lines = lines
        threading.Thread(target=self._read, name="wishes", daemon=True).start()

    def _read(self) -> None:
        try:
            for line in self._lines:
                wish = msgspec.json.decode(line)
                if "pixels" in wish:
                    self.pixels.add(wish["pixels"])
                else:
                    self.streams = frozenset(wish["streams"])
        finally:
            self.ended = True


class Gallery:
    """One consumer for each stream that is looked at."""

    def __init__(self, client: Client, out: BinaryIO) -> None:
        self._client = client
        self._out = out
        self._consumers: dict[int, Consumer] = {}
        self._reported: set[int] = set()
        self._thumbnail_of = _thumbnails(out)

    def look_at(self, streams: frozenset[int]) -> None:
        """Attach to what is new, leave what is no longer asked for."""
        if self._thumbnail_of is None:
            return
        for stream_id in self._consumers.keys() - streams:
            self._consumers.pop(stream_id).close()
        for stream_id in streams - self._consumers.keys():
            self._consumers[stream_id] = self._client.begin_attach_consumer(
                stream_id, mode=Mode.RATE_LIMITED, max_rate_hz=_FRAMES_HZ
            )
        own = {consumer.client_id for consumer in self._consumers.values()}
        if new := own - self._reported:  # the page hides what it causes itself, by these ids
            self._reported |= new
            _say(self._out, type="own", clients=sorted(new))

    def show_new(self, pixels: set[int]) -> None:
        """Print the newest frame of each stream that has one, with its values for `pixels`."""
        for stream_id, consumer in list(self._consumers.items()):
            if consumer.closed:
                del self._consumers[stream_id]
                continue
            frame = consumer.latest()
            if frame is None or self._thumbnail_of is None:
                continue
            try:
                image = self._thumbnail_of(frame, consumer.image_format)
                if stream_id in pixels:
                    self._show_pixels(frame, consumer)
                    pixels.discard(stream_id)
            except StaleFrameError:
                continue
            if image is not None:
                _say(
                    self._out,
                    type="frame",
                    stream_id=stream_id,
                    seq=frame.seq,
                    shape=frame.shape,
                    dtype=frame.wire_dtype.name.lower(),
                    nbytes=frame.nbytes,
                    image=image,
                    origin=_origin_of(consumer),
                )

    def _show_pixels(self, frame: Frame, consumer: Consumer) -> None:
        from .pixels import pixels_of

        body = pixels_of(frame, consumer.image_format)
        if body is not None:
            _say(self._out, body, type="pixels", stream_id=consumer.stream_id)


def main() -> int:
    """Run until stdin ends; status 1 when the transport is lost, after saying so."""
    lines, out = sys.stdin.buffer, sys.stdout.buffer
    config = msgspec.json.decode(lines.readline(), type=ClientConfig)
    # A viewer that is slow or stopped must not hold up a producer.
    config = msgspec.structs.replace(
        config, descriptor_channel=untethered(config.descriptor_channel)
    )
    wishes = Wishes(lines)
    try:
        _look(config, wishes, out)
    except TensorPoolError as error:
        _say(out, type="problem", text=str(error))
        return 1
    except BrokenPipeError:  # the driver is gone
        return 1
    return 0


def _look(config: ClientConfig, wishes: Wishes, out: BinaryIO) -> None:
    clock = SystemClock()
    transport = AeronTransport.connect(config.aeron_dir, clock, client_name="web-page")
    client = Client(config, transport=transport, clock=clock)
    try:
        gallery = Gallery(client, out)
        while not wishes.ended:
            client.do_work()
            gallery.look_at(wishes.streams)
            gallery.show_new(wishes.pixels)
            time.sleep(_IDLE_S)
    finally:
        client.close()
        transport.close()


def _origin_of(consumer: Consumer) -> str:
    """Host, stream and path of a bridged stream, empty for one of this host (B-161)."""
    metadata = consumer.metadata
    value = (metadata.attributes or {}).get(BRIDGE_ATTRIBUTE) if metadata is not None else None
    origin = read_origin(value.value) if value is not None else None
    return origin.text if origin is not None else ""


def _thumbnails(out: BinaryIO) -> Any:
    try:
        from .thumbnail import thumbnail_of
    except ImportError:
        _say(
            out,
            type="problem",
            text="live images need the package pillow: install the extra [http]",
        )
        return None
    return thumbnail_of


def _say(out: BinaryIO, body: bytes = b"", **message: Any) -> None:
    if body:
        message["body_bytes"] = len(body)
    out.write(msgspec.json.encode(message) + b"\n")
    out.write(body)
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
