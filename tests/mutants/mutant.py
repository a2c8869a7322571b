"""A mutant: one wrong change to the code, and the tests that have to notice it.

It is kept as text to find and text to put there, so that it survives everything but a change of the
very lines it is about; then it is stale, which a test of its own says.
"""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec

__all__ = ["ROOT", "Mutant"]

ROOT = Path(__file__).parents[2]


class Mutant(msgspec.Struct, frozen=True):
    """`old`, which is in `file` exactly once, becomes `new`; one of `tests` has to fail.

    `file` and `tests` are paths below the root of the repository; a test may also be one test's id.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def mutated(self, root: Path = ROOT) -> str:
        """The file's text with the change; ValueError if the record does not fit the file."""
        text = (root / self.file).read_text()
        found = text.count(self.old)
        if found != 1:
            raise ValueError(f"{self.name}: its old text is {found} times in {self.file}")
        changed = text.replace(self.old, self.new)
        if ast.dump(ast.parse(changed)) == ast.dump(ast.parse(text)):
            raise ValueError(f"{self.name}: changes nothing that Python sees")
        return changed

    def missing_tests(self, root: Path = ROOT) -> list[str]:
        """Test files named that do not exist."""
        return [test for test in self.tests if not (root / test.partition("::")[0]).is_file()]
