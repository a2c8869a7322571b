"""Draw every machine class of the repository: `make diagrams`.

The classes are found by importing all modules of the packages and of examples/hsm, so a new machine
is drawn without being listed anywhere. The web pages of driver and bridge ship pictures of their
own, with states and events only. `--check` prints what is stale and writes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
HERE = REPOSITORY / "diagrams"
sys.path.insert(0, str(REPOSITORY))

import tensor_pool.bridge  # noqa: E402
import tensor_pool.cli  # noqa: E402
import tensor_pool.client  # noqa: E402
import tensor_pool.driver  # noqa: E402
from tensor_pool.bridge.core.inbound_stream import InboundStream  # noqa: E402
from tensor_pool.bridge.core.lifecycle import BridgeLifecycle  # noqa: E402
from tensor_pool.bridge.core.outbound_stream import OutboundStream  # noqa: E402
from tensor_pool.bridge.core.outgoing_link import OutgoingLink  # noqa: E402
from tensor_pool.driver.core.driver_machine import DriverLifecycle  # noqa: E402
from tensor_pool.driver.core.lease_machine import LeaseLifecycle  # noqa: E402
from tensor_pool.driver.core.stream_machine import StreamLifecycle  # noqa: E402
from tensor_pool.hsm import Machine  # noqa: E402
from tensor_pool.hsm._definition.chart_of import chart_of  # noqa: E402
from tensor_pool.hsm.diagram import render  # noqa: E402
from tensor_pool.hsm.diagram.dot import to_dot  # noqa: E402
from tensor_pool.hsm.diagram.outline import Outline  # noqa: E402
from tensor_pool.hsm.diagram.reading import outline_of  # noqa: E402
from tensor_pool.hsm.diagram.svg import draw, hash_in, source_hash  # noqa: E402

PACKAGES = (tensor_pool.driver, tensor_pool.client, tensor_pool.bridge, tensor_pool.cli)
EXAMPLES = REPOSITORY / "examples" / "hsm"
PAGES: dict[Path, tuple[type[Machine], ...]] = {
    REPOSITORY / "driver/http/page/static/charts": (
        *(DriverLifecycle, StreamLifecycle, LeaseLifecycle),
    ),
    REPOSITORY / "bridge/http/static/charts": (
        *(BridgeLifecycle, OutgoingLink, OutboundStream, InboundStream),
    ),
}


def machine_classes() -> list[type[Machine]]:
    """All concrete machine classes of the packages and the examples, by module and name.

    Raises ImportError when a module cannot be imported: a machine in it must not go missing
    silently.
    """
    names = set(_module_names())
    for name in sorted(names):
        importlib.import_module(name)
    found = [c for c in _subclasses(Machine) if c.__module__ in names and not chart_of(c).abstract]
    return sorted(set(found), key=lambda c: (c.__module__, c.__qualname__))


_NEEDS_TORCH = "tensor_pool.client.torch"  # has no machine, and torch is not always installed


def _module_names() -> Iterator[str]:
    for package in PACKAGES:
        yield package.__name__
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.endswith("__main__") and module.name != _NEEDS_TORCH:
                yield module.name
    for path in sorted(EXAMPLES.glob("*.py")):
        yield f"examples.hsm.{path.stem}"


def _subclasses(cls: type) -> Iterator[type]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def texts(classes: list[type[Machine]]) -> dict[str, str]:
    """File name → content of every text file; pictures are not drawn here."""
    files: dict[str, str] = {}
    for cls in classes:
        for suffix, text in (("mmd", render(cls, "mermaid")), ("dot", render(cls, "dot"))):
            name = f"{cls.__name__}.{suffix}"
            if name in files:
                raise ValueError(f"two machine classes are named {cls.__name__}")
            files[name] = text
    files["README.md"] = _readme(classes)
    return files


def _readme(classes: list[type[Machine]]) -> str:
    lines = [
        "# The machines of this repository",
        "",
        "Drawn from the classes by `make diagrams`; a test fails when a picture is older than its",
        "class. Each one is here as SVG, as Graphviz source and as Mermaid.",
        "",
        "How to read them: a filled circle is where a state is entered by default, `H` and `H*`",
        "are shallow and deep history, a diamond is a choice made on the way, a ring around a disc",
        "is a final state, × ends the machine. A label is `event [guard] / handler`; a dashed",
        "arrow without an event is taken on completion. Inside a box stand its entry and exit",
        "behaviours and the events that it handles without leaving its state; `(self)` marks those",
        "by which it is left and entered again. An arrow that starts or ends at the border of a",
        "box belongs to the box itself, whatever is active in it. The SVG pictures follow the",
        "light or dark scheme of their reader.",
        "",
    ]
    for cls in classes:
        first = (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
        lines += [
            f"## {cls.__name__}",
            "",
            f"`{cls.__module__}:{cls.__qualname__}` · [DOT]({cls.__name__}.dot) · "
            f"[Mermaid]({cls.__name__}.mmd)",
            "",
            *([" ".join(first.split()), ""] if first else []),
            f"![{cls.__name__}]({cls.__name__}.svg)",
            "",
        ]
    return "\n".join(lines)


def page_outline(machine: type[Machine]) -> Outline:
    """The outline of the picture on the web page: states, and the events between them.

    Behaviours inside a state are left out: the page shows where a machine is and how it got there.
    """
    full = outline_of(machine)
    nodes = tuple(dataclasses.replace(node, lines=()) for node in full.nodes)
    arrows = tuple(
        dataclasses.replace(
            arrow, labels=tuple(label.partition("/")[0].strip() for label in arrow.labels)
        )
        for arrow in full.arrows
    )
    return dataclasses.replace(full, nodes=nodes, arrows=arrows)


def stale_on_pages() -> list[Path]:
    """The pictures of the web pages that are older than their class, missing, or left over."""
    wanted = {
        folder / f"{cls.__name__}.svg": source_hash(to_dot(page_outline(cls)))
        for folder, classes in PAGES.items()
        for cls in classes
    }
    there = {
        path: hash_in(path.read_text(encoding="utf-8"))
        for folder in PAGES
        for path in folder.glob("*")
    }
    return sorted(path for path in {*wanted, *there} if wanted.get(path) != there.get(path, ""))


def stale(classes: list[type[Machine]]) -> list[str]:
    """The files that differ from the classes, are missing, or belong to no class any more."""
    wanted = texts(classes)
    problems = [
        name
        for name, text in wanted.items()
        if not (HERE / name).is_file() or (HERE / name).read_text(encoding="utf-8") != text
    ]
    for cls in classes:
        # Another Graphviz draws other bytes: what counts is the source that a picture names.
        picture = HERE / f"{cls.__name__}.svg"
        drawn = hash_in(picture.read_text(encoding="utf-8")) if picture.is_file() else None
        if drawn != source_hash(wanted[f"{cls.__name__}.dot"]):
            problems.append(picture.name)
    expected = {*wanted, *(f"{cls.__name__}.svg" for cls in classes), Path(__file__).name}
    problems += [p.name for p in HERE.iterdir() if p.is_file() and p.name not in expected]
    return sorted(problems)


def write(classes: list[type[Machine]]) -> None:
    names = stale(classes)
    wanted = texts(classes)
    for name in names:
        path = HERE / name
        if name in wanted:
            path.write_text(wanted[name], encoding="utf-8")
        elif path.suffix == ".svg" and any(cls.__name__ == path.stem for cls in classes):
            cls = next(cls for cls in classes if cls.__name__ == path.stem)
            path.write_text(render(cls, "svg"), encoding="utf-8")
        else:
            path.unlink()
    stale_pictures = stale_on_pages()
    for path in stale_pictures:
        path.unlink(missing_ok=True)
    for folder, shown in PAGES.items():
        folder.mkdir(parents=True, exist_ok=True)
        for cls in shown:
            path = folder / f"{cls.__name__}.svg"
            if path in stale_pictures:
                path.write_text(draw(page_outline(cls), styled=False), encoding="utf-8")
    names += [path.name for path in stale_pictures]
    print(f"{len(classes)} machines, {len(names)} files written or removed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only print what is stale")
    options = parser.parse_args()
    classes = machine_classes()
    if options.check:
        problems = [*stale(classes), *map(str, stale_on_pages())]
        print("\n".join(problems) or "all diagrams are fresh")
        return 1 if problems else 0
    write(classes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
