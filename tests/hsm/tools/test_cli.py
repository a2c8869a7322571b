"""`python -m tensor_pool.hsm`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tensor_pool.hsm.__main__ import main
from tensor_pool.hsm.diagram import render
from tensor_pool.hsm.scxml import export_scxml
from tests.hsm.tools.charts import Everything
from tests.hsm.tools.test_scxml import DOCUMENT, Player

EVERYTHING = "tests.hsm.tools.charts:Everything"
PLAYER = "tests.hsm.tools.test_scxml:Player"


@pytest.mark.parametrize("format_", ["mermaid", "dot", "svg"])
def test_diagram_prints_each_format(format_: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", EVERYTHING, "--format", format_]) == 0
    assert capsys.readouterr().out == render(Everything, format_)  # type: ignore[arg-type]


def test_diagram_is_mermaid_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", EVERYTHING]) == 0
    assert capsys.readouterr().out == render(Everything, "mermaid")


def test_output_goes_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "picture.dot"
    assert main(["diagram", EVERYTHING, "--format", "dot", "--output", str(path)]) == 0
    assert path.read_text(encoding="utf-8") == render(Everything, "dot")
    assert capsys.readouterr().out == ""


def test_scxml_is_exported_and_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "player.scxml"
    assert main(["scxml", "export", PLAYER, "--output", str(path)]) == 0
    assert path.read_text(encoding="utf-8") == DOCUMENT == export_scxml(Player)
    assert main(["scxml", "import", str(path)]) == 0
    drawn = capsys.readouterr().out
    assert "Playing --> Paused : pause" in drawn
    assert drawn.startswith("---\ntitle: Player\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diagram", "no_colon"], "write package.module:Class"),
        (["diagram", "no.such.module:X"], "cannot import no.such.module"),
        (["diagram", "tensor_pool.hsm:Nothing"], "has no Nothing"),
        (["diagram", "tensor_pool.hsm:State"], "is not a Machine class"),
        (["scxml", "export", EVERYTHING], "Dead is a Terminate vertex"),
        (["scxml", "import", "no-such-file.scxml"], "no-such-file.scxml"),
    ],
)
def test_failures_are_reported_without_a_traceback(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("tensor_pool.hsm: ")
    assert message in captured.err
    assert captured.out == ""


def test_a_class_of_the_current_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from tensor_pool.hsm import *\n"
        "class Mine(Machine):\n"
        "    A = State()\n"
        "    begin = on_initial(ROOT, target=A)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "tensor_pool.hsm", "diagram", "mine:Mine"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "[*] --> A" in done.stdout
