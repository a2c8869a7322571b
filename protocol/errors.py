"""Everything the client library raises (C-120).

All of it derives from `TensorPoolError`, so one `except` catches the library and nothing else.
Texts are written for the person who reads the log: what was refused, the value seen, the value
expected. They never hold payload bytes or tokens (W-224).
"""

from __future__ import annotations

__all__ = [
    "AmbiguousStreamError",
    "AttachRejectedError",
    "AttachTimeoutError",
    "ClosedError",
    "ConcurrentUseError",
    "ConfigError",
    "ForkedProcessError",
    "FrameOverwrittenError",
    "LeaseLostError",
    "LoanLimitError",
    "ProtocolError",
    "ProtocolViolationError",
    "ShmError",
    "ShmUriError",
    "ShmValidationError",
    "StaleFrameError",
    "StaleLoanError",
    "TensorPoolError",
    "TransportError",
    "UnknownStreamError",
    "UnsupportedPlatformError",
]


class TensorPoolError(Exception):
    """Base of every exception of this library."""


class ConfigError(TensorPoolError, ValueError):
    """Arguments or configuration that cannot work together."""


class UnknownStreamError(TensorPoolError, LookupError):
    """No stream has the name that was asked for.

    `name` is that name, `near` the names that are like it, `streams` a text with what there is.
    """

    def __init__(self, name: str, near: tuple[str, ...] = (), streams: str = "") -> None:
        super().__init__(name, near, streams)
        self.name = name
        self.near = near
        self.streams = streams

    def __str__(self) -> str:
        text = f"no stream has the name {self.name!r}"
        if self.near:
            text += f"; did you mean {' or '.join(map(repr, self.near))}?"
        return (
            f"{text} There are: {self.streams}"
            if self.near
            else (f"{text}; there are: {self.streams or 'no streams'}")
        )


class AmbiguousStreamError(TensorPoolError, LookupError):
    """Several streams have the name that was asked for; attach by one of `stream_ids`."""

    def __init__(self, name: str, stream_ids: tuple[int, ...], streams: str = "") -> None:
        super().__init__(name, stream_ids, streams)
        self.name = name
        self.stream_ids = stream_ids
        self.streams = streams

    def __str__(self) -> str:
        return (
            f"{len(self.stream_ids)} streams have the name {self.name!r}; attach by one of their"
            f" ids: {self.streams or ', '.join(map(str, self.stream_ids))}"
        )


class UnsupportedPlatformError(TensorPoolError):
    """This host lacks what the commit protocol needs: little endian, x86-64, no-follow opens."""


class ClosedError(TensorPoolError):
    """The handle or its client was closed; open a new one."""


class ForkedProcessError(TensorPoolError):
    """An object of the parent was used in a forked child; the child needs a client of its own."""


class ConcurrentUseError(TensorPoolError):
    """Two threads were in one handle at once, or `do_work()` was called from within itself."""


class TransportError(TensorPoolError):
    """The transport client or a subscription broke; all attachments are closed."""


class ProtocolError(TensorPoolError):
    """The conversation with the driver did not come to a usable end."""


class AttachTimeoutError(ProtocolError, TimeoutError):
    """No driver gave a usable answer within the attach timeout."""


_NO_SPACE = "insufficient shm space"  # D-113
_SPACE_REMEDY = (
    "; free memory below the driver's shm.base_dir, or enlarge it (docker run --shm-size)"
)


class AttachRejectedError(ProtocolError):
    """The driver refused the attach.

    `code` is the response code it gave (an `IntEnum` member or its number), `message` its text.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        name = getattr(self.code, "name", None) or f"code {int(self.code)}"
        remedy = _SPACE_REMEDY if _NO_SPACE in self.message else ""
        return f"attach refused by the driver ({name}): {self.message or 'no reason given'}{remedy}"


class ProtocolViolationError(ProtocolError):
    """The driver's answer broke a rule; nothing of it is used.

    `rule` is the number of the rule of C-040, or a text where no number applies.
    """

    def __init__(self, rule: int | str, detail: str = "") -> None:
        super().__init__(rule, detail)
        self.rule = rule
        self.detail = detail

    def __str__(self) -> str:
        rule = f"rule {self.rule}" if isinstance(self.rule, int) else self.rule
        text = f"protocol violation by the driver: {rule}"
        return f"{text}: {self.detail}" if self.detail else text


class ShmError(TensorPoolError):
    """Shared memory could not be used."""


class ShmUriError(ShmError):
    """A region URI is not of the form `shm:file?path=/...[|require_hugepages=true]` (W-020)."""


class ShmValidationError(ShmError):
    """A region failed one of the twelve steps of W-030 and was not mapped.

    `region` names it ("header ring", "pool 3"), `path` is the announced path, `step` the number of
    the step (0 for the rules of W-130 that concern no single file), `seen` and `wanted` what was
    found and what would have passed.
    """

    def __init__(self, region: str, path: str, step: int, seen: str, wanted: str) -> None:
        super().__init__(region, path, step, seen, wanted)
        self.region = region
        self.path = path
        self.step = step
        self.seen = seen
        self.wanted = wanted

    def __str__(self) -> str:
        where = f" at {self.path}" if self.path else ""
        refused = f"{self.region}{where} refused (step {self.step})"
        return f"{refused}: {self.seen}; expected {self.wanted}"


class LeaseLostError(TensorPoolError):
    """The lease is gone, for `reason`. Publishing or reading needs a new attach."""

    def __init__(self, reason: object, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        text = f"lease lost: {getattr(self.reason, 'name', self.reason)}"
        return f"{text}: {self.detail}" if self.detail else text


class StaleLoanError(TensorPoolError):
    """The loan was already finished, or its regions are not mapped any more; it is lost."""


class LoanLimitError(TensorPoolError):
    """Too many loans are open; commit or abort one first."""


class FrameOverwrittenError(TensorPoolError):
    """The producer reused the frame's slot before the copy was complete; take a newer frame."""


class InvalidFrameError(TensorPoolError):
    """The slot of a frame breaks a rule of the format; a consumer drops such a frame."""


class StaleFrameError(TensorPoolError):
    """The frame belongs to a mapping that is gone; take a newer frame."""
