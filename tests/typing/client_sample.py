"""The public types of the client, as a user's type checker sees them; read by `test_typing.py`."""

from typing import assert_type

import numpy as np

from tensor_pool.client import (
    Client,
    Consumer,
    Frame,
    FrameStack,
    Loan,
    Mode,
    Producer,
    PublishResult,
    PublishResults,
    SourceMetadata,
    __version__,
    connect,
)


def on_frame(frame: Frame) -> None:
    assert_type(frame.seq, int)
    assert_type(frame.valid, bool)


def on_refused(code: int, text: str) -> None: ...


def right(client: Client) -> None:
    assert_type(__version__, str)
    assert_type(connect(aeron_dir="/dev/shm/aeron", attach_timeout=2.0), Client)
    producer = client.producer(10_000, strict=True, on_refused=on_refused)
    assert_type(producer, Producer)
    assert_type(producer.publish(np.zeros(3)), PublishResult)
    assert_type(producer.publish_many(np.zeros((3, 4))), PublishResults)
    assert_type(producer.publish_many([np.zeros(3), b"abc"])[0], PublishResult)
    assert_type(producer.loan((2, 2), np.uint8), Loan)
    assert_type(producer.loan(100), Loan | None)
    consumer = client.consumer(10_000, mode=Mode.RATE_LIMITED, max_rate_hz=10)
    assert_type(consumer, Consumer)
    assert_type(consumer.poll(), Frame | None)
    assert_type(consumer.poll(copy=True), Frame | None)
    assert_type(consumer.poll(on_frame), int)
    assert_type(consumer.poll(on_frame, 5, copy=True), int)
    assert_type(consumer.receive(timeout=1.0), Frame | None)
    assert_type(consumer.receive_many(10, timeout=1.0), list[Frame])
    assert_type(consumer.receive_many(stack=False), list[Frame])
    assert_type(consumer.receive_many(10, stack=True), FrameStack | None)
    assert_type(consumer.latest(), Frame | None)
    assert_type(consumer.metadata, SourceMetadata | None)
    assert_type(consumer.metrics(), dict[str, int])
    for frame in consumer:
        assert_type(frame, Frame)


def wrong(client: Client) -> None:
    client.consumer(10_000, max_rate="10")  # error
    client.consumer(10_000, max_rate_hz="10")  # error
    client.consumer(10_000, mode=2)  # error
    client.consumer(1.5)  # error
    client.producer(10_000, max_rate_hz=10)  # error
    client.producer(10_000, on_refused=on_frame)  # error
    connect(aeron_directory="/dev/shm/aeron")  # error
    connect(attach_timeout="5")  # error
    client.consumer(1).poll(on_refused)  # error
    client.producer(1).publish_many(5)  # error
    client.consumer(1).receive_many("5")  # error
