"""The conductor: polls the shared streams, hands messages and time to the attachments.

One thread at a time runs its duty cycle: the application's (invoker mode) or its own (threaded
mode, `threaded.py`). Everything the machines do happens inside `do_work()` (C-111).
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.errors import ClosedError, ConcurrentUseError, TransportError
from tensor_pool.protocol.shm.safe_open import AllowedBaseDirs
from tensor_pool.protocol.transport.ports import OfferResult, Transport
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    DataSourceAnnounce,
    DataSourceMeta,
    DiscoveryResponse,
    FrameProgress,
    HugepagesPolicy,
    Message,
    MetaBlobAnnounce,
    MetaBlobChunk,
    MetaBlobComplete,
    QosConsumer,
    QosProducer,
    ShmAttachResponse,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    WireError,
    decoder_for,
    peek_correlation_id,
    peek_header,
)
from tensor_pool.protocol.wire.names import ClientName

from ..attachment.attachment import Attachment
from ..attachment.epoch_mapping import MappingRules
from ..config import ClientConfig
from ..discovery.directory import Directory
from ..shared_streams import Endpoints, LogicalStream
from .driver_probe import DriverProbe

if TYPE_CHECKING:
    from ..qos.monitor import QosMonitor

__all__ = ["Conductor"]

_log = logging.getLogger("tensor_pool.client")
_RECONNECT_PERIOD_NS = 250_000_000
_POLLS_PER_CYCLE = 100  # while each finds a full batch
_ATTACH_RESPONSE = (901, 2)  # schema, template

_decode = decoder_for(
    [
        ConsumerConfig,
        ConsumerHello,
        DataSourceAnnounce,
        DataSourceMeta,
        DiscoveryResponse,
        FrameProgress,
        MetaBlobAnnounce,
        MetaBlobChunk,
        MetaBlobComplete,
        QosConsumer,
        QosProducer,
        ShmAttachResponse,
        ShmDetachResponse,
        ShmDriverShutdown,
        ShmLeaseRevoked,
        ShmPoolAnnounce,
    ]
)


class Conductor:
    """Owns the transport and the attachments of one client.

    `reconnect` makes a new transport after the loss of the media driver; without it such a loss
    closes every attachment and `do_work()` raises TransportError (C-121).
    """

    def __init__(
        self,
        config: ClientConfig,
        transport: Transport,
        clock: Clock,
        allowed_base_dirs: AllowedBaseDirs,
        *,
        reconnect: Callable[[], Transport] | None = None,
        client_name: ClientName | None = None,
    ) -> None:
        self.config = config
        self.client_name = client_name or ClientName(config.client_name)
        self.clock = clock
        self.counters = Counters(["bad_message", "callback_errors", "reconnects"])
        self.mapping_rules = MappingRules(
            clock,
            allowed_base_dirs,
            require_hugepages=config.hugepages is HugepagesPolicy.HUGEPAGES,
            lock_memory=config.mlock,
            freshness_ns=config.announce_freshness_ns,
        )
        self.attachments: list[Attachment] = []
        self._leaving: list[Attachment] = []  # closed, but an answer may still grant them a lease
        self.has_own_thread = False
        self.on_wake: Callable[[], None] = lambda: None
        self.on_lost: Callable[[TransportError], None] = lambda _: None
        self._endpoints: Endpoints | None = Endpoints(transport, config)
        self._endpoints.open()
        self._reconnect = reconnect
        self._reconnect_due_ns = 0
        self.directory = Directory(self)
        self.driver_probe: DriverProbe | None = None
        self._monitors: list[QosMonitor] = []
        self.driver_heard_ns: int | None = None  # the last announce or answer
        self._requests: deque[Callable[[], object]] = deque()
        self._received: list[Message | tuple[int, str]] = []
        self._by_stream: dict[int, list[Attachment]] | None = None
        self._callback_errors: list[Exception] = []
        self._in_cycle = threading.Lock()
        self._runner: int | None = None
        self._closed = False
        self._handlers: dict[type, Callable[..., None]] = {
            ShmAttachResponse: self._on_attach_response,
            ShmDetachResponse: self._on_detach_response,
            ShmDriverShutdown: self._to_all("on_driver_shutdown"),
            ShmLeaseRevoked: self._on_lease_revoked,
            ShmPoolAnnounce: self._on_announce,
            ConsumerConfig: self._to_stream("on_consumer_config"),
            ConsumerHello: self._to_stream("on_consumer_hello"),
            QosConsumer: self._on_qos_consumer,
            QosProducer: self._to_monitors,
            FrameProgress: self._to_stream("on_frame_progress"),
            DataSourceAnnounce: self._to_stream("on_data_source_announce", self.directory),
            DataSourceMeta: self._to_stream("on_data_source_meta", self.directory),
            DiscoveryResponse: self._on_discovery_response,
            MetaBlobAnnounce: self._to_stream("on_blob"),
            MetaBlobChunk: self._to_stream("on_blob"),
            MetaBlobComplete: self._to_stream("on_blob"),
        }

    @property
    def transport(self) -> Transport:
        """The transport in use; raises TransportError while there is none."""
        if self._endpoints is None:
            raise TransportError("the media driver is gone and has not come back yet")
        return self._endpoints.transport

    @property
    def is_running_here(self) -> bool:
        """True if the caller is inside `do_work()`, for instance in a callback."""
        return self._runner == threading.get_ident()

    @property
    def wants_low_latency(self) -> bool:
        """True if a message on the control stream should be handled within a millisecond."""
        asks = self.directory.is_asking or self.driver_probe is not None
        return asks or any(attachment.wants_low_latency for attachment in self.attachments)

    @property
    def sees_driver(self) -> bool:
        """True if a driver shows its beacon: it answers every hello, however late (W-009)."""
        return self._endpoints is not None and bool(self._endpoints.drivers)

    def add(self, attachment: Attachment, serve: Callable[[], None]) -> None:
        """Run `serve`, then work for the attachment from the next cycle on.

        Between cycles, whichever thread asks. Raises what `serve` raises.
        """
        if self.is_running_here:
            serve()
        else:
            with self._in_cycle:
                serve()
        self.attachments.append(attachment)

    def wake(self) -> None:
        """Have a sleeping conductor thread start its next cycle now."""
        self.on_wake()

    def request(self, action: Callable[[], object]) -> None:
        """Run `action` in the next cycle; safe from any thread."""
        self._requests.append(action)
        self.wake()

    def listen_to_metadata(self) -> None:
        """Poll the metadata stream from now on."""
        self.subscribe(LogicalStream.METADATA)

    def subscribe(self, stream: LogicalStream) -> None:
        """Poll a shared stream from now on."""
        if self._endpoints is not None:
            self._endpoints.subscribe(stream)

    def add_monitor(self, monitor: QosMonitor) -> None:
        """Hand reports, announces, ends of leases and time to a monitor from now on."""
        self._monitors.append(monitor)
        self.subscribe(LogicalStream.QOS)

    def remove_monitor(self, monitor: QosMonitor) -> None:
        if monitor in self._monitors:
            self._monitors.remove(monitor)

    def send(self, stream: LogicalStream, message: Message) -> OfferResult:
        """Offer on a shared stream; CLOSED while there is no transport."""
        if self._endpoints is None:
            return OfferResult.CLOSED
        return self._endpoints.send(stream, message)

    def keep_callback_error(self, error: Exception) -> None:
        """An application's callback raised; the cycle goes on and raises it at its end (C-113)."""
        self.counters.inc("callback_errors")
        if not self.has_own_thread:  # a thread of ours has no caller to raise them to
            self._callback_errors.append(error)

    def do_work(self) -> int:
        """One duty cycle; returns how much was done.

        Raises ConcurrentUseError when it is running already, TransportError when the transport is
        lost for good, and what a callback raised.
        """
        if not self._in_cycle.acquire(blocking=self.has_own_thread):
            raise ConcurrentUseError(
                "do_work() is running already: in another thread, or further up this call stack"
            )
        self._runner = threading.get_ident()
        try:
            work = self._cycle()
            errors, self._callback_errors = self._callback_errors, []
        finally:
            self._runner = None
            self._in_cycle.release()
        if errors:
            raise errors[0]
        return work

    def close(self) -> None:
        """Close endpoints and transport; the attachments are gone already."""
        self._closed = True
        if self._endpoints is not None:
            self._endpoints.transport.close()
            self._endpoints = None

    def _cycle(self) -> int:
        if self._closed:
            raise ClosedError("the client is closed")
        work = self._check_transport()
        now = self.clock.monotonic_ns()
        attachments = list(self.attachments)
        self._by_stream = None  # attachments come and go
        if self._endpoints is not None:
            to_clients = self.directory.is_asking or any(a.needs_clients for a in attachments)
            self._endpoints.listen(now, to_clients=to_clients)
            if not self._monitors and not any(a.needs_reports for a in attachments):
                self._endpoints.leave(LogicalStream.QOS)
        for attachment in attachments:
            work += attachment.check_lease(now)
        if self._endpoints is not None:
            for _ in range(_POLLS_PER_CYCLE):
                taken = self._endpoints.poll(self._on_fragment, self.config.fragment_limit)
                self._handle_received()
                work += taken
                if taken < self.config.fragment_limit or self._endpoints is None:
                    break
        while self._requests:
            self._requests.popleft()()
            work += 1
        now = self.clock.monotonic_ns()
        work += self.directory.do_work(now)
        if self.driver_probe is not None:
            work += self.driver_probe.do_work(now)
        for monitor in self._monitors:
            work += self._work_of(monitor, now)
        for attachment in attachments:
            work += attachment.do_work(now)
            if attachment.is_gone:
                attachment.finish()
                self.attachments.remove(attachment)
                self._leaving.append(attachment)
        if self._leaving:
            self._leaving = [a for a in self._leaving if a.connection.correlations.expects(now)]
        return work

    def _work_of(self, monitor: QosMonitor, now: int) -> int:
        try:
            return monitor.do_work(now)
        except Exception as error:  # noqa: BLE001 -- raised by a callback of the application
            self.keep_callback_error(error)
            return 1

    def _on_fragment(self, buffer: memoryview) -> None:
        """Decode only; handling waits until the poll is over."""
        try:
            self._received.append(_decode(buffer))
        except WireError as error:
            if error.reason.is_ignored:
                return
            self.counters.inc("bad_message")
            if len(buffer) >= 8:
                header = peek_header(buffer)
                correlation_id = peek_correlation_id(buffer)
                if (header.schema_id, header.template_id) == _ATTACH_RESPONSE and (
                    correlation_id is not None
                ):
                    self._received.append((correlation_id, str(error)))

    def _of_stream(self, stream_id: int) -> list[Attachment]:
        """The attachments of a tensor stream, by an index: a client may have thousands.

        The index is made once in a cycle, and again when the driver has chosen a stream.
        """
        if self._by_stream is None:
            self._by_stream = {}
            for attachment in self.attachments:
                self._by_stream.setdefault(attachment.stream_id, []).append(attachment)
        return self._by_stream.get(stream_id, [])

    def _handle_received(self) -> None:
        received, self._received = self._received, []
        for message in received:
            if isinstance(message, tuple):
                for attachment in self.attachments:
                    if attachment.on_unreadable_response(*message):
                        break
            else:
                self._handlers[type(message)](message)

    def _to_all(self, method: str) -> Callable[[Message], None]:
        def deliver(message: Message) -> None:
            for attachment in self.attachments:
                getattr(attachment, method)(message)

        return deliver

    def _to_stream(
        self, method: str, directory: Directory | None = None
    ) -> Callable[[Message], None]:
        def deliver(message: Message) -> None:
            if directory is not None and directory.listens:
                getattr(directory, method)(message)
            stream_id = message.stream_id  # type: ignore[union-attr]
            if not stream_id:
                return  # of no stream: the name of a client (S-046)
            for attachment in self._of_stream(stream_id):
                getattr(attachment, method)(message)

        return deliver

    def _on_lease_revoked(self, notice: ShmLeaseRevoked) -> None:
        for attachment in self._of_stream(notice.stream_id):
            attachment.on_lease_revoked(notice)
        self._to_monitors(notice)

    def _on_qos_consumer(self, report: QosConsumer) -> None:
        for attachment in self._of_stream(report.stream_id):
            attachment.on_qos_consumer(report)
        self._to_monitors(report)

    def _to_monitors(self, message: Message) -> None:
        for monitor in self._monitors:
            monitor.hear(message, self.clock.monotonic_ns())

    def _on_attach_response(self, response: ShmAttachResponse) -> None:
        """To all, and to those already closed: a lease that comes too late is returned (C-034)."""
        for attachment in (*self.attachments, *self._leaving):
            attachment.on_attach_response(response)
        self._by_stream = None  # the driver may have chosen a stream

    def _on_detach_response(self, response: ShmDetachResponse) -> None:
        if self.driver_probe is not None:
            self.driver_probe.on_detach_response(response)
        for attachment in self.attachments:
            attachment.on_detach_response(response)

    def _on_discovery_response(self, response: DiscoveryResponse) -> None:
        self.driver_heard_ns = self.clock.monotonic_ns()
        self.directory.on_response(response)

    def _on_announce(self, announce: ShmPoolAnnounce) -> None:
        assert self._endpoints is not None
        self.driver_heard_ns = self.clock.monotonic_ns()
        self.directory.on_announce(announce)
        join_time_ns = self._endpoints.subscribe(LogicalStream.ANNOUNCE).join_time_ns
        for attachment in self._of_stream(announce.stream_id):
            attachment.on_announce(announce, join_time_ns)
        self._to_monitors(announce)

    # Loss and return of the transport

    def _check_transport(self) -> int:
        if self._endpoints is None:
            return self._try_reconnect()
        transport = self._endpoints.transport
        if not transport.is_closed:
            return 0
        text = transport.error or "the transport was closed"
        _log.warning("transport lost: %s", text)
        self._endpoints = None
        with contextlib.suppress(TransportError):
            transport.close()
        for attachment in self.attachments:
            attachment.lose_transport()
        if self._reconnect is None:
            error = TransportError(f"transport lost, all attachments are closed: {text}")
            for attachment in self.attachments:
                attachment.abandon(error)
            self.attachments.clear()
            self._closed = True
            self.on_lost(error)
            raise error
        self._reconnect_due_ns = self.clock.monotonic_ns() + _RECONNECT_PERIOD_NS
        return 1

    def _try_reconnect(self) -> int:
        now = self.clock.monotonic_ns()
        if self._reconnect is None or now < self._reconnect_due_ns:
            return 0
        self._reconnect_due_ns = now + _RECONNECT_PERIOD_NS
        transport: Transport | None = None
        try:
            transport = self._reconnect()
            endpoints = Endpoints(transport, self.config)
            endpoints.open()
            self._endpoints = endpoints
            if self.directory.listens:
                self.listen_to_metadata()
            if self._monitors:
                self.subscribe(LogicalStream.QOS)
            for attachment in self.attachments:
                attachment.on_transport(transport)
        except TransportError as error:
            _log.info("no transport yet: %s", error)
            self._endpoints = None
            if transport is not None:
                with contextlib.suppress(TransportError):
                    transport.close()
            return 0
        self.counters.inc("reconnects")
        _log.info("transport is back")
        return 1
