"""Names instead of ids: the one stream that a name stands for, or an error that helps (S-021)."""

from __future__ import annotations

from collections.abc import Sequence

from tensor_pool.protocol.errors import AmbiguousStreamError, ConfigError, UnknownStreamError
from tensor_pool.protocol.wire.names import is_name

from .stream_info import StreamInfo

__all__ = ["checked_stream", "one_of", "unknown_stream"]

_LISTED = 20
_MAX_STREAM_ID = 0xFFFFFFFE


def checked_stream(stream: int | str) -> int | str:
    """Return a stream id as an int, also from a text of digits, or a legal name.

    Raises ConfigError for anything else.

    >>> checked_stream("10000"), checked_stream("camera/left")
    (10000, 'camera/left')
    """
    if isinstance(stream, str):
        if not (stream.isascii() and stream.isdigit()):
            if not is_name(stream):
                raise ConfigError(
                    f"stream name {stream!r} must be 1 to 256 bytes of visible ASCII, without"
                    " spaces"
                )
            return stream
        stream = int(stream)
    if isinstance(stream, bool) or not isinstance(stream, int):
        raise ConfigError(f"stream: {stream!r} must be a stream id or a name")
    if not 0 <= stream <= _MAX_STREAM_ID:
        raise ConfigError(f"stream_id: {stream} must be in 0..{_MAX_STREAM_ID}")
    return stream


def one_of(name: str, found: Sequence[StreamInfo]) -> StreamInfo | None:
    """Return the stream of that name, None if there is none; AmbiguousStreamError for several."""
    matches = [info for info in found if info.name == name]
    if len(matches) <= 1:
        return matches[0] if matches else None
    raise AmbiguousStreamError(
        name,
        tuple(info.stream_id for info in matches),
        ", ".join(
            f"{info.stream_id} (from {info.origin})" if info.origin else str(info.stream_id)
            for info in matches
        ),
    )


def unknown_stream(name: str, there_are: Sequence[StreamInfo]) -> UnknownStreamError:
    """Return the error for a name that no stream has, with what there is and what is like it."""
    names = [info.name for info in there_are if info.name]
    import difflib  # here: only errors need it

    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    labels = [info.label for info in there_are[:_LISTED]]
    if len(there_are) > _LISTED:
        labels.append(f"and {len(there_are) - _LISTED} more")
    return UnknownStreamError(name, tuple(near), ", ".join(labels))
