"""`diagram`: the statechart of one of the system's machines."""

from __future__ import annotations

import enum
import importlib
import sys
from pathlib import Path

from tensor_pool.hsm import Machine
from tensor_pool.hsm.diagram import Format, RendererMissingError, render

from ..support.exit_status import OK, USAGE, CommandError
from ..support.replacing import replaced

__all__ = ["draw_machine"]

_MACHINES = {
    "driver": ("tensor_pool.driver.core.driver_machine", "DriverLifecycle"),
    "stream": ("tensor_pool.driver.core.stream_machine", "StreamLifecycle"),
    "lease": ("tensor_pool.driver.core.lease_machine", "LeaseLifecycle"),
    "connection": ("tensor_pool.client.attachment.connection_machine", "DriverConnection"),
    "producer": ("tensor_pool.client.producer.machine", "ProducerMachine"),
    "consumer": ("tensor_pool.client.consumer.machine", "ConsumerMachine"),
}


def draw_machine(machine: enum.StrEnum, format_: enum.StrEnum, output: Path | None) -> int:
    """Write the diagram to a file or to standard output."""
    module, name = _MACHINES[machine.value]
    cls: type[Machine] = getattr(importlib.import_module(module), name)
    formats: dict[str, Format] = {"mermaid": "mermaid", "dot": "dot", "svg": "svg"}
    try:
        text = render(cls, formats[format_.value])
    except RendererMissingError as error:
        raise CommandError(str(error), USAGE) from None
    if output is None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
    else:
        with replaced(output) as file:
            file.write(text.encode())
    return OK
