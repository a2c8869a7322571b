"""Write what the state machine pages take from the code: `python docs/hsm/generate.py`.

`reference.md` comes from the docstrings, `conformance.md` from the lists of the outside suites, the
table in `semantics.md` from the tests that name each requirement. `--check` prints what is stale
and writes nothing.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(REPOSITORY))

import tensor_pool.hsm as hsm  # noqa: E402
from docs.hsm.conformance_page import conformance  # noqa: E402
from tensor_pool.hsm import diagram, scxml  # noqa: E402
from tests.coverage_matrix import requirement_ids, tests_by_requirement  # noqa: E402
from tests.hsm.oracle.python_statemachine import DIFFERENCES  # noqa: E402

GROUPS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "Machines": (hsm, ("Machine",)),
    "States": (hsm, ("State", "Final", "Terminate", "Region")),
    "Declarations": (
        hsm,
        (
            "on_initial",
            "on_event",
            "on_timeout",
            "on_completion",
            "on_entry",
            "on_exit",
            "on_history_default",
        ),
    ),
    "Answers and history kinds": (hsm, ("Outcome", "History")),
    "Looking at a class": (hsm, ("Edge", "Finding", "paths", "Path", "Coverage")),
    "Threads and asyncio": (hsm, ("Runner",)),
    "Observers": (hsm, ("LoggingObserver", "observed_by")),
    "Errors": (hsm, ("HsmError", "DefinitionError", "DispatchError", "TransitionError")),
    "Diagrams (`tensor_pool.hsm.diagram`)": (diagram, ("render", "RendererMissingError")),
    "SCXML (`tensor_pool.hsm.scxml`)": (scxml, ("export_scxml", "import_scxml", "ScxmlError")),
}
CONSTANTS = {
    "ROOT": "The machine itself: parent of all top-level states, owner of the first initial.",
    "ANY": "Every event (`on_event`), or every state (`on_entry`, `on_exit`).",
    "HANDLED": "The event was taken.",
    "UNHANDLED": "Nothing took the event; false in a boolean context.",
    "DEFERRED": "The event waits for a state that takes it.",
    "SHALLOW": "History: the remembered child, then its initial.",
    "DEEP": "History: the remembered leaf.",
}
_SECTION = re.compile(r"^(Args|Raises|Returns|Attributes):$")
_ITEM = re.compile(r"^( {4})([A-Za-z_*][\w, *]*): (.*)$")
_REQUIREMENTS = "requirements"
_DIFFERENCES = "differences"

# The sections of the specification, for the table.
SECTIONS = (
    (1, 9, "Definition"),
    (10, 39, "Errors found at definition"),
    (40, 59, "Construction and lifecycle"),
    (60, 79, "Dispatch"),
    (80, 89, "Transitions"),
    (90, 99, "The six-state machine"),
    (100, 109, "Initials"),
    (110, 119, "Entry and exit"),
    (120, 129, "History"),
    (130, 139, "Final states and completion"),
    (140, 149, "Choice"),
    (150, 159, "Terminate"),
    (160, 169, "Run to completion, exceptions, faults"),
    (170, 179, "Tracing"),
    (180, 189, "Families"),
    (190, 195, "Objects, typing, copying"),
    (196, 198, "Performance contract"),
    (199, 219, "Guards, posting, deferral"),
    (220, 229, "Snapshot and restore"),
    (230, 239, "Introspection, lint, coverage"),
)


def reference() -> str:
    """The page of all public names."""
    missing = set(hsm.__all__) - set(CONSTANTS)
    missing -= {name for module, names in GROUPS.values() if module is hsm for name in names}
    if missing:
        raise ValueError(f"public names in no group of the reference: {sorted(missing)}")
    lines = [
        "# Reference",
        "",
        "Every public name of `tensor_pool.hsm`, from its docstring (`python docs/hsm/generate.py`",
        "writes this page). Ids such as H-061 are explained in [Semantics](semantics.md).",
        "",
        "```python",
        "from tensor_pool.hsm import *",
        "```",
        "",
        "## Constants",
        "",
        *(f"- `{name}`: {text}" for name, text in CONSTANTS.items()),
        "",
    ]
    for title, (module, names) in GROUPS.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += _entry(getattr(module, name), name, module)
    lines += _functions_in_declarations()
    return "\n".join(lines).rstrip() + "\n"


def _entry(thing: Any, name: str, module: Any) -> Iterator[str]:
    yield f"### `{name}{_signature(thing)}`"
    yield ""
    if module is not hsm:
        yield from ("```python", f"from {module.__name__} import {name}", "```", "")
    yield from _docstring(thing)
    if inspect.isclass(thing):
        for member, value in _members(thing):
            signature = "" if isinstance(value, property) else _signature(value)
            yield f"#### `{name}.{member}{signature}`"
            yield ""
            yield from _docstring(value)


def _members(cls: type) -> list[tuple[str, Any]]:
    """Public methods and properties with a docstring; those of the class before inherited ones."""
    found: dict[str, Any] = {}
    for klass in cls.__mro__:
        if klass.__module__.startswith("tensor_pool."):
            for name, value in vars(klass).items():
                plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
                documented = isinstance(plain, property) or inspect.isfunction(plain)
                if not name.startswith("_") and documented and inspect.getdoc(plain):
                    found.setdefault(name, plain)
    return list(found.items())


def _signature(thing: Any) -> str:
    try:
        signature = inspect.signature(thing.__init__ if inspect.isclass(thing) else thing)
    except (TypeError, ValueError):
        return ""
    kept = [p for name, p in signature.parameters.items() if name not in ("self", "cls")]
    shown = inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in kept])
    return re.sub(r"<(\w+)[^>]*>", r"\1", str(shown))


def _docstring(thing: Any) -> Iterator[str]:
    """A docstring as Markdown: sections as lists, examples as fenced blocks."""
    text = inspect.getdoc(thing) or ""
    in_example = False
    for line in text.splitlines():
        if line.startswith(">>> ") and not in_example:
            in_example = True
            yield "```python"
        if in_example and not line.strip():
            in_example = False
            yield "```"
        if in_example:
            yield line
        elif _SECTION.match(line):
            yield from (f"*{line[:-1]}*", "")
        elif match := _ITEM.match(line):
            yield f"- `{match[2]}`: {match[3]}"
        elif line.startswith("    "):
            yield "  " + line.strip()
        else:
            yield line
    if in_example:
        yield "```"
    yield ""


def _functions_in_declarations() -> list[str]:
    return [
        "## What the functions are called with",
        "",
        "| declaration | handler or effect | guard |",
        "| --- | --- | --- |",
        "| `on_event` of named events | `(self, arg)` | `(self, arg)` |",
        "| `on_event` of `ANY` | `(self, arg, event)` | `(self, arg, event)` |",
        "| `on_completion` | `(self)` | `(self)` |",
        "| `on_initial`, `on_history_default` | `(self)` | |",
        "| `on_entry`, `on_exit` of named states | `(self)` | |",
        "| `on_entry`, `on_exit` of `ANY` | `(self, state)` | |",
        "| `effect=` of a call in a handler, guards and effects of `choice` | `()` | `()` |",
        "",
    ]


def requirements_table() -> str:
    """Return the tests of each requirement, by section; those without a test are the open gaps."""
    found = tests_by_requirement(REPOSITORY / "tests")
    ids = [name for name in requirement_ids() if name.startswith("H-")]
    lines = []
    gaps = [name for name in ids if name not in found]
    lines += [
        f"{len(ids) - len(gaps)} of {len(ids)} requirements are named by a test.",
        "",
        "Without a test: " + (", ".join(gaps) if gaps else "none") + ".",
        "",
    ]
    for first, last, title in SECTIONS:
        members = [name for name in ids if first <= int(name[2:]) <= last]
        lines += [f"### {title}", "", "| requirement | tests |", "| --- | --- |"]
        for name in members:
            lines.append(f"| {name} | {_tests(found.get(name, []))} |")
        lines.append("")
    return "\n".join(lines)


def differences_table() -> str:
    """Return the features that python-statemachine defines otherwise, from its list."""
    lines = ["| left out | because in python-statemachine |", "| --- | --- |"]
    lines += [f"| `{d.feature}` | {d.reason} |" for d in DIFFERENCES]
    return "\n".join([*lines, ""])


def _tests(names: list[str]) -> str:
    """The files; `make coverage-matrix` counts, and `--tests` lists every test by name."""
    paths = sorted({name.split("::")[0] for name in names})
    return ", ".join(f"[{Path(p).name}](../../tests/{p})" for p in paths) or "none"


def semantics(text: str) -> str:
    """The semantics page with its tables renewed."""
    for name, table in ((_DIFFERENCES, differences_table()), (_REQUIREMENTS, requirements_table())):
        begin, end = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = f"{before}{begin}\n\n{table}\n{end}{after}"
    return text


def pages() -> dict[Path, str]:
    page = HERE / "semantics.md"
    return {
        HERE / "reference.md": reference(),
        HERE / "conformance.md": conformance(),
        page: semantics(page.read_text(encoding="utf-8")),
    }


def stale() -> list[str]:
    return [
        path.name
        for path, text in pages().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only tell what is stale")
    options = parser.parse_args()
    if options.check:
        problems = stale()
        print("\n".join(problems) or "the pages are fresh")
        return 1 if problems else 0
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
