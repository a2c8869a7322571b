"""The default Aeron directory of a user can be made by another one first (D-115)."""

from __future__ import annotations

import os
from pathlib import Path

import pyaeron
import pytest

from tensor_pool.client import connect
from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.aeron import AeronTransport
from tensor_pool.protocol.transport.media_driver import open_media_driver


def spoil_owner(directory: Path) -> str:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    os.chown(directory, 65534, 65534)
    return "owned by .*65534"


def spoil_mode(directory: Path) -> str:
    directory.chmod(0o777)
    return "mode 0777"


def spoil_link(directory: Path) -> str:
    directory.rmdir()
    directory.symlink_to("/dev/shm")
    return "a symbolic link"


@pytest.mark.parametrize("spoil", [spoil_owner, spoil_mode, spoil_link])
def test_a_default_aeron_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: object
) -> None:
    """By the driver, by clients, and before anything in it is looked at."""
    directory = tmp_path / "aeron"
    directory.mkdir()
    assert callable(spoil)
    reason = spoil(directory)
    monkeypatch.setattr(pyaeron, "default_path", lambda: str(directory))
    for use in (
        AeronTransport.connect,
        open_media_driver,
        lambda: connect(allowed_base_dirs=(str(tmp_path),)),
    ):
        with pytest.raises(TransportError, match=f"is {reason}.*default Aeron directory"):
            use()


def test_a_directory_that_is_named_may_be_shared(tmp_path: Path) -> None:
    """Its user has chosen it; without a media driver the error is the usual one."""
    directory = tmp_path / "aeron"
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    with pytest.raises(TransportError, match="no media driver is running"):
        AeronTransport.connect(str(directory))
