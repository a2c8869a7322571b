"""Metrics of the driver and of its streams in the text format of Prometheus (D-185, D-197)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.metrics_core import CounterMetricFamily

from ..runtime.metrics import GAUGES, METRIC_HELP
from ..runtime.report import MetricsReport
from .traffic import StreamTraffic

__all__ = ["CONTENT_TYPE", "PREFIX", "STREAM_METRICS", "STREAM_PREFIX", "metrics_page"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "tensor_pool_driver_"
STREAM_PREFIX = "tensor_pool_stream_"

# Name -> kind, labels besides `stream_id`, help text.
STREAM_METRICS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "frames": ("counter", (), "Frames published while the pages were served."),
    "bytes": ("counter", (), "Their payload bytes, from the mean size of the newest frames."),
    "frames_per_second": ("gauge", (), "Rate between the producer's last reports."),
    "bytes_per_second": ("gauge", (), "Payload bytes a second between the same reports."),
    "dropped_frames": (
        "counter",
        ("client_id", "kind"),
        "Frames that a consumer lost: `gap` never announced to it, `late` overwritten before.",
    ),
    "latency_seconds": (
        "gauge",
        ("client_id",),
        "Time between the newest frame and the last one that the consumer had taken.",
    ),
}


class _ReportCollector:
    """Presents one report to the library."""

    def __init__(self, report: MetricsReport, traffic: Iterable[StreamTraffic]) -> None:
        self._report = report
        self._traffic = traffic

    def collect(self) -> Iterator[Metric]:
        report = self._report
        yield InfoMetricFamily(
            PREFIX.removesuffix("_"),
            "Which driver this is.",
            {"instance_id": report.instance_id, "state": report.state},
        )
        for name, value in report.metrics.items():
            family = GaugeMetricFamily if name in GAUGES else CounterMetricFamily
            yield family(PREFIX + name, METRIC_HELP[name], value=value)
        yield from self._stream_metrics()

    def _stream_metrics(self) -> Iterator[Metric]:
        families = {}
        for name, (kind, labels, text) in STREAM_METRICS.items():
            family = GaugeMetricFamily if kind == "gauge" else CounterMetricFamily
            families[name] = family(STREAM_PREFIX + name, text, labels=("stream_id", *labels))
        for stream in self._traffic:
            of_stream = str(stream.stream_id)
            families["frames"].add_metric((of_stream,), stream.frames)
            families["bytes"].add_metric((of_stream,), stream.nbytes)
            if stream.frames_per_s is not None:
                families["frames_per_second"].add_metric((of_stream,), stream.frames_per_s)
            if stream.bytes_per_s is not None:
                families["bytes_per_second"].add_metric((of_stream,), stream.bytes_per_s)
            for consumer in stream.consumers:
                of_client = (of_stream, str(consumer.client_id))
                drops = families["dropped_frames"]
                drops.add_metric((*of_client, "gap"), consumer.drops_gap)
                drops.add_metric((*of_client, "late"), consumer.drops_late)
                if consumer.latency_s is not None:
                    families["latency_seconds"].add_metric(of_client, consumer.latency_s)
        yield from families.values()


def metrics_page(report: MetricsReport, traffic: Iterable[StreamTraffic] = ()) -> bytes:
    """Every metric: gauges by their name, counters with the customary `_total`."""
    registry = CollectorRegistry()
    registry.register(_ReportCollector(report, traffic))
    return generate_latest(registry)
