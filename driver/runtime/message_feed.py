"""Recent messages between the driver and its clients, for the sequence diagram of the page.

Received messages come from the trace hook of the driver's machine, sent ones from its proxy, when
the transport has taken them. Written by the driver's thread, read by any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from tensor_pool.hsm import Machine
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    Message,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
)

from ..core.driver_machine import DriverLifecycle

__all__ = ["MessageFeed", "MessageRecord"]

_KEPT = 300
_ASKED = 1000
_FROM_CLIENTS = frozenset({ShmLeaseKeepalive, ShmAttachRequest, ShmDetachRequest, ConsumerHello})


class MessageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One message, or the same one several times.

    `number` is the place in the order, `revision` grows with each change of any record. `client_id`
    is the sender, the receiver, or the client that a message to all is about; 0 without one. `tone`
    is "", "good" or "bad".
    """

    number: int
    revision: int
    at_ms: int
    last_ms: int
    to_driver: bool
    to_all: bool
    client_id: int
    stream_id: int
    text: str
    tone: str = ""
    count: int = 1


class MessageFeed:
    """An observer of a driver's machines, and of the messages that left it.

    A keepalive, hello, configuration or announce that repeats the one before is counted there.
    """

    def __init__(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now_ms = now_ms
        self._revision = 0
        self._number = 0
        self._records: dict[int, MessageRecord] = {}
        self._repeated: dict[object, int] = {}  # what may be repeated -> number of its record
        self._askers: dict[int, tuple[int, int]] = {}  # correlation id -> client and stream

    def since(self, revision: int) -> list[MessageRecord]:
        """Records that are new or changed, in order; from any thread."""
        while True:
            try:
                return [r for r in self._records.values() if r.revision > revision]
            except RuntimeError:  # the driver's thread added one meanwhile
                continue

    def trace_dispatch_start(self, machine: Machine, event: object, arg: object) -> None:
        """Take what a client has sent."""
        if type(arg) not in _FROM_CLIENTS or not isinstance(machine, DriverLifecycle):
            return
        match arg:
            case ShmLeaseKeepalive():
                self._note(arg, "keepalive", to_driver=True, repeats=("alive", arg.lease_id))
            case ShmAttachRequest():
                self._ask(arg)
                self._note(arg, f"attach as {_name(arg.role)}", to_driver=True)
            case ShmDetachRequest():
                self._ask(arg)
                self._note(arg, "detach", to_driver=True)
            case ConsumerHello():
                who = ("hello", arg.stream_id, arg.consumer_id)
                self._note(arg, "hello", to_driver=True, repeats=who)

    def sent(self, message: Message) -> None:
        """Take a message that the transport has taken."""
        match message:
            case ShmPoolAnnounce():
                text = f"announce epoch …{message.epoch % 1_000_000:06}"
                self._note(message, text, to_all=True, repeats=("announce", message.stream_id))
            case ShmAttachResponse(code=ResponseCode.OK):
                self._note(message, "granted", tone="good")
            case ShmAttachResponse(code=code):
                self._note(message, f"refused: {code.name}", tone="bad")
            case ShmDetachResponse(code=code):
                self._note(message, "detached" if code is ResponseCode.OK else code.name)
            case ShmLeaseRevoked(client_id=client_id, role=role, reason=reason):
                text = f"lease of {_name(role)} {client_id} ended: {reason.name}"
                tone = "" if reason.name == "DETACHED" else "bad"
                self._note(message, text, tone=tone, to_all=True)
            case ConsumerConfig():
                who = ("configuration", message.stream_id, message.consumer_id)
                to_all = message.consumer_id == 0  # the stream that all consumers share
                self._note(message, "configuration", to_all=to_all, repeats=who)
            case ShmDriverShutdown(reason=reason):
                self._note(message, f"shutdown: {reason.name}", tone="bad", to_all=True)

    def _ask(self, request: ShmAttachRequest | ShmDetachRequest) -> None:
        self._askers[request.correlation_id] = (request.client_id, request.stream_id)
        if len(self._askers) > _ASKED:
            del self._askers[next(iter(self._askers))]

    def _note(
        self,
        message: object,
        text: str,
        *,
        to_driver: bool = False,
        to_all: bool = False,
        tone: str = "",
        repeats: object = None,
    ) -> None:
        client_id, stream_id = self._parties(message)
        now_ms = self._now_ms()
        self._revision += 1
        before = self._records.get(self._repeated.get(repeats, 0)) if repeats else None
        if before is not None and before.text == text:
            self._records[before.number] = msgspec.structs.replace(
                before, revision=self._revision, last_ms=now_ms, count=before.count + 1
            )
            return
        self._number += 1
        if repeats:
            self._repeated[repeats] = self._number
        self._records[self._number] = MessageRecord(
            number=self._number,
            revision=self._revision,
            at_ms=now_ms,
            last_ms=now_ms,
            to_driver=to_driver,
            to_all=to_all,
            client_id=client_id,
            stream_id=stream_id,
            text=text,
            tone=tone,
        )
        if len(self._records) > _KEPT:
            del self._records[next(iter(self._records))]
        if len(self._repeated) > 2 * _KEPT:
            shown = self._repeated.items()
            self._repeated = {what: number for what, number in shown if number in self._records}

    def _parties(self, message: object) -> tuple[int, int]:
        """Return the client's id, 0 for all of them, and the stream's."""
        if isinstance(message, ShmAttachResponse | ShmDetachResponse):
            return self._askers.pop(message.correlation_id, (0, 0))
        client_id = getattr(message, "client_id", 0) or getattr(message, "consumer_id", 0)
        return client_id, getattr(message, "stream_id", 0)


def _name(role: int) -> str:
    return Role(role).name.lower() if role in set(Role) else "client"
