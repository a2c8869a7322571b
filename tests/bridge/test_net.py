"""The network side over real Aeron UDP, on loopback (B-024 to B-026)."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tensor_pool.bridge.net import AeronNet, sweep_abandoned
from tensor_pool.cli.demo.two_hosts.relay import Relay
from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.media_driver import (
    EmbeddedMediaDriver,
    unique_aeron_dir,
)
from tensor_pool.protocol.transport.ports import OfferResult

pytestmark = pytest.mark.process

_CHUNK = 60 << 10


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="module")
def media_driver() -> Iterator[str]:
    """The directory of a media driver that is not the bridge's."""
    directory = unique_aeron_dir("net-test")
    driver = EmbeddedMediaDriver(directory, "shared")
    yield directory
    driver.close()


def messages(count: int) -> list[bytes]:
    dice = random.Random(7)
    return [dice.randbytes(dice.choice((10, 1400, 5000, _CHUNK))) for _ in range(count)]


@pytest.mark.parametrize("limit", [1, 7, 256])
def test_B_026_large_messages_are_joined_by_session(media_driver: str, limit: int) -> None:
    """B-026, B-024 (external): two senders, 60 KiB at an MTU of 1408, few fragments a poll."""
    net = AeronNet(media_driver)
    channel = f"aeron:udp?endpoint=127.0.0.1:{44100 + limit}"
    received: dict[int, list[bytes]] = {}
    subscription = net.subscription(channel, 3000)
    senders = [net.publication(channel + "|mtu=1408", 3000) for _ in range(2)]
    eventually(lambda: all(sender.is_connected for sender in senders))
    wanted = [messages(12), messages(12)[::-1]]
    waiting = [list(batch) for batch in wanted]

    def take(session: int, message: memoryview) -> None:
        received.setdefault(session, []).append(bytes(message))

    def work() -> bool:
        for sender, batch in zip(senders, waiting, strict=True):
            if batch and sender.offer(batch[0]) is OfferResult.ACCEPTED:
                batch.pop(0)
        for _ in range(50):
            subscription.poll(take, limit)
        return sum(map(len, received.values())) == 24

    eventually(work)
    assert sorted(received.values()) == sorted(wanted)
    assert {subscription.source_address(session) for session in received} == {"127.0.0.1"}
    net.close()
    assert os.path.isdir(media_driver)  # it belongs to another


def test_B_160_an_address_that_cannot_be_listened_at_is_named_with_the_remedy(
    media_driver: str,
) -> None:
    """B-160: one of another host, and a port that another program has."""
    net = AeronNet(media_driver)
    with pytest.raises(TransportError, match=r"at 192\.0\.2\.7:44190: .*an address of this host"):
        net.subscription("aeron:udp?endpoint=192.0.2.7:44190", 3000)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(TransportError, match=rf"at 127\.0\.0\.1:{port}: .*another port"):
            net.subscription(f"aeron:udp?endpoint=127.0.0.1:{port}", 3000)
    net.close()


def test_B_024_the_bridges_own_media_driver_goes_with_it() -> None:
    """B-024: a directory of its own, removed at the end."""
    net = AeronNet()
    assert os.path.isdir(net.directory)
    assert "tensorpool-bridge" in net.directory
    assert net.error is None
    net.close()
    assert not os.path.exists(net.directory)


def test_B_024_the_directory_of_a_killed_bridge_is_removed_by_the_next_one(tmp_path: Path) -> None:
    """B-024: and that of a live one is not."""
    code = (
        "import time; from tensor_pool.bridge.net import AeronNet; net = AeronNet();"
        " print(net.directory, flush=True); time.sleep(600)"
    )
    killed = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    directory = Path(killed.stdout.readline().strip())
    moved = tmp_path / directory.name  # other bridges of this machine may remove that of the killed
    shutil.copytree(directory, moved)
    killed.kill()
    killed.wait()
    killed.stdout.close()
    shutil.rmtree(directory, ignore_errors=True)
    live = AeronNet()
    try:
        (tmp_path / Path(live.directory).name).symlink_to(live.directory)
        assert sweep_abandoned(tmp_path) == [moved]
        assert os.path.isdir(live.directory)
    finally:
        live.close()


def test_B_024_a_bridge_that_is_starting_keeps_its_directory(tmp_path: Path) -> None:
    """B-024: bridges of one host may start at the same time; the lock is held until the media
    driver has its heartbeat. A directory with foreign files stays."""
    starting = Path(str(tmp_path / Path(unique_aeron_dir("tensorpool-bridge")).name))
    starting.mkdir()
    foreign = starting.with_name(starting.name + "f")
    foreign.mkdir()
    (foreign / "thesis.txt").touch()
    with open(f"{starting}.lock", "w") as lock:
        os.chmod(lock.name, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert sweep_abandoned(tmp_path) == []
    assert starting.is_dir()
    assert sweep_abandoned(tmp_path) == [starting]
    assert [path.name for path in tmp_path.iterdir()] == [foreign.name]


def test_B_140_packets_pass_a_path_that_is_cut_for_a_while(media_driver: str) -> None:
    """B-140, section 3.1: a short partition delays, and loses nothing that was accepted."""
    net = AeronNet(media_driver)
    relay = Relay(44099)
    received: list[bytes] = []
    subscription = net.subscription("aeron:udp?endpoint=127.0.0.1:44099", 3000)
    sender = net.publication(f"aeron:udp?endpoint=127.0.0.1:{relay.port}", 3000)
    eventually(lambda: sender.is_connected)
    wanted = messages(20)
    for number, message in enumerate(wanted):
        if number == 10:
            relay.is_cut = True
        eventually(lambda message=message: sender.offer(message) is OfferResult.ACCEPTED)  # type: ignore[misc]
    for _ in range(100):
        subscription.poll(lambda _, message: received.append(bytes(message)), 256)
        time.sleep(0.002)
    assert len(received) < 20
    relay.is_cut = False

    def all_there() -> bool:
        subscription.poll(lambda _, message: received.append(bytes(message)), 256)
        return len(received) == 20

    eventually(all_there)
    assert received == wanted
    net.close()
    relay.close()
