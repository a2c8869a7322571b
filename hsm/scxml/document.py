"""SCXML documents as trees: a parser that is safe with hostile input, and a writer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from ..errors import HsmError

SCXML_NAMESPACE = "http://www.w3.org/2005/07/scxml"
# Behaviours are named by an element of our own: SCXML has none for "call this function".
HSM_NAMESPACE = "urn:tensor-pool:hsm"
_PREFIXES = {SCXML_NAMESPACE: "", HSM_NAMESPACE: "hsm:"}

_LARGEST_DOCUMENT_BYTES = 4 * 1024 * 1024
_DEEPEST_NESTING = 100
_SEPARATOR = "\x1f"  # no XML document can contain it


class ScxmlError(HsmError):
    """A document or a machine without an equal on the other side; the text lists every reason."""

    def __init__(self, subject: str, problems: tuple[str, ...]) -> None:
        super().__init__("\n  - ".join([f"{subject}:", *problems]))
        self.subject = subject
        self.problems = problems

    def __reduce__(self) -> tuple[type[ScxmlError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.subject, self.problems)


@dataclass
class Element:
    """An element. `tag` is `name` in the SCXML namespace, `hsm:name` in ours, else `{…}name`."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)
    line: int = 0
    text: str = ""

    def add(self, tag: str, **attributes: str) -> Element:
        child = Element(tag, attributes)
        self.children.append(child)
        return child

    def find(self, *tags: str) -> list[Element]:
        return [child for child in self.children if child.tag in tags]


def parse(text: str) -> Element:
    """Return the root element of a document.

    A document type declaration is refused outright, so no entity is ever expanded and nothing
    outside the text is read; size and nesting are bounded.

    Raises:
        ScxmlError: it is not well-formed, has a DOCTYPE, or is too large or too deeply nested.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise _refused(f"it contains characters that XML cannot hold: {error}") from error
    if len(data) > _LARGEST_DOCUMENT_BYTES:
        raise _refused(f"it has {len(data)} bytes, more than {_LARGEST_DOCUMENT_BYTES}")
    parser = expat.ParserCreate(encoding="utf-8", namespace_separator=_SEPARATOR)
    stack = [Element("")]

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(stack) > _DEEPEST_NESTING:
            raise _refused(f"it nests deeper than {_DEEPEST_NESTING} elements")
        named = {_local(key): value for key, value in attributes.items()}
        element = Element(_local(name), named, line=parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_: str) -> None:
        stack.pop()

    def characters(data: str) -> None:
        stack[-1].text += data

    def doctype(*_: object) -> None:
        raise _refused(f"line {parser.CurrentLineNumber}: DOCTYPE and entities are not accepted")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise _refused(f"it is not well-formed: {error}") from error
    return stack[0].children[0]


def write(root: Element) -> str:
    """Return the document as text, indented by two spaces; equal trees give equal texts."""
    root.attributes = {
        "xmlns": SCXML_NAMESPACE,
        "xmlns:hsm": HSM_NAMESPACE,
        "version": "1.0",
        **root.attributes,
    }
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', *_lines(root, "")]
    return "\n".join(lines) + "\n"


def _lines(element: Element, indent: str) -> Iterator[str]:
    attributes = "".join(f" {k}={quoteattr(v)}" for k, v in element.attributes.items())
    if not element.children:
        yield f"{indent}<{element.tag}{attributes}/>"
        return
    yield f"{indent}<{element.tag}{attributes}>"
    for child in element.children:
        yield from _lines(child, indent + "  ")
    yield f"{indent}</{element.tag}>"


def _local(name: str) -> str:
    namespace, separator, local = name.rpartition(_SEPARATOR)
    if not separator:
        return name
    prefix = _PREFIXES.get(namespace)
    return f"{{{namespace}}}{local}" if prefix is None else prefix + local


def _refused(problem: str) -> ScxmlError:
    return ScxmlError("this SCXML document is refused", (problem,))
