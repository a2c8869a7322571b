"""The way from a machine class to its chart, for the tools that read charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .chart import Chart

if TYPE_CHECKING:
    from ..machine import Machine


def chart_of(machine: type[Machine] | Machine) -> Chart:
    """The chart of a machine class or of a machine's class."""
    owner = machine if isinstance(machine, type) else type(machine)
    return owner._hsm_chart
