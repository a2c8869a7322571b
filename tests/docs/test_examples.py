"""The examples run as their first lines say, and leave nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).parents[2]


def _run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, f"examples/{name}", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_cross_is_where_the_camera_drew_the_disc() -> None:
    said = _run("camera_to_viewer.py", "--frames", "40")
    found = re.fullmatch(r"(\d+) frames seen, cross at most ([\d.]+) pixels off, .*\n", said)
    assert found is not None, said
    assert int(found[1]) == 40
    assert float(found[2]) <= 1.5


def test_every_image_goes_through_three_stages_and_is_classified() -> None:
    assert _run("three_stages.py", "--images", "20").startswith("20 of 20 images")


def test_the_cells_of_the_notebook_run_in_order() -> None:
    said = _run("notebook.py")
    assert "Serving.Running.Normal" in said
    assert "(480, 640) 7" in said


def test_frames_are_summed_and_a_missing_gpu_is_reported() -> None:
    said = _run("pinned_transfers.py", "--frames", "20").splitlines()
    assert re.match(r"no GPU: .*; frames are summed on the processor|GPU: ", said[0])
    assert said[1:] == ["the pool is one mapping of 8 MiB", "20 of 20 sums are right"]


class Cuda:
    """Records calls in place of torch with a GPU, which no machine of the tests has."""

    int64 = np.int64

    def __init__(self, error: int = 0) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.cuda = SimpleNamespace(
            is_available=lambda: True,
            get_device_name=lambda: "GPU 1",
            cudart=lambda: self,
            synchronize=lambda: self.calls.append(("synchronize",)),
        )
        self._error = error

    def cudaHostRegister(self, *arguments: int) -> int:
        self.calls.append(("register", *arguments))
        return self._error

    def cudaHostUnregister(self, *arguments: int) -> None:
        self.calls.append(("unregister", *arguments))

    def from_dlpack(self, frame: np.ndarray) -> SimpleNamespace:
        def to(*place: object, **how: object) -> np.ndarray:
            self.calls.append(("to", *place, *how.items()))
            return np.from_dlpack(frame)

        return SimpleNamespace(to=to)


def test_a_gpu_gets_the_pool_registered_and_released_and_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The calls in their order; a GPU itself is not tried."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "examples"))
    import pinned_transfers

    torch = Cuda()
    monkeypatch.setitem(sys.modules, "torch", torch)
    gpu = pinned_transfers.device()
    assert capsys.readouterr().out == "GPU: GPU 1; it reads the slots in place\n"
    gpu.begin(4096, 8192)
    assert gpu.total(np.full(3, 200, np.uint8)) == 600
    gpu.end()
    assert torch.calls == [
        ("register", 4096, 8192, 8),
        ("to", "cuda", ("non_blocking", True)),
        ("synchronize",),
        ("unregister", 4096),
    ]
    with pytest.raises(SystemExit, match="cudaHostRegister of 8192 bytes: CUDA error 2"):
        pinned_transfers.Gpu(Cuda(error=2)).begin(4096, 8192)
    torch.cuda.is_available = lambda: False
    pinned_transfers.device()
    assert capsys.readouterr().out.startswith("no GPU: torch finds none")


def test_every_example_is_in_the_list() -> None:
    listed = (REPOSITORY / "examples" / "README.md").read_text(encoding="utf-8")
    for example in (REPOSITORY / "examples").glob("*.py"):
        assert f"({example.name})" in listed
