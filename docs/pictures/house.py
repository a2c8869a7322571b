"""The packages and their imports, as one picture: `packages.svg`.

`tests/project/test_imports.py` compares the arrows with the imports of the code.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import drawing

ROOT = Path(__file__).resolve().parents[2]


class Room(NamedTuple):
    """A package: its place in the picture, and its purpose."""

    x: int
    y: int
    width: int
    purpose: str


HEIGHT = 72
ROOMS = {
    "cli": Room(20, 20, 720, "the tensor-pool program"),
    "driver": Room(100, 148, 320, "the daemon: memory, leases, epochs"),
    "bridge": Room(540, 148, 168, "frames between hosts"),
    "client": Room(320, 276, 364, "producers and consumers"),
    "hsm": Room(20, 404, 224, "hierarchical state machines"),
    "protocol": Room(270, 404, 470, "messages, shared memory, transport, clock, errors"),
}

type Points = tuple[tuple[int, int], ...]

ARROWS: dict[tuple[str, str], Points] = {
    ("cli", "driver"): ((230, 92), (230, 146)),
    ("cli", "bridge"): ((624, 92), (624, 146)),
    ("cli", "client"): ((470, 92), (470, 274)),
    ("cli", "hsm"): ((56, 92), (56, 402)),
    ("cli", "protocol"): ((724, 92), (724, 402)),
    ("driver", "hsm"): ((140, 220), (140, 402)),
    ("driver", "protocol"): ((294, 220), (294, 402)),
    ("driver", "client"): ((352, 220), (352, 274)),
    ("bridge", "client"): ((624, 220), (624, 274)),
    ("bridge", "protocol"): ((697, 220), (697, 402)),
    ("bridge", "hsm"): ((566, 220), (566, 248), (180, 248), (180, 402)),
    ("client", "driver"): ((400, 276), (400, 222)),
    ("client", "hsm"): ((344, 348), (344, 376), (220, 376), (220, 402)),
    ("client", "protocol"): ((500, 348), (500, 402)),
}
"""From the package that imports to the one that is imported."""


def folders_of(package: str) -> list[str]:
    """Return the folders of a package that have modules."""
    found = (path.parent.name for path in (ROOT / package).glob("*/__init__.py"))
    return sorted(name.strip("_") for name in found)


def _lines(words: list[str], characters: int) -> list[str]:
    """Put words into lines, a dot between two."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(word) + 3 <= characters:
            lines[-1] += f" · {word}"
        else:
            lines.append(word)
    return lines


def packages() -> str:
    """Return the picture: a box for each package, an arrow for each import."""
    parts = []
    for (importer, imported), points in ARROWS.items():
        path = " ".join(f"{x} {y}" for x, y in points)
        parts.append(
            f'<path class="arrow" data-import="{importer} {imported}" d="M{path}"'
            ' marker-end="url(#head)"/>'
        )
    for name, room in ROOMS.items():
        middle = room.x + room.width / 2
        parts.append(drawing.box(room.x, room.y, room.width, HEIGHT))
        parts.append(drawing.text(middle, room.y + 20, f"{name}/", "title"))
        parts.append(drawing.text(middle, room.y + 37, room.purpose))
        for number, line in enumerate(_lines(folders_of(name), room.width // 7)):
            parts.append(drawing.text(middle, room.y + 53 + 14 * number, line, "small"))
    title = "Packages of Tensor Pool; an arrow goes from a package to one that it imports"
    return drawing.picture(760, 496, title, parts)
