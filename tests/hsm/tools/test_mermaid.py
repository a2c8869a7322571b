"""Mermaid sources, drawn by Mermaid itself in a browser: every state lies within its box."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import files
from pathlib import Path

import pytest

from tensor_pool.hsm import Machine
from tensor_pool.hsm.diagram import render
from tensor_pool.hsm.diagram.reading import outline_of
from tests.driver.http.page.browser import Browser
from tests.hsm.tools.test_pictures import MACHINES, random_machine

_RENDER = """
const [source, done] = arguments;
mermaid.initialize({startOnLoad: false});
mermaid.render("picture", source).then(({svg}) => {
  document.body.innerHTML = svg;
  const places = {};
  for (const group of document.querySelectorAll("g.statediagram-cluster, g.node")) {
    const name = group.dataset.id ?? group.id.replace(/^.*?state-/, "").replace(/-\\d+$/, "");
    const {left, top, right, bottom} = group.getBoundingClientRect();
    places[name] = [left, top, right, bottom];
  }
  done(places);
}).catch(error => done(String(error)));
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose page has loaded Mermaid, of the version that the wheel carries."""
    (script,) = [f for f in files("artoo-mermaid") or () if f.name == "mermaid.min.js"]
    address = tmp_path_factory.mktemp("mermaid") / "page.html"
    address.write_text(
        f"<body></body><script src='{Path(str(script.locate())).as_uri()}'></script>"
    )
    browser = Browser.start()
    browser.driver.get(address.as_uri())
    yield browser
    browser.close()


@pytest.mark.parametrize("name", [*MACHINES, *map(str, range(12))])
def test_mermaid_draws_every_state_within_its_box(page: Browser, name: str) -> None:
    machine: type[Machine] = MACHINES[name] if name in MACHINES else random_machine(int(name))
    outline = outline_of(machine)
    page.driver.refresh()
    places = page.driver.execute_async_script(_RENDER, render(machine, "mermaid"))
    assert isinstance(places, dict), places
    hidden = ("initial", "choice", "fork")  # and regions, which have no box of their own
    drawn = [n for n in outline.nodes[1:] if n.kind not in hidden and not n.is_region]
    for node in drawn:
        assert node.id in places
        parent = node.parent
        while parent is not None and outline.node(parent).is_region:
            parent = outline.node(parent).parent
        if parent in places and parent != outline.root.id:
            left, top, right, bottom = places[parent]
            x1, y1, x2, y2 = places[node.id]
            assert left <= x1 <= x2 <= right, (node.id, node.parent)
            assert top <= y1 <= y2 <= bottom, (node.id, node.parent)
    assert len(drawn) > 0
