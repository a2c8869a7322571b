"""Lets pages link to files outside docs/, as a reader of the repository would.

A hook of MkDocs. `[the schema](../../schemas/control.xml)` works when the page is read as a file;
here such targets become part of the site: pictures as they are, Markdown as pages, any other text
as a page that shows it, a directory as a list of its files. A target that does not exist stays
as it is, and the strict build refuses it.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
COPIED = {".svg", ".png", ".npy"}
LANGUAGES = {".py": "python", ".xml": "xml", ".toml": "toml", ".mmd": "text", ".dot": "text"}

_FENCED = re.compile(r"^( *)(```+|~~~+).*?^\1\2 *$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\]\()(?!\w+:|/|#)([^)\s#]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    """Add every file outside docs/ that a page links to, and those that these link to."""
    waiting = [DOCS / f.src_uri for f in files if f.is_documentation_page()]
    seen: set[Path] = set()
    while waiting:
        page = waiting.pop()
        for target in _targets_outside(page.read_text(encoding="utf-8"), page.parent):
            if target not in seen and target.exists():
                seen.add(target)
                files.append(_site_file(target, config))
                if target.suffix == ".md":
                    waiting.append(target)
                elif target.is_dir():
                    waiting += [p for p in target.iterdir() if p.suffix == ".md"]
                    for inside in _shown_files(target):
                        if inside not in seen:
                            seen.add(inside)
                            files.append(_site_file(inside, config))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links that leave docs/ at what `on_files` has made of their targets."""
    origin = _origin(page.file.src_uri)
    fences = list(_FENCED.finditer(markdown))

    def replaced(match: re.Match[str]) -> str:
        if any(fence.start() < match.start() < fence.end() for fence in fences):
            return match[0]
        target = _resolved(match[2], origin.parent)
        if target.is_relative_to(DOCS) and origin.is_relative_to(DOCS):
            return match[0]
        if not target.exists() or not target.is_relative_to(REPOSITORY):
            return match[0]
        here = posixpath.dirname(page.file.src_uri)
        return match[1] + posixpath.relpath(_uri(target), here or ".") + match[3]

    return _LINK.sub(replaced, markdown)


def _targets_outside(markdown: str, directory: Path) -> list[Path]:
    text = _FENCED.sub("", markdown)
    targets = [_resolved(match[2], directory) for match in _LINK.finditer(text)]
    return [t for t in targets if t.is_relative_to(REPOSITORY) and not t.is_relative_to(DOCS)]


def _resolved(link: str, directory: Path) -> Path:
    return Path(os.path.normpath(directory / link))


def _uri(target: Path) -> str:
    """Return the place of a file of the repository in the site."""
    if target.is_relative_to(DOCS):
        return target.relative_to(DOCS).as_posix()
    path = target.relative_to(REPOSITORY).as_posix()
    if target.is_dir():
        return f"repository/{path}/index.md"
    if target.name == "README.md":
        return f"repository/{posixpath.dirname(path) or '.'}/index.md".replace("/./", "/")
    return f"repository/{path}" + ("" if target.suffix in COPIED | {".md"} else ".md")


def _origin(src_uri: str) -> Path:
    """The file that a page of the site was made of."""
    if not src_uri.startswith("repository/"):
        return DOCS / src_uri
    path = REPOSITORY / src_uri.removeprefix("repository/")
    if path.name == "index.md":
        readme = path.with_name("README.md")
        return readme if readme.exists() else path
    return path


def _site_file(target: Path, config: Any) -> File:
    uri = _uri(target)
    if target.suffix in COPIED:
        return File.generated(config, uri, abs_src_path=str(target))
    if target.suffix == ".md":
        return File.generated(config, uri, content=target.read_text(encoding="utf-8"))
    name = target.relative_to(REPOSITORY).as_posix()
    head = f"---\nsearch:\n  exclude: true\nhide: [toc]\n---\n# `{name}`\n\n"
    if target.is_dir():
        readme = target / "README.md"
        if readme.exists():
            return File.generated(config, uri, content=readme.read_text(encoding="utf-8"))
        items = "".join(f"- [`{p.name}`]({_local(p)})\n" for p in _shown_files(target))
        return File.generated(config, uri, content=head + items)
    language = LANGUAGES.get(target.suffix, "text")
    text = target.read_text(encoding="utf-8")
    return File.generated(config, uri, content=f"{head}~~~~~~{language}\n{text}~~~~~~\n")


def _shown_files(directory: Path) -> list[Path]:
    return sorted(p for p in directory.iterdir() if p.suffix in LANGUAGES)


def _local(path: Path) -> str:
    return posixpath.basename(_uri(path))
