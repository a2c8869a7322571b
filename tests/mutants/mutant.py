"""A mutant: one wrong change to the code, and the tests that have to notice it.

A record has the code to find and the code to put there. Code is compared by its tokens, so a record
survives other line breaks, indentation, comments, quotes and reworded texts. It is stale once its
own tokens change, and `test_records.py` fails then.
"""

from __future__ import annotations

import ast
import contextlib
import io
import textwrap
import tokenize
from collections.abc import Callable
from pathlib import Path

import msgspec

__all__ = ["ROOT", "Mutant"]

ROOT = Path(__file__).parents[2]

_LAYOUT = frozenset(
    {
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.COMMENT,
        tokenize.ENDMARKER,
    }
)


class Mutant(msgspec.Struct, frozen=True):
    """`old`, which is in `file` exactly once, becomes `new`; one of `tests` has to fail.

    `old` is any run of tokens, also a part of a statement. `file` and `tests` are paths below the
    root of the repository; a test may also be one test's id.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def mutated(self, root: Path = ROOT) -> str:
        """Return the file's text with the change; ValueError if the record does not fit."""
        text = (root / self.file).read_text(encoding="utf-8")
        tokens, old = _code_tokens(text), _code_tokens(self.old)
        places = _places(tokens, old, _is_same) or _places(tokens, old, _is_same_or_text)
        if len(places) != 1:
            raise ValueError(f"{self.name}: its old code is {len(places)} times in {self.file}")
        changed = self._replaced(text, *places[0])
        if ast.dump(ast.parse(changed)) == ast.dump(ast.parse(text)):
            raise ValueError(f"{self.name}: changes nothing that Python sees")
        return changed

    def _replaced(self, text: str, first: tokenize.TokenInfo, last: tokenize.TokenInfo) -> str:
        lines = text.splitlines(keepends=True)
        before = lines[first.start[0] - 1][: first.start[1]]
        after = lines[last.end[0] - 1][last.end[1] :]
        new = textwrap.dedent(self.new).strip()
        if not before.strip():
            new = textwrap.indent(new, before)[len(before) :]
        head, tail = lines[: first.start[0] - 1], lines[last.end[0] :]
        return "".join((*head, before, new, after, *tail))

    def missing_tests(self, root: Path = ROOT) -> list[str]:
        """Return the named test files that do not exist."""
        return [test for test in self.tests if not (root / test.partition("::")[0]).is_file()]


def _code_tokens(code: str) -> list[tokenize.TokenInfo]:
    """Return the tokens without layout; `code` may end in the middle of a bracket."""
    tokens: list[tokenize.TokenInfo] = []
    lines = io.StringIO(textwrap.dedent(code)).readline
    with contextlib.suppress(tokenize.TokenError):  # the end came before that of a bracket
        tokens.extend(t for t in tokenize.generate_tokens(lines) if t.type not in _LAYOUT)
    return tokens


def _is_same(token: tokenize.TokenInfo, other: tokenize.TokenInfo) -> bool:
    if token.type == other.type == tokenize.STRING:
        return bool(ast.literal_eval(token.string) == ast.literal_eval(other.string))
    return token.type == other.type and token.string == other.string


def _is_same_or_text(token: tokenize.TokenInfo, other: tokenize.TokenInfo) -> bool:
    """Return whether the tokens are the same, or both are texts, which may be reworded."""
    texts = token.type == other.type == tokenize.STRING
    return _is_same(token, other) or (texts and " " in token.string and " " in other.string)


def _places(
    text: list[tokenize.TokenInfo],
    wanted: list[tokenize.TokenInfo],
    is_like: Callable[[tokenize.TokenInfo, tokenize.TokenInfo], bool],
) -> list[tuple[tokenize.TokenInfo, tokenize.TokenInfo]]:
    """Return the first and the last token of each run that is like `wanted`."""
    n = len(wanted)
    return [
        (text[i], text[i + n - 1])
        for i in range(len(text) - n + 1)
        if all(map(is_like, text[i : i + n], wanted))
    ]
