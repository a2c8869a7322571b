"""A world: one machine with a driver and client processes, run step by step.

`World.step` carries out the steps of `schedule.py`. Each step gives one process a turn, lets time
pass, or lets something go wrong; then whatever it can have broken is checked. At the end everything
that is wrong is put right, and within a bound all must be well again (`recovery.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from tensor_pool.client.consumer.frame import Frame
from tensor_pool.client.consumer.read_state import ReadState
from tensor_pool.client.producer.results import PublishStatus
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.errors import (
    ClosedError,
    ConfigError,
    LoanLimitError,
    StaleLoanError,
    TransportError,
)
from tensor_pool.protocol.shm.slot_columns import SlotColumns
from tensor_pool.protocol.testing.memory_network import MemoryNetwork

from .faults import Faulty
from .frames import FrameBook
from .invariants_client import ClientChecks
from .invariants_driver import InvariantError
from .memory_store import MemoryDisk
from .processes import DRIVER, ClientProcess, DriverProcess, Member, ProcessKilled, client_config
from .races import RacingWords
from .schedule import MS, Scenario, Step
from .separation import Separation
from .traffic import Traffic, states_of

__all__ = ["World"]

_NEW_FRAME = (PublishStatus.PUBLISHED, PublishStatus.NO_SUBSCRIBERS, PublishStatus.BACK_PRESSURED)
_HELD_FRAMES = 3


class World(Faulty):
    """A world of the processes in `scenario`; `tell` gets a line for each thing that happens."""

    def __init__(
        self, scenario: Scenario, disk: MemoryDisk, tell: Callable[[str], None] | None = None
    ) -> None:
        self.scenario = scenario
        self.tell = tell
        self.clock = SimulatedClock()
        self.traffic = Traffic(tell)
        self.network = MemoryNetwork(
            self.clock, seed=scenario.seed, observer=self.traffic.on_network
        )
        self.disk = disk
        self.frames = FrameBook()
        self.count: Counter[str] = Counter()
        self.checks = ClientChecks(self.disk)
        self.separation = Separation()
        self.driver = DriverProcess(
            scenario, self.clock, self.network, self.disk, self.traffic.burn
        )
        config = client_config(scenario)
        self.processes = [
            ClientProcess(f"client-{n}", plans, config, self.clock, self.network, self.idle)
            for n, plans in enumerate(scenario.processes)
        ]
        self.members = [m for process in self.processes for m in process.members]
        self.producers = [m for m in self.members if m.plan.role.name == "PRODUCER"]
        self.consumers = [m for m in self.members if m.plan.role.name == "CONSUMER"]
        self.begin()
        self.turn(DRIVER, self.driver.start)
        for process in self.processes:
            self.start(process)

    def step(self, step: Step | tuple[str, int, int]) -> None:
        """Carry a step out; raises InvariantError, or whatever the code under test raised."""
        name, a, b = step
        if self.tell is not None:
            self.tell(f"{self.clock.monotonic_ns()} {step}")
        self.count[name] += 1
        getattr(self, name)(a, b)

    # -- turns

    def turn(self, name: str, action: Callable[[], object]) -> bool:
        """Let a process do something; False if it was killed on the way."""
        self.disk.mapper = name
        try:
            action()
        except ProcessKilled:
            self.traffic.fuse = 0
            return False
        return True

    def start(self, process: ClientProcess) -> None:
        """Start a client process, which may fail for want of a transport."""
        self.turn(process.name, process.start)
        assert process.client is not None
        self.separation.watch_messages(process)
        for attachment in process.client._conductor.attachments:
            self._listen_to(process, attachment)

    def _listen_to(self, process: ClientProcess, attachment: Any) -> None:
        self.separation.watch_turns(process, attachment)
        start_mapping = attachment.start_mapping

        def noting(grant: Any) -> None:
            self.traffic.adopted(process.name, grant.lease_id)
            start_mapping(grant)

        attachment.start_mapping = noting

    def cycle(self, a: int, _: int) -> None:
        """A duty cycle of a client."""
        process = self.processes[a % len(self.processes)]
        client = process.client
        if client is None or process.is_paused:
            return
        self.traffic.fuse, process.fuse = process.fuse, 0
        if not self.turn(process.name, client.do_work):
            self.kill(process)
            return
        self.traffic.fuse = 0
        self.traffic.check_leases(process)
        self.checks.check(process)
        self.traffic.note(states_of(process))

    def drive(self, _: int, __: int) -> None:
        """A duty cycle of the driver."""
        self.traffic.fuse, self.driver_fuse = self.driver_fuse, 0
        if not self.turn(DRIVER, self.driver.cycle):
            self.driver.kill()
        self.traffic.fuse = 0

    def advance(self, a: int, _: int) -> None:
        """Time passes: mostly a little."""
        self.clock.advance((1 + a % 20) * MS // 2)

    def next_timer(self, _: int, __: int) -> None:
        """Let time pass until the next timer of any process is due."""
        now = self.clock.monotonic_ns()
        dues: list[int] = []
        if self.driver.driver is not None and self.driver.driver.next_due_ns is not None:
            dues.append(self.driver.driver.next_due_ns)
        for process in self.processes:
            if process.client is not None:
                for attachment in process.client._conductor.attachments:
                    dues += attachment.timers._due_ns.values()
        later = [due for due in dues if due > now]
        if later:
            self.clock.advance(min(later) - now)

    def idle(self) -> None:
        """A millisecond in which only the driver runs: what a blocking call waits through."""
        self.clock.advance(MS)
        self.driver.cycle()

    # -- producers

    def _producer(self, a: int) -> Member | None:
        member = self.producers[a % len(self.producers)]
        return member if member.handle is not None and not member.process.is_paused else None

    def publish(self, a: int, b: int) -> None:
        """Publish a frame."""
        member = self._producer(a)
        if member is not None:
            self.publish_from(member, b)
            self.checks.check(member.process)

    def publish_from(self, member: Member, size: int) -> bool:
        """Publish a frame of the size numbered so; whether it was committed."""
        producer = member.producer
        assert producer is not None
        contents = self.frames.contents(size)
        state = producer._state
        lives = self.may_use(member)
        if state is not None and lives and not self._ring_is_full(member):
            self.frames.write(
                producer.stream_id, state.epoch, state.next_seq, member.who, contents.tobytes()
            )
        before = state.next_seq if state is not None else -1
        result = producer.publish(contents)
        self.count[result.status.value] += 1
        committed = result.status in _NEW_FRAME or result.status is PublishStatus.DEFERRED
        if committed and (not lives or result.seq != before):
            raise InvariantError(f"CI-1: {member.who} published without a lease, or twice {before}")
        return committed

    def publish_many(self, a: int, b: int) -> None:
        """Publish frames at once, of one size or of several."""
        member = self._producer(a)
        producer = member.producer if member is not None else None
        if member is None or producer is None:
            return
        state = producer._state
        if state is None or not self.may_use(member) or producer._loans.by_seq:
            self.publish_from(member, b)  # where a part of a batch may be refused
            return
        sizes = [b + (i // 4 if b & 8 else 0) for i in range(2 + (b >> 4) % 9)]
        contents = [self.frames.contents(size) for size in sizes]
        first = state.next_seq
        for seq, frame in enumerate(contents, first):
            self.frames.write(producer.stream_id, state.epoch, seq, member.who, frame.tobytes())
        results = producer.publish_many(contents if b & 8 else np.array(contents))
        for seq, result in enumerate(results, first):
            self.count[result.status.value] += 1
            if result.status not in _NEW_FRAME or result.seq != seq:
                raise InvariantError(f"C-085: {member.who} published {seq}: {result}")
        self.checks.check(member.process)

    def may_use(self, member: Member) -> bool:
        connection = member.handle._attachment.connection
        return connection.is_attached and self.clock.monotonic_ns() <= connection.deadline_ns

    def _ring_is_full(self, member: Member) -> bool:
        producer = member.producer
        assert producer is not None
        state, loans = producer._state, producer._loans.by_seq
        return (
            bool(loans)
            and state is not None
            and (state.next_seq - next(iter(loans)) >= state.nslots)
        )

    def lend(self, a: int, b: int) -> None:
        """Begin a frame in place."""
        member = self._producer(a)
        if member is None or member.loan is not None:
            return
        producer = member.producer
        assert producer is not None
        contents = self.frames.contents(b)
        state = producer._state
        try:
            loan = producer.loan(contents.nbytes)
        except LoanLimitError:
            return
        if loan is None:
            return
        assert state is not None
        if not self.may_use(member):
            raise InvariantError(f"CI-1: {member.who} got a loan without a lease")
        self.frames.write(producer.stream_id, state.epoch, loan.seq, member.who, contents.tobytes())
        member.loan, member.loan_contents = loan, contents.tobytes()
        member.loan_filled = 0

    def fill(self, a: int, b: int) -> None:
        """Write a part of a frame."""
        member = self._producer(a)
        if member is not None and member.loan is not None:
            self._fill(member, member.loan_filled + 1 + b % 64)

    def _fill(self, member: Member, end: int) -> None:
        loan, start = member.loan, member.loan_filled
        part = member.loan_contents[start:end]
        assert loan is not None
        loan.buffer[start : start + len(part)] = part
        member.loan_filled = start + len(part)

    def commit(self, a: int, _: int) -> None:
        """Finish a frame that was begun."""
        member = self._producer(a)
        if member is None or member.loan is None:
            return
        self._fill(member, len(member.loan_contents))
        loan, member.loan = member.loan, None
        size = len(member.loan_contents)
        lives = self.may_use(member)
        try:
            result = loan.commit(size, shape=(size // 4,), dtype="uint32")
        except StaleLoanError:
            return
        self.count[result.status.value] += 1
        if result and not lives:
            raise InvariantError(f"CI-1: {member.who} committed without a lease")
        self.checks.check(member.process)

    def abort(self, a: int, _: int) -> None:
        """Give a frame up."""
        member = self._producer(a)
        if member is not None and member.loan is not None:
            loan, member.loan = member.loan, None
            loan.abort()

    def describe(self, a: int, b: int) -> None:
        """Change the metadata of the source."""
        member = self._producer(a)
        if member is not None:
            member.handle.set_metadata(f"camera {b % 5}", attributes={"gain": b})

    # -- consumers

    def _consumer(self, a: int) -> Member | None:
        member = self.consumers[a % len(self.consumers)]
        return member if member.handle is not None and not member.process.is_paused else None

    def poll(self, a: int, _: int) -> None:
        """Take the next frame and read it in place."""
        member = self._consumer(a)
        if member is not None:
            frame = member.handle.poll()
            if frame is not None:
                self.accept(member, frame)
                self.frames.check_shared(member.handle.stream_id, frame)

    def receive_many(self, a: int, b: int) -> None:
        """Take several frames at once, in place or as one array of copies."""
        member = self._consumer(a)
        if member is None or member.handle._attachment.receiver.state is None:
            return
        limit = 1 + (b >> 1) % 20
        if not b & 1:
            for frame in member.handle.receive_many(limit, timeout=0):
                self.accept(member, frame)
                self.frames.check_shared(member.handle.stream_id, frame)
        elif (stack := member.handle.receive_many(limit, timeout=0, stack=True)) is not None:
            for seq in stack.seqs.tolist():
                self._accept_seq(member, stack._state, seq)
            self.frames.check_stack(member.handle.stream_id, stack)

    def race_many(self, a: int, b: int) -> None:
        """Do as `receive_many` while a producer publishes between two looks at the words."""
        member = self._consumer(a)
        state = member.handle._attachment.receiver.state if member is not None else None
        rival = self._rival(state) if state is not None else None
        if member is None or state is None or rival is None:
            return
        columns = SlotColumns(state.ring, state.mask + 1)

        def interfere() -> None:
            for _ in range(1 + (b >> 3) % 20):
                self.publish_from(rival, b >> 6)

        columns.words = RacingWords(columns.words, 1 + b % 7, interfere)  # type: ignore[assignment]
        state._columns = columns
        self.receive_many(a, b >> 2)
        state._columns = None

    def copy(self, a: int, _: int) -> None:
        """Take the next frames as copies."""
        member = self._consumer(a)
        if member is not None:
            frame = member.handle.poll(copy=True)
            if frame is not None:
                self.accept(member, frame)
                self.frames.check_private(member.handle.stream_id, frame)

    def latest(self, a: int, _: int) -> None:
        """Take the newest frame."""
        member = self._consumer(a)
        if member is not None:
            frame = member.handle.latest()
            if frame is not None:
                self.accept(member, frame)
                self.frames.check_copy(member.handle.stream_id, frame)

    def hold(self, a: int, _: int) -> None:
        """Take a frame and look at it later."""
        member = self._consumer(a)
        if member is not None:
            frame = member.handle.poll()
            if frame is not None:
                self.accept(member, frame)
                member.held.append(frame)
                if len(member.held) > _HELD_FRAMES:
                    del member.held[0]

    def look(self, a: int, b: int) -> None:
        """Look at the frames that were held back: one by one, in place or by copying."""
        member = self._consumer(a)
        if member is not None:
            for frame in member.held:
                if b % 2:
                    self.frames.check_copy(member.handle.stream_id, frame)
                else:
                    self.frames.check_shared(member.handle.stream_id, frame)

    def race(self, a: int, b: int) -> None:
        """Receive while a producer publishes between two loads of a commit word."""
        member = self._consumer(a)
        state = member.handle._attachment.receiver.state if member is not None else None
        if member is None or state is None:
            return
        rival = self._rival(state)
        if rival is None:
            return
        words = state.words
        frames = 1 + (b >> 3) % 5  # of four slots: from the next one to all of them and more

        def interfere() -> None:
            for _ in range(frames):
                self.publish_from(rival, b >> 6)

        state.words = RacingWords(words, 1 + b % 6, interfere)
        frame = member.handle.poll()
        if frame is not None:
            self.accept(member, frame)
            self.frames.check_shared(member.handle.stream_id, frame)
        state.words = words

    def _rival(self, state: ReadState) -> Member | None:
        """A producer that writes what is being read."""
        for producer in self.producers:
            handle = producer.handle
            if handle is None or producer.process.is_paused or handle._state is None:
                continue
            if handle._state.epoch == state.epoch:
                return producer
        return None

    def interrupt(self, a: int, b: int) -> None:
        """Publish while the consumers receive and look, between two stores of a commit word."""
        member = self._producer(a)
        state = member.producer._state if member is not None and member.producer else None
        if member is None or state is None:
            return
        words = state.words

        def interfere() -> None:
            for index in range(len(self.consumers)):
                self.look(index, b >> 3)
                self.poll(index, 0)

        state.words = RacingWords(words, 1 + b % 4, interfere)
        self.publish_from(member, b >> 2)
        state.words = words

    def accept(self, member: Member, frame: Frame) -> None:
        """A frame was delivered: of the mapped epoch, in order, with a live lease."""
        self._accept_seq(member, frame._state, frame.seq)

    def _accept_seq(self, member: Member, accepted: ReadState, seq: int) -> None:
        attachment = member.handle._attachment
        state = attachment.receiver.state
        self.count["frames_accepted"] += 1
        if state is None or accepted is not state or accepted.epoch != state.mapping.epoch:
            raise InvariantError(f"C-091: {member.who} accepted a frame of epoch {accepted.epoch}")
        if not self.may_use(member):
            raise InvariantError(f"CI-1: {member.who} accepted a frame without a lease")
        if member.state_read is not state:
            member.state_read, member.last_seq = state, -1
        if seq <= member.last_seq:
            raise InvariantError(f"C-091: {member.who} got {seq} after {member.last_seq}")
        member.last_seq = seq

    # -- applications

    def close(self, a: int, _: int) -> None:
        """Close an attachment; the detach is made in the cycles that follow."""
        member = self.members[a % len(self.members)]
        if member.process.runs and member.handle is not None:
            member.close()

    def open(self, a: int, _: int) -> None:
        """Attach again what was closed."""
        member = self.members[a % len(self.members)]
        if member.process.runs and member.handle is None:
            self.reopen(member)

    def reopen(self, member: Member) -> None:
        """Attach; its id may still be in use by the previous attachment, or the transport gone."""
        try:
            member.attach()
        except (ConfigError, TransportError, ClosedError):
            return
        self._listen_to(member.process, member.handle._attachment)

    def ask(self, a: int, b: int) -> None:
        """A consumer changes its mind about a stream of its own."""
        member = self._consumer(a)
        if member is not None:
            attachment = member.handle._attachment
            channel = "aeron:ipc?term-length=64k" if b % 2 else ""
            options = type(attachment.options)(descriptor_channel=channel)
            member.handle.ask_for(options)
