"""The requirements and the tests that check them: `make coverage-matrix`.

The pages of `docs/specification` define the requirement ids. A test checks a requirement when its
own name (`H_066`) or its docstring (`H-066`) names it. Prints a line per family and the gaps: the
ids without a test. Exit status 1 when a test names an id that the specification does not define.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
SPECIFICATION = TESTS.parent / "docs" / "specification"
FAMILIES = {
    "H": "state machines",
    "W": "wire and shared memory",
    "M": "messages",
    "D": "driver",
    "C": "client",
    "B": "bridge",
    "S": "services",
}
_ID = re.compile(r"(?<![A-Za-z0-9])([HWMDCBS])[-_](\d{3})(?!\d)")
_DEFINITION = re.compile(r'<a id="([HWMDCBS]-\d{3})"></a>')
_NOT_CHECKED = re.compile(r'<a id="([HWMDCBS]-\d{3})"></a>[^\n]*\*Check:\* none')


def requirement_ids() -> list[str]:
    """Return the ids that the specification defines, in order; raise if one is defined twice."""
    ids = [i for page in SPECIFICATION.glob("*.md") for i in _DEFINITION.findall(page.read_text())]
    repeated = sorted(i for i, times in Counter(ids).items() if times > 1)
    if repeated:
        raise ValueError(f"defined more than once in {SPECIFICATION}: {' '.join(repeated)}")
    return sorted(ids)


def unchecked_ids() -> set[str]:
    """Return the ids of scopes and decisions: by their own text no test checks them."""
    pages = SPECIFICATION.glob("*.md")
    return {i for page in pages for i in _NOT_CHECKED.findall(page.read_text())}


def _named_ids(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    text = node.name.replace("__", "_ ") + "\n" + (ast.get_docstring(node) or "")
    text = re.sub(r"^[a-z]+_", " ", text)  # `test_H_001_...`: the id may follow the prefix
    return {f"{family}-{number}" for family, number in _ID.findall(text.replace("_", "-"))}


def tests_by_requirement(root: Path) -> dict[str, list[str]]:
    """Map each named id to the tests (`path::name`) that name it."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(root.rglob("test_*.py")):
        for test, ids in _tests_of(ast.parse(path.read_text())):
            for requirement in ids:
                found[requirement].append(f"{path.relative_to(root)}::{test}")
    return found


def _tests_of(module: ast.Module) -> Iterator[tuple[str, set[str]]]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("test"):
                yield node.name, _named_ids(node)
        elif isinstance(node, ast.ClassDef):
            in_class = _named_ids(node)
            for item in node.body:
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and (
                    item.name.startswith("test") or item.name.startswith("rule")
                ):
                    yield f"{node.name}::{item.name}", _named_ids(item) | in_class


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", action="store_true", help="list the tests of each requirement")
    parser.add_argument("--family", choices=sorted(FAMILIES), help="only this family")
    arguments = parser.parse_args()
    found = tests_by_requirement(TESTS)
    ids = [i for i in requirement_ids() if arguments.family in (None, i[0])]
    missing = [i for i in ids if i not in found and i not in unchecked_ids()]
    if arguments.tests:
        for requirement in ids:
            print(requirement, *found.get(requirement, ["-"]), sep="\n    ")
    for family, title in FAMILIES.items():
        members = [i for i in ids if i[0] == family]
        if members:
            without = [i for i in members if i in missing]
            tested = sum(i in found for i in members)
            scope = f", {len(members) - tested - len(without)} not to be tested" * (
                tested + len(without) < len(members)
            )
            print(f"{family}  {title:<24} {tested:>3} of {len(members):>3} tested{scope}")
            if without:
                print("   gaps:", " ".join(without))
    unknown = sorted(set(found) - set(requirement_ids()))
    if unknown:
        print("named by tests but not in the specification:", " ".join(unknown))
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
