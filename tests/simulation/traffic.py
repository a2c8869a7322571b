"""Everything on the wire: the trace of a run, and what has to hold for messages themselves.

CI-5: every lease that a process gets is used, given back or ended. CI-6: the descriptors of
one producer in one epoch rise. C-021, C-053: after the notice of its end a lease is neither used
nor kept alive.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable
from struct import Struct

from tensor_pool.protocol.testing.memory_endpoints import NetworkEvent
from tensor_pool.protocol.wire import (
    ResponseCode,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    WireError,
    decode,
)
from tensor_pool.protocol.wire.frame_descriptor import (
    FRAME_DESCRIPTOR_BYTES,
    FRAME_DESCRIPTOR_TAIL,
    FRAME_DESCRIPTOR_TAIL_OFFSET,
)

from .invariants_driver import InvariantError
from .processes import DRIVER, ClientProcess, ProcessKilled

__all__ = ["STRANGER", "Traffic", "states_of"]

STRANGER = "stranger"
DESCRIPTORS = 1100
_REMEMBERED, _REMEMBERED_NS = 16, 10_000_000_000  # what is kept of requests given up (C-014)
_REPLAYED = 64
_header = Struct("<HHHH").unpack_from
_stamp = Struct("<qiiq").pack
_ATTACH_REQUEST, _ATTACH_RESPONSE, _DETACH_REQUEST, _KEEPALIVE, _REVOKED = 1, 2, 3, 5, 7
_ANSWERS = (_ATTACH_RESPONSE, _REVOKED)


class Traffic:
    """The network's observer."""

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self.count: Counter[str] = Counter()
        self.checks = 0
        self.requests: deque[bytes] = deque(maxlen=_REPLAYED)
        """The latest messages of clients to the driver, for replays."""
        self.fuse = 0
        """The number of events until the process that has the turn is killed; 0 for never."""
        self._digest = hashlib.blake2b(digest_size=16)
        self._tell = tell
        self._asked: dict[str, dict[int, int]] = {}  # process, correlation id: when
        self._noticed: set[int] = set()
        self._heard: dict[str, set[int]] = {}
        self._told: dict[str, set[int]] = {}
        self._settled: dict[str, set[int]] = {}
        self._descriptors: dict[tuple[int, bytes], int] = {}

    def digest(self) -> str:
        """The same for two runs exactly if every message was the same."""
        return self._digest.hexdigest()

    def note(self, text: bytes) -> None:
        """Let the digest depend on something else than messages."""
        self._digest.update(text)

    def forget(self, process: str) -> None:
        """Forget a process that is gone; it has no duties."""
        for table in (self._asked, self._told, self._settled, self._heard):
            table.pop(process, None)

    def on_network(self, event: NetworkEvent) -> None:
        """One offer or one delivery."""
        time_ns, kind, transport, stream_id, session_id, message = event
        digest = self._digest
        digest.update(_stamp(time_ns, stream_id, session_id, len(kind)))
        digest.update(message)
        count = self.count
        count[kind] += 1
        if self._tell is not None:
            self._tell(f"    {kind:16} {transport:10} {stream_id:5} {_text(message)}")
        if kind == "delivered":
            if len(message) >= 8:
                _, template, schema, _ = _header(message)
                if schema == 901 and template in _ANSWERS:
                    self._note_answer(transport, message, time_ns)
        elif stream_id != DESCRIPTORS:
            if len(message) >= 8:
                self._note_request(transport, kind, message, time_ns)
        elif kind == "accepted" and len(message) == FRAME_DESCRIPTOR_BYTES:
            self._check_descriptor(session_id, message)
        self.burn()

    def burn(self, *_: object) -> None:
        """Something happened in the turn of the process that has it."""
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                raise ProcessKilled

    def _check_descriptor(self, session_id: int, message: bytes) -> None:
        self.checks += 1
        seq = FRAME_DESCRIPTOR_TAIL.unpack_from(message, FRAME_DESCRIPTOR_TAIL_OFFSET)[0]
        key = (session_id, message[:FRAME_DESCRIPTOR_TAIL_OFFSET])
        if seq <= self._descriptors.get(key, -1):
            raise InvariantError(f"CI-6: descriptor {seq} after {self._descriptors[key]}")
        self._descriptors[key] = seq

    def _note_request(self, process: str, kind: str, message: bytes, time_ns: int) -> None:
        _, template, schema, _ = _header(message)
        if schema != 901 or process == STRANGER:
            return
        if process == DRIVER:
            if template == _REVOKED and kind == "accepted":
                notice = decode(message)
                assert isinstance(notice, ShmLeaseRevoked)
                self._noticed.add(notice.lease_id)
            return
        self.requests.append(message)
        if template == _ATTACH_REQUEST and kind == "accepted":
            request = decode(message)
            assert isinstance(request, ShmAttachRequest)
            self._asked.setdefault(process, {})[request.correlation_id] = time_ns
        elif template == _DETACH_REQUEST:  # tried once is enough (C-034)
            detach = decode(message)
            assert isinstance(detach, ShmDetachRequest)
            self._settled.setdefault(process, set()).add(detach.lease_id)
        elif template == _KEEPALIVE:
            self.checks += 1
            keepalive = decode(message)
            assert isinstance(keepalive, ShmLeaseKeepalive)
            if keepalive.lease_id in self._heard.get(process, ()):
                raise InvariantError(f"C-021: {process} keeps lease {keepalive.lease_id} alive")

    def _note_answer(self, process: str, message: bytes, time_ns: int) -> None:
        asked = self._asked.get(process)
        if asked is None:
            return
        try:
            answer = decode(message)
        except WireError:
            return
        if isinstance(answer, ShmAttachResponse):
            if answer.correlation_id in asked:
                # Once: requests can arrive twice (D-103), second answers are ignored (C-015).
                newer = len(asked) - list(asked).index(answer.correlation_id) - 1
                in_time = time_ns - asked.pop(answer.correlation_id) <= _REMEMBERED_NS
                if answer.code is ResponseCode.OK and in_time and newer < _REMEMBERED:
                    self._told.setdefault(process, set()).add(answer.lease_id or 0)
        elif isinstance(answer, ShmLeaseRevoked):
            self._settled.setdefault(process, set()).add(answer.lease_id)
            self._heard.setdefault(process, set()).add(answer.lease_id)

    def has_lost_notice(self, process: str, lease_id: int) -> bool:
        """Return whether a notice was sent to a process that was cut off just then.

        Nothing in the protocol repeats it: the driver ignores keepalives for a lease that it has
        ended (D-083), and each ended lease has one notice (I-4).
        """
        return lease_id in self._noticed and lease_id not in self._heard.get(process, ())

    def adopted(self, process: str, lease_id: int) -> None:
        """A process took a lease into use."""
        self._settled.setdefault(process, set()).add(lease_id)

    def check_leases(self, process: ClientProcess) -> None:
        """CI-5 and C-053, after a turn: a lease is not used after the notice of its end."""
        heard = self._heard.get(process.name)
        if heard and process.client is not None:
            for attachment in process.client._conductor.attachments:
                self.checks += 1
                connection = attachment.connection
                grant = connection.grant
                if connection.is_attached and grant is not None and grant.lease_id in heard:
                    raise InvariantError(f"C-053: {process.name} uses lease {grant.lease_id}")
        told = self._told.get(process.name)
        if not told:
            return
        self.checks += 1
        open_leases = told - self._settled.get(process.name, set())
        told.clear()
        if open_leases:
            raise InvariantError(f"CI-5: {process.name} left leases {open_leases} alone")


def states_of(process: ClientProcess) -> bytes:
    """Return the states of a process's machines, for the digest."""
    if process.client is None:
        return b"-"
    return " ".join(
        f"{a.connection.current.name}/{a.machine.current.name}"
        for a in process.client._conductor.attachments
    ).encode()


def _text(message: bytes) -> str:
    try:
        return str(decode(message, raw_enums=True))
    except WireError as error:
        return f"{message.hex()} ({error})"
