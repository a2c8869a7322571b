"""Write everything that is derived from the schemas.

Run it by `python -m tensor_pool.schemas.generator.generate` (`make schemas`).

The output is checked in, so that a reader, a type checker and a debugger see plain classes and
straight-line code, and importing the package parses no XML. `--check` writes nothing and exits with
status 1 when a file does not match the schemas.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from pathlib import Path

from .emit_codecs import emit_catalog, emit_codecs
from .emit_reference import emit_reference
from .emit_types import emit_enums, emit_layouts, emit_messages, entry_modules
from .schema import Schema, load_schema

__all__ = ["generate", "main", "read_schemas", "stale_files"]

SCHEMAS = Path(__file__).resolve().parents[1]
GENERATED = SCHEMAS.parent / "protocol" / "wire" / "generated"
REFERENCE = SCHEMAS.parent / "docs" / "reference" / "messages.md"


def read_schemas() -> list[Schema]:
    """Every schema file, by schema id."""
    return sorted(map(load_schema, SCHEMAS.glob("*.xml")), key=lambda schema: schema.id)


def generate() -> dict[Path, str]:
    """Text of every generated file."""
    schemas = read_schemas()
    modules = entry_modules(schemas)
    texts = {
        GENERATED / "enums.py": emit_enums(schemas),
        GENERATED / "layouts.py": emit_layouts(schemas),
        GENERATED / "catalog.py": emit_catalog(schemas),
        REFERENCE: emit_reference(schemas),
    }
    for schema in schemas:
        texts[GENERATED / f"{schema.kind}_messages.py"] = emit_messages(schema, modules)
        texts[GENERATED / f"{schema.kind}_codecs.py"] = emit_codecs(schema, modules)
    return {path: _tidy(path, text) for path, text in texts.items()}


def stale_files() -> list[Path]:
    """Generated files that are missing or say something else than the schemas.

    Python files are compared by their syntax tree: how a formatter lays them out does not matter.
    """
    return [path for path, text in generate().items() if not _same(path, text)]


def _same(path: Path, text: str) -> bool:
    if not path.exists():
        return False
    present = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return ast.dump(ast.parse(present)) == ast.dump(ast.parse(text))
    return present == text


def _tidy(path: Path, text: str) -> str:
    """Python text with sorted imports, without the unused ones, formatted."""
    if path.suffix != ".py":
        return text
    for step in (["check", "--quiet", "--fix", "--select", "I,F401"], ["format", "--quiet"]):
        command = [sys.executable, "-m", "ruff", *step, "--stdin-filename", str(path), "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        text = done.stdout
    return text


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Generate codecs and references from the schemas.")
    parser.add_argument("--check", action="store_true", help="only say which files are stale")
    if parser.parse_args(arguments).check:
        stale = stale_files()
        for path in stale:
            print(f"{path.name} does not match the schemas: run `make schemas`", file=sys.stderr)
        return 1 if stale else 0
    for path, text in generate().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
