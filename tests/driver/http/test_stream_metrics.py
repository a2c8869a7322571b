"""Figures of streams on the metrics page and in the status document (D-197)."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tensor_pool.client import ClientConfig, connect
from tensor_pool.driver.http.prometheus import STREAM_METRICS, STREAM_PREFIX, metrics_page
from tensor_pool.driver.http.traffic import ConsumerTraffic, SlotNote, StreamTraffic, Traffic
from tensor_pool.driver.runtime.metrics import METRIC_NAMES
from tensor_pool.driver.runtime.report import MetricsReport
from tensor_pool.protocol.wire import Mode, QosConsumer, QosProducer
from tests.driver.conftest import Daemons
from tests.driver.daemons import CHANNEL, until

DASHBOARD = Path(__file__).parents[3] / "docs" / "how-to" / "grafana-dashboard.json"
SECOND = 1_000_000_000
EMPTY = MetricsReport("lab-7", "Serving", dict.fromkeys(METRIC_NAMES, 0))


class Ring:
    """Frames 0 to `newest` of growing size, one each 10 ms; the last eight are left."""

    newest_seq = 0

    def newest(self, stream_id: int, epoch: int, count: int) -> list[SlotNote]:
        if epoch != 7:
            return []
        last = max(-1, self.newest_seq - count)
        return [self._note(seq) for seq in range(self.newest_seq, last, -1)]

    def at(self, stream_id: int, epoch: int, seq: int) -> SlotNote | None:
        return self._note(max(seq, self.newest_seq - 7)) if epoch == 7 else None

    @staticmethod
    def _note(seq: int) -> SlotNote:
        return SlotNote(seq, 1000 + seq, seq * 10_000_000)


def produced(current_seq: int, epoch: int = 7) -> QosProducer:
    return QosProducer(stream_id=1, producer_id=9, epoch=epoch, current_seq=current_seq)


def consumed(last_seq: int) -> QosConsumer:
    return QosConsumer(
        stream_id=1,
        consumer_id=5,
        epoch=7,
        last_seq_seen=last_seq,
        drops_gap=2,
        drops_late=3,
        mode=Mode.STREAM,
    )


def test_D_197_frames_bytes_and_rates_follow_from_two_reports() -> None:
    ring = Ring()
    traffic = Traffic(ring)
    traffic.hear(produced(0), 0)
    ring.newest_seq = 3
    traffic.hear(produced(4), SECOND)
    (stream,) = traffic.figures(SECOND)
    assert (stream.frames, stream.nbytes) == (4, 1000 + 1001 + 1002 + 1003)
    assert (stream.frames_per_s, stream.bytes_per_s) == (4.0, 4006.0)
    ring.newest_seq = 5
    traffic.hear(produced(6), 2 * SECOND)
    assert traffic.figures(2 * SECOND)[0].frames == 6
    traffic.hear(produced(2, epoch=8), 3 * SECOND)  # a new epoch counts from 0, its ring is unread
    (stream,) = traffic.figures(3 * SECOND)
    assert (stream.frames, stream.nbytes) == (8, 4006 + 1004 + 1005)
    (stream,) = traffic.figures(9 * SECOND)
    assert stream.frames_per_s is None


def test_D_197_the_latency_of_a_consumer_is_the_time_to_the_newest_frame() -> None:
    ring = Ring()
    ring.newest_seq = 20
    traffic = Traffic(ring)
    traffic.hear(consumed(18), 0)
    (stream,) = traffic.figures(0)
    assert stream.consumers == (ConsumerTraffic(5, 2, 3, 0.02),)
    traffic.hear(consumed(1), 0)  # overwritten long ago: as long as the ring at least
    assert traffic.figures(0)[0].consumers[0].latency_s == 0.07
    assert traffic.figures(9 * SECOND)[0].consumers == ()


def test_D_198_the_age_of_the_newest_frame_counts_from_when_it_was_found() -> None:
    ring = Ring()
    traffic = Traffic(ring)
    traffic.look(0)
    assert traffic.ages_s(0) == {}
    traffic.hear(produced(1), 0)
    traffic.look(SECOND)
    ring.newest_seq = 1
    traffic.look(2 * SECOND)
    traffic.look(3 * SECOND)
    assert traffic.ages_s(4 * SECOND) == {1: 2.0}
    traffic.hear(produced(0, epoch=8), 4 * SECOND)  # a new epoch without a frame yet
    traffic.look(5 * SECOND)
    assert traffic.ages_s(5 * SECOND) == {1: 3.0}


def page(traffic: tuple[StreamTraffic, ...]) -> str:
    return metrics_page(EMPTY, traffic).decode()


def test_D_197_the_dashboard_names_only_metrics_that_there_are() -> None:
    consumer = ConsumerTraffic(5, 2, 3, 0.5)
    text = page((StreamTraffic(1, 10, 20, 1.0, 2.0, (consumer,)),))
    samples = {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    dashboard = json.loads(DASHBOARD.read_text())
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    named = {name for t in targets for name in re.findall(r"tensor_pool_\w+", t["expr"])}
    assert named <= samples.keys()
    for target in targets:
        (name,) = re.findall(r"tensor_pool_\w+", target["expr"])
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= samples[name]
    shown = {name.removeprefix(STREAM_PREFIX).removesuffix("_total") for name in named}
    assert shown >= {"frames", "bytes", "dropped_frames", "latency_seconds"}
    assert {
        name.removeprefix(STREAM_PREFIX).removesuffix("_total")
        for name in samples
        if name.startswith(STREAM_PREFIX)
    } == STREAM_METRICS.keys()


@pytest.mark.process
def test_D_197_a_running_driver_measures_its_streams(daemons: Daemons) -> None:
    daemon = daemons.start(settings={"driver.http_address": "127.0.0.1:0"}).ready()
    (address,) = re.findall(r"pages on http://([\d.:]+)/", daemon.stderr)
    config = ClientConfig(
        aeron_dir=daemons.aeron_dir,
        control_channel=CHANNEL,
        control_stream_id=daemon.control_stream_id,
        qos_channel="aeron:ipc?term-length=4m",
        allowed_base_dirs=(str(daemons.base_dir),),
        qos_interval=0.1,
    )

    def traffic() -> dict[int, dict[str, object]]:
        with urllib.request.urlopen(f"http://{address}/status.json") as answer:
            return {one["stream_id"]: one for one in json.load(answer)["traffic"]}

    with connect(config) as pool, pool.producer(10000) as camera, pool.consumer(10000) as viewer:
        sent = 0

        def measured() -> bool:
            nonlocal sent
            camera.publish(np.zeros(1500, np.uint8))
            sent += 1
            viewer.receive(1)
            stream = traffic().get(10000)
            return bool(
                stream
                and stream["bytes_per_s"]
                and [one["latency_s"] for one in stream["consumers"]] not in ([], [None])
            )

        until(measured, "figures of the stream")
        stream = traffic()[10000]
        assert 0 < stream["frames"] <= sent
        assert stream["nbytes"] == stream["frames"] * 1500
        assert [one["client_id"] for one in stream["consumers"]] == [viewer.client_id]
        with urllib.request.urlopen(f"http://{address}/metrics") as answer:
            text = answer.read().decode()
        assert re.search(r'tensor_pool_stream_bytes_total\{stream_id="10000"\} \d', text)
        assert f'dropped_frames_total{{client_id="{viewer.client_id}",kind="late"' in text
    assert daemon.stop() == 0
