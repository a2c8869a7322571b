"""The bridge as one object: `do_work()` is one duty cycle (B-013)."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.errors import TransportError

from ..settings import BridgeSettings
from .events import BridgeEvent, InboundEvent, LinkEvent, OutboundEvent
from .incoming_link import Incoming
from .lifecycle import BridgeLifecycle, BridgeTimer
from .links import Outgoing
from .metadata_on_wire import path_in
from .metric_names import BRIDGE_COUNTERS
from .ports import Net, Pool, Source
from .rates import RATE_PERIOD_NS
from .receiving import Receiver
from .sending import Sender
from .timers import Timers

__all__ = ["Bridge", "SourceFeed"]

_log = logging.getLogger("tensor_pool.bridge")
_MS = 1_000_000
_DESCRIPTORS = 64
_LINGER_NS = 200 * _MS
_MAX_ROUNDS = 64


class SourceFeed:
    """One source stream and everything that it is sent to (B-041)."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.senders: list[Sender] = []
        self._epoch = 0
        self._has_producer = False

    def do_work(self) -> int:
        """Notice changes of the source, take every descriptor; returns how many."""
        self._follow(self.source.epoch)
        taken = 0
        for _ in range(_MAX_ROUNDS):
            frames = self.source.announced(_DESCRIPTORS)
            for frame in frames:
                if frame.epoch != self._epoch:
                    self._follow(frame.epoch)
                for sender in self.senders:
                    sender.take(frame)
            taken += len(frames)
            if len(frames) < _DESCRIPTORS:
                break
        for sender in self.senders:
            sender.note_metadata()
        return taken

    def _follow(self, epoch: int) -> None:
        if epoch != self._epoch:
            self._epoch = epoch
            for sender in self.senders:
                if epoch:
                    sender.machine.dispatch(OutboundEvent.SOURCE_MAPPED, epoch)
                else:
                    sender.machine.dispatch(OutboundEvent.SOURCE_LOST)
        has_producer = self.source.has_producer
        if has_producer != self._has_producer:
            self._has_producer = has_producer
            event = OutboundEvent.PRODUCER_SEEN if has_producer else OutboundEvent.PRODUCER_GONE
            for sender in self.senders:
                sender.machine.dispatch(event)


class Bridge:
    """A bridge; `open_net` opens the network side and raises TransportError."""

    def __init__(
        self,
        settings: BridgeSettings,
        pool: Pool,
        open_net: Callable[[], Net],
        clock: Clock,
    ) -> None:
        self.settings = settings
        self.counters = Counters([*BRIDGE_COUNTERS])
        self.error: str | None = None
        self.clock = clock
        self.frames_flow = False
        """True after a turn in which a frame came, or waits to be sent."""
        self._chunks_seen = 0
        self._open_net = open_net
        self._net: Net | None = None
        self._failures = 0
        self._draining_since_ns = 0
        self.timers = Timers(clock)
        self._posted: deque[Callable[[], object]] = deque()
        self.incoming = [
            Incoming(
                settings,
                link,
                [
                    Receiver(
                        settings,
                        entry,
                        link_name=link.name,
                        pool=pool,
                        clock=clock,
                        timers=self.timers,
                        post=self._posted.append,
                    )
                    for entry in link.streams
                ],
                clock,
            )
            for link in settings.receive
        ]
        self.feeds: dict[int, SourceFeed] = {}
        self.outgoing: list[Outgoing] = []
        for link in settings.send:
            outgoing = Outgoing(settings, link, clock)
            for stream in sorted(link.streams, key=lambda stream: stream.wire_id):
                feed = self.feeds.get(stream.stream)
                if feed is None:
                    feed = self.feeds[stream.stream] = SourceFeed(pool.source(stream.stream))
                sender = Sender(
                    settings,
                    link,
                    stream,
                    link=outgoing,
                    source=feed.source,
                    source_path=self.path_of,
                    clock=clock,
                    timers=self.timers,
                )
                feed.senders.append(sender)
                outgoing.senders.append(sender)
            self.outgoing.append(outgoing)
        self.machine = BridgeLifecycle(self)
        self._sample_rates()

    # Life

    def start(self) -> None:
        """Open every link. Raises TransportError if the network side cannot be opened."""
        try:
            self._net = self._open_net()
            self.open_links()
        except TransportError as error:
            self.error = str(error)
            self.machine.dispatch(BridgeEvent.START_FAILED, str(error))
            raise
        self.machine.dispatch(BridgeEvent.START_OK)

    @property
    def is_stopped(self) -> bool:
        """True once everything is released."""
        return self.machine.is_in(BridgeLifecycle.Stopped)

    def request_shutdown(self) -> None:
        """Say goodbye and give the leases back; `do_work` carries it out."""
        self.machine.dispatch(BridgeEvent.SHUTDOWN_REQUESTED)

    def do_work(self) -> int:
        """One duty cycle; returns how much was done."""
        now = self.clock.monotonic_ns()
        work = 0
        while self._posted:
            self._posted.popleft()()
            work += 1
        net = self._net
        if net is not None and net.error is not None:
            self.machine.dispatch(BridgeEvent.NET_LOST, net.error)
            work += 1
        taken = 0
        for feed in self.feeds.values():
            taken += feed.do_work()
        work += taken
        chunks = 0
        for incoming in self.incoming:
            work += incoming.do_work()
            chunks += incoming.chunks
        for outgoing in self.outgoing:
            work += outgoing.do_work(now)
        self.frames_flow = (
            taken > 0
            or chunks != self._chunks_seen
            or any(outgoing.has_frames for outgoing in self.outgoing)
        )
        self._chunks_seen = chunks
        work += self.timers.fire(self.clock.monotonic_ns())
        if self.machine.is_in(BridgeLifecycle.Draining) and self._is_drained():
            self.machine.dispatch(BridgeEvent.DRAIN_COMPLETE)
            work += 1
        return work

    @property
    def net_directory(self) -> str:
        """Directory of the network side's media driver; empty while there is none."""
        return self._net.directory if self._net is not None else ""

    @property
    def receivers(self) -> list[Receiver]:
        """Every inbound stream."""
        return [receiver for incoming in self.incoming for receiver in incoming.receivers]

    def path_of(self, stream_id: int, epoch: int) -> tuple[str, ...]:
        """The hosts that an epoch of a stream of this pool has come by (B-120).

        Epochs decide: the same stream may have a local producer now and a bridge before.
        """
        for receiver in self.receivers:
            if epoch and receiver.far_epoch == epoch:
                return receiver.far_path
        feed = self.feeds.get(stream_id)
        if feed is None:
            return ()
        announce, meta = feed.source.metadata_messages
        if announce is None or announce.epoch != epoch:
            return ()  # of an earlier producer
        return path_in(meta)

    # BridgePort

    def open_links(self) -> None:
        net = self._net
        assert net is not None
        for incoming in self.incoming:
            incoming.open(net)
        for outgoing in self.outgoing:
            outgoing.open(net)

    def close_links(self, why: str) -> None:
        _log.warning("the media driver of the network side is lost: %s; trying again", why)
        self._close_net()

    def reopen_net(self) -> bool:
        try:
            self._net = self._open_net()
        except TransportError as error:
            self._failures += 1
            _log.info("no media driver for the network side yet: %s", error)
            return False
        self._failures = 0
        return True

    def start_draining(self) -> None:
        self._draining_since_ns = self.clock.monotonic_ns()
        for outgoing in self.outgoing:
            for sender in outgoing.senders:
                sender.machine.dispatch(OutboundEvent.CLOSE)
        for receiver in self.receivers:
            receiver.machine.dispatch(InboundEvent.CLOSE)
        for feed in self.feeds.values():
            feed.source.begin_close()
        self.feeds.clear()

    def release_all(self) -> None:
        for outgoing in self.outgoing:
            outgoing.machine.dispatch(LinkEvent.CLOSE)
        self._close_net()

    def arm_retry(self) -> None:
        delay_ms = min(
            self.settings.retry_max_ms, self.settings.retry_base_ms << min(self._failures, 20)
        )
        self._arm(BridgeTimer.RETRY, delay_ms)

    def arm_shutdown(self) -> None:
        self._arm(BridgeTimer.SHUTDOWN, self.settings.shutdown_timeout_ms)

    def disarm(self, timer: BridgeTimer) -> None:
        self.timers.disarm(self, timer)

    def count(self, name: str) -> None:
        self.counters.inc(name)

    # Own

    def _arm(self, timer: BridgeTimer, delay_ms: int) -> None:
        self.timers.arm(self, timer, delay_ms * _MS, lambda: self.machine.dispatch(timer.value))

    def _sample_rates(self) -> None:
        for outgoing in self.outgoing:
            for sender in outgoing.senders:
                sender.rates.sample()
        for receiver in self.receivers:
            receiver.rates.sample()
        self.timers.arm(self, "rates", RATE_PERIOD_NS, self._sample_rates)

    def _close_net(self) -> None:
        for outgoing in self.outgoing:
            outgoing.close_publication()
        for incoming in self.incoming:
            incoming.close_subscription()
        net, self._net = self._net, None
        if net is not None:
            net.close()

    def _is_drained(self) -> bool:
        goodbyes = any(
            sender.goodbye_is_due
            for outgoing in self.outgoing
            if outgoing.is_up
            for sender in outgoing.senders
        )
        leases = any(not sink.is_finished for r in self.receivers for sink in r.retired)
        # A media driver that is closed at once would take the goodbyes with it.
        lingers = any(outgoing.is_up for outgoing in self.outgoing) and (
            self.clock.monotonic_ns() - self._draining_since_ns < _LINGER_NS
        )
        return not goodbyes and not leases and not lingers
