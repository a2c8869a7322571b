"""The language rules that a word list can check: `python tests/language.py [PATH ...]`.

Reads docstrings, comments and sentences in string literals of Python files, and Markdown outside
of code. The name of a test is read as a sentence. Each rule has a pattern, the texts that it
applies to, and the remedy. `make check` fails when there is a finding. The specification has its
own wording and is not read.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

EXCLUDED = (
    "docs/specification/",
    "tests/language.py",
    "tests/project/test_language.py",
)

_PROGRAM = (
    r"(?:aeron|bridges?|clients?|commands?|consumers?|daemons?|drivers?|frames?|handles?|it|kernels?|"
    r"librar(?:y|ies)|machines?|messages?|pages?|process(?:es)?|producers?|programs?|publishers?|"
    r"servers?|states?|streams?|subscribers?|they|threads?|which|that)"
)


@dataclass(frozen=True)
class Rule:
    """A pattern that the language rules refuse."""

    name: str
    pattern: re.Pattern[str]
    remedy: str
    openings_only: bool = False
    """Match the first words of docstrings only."""


RULES = (
    Rule(
        "opening",
        re.compile(r"(?:How|Whether|What|Who|Whose|Which|Where|Why|When)\b(?![^.]*\?)"),
        'open with an imperative ("Return the …") or a noun phrase',
        openings_only=True,
    ),
    Rule(
        "clause subject",
        re.compile(r"(?:^|(?<=[.!:;] ))(?:Who|Whoever|Whatever|What|Whichever) [^.?!|]*?\.", re.M),
        "name the thing that acts",
    ),
    Rule(
        "nobody",
        re.compile(r"\b(?:nobody|somebody|anybody|everybody|someone|anyone|whoever)\b", re.I),
        'name the process, thread or person: "no process"',
    ),
    Rule(
        "is no",
        re.compile(r"(?<!\bthere )\b(?:is|are|was|were) no (?!longer\b|more\b|less\b)\w+", re.I),
        'negate the verb: "is not a lock"',
    ),
    Rule(
        "programs do not speak",
        re.compile(
            r"\b(?:says|said|tells|told|knows|knew|hears|heard|wants|wanted|believes|believed)\b"
            rf"|\b{_PROGRAM} (?:say|tell|know|hear|want|believe)\b",
            re.I,
        ),
        "programs print, log, send, receive, return, raise, report",
    ),
    Rule(
        "metaphor",
        re.compile(
            r"\b(?:desks?|ropes?|curtains?)\b"
            r"|\b(?:an|the|one|each|every|first|last|next|this) acts?\b(?! (?:on|as|upon)\b)",
            re.I,
        ),
        "use the term of the field",
    ),
)


@dataclass(frozen=True)
class Text:
    """A stretch of prose and the line on which it begins."""

    line: int
    words: str
    is_docstring: bool = False


@dataclass(frozen=True)
class Finding:
    """A place that breaks a rule."""

    path: str
    line: int
    rule: Rule
    found: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule.name}: {self.found!r} ({self.rule.remedy})"


def findings_in(text: Text, path: str = "") -> Iterator[Finding]:
    """Yield each break of a rule in a text."""
    prose = re.sub(r"`[^`]*`", lambda code: "`" + " " * (len(code[0]) - 2) + "`", text.words)
    for rule in RULES:
        if rule.openings_only:
            found = [rule.pattern.match(prose)] if text.is_docstring else []
        else:
            found = list(rule.pattern.finditer(re.sub(r"\n *", "\n", prose)))
        for match in filter(None, found):
            line = text.line + prose.count("\n", 0, match.start())
            yield Finding(path, line, rule, " ".join(match[0].split())[:80])


def texts_of_python(source: str) -> Iterator[Text]:
    """Yield the docstrings, comments, sentences and names of tests of a module.

    A string that is a statement is a docstring, as in `ast`; strings in a row are one text.
    """
    parts: list[str] = []  # of the string, or strings in a row, that is being read
    comments: list[str] = []
    first = first_comment = last_comment = 0
    at_statement = opens_statement = True
    depth = 0  # of f-strings
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if before == "def" and token.string.startswith("test_"):
            yield Text(token.start[0], token.string.replace("_", " "))
        before = token.string
        if token.type == tokenize.COMMENT:
            if comments and token.start[0] != last_comment + 1:
                yield Text(first_comment, "\n".join(comments))
                comments = []
            if not comments:
                first_comment = token.start[0]
            last_comment = token.start[0]
            comments.append(token.string.lstrip("#: "))
        elif token.type in _STRINGS or depth:
            if not parts:
                first, opens_statement = token.start[0], at_statement
            depth += (token.type == tokenize.FSTRING_START) - (token.type == tokenize.FSTRING_END)
            if token.type == tokenize.STRING and depth == 0:
                parts.append(str(ast.literal_eval(token.string)))
            elif token.type == tokenize.FSTRING_MIDDLE:
                parts.append(token.string)
            elif token.type == tokenize.OP and token.string == "{":
                parts.append("{}")
            at_statement = False
        elif token.type != tokenize.NL:
            if parts:
                text = Text(first, "".join(parts), opens_statement)
                if text.is_docstring or _is_sentence(text.words):
                    yield text
                parts = []
            at_statement = token.type in _ENDS_OF_STATEMENTS
    if comments:
        yield Text(first_comment, "\n".join(comments))


_STRINGS = (tokenize.STRING, tokenize.FSTRING_START)
_ENDS_OF_STATEMENTS = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)


def _is_sentence(value: str) -> bool:
    return len(re.findall(r"[A-Za-z]{2,}", value)) >= 3 and " " in value


def texts_of_markdown(source: str) -> Iterator[Text]:
    """Yield the text of a page without its fenced code, comments and headings."""
    blank = lambda found: "\n" * found[0].count("\n")  # noqa: E731
    source = re.sub(r"^( *)(```+|~~~+).*?^\1\2 *$", blank, source, flags=re.M | re.S)
    source = re.sub(r"<!--.*?-->", blank, source, flags=re.S)
    yield Text(1, re.sub(r"^#.*$", "", source, flags=re.M))


def findings(paths: list[str]) -> list[Finding]:
    """Return all findings in files of the repository, given relative to its root."""
    found = []
    for name in paths:
        path = ROOT / name
        if name.startswith(EXCLUDED) or not path.is_file():
            continue
        source = path.read_text(encoding="utf-8")
        texts = texts_of_markdown(source) if path.suffix == ".md" else texts_of_python(source)
        found += [finding for text in texts for finding in findings_in(text, name)]
    return found


def tracked_files() -> list[str]:
    """Return the Python and Markdown files that git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    return [name for name in listed.split("\0") if name and not name.startswith("src/")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", help="files or directories, by default all")
    arguments = parser.parse_args()
    under = tuple(str(path).removeprefix("./").rstrip("/") + "/" for path in arguments.paths)
    found = findings([name for name in tracked_files() if f"{name}/".startswith(under or "")])
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
