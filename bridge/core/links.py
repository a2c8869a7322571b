"""An outgoing link at work: its publication, its rate, and turns of its streams."""

from __future__ import annotations

from collections.abc import Sequence

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.transport.ports import OfferResult

from ..settings import BridgeSettings, SendLink
from .events import LinkEvent, OutboundEvent
from .log import BridgeLog
from .outgoing_link import OutgoingLink
from .ports import Net, NetPublication
from .sending import Sender
from .token_bucket import TokenBucket

__all__ = ["Outgoing"]

_TURN_BYTES = 4 << 20
_UNUSABLE = (OfferResult.CLOSED, OfferResult.MAX_POSITION_EXCEEDED)


class Outgoing:
    """One outgoing link; `senders` are added once, in ascending wire id."""

    def __init__(self, settings: BridgeSettings, link: SendLink, clock: Clock) -> None:
        self.settings = settings
        self.link = link
        self.senders: list[Sender] = []
        self.counters = Counters(["link_unhandled"])
        self.is_up = False
        self.down_since_ns = clock.monotonic_ns()
        self.is_choked = False
        self._clock = clock
        self._net: Net | None = None
        self._publication: NetPublication | None = None
        self._refused_since_ns: int | None = None
        self._was_refused = False
        self._bucket = TokenBucket.of(link.max_mbit_s, link.chunk_bytes, clock)
        self._turn = 0
        self._log = BridgeLog(clock)
        self.machine = OutgoingLink(self)

    def open(self, net: Net) -> None:
        """Open the publication. Raises TransportError."""
        self._net = net
        self._publication = net.publication(self.link.channel, self.settings.data_stream_id)

    def close_publication(self) -> None:
        """Leave the network, whether it still works or not."""
        self._check_connection(connected=False)
        publication, self._publication = self._publication, None
        if publication is not None:
            publication.close()

    @property
    def has_frames(self) -> bool:
        """True while a frame is in work and the link is up."""
        return self.is_up and any(sender.is_working for sender in self.senders)

    def do_work(self, now: int) -> int:
        """Look at the connection, then give every stream its turns; returns messages sent."""
        publication = self._publication
        if publication is None:
            return 0
        self._check_connection(connected=publication.is_connected)
        if not self.is_up:
            return 0
        self._was_refused = False
        messages = self._take_turns(self.senders)
        if self._was_refused:
            if self._refused_since_ns is None:
                self._refused_since_ns = now
            self.machine.dispatch(LinkEvent.REFUSED, now - self._refused_since_ns)
        return messages

    def _take_turns(self, senders: Sequence[Sender]) -> int:
        """At most one message per stream and turn, until nothing more is accepted (B-013)."""
        count = len(senders)
        handed_over = messages = idle = 0
        while idle < count and handed_over < _TURN_BYTES and not self._was_refused:
            nbytes = senders[self._turn % count].pump()
            if not self._was_refused:
                self._turn += 1  # a stream that was refused has the next turn
            if nbytes:
                handed_over += nbytes
                messages += 1
                idle = 0
            else:
                idle += 1
        return messages

    def _check_connection(self, *, connected: bool) -> None:
        if connected != self.is_up:
            self.machine.dispatch(LinkEvent.CONNECTED if connected else LinkEvent.DISCONNECTED)

    # LinkOffer

    def offer(self, message: bytes | memoryview) -> bool:
        """Hand over a message; see LinkOffer."""
        publication = self._publication
        if publication is None or self._was_refused or not self._bucket.may_take(len(message)):
            self._was_refused = True
            return False
        result = publication.offer(message)
        if result is OfferResult.ADMIN_ACTION:  # a term ended: the next offer goes through
            result = publication.offer(message)
        if result is OfferResult.ACCEPTED:
            self._bucket.take(len(message))
            self._refused_since_ns = None
            if self.is_choked:
                self.machine.dispatch(LinkEvent.ACCEPTED)
            return True
        self._was_refused = True
        if result in _UNUSABLE:
            self._reopen(result)
        return False

    def _reopen(self, why: OfferResult) -> None:
        self._log.warning(
            "reopened", "link %s: publication %s, opened anew", self.link.name, why.value
        )
        net = self._net
        self.close_publication()
        if net is not None and net.error is None:
            self.open(net)

    # LinkPort

    @property
    def choke_ns(self) -> int:
        return self.settings.choke_ms * 1_000_000

    def link_up(self) -> None:
        self.is_up = True
        self._refused_since_ns = None
        self._log.info("up", "link %s: up", self.link.name)
        for sender in self.senders:
            sender.machine.dispatch(OutboundEvent.LINK_UP)

    def link_down(self) -> None:
        self.is_up = False
        self.down_since_ns = self._clock.monotonic_ns()
        self._log.info(
            "down",
            "link %s: down; frames are skipped until a bridge receives at %s",
            *(self.link.name, self.link.channel.partition("|")[0]),
        )
        for sender in self.senders:
            sender.machine.dispatch(OutboundEvent.LINK_DOWN)

    def set_choked(self, choked: bool) -> None:
        self.is_choked = choked
        text = (
            "choked: the receiver or the network is slower; max_rate_hz and queue_frames limit it"
            if choked
            else "flows again"
        )
        self._log.info("choked", "link %s: %s", self.link.name, text)

    def count(self, name: str) -> None:
        self.counters.inc(name)
