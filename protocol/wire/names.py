"""Names of streams and clients, and tags: what is legal, and how they travel (S-020, S-023, S-046).

A stream's name and tags are metadata. A client's name is a DataSourceAnnounce of stream 0, which is
not a stream: the producer id is the client id, the summary holds process and host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from .generated.control_messages import DataSourceAnnounce

__all__ = ["ClientName", "format_tags", "is_name", "is_tag", "parse_tags"]

_NAME = re.compile(r"[\x21-\x7e]{1,256}")
_TAG = re.compile(r"[A-Za-z0-9._:/-]{1,64}")
_ORIGIN = re.compile(r"pid=(\d{1,10}) host=([\x21-\x7e]{1,255})")
_INVISIBLE = re.compile(r"[^\x20-\x7e]")
_LONGEST_CLIENT_NAME = 128


def is_name(text: str) -> bool:
    """Return True for a legal name of a stream: 1 to 256 bytes of visible ASCII (S-020).

    >>> is_name("camera/left"), is_name("camera left"), is_name("")
    (True, False, False)
    """
    return _NAME.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Return True for a legal tag: 1 to 64 of `A-Z a-z 0-9 . _ : / -` (S-023)."""
    return _TAG.fullmatch(text) is not None


def parse_tags(value: bytes) -> tuple[str, ...]:
    """Return the legal words of a `tags` attribute in order, each once (S-023).

    >>> parse_tags(b"camera room:2 b@d camera")
    ('camera', 'room:2')
    """
    words = value.decode(errors="replace").split(" ")
    return tuple(dict.fromkeys(word for word in words if is_tag(word)))


def format_tags(tags: Iterable[str]) -> str:
    """Return the value of a `tags` attribute; ValueError for what is not a tag (S-023)."""
    words = tuple(dict.fromkeys(tags))
    for word in words:
        if not is_tag(word):
            raise ValueError(f"tag {word!r} must be 1 to 64 characters of A-Z a-z 0-9 . _ : / -")
    return " ".join(words)


class ClientName(msgspec.Struct, frozen=True):
    """The name, process id and host of one client (S-046); `pid` is 0 and `host` empty if unknown.

    >>> str(ClientName("camera.py", 4711, "robot"))
    'camera.py (pid 4711 on robot)'
    """

    name: str
    pid: int = 0
    host: str = ""

    def __str__(self) -> str:
        name = self.name or "unnamed"
        return f"{name} (pid {self.pid} on {self.host})" if self.host else name

    def announce(self, client_id: int) -> DataSourceAnnounce:
        """Return the message that carries this name."""
        return DataSourceAnnounce(
            stream_id=0,
            producer_id=client_id,
            epoch=0,
            meta_version=0,
            name=_INVISIBLE.sub("?", self.name)[:_LONGEST_CLIENT_NAME],
            summary=f"pid={self.pid} host={self.host}",
        )

    @classmethod
    def from_announce(cls, announce: DataSourceAnnounce) -> ClientName:
        """Return the name that a message carries; what is not printable becomes `?`."""
        name = _INVISIBLE.sub("?", announce.name)[:_LONGEST_CLIENT_NAME]
        origin = _ORIGIN.fullmatch(announce.summary)
        return cls(name, int(origin[1]), origin[2]) if origin is not None else cls(name)
