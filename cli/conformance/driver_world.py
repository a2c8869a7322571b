"""A client of the driver under test: it sends the messages of a check and keeps the answers."""

from __future__ import annotations

import itertools
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    Message,
    Mode,
    PublishMode,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmDetachResponse,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    encode,
)

from .bus import Bus, Heard
from .check import Broken, want

__all__ = ["DriverWorld", "Lease"]


class Lease(msgspec.Struct, frozen=True):
    """A granted attach: the request's client and role, the answer, and where it stands in time."""

    client_id: int
    role: Role
    answer: ShmAttachResponse
    heard: Heard
    requested_ns: int

    @property
    def lease_id(self) -> int:
        """The lease."""
        return self.answer.lease_id or 0

    @property
    def duration_ns(self) -> int:
        """Time from the answer to the expiry that it names."""
        return (self.answer.lease_expiry_timestamp_ns or 0) - self.heard.at_ns


class DriverWorld:
    """The driver under test, as its control and announce streams show it.

    `stream_id` is a tensor stream that no other client uses meanwhile; `announce_period_s` is what
    the driver is configured with.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        control: tuple[str, int],
        announce: tuple[str, int],
        qos: tuple[str, int] | None = None,
        stream_id: int,
        announce_period_s: float = 1.0,
        token: str = "",
        patience_s: float = 2.0,
    ) -> None:
        self.bus = bus
        self.control = control
        self.stream_id = stream_id
        self.announce_period_s = announce_period_s
        self.token = token
        self.patience_s = patience_s
        bus.listen(*control)
        bus.listen(*announce)
        self.qos = qos
        if qos is not None:
            bus.listen(*qos)
        seed = int.from_bytes(os.urandom(4))
        self._clients = itertools.count(seed % 2**31 + 1)
        self._correlations = itertools.count(seed << 20 | 1)
        self.granted: list[Lease] = []

    @property
    def own_session(self) -> int:
        """Session id of the kit's own publication on the control stream."""
        return int(self.bus.publication(*self.control).session_id)

    # Sending

    def client_id(self) -> int:
        """Return a client id that was not used before."""
        return next(self._clients)

    def correlation_id(self) -> int:
        """Return a correlation id that was not used before."""
        return next(self._correlations)

    def send(self, message: Message | bytes) -> int:
        """Send on the control stream; return the place in `bus.heard` from which answers stand."""
        self.bus.poll()
        mark = len(self.bus.heard)
        if not self.bus.send(*self.control, message):
            raise Broken("the control stream has no subscriber: no driver reads it")
        return mark

    def request(self, **changes: Any) -> ShmAttachRequest:
        """Return an attach request of a new client, with changes."""
        fields: dict[str, Any] = {
            "correlation_id": self.correlation_id(),
            "stream_id": self.stream_id,
            "client_id": self.client_id(),
            "role": Role.CONSUMER,
            "expected_layout_version": 0,
            "publish_mode": PublishMode.EXISTING_OR_CREATE,
        }
        return ShmAttachRequest(**{**fields, **changes})

    def ask(self, request: ShmAttachRequest | bytes) -> Heard:
        """Send an attach request and return its answer; Broken if none comes."""
        data = request if isinstance(request, bytes) else encode(request, checked=False)
        (correlation_id,) = struct.unpack_from("<q", data, 8)
        mark = self.send(data)
        return self.expect(
            mark,
            ShmAttachResponse,
            lambda answer: answer.correlation_id == correlation_id,
            f"an answer to the attach request with correlationId {correlation_id}",
        )

    def attach(self, role: Role = Role.CONSUMER, **changes: Any) -> Lease:
        """Attach and return the lease; Broken if it is refused."""
        request = self.request(role=role, **changes)
        sent_ns = time.monotonic_ns()
        heard = self.ask(request)
        answer = heard.message
        assert isinstance(answer, ShmAttachResponse)
        want(
            answer.code is ResponseCode.OK,
            f"an attach as {role.name} was refused: {answer.code.name} {answer.error_message!r}",
        )
        lease = Lease(request.client_id, role, answer, heard, sent_ns)
        self.granted.append(lease)
        return lease

    def keepalive(self, lease: Lease, **changes: Any) -> int:
        """Send a keepalive, with changes; return the mark."""
        fields: dict[str, Any] = {
            "lease_id": lease.lease_id,
            "stream_id": self.stream_id,
            "client_id": lease.client_id,
            "role": lease.role,
            "client_timestamp_ns": time.monotonic_ns(),
        }
        return self.send(ShmLeaseKeepalive(**{**fields, **changes}))

    def detach(self, lease: Lease, **changes: Any) -> tuple[int, Heard]:
        """Send a detach, with changes; return the mark and the answer."""
        fields: dict[str, Any] = {
            "correlation_id": self.correlation_id(),
            "lease_id": lease.lease_id,
            "stream_id": self.stream_id,
            "client_id": lease.client_id,
            "role": lease.role,
        }
        request = ShmDetachRequest(**{**fields, **changes})
        mark = self.send(request)
        answer = self.expect(
            mark,
            ShmDetachResponse,
            lambda one: one.correlation_id == request.correlation_id,
            "an answer to the detach request",
        )
        return mark, answer

    def give_back(self, request: ShmAttachRequest, answer: ShmAttachResponse) -> None:
        """Detach the lease of an answer, without a look at what comes back."""
        role = Role(request.role)
        self.send(
            ShmDetachRequest(
                self.correlation_id(), answer.lease_id or 0, self.stream_id, request.client_id, role
            )
        )

    @contextmanager
    def attached(self, role: Role = Role.CONSUMER, **changes: Any) -> Iterator[Lease]:
        """Hold a lease for the length of a block."""
        lease = self.attach(role, **changes)
        try:
            yield lease
        finally:
            self.detach(lease)

    def hello(self, lease: Lease, **changes: Any) -> int:
        """Send a ConsumerHello of a lease's client, with changes; return the mark."""
        fields: dict[str, Any] = {
            "stream_id": self.stream_id,
            "consumer_id": lease.client_id,
            "supports_shm": True,
            "supports_progress": False,
            "mode": Mode.STREAM,
            "max_rate_hz": 0,
            "expected_layout_version": 0,
        }
        return self.send(ConsumerHello(**{**fields, **changes}))

    # Listening

    def since[M](
        self, mark: int, kind: type[M], fits: Callable[[M], bool] = lambda _: True
    ) -> list[tuple[int, Heard, M]]:
        """Return (place, received, message) of the messages of a kind from a mark on."""
        return [
            (place, one, one.message)
            for place, one in enumerate(self.bus.heard[mark:], mark)
            if isinstance(one.message, kind) and fits(one.message)
        ]

    def expect[M](
        self,
        mark: int,
        kind: type[M],
        fits: Callable[[M], bool],
        what: str,
        seconds: float | None = None,
    ) -> Heard:
        """Wait for a message; Broken with its name if it does not come."""
        patience = self.patience_s if seconds is None else seconds
        begin = time.monotonic()
        if not self.bus.until(lambda: bool(self.since(mark, kind, fits)), patience):
            raise Broken(f"{what} did not come within {time.monotonic() - begin:.1f} s")
        return self.since(mark, kind, fits)[0][1]

    def announces(self, mark: int = 0) -> list[tuple[int, Heard, ShmPoolAnnounce]]:
        """Announces of the stream from a mark on."""
        return self.since(mark, ShmPoolAnnounce, lambda one: one.stream_id == self.stream_id)

    def notices(self, mark: int, lease_id: int) -> list[tuple[int, Heard, ShmLeaseRevoked]]:
        """Notices that name a lease, from a mark on."""
        return self.since(mark, ShmLeaseRevoked, lambda one: one.lease_id == lease_id)

    def configs(self, mark: int, client_id: int) -> list[tuple[int, Heard, ConsumerConfig]]:
        """Answers to the hellos of a consumer, from a mark on."""
        return self.since(mark, ConsumerConfig, lambda one: one.consumer_id == client_id)

    def answers_still(self) -> None:
        """Broken unless the driver answers: a detach of a lease that does not exist."""
        request = ShmDetachRequest(
            self.correlation_id(), 2**63, self.stream_id, self.client_id(), Role.CONSUMER
        )
        mark = self.send(request)
        self.expect(
            mark,
            ShmDetachResponse,
            lambda one: one.correlation_id == request.correlation_id,
            "an answer to a detach request",
        )

    def epoch_now(self) -> int:
        """Return the epoch of a consumer that attaches now."""
        with self.attached() as lease:
            return lease.answer.epoch or 0
