"""Region URIs: where a region's file is (W-020, W-021, W-022).

    shm:file?path=/dev/shm/tensorpool/.../header.ring
    shm:file?path=/mnt/huge/.../1.pool|require_hugepages=true

The form is deliberately rigid: one scheme, `path` first, one optional parameter, no escapes. A URI
comes from the network, so everything that is not exactly this is refused, and what is quoted back
in an error is escaped and cut short.
"""

from __future__ import annotations

import re

import msgspec

from ..errors import ShmUriError

__all__ = [
    "MAX_URI_BYTES",
    "RegionUri",
    "format_region_uri",
    "is_uri_path",
    "parse_region_uri",
]

MAX_URI_BYTES = 4096

_PREFIX = "shm:file?"
_PATH_PARAMETER = "path="
_HUGEPAGES_PARAMETER = "require_hugepages="
# Visible ASCII except "?" and "|"; a path starts with "/".
_PATH = re.compile(r"/[\x21-\x3e\x40-\x7b\x7d-\x7e]*")


class RegionUri(msgspec.Struct, frozen=True):
    """A parsed region URI: an absolute POSIX path and whether huge pages are required."""

    path: str
    require_hugepages: bool = False

    def __str__(self) -> str:
        return format_region_uri(self.path, require_hugepages=self.require_hugepages)


def is_uri_path(path: str) -> bool:
    """Return whether `path` is absolute and holds only characters a region URI can carry."""
    return _PATH.fullmatch(path) is not None


def parse_region_uri(text: str) -> RegionUri:
    """Parse a region URI of at most 4096 bytes (W-020).

    Raises ShmUriError, saying which part is wrong. `&` separates nothing: it is a path character.

    >>> parse_region_uri("shm:file?path=/dev/shm/x|require_hugepages=true")
    RegionUri(path='/dev/shm/x', require_hugepages=True)
    """
    if len(text) > MAX_URI_BYTES:
        raise ShmUriError(
            f"region URI of {len(text)} bytes is longer than {MAX_URI_BYTES}: {_quoted(text)}"
        )
    if not text.startswith(_PREFIX):
        raise ShmUriError(f"region URI {_quoted(text)} does not start with {_PREFIX!r}")
    path_parameter, bar, hugepages = text[len(_PREFIX) :].partition("|")
    if not path_parameter.startswith(_PATH_PARAMETER):
        raise ShmUriError(f"region URI {_quoted(text)} does not have 'path=' as first parameter")
    path = path_parameter[len(_PATH_PARAMETER) :]
    if not is_uri_path(path):
        raise ShmUriError(
            f"region URI {_quoted(text)} does not name an absolute path of visible ASCII"
            " without '?' and '|'"
        )
    if not bar:
        return RegionUri(path)
    if hugepages not in (_HUGEPAGES_PARAMETER + "true", _HUGEPAGES_PARAMETER + "false"):
        raise ShmUriError(
            f"region URI {_quoted(text)} has {_quoted(hugepages)} after '|';"
            " only require_hugepages=true or require_hugepages=false may stand there"
        )
    return RegionUri(path, hugepages.endswith("true"))


def format_region_uri(path: str, *, require_hugepages: bool = False) -> str:
    """The URI of the region at `path`; without a parameter unless huge pages are required (D-120).

    Raises ShmUriError for a path that a URI cannot carry.
    """
    if not is_uri_path(path):
        raise ShmUriError(
            f"path {_quoted(path)} cannot stand in a region URI: it must be absolute, of visible"
            " ASCII without '?' and '|'"
        )
    uri = _PREFIX + _PATH_PARAMETER + path
    if require_hugepages:
        uri += "|" + _HUGEPAGES_PARAMETER + "true"
    if len(uri) > MAX_URI_BYTES:
        raise ShmUriError(f"region URI of {len(uri)} bytes is longer than {MAX_URI_BYTES}")
    return uri


def _quoted(text: str) -> str:
    shown = text if len(text) <= 120 else text[:120] + "..."
    return ascii(shown)
