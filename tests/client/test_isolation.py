"""One consumer never harms another, or a producer, whatever becomes of it (W-008)."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np
import pytest

from tensor_pool.client import PublishMode, PublishStatus
from tests.client.deployment import STREAM, Deployment

pytestmark = pytest.mark.process
OTHER_STREAM = 10_001
RATE_HZ = 10_000  # a window of 21,845 descriptors is full after 2.2 s
FRAMES = 45_000
TWO_STREAMS = """
[policies]
announce_period_ms = 300
lease_keepalive_interval_ms = 300
lease_expiry_grace_intervals = 3
provision_on_startup = true
[profiles.small]
header_nslots = 4096
payload_pools = [{ pool_id = 1, stride_bytes = 4096 }]
[streams.camera]
stream_id = 10000
profile = "small"
[streams.other]
stream_id = 10001
profile = "small"
"""


@pytest.mark.timeout(180)
def test_W_008_idle_stopped_and_killed_consumers_refuse_no_frame_and_cost_others_none(
    deployment: Deployment,
) -> None:
    """An idle one of another stream, a stopped and a killed one of the same stream, at 10 kHz."""
    deployment.config.write_text(TWO_STREAMS)
    deployment.daemon()
    stopped, killed = (deployment.worker("consumer") for _ in range(2))
    frame = np.zeros((8, 8), np.uint8)
    mode = PublishMode.EXISTING_OR_CREATE
    statuses = dict.fromkeys(PublishStatus, 0)
    done = threading.Event()
    with (
        deployment.connect() as pool,
        pool.producer(STREAM) as camera,
        pool.producer(OTHER_STREAM) as other,
        pool.consumer(OTHER_STREAM) as idle,
        pool.consumer(STREAM, publish_mode=mode) as reader,
    ):
        other.publish(frame)
        assert idle.receive(timeout=5) is not None  # from here on its losses are gaps

        def publish() -> None:
            began = time.monotonic()
            published = 0
            while published < FRAMES:
                due = min(FRAMES, int((time.monotonic() - began) * RATE_HZ))
                while published < due:
                    statuses[camera.publish(frame).status] += 1
                    other.publish(frame)
                    published += 1
                time.sleep(0.001)
            done.set()

        thread = threading.Thread(target=publish)
        thread.start()
        stopped.child.send_signal(signal.SIGSTOP)
        killed.kill()
        received = 0
        while not done.is_set() or reader.poll_ready():
            got = reader.receive(timeout=0.5)
            if got is None and done.is_set():
                break
            received += got is not None
        thread.join()
        metrics = reader.metrics()
        assert statuses[PublishStatus.PUBLISHED] == FRAMES, statuses
        assert camera.metrics()["descriptor_backpressured"] == 0
        # Frames that the reader had lost to the ring are counted; no descriptor was missing.
        assert (metrics["drops_gap"], metrics["drops_resync"]) == (0, 0)
        assert received + metrics["drops_late"] == FRAMES
        # The idle one comes back to the newest frames, and its loss is counted.
        last = -1
        for _ in range(FRAMES):
            other.publish(frame)
            got = idle.receive(timeout=0.02)
            if got is not None and got.seq > FRAMES:
                last = got.seq
                break
        assert last > FRAMES
        assert idle.metrics()["drops_gap"] > 0
    stopped.child.send_signal(signal.SIGCONT)
