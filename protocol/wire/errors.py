"""The reasons why a message was not decoded."""

from __future__ import annotations

import enum

__all__ = ["WireError", "WireProblem"]


class WireProblem(enum.Enum):
    """The outcomes of the receive checks, so that each can be counted by itself (M-050)."""

    MALFORMED = "malformed"
    """Too short, a block or group entry smaller than the schema's, a group or var data that runs
    past the buffer, bytes that a URI or channel may not hold. Reject."""

    FOREIGN_SCHEMA = "foreign_schema"
    """A schema that is not handled here. Ignore."""

    UNKNOWN_TEMPLATE = "unknown_template"
    """A template that is not handled here. Ignore."""

    UNSUPPORTED_VERSION = "unsupported_version"
    """A schema version from the future. Reject; an attach request is answered."""

    BAD_ENUM = "bad_enum"
    """A required enum holds a value that is not listed. Reject."""

    @property
    def is_ignored(self) -> bool:
        """True when the message is simply not for this receiver and is not counted as bad."""
        return self in (WireProblem.FOREIGN_SCHEMA, WireProblem.UNKNOWN_TEMPLATE)


class WireError(Exception):
    """The bytes are not a message that may be acted on. Nothing of it was decoded.

    `reason` is the check that failed; the text has the value that was seen.
    """

    def __init__(self, reason: WireProblem, text: str) -> None:
        super().__init__(text)
        self.reason = reason
