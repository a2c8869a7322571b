"""Draw the architecture, the packages and the sequence diagrams: `make docs-pictures`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import drawing  # noqa: E402
import house  # noqa: E402
import sequences  # noqa: E402

COLUMN = 210
ROW = 34
LEFT = 70
TOP = 64


def sequence(name: str) -> str:
    """The diagram of one scene of `sequences.py`."""
    title, participants, lines = sequences.record(name)
    x = {who: LEFT + COLUMN * n + COLUMN / 2 for n, who in enumerate(participants)}
    height = TOP + ROW * (len(lines) + 1)
    parts = []
    for who in participants:
        parts.append(drawing.line(x[who], TOP - 14, x[who], height - 12))
        parts.append(drawing.box(x[who] - 62, 14, 124, 32))
        parts.append(drawing.text(x[who], 35, who, "title"))
    last_ms = None
    for n, happened in enumerate(lines):
        y = TOP + ROW * (n + 0.8)
        if happened.ms != last_ms:
            parts.append(drawing.text(LEFT - 12, y + 4, f"{happened.ms} ms", "small", "end"))
            last_ms = happened.ms
        if isinstance(happened, sequences.Note):
            width = 16 + 8 * len(happened.text)
            parts.append(drawing.box(x[happened.who] - width / 2, y - 13, width, 24, "note"))
            parts.append(drawing.text(x[happened.who], y + 4, happened.text))
        else:
            begin, end = x[happened.sender], x[happened.receiver]
            parts.append(drawing.arrow(begin, y, end, y))
            towards = 1 if end > begin else -1
            parts.append(
                drawing.text(begin + towards * COLUMN / 2, y - 6, happened.text, "", "middle")
            )
    return drawing.picture(LEFT + COLUMN * len(participants) + 10, height, title, parts)


def architecture() -> str:
    """Processes, messages and memory, and their connections."""
    d = drawing
    parts = [
        d.box(20, 30, 190, 96),
        d.text(115, 54, "producer process", "title"),
        d.text(115, 78, "your camera code"),
        d.text(115, 98, "tensor_pool.client", "small"),
        d.text(115, 115, "publish(array) · loan()", "small"),
        d.box(550, 20, 190, 60),
        d.text(645, 44, "consumer process", "title"),
        d.text(645, 66, "frame.array, frame.valid", "small"),
        d.box(550, 96, 190, 60),
        d.text(645, 120, "consumer process", "title"),
        d.text(645, 142, "frame.copy()", "small"),
        d.arrow(212, 62, 546, 44),
        d.arrow(212, 84, 546, 116),
        d.text(380, 30, "descriptors over Aeron: 48 bytes a frame"),
        d.box(285, 152, 190, 84),
        d.text(380, 176, "driver daemon", "title"),
        d.text(380, 198, "leases · epochs · files"),
        d.text(380, 217, "state machines decide", "small"),
        d.arrow(150, 128, 283, 178, both=True),
        d.arrow(610, 158, 477, 184, both=True),
        d.text(196, 184, "attach, keepalive,", "small"),
        d.text(196, 200, "detach", "small"),
        d.text(566, 192, "announce, revoke", "small"),
        d.box(150, 292, 460, 96, "memory"),
        d.text(380, 316, "/dev/shm/tensorpool/…/<stream>/<epoch>/", "title"),
        d.text(380, 342, "header ring: 256 bytes a frame, commit word first"),
        d.text(380, 366, "payload pools: the pixels, in slots of one size"),
        d.arrow(70, 128, 168, 288, "bulk"),
        d.text(76, 236, "writes", "title"),
        d.arrow(592, 288, 680, 160, "bulk"),
        d.text(644, 240, "reads in place", "title", "start"),
        d.arrow(380, 238, 380, 288),
        d.text(390, 268, "creates, retires", "small", "start"),
    ]
    return d.picture(760, 408, "Architecture of Tensor Pool", parts)


def pictures() -> dict[Path, str]:
    """Every picture with its contents."""
    drawn = {name: sequence(name) for name in sequences.SCENES}
    drawn |= {"architecture": architecture(), "packages": house.packages()}
    return {HERE / f"{name}.svg": contents for name, contents in drawn.items()}


def main() -> None:
    for path, contents in pictures().items():
        path.write_text(contents, encoding="utf-8")
        print(f"docs/pictures/{path.name}")


if __name__ == "__main__":
    main()
