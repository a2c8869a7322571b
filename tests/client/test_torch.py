"""`tensor_pool.client.torch` under a DataLoader with real worker processes.

With torch where it is installed (`make test-torch`), else with a stand-in for the parts used.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.deployment import Deployment, until
from tests.stand_ins import stand_ins

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("torch_loader.py")
HAS_TORCH = importlib.util.find_spec("torch") is not None


def start(deployment: Deployment, *arguments: str) -> subprocess.Popen[str]:
    deployment.daemon()
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    paths += stand_ins()
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), json.dumps(deployment.endpoints), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ":".join(filter(None, paths))},
    )


def test_workers_of_a_loader_share_the_frames_out_without_duplicates(
    deployment: Deployment,
) -> None:
    """C-114: each worker has a client of its own. DLPack carries tensors in and out."""
    program = start(deployment)
    output, _ = program.communicate(timeout=100)
    assert program.returncode == 0
    result = json.loads(output)
    print(result)
    assert (result.pop("torch") == "stand-in") is not HAS_TORCH
    assert result == {"residues": [[0], [1]], "duplicates": 0, "wrong": 0, "shared": True}


def test_workers_end_when_the_process_of_their_loader_is_killed(deployment: Deployment) -> None:
    program = start(deployment, "endless")
    assert program.stdout is not None
    workers = json.loads(program.stdout.readline())["workers"]
    program.kill()
    program.wait()
    for worker in workers:
        until(lambda pid=worker: not Path(f"/proc/{pid}").exists(), "the end of a worker")
    program.stdout.close()


def test_without_torch_the_extra_is_named() -> None:
    script = "import sys; sys.modules['torch'] = None; import tensor_pool.client.torch"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "of the extra torch: pip install torch" in done.stderr
