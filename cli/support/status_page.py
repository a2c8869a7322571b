"""The driver's own account of itself: `/status.json` of its HTTP server."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import msgspec

from .exit_status import CommandError

__all__ = ["fetch_status"]

_LONGEST_PAGE_BYTES = 64 << 20

# The page is on this machine; a proxy configured for the web has no business with it.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch_status(address: str, timeout_s: float) -> dict[str, Any]:
    """The status document of the driver at `host:port`; CommandError if it cannot be had."""
    url = f"http://{address}/status.json"
    try:
        with _opener.open(url, timeout=timeout_s) as response:
            document = msgspec.json.decode(response.read(_LONGEST_PAGE_BYTES))
    except urllib.error.URLError as error:
        raise CommandError(f"{url}: {error.reason}") from error
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise CommandError(f"{url}: {error}") from error
    if not isinstance(document, dict) or not {"driver", "streams", "leases"} <= document.keys():
        raise CommandError(f"{url}: not the status of a tensor pool driver")
    return document
