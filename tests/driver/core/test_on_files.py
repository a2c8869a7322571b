"""The core on real files: what only those can show (§18, §20)."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tensor_pool.driver.config.layout import Layout
from tensor_pool.driver.files.store import FileStore
from tensor_pool.protocol.wire import ResponseCode, Role, ShmAttachResponse
from tests.driver.core.harness import OTHER_STREAM, SECOND, STREAM, Rig, make_config
from tests.simulation.invariants_driver import DriverInvariants, History


@pytest.fixture
def base() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tensor-pool-test-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


def make_rig(base: Path, **arguments: Any) -> Rig:
    policies = {"epoch_gc_keep": 1, "epoch_gc_min_age_ns": 1}
    config = make_config(shm={"base_dir": str(base / "pools")}, policies=policies)
    return Rig(config, store=FileStore, **arguments)


def tree(base: Path) -> dict[str, tuple[int, int]]:
    """Every path below, with size and time of change."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in base.rglob("*")
        if not path.is_dir()
    }


def test_D_186_deleted_region_files_do_not_disturb_the_driver(base: Path) -> None:
    """D-186, D-131"""
    rig = make_rig(base)
    producer = rig.granted(1, Role.PRODUCER)
    consumer = rig.granted(2)
    stream_dir = Path(Layout.of(rig.config.shm).stream_dir(STREAM))
    shutil.rmtree(stream_dir)
    for _ in range(3):
        rig.keepalive(producer, 1, Role.PRODUCER)
        rig.keepalive(consumer, 2, Role.CONSUMER)
        rig.run(SECOND)
    assert rig.metrics["handler_errors"] == 0
    assert len(rig.snapshot().leases) == 2
    # The next epoch is on disk again.
    assert rig.detach(producer, 1, Role.PRODUCER).code is ResponseCode.OK
    epoch = rig.stream().epoch
    assert epoch is not None
    assert (stream_dir / str(epoch) / "header.ring").is_file()
    assert rig.driver.state == "Serving.Running.Normal"
    rig.driver.close(drain=False)


def test_invariants_hold_on_files_and_nothing_outside_is_touched(base: Path) -> None:
    """D-186, D-001: I-10, I-12 and I-16 on the disk itself"""
    others = [base / "pools" / "mine.txt", base / "other" / "12" / "34" / "header.ring"]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not a region")
    before = tree(base)
    rig = make_rig(base, start=False)
    (others[0].parent / "tensorpool-somebody").mkdir()
    namespace_dir = Layout.of(rig.config.shm).namespace_dir

    def exists(stream_id: int, epoch: int) -> bool:
        header = Path(namespace_dir) / str(stream_id) / str(epoch) / "header.ring"
        return header.is_file() and header.read_bytes()[:8] != bytes(8)

    checks = DriverInvariants.watch(rig.driver, History(), exists)
    rig.driver.start()
    rng = random.Random(5)
    leases: dict[int, ShmAttachResponse] = {}
    for step in range(150):
        client = rng.randrange(1, 5)
        role = Role(client % 2 + 1)
        if client in leases:
            rig.detach(leases.pop(client), client, role)
        else:
            answer = rig.attach(client, role, stream_id=rng.choice((STREAM, OTHER_STREAM)))
            if answer.code is ResponseCode.OK:
                leases[client] = answer
        for holder, lease in leases.items():
            rig.keepalive(lease, holder, Role(holder % 2 + 1))
        rig.run(rng.choice((0, 1, 400_000_000)))
        checks.check()
        if step % 50 == 49:
            outside = {p: v for p, v in tree(base).items() if not p.startswith(namespace_dir + "/")}
            assert outside == before
    assert rig.metrics["gc_removed"] > 20
    rig.driver.close(drain=False)
    checks.check()
    kept = [os.listdir(directory) for directory in Path(namespace_dir).glob("1*")]
    assert all(len(epochs) <= 2 for epochs in kept)
