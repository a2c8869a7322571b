"""The generated pages of the driver and the unit file agree with the program."""

from __future__ import annotations

import configparser
import re
import runpy
from pathlib import Path

import pytest

from tensor_pool.driver.config.keys import SETTINGS
from tensor_pool.driver.runtime.metrics import METRIC_HELP, METRIC_NAMES
from tests.docs_snippets import run_page, snippets

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_pages_are_not_stale() -> None:
    """Run `make reference` when this fails."""
    pages = runpy.run_path(str(DOCS / "reference" / "driver_pages.py"))["pages"]()
    for path, contents in pages.items():
        assert path.read_text() == contents, f"{path.name} is stale: make reference"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_W_231_every_key_is_in_the_reference(setting: object) -> None:
    page = (DOCS / "reference" / "configuration.md").read_text()
    assert f"| `{setting.name}` |" in page  # type: ignore[attr-defined]
    assert f"`{setting.environment}`" in page  # type: ignore[attr-defined]


def test_D_185_every_metric_has_its_meaning() -> None:
    assert sorted(METRIC_HELP) == sorted(METRIC_NAMES)


def test_the_unit_file_uses_what_the_daemon_offers() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DOCS / "how-to" / "tensor-pool.service")
    service = unit["Service"]
    assert service["Type"] == "notify"
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
def test_the_page_on_embedding_does_what_it_says(tmp_path: Path) -> None:
    """C-130, C-131: a client of the library on an embedded driver."""
    page = DOCS / "how-to" / "embed-the-driver.md"
    runnable = [one for one in snippets(page) if one.language in ("python", "output")]
    assert run_page(page, tmp_path) == len(runnable) == 4
