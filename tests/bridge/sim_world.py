"""Two hosts with a bridge each, and the invariants of section 17, checked after every step."""

from __future__ import annotations

import random
from collections import Counter

from tensor_pool.bridge import (
    Bridge,
    BridgeSettings,
    ReceiveLink,
    ReceiveStream,
    SendLink,
    SendStream,
    TimestampPolicy,
)
from tensor_pool.bridge.core.inbound_stream import InboundStream
from tensor_pool.bridge.core.metric_names import DROPPED_HERE, DROPPED_THERE
from tensor_pool.bridge.core.receiving import Receiver
from tensor_pool.bridge.core.sending import Sender
from tensor_pool.client.producer.payload_layout import FrameHeader
from tensor_pool.protocol.clock import Clock, SimulatedClock
from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.wire import BridgeFrameChunk, BridgeStreamInfo, decode
from tests.bridge.sim_net import SimHostNet, SimNetwork
from tests.bridge.sim_pool import SimPool, SimSink, SimSource, payload_of

__all__ = ["STREAM", "Faults", "World"]

MS = 1_000_000
_STARTED_NS = 2_000_000_000 * MS
STREAM = 10_000
FAR = 50_000
ADDRESS = "10.0.0.2:40456"
CHUNK_BYTES = 256


class Faults:
    """Probabilities per step of 1 ms."""

    def __init__(
        self,
        *,
        cut: float = 0.0,
        restart_a: float = 0.0,
        restart_b: float = 0.0,
        source: float = 0.0,
        overwritten: float = 0.0,
        refusal: float = 0.0,
        lease_loss: float = 0.0,
        loss: float = 0.0,
        duplication: float = 0.0,
    ) -> None:
        self.cut = cut
        self.restart_a = restart_a
        self.restart_b = restart_b
        self.source = source
        self.overwritten = overwritten
        self.refusal = refusal
        self.lease_loss = lease_loss
        self.loss = loss
        self.duplication = duplication


class OtherClock:
    """The clocks of another host: its monotonic one started at another time and drifts."""

    def __init__(self, clock: Clock, offset_ns: int, drift_ppm: int) -> None:
        self._clock = clock
        self._started_ns = clock.monotonic_ns()
        self._offset_ns = offset_ns
        self._drift_ppm = drift_ppm
        self._realtime_ns = clock.realtime_ns()

    def monotonic_ns(self) -> int:
        now, passed_ns = self._clock.monotonic_ns(), self._passed_ns
        return now + self._offset_ns + passed_ns * self._drift_ppm // 1_000_000

    def realtime_ns(self) -> int:
        return self._realtime_ns + self._passed_ns

    def step_realtime(self, ns: int) -> None:
        self._realtime_ns += ns

    @property
    def _passed_ns(self) -> int:
        return self._clock.monotonic_ns() - self._started_ns


class World:
    """Everything that happens follows from the seed.

    `clock` is the one of the network and of host B; that of host A is `offset_ns` ahead of it.
    """

    def __init__(
        self,
        seed: int,
        faults: Faults | None = None,
        *,
        max_rate_hz: float = 0.0,
        queue: int = 0,
        offset_ns: int = 0,
        drift_ppm: int = 0,
        timestamps: TimestampPolicy = TimestampPolicy.LOCAL,
    ) -> None:
        self.faults = faults or Faults()
        self.dice = random.Random(seed)
        self.clock = SimulatedClock(monotonic_ns=_STARTED_NS)
        self.clock_a = OtherClock(self.clock, offset_ns, drift_ppm)
        self.network = SimNetwork(
            self.clock, self.dice, loss=self.faults.loss, duplication=self.faults.duplication
        )
        self.network.on_offer = self._on_offer
        self.network.on_arrival = self._on_arrival
        self.pool_a = SimPool(self.dice)
        self.source = SimSource(
            self.dice, race_rate=self.faults.overwritten, now=self.clock_a.monotonic_ns
        )
        self.pool_a.sources[STREAM] = self.source
        self.pool_b = SimPool(self.dice, refusal=self.faults.refusal, loss=self.faults.lease_loss)
        self.pool_b.on_commit = self._on_commit
        self.settings_a = BridgeSettings(
            instance_id="a",
            info_interval_ms=200,
            clock_synced=True,
            send=(
                SendLink(
                    name="b",
                    channel=f"aeron:udp?endpoint={ADDRESS}",
                    chunk_bytes=CHUNK_BYTES,
                    streams=(
                        SendStream(
                            stream=STREAM, wire_id=FAR, max_rate_hz=max_rate_hz, queue_frames=queue
                        ),
                    ),
                ),
            ),
        )
        self.settings_b = BridgeSettings(
            instance_id="b",
            info_interval_ms=200,
            clock_synced=True,
            receive=(
                ReceiveLink(
                    name="a",
                    channel=f"aeron:udp?endpoint={ADDRESS}",
                    streams=(ReceiveStream(wire_id=FAR, stream=FAR, timestamps=timestamps),),
                ),
            ),
        )
        self.delivered: set[int] = set()
        self.published = 0
        self.totals: Counter[str] = Counter()  # of bridges that were killed
        self._epochs = 7
        self._begun: set[tuple[int, int, int]] = set()  # session, epoch, seq of first chunks
        self._whole: set[tuple[int, int, int]] = set()  # of frames that arrived first to last chunk
        self._last_far: dict[int, int] = {}  # far epoch -> last seq
        self._source_of_far: dict[int, int] = {}  # far epoch -> source epoch
        self._infos_of_session: dict[int, set[int]] = {}
        self._cut_until_ns = 0
        self._down_until_ns = {"a": 0, "b": 0}
        self.has_media_driver = {"a": True, "b": True}
        self.net_a: SimHostNet
        self.net_b: SimHostNet
        self.a: Bridge | None = self._start("a")
        self.b: Bridge | None = self._start("b")
        self.source.start(self._new_epoch())

    # Time

    def run(self, steps: int, frames_per_step: float = 1.0) -> None:
        """Let steps of 1 ms pass; so many frames are published in each, on average."""
        for _ in range(steps):
            self._break_something()
            if self.source.epoch:
                count = int(frames_per_step + self.dice.random())
                for _ in range(count):
                    self.published += 1
                    self.source.publish(self.published, self.dice.randint(0, 4 * CHUNK_BYTES))
            self.step()

    def step(self, ms: int = 1) -> None:
        """One duty cycle of everything that lives, then the invariants."""
        self.clock.advance(ms * MS)
        self.network.step()
        self.pool_b.step()
        for bridge in (self.a, self.b):
            if bridge is not None:
                bridge.do_work()
        self.check()

    def settle(self) -> None:
        """Heal everything and let what is under way arrive."""
        self.faults = Faults()
        self.network.loss = self.network.duplication = 0.0
        self.pool_b.refusal = self.pool_b.loss = 0.0
        self.network.heal()
        for name in ("a", "b"):
            self.revive(name)
        for _ in range(300):
            self.step(10)

    # Faults

    def _break_something(self) -> None:
        faults, dice, now = self.faults, self.dice, self.clock.monotonic_ns()
        if self.network.is_cut and now >= self._cut_until_ns:
            self.network.heal()
        elif dice.random() < faults.cut:
            self.network.cut()
            self._cut_until_ns = now + dice.choice((100, 2000, 7000, 12_000, 20_000)) * MS
        for name, rate in (("a", faults.restart_a), ("b", faults.restart_b)):
            if getattr(self, name) is None:
                if now >= self._down_until_ns[name]:
                    self.revive(name)
            elif dice.random() < rate:
                self.kill(name)
                self._down_until_ns[name] = now + dice.choice((1, 500, 5000)) * MS
        if dice.random() < (faults.source if self.source.epoch else 20 * faults.source):
            if self.source.epoch and dice.random() < 0.5:
                self.source.stop()
            else:
                self.source.start(self._new_epoch())

    def kill(self, name: str) -> None:
        """End a bridge as `kill -9` does: no goodbye, its sessions end."""
        bridge: Bridge | None = getattr(self, name)
        assert bridge is not None
        self._keep_totals(bridge)
        (self.net_a if name == "a" else self.net_b).close()
        (self.pool_a if name == "a" else self.pool_b).forget()
        if name == "b":  # its counts go with it
            self._begun.clear()
            self._whole.clear()
        setattr(self, name, None)

    def kill_media_driver(self, name: str) -> None:
        """End the one of a bridge's network side; `has_media_driver` brings it back."""
        self.has_media_driver[name] = False
        (self.net_a if name == "a" else self.net_b).error = "killed"

    def revive(self, name: str) -> None:
        """Start a bridge that was killed."""
        if getattr(self, name) is None:
            self.source.unread.clear() if name == "a" else None
            setattr(self, name, self._start(name))

    def _start(self, name: str) -> Bridge:
        pool, settings, clock = (
            (self.pool_a, self.settings_a, self.clock_a)
            if name == "a"
            else (self.pool_b, self.settings_b, self.clock)
        )

        def open_net() -> SimHostNet:
            if not self.has_media_driver[name]:
                raise TransportError("no media driver")
            net = self.network.host()
            setattr(self, f"net_{name}", net)
            return net

        bridge = Bridge(settings, pool, open_net, clock)
        bridge.start()
        return bridge

    def _new_epoch(self) -> int:
        self._epochs += 1
        return self._epochs

    # Invariants

    def _on_offer(self, session: int, message: bytes) -> None:
        decoded = decode(message)
        if isinstance(decoded, BridgeStreamInfo):
            self._infos_of_session.setdefault(session, set()).add(decoded.epoch)
        elif isinstance(decoded, BridgeFrameChunk):
            known = self._infos_of_session.get(session, set())
            assert decoded.epoch in known, f"BI-6: a chunk of epoch {decoded.epoch} before its info"

    def _on_arrival(self, session: int, message: bytes) -> None:
        decoded = decode(message)
        if isinstance(decoded, BridgeFrameChunk):
            frame = (session, decoded.epoch, decoded.seq)
            if decoded.chunk_index == 0:
                self._begun.add(frame)
            if decoded.chunk_index + 1 == decoded.chunk_count and frame in self._begun:
                self._whole.add(frame)

    def _on_commit(self, sink: SimSink, seq: int, payload: bytes, header: FrameHeader) -> None:
        number = header.trace_id
        epoch, source_seq, nbytes = self.source.frames[number]
        assert payload == payload_of(number, nbytes), f"BI-1: frame {number} is torn"
        assert header.nbytes == nbytes, "BI-1: length"
        assert number not in self.delivered, f"B-005: frame {number} came twice"
        self.delivered.add(number)
        assert seq > self._last_far.get(sink.epoch, -1), "BI-2: seq does not rise"
        self._last_far[sink.epoch] = seq
        receiver = self.receiver
        if not receiver.is_dense:
            assert seq == source_seq, "B-095: another seq"
        assert self._source_of_far.setdefault(sink.epoch, epoch) == epoch, "BI-3: epochs mixed"
        assert receiver.machine.is_in(InboundStream.Ready), "BI-10: published while not Ready"

    @property
    def sender(self) -> Sender:
        assert self.a is not None
        return self.a.outgoing[0].senders[0]

    @property
    def receiver(self) -> Receiver:
        assert self.b is not None
        return self.b.receivers[0]

    def check(self) -> None:
        """The invariants that hold between any two steps."""
        if self.b is not None:
            machine = self.receiver.machine
            open_loans = sum(loan.is_open for sink in self.pool_b.sinks for loan in sink.loans)
            ready = [sink for sink in self.pool_b.sinks if sink.is_ready]
            assert open_loans <= 1, f"BI-4: {open_loans} loans"
            assert not open_loans or machine.current is InboundStream.Filling, "BI-4: loan"
            holds = machine.is_in(InboundStream.Ready) or machine.is_in(InboundStream.Holding)
            arriving = machine.is_in(InboundStream.Attaching) and len(ready) == 1
            assert not ready or holds or arriving, f"BI-4: a lease in {machine.current.name}"
            assert len(ready) <= 1, "BI-5: two leases"
        if self.a is not None:
            assert not self.source.unread, "BI-7: descriptors unread"
            sender = self.sender
            counted = sender.counters.snapshot()
            settled = sum(counted[name] for name in DROPPED_HERE)
            settled += counted["skipped_link"] + counted["frames_sent"]
            in_work = sender.waiting + sender.is_working
            assert counted["frames_taken"] == settled + in_work, "BI-9: frames at the sender"
            assert sender.waiting <= self.source.nslots // 2, "BI-8: queue"

    def check_accounts(self, *, exact: bool) -> None:
        """BI-9 between the hosts, at rest; `exact` where the network loses nothing."""
        totals = self.totals + self._counts(self.a) + self._counts(self.b)
        sent = totals["frames_sent"] + totals["abandoned"]
        dropped = sum(totals[name] for name in DROPPED_THERE)
        assert totals["frames_delivered"] == len(self.delivered), "BI-9: delivered"
        if exact:
            assert sent == totals["frames_delivered"] + dropped, f"BI-9: {dict(totals)}"
        else:
            assert sent >= totals["frames_delivered"], f"BI-9: {dict(totals)}"

    def check_account_there(self) -> Counter[str]:
        """B-005 as the receiver that runs now sees it, whatever was lost; the sender has run
        through. Returns its counters."""
        counted = Counter(self.receiver.counters.snapshot())
        sent = self.sender.counters["frames_sent"]
        accounted = counted["frames_before"] + len(self._whole) + counted["frames_lost"]
        assert sent == accounted, f"B-005: {sent} sent, {dict(counted)}"
        seen = counted["frames_delivered"] + sum(counted[name] for name in DROPPED_THERE)
        assert seen >= len(self._whole), "B-005: a frame that came whole has no counter"
        return counted

    def _keep_totals(self, bridge: Bridge) -> None:
        self.totals += self._counts(bridge)

    @staticmethod
    def _counts(bridge: Bridge | None) -> Counter[str]:
        counted: Counter[str] = Counter()
        if bridge is None:
            return counted
        for outgoing in bridge.outgoing:
            for sender in outgoing.senders:
                counted.update(sender.counters.snapshot())
                counted["abandoned"] += sender.abandoned
        for receiver in bridge.receivers:
            counted.update(receiver.counters.snapshot())
        return counted
