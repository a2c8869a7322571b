"""`foxglove`: a client of another make connects, subscribes and gets what was published."""

from __future__ import annotations

import base64
import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import websocket
from mcap.records import Schema
from mcap_protobuf.decoder import DecoderFactory

from tests.cli.pools import PATIENCE_S, Command, DriverProcess, run

MESSAGE_DATA = 1


class FoxgloveClient:
    """The part of the protocol that a viewer needs."""

    def __init__(self, url: str) -> None:
        self._socket = websocket.create_connection(
            url, subprotocols=["foxglove.sdk.v1"], timeout=PATIENCE_S
        )
        self.channels: dict[str, dict[str, Any]] = {}
        self._topics: dict[int, str] = {}
        self.server = self._until("serverInfo")

    def _until(self, op: str) -> dict[str, Any]:
        while True:
            message = self._socket.recv()
            if isinstance(message, str) and (told := json.loads(message))["op"] == op:
                return told

    def wait_for_channel(self, topic: str) -> None:
        while topic not in self.channels:
            for channel in self._until("advertise")["channels"]:
                self.channels[channel["topic"]] = channel

    def subscribe(self, *topics: str) -> None:
        subscriptions = []
        for topic in topics:
            self.wait_for_channel(topic)
            number = len(self._topics) + 1
            self._topics[number] = topic
            subscriptions.append({"id": number, "channelId": self.channels[topic]["id"]})
        self._socket.send(json.dumps({"op": "subscribe", "subscriptions": subscriptions}))

    def messages(self) -> Iterator[tuple[str, Any]]:
        """Topic and decoded content of each message."""
        while True:
            data = self._socket.recv()
            if isinstance(data, bytes) and data[0] == MESSAGE_DATA:
                number, _ = struct.unpack_from("<IQ", data, 1)
                topic = self._topics[number]
                yield topic, self._decoded(self.channels[topic], data[13:])

    @staticmethod
    def _decoded(channel: dict[str, Any], data: bytes) -> Any:
        if channel["encoding"] == "json":
            return json.loads(data)
        schema = Schema(
            id=channel["id"],
            data=base64.b64decode(channel["schema"]),
            encoding=channel["schemaEncoding"],
            name=channel["schemaName"],
        )
        decode = DecoderFactory().decoder_for(channel["encoding"], schema)
        assert decode is not None
        return decode(data)

    def close(self) -> None:
        self._socket.close()


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (12, 20, 3), np.uint8)


@pytest.fixture
def camera(pool: DriverProcess) -> Iterator[None]:
    """A camera on stream 20080, until the end of the test."""
    stop = threading.Event()
    with pool.client() as client, client.producer(20080) as producer:
        producer.set_image_format("bgr8")

        def publish() -> None:
            number = 0
            while not stop.wait(0.02):
                producer.publish(picture(number % 10))
                number += 1

        thread = threading.Thread(target=publish)
        thread.start()
        yield
        stop.set()
        thread.join()


def address_of(command: Command) -> str:
    assert command.process.stdout is not None
    line = command.process.stdout.readline()
    assert line.startswith("streams for Foxglove: ws://127.0.0.1:"), line
    return line.split()[-1]


@pytest.mark.process
def test_a_client_gets_frames_as_published_with_rates_and_the_log_of_the_driver(
    pool: DriverProcess, camera: None
) -> None:
    with pool.running("foxglove", "20080", "--port", "0") as command:
        viewer = FoxgloveClient(address_of(command))
        assert viewer.server["name"] == "tensor-pool"
        topic = "/stream_20080"
        viewer.subscribe(topic, f"{topic}/status", "/log")
        assert viewer.channels[topic]["schemaName"] == "foxglove.RawImage"
        images: list[Any] = []
        reports: list[Any] = []
        lines: list[str] = []
        for name, content in viewer.messages():
            {topic: images, f"{topic}/status": reports, "/log": lines}[name].append(content)
            if len(images) >= 5 and any("rate_hz" in one for one in reports):
                break
        with pool.client() as client, client.producer(20081):
            for name, content in viewer.messages():
                if name == "/log" and "20081" in content.message:
                    break
        viewer.close()
        command.interrupt()
        outcome = command.outcome()
    assert outcome.status == 0, outcome
    known = {picture(number).tobytes() for number in range(10)}
    assert all(image.data in known for image in images)
    assert all((i.encoding, i.width, i.height, i.step) == ("bgr8", 20, 12, 60) for i in images)
    (report,) = [one for one in reports if "rate_hz" in one][:1]
    assert report["stream_id"] == 20080
    assert report["rate_hz"] > 0
    assert report["consumers"] >= 1


@pytest.mark.process
def test_a_taken_port_is_named(pool: DriverProcess, camera: None) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        outcome = pool.run("foxglove", "20080", "--port", str(port))
    assert outcome.status == 1, outcome
    assert f"127.0.0.1:{port}: " in outcome.stderr
    assert "in use" in outcome.stderr


def test_without_the_sdk_of_rerun_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    outcome = run("view", "10000", "--rerun", "run.rrd")
    assert outcome.status == 2
    assert "of the extra rerun: pip install rerun-sdk" in outcome.stderr


def test_without_the_sdk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "foxglove", None)
    outcome = run("foxglove", "10000", "--aeron-dir", "/dev/shm/tp-nobody-is-here")
    assert outcome.status == 2
    assert "of the extra foxglove: pip install foxglove-sdk" in outcome.stderr
