"""A writer with access to the files that means harm: each trick is refused, its reason named."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tensor_pool.protocol.errors import ShmError, ShmValidationError
from tests.protocol.shm.streams import Stream, create_stream, mapped_paths, open_descriptors


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(content)


def replace(path: Path, make: Callable[[], object]) -> None:
    path.rename(path.with_suffix(".moved"))
    make()


TRICKS: dict[str, tuple[Callable[[Stream], object], int, str]] = {
    "bad magic": (
        lambda s: overwrite(s.pool_path(), 0, b"LPOTSHM1"),
        12,
        "superblock magic",
    ),
    "byte-swapped magic": (
        lambda s: overwrite(s.pool_path(), 0, bytes.fromhex("544f504c53484d31")),
        12,
        "superblock magic",
    ),
    "wrong epoch": (
        lambda s: overwrite(s.pool_path(), 12, (8).to_bytes(8, "little")),
        12,
        "superblock epoch 8",
    ),
    "another stream": (
        lambda s: overwrite(s.pool_path(), 20, (1).to_bytes(4, "little")),
        12,
        "superblock stream_id 1",
    ),
    "more slots than the file has": (
        lambda s: overwrite(s.pool_path(), 28, (1 << 20).to_bytes(4, "little")),
        12,
        "superblock nslots 1048576",
    ),
    "a header ring where a pool belongs": (
        lambda s: s.pool_path().write_bytes(s.header_path.read_bytes().ljust(1 << 20, b"\0")),
        12,
        "superblock region_type 1",
    ),
    "shortened before mapping": (
        lambda s: os.truncate(s.pool_path(), 100),
        9,
        "100 bytes",
    ),
    "empty": (lambda s: os.truncate(s.pool_path(), 0), 9, "0 bytes"),
    "a link": (
        lambda s: replace(s.pool_path(), lambda: s.pool_path().symlink_to("/etc/passwd")),
        3,
        "a symbolic link",
    ),
    "a link to its like": (
        lambda s: replace(
            s.pool_path(), lambda: s.pool_path().symlink_to(s.pool_path().with_suffix(".moved"))
        ),
        3,
        "a symbolic link",
    ),
    "a FIFO": (
        lambda s: replace(s.pool_path(), lambda: os.mkfifo(s.pool_path())),
        6,
        "a FIFO",
    ),
    "a directory": (
        lambda s: replace(s.pool_path(), s.pool_path().mkdir),
        6,
        "a directory",
    ),
}


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("writable", [False, True], ids=["consumer", "producer"])
def test_W_030_a_trick_is_refused_with_its_reason(
    stream: Stream, trick: str, writable: bool
) -> None:
    """W-030, W-054, W-132, W-220."""
    play, step, seen = TRICKS[trick]
    stream.close()
    play(stream)
    before = open_descriptors()
    with pytest.raises(ShmValidationError) as caught:
        stream.map(writable=writable)
    assert (caught.value.region, caught.value.step) == ("pool 1", step)
    assert seen in caught.value.seen
    assert open_descriptors() == before
    assert mapped_paths(str(stream.base)) == []


@pytest.mark.parametrize(
    ("uri", "step"),
    [
        ("shm:file?path=/dev/zero", 5),
        ("shm:file?path=/etc/passwd", 5),
        ("shm:file?path=/proc/self/mem", 5),
        ("shm:file?path={base}/../tensorpool-other/1.pool", 4),
        ("shm:file?path={pool}|require_hugepages=true", 10),
    ],
)
def test_W_030_an_announce_that_points_elsewhere_is_refused(
    stream: Stream, uri: str, step: int
) -> None:
    """W-030, W-045: devices, paths outside the base, a lie about huge pages."""
    named = uri.format(base=stream.base, pool=stream.pool_path())
    pool = msgspec.structs.replace(stream.geometry.pools[0], uri=named)
    stream.geometry = msgspec.structs.replace(stream.geometry, pools=(pool,))
    with pytest.raises(ShmValidationError) as caught:
        stream.map()
    assert caught.value.step == step


@pytest.mark.process
@pytest.mark.parametrize("region", ["header ring", "pool"])
def test_W_223_shortened_after_mapping_by_another_process(stream: Stream, region: str) -> None:
    """The consumer gets zeros and a commit word of 0, so the frame drops; never SIGBUS."""
    mapped = stream.map()
    path = stream.header_path if region == "header ring" else stream.pool_path()
    subprocess.run([sys.executable, "-c", f"import os; os.truncate({str(path)!r}, 0)"], check=True)
    damaged = mapped.header if region == "header ring" else mapped.pools[1]
    assert not any(bytes(damaged.buffer))
    assert not any(mapped.header.words)
    assert mapped.lost
    with pytest.raises(ShmValidationError, match="shortened to 0 bytes while mapped"):
        damaged.check()
    mapped.retire()
    with pytest.raises(ShmValidationError):
        stream.map()


@pytest.mark.process
def test_W_030_links_swapped_in_at_full_speed_never_lead_outside(
    stream: Stream, tmp_path: Path
) -> None:
    """W-030, W-220: another process swaps the file for a link to a perfect forgery, over and over.

    At any moment, either the real file is mapped or the region is refused.
    """
    stream.close()
    forged = tmp_path / "forged.ring"
    content = bytearray(stream.header_path.read_bytes())
    content[64:72] = b"FORGERY!"
    forged.write_bytes(content)
    swapper = textwrap.dedent(
        f"""
        import os
        real, forged = {str(stream.header_path)!r}, {str(forged)!r}
        os.symlink(forged, real + ".link")
        os.link(real, real + ".real")
        print("swapping", flush=True)
        while True:
            os.rename(real + ".link", real)
            os.symlink(forged, real + ".link")
            os.link(real + ".real", real + ".again")
            os.rename(real + ".again", real)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", swapper], stdout=subprocess.PIPE, text=True)
    outcomes: dict[str, int] = {}
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "swapping\n"
        for _ in range(3000):
            try:
                region = stream.map_header()
            except ShmValidationError as error:
                outcome = f"step {error.step}"
            else:
                outcome = "mapped"
                assert bytes(region.buffer[64:72]) == bytes(8), "the forgery was mapped"
                region.close()
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    finally:
        process.kill()
        process.communicate()
    assert outcomes["mapped"] > 0
    assert outcomes["step 3"] > 0


def test_W_220_random_superblocks_are_refused_or_equal(base: Path) -> None:
    """Any damage to a compared field refuses the region; none of it crashes or leaks."""
    stream = create_stream(base)
    stream.close()
    original = stream.pool_path().read_bytes()[:64]
    rng = random.Random(11)
    before = open_descriptors()
    for _ in range(300):
        damaged = bytearray(original)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(64)] = rng.randrange(256)
        overwrite(stream.pool_path(), 0, bytes(damaged))
        compared = bytes(damaged[:40]) == original[:40]
        try:
            mapped = stream.map()
        except ShmError:
            assert not compared
        else:
            assert compared
            mapped.retire()
    assert open_descriptors() == before
