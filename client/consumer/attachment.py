"""The conductor's side of a consumer: mapping, hellos, QoS, private streams, messages."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Hashable

from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.channel import tethered
from tensor_pool.protocol.transport.ports import OfferResult, Subscription, Transport
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    DataSourceAnnounce,
    DataSourceMeta,
    FrameProgress,
    MetaBlobAnnounce,
    MetaBlobChunk,
    MetaBlobComplete,
    PublishMode,
    QosConsumer,
    Role,
    ShmLeaseRevoked,
    WireError,
    decoder_for,
    fallback_uri,
    has_half_set_pair,
)
from tensor_pool.protocol.wire.stream_pairs import STREAM_WIDE_TOKEN

from ..attachment.announce_filter import AcceptedAnnounce
from ..attachment.attachment import Attachment
from ..attachment.counter_names import CONSUMER_COUNTERS
from ..attachment.epoch_mapping import StreamMapping
from ..attachment.events import ConnectionEvent, RoleEvent
from ..attachment.grant import Grant
from ..attachment.ports import AttachmentConductor
from ..blobs import BlobAssembler
from ..config import ns
from ..doorbell import Bell, bell_name
from ..metadata import MetadataCache
from ..producer.known_consumers import assigned
from ..shared_streams import LogicalStream
from .machine import ConsumerMachine, ConsumerTimer
from .options import ConsumerOptions
from .private_streams import NO_STREAM, AssignedStreams
from .progress import ProgressReader
from .read_state import ReadState
from .receiver import Receiver

__all__ = ["ConsumerAttachment"]

_log = logging.getLogger("tensor_pool.client")
_HELLO = "hello"
_QOS = "qos"
_ACTIVITY = "activity"
_LOOK = "look for a publisher"
_LOOK_PERIOD_NS = 100_000_000
_ANSWERS_WAITED_FOR = 5  # a busy driver answers late
_OWN_REPORTS_KEPT = 16
_decode_progress = decoder_for([FrameProgress])


class ConsumerAttachment(Attachment):
    """One consumer as its conductor sees it."""

    def __init__(
        self,
        conductor: AttachmentConductor,
        *,
        stream_id: int,
        client_id: int,
        publish_mode: PublishMode,
        desired_node_id: int | None,
        stream_name: str = "",
        options: ConsumerOptions,
    ) -> None:
        super().__init__(
            conductor,
            role=Role.CONSUMER,
            stream_id=stream_id,
            client_id=client_id,
            publish_mode=publish_mode,
            desired_node_id=desired_node_id,
            stream_name=stream_name,
            counters=Counters(CONSUMER_COUNTERS),
        )
        self._refused_stream = ""
        self.options = options
        self.metadata = MetadataCache()
        self.blobs = BlobAssembler()
        self.fallback_uri = ""
        self.bell: Bell | None = None
        self.receiver = Receiver(
            stream_id=lambda: self.stream_id,
            connection=self.connection,
            counters=self.counters,
            now=self.clock.monotonic_ns,
            max_seq_gap=self.config.max_outstanding_seq_gap,
            reads_alone=self.config.descriptors_travel_alone,
            report=self._report,
        )
        self.receiver.configure(options.mode, options.max_rate_hz)
        self._machine = ConsumerMachine(self, self.config)
        self._progress: ProgressReader | None = None
        self.assigned = AssignedStreams(
            self.receiver,
            subscribe=lambda *address: conductor.transport.add_subscription(*address),
            subscribe_shared=lambda: self._subscribe_shared(conductor.transport),
            failed=self._refuse_stream,
            unserved=lambda: self.counters.inc("private_streams_unserved"),
        )
        self._granted_epoch = 0  # when this lease began
        self._own_reports: deque[QosConsumer] = deque(maxlen=_OWN_REPORTS_KEPT)
        self._failed_mapping = False
        self._declined: list[tuple[str, str]] = []
        self._unanswered_since: int | None = None  # the first hello of this lease
        self._looks_for_own_id = False
        self.has_producer = False

    def serve(self) -> None:
        """Work for this handle from now on. Raises TransportError."""
        self.on_transport(self.conductor.transport)
        self.timers.arm(_QOS, 0)
        self.timers.arm(_ACTIVITY, ns(self.config.announce_period))
        self.timers.arm(_LOOK, _LOOK_PERIOD_NS)

    @property
    def machine(self) -> ConsumerMachine:
        return self._machine

    @property
    def is_ready(self) -> bool:
        return self.is_mapped and self.assigned.reads_own

    @property
    def is_mapped(self) -> bool:
        """True while regions are mapped."""
        return self._machine.current is ConsumerMachine.Mapped

    @property
    def wants_low_latency(self) -> bool:
        return self.attach_is_waiting or self.options.supports_progress

    @property
    def needs_clients(self) -> bool:
        return self.options.supports_progress  # which producers send on the control stream

    @property
    def needs_reports(self) -> bool:
        return self._looks_for_own_id

    @property
    def uses_private_stream(self) -> bool:
        """True if a descriptor stream of its own is assigned."""
        return self.assigned.is_private

    @property
    def mapping_state(self) -> str:
        """MAPPED, UNMAPPED or FALLBACK, in the words of W-141."""
        if self.is_mapped:
            return "MAPPED"
        refused = not self._machine.shm_enabled or self._failed_mapping
        return "FALLBACK" if refused and self.fallback_uri else "UNMAPPED"

    def metrics(self) -> dict[str, int]:
        counted = self.counters.snapshot()
        counted["frames_ok"] = self.receiver.frames_ok
        counted["bad_message"] += self.conductor.counters["bad_message"]
        return counted

    def finish(self) -> None:
        """The attachment is over: close what it opened."""
        self.assigned.forget()
        self.receiver.stop()
        if self.bell is not None:
            self.bell.ring()
            self.bell.close()
            self.bell = None
        super().finish()

    def do_work(self, now: int) -> int:
        work = super().do_work(now) + self.assigned.do_work()
        return work + self.assigned.poll(self._on_private_control, self.config.fragment_limit)

    # Transport

    def on_transport(self, transport: Transport) -> None:
        """Open the shared streams besides that of descriptors. Raises TransportError."""
        self.conductor.subscribe(LogicalStream.METADATA)
        self._renew_bell()

    def lose_transport(self) -> None:
        super().lose_transport()
        self._refused_stream = ""
        self.assigned.forget()
        self.receiver.stop()

    def _subscribe_shared(self, transport: Transport) -> Subscription:
        channel = self.config.descriptor_channel
        return transport.add_subscription(
            tethered(channel) if self.options.tether else channel,
            self.config.descriptor_stream_id,
        )

    def _renew_bell(self) -> None:
        """The bell's name holds the consumer id, so another id takes another bell."""
        name = bell_name(
            self.config.aeron_dir,
            f"{self.config.control_channel} {self.config.control_stream_id}",
            self.stream_id,
            self.client_id,
        )
        if self.bell is not None and self.bell.name == name:
            return
        previous, self.bell = self.bell, None
        try:
            self.bell = Bell(name)
        except OSError as error:
            _log.info("no doorbell for stream %d: %s", self.stream_id, error)
        if previous is not None:
            previous.ring()
            previous.close()

    # Messages

    def on_accepted_announce(self, announce: AcceptedAnnounce) -> None:
        self.has_producer = announce.producer_id != 0
        self._machine.dispatch(RoleEvent.ANNOUNCE_ACCEPTED, announce)

    def on_foreign_notice(self, notice: ShmLeaseRevoked) -> None:
        if notice.role is Role.PRODUCER:
            self.has_producer = False
            self._machine.dispatch(RoleEvent.PRODUCER_REVOKED, notice.timestamp_ns)

    def on_consumer_config(self, config: ConsumerConfig) -> None:
        """The driver or supervisor set streams, mode and shared memory (C-098, C-099)."""
        if config.consumer_id != self.client_id:
            return
        if has_half_set_pair(config):
            self.counters.inc("bad_message")
            return
        self.fallback_uri = fallback_uri(config)
        self._note_declined(config)
        self.receiver.configure(config.mode, self.receiver.max_rate_hz)
        if config.use_shm != self._machine.shm_enabled:
            if config.use_shm:
                self._machine.dispatch(RoleEvent.SHM_ENABLED)
            else:
                self._machine.dispatch(RoleEvent.SHM_DISABLED, self.fallback_uri)
        was_reading = self.assigned.reads_own
        address = assigned(config.descriptor_channel, config.descriptor_stream_id)
        if address == NO_STREAM or not self.identity.is_chosen:
            self._look_for_own_id()
        else:
            self._looks_for_own_id = False
        self.assigned.assign_descriptor(
            address,
            private=bool(self.options.descriptor_channel),
        )
        if not was_reading and self.assigned.reads_own:
            self.timers.arm(_QOS, 0)
        self.assigned.assign_control(assigned(config.control_channel, config.control_stream_id))

    def _note_declined(self, config: ConsumerConfig) -> None:
        """Report streams of its own that were asked for and not given, once for each answer."""
        declined = [
            (half, asked)
            for half, asked, given in (
                ("descriptor", self.options.descriptor_channel, config.descriptor_channel),
                ("control", self.options.control_channel, config.control_channel),
            )
            if asked and not given
        ]
        if declined == self._declined:
            return
        self._declined = declined
        for half, asked in declined:
            self.counters.inc("private_streams_declined")
            error = self.last_error = TransportError(
                f"stream {self.stream_id}: the driver declined a {half} stream of this consumer's"
                f" own on {asked}; it reads the shared one. driver.{half}_stream_id_range is empty"
                " or used up, or the channel is not one that consumers on this machine read"
            )
            _log.warning("%s", error)

    def _look_for_own_id(self) -> None:
        """Read the reports of others, by which an id in use is found out (W-168).

        With a driver that assigns streams only an id that the application gave needs that: those
        chosen at random would cost every consumer a connection with every other.
        """
        self._looks_for_own_id = True
        try:
            self.conductor.subscribe(LogicalStream.QOS)
        except TransportError as error:
            self.keep_error(error)

    def on_qos_consumer(self, qos: QosConsumer) -> None:
        """Our own report coming back, or that of another process with our id (W-168)."""
        if qos.consumer_id != self.client_id:
            return
        if qos in self._own_reports:
            self._own_reports.remove(qos)
            return
        self.counters.inc("id_conflicts")
        _log.warning(
            "stream %d: another process uses consumer id %d too",
            self.stream_id,
            self.client_id,
        )
        if self.identity.is_chosen and self.connection.is_attached:
            self.connection.dispatch(ConnectionEvent.REATTACH, "consumer id in use")
            self.identity.renew()
            self._own_reports.clear()

    def on_frame_progress(self, message: FrameProgress) -> None:
        """From the shared control stream: only without a control stream of its own."""
        if self.options.supports_progress and not self.assigned.control[0]:
            self._take_progress(message)

    def on_data_source_announce(self, announce: DataSourceAnnounce) -> None:
        if self.metadata.on_announce(announce):
            self.call_back("on_metadata", self.metadata.current)

    def on_data_source_meta(self, meta: DataSourceMeta) -> None:
        if self.metadata.on_meta(meta) and self.metadata.current is not None:
            self.call_back("on_metadata", self.metadata.current)

    def on_blob(self, message: MetaBlobAnnounce | MetaBlobChunk | MetaBlobComplete) -> None:
        blob = self.blobs.take(message)
        if blob is not None:
            self.call_back("on_blob", blob)

    # ConsumerPort

    @property
    def lease_is_live(self) -> bool:
        return self.connection.is_attached

    @property
    def highest_epoch(self) -> int:
        return self.announces.highest_epoch

    def map_granted(self, grant: Grant) -> StreamMapping:
        self._renew_bell()
        self.timers.arm(_HELLO, 0)
        self._unanswered_since = None
        self.assigned.doubt()
        self._granted_epoch = grant.regions.epoch
        return self.conductor.mapping_rules.map_granted(grant.regions, writable=False)

    def map_announced(self, announce: AcceptedAnnounce) -> StreamMapping:
        return self.conductor.mapping_rules.map_announced(
            announce.regions, announce.timestamp_ns, announce.clock_domain
        )

    def revalidate(self, announce: AcceptedAnnounce) -> RoleEvent | None:
        mapping = self._machine.mapping
        assert mapping is not None
        return mapping.revalidate(announce.regions, announce.clock_domain)

    def start_reading(self, mapping: StreamMapping) -> None:
        self._failed_mapping = False
        state = ReadState(mapping, self.connection, self.counters, self.clock.monotonic_ns)
        self._progress = ProgressReader(state)
        self.metadata.begin_epoch(state.epoch)
        began_meanwhile = state.epoch > self._granted_epoch
        self.receiver.begin(state, self.options.history, from_the_first=began_meanwhile)
        if self.assigned.reads_own:
            self.timers.arm(_QOS, 0)  # the producer may wait for it

    def stop_reading(self) -> None:
        self._progress = None
        self.receiver.end()

    def keep_error(self, error: Exception) -> None:
        super().keep_error(error)
        self.counters.inc("mapping_failures")
        self._fail_mapping(error)

    def tell_connection(self, event: ConnectionEvent, argument: object = None) -> None:
        if event is ConnectionEvent.MAPPING_FAILED and isinstance(argument, Exception):
            self._fail_mapping(argument)
        super().tell_connection(event, argument)

    def lease_lost(self, why: str) -> None:
        super().lease_lost(why)
        self.assigned.leave()

    def _fail_mapping(self, error: Exception) -> None:
        """Shared memory cannot be used: report the other place that has the payload (W-132)."""
        if self.fallback_uri and not self._failed_mapping:
            self.call_back("on_fallback", self.fallback_uri)
        elif not self.fallback_uri:
            _log.error("stream %d cannot be mapped: %s", self.stream_id, error)
        self._failed_mapping = True

    # Timers

    def on_role_timer(self, name: Hashable) -> None:
        if isinstance(name, ConsumerTimer):
            self._machine.dispatch(name.value)
        elif name == _HELLO:
            self._send_hello()
        elif name == _QOS:
            self.timers.arm(_QOS, ns(self.config.qos_interval))
            self._send_qos()
        elif name == _ACTIVITY:
            self.timers.arm(_ACTIVITY, ns(self.config.announce_period))
            mapping = self._machine.mapping
            if mapping is not None and not mapping.is_alive():
                self._machine.dispatch(RoleEvent.INVALID_STALE_ACTIVITY)
        elif name == _LOOK:
            self.timers.arm(_LOOK, _LOOK_PERIOD_NS)
            self._look_for_descriptors()

    def _look_for_descriptors(self) -> None:
        """Fall back to the shared stream where nothing else brings descriptors (W-164).

        Not while a driver shows its beacon: it will answer. A fallback for its slowness would be a
        connection to every other client, and make the machine slower still. But if it does not for
        long, the lease may have ended without its notice: attach anew.
        """
        since = None if self.conductor.sees_driver else self._unanswered_since
        self.receiver.look_into_ring()
        if self.assigned.reads_own:
            state = self.receiver.state
            if not self.assigned.is_served:
                self.assigned.look_for_publisher(state.newest_seq() if state is not None else None)
        elif since is not None and self.now() - since > ns(self.config.response_timeout):
            _log.info("stream %d: no driver assigns descriptor streams", self.stream_id)
            self.assigned.read_shared()
        elif self.connection.is_attached and self._was_unanswered_for_long():
            self.connection.dispatch(ConnectionEvent.REATTACH, "no hello was answered")
        is_assigned = self.assigned.descriptor != NO_STREAM
        if since is not None and not is_assigned and self._was_unanswered_for_long():
            self._look_for_own_id()

    def _was_unanswered_for_long(self) -> bool:
        since = self._unanswered_since
        patience = _ANSWERS_WAITED_FOR * ns(self.config.response_timeout)
        return since is not None and self.now() - since > patience

    def _send_hello(self) -> None:
        if not self.connection.is_attached:
            return  # armed again with the next lease
        self.timers.arm(_HELLO, ns(self.config.hello_interval))
        options = self.options
        descriptor = self._asked(options.descriptor_channel, options.descriptor_token, 31_000)
        if not descriptor[0]:
            descriptor = (self.config.descriptor_channel, STREAM_WIDE_TOKEN)
        control = self._asked(options.control_channel, options.control_token, 32_000)
        if self.assigned.is_private and self.assigned.descriptor[0]:
            descriptor = self.assigned.descriptor
        if control[0] and self.assigned.control[0]:
            control = self.assigned.control
        progress = options.supports_progress
        hello = ConsumerHello(
            stream_id=self.stream_id,
            consumer_id=self.client_id,
            supports_shm=self._machine.shm_enabled or not self.fallback_uri,
            supports_progress=progress,
            mode=options.mode,
            max_rate_hz=options.max_rate_hz,
            expected_layout_version=self.config.expected_layout_version,
            progress_interval_us=options.progress_interval_us if progress else None,
            progress_bytes_delta=options.progress_bytes_delta if progress else None,
            progress_major_delta_units=options.progress_major_delta_units if progress else None,
            descriptor_stream_id=descriptor[1],
            control_stream_id=control[1],
            descriptor_channel=descriptor[0],
            control_channel=control[0],
        )
        if self.send(hello) is OfferResult.ACCEPTED:
            self.counters.inc("hellos_sent")
            if self._unanswered_since is None:
                self._unanswered_since = self.now()

    def _send_qos(self) -> None:
        state = self.receiver.state
        report = QosConsumer(
            stream_id=self.stream_id,
            consumer_id=self.client_id,
            epoch=state.epoch if state is not None and self.assigned.reads_own else 0,
            last_seq_seen=state.last_seq if state is not None else 0,
            drops_gap=self.counters["drops_gap"],
            drops_late=self.counters["drops_late"],
            mode=self.receiver.mode,
        )
        self._own_reports.append(report)
        if self.conductor.send(LogicalStream.QOS, report) is OfferResult.ACCEPTED:
            self.counters.inc("qos_sent")
        else:
            self._own_reports.remove(report)

    def _asked(self, channel: str, token: int | None, first_default: int) -> tuple[str, int]:
        if not channel:
            return ("", 0)
        return channel, first_default + self.client_id % 1000 if token is None else token

    # Streams of its own

    def ask_for(self, options: ConsumerOptions) -> None:
        """Change what the hellos ask for; what is withdrawn is left before the hello goes out."""
        self.options = options
        if not options.descriptor_channel and self.assigned.is_private:
            self.assigned.read_shared()
        if not options.control_channel:
            self.assigned.assign_control(NO_STREAM)
        self.receiver.configure(options.mode, options.max_rate_hz)
        self.timers.arm(_HELLO, 0)

    def _refuse_stream(self, address: tuple[str, int], error: TransportError) -> None:
        self.counters.inc("private_streams_failed")
        self.last_error = error
        name = "shared stream" if address == NO_STREAM else "assigned stream {} {}".format(*address)
        text = f"{name} cannot be subscribed: {error}"
        if text != self._refused_stream:  # else many times while the media driver is away
            self._refused_stream = text
            _log.warning(text)

    def _on_private_control(self, buffer: memoryview) -> None:
        try:
            message = _decode_progress(buffer)
        except WireError as error:
            if not error.reason.is_ignored:
                self.counters.inc("bad_message")
            return
        if isinstance(message, FrameProgress) and message.stream_id == self.stream_id:
            self.request(lambda: self._take_progress(message))

    def _take_progress(self, message: FrameProgress) -> None:
        update = self._progress.read(message) if self._progress is not None else None
        if update is None:
            self.counters.inc("drops_progress")
            return
        self.counters.inc("progress_received")
        self.call_back("on_progress", update)

    def _report(self, state: ReadState, event: RoleEvent) -> None:
        """The receive path found the mapping void; the machine gets the event in the next cycle."""

        def post() -> None:
            if self._machine.mapping is state.mapping:
                self._machine.dispatch(event)

        self.request(post)
