"""Tables of empty cells: labels that reserve room in Graphviz, and ports for arrows."""

from __future__ import annotations


def cell(wide: float, high: float, port: str | None = None) -> str:
    """A table of one empty cell of that size."""
    named = f' PORT="{port}"' if port else ""
    return (
        f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"{named} '
        f'FIXEDSIZE="TRUE" WIDTH="{round(wide)}" HEIGHT="{round(high)}"><TR><TD></TD></TR></TABLE>'
    )


def port_row(wide: float, ports: list[tuple[float, str]]) -> str:
    """A row of a box's border: cells of 2 points that arrows attach to, and gaps between them."""
    cells = []
    at = 0
    for x, name in ports:
        gap = max(1, round(x) - 1 - at)
        cells += [_row_cell(gap), _row_cell(2, name)]
        at += gap + 2
    cells.append(_row_cell(max(1, round(wide) - at)))
    return (
        '<TR><TD><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>'
        f"{''.join(cells)}</TR></TABLE></TD></TR>"
    )


def _row_cell(wide: int, port: str | None = None) -> str:
    named = f' PORT="{port}"' if port else ""
    return f'<TD{named} FIXEDSIZE="TRUE" WIDTH="{wide}" HEIGHT="2"></TD>'
