"""The state machine pages: every snippet runs, and what is generated is fresh."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs_snippets import run_page, snippets

REPOSITORY = Path(__file__).parents[3]
PAGES = sorted((REPOSITORY / "docs" / "hsm").glob("*.md"))


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"loaded_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_snippet_of_a_page_runs_and_prints_what_the_page_shows(
    page: Path, tmp_path: Path
) -> None:
    runnable = [s for s in snippets(page) if s.language in ("python", "output", "console")]
    assert run_page(page, tmp_path) == len(runnable)


def test_the_tutorial_and_the_porting_guide_have_something_to_run() -> None:
    counts = {page.stem: len(snippets(page)) for page in PAGES}
    assert counts["tutorial"] >= 20
    assert counts["porting"] >= 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_generated_pages_are_fresh() -> None:
    """Mend a failure with: python docs/hsm/generate.py"""
    assert _load(REPOSITORY / "docs" / "hsm" / "generate.py").stale() == []


def test_diagrams_are_fresh() -> None:
    """Mend a failure with: make diagrams"""
    gallery = _load(REPOSITORY / "diagrams" / "generate.py")
    assert gallery.stale(gallery.machine_classes()) == []


def test_the_gallery_finds_the_machines_of_driver_client_and_examples() -> None:
    gallery = _load(REPOSITORY / "diagrams" / "generate.py")
    found = {f"{c.__module__}:{c.__name__}" for c in gallery.machine_classes()}
    assert {
        "tensor_pool.driver.core.driver_machine:DriverLifecycle",
        "tensor_pool.driver.core.stream_machine:StreamLifecycle",
        "tensor_pool.driver.core.lease_machine:LeaseLifecycle",
        "examples.hsm.light_switch:LightSwitch",
        "examples.hsm.traffic_light:TrafficLight",
        "examples.hsm.vending_machine:VendingMachine",
        "examples.hsm.handshake:HandshakeClient",
    } <= found
    assert sum(name.startswith("tensor_pool.client.") for name in found) >= 3


def test_the_gallery_notices_a_changed_a_missing_and_a_left_over_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = _load(REPOSITORY / "diagrams" / "generate.py")
    monkeypatch.setattr(gallery, "HERE", tmp_path)
    classes = gallery.machine_classes()[:2]
    first, second = (cls.__name__ for cls in classes)
    gallery.write(classes)
    (tmp_path / "generate.py").touch()
    assert gallery.stale(classes) == []
    (tmp_path / f"{first}.mmd").write_text("changed")
    (tmp_path / f"{second}.dot").unlink()
    (tmp_path / f"{second}.svg").write_text("<svg/>")
    (tmp_path / "Gone.svg").write_text("")
    assert gallery.stale(classes) == sorted(
        ["Gone.svg", f"{first}.mmd", f"{second}.dot", f"{second}.svg"]
    )
    gallery.write(classes)
    assert gallery.stale(classes) == []


def _page(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```python\n1 / 0\n```\n", "page.md:2: ZeroDivisionError"),
        ("```python\nprint(1)\n```\n```output\n2\n```\n", "the page has"),
        ("```python\n>>> 1 + 1\n3\n```\n", "Expected:"),
        ("```console\n$ false\n```\n", "`false`: 1"),
        ("```console\n$ true  # fails\n```\n", ": 0"),
        ("```console\n$ echo a\nb\n```\n", "the page has"),
        ("```console\n$ make no-such-target\n```\n", "no-such-target"),
        ("```console\noutput first\n```\n", "before any"),
        ("```output\nx\n```\n", "without a python block"),
        ("```python\npass\n", "never ends"),
    ],
)
def test_the_snippet_runner_notices_what_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=re.escape(message)):
        run_page(_page(tmp_path, text), tmp_path)


def test_the_snippet_runner_shares_names_and_files_between_blocks(tmp_path: Path) -> None:
    page = _page(
        tmp_path,
        '1. Indented:\n\n   ```python title="one.py"\n   VALUE = 7\n   ```\n\n'
        "```python\n>>> VALUE\n7\n```\n"
        '```console\n$ python -c "import one; print(one.VALUE, \\\n> 8)"\n7 8\n$ make help\n```\n'
        "```python\nfor n in range(3):\n    print('line', n)\n```\n```output\nline 0\n...2\n```\n"
        "```js\nnot run\n```\n",
    )
    assert run_page(page, tmp_path) == 5
