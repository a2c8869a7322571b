"""The generated pages of the driver and the unit file agree with the program."""

from __future__ import annotations

import configparser
import re
import runpy
from collections import Counter
from pathlib import Path

import pytest

from tensor_pool.driver.config.keys import SETTINGS
from tensor_pool.driver.runtime.metrics import METRIC_HELP
from tests.docs_snippets import run_page, snippets

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_pages_are_not_stale() -> None:
    """Run `make reference` when this fails."""
    for generator in ("driver_pages.py", "attach_refusals_page.py", "conformance_page.py"):
        pages = runpy.run_path(str(DOCS / "reference" / generator))["pages"]()
        for path, contents in pages.items():
            assert path.read_text() == contents, f"{path.name} is stale: make reference"


def test_W_231_every_key_that_a_page_names_exists() -> None:
    keys = {setting.key for setting in SETTINGS}
    tables = "|".join({key.partition(".")[0] for key in keys if "." in key})
    named = {
        (path.name, key)
        for path in (*DOCS.rglob("*.md"), DOCS.parent / "README.md")
        for key in re.findall(rf"`((?:{tables})\.[a-z_]+)`", path.read_text(encoding="utf-8"))
    }
    named = {(page, key) for page, key in named if not key.endswith((".md", ".toml"))}
    assert len(named) > 20
    assert sorted((page, key) for page, key in named if key not in keys) == []


def test_D_185_every_metric_has_a_meaning_that_no_other_has() -> None:
    shared = [text for text, n in Counter(METRIC_HELP.values()).items() if n > 1]
    assert shared == []
    assert [name for name, text in METRIC_HELP.items() if not text.endswith(".")] == []


def test_the_unit_file_uses_what_the_daemon_offers() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DOCS / "how-to" / "tensor-pool.service")
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["UMask"] == "0007"  # for the media driver's files; ours have modes of their own
    assert service["RestartPreventExitStatus"] == "2 3"
    for line in (service["ExecStart"], service["ExecStartPre"]):
        program, command, *options = line.split()
        assert program.endswith("/tensor-pool")
        assert command == "driver"
        help_page = _help_of_driver()
        assert {option for option in options if option.startswith("--")} <= help_page


def _help_of_driver() -> set[str]:
    import typer.testing

    from tensor_pool.cli.app import app

    result = typer.testing.CliRunner().invoke(app, ["driver", "--help"])
    return set(re.findall(r"--[a-z-]+", result.output))


@pytest.mark.process
def test_the_page_on_embedding_does_what_it_promises(deployment: None, tmp_path: Path) -> None:
    """C-130, C-131: a client of the library on an embedded driver."""
    page = DOCS / "how-to" / "embed-the-driver.md"
    runnable = [one for one in snippets(page) if one.language in ("python", "output")]
    assert run_page(page, tmp_path) == len(runnable) == 6
