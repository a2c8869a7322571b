"""Real processes, a real media driver, the real daemon."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_pool.client import (
    AttachRejectedError,
    AttachTimeoutError,
    PublishMode,
    PublishStatus,
    TransportError,
    connect,
)
from tensor_pool.driver.core.configuration import (
    DriverConfig,
    DriverTable,
    Pool,
    Profile,
    ShmTable,
    StreamConfig,
)
from tensor_pool.driver.daemon.embedded import EmbeddedDriver
from tests.client.deployment import PATIENCE_S, STREAM, WORKER, Deployment, Process, until
from tests.client.worker import SHAPE, image

pytestmark = pytest.mark.process
PROGRAM = """
    import numpy as np
    from tensor_pool.client import connect

    with connect() as pool:                                   # the driver's default endpoints
        with pool.producer(stream_id=10_000) as camera:
            camera.publish(np.zeros((480, 640), np.uint16))   # one copy into shared memory
            with camera.loan((480, 640), np.uint16) as frame: # no copy: fill frame.array in place
                grab_into(frame.array)

        with pool.consumer(stream_id=10_000) as viewer:
            for frame in viewer:                              # waits without burning a core
                show(frame.array)                             # zero-copy, read-only view
                if not frame.valid: continue                  # was it overwritten while we looked?
"""


class Done(Exception):  # noqa: N818 - not an error
    pass


def test_the_printed_program_runs(deployment: Deployment) -> None:
    """The program of the front page, and a camera in another process after its own."""
    deployment.daemon()
    grabbed: list[tuple[int, ...]] = []
    shown: list[tuple[tuple[int, ...], str]] = []
    cameras: list[Process] = []

    def grab_into(array: Any) -> None:
        array[:] = 7
        grabbed.append(array.shape)
        starter.start()

    def start_camera() -> None:
        time.sleep(0.5)
        cameras.append(deployment.worker("producer"))

    def show(array: Any) -> None:
        assert not array.flags.writeable
        assert (array == array[0, 0]).all()
        shown.append((array.shape, array.dtype.name))
        if len(shown) == 20:
            raise Done

    starter = threading.Thread(target=start_camera)
    source = textwrap.dedent(PROGRAM).replace("connect() as", "connect(**endpoints) as")
    names = {"grab_into": grab_into, "show": show, "endpoints": deployment.endpoints}
    with pytest.raises(Done):
        exec(source, names)
    starter.join()
    assert grabbed == [(480, 640)]
    assert set(shown) == {(SHAPE, "uint16")}


def test_a_killed_producer_is_replaced_and_consumers_go_on(deployment: Deployment) -> None:
    """W-210, C-055: SIGKILL, then another producer; no consumer is restarted."""
    deployment.daemon()
    consumer = deployment.worker("consumer")
    producer = deployment.worker("producer")
    until(lambda: (consumer.latest("good") or 0) >= 50, "frames")
    first = consumer.latest("epoch")
    producer.kill()
    deployment.worker("producer")  # its attach is refused until the old lease has expired
    until(lambda: consumer.latest("epoch") > first, "a new epoch")
    good = consumer.latest("good")
    until(lambda: consumer.latest("good") >= good + 50, "frames again")
    last = consumer.finish()
    assert last["torn"] == 0
    assert last["metrics"]["attaches"] == 1


@pytest.mark.parametrize("orderly", [True, False], ids=["SIGTERM", "SIGKILL"])
def test_a_restarted_daemon_takes_all_clients_back(deployment: Deployment, orderly: bool) -> None:
    """C-057, C-058, C-059, W-210: the media driver goes and comes back with it."""
    daemon = deployment.daemon()
    consumer = deployment.worker("consumer")
    producer = deployment.worker("producer")
    until(lambda: (consumer.latest("good") or 0) >= 20, "frames")
    first = consumer.latest("epoch")
    if orderly:
        daemon.child.terminate()
        daemon.child.wait(PATIENCE_S)
    else:
        daemon.kill()
    deployment.daemon()
    until(lambda: consumer.latest("epoch") > first, "a new epoch")
    good = consumer.latest("good")
    until(lambda: consumer.latest("good") >= good + 50, "frames again")
    last = consumer.finish()
    assert last["torn"] == 0
    assert last["metrics"]["transport_losses"] >= 1
    assert last["metrics"]["attaches"] >= 2
    assert producer.finish()["metrics"]["transport_losses"] >= 1


def test_of_four_consumers_one_stopped_for_10_s_harms_no_other_and_reports_its_gap(
    deployment: Deployment,
) -> None:
    """W-004, C-051: SIGSTOP far beyond its lease; the others miss no frame, it comes back."""
    deployment.daemon()
    consumers = [deployment.worker("consumer") for _ in range(4)]
    producer = deployment.worker("producer", rate_hz=50.0)
    until(lambda: all((c.latest("good") or 0) >= 20 for c in consumers), "frames for all")
    stopped = consumers[0]
    stopped.child.send_signal(signal.SIGSTOP)
    time.sleep(0.5)  # what it had written before has arrived
    before = [c.latest("good") for c in consumers]
    time.sleep(9.5)
    during = [c.latest("good") - b for c, b in zip(consumers, before, strict=True)]
    assert during[0] == 0, "it was stopped"
    assert min(during[1:]) > 300, f"of about 450 frames: {during}"
    stopped.child.send_signal(signal.SIGCONT)
    until(lambda: stopped.latest("good") >= before[0] + 50, "frames after SIGCONT")
    published = producer.finish()
    time.sleep(1.0)  # the last frames arrive
    last = [c.finish() for c in consumers]
    assert [one["torn"] for one in last] == [0] * 4
    for one in last[1:]:
        # From the first frame it had to the very last one of the stream, without a hole.
        assert (one["last"], one["good"]) == (
            published["published"] - 1,
            published["published"] - one["first"],
        )
        drops = ("drops_gap", "drops_late", "drops_duplicate", "drops_resync", "lease_losses")
        assert not {k: v for k, v in one["metrics"].items() if k.startswith(drops) and v}
    assert published["metrics"]["attaches"] == 1
    assert published["metrics"]["descriptor_backpressured"] == 0
    one = last[0]
    missed = one["last"] - one["first"] + 1 - one["good"]
    told = ("missed_unmapped", "drops_gap", "drops_late", "drops_resync")
    assert sum(one["metrics"][counter] for counter in told) == missed > 400
    assert sum(v for k, v in one["metrics"].items() if k.startswith("lease_losses")) >= 1


def test_C_116_a_process_that_just_ends_returns_its_lease(deployment: Deployment) -> None:
    """C-116: the next producer is not refused."""
    deployment.daemon()
    producer = deployment.worker("producer", leave_open=True)
    producer.finish()
    with deployment.connect() as pool:
        at = time.monotonic()
        with pool.producer(STREAM, attach_timeout=20.0) as following:
            assert following.metrics()["attach_refused"] == 0
        assert time.monotonic() - at < PATIENCE_S


def test_without_a_daemon_the_error_has_a_remedy(deployment: Deployment) -> None:
    """C-031, C-036: a media driver alone does not answer."""
    with pytest.raises(TransportError, match="start the tensor-pool driver"):
        connect(**deployment.endpoints)
    deployment.daemon()
    with (
        connect(**deployment.endpoints, control_stream_id=1999) as pool,
        pytest.raises(AttachTimeoutError, match=r"stream 1999.*is `tensor-pool driver` running"),
    ):
        pool.consumer(STREAM, attach_timeout=0.5)


def test_a_stream_that_does_not_exist_yet_is_refused_with_advice(deployment: Deployment) -> None:
    """C-031, C-042: the advice is a note; the driver's text stays what it is."""
    deployment.daemon()
    with deployment.connect() as pool:
        with pytest.raises(AttachRejectedError, match="not provisioned") as caught:
            pool.consumer(STREAM, attach_timeout=0.5)
        assert "EXISTING_OR_CREATE" in caught.value.__notes__[0]
        mode = PublishMode.EXISTING_OR_CREATE
        assert pool.consumer(STREAM, publish_mode=mode).poll_ready()


def embedded_config(directory: Path) -> DriverConfig:
    return DriverConfig(
        driver=DriverTable(
            aeron_dir=str(directory / "aeron"), control_channel="aeron:ipc?term-length=256k"
        ),
        shm=ShmTable(base_dir=str(directory / "regions")),
        profiles={"small": Profile(payload_pools=(Pool(1, 4096),), header_nslots=8)},
        streams={"camera": StreamConfig(STREAM, "small")},
    )


@pytest.fixture
def directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="tp-emb-", dir="/dev/shm"))
    (directory / "regions").mkdir()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def test_C_130_client_and_embedded_driver_work_in_one_process(directory: Path) -> None:
    """C-130, C-132: also for a consumer of another process, by the ordinary endpoints."""
    with EmbeddedDriver(embedded_config(directory)) as driver:
        config = driver.client_config()
        with connect(config) as pool, pool.producer(STREAM) as producer:
            outside = Process(
                [
                    sys.executable,
                    str(WORKER),
                    "consumer",
                    json.dumps(
                        {
                            "aeron_dir": config.aeron_dir,
                            "control_channel": config.control_channel,
                            "control_stream_id": config.control_stream_id,
                            "allowed_base_dirs": list(config.allowed_base_dirs),
                        }
                    ),
                ]
            )
            try:
                until(lambda: outside.latest("ready"), "outside consumer")
                with pool.consumer(STREAM) as inside:
                    until(lambda: bool(producer._bells), "hellos")
                    seen = []
                    for i in range(30):
                        producer.publish(image(i))
                        frame = inside.receive(timeout=10)
                        assert frame is not None
                        seen.append(int(frame.copy()[0, 0]))
                        time.sleep(0.002)
                    assert seen == list(range(30))

                def more() -> bool:
                    """The outside consumer may have been connected after the first frames."""
                    producer.publish(image(0))
                    return (outside.latest("good") or 0) >= 20

                until(more, "frames outside")
                assert outside.finish()["torn"] == 0
            finally:
                outside.close()


def test_C_131_either_may_be_closed_first(directory: Path) -> None:
    """C-131, C-057: after the driver clients find their leases gone, and close all the same."""
    driver = EmbeddedDriver(embedded_config(directory))
    pool = connect(driver.client_config())
    with pool.producer(STREAM) as producer:
        assert producer.publish(np.zeros(4, np.uint8))
    pool.close()
    driver.close()

    driver = EmbeddedDriver(embedded_config(directory))
    pool = connect(driver.client_config())
    producer = pool.producer(STREAM)
    driver.close()
    until(lambda: producer.state != "Active", "the lease to end")
    assert producer.publish(np.zeros(4, np.uint8)).status is PublishStatus.NOT_ACTIVE
    pool.close()


def test_C_133_one_thread_polls_both(directory: Path) -> None:
    """C-133: nothing runs by itself, and no call deadlocks."""
    from tensor_pool.client.client import Client

    with EmbeddedDriver(embedded_config(directory), threaded=False) as driver:

        def idle() -> None:
            driver.do_work()

        client = Client(driver.client_config(), idle=idle)
        producer = client.producer(STREAM, idle=idle)
        consumer = client.consumer(STREAM, idle=idle)
        for i in range(10):
            driver.do_work()
            client.do_work()
            producer.publish(np.full(3, i, np.uint8))
            frame = None
            while frame is None:
                frame = consumer.poll()
                driver.do_work()
            assert frame.array.tolist() == [i] * 3
        client.close()
