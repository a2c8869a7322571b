"""Commands that listen do not hold a producer up (S-003)."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import Counter

import numpy as np
import pytest

from tensor_pool.client import PublishStatus
from tensor_pool.protocol.transport.aeron import AeronTransport
from tests.cli.pools import Command, run, until
from tests.client.conftest import deployment
from tests.client.deployment import STREAM, Deployment

__all__ = ["deployment"]
pytestmark = pytest.mark.process
FRAMES = 3000
RATE_HZ = 1000
AT_ONCE = 20
TOOLS = (("watch",), ("health", "--watch"), ("trace", "--follow", "--json"))


def test_S_003_a_producer_at_1_kHz_goes_on_while_every_listening_command_is_stopped(
    deployment: Deployment,
) -> None:
    """S-003, S-172: directory, QoS monitor and traces; no lease, no back-pressure.

    The consumer reads the shared descriptor stream, as one of another make does, which `trace`
    reads too. The media driver is the one that the daemon embeds: it looks at its timers often.
    """
    deployment.daemon()
    options = ["--config", str(deployment.config), "--aeron-dir", deployment.aeron_dir]
    options += ["--base-dir", str(deployment.base)]
    with contextlib.ExitStack() as stack:
        tools = [Command(*tool, *options) for tool in TOOLS]
        for tool in tools:
            stack.callback(tool.close)
        client = stack.enter_context(deployment.connect())
        producer = stack.enter_context(client.producer(STREAM, trace=True))
        frame = np.zeros(64, np.uint8)
        transport = stack.enter_context(
            contextlib.closing(AeronTransport.connect(deployment.aeron_dir))
        )
        consumer = transport.add_subscription(
            client.config.descriptor_channel, client.config.descriptor_stream_id
        )
        descriptors: list[bytes] = []

        def read() -> None:
            while consumer.poll(lambda view: descriptors.append(bytes(view)), 64):
                pass

        def listens(tool: Command) -> bool:
            producer.publish(frame)
            assert tool.process.stdout is not None
            return bool(tool.process.stdout.readline())

        for tool in tools:
            until(lambda tool=tool: listens(tool), "the first output")
        assert all(lease["role"] == "PRODUCER" for lease in run("leases", "--json", *options).json)
        for tool in tools:
            tool.interrupt(signal.SIGSTOP)
        read()
        descriptors.clear()
        statuses: Counter[PublishStatus] = Counter()
        due = time.monotonic()
        while statuses.total() < FRAMES:
            for _ in range(AT_ONCE):
                statuses[producer.publish(frame).status] += 1
            read()
            due = max(due + AT_ONCE / RATE_HZ, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
        for tool in tools:
            tool.interrupt(signal.SIGCONT)
        metrics = producer.metrics()
    assert metrics["descriptor_backpressured"] == 0
    assert statuses == {PublishStatus.PUBLISHED: FRAMES}
    assert len(descriptors) == FRAMES
    assert metrics["attaches"] == 1
