"""Draw the terminal of a real run of the demo: `python docs/images/demo_terminal.py`.

It runs `tensor-pool demo`, keeps the main events and the summary, and writes `demo.svg`. A run
with a failed check writes nothing.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).resolve().parent
COMMAND = ("tensor-pool", "demo", "--duration", "6")
WIDTH = 118
_EVENTS = re.compile(r"source:|driver ready|KILL|ended: expired|takes over|both consumers|draining")
_TABLE = re.compile(r"[\d.]+ s  producer-1 ")


def shown(output: str) -> list[str]:
    """Return the lines to draw: the main events, one line of the table, and the summary."""
    events, _, summary = output.partition("\nSummary\n")
    lines = events.splitlines()
    tables = [line for line in lines if _TABLE.search(line)]
    kept = [line for line in lines if _EVENTS.search(line) or line in tables[1:2]]
    return [*kept, "", "Summary", *summary.rstrip().splitlines()]


def main() -> int:
    program = Path(sys.executable).with_name(COMMAND[0])
    run = subprocess.run([program, *COMMAND[1:]], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        print(run.stdout + run.stderr, file=sys.stderr)
        return 1
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor")
    console.print(Text("$ " + " ".join(COMMAND), style="bold"))
    for line in shown(run.stdout):
        style = "green" if line.startswith("  ok ") else "bold" if line == "Summary" else ""
        console.print(Text(line, style=style), overflow="ellipsis", no_wrap=True)
    picture = console.export_svg(title="make demo")
    # No fonts of other servers, and no comment.
    picture = re.sub(r"@font-face {.*?}\s*|<!--.*?-->\s*", "", picture, flags=re.S)
    (HERE / "demo.svg").write_text(picture, encoding="utf-8")
    print("docs/images/demo.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
