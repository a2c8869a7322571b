"""SVG by hand: boxes, arrows and text, readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

STYLE = """\
svg { font: 14px system-ui, "DejaVu Sans", sans-serif; }
.paper { fill: #fff; }
text { fill: #1c2430; }
.small { font-size: 12px; fill: #5b6675; }
.title { font-weight: 600; }
.box { fill: #eef2fb; stroke: #4051b5; stroke-width: 1.3; }
.note { fill: #fff6dc; stroke: #c98f00; }
.memory { fill: #e8f5ec; stroke: #2e7d4f; stroke-width: 1.3; }
.life { stroke: #aab4c3; stroke-dasharray: 4 4; }
.arrow { stroke: #4051b5; stroke-width: 1.4; fill: none; }
.bulk { stroke: #2e7d4f; stroke-width: 4; fill: none; }
.head { fill: #4051b5; }
.bulkhead { fill: #2e7d4f; }
@media (prefers-color-scheme: dark) {
.paper { fill: #1b1e27; }
text { fill: #e4e8f0; }
.small { fill: #9aa5b5; }
.box { fill: #28304a; stroke: #8fa0ff; }
.note { fill: #3d3414; stroke: #d9a520; }
.memory { fill: #1d3527; stroke: #6fc490; }
.life { stroke: #55607a; }
.arrow { stroke: #8fa0ff; }
.head { fill: #8fa0ff; }
.bulk { stroke: #6fc490; }
.bulkhead { fill: #6fc490; }
}"""

HEADS = """\
<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" \
orient="auto-start-reverse"><path class="head" d="M0 0 8 4 0 8z"/></marker>\
<marker id="bulkhead" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="3.2" markerHeight="3.2" \
orient="auto-start-reverse"><path class="bulkhead" d="M0 0 8 4 0 8z"/></marker></defs>"""


def picture(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """A whole SVG document; `title` is read out by screen readers."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(title)}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n{HEADS}\n"
        f'<rect class="paper" width="{width}" height="{height}" rx="8"/>\n{body}\n</svg>\n'
    )


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str = "box") -> str:
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>'
    )


def arrow(
    x1: float, y1: float, x2: float, y2: float, kind: str = "arrow", *, both: bool = False
) -> str:
    head = "bulkhead" if kind == "bulk" else "head"
    start = f' marker-start="url(#{head})"' if both else ""
    return (
        f'<path class="{kind}" d="M{x1:g} {y1:g} {x2:g} {y2:g}"{start} marker-end="url(#{head})"/>'
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "life") -> str:
    return f'<path class="{kind}" d="M{x1:g} {y1:g} {x2:g} {y2:g}"/>'
