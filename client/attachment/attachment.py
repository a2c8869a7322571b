"""One attachment: a lease, the machines that keep it, and the effects that they may have.

This is the adapter between the conductor, which hands in messages and time, and the machines,
which decide. `ProducerAttachment` and `ConsumerAttachment` add what their role needs.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable

from tensor_pool.hsm import Machine
from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.errors import (
    AttachRejectedError,
    LeaseLostError,
)
from tensor_pool.protocol.transport.ports import OfferResult, Transport
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    DataSourceAnnounce,
    DataSourceMeta,
    FrameProgress,
    Message,
    MetaBlobAnnounce,
    MetaBlobChunk,
    MetaBlobComplete,
    PublishMode,
    QosConsumer,
    Role,
    ShmAttachResponse,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
)

from ..config import ClientConfig, ns
from ..shared_streams import LogicalStream
from .announce_filter import AcceptedAnnounce, AnnounceFilter
from .answers import MAX_ERROR_TEXT, AttachAnswers
from .connection_machine import DriverConnection
from .counter_names import lease_loss_counter
from .epoch_mapping import StreamMapping
from .events import ConnectionEvent, ConnectionTimer, RoleEvent
from .grant import Grant
from .identity import Identity
from .ports import AttachmentConductor
from .stream_lookup import StreamLookup
from .timers import Timers

__all__ = ["Attachment", "Callbacks"]

_log = logging.getLogger("tensor_pool.client")
_NAME = "client name"
_NAME_PERIODS = 5  # announce periods between two messages that name the client

type Callbacks = dict[str, Callable[..., object]]


class Attachment(ABC):
    """The part that producers and consumers share. All methods run on the conductor's thread."""

    def __init__(
        self,
        conductor: AttachmentConductor,
        *,
        role: Role,
        stream_id: int,
        client_id: int,
        publish_mode: PublishMode,
        desired_node_id: int | None,
        stream_name: str = "",
        counters: Counters,
    ) -> None:
        self.conductor = conductor
        self.config: ClientConfig = conductor.config
        self.clock = conductor.clock
        self.counters = counters
        self.identity = Identity(client_id)
        self.timers = Timers(self.clock, self._on_timer)
        self.announces = AnnounceFilter(
            self.clock,
            freshness_ns=self.config.announce_freshness_ns,
            expected_layout_version=self.config.expected_layout_version,
        )
        self.connection = DriverConnection(
            self,
            self.config,
            self.identity,
            stream_id=stream_id,
            role=role,
            publish_mode=publish_mode,
            desired_node_id=desired_node_id,
            stream_name=stream_name,
        )
        self.last_error: Exception | None = None
        self.attach_failure: Exception | None = None  # what the latest attempt failed of
        self.attach_deadline_ns: int | None = None
        self.is_closing = False
        self.closing_deadline_ns: int | None = None
        self.finished = threading.Event()
        self._callbacks: Callbacks = {}
        self._requests: deque[Callable[[], object]] = deque()
        self._heard_driver_ns = 0
        self._lookup = StreamLookup(self.connection, conductor.directory, self._fail_attach)
        self._answers = AttachAnswers(
            self.connection,
            expected_layout_version=self.config.expected_layout_version,
            fail_attach=self._fail_attach,
        )

    @property
    @abstractmethod
    def machine(self) -> Machine:
        """The role machine."""

    @property
    @abstractmethod
    def is_ready(self) -> bool:
        """True if frames can be published or received."""

    @property
    def wants_low_latency(self) -> bool:
        """True if a thread waits for a message of the control stream."""
        return self.attach_is_waiting

    @property
    def needs_clients(self) -> bool:
        """True if it needs control messages of other clients, not of the driver alone."""
        return False

    @property
    def needs_reports(self) -> bool:
        """True if it needs the QoS reports of other clients."""
        return False

    @property
    def attach_is_waiting(self) -> bool:
        """True if a blocking attach call waits for this attachment."""
        return self.attach_deadline_ns is not None

    @property
    def stream_id(self) -> int:
        """The stream of the lease, or the one asked for."""
        return self.connection.stream_id

    @property
    def client_id(self) -> int:
        """Also the consumer or producer id on the wire (C-012)."""
        return self.identity.client_id

    @property
    def role(self) -> Role:
        return self.connection.role

    @property
    def is_gone(self) -> bool:
        """True if it was closed and nothing is left to be done for it."""
        return self.is_closing and self.connection.current is DriverConnection.Unattached

    def set_callbacks(self, callbacks: Callbacks) -> None:
        """Set the callbacks of the application, by their names."""
        self._callbacks = callbacks

    @abstractmethod
    def metrics(self) -> dict[str, int]:
        """All counters by name."""

    # Requests from the application's threads; carried out in the next duty cycle.

    def request(self, action: Callable[[], object]) -> None:
        """Run `action` on the conductor; safe from any thread."""
        self._requests.append(action)
        self.conductor.wake()

    def begin_attach(self) -> None:
        """Ask for a lease."""
        self.connection.dispatch(ConnectionEvent.ATTACH_REQUESTED)

    def begin_close(self) -> None:
        """Stop use and return the lease, if there is one (C-060)."""
        if not self.is_closing:
            self.is_closing = True
            self.machine.dispatch(RoleEvent.CLOSE_REQUESTED)
            self.connection.dispatch(ConnectionEvent.DETACH_REQUESTED)

    # The duty cycle

    def check_lease(self, now: int) -> int:
        """Notice a lease that has run out, before anything else happens in a cycle (C-051)."""
        connection = self.connection
        if not connection.is_attached:
            return 0
        if now > connection.deadline_ns:
            connection.dispatch(ConnectionEvent.LEASE_DEADLINE_PASSED)
        elif now - max(self._heard_driver_ns, connection.attached_ns) > (
            self.config.driver_liveness_timeout_ns
        ):
            connection.dispatch(ConnectionEvent.DRIVER_LOST)
        else:
            return 0
        return 1

    def do_work(self, now: int) -> int:
        """Requests, then timers; returns the number of requests.

        Timers do not count: nothing follows from them at once, so the thread may sleep.
        """
        work = self.do_requests()
        self.timers.fire(now)
        return work

    def do_requests(self) -> int:
        """Carry out what other threads, or the receive path, asked for."""
        work = 0
        while self._requests:
            self._requests.popleft()()
            work += 1
        return work

    def _on_timer(self, name: Hashable) -> None:
        if isinstance(name, ConnectionTimer):
            self.connection.dispatch(name.value)
        elif name == _NAME:
            self._send_name()
        else:
            self.on_role_timer(name)

    @abstractmethod
    def on_role_timer(self, name: Hashable) -> None:
        """A timer of the role is due."""

    def lose_transport(self) -> None:
        """The transport died: what needed it is gone, and so is the lease."""
        self.counters.inc("transport_losses")
        if self.connection.is_attached:
            self.connection.dispatch(ConnectionEvent.DRIVER_LOST)

    @abstractmethod
    def on_transport(self, transport: Transport) -> None:
        """Open what is needed besides the shared streams. Raises TransportError."""

    def finish(self) -> None:
        """Set `finished`: nothing is left to be done."""
        self.finished.set()

    def abandon(self, error: Exception) -> None:
        """The transport is gone for good (C-121)."""
        self.last_error = error
        self.begin_close()
        self.finish()

    # Messages

    def on_attach_response(self, response: ShmAttachResponse) -> None:
        """Sort an answer: ours, late, or that of another process (C-015)."""
        self._answers.take(response, self.clock.monotonic_ns())

    def on_unreadable_response(self, correlation_id: int, why: str) -> bool:
        """Take an attach response of which only the correlation id can be read (C-016).

        Return True if it was the answer to a request of this attachment.
        """
        return self._answers.take_unreadable(correlation_id, why)

    def on_detach_response(self, response: ShmDetachResponse) -> None:
        """The answer to a detach of ours ends it, whatever its code."""
        if self.connection.correlations.take_detach_answer(response.correlation_id):
            self.connection.dispatch(ConnectionEvent.DETACH_RESPONDED)

    def on_lease_revoked(self, notice: ShmLeaseRevoked) -> None:
        """A lease of this stream ended; it is ours only if every field agrees (C-053)."""
        grant = self.connection.grant
        if notice.stream_id != self.stream_id:
            return
        if grant is not None and (notice.lease_id, notice.client_id, notice.role) == (
            grant.lease_id,
            grant.client_id,
            self.role,
        ):
            text = notice.error_message[:MAX_ERROR_TEXT]
            why = f"{notice.reason.name}: {text}" if text else notice.reason.name
            self.connection.dispatch(ConnectionEvent.LEASE_REVOKED, why)
        elif grant is None or notice.lease_id != grant.lease_id:
            self.on_foreign_notice(notice)

    def on_foreign_notice(self, notice: ShmLeaseRevoked) -> None:  # noqa: B027
        """The lease of another attachment to the same stream ended."""

    def on_driver_shutdown(self, _: ShmDriverShutdown) -> None:
        """The driver goes away in order: every lease of it has ended (C-057)."""
        if self.connection.is_attached:
            self.lease_lost("driver shutdown")
        self.connection.dispatch(ConnectionEvent.DRIVER_SHUTDOWN)

    def on_announce(self, announce: ShmPoolAnnounce, join_time_ns: int) -> None:
        """Filter an announce (C-062); an accepted one also shows that the driver lives."""
        if announce.stream_id != self.stream_id:
            return
        accepted = self.announces.accept(
            announce,
            stream_id=self.stream_id,
            lease_is_live=self.connection.is_attached,
            join_time_ns=join_time_ns,
        )
        if accepted is None:
            self.counters.inc("announces_ignored")
            return
        self.counters.inc("announces_accepted")
        self._heard_driver_ns = self.clock.monotonic_ns()
        self.on_accepted_announce(accepted)

    def on_consumer_config(self, config: ConsumerConfig) -> None:  # noqa: B027
        """The config authority spoke to a consumer of the stream."""

    def on_consumer_hello(self, hello: ConsumerHello) -> None:  # noqa: B027
        """A consumer of the stream sent its options."""

    def on_qos_consumer(self, qos: QosConsumer) -> None:  # noqa: B027
        """A consumer of the stream reported."""

    def on_frame_progress(self, message: FrameProgress) -> None:  # noqa: B027
        """The stream's producer is filling a frame."""

    def on_data_source_announce(self, announce: DataSourceAnnounce) -> None:  # noqa: B027
        """The stream's producer announced its source."""

    def on_data_source_meta(self, meta: DataSourceMeta) -> None:  # noqa: B027
        """The stream's producer listed the attributes of its source."""

    def on_blob(self, message: MetaBlobAnnounce | MetaBlobChunk | MetaBlobComplete) -> None:  # noqa: B027
        """A part of a blob that the stream's producer sends."""

    @abstractmethod
    def on_accepted_announce(self, announce: AcceptedAnnounce) -> None:
        """An announce of the own stream that passed the filter."""

    # ConnectionPort, and what the role ports share

    def now(self) -> int:
        return self.clock.monotonic_ns()

    def send(self, message: Message) -> OfferResult:
        return self.conductor.send(LogicalStream.CONTROL, message)

    def arm(self, timer: Hashable, delay_ns: int) -> None:
        self.timers.arm(timer, delay_ns)

    def disarm(self, timer: Hashable) -> None:
        self.timers.disarm(timer)

    def resolve(self, name: str) -> None:
        self._lookup.begin(name)

    def start_mapping(self, grant: Grant) -> None:
        self.timers.arm(_NAME, 0)
        self.announces.highest_epoch = grant.regions.epoch  # C-047
        try:
            mapping = self.map_granted(grant)
        except Exception as error:  # noqa: BLE001 - the machine gets it as an event
            self._fail_attach(error)
            self.counters.inc("mapping_failures")
            _log.error("stream %d: %s", self.stream_id, error)
            self.machine.post(RoleEvent.MAP_FAILED, error)
        else:
            self.machine.post(RoleEvent.MAP_OK, mapping)

    def _send_name(self) -> None:
        """Name the program that holds the lease; dropped if it cannot be sent (S-047)."""
        if self.connection.is_attached:
            self.timers.arm(_NAME, _NAME_PERIODS * ns(self.config.announce_period))
            self.send(self.conductor.client_name.announce(self.client_id))

    @abstractmethod
    def map_granted(self, grant: Grant) -> StreamMapping:
        """Map the granted regions; raises ShmError."""

    def release(self, mapping: StreamMapping) -> None:
        mapping.close()

    def tell_role(self, event: RoleEvent, argument: object = None) -> None:
        self.machine.post(event, argument)

    def tell_connection(self, event: ConnectionEvent, argument: object = None) -> None:
        self.connection.post(event, argument)

    def refused(self, code: int, text: str) -> None:
        self.counters.inc("attach_refused")
        self._fail_attach(AttachRejectedError(code, text))
        self.call_back("on_refused", code, text)

    def lease_lost(self, why: str) -> None:
        self.counters.inc(lease_loss_counter(why))
        error = self.last_error = LeaseLostError(why, self._no_announce_text())
        _log.log(
            logging.WARNING if error.detail else logging.INFO,
            "stream %d, client %d: %s",
            *(self.stream_id, self.client_id, error),
        )

    def _no_announce_text(self) -> str:
        """Return a text about the announce stream if no announce came in all the time of a lease
        (C-058); empty otherwise."""
        config, attached_ns = self.config, self.connection.attached_ns
        if (
            self._heard_driver_ns >= attached_ns
            or self.now() - attached_ns <= config.driver_liveness_timeout_ns
        ):
            return ""
        return (
            f"no announce of stream {self.stream_id} since the attach on {config.announce_channel}"
            f" stream {config.announce_stream_id}; if the driver runs, it announces elsewhere: give"
            " announce_channel and announce_stream_id as the driver has them"
        )

    def count(self, counter: str) -> None:
        if counter == "attach_timeouts" or counter == "attaches":
            self.attach_failure = None
        self.counters.inc(counter)

    def keep_error(self, error: Exception) -> None:
        self.last_error = error

    def call_back(self, name: str, *arguments: object) -> None:
        """Call the application; what it raises must not stop the machines (C-113)."""
        callback = self._callbacks.get(name)
        if callback is None:
            return
        try:
            callback(*arguments)
        except Exception as error:  # noqa: BLE001 - kept for do_work() to raise
            self.counters.inc("callback_errors")
            _log.exception("callback %s of stream %d raised", name, self.stream_id)
            self.conductor.keep_callback_error(error)

    def _fail_attach(self, error: Exception) -> None:
        self.attach_failure = error
        self.last_error = error
