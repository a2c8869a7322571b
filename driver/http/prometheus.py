"""The driver's metrics in the text format of Prometheus (D-185)."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.metrics_core import CounterMetricFamily

from ..runtime.metrics import GAUGES, METRIC_HELP
from ..runtime.report import MetricsReport

__all__ = ["CONTENT_TYPE", "PREFIX", "metrics_page"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "tensor_pool_driver_"


class _ReportCollector:
    """Presents one report to the library."""

    def __init__(self, report: MetricsReport) -> None:
        self._report = report

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


def metrics_page(report: MetricsReport) -> bytes:
    """Every metric: gauges by their name, counters with the customary `_total`."""
    registry = CollectorRegistry()
    registry.register(_ReportCollector(report))
    return generate_latest(registry)
