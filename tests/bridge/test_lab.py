"""The lab itself (B-180): several at once, nothing left after a crash, a clear refusal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bridge.lab import Lab, LabError, remove_leftovers

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("lab")]

_ROOT = Path(__file__).resolve().parents[2]
_CRASHES = (
    "from tests.bridge.lab import Lab; import sys\n"
    "lab = Lab('A', 'B', offsets_s={'B': 5000})\n"
    "program = lab['A'].start('sleep', '1000')\n"
    "print(lab.prefix, program.pid, lab['A']._anchor_pid, flush=True)\n"
    "sys.stdin.read()\n"
)


def namespaces() -> str:
    return subprocess.run(
        ["ip", "netns", "list"], capture_output=True, text=True, check=True
    ).stdout


def test_B_180_two_labs_at_once_and_nothing_left_of_one_that_is_killed() -> None:
    """B-180: after the next run; a program of the killed lab ends with it, too."""
    other = subprocess.Popen(
        [sys.executable, "-c", _CRASHES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    assert other.stdout is not None
    prefix, *pids = other.stdout.readline().split()
    with Lab("A") as lab:
        assert prefix in namespaces()
        assert lab.prefix in namespaces()
        assert lab["A"].run("ip", "-br", "link").count("eth@") == 1
        remove_leftovers()
        assert prefix in namespaces()  # it lives
    other.kill()
    other.communicate()
    deadline = time.monotonic() + 30
    while any(_runs(int(pid)) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    remove_leftovers()
    assert prefix not in namespaces()
    assert not list(Path("/tmp").glob(f"{prefix}*"))


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_B_180_without_rights_the_lab_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """B-180: the tests fail then, and are not skipped silently."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="unshare -Urn"):
        Lab("A")
