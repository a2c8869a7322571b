"""The uses of pyaeron that end a process or lie, and that the transport keeps callers away from.

A call that may kill its process is tried in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from tensor_pool.protocol.errors import ConcurrentUseError, TransportError
from tensor_pool.protocol.transport.aeron import AeronTransport
from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tensor_pool.protocol.transport.ports import OfferResult

pytestmark = pytest.mark.process

CHANNEL = "aeron:ipc?term-length=64k"
PRELUDE = """
import contextlib, os, shutil, sys, time
from tensor_pool.protocol.errors import ForkedProcessError, TransportError
from tensor_pool.protocol.transport.aeron import AeronTransport
from tensor_pool.protocol.transport.media_driver import EmbeddedMediaDriver, MediaDriverProcess
CHANNEL = "aeron:ipc?term-length=64k"

def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.01)
"""


def start(script, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def run(script, **environment):
    process = start(script, **environment)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, f"exit status {process.returncode}\n{out}\n{err}"
    return out.split()


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.002)


def test_a_killed_media_driver_is_reported_and_does_not_end_the_process():
    """Trap 1. The bare binding calls exit(1) here."""
    out = run(
        """
        driver = MediaDriverProcess()
        transport = AeronTransport.connect(driver.directory, driver_timeout_ms=1000)
        publication = transport.add_publication(CHANNEL, 1)
        subscription = transport.add_subscription(CHANNEL, 1)
        until(lambda: publication.is_connected)
        assert transport.error is None
        driver.kill()
        until(lambda: transport.is_closed)
        assert publication.offer(b"x").name == "CLOSED"
        assert publication.is_closed and not publication.is_connected
        assert subscription.poll(lambda m: None, 10) == 0
        assert "MediaDriver" in transport.error and "\\n" not in transport.error, transport.error
        begun = time.monotonic()
        for add in (transport.add_publication, transport.add_subscription):
            try:
                add(CHANNEL, 2)
            except TransportError as error:
                assert "MediaDriver" in str(error), error
            else:
                raise AssertionError("added to a dead transport")
        assert time.monotonic() - begun < 1, "adding waited for a media driver that is gone"
        transport.close()
        assert transport.is_closed and transport.error is None
        driver.close()
        print("alive", os.path.exists(driver.directory))
        """
    )
    assert out == ["alive", "False"]


def test_D_146_another_media_driver_in_the_place_of_a_killed_one_is_noticed_at_once():
    """D-146: Aeron's client alone waits for its timeout, here longer than the test may take."""
    out = run(
        """
        first = MediaDriverProcess()
        transport = AeronTransport.connect(first.directory, driver_timeout_ms=600_000)
        publication = transport.add_publication(CHANNEL, 1)
        subscription = transport.add_subscription(CHANNEL, 1)
        until(lambda: publication.is_connected)
        first.kill()
        shutil.rmtree(first.directory)
        assert not transport.is_closed, "there is none yet that could take its place"
        with MediaDriverProcess(first.directory) as second:
            until(lambda: transport.is_closed)
            assert transport.error == f"another media driver has started in {second.directory}"
            transport.close()
            assert transport.error is None
            with contextlib.closing(AeronTransport.connect(second.directory)) as again:
                assert not again.is_closed
                again.add_publication(CHANNEL, 1)
        print("alive")
        """
    )
    assert out == ["alive"]


def test_a_media_driver_that_is_shut_down_is_reported():
    out = run(
        """
        driver = MediaDriverProcess()
        transport = AeronTransport.connect(driver.directory)
        driver.close()
        until(lambda: transport.is_closed)
        assert transport.error
        transport.close()
        print("alive")
        """
    )
    assert out == ["alive"]


def test_a_stall_longer_than_the_liveness_timeout_does_not_end_the_process():
    """Trap 1, from the other side: the media driver gave up on us while we were stopped."""
    process = start(
        """
        import signal
        with MediaDriverProcess() as driver:
            transport = AeronTransport.connect(driver.directory)
            publication = transport.add_publication(CHANNEL, 1)
            print(transport.is_closed, flush=True)
            sys.stdin.readline()
            until(lambda: transport.is_closed)
            assert publication.offer(b"x").name == "CLOSED"
            print("alive" if transport.error else "no error")
        """,
        AERON_CLIENT_LIVENESS_TIMEOUT="1s",
        AERON_TIMER_INTERVAL="200ms",
    )
    assert process.stdout.readline() == "False\n"
    os.kill(process.pid, 19)
    time.sleep(2.5)  # another process has to miss this one; there is no clock to simulate
    os.kill(process.pid, 18)
    out, err = process.communicate("go\n", timeout=60)
    assert (process.returncode, out) == (0, "alive\n"), err


def test_no_media_driver_is_reported_at_once_with_a_remedy(tmp_path):
    with pytest.raises(TransportError, match=r"no media driver is running in .*; start the"):
        AeronTransport.connect(str(tmp_path / "none"))


def test_C_002_the_default_directory_is_aerons_and_no_environment_variable_moves_it():
    out = run(
        """
        import pyaeron
        try:
            AeronTransport.connect(None)
        except TransportError as error:
            assert os.environ["AERON_DIR"] not in str(error), error
            assert pyaeron.default_path() in str(error), error
        else:
            raise AssertionError("a media driver runs in the default directory of this machine")
        print("default")
        """,
        AERON_DIR="/dev/shm/nonsense-from-the-environment",
        USER="nobody-has-this-name",
    )
    assert out == ["default"]


def test_a_subscription_polled_by_two_threads_is_refused_not_corrupted(media_driver):
    """Trap 7."""
    transport = AeronTransport.connect(media_driver.directory)
    subscription = transport.add_subscription(CHANNEL, 100)
    publication = transport.add_publication(CHANNEL, 100)
    until(lambda: publication.is_connected)
    for _ in range(3):
        assert publication.offer(b"x") is OfferResult.ACCEPTED
    in_handler, leave = threading.Event(), threading.Event()
    seen = []

    def handler(message):
        seen.append(bytes(message))
        in_handler.set()
        assert leave.wait(10)

    thread = threading.Thread(target=lambda: until(lambda: subscription.poll(handler, 10)))
    thread.start()
    assert in_handler.wait(10)
    with pytest.raises(ConcurrentUseError):
        subscription.poll(lambda m: None, 10)
    leave.set()
    thread.join()
    assert seen == [b"x"] * 3
    transport.close()


def test_a_transport_closed_by_another_thread_during_a_poll_is_released_after_it(media_driver):
    """Trap 3, across threads."""
    transport = AeronTransport.connect(media_driver.directory)
    subscription = transport.add_subscription(CHANNEL, 101)
    other = AeronTransport.connect(media_driver.directory)
    publication = other.add_publication(CHANNEL, 101)
    until(lambda: publication.is_connected)
    for _ in range(3):
        assert publication.offer(b"x") is OfferResult.ACCEPTED
    in_handler, leave = threading.Event(), threading.Event()
    seen = []

    def handler(message):
        seen.append(bytes(message))
        in_handler.set()
        assert leave.wait(10)

    thread = threading.Thread(target=lambda: until(lambda: subscription.poll(handler, 10)))
    thread.start()
    assert in_handler.wait(10)
    transport.close()
    assert transport.is_closed
    assert not transport.raw.is_closed  # the native client is still in use
    leave.set()
    thread.join()
    assert seen == [b"x"]
    until(lambda: not publication.is_connected)
    other.close()


def test_C_114_a_forked_child_can_neither_use_nor_harm_its_parents_transport():
    """Trap 8. Collecting the bare objects in the child shuts the parent's media driver down."""
    out = run(
        """
        import gc, shutil, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: on purpose
        driver = EmbeddedMediaDriver(sys.argv[1] if len(sys.argv) > 1 else
                                     f"/dev/shm/aeron-fork-test-{os.getpid()}")
        transport = AeronTransport.connect(driver.directory)
        publication = transport.add_publication(CHANNEL, 1)
        subscription = transport.add_subscription(CHANNEL, 1)
        until(lambda: publication.is_connected)
        child = os.fork()
        if child == 0:
            refused = 0
            for use in (
                lambda: publication.offer(b"from the child"),
                lambda: subscription.poll(lambda m: None, 1),
                lambda: publication.is_connected,
                lambda: subscription.is_connected,
                lambda: transport.is_closed,
                lambda: transport.add_publication(CHANNEL, 2),
                lambda: transport.add_subscription(CHANNEL, 2),
            ):
                try:
                    use()
                except ForkedProcessError as error:
                    refused += "child" in str(error)
            publication.close(), subscription.close(), transport.close(), driver.close()
            del publication, subscription, transport, driver
            gc.collect()
            sys.exit(refused)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status))
        time.sleep(0.5)
        assert not transport.is_closed, transport.error
        publication.offer(b"from the parent")
        received = []
        until(lambda: subscription.poll(lambda m: received.append(bytes(m)), 10))
        print(*received)
        transport.close(), driver.close()
        print(os.path.exists(driver.directory))
        """
    )
    assert out == ["7", "b'from", "the", "parent'", "False"]


def test_objects_that_are_never_closed_do_not_disturb_the_end_of_the_process():
    out = run(
        """
        driver = MediaDriverProcess()
        transport = AeronTransport.connect(driver.directory)
        publication = transport.add_publication(CHANNEL, 1)
        subscription = transport.add_subscription(CHANNEL, 1)
        until(lambda: publication.is_connected)
        publication.offer(b"x")
        print(driver.directory)
        """
    )
    until(lambda: not os.path.exists(out[0]))


def test_publications_and_subscriptions_that_were_closed_are_forgotten(media_driver):
    """A driver opens and closes per-consumer publications for as long as it lives."""
    transport = AeronTransport.connect(media_driver.directory)
    for _ in range(3):
        transport.add_publication(CHANNEL, 102).close()
        transport.add_subscription(CHANNEL, 102).close()
    assert not transport._publications
    assert not transport._subscriptions
    transport.close()


def test_a_new_session_is_not_mixed_with_what_a_closed_one_left_unfinished(media_driver):
    """Trap 5: stale fragments arrive; whole messages still come out whole."""
    sender = AeronTransport.connect(media_driver.directory)
    receiver = AeronTransport.connect(media_driver.directory)
    subscription = receiver.add_subscription(CHANNEL, 103)
    received = []
    for letter in (b"a", b"b"):
        publication = sender.add_publication(CHANNEL, 103)
        until(lambda publication=publication: publication.is_connected)
        assert publication.offer(letter * 4000) is OfferResult.ACCEPTED
        subscription.poll(lambda m: received.append(bytes(m)), 1)
        publication.close()
    until(lambda: subscription.poll(lambda m: received.append(bytes(m)), 1) or len(received) == 2)
    while len(received) < 2:
        subscription.poll(lambda m: received.append(bytes(m)), 1)
    assert sorted(received) == [b"a" * 4000, b"b" * 4000]  # Aeron orders within a session only
    sender.close()
    receiver.close()


def test_the_raw_objects_are_at_hand_for_a_hot_path(media_driver):
    transport = AeronTransport.connect(media_driver.directory)
    subscription = transport.add_subscription(CHANNEL, 104)
    publication = transport.add_publication(CHANNEL, 104)
    until(lambda: publication.is_connected)
    assert publication.raw.offer(bytearray(48)) is True
    lengths = []
    until(
        lambda: subscription.raw.poll(
            lambda buffer, header: lengths.append(len(buffer)), 10, assemble=False
        )
    )
    assert lengths == [48]
    transport.close()


def test_a_media_driver_process_ends_with_its_owner():
    """Also when the owner is killed; its directory goes with it."""
    owner = start(
        """
        driver = MediaDriverProcess()
        print(driver.directory, driver.pid, flush=True)
        sys.stdin.read()
        """
    )
    directory, pid = owner.stdout.readline().split()
    assert os.path.exists(directory)
    owner.kill()
    owner.wait()
    until(lambda: not os.path.exists(directory) and not os.path.exists(f"/proc/{pid}"))
    owner.communicate()


def test_a_media_driver_process_that_cannot_start_prints_why(media_driver):
    with pytest.raises(TransportError, match="already active"):
        MediaDriverProcess(media_driver.directory)
