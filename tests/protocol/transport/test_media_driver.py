"""Finding, embedding and leaving a media driver's directory: no other one is ever deleted."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from typing import NoReturn

import pytest

from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.aeron import AeronTransport
from tensor_pool.protocol.transport.media_driver import (
    EmbeddedMediaDriver,
    ExternalMediaDriver,
    MediaDriverProcess,
    default_aeron_dir,
    is_media_driver_active,
    open_media_driver,
    unique_aeron_dir,
)

pytestmark = pytest.mark.process


@pytest.fixture
def directory():
    path = unique_aeron_dir("test")
    yield path
    assert not os.path.exists(path), "the directory was left behind"


def files_of(directory):
    return sorted(
        (entry.path, entry.inode()) for entry in os.scandir(directory) if entry.name != "images"
    )


def test_an_embedded_driver_serves_and_leaves_nothing(directory):
    with EmbeddedMediaDriver(directory) as driver:
        assert is_media_driver_active(directory)
        assert driver.is_embedded
        AeronTransport.connect(directory).close()
    assert not is_media_driver_active(directory)
    driver.close()


@pytest.mark.parametrize("mode", ["auto", "external"])
def test_an_active_driver_is_used_and_survives_our_leaving(media_driver, mode):
    found = open_media_driver(media_driver.directory, mode)
    assert isinstance(found, ExternalMediaDriver)
    assert not found.is_embedded
    assert found.directory == media_driver.directory
    found.close()
    assert is_media_driver_active(media_driver.directory)


def test_embedding_where_a_driver_is_active_is_refused_and_harms_nothing(media_driver):
    """Trap 4. The bare constructor fails too, and deletes the live driver's directory."""
    transport = AeronTransport.connect(media_driver.directory)
    before = files_of(media_driver.directory)
    with pytest.raises(TransportError, match=r"already active in .*auto or external"):
        open_media_driver(media_driver.directory, "embedded")
    assert files_of(media_driver.directory) == before
    assert is_media_driver_active(media_driver.directory)
    transport.add_publication("aeron:ipc?term-length=64k", 200)
    transport.close()


def test_external_without_an_active_driver_is_refused(directory):
    with pytest.raises(TransportError, match="no media driver is active"):
        open_media_driver(directory, "external")
    assert not os.path.exists(directory)


@pytest.mark.parametrize("mode", ["auto", "embedded"])
def test_without_an_active_driver_one_is_embedded(directory, mode):
    driver = open_media_driver(directory, mode)
    assert isinstance(driver, EmbeddedMediaDriver)
    driver.close()


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="auto, embedded or external"):
        open_media_driver(None, "maybe")


def test_a_killed_drivers_directory_is_taken_over_without_waiting_out_its_timeout(directory):
    dead = MediaDriverProcess(directory)
    dead.kill()
    assert os.path.exists(os.path.join(directory, "cnc.dat"))
    with open_media_driver(directory) as driver:
        assert driver.is_embedded
        AeronTransport.connect(directory).close()
    dead.close()


def test_a_directory_with_anything_else_in_it_is_left_alone(directory):
    os.mkdir(directory)
    path = os.path.join(directory, "thesis.txt")
    with open(path, "w"):
        pass
    with pytest.raises(TransportError, match="thesis"):
        EmbeddedMediaDriver(directory)
    assert os.path.exists(path)
    os.unlink(path)
    os.rmdir(directory)


@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_what_is_not_a_directory_is_left_alone(directory, tmp_path, kind):
    if kind == "file":
        with open(directory, "w"):
            pass
    else:
        os.symlink(tmp_path, directory)
    with pytest.raises(TransportError, match="is not a directory"):
        EmbeddedMediaDriver(directory)
    assert os.path.lexists(directory)
    os.unlink(directory)


def test_a_directory_of_another_process_in_our_place_is_not_removed(directory):
    driver = EmbeddedMediaDriver(directory)
    moved = directory + "-moved"
    os.rename(directory, moved)
    os.mkdir(directory)
    driver.close()
    assert os.path.exists(directory)
    os.rmdir(directory)
    subprocess.run(["rm", "-r", moved], check=True)


def test_an_impossible_directory_is_refused_in_one_line():
    with pytest.raises(TransportError, match="cannot start a media driver in /proc/none") as caught:
        EmbeddedMediaDriver("/proc/none/aeron")
    assert "\n" not in str(caught.value)


def test_of_two_processes_that_start_at_once_one_embeds_and_one_uses(directory):
    script = f"""
import sys
from tensor_pool.protocol.transport.media_driver import open_media_driver
print("loaded", flush=True)
sys.stdin.readline()
driver = open_media_driver({directory!r})
print(driver.is_embedded, flush=True)
sys.stdin.read()
driver.close()
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "loaded\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.stdout.readline().strip() for process in processes]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert sorted(answers) == ["False", "True"]


def test_unique_directories_are_in_memory_and_differ():
    """Trap 9: cnc.dat and the terms do not belong on a disk."""
    assert unique_aeron_dir() != unique_aeron_dir()
    assert unique_aeron_dir("label").startswith("/dev/shm/")
    assert default_aeron_dir().startswith("/dev/shm/")


def test_a_user_without_an_account_has_names_with_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The user of a container mostly has none."""

    def no_account(uid: int) -> NoReturn:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", no_account)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert f"/aeron-uid-{os.getuid()}-bridge-" in unique_aeron_dir("bridge")
