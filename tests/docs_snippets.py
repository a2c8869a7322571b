"""Run what a Markdown page shows: its Python, its shell sessions and the output it promises.

`run_page(path, directory)` goes through the fenced blocks of a page in order:

- `python`: executed; all blocks of a page share one namespace, as a reader would type them. With
  `title="light.py"` in the info string the block is also written to that file. A block that shows
  an interpreter session (`>>>`) is checked as a doctest in the same namespace.
- `output`: what the block before it printed, exactly; `...` stands for any text.
- `console`: lines that start with `$ ` are run by bash in the page's directory, where `python` is
this
  interpreter and the files written before are present; the lines that follow are the expected
  output (none: not compared). A command must succeed unless it ends in `# fails`.
  `$ make target` is run in the repository as a dry run: which checks that the target exists.
  With `title="Terminal 1"` the commands go on running; see `docs_terminals.py`. For torch and JAX
  `tests/stand_ins` has stand-ins, where they are not installed.
- `py` or `toml` with a title: written to that file and not run; a command uses it later.

Everything else (`text`, `toml`, `js`, `mermaid`, ...) is not run. Nothing can be excepted silently.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docs_terminals import Terminal
from tests.stand_ins import stand_ins

REPOSITORY = Path(__file__).parent.parent
_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>```+|~~~+) *(?P<info>[^`]*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_PATIENCE_S = 60


@dataclass(frozen=True)
class Snippet:
    """One fenced block. `line` is the line of its first text line, counted from 1."""

    path: Path
    line: int
    language: str
    title: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}"


def snippets(path: Path) -> list[Snippet]:
    """The fenced blocks of a page, in order, dedented by the indent of their fence."""
    found: list[Snippet] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        opened = _FENCE.match(lines[number])
        number += 1
        if opened is None:
            continue
        start = number
        indent = len(opened["indent"])
        closing = re.compile(rf"^ *{re.escape(opened['fence'][:3])}+ *$")
        while number < len(lines) and not closing.match(lines[number]):
            number += 1
        if number == len(lines):
            raise AssertionError(f"{path}:{start}: this block never ends")
        info = opened["info"].strip()
        language = re.split(r"[\s{]", info, maxsplit=1)[0]
        title = _TITLE.search(info)
        text = "".join(line[indent:] + "\n" for line in lines[start:number])
        found.append(Snippet(path, start + 1, language, title[1] if title else None, text))
        number += 1
    return found


def run_page(path: Path, directory: Path) -> int:
    """Run a page's snippets in `directory` (an empty one). Returns how many ran.

    Raises AssertionError that names page and line when one fails or prints something else.
    """
    module = types.ModuleType(f"page_{re.sub(r'[^0-9A-Za-z]', '_', path.stem)}")
    known = set(sys.modules)
    sys.modules[module.__name__] = module  # classes defined by a page can be pickled
    sys.path.insert(0, str(directory))  # and the files it wrote can be imported
    printed: str | None = None
    terminals: dict[str, Terminal] = {}
    count = 0
    try:
        with contextlib.chdir(directory):
            for snippet in snippets(path):
                if snippet.language in ("python", "pycon"):
                    printed = _run_python(snippet, module.__dict__, directory)
                elif snippet.language == "output":
                    assert printed is not None, f"{snippet}: output without a python block before"
                    _compare(snippet, snippet.text, printed)
                elif snippet.language == "console" and snippet.title is not None:
                    if snippet.title not in terminals:
                        terminals[snippet.title] = Terminal(directory, _environment(directory))
                    terminals[snippet.title].run_block(snippet.text, str(snippet))
                elif snippet.language == "console":
                    _run_console(snippet, directory)
                elif snippet.language in ("py", "toml") and snippet.title is not None:
                    (directory / snippet.title).write_text(snippet.text, encoding="utf-8")
                else:
                    continue
                count += 1
    finally:
        for terminal in reversed(terminals.values()):
            terminal.close()
        sys.path.remove(str(directory))
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if name == module.__name__ or (file and Path(file).is_relative_to(directory)):
                del sys.modules[name]
    return count


def _run_python(snippet: Snippet, namespace: dict[str, Any], directory: Path) -> str:
    if snippet.title is not None:
        (directory / snippet.title).write_text(snippet.text, encoding="utf-8")
    if snippet.text.lstrip().startswith(">>>"):
        return _run_doctest(snippet, namespace)
    # Leading newlines, so that a traceback shows the line of the page.
    source = "\n" * (snippet.line - 1) + snippet.text
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(source, str(snippet.path), "exec"), namespace)
    except Exception as error:
        raise AssertionError(f"{snippet}: {type(error).__name__}: {error}") from error
    return out.getvalue()


def _run_doctest(snippet: Snippet, namespace: dict[str, Any]) -> str:
    test = doctest.DocTestParser().get_doctest(
        snippet.text, {}, str(snippet), str(snippet.path), snippet.line - 1
    )
    test.globs = namespace  # the very namespace of the page: doctest would copy it
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=report.write, clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0, report.getvalue()
    return ""


def _run_console(snippet: Snippet, directory: Path) -> None:
    for command, expected in _commands(snippet):
        may_fail = command.endswith("# fails")
        if command.startswith("make "):
            command, where = command.replace("make ", "make --dry-run ", 1), REPOSITORY
        else:
            where = directory
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=where,
            env=_environment(directory),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        failed = done.returncode != 0
        assert failed == may_fail, f"{snippet}: `{command}`: {done.returncode}\n{done.stdout}"
        if expected and where == directory:
            _compare(snippet, expected, done.stdout)


def _environment(directory: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": ":".join([str(directory), str(REPOSITORY), *stand_ins()]),
    }


def _commands(snippet: Snippet) -> Iterator[tuple[str, str]]:
    """(command, expected output) pairs; a command goes on over lines that end in a backslash."""
    lines = snippet.text.splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if not line.startswith("$ "):
            assert not line.strip(), f"{snippet}: output before any `$ ` command: {line!r}"
            continue
        command = line[2:]
        while command.endswith("\\"):
            command = command[:-1] + lines[number].removeprefix("> ").strip()
            number += 1
        expected = []
        while number < len(lines) and not lines[number].startswith("$ "):
            expected.append(lines[number])
            number += 1
        yield command.strip(), "\n".join(expected).strip()


def _compare(snippet: Snippet, expected: str, printed: str) -> None:
    pattern = ".*".join(re.escape(part) for part in _tidy(expected).split("..."))
    if not re.fullmatch(pattern, _tidy(printed), re.DOTALL):
        raise AssertionError(f"{snippet}: the page has\n{expected}\nand it printed\n{printed}")


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
