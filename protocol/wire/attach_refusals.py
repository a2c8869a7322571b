"""Conclusions that a client may draw from a refused attach.

The texts are part of the protocol: a driver sends exactly these, and a client compares with them.
Every other text of a refusal is for people only.
"""

from __future__ import annotations

from typing import Final

from .generated.enums import ResponseCode

__all__ = ["CLIENT_ID_ATTACHED", "PERMANENT_REFUSALS"]

CLIENT_ID_ATTACHED: Final = "client_id already attached"
"""The refused id belongs to a live lease: a client that chose it at random chooses another."""

PERMANENT_REFUSALS: Final = (ResponseCode.UNSUPPORTED, ResponseCode.INVALID_PARAMS)
"""The same request would be refused again; any other refusal may pass."""
