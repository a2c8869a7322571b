"""`python -m tensor_pool.hsm`: look at a machine class, draw it, or turn it into SCXML and back."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import listings
from .diagram import FORMATS, render
from .errors import HsmError
from .machine import Machine
from .scxml import export_scxml, import_scxml


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it succeeded, 2 when what was asked for cannot be done."""
    options = _parser().parse_args(arguments)
    try:
        text = options.run(options)
    except (HsmError, _UsageError, OSError) as error:
        print(f"tensor_pool.hsm: {error}", file=sys.stderr)
        return 2
    if options.output is None:
        sys.stdout.write(text)
    else:
        options.output.write_text(text, encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tensor_pool.hsm", description="Tools for state machine classes."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    diagram = commands.add_parser("diagram", help="draw a machine class")
    diagram.add_argument("machine", metavar="package.module:Class")
    diagram.add_argument("--format", choices=FORMATS, default="mermaid")
    diagram.set_defaults(run=lambda o: render(load_machine(o.machine), o.format))

    for name, text, run in (
        ("lint", "print what is legal but probably not meant", listings.findings),
        ("table", "print every edge: source, event, guard, target, kind", listings.table),
        ("paths", "print a shortest sequence of events to every edge", listings.ways),
    ):
        listing = commands.add_parser(name, help=text)
        listing.add_argument("machine", metavar="package.module:Class")
        listing.add_argument("--output", type=Path, help="write to this file, not to the terminal")
        listing.set_defaults(run=lambda o, run=run: run(load_machine(o.machine)))

    scxml = commands.add_parser("scxml", help="SCXML of a machine class, or a class from SCXML")
    directions = scxml.add_subparsers(required=True, metavar="DIRECTION")
    exported = directions.add_parser("export", help="print the SCXML document of a machine class")
    exported.add_argument("machine", metavar="package.module:Class")
    exported.set_defaults(run=lambda o: export_scxml(load_machine(o.machine)))
    imported = directions.add_parser(
        "import", help="read an SCXML document and print the machine's diagram"
    )
    imported.add_argument("document", type=Path)
    imported.add_argument("--format", choices=FORMATS, default="mermaid")
    imported.set_defaults(
        run=lambda o: render(import_scxml(o.document.read_text(encoding="utf-8")), o.format)
    )
    for command in (diagram, exported, imported):
        command.add_argument("--output", type=Path, help="write to this file, not to the terminal")
    return parser


class _UsageError(Exception):
    """The command line names something that does not exist."""


def load_machine(name: str) -> type[Machine]:
    """The class that `package.module:Class` names; the current directory may hold the module."""
    module_name, separator, attribute = name.partition(":")
    if not separator or not module_name or not attribute:
        raise _UsageError(f"{name!r} does not name a class; write package.module:Class")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise _UsageError(f"cannot import {module_name}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise _UsageError(f"{module_name} has no {attribute}")
        found = getattr(found, part)
    if not (isinstance(found, type) and issubclass(found, Machine)):
        raise _UsageError(f"{name} is not a Machine class but {found!r}")
    return found


if __name__ == "__main__":
    sys.exit(main())
