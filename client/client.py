"""Client: one per process and deployment; makes producers and consumers."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self, Unpack

import msgspec

from tensor_pool.protocol.clock import Clock, SystemClock
from tensor_pool.protocol.errors import (
    AttachTimeoutError,
    ClosedError,
    ConcurrentUseError,
    ConfigError,
    TensorPoolError,
    TransportError,
)
from tensor_pool.protocol.shm.commit_word import require_supported_platform
from tensor_pool.protocol.shm.safe_open import AllowedBaseDirs
from tensor_pool.protocol.transport.aeron import AeronTransport
from tensor_pool.protocol.transport.ports import Transport
from tensor_pool.protocol.wire import PublishMode
from tensor_pool.protocol.wire.names import ClientName

from .attach_wait import wait_until_ready
from .attachment.attachment import Attachment
from .blobs import Blob
from .conductor.conductor import Conductor
from .conductor.thread import ConductorThread
from .config import ClientConfig, ns
from .consumer.attachment import ConsumerAttachment
from .consumer.consumer import Consumer
from .consumer.options import ConsumerOptionFields, ConsumerOptions
from .consumer.progress import ProgressUpdate
from .discovery.changes import StreamChanges, matches
from .discovery.names import checked_stream
from .discovery.stream_info import StreamInfo
from .doorbell import sweep_abandoned_bells
from .handle import Handle, disown_after_fork
from .metadata import SourceMetadata
from .process_end import CLIENTS
from .producer.attachment import ProducerAttachment
from .producer.producer import Producer

if TYPE_CHECKING:
    from .qos.endpoint import QosLimits
    from .qos.monitor import QosMonitor
    from .synchronizer.synchronizer import Rule, Synchronizer, Timestamps

__all__ = ["Client", "connect_aeron"]

_log = logging.getLogger("tensor_pool.client")
_IDLE_S = 0.001


class Client:
    """Owns the transport and the conductor; `connect()` makes one with a thread of its own.

    A Client made directly is in invoker mode: the application calls `do_work()` at least three
    times a keepalive interval (C-110), or `start()`s the conductor thread.

    `transport` carries the messages; without one, Aeron is used as configured. `reconnect`
    makes a new one after the media driver was lost. `idle` is called whenever a blocking call has
    nothing to do; the default sleeps for a millisecond. Raises ConfigError, TransportError and
    UnsupportedPlatformError.
    """

    def __init__(
        self,
        config: ClientConfig | None = None,
        *,
        transport: Transport | None = None,
        clock: Clock | None = None,
        reconnect: Callable[[], Transport] | None = None,
        idle: Callable[[], object] | None = None,
    ) -> None:
        require_supported_platform()
        self.config = config if config is not None else ClientConfig()
        self.config.check_base_dirs()
        self.clock: Clock = clock if clock is not None else SystemClock()
        self._idle = idle if idle is not None else lambda: time.sleep(_IDLE_S)
        self._handles: dict[Attachment, Handle] = {}
        self._thread: ConductorThread | None = None
        self._closed = False
        self._is_left = False
        self._on_left: Callable[[], object] = _nothing
        owns_transport = transport is None
        if transport is None:
            transport = connect_aeron(self.config, self.clock)
        try:
            self._conductor = Conductor(
                self.config,
                transport,
                self.clock,
                AllowedBaseDirs.of(self.config.allowed_base_dirs),
                reconnect=reconnect,
                client_name=ClientName(
                    self.config.client_name or _program_name(), os.getpid(), socket.gethostname()
                ),
            )
        except BaseException:
            if owns_transport:
                transport.close()
            raise
        self._conductor.on_lost = self._fail
        self._pid = os.getpid()
        sweep_abandoned_bells()
        CLIENTS.add(self)

    # Running

    @property
    def is_threaded(self) -> bool:
        """True if a conductor thread runs."""
        return self._thread is not None

    def start(self) -> Self:
        """Let a conductor thread do the background work from now on."""
        self._check_open()
        if self._thread is None:
            self._conductor.has_own_thread = True
            self._thread = ConductorThread(self._conductor)
            self._thread.start()
        return self

    def do_work(self) -> int:
        """One duty cycle of background work, in invoker mode; returns how much was done.

        Raises ConcurrentUseError when a cycle runs already, TransportError when the media driver is
        gone, and what a callback raised.
        """
        self._check_open()
        if self.is_threaded:
            raise ConcurrentUseError("after start() only the conductor thread calls do_work()")
        return self._conductor.do_work()

    def close(self) -> None:
        """Close all handles, stop the thread, leave the transport; may be called again."""
        if self._is_left:
            return
        handles = list(self._handles.values())
        for handle in handles:  # all at once, so that a dead driver is waited for only once
            handle._closed = True
            handle._give_up_waiting()
            self._expect_end(handle._attachment)
            handle._attachment.request(handle._attachment.begin_close)
        for handle in handles:
            handle.close()
        self._closed = True
        if self._thread is not None:
            self._thread.stop()
            self._thread = None
        self._conductor.close()
        CLIENTS.discard(self)
        self._is_left = True
        self._on_left()

    def metrics(self) -> dict[str, int]:
        """Counters of the client as a whole: `bad_message`, `callback_errors`, `reconnects`."""
        return self._conductor.counters.snapshot()

    @property
    def driver_heard_ns(self) -> int | None:
        """Time of the last announce or answer of a driver, monotonic ns; None before the first."""
        return self._conductor.driver_heard_ns

    # Attaching

    def producer(
        self,
        stream_id: int | str,
        *,
        client_id: int = 0,
        publish_mode: PublishMode = PublishMode.EXISTING_OR_CREATE,
        desired_node_id: int | None = None,
        strict: bool = False,
        descriptor_timestamps: bool = False,
        trace: bool = False,
        attach_timeout: float | None = None,
        idle: Callable[[], object] | None = None,
        on_active: Callable[[], object] | None = None,
        on_paused: Callable[[str], object] | None = None,
        on_shutdown: Callable[[], object] | None = None,
        on_refused: Callable[[int, str], object] | None = None,
    ) -> Producer:
        """Become the producer of a stream; waits until frames can be published (C-030).

        `stream_id` is an id or a name; 0 asks the driver to choose. A name is looked up at every
        attempt (S-021). Raises AttachRejectedError, AttachTimeoutError, UnknownStreamError,
        AmbiguousStreamError, ProtocolViolationError or ShmError, with the remedy (C-031). `idle` is
        called in each round of the wait when no conductor thread runs. With `trace` each frame gets
        a new trace id, unless it is given one or has parents (S-152).
        """
        producer = self.begin_attach_producer(
            stream_id,
            client_id=client_id,
            publish_mode=publish_mode,
            desired_node_id=desired_node_id,
            strict=strict,
            descriptor_timestamps=descriptor_timestamps,
            trace=trace,
            on_active=on_active,
            on_paused=on_paused,
            on_shutdown=on_shutdown,
            on_refused=on_refused,
        )
        wait_until_ready(self, producer, attach_timeout, idle)
        return producer

    def begin_attach_producer(
        self,
        stream_id: int | str,
        *,
        client_id: int = 0,
        publish_mode: PublishMode = PublishMode.EXISTING_OR_CREATE,
        desired_node_id: int | None = None,
        strict: bool = False,
        descriptor_timestamps: bool = False,
        trace: bool = False,
        on_active: Callable[[], object] | None = None,
        on_paused: Callable[[str], object] | None = None,
        on_shutdown: Callable[[], object] | None = None,
        on_refused: Callable[[int, str], object] | None = None,
    ) -> Producer:
        """Begin to attach as `producer` does, and return at once; see `poll_ready()`."""
        self._check_open()
        number, name = _id_or_name(stream_id)
        attachment = ProducerAttachment(
            self._conductor,
            stream_id=number,
            stream_name=name,
            client_id=client_id,
            publish_mode=publish_mode,
            desired_node_id=desired_node_id,
        )
        producer = Producer(
            self,
            attachment,
            strict=strict,
            descriptor_timestamps=descriptor_timestamps,
            trace=trace,
        )
        producer._set_callbacks(
            on_active=on_active, on_paused=on_paused, on_shutdown=on_shutdown, on_refused=on_refused
        )
        self._begin(attachment, producer, lambda: attachment.serve(producer))
        return producer

    def consumer(
        self,
        stream_id: int | str,
        *,
        client_id: int = 0,
        publish_mode: PublishMode = PublishMode.REQUIRE_EXISTING,
        desired_node_id: int | None = None,
        options: ConsumerOptions | None = None,
        spin: bool = False,
        attach_timeout: float | None = None,
        idle: Callable[[], object] | None = None,
        on_active: Callable[[], object] | None = None,
        on_unmapped: Callable[[str], object] | None = None,
        on_shutdown: Callable[[], object] | None = None,
        on_refused: Callable[[int, str], object] | None = None,
        on_fallback: Callable[[str], object] | None = None,
        on_progress: Callable[[ProgressUpdate], object] | None = None,
        on_metadata: Callable[[SourceMetadata], object] | None = None,
        on_blob: Callable[[Blob], object] | None = None,
        **wishes: Unpack[ConsumerOptionFields],
    ) -> Consumer:
        """Become a consumer of a stream; waits until frames can be received (C-030).

        `wishes` are fields of ConsumerOptions (`mode`, `max_rate_hz`, `descriptor_channel`, ...).
        `spin` never sleeps: lowest latency for a core. Raises as `producer`.
        """
        consumer = self.begin_attach_consumer(
            stream_id,
            client_id=client_id,
            publish_mode=publish_mode,
            desired_node_id=desired_node_id,
            options=options,
            spin=spin,
            on_active=on_active,
            on_unmapped=on_unmapped,
            on_shutdown=on_shutdown,
            on_refused=on_refused,
            on_fallback=on_fallback,
            on_progress=on_progress,
            on_metadata=on_metadata,
            on_blob=on_blob,
            **wishes,
        )
        wait_until_ready(self, consumer, attach_timeout, idle)
        return consumer

    def begin_attach_consumer(
        self,
        stream_id: int | str,
        *,
        client_id: int = 0,
        publish_mode: PublishMode = PublishMode.REQUIRE_EXISTING,
        desired_node_id: int | None = None,
        options: ConsumerOptions | None = None,
        spin: bool = False,
        on_active: Callable[[], object] | None = None,
        on_unmapped: Callable[[str], object] | None = None,
        on_shutdown: Callable[[], object] | None = None,
        on_refused: Callable[[int, str], object] | None = None,
        on_fallback: Callable[[str], object] | None = None,
        on_progress: Callable[[ProgressUpdate], object] | None = None,
        on_metadata: Callable[[SourceMetadata], object] | None = None,
        on_blob: Callable[[Blob], object] | None = None,
        **wishes: Unpack[ConsumerOptionFields],
    ) -> Consumer:
        """Begin to attach as `consumer` does, and return at once; see `poll_ready()`."""
        self._check_open()
        if options is None:
            options = ConsumerOptions(**wishes)
        elif wishes:
            options = msgspec.structs.replace(options, **wishes)
        number, name = _id_or_name(stream_id)
        attachment = ConsumerAttachment(
            self._conductor,
            stream_id=number,
            stream_name=name,
            client_id=client_id,
            publish_mode=publish_mode,
            desired_node_id=desired_node_id,
            options=options,
        )
        consumer = Consumer(self, attachment, spin=spin)
        consumer._set_callbacks(
            on_active=on_active,
            on_unmapped=on_unmapped,
            on_shutdown=on_shutdown,
            on_refused=on_refused,
            on_fallback=on_fallback,
            on_progress=on_progress,
            on_metadata=on_metadata,
            on_blob=on_blob,
        )
        self._begin(attachment, consumer, attachment.serve)
        return consumer

    # Streams by name

    def streams(
        self,
        pattern: str | None = None,
        *,
        tags: Collection[str] = (),
        timeout: float = 1.0,
    ) -> list[StreamInfo]:
        """Return the streams of the pool by ascending id (S-022).

        `pattern` is that of `fnmatch` and applies to names; all `tags` must be there. The driver
        answers; from one that does not, announces and metadata are collected for a little more
        than an announce period, at most `timeout` s beyond that. Raises AttachTimeoutError if
        nothing answers.

        >>> pool.streams("camera/*", tags=["calibrated"])  # doctest: +SKIP
        [StreamInfo(stream_id=10000, name='camera/left', ...)]
        """
        self._check_open()
        wanted = frozenset([tags] if isinstance(tags, str) else tags)
        answer: list[list[StreamInfo]] = []
        self._conductor.request(lambda: self._conductor.directory.ask(answer.append))
        listening_s = 0.5 + 1.1 * self.config.announce_period
        deadline_ns = self.clock.monotonic_ns() + ns(timeout + listening_s)
        while not answer:
            if self.clock.monotonic_ns() >= deadline_ns:
                raise AttachTimeoutError(
                    f"no answer which streams there are within {timeout + listening_s:g} s on"
                    f" {self.config.control_channel} stream {self.config.control_stream_id}; is"
                    " `tensor-pool driver` running?"
                )
            self.run_once()
        return [info for info in answer[0] if matches(info, pattern, wanted)]

    def watch_streams(
        self,
        pattern: str | None = None,
        *,
        tags: Collection[str] = (),
        max_pending: int = 1000,
    ) -> StreamChanges:
        """Iterate over streams that come, change and go (S-042); first those that are there.

        It listens to announces and metadata, so names of the configuration do not show. At most
        `max_pending` changes wait, then the oldest are dropped and counted as `missed`.

        >>> with pool.watch_streams("camera/*") as changes:  # doctest: +SKIP
        ...     for change in changes:
        ...         print(change)
        """
        self._check_open()
        directory = self._conductor.directory

        def run_once() -> None:
            self._check_open()
            if self.is_threaded:
                changes.wait()
            else:
                self.run_once()

        def end(changes: StreamChanges) -> None:
            if not self._closed:
                self._conductor.request(lambda: directory.remove_listener(changes))

        changes = StreamChanges(
            pattern,
            frozenset([tags] if isinstance(tags, str) else tags),
            max_pending=max_pending,
            run_once=run_once,
            end=end,
        )
        self._conductor.request(lambda: directory.add_listener(changes))
        return changes

    def qos(self, limits: QosLimits | None = None) -> QosMonitor:
        """Watch rate, lag, drops and state of every producer and consumer (S-050).

        Reports come once per QoS interval. A rate needs two of them. `limits` are those of the
        states Dropping and Lagging. Takes no lease, sends nothing.

        >>> with pool.qos() as qos:  # doctest: +SKIP
        ...     time.sleep(2.5)
        ...     for stream in qos.snapshot().streams:
        ...         print(stream.stream_id, stream.producer, stream.consumers)
        """
        from .qos.monitor import QosMonitor  # here and below: few programs need it

        self._check_open()

        def end(monitor: QosMonitor) -> None:
            if not self._closed:
                self._conductor.request(lambda: self._conductor.remove_monitor(monitor))

        monitor = QosMonitor(limits=limits, interval=self.config.qos_interval, end=end)
        self._conductor.request(lambda: self._conductor.add_monitor(monitor))
        return monitor

    def synchronize(
        self,
        *inputs: Consumer | int | str,
        by: Rule,
        reference: int = 0,
        offsets: Sequence[float] | None = None,
        tolerance: float = 0.0,
        required: Sequence[bool] | None = None,
        max_wait: float = 0.1,
        stale_after: float | None = None,
        queue: int = 10,
        reuse: bool = False,
        copy: bool = False,
        source: Timestamps = "slot",
    ) -> Synchronizer:
        """Yield sets of frames that belong together, one of each input (S-100).

        `inputs` are consumers, names or ids; consumers that are opened here are closed with the
        synchronizer. The unit of `offsets` is frames by "seq", seconds otherwise. `tolerance`,
        `max_wait` and `stale_after` are seconds.

        - "seq": frames with equal `seq - offset` (S-110);
        - "timestamp": for each frame of input `reference`, the nearest in time of every other
          input, within `tolerance` of the time plus the offset (S-111);
        - "latest": each frame of the reference with the newest of the others (S-113).

        A set is waited for at most `max_wait`; an input that is not `required` may be missing. At
        most `queue` frames of an input wait, and at most half its slots. With `reuse` a frame may
        be in several sets. With `copy` frames are copied when they come. `source` is the capture
        time in the slot, or the time in the descriptor.

        Raises as `consumer`, and ConfigError.

        >>> with pool.synchronize(
        ...     "camera/left", "camera/right", by="timestamp", tolerance=0.004
        ... ) as pairs:  # doctest: +SKIP
        ...     for left, right in pairs:
        ...         disparity(left.array, right.array)
        """
        from .synchronizer.synchronizer import Synchronizer

        opened: list[Consumer] = []
        consumers: list[Consumer] = []
        names: list[str] = []
        try:
            for each in inputs:
                if isinstance(each, Consumer):
                    consumers.append(each)
                    names.append(each.label)
                    continue
                consumers.append(self.consumer(each))
                opened.append(consumers[-1])
                names.append(str(each))
            return Synchronizer(
                self,
                consumers,
                _distinct(names),
                by=by,
                reference=reference,
                offsets=offsets,
                tolerance=tolerance,
                required=required,
                max_wait=max_wait,
                stale_after=stale_after,
                queue=queue,
                reuse=reuse,
                copy=copy,
                source=source,
                opened=opened,
            )
        except BaseException:
            for consumer in opened:
                consumer.close()
            raise

    def _begin(self, attachment: Attachment, handle: Handle, serve: Callable[[], None]) -> None:
        if any(a.client_id == attachment.client_id for a in list(self._handles)):
            raise ConfigError(
                f"client_id: {attachment.client_id} is used by another handle of this client"
            )
        attachment.request(attachment.begin_attach)
        self._conductor.add(attachment, serve)
        self._handles[attachment] = handle
        self._conductor.wake()

    # What handles need

    def run_once(self, idle: Callable[[], object] | None = None) -> None:
        """One round of a blocking call."""
        if self._conductor.is_running_here:
            raise ConcurrentUseError(
                "a call that waits for the driver cannot be made from within a callback: it would"
                " wait for itself"
            )
        worked = False
        if not self.is_threaded:
            worked = bool(self.do_work())
        if idle is not None:
            idle()
        elif not worked:
            self._idle()

    def _do_work_while_waiting(self) -> None:
        if not self._conductor.is_running_here:
            self.do_work()

    def _wake(self) -> None:
        self._conductor.wake()

    def _begin_close_handle(self, handle: Handle) -> None:
        attachment = handle._attachment
        attachment.request(attachment.begin_close)
        self._handles.pop(attachment, None)

    def _close_handle(self, handle: Handle) -> None:
        attachment = handle._attachment
        if attachment.finished.is_set() or attachment not in self._handles:
            self._handles.pop(attachment, None)
            return
        attachment.request(attachment.begin_close)
        if self._conductor.is_running_here:
            self._handles.pop(attachment, None)
            return
        deadline_ns = self._expect_end(attachment)
        while not attachment.finished.is_set() and self.clock.monotonic_ns() < deadline_ns:
            if self.is_threaded:
                attachment.finished.wait(0.01)
            else:
                try:
                    self.run_once()
                except TensorPoolError as error:
                    _log.info("while closing stream %d: %s", attachment.stream_id, error)
                    break
        self._handles.pop(attachment, None)

    def _expect_end(self, attachment: Attachment) -> int:
        """The time until which the end of a closed attachment is waited for, monotonic ns."""
        if attachment.closing_deadline_ns is None:
            attempts_s = self.config.detach_timeout * self.config.detach_attempts
            attachment.closing_deadline_ns = self.clock.monotonic_ns() + ns(attempts_s + 1.0)
        return attachment.closing_deadline_ns

    def _fail(self, error: TransportError) -> None:
        """The transport is lost for good: every handle is closed (C-121)."""
        for handle in self._handles.values():
            handle._closed = True
            handle.closed_because = error
        self._handles.clear()

    def _leave_in_a_hurry(self) -> None:
        """At interpreter exit: one detach for each lease, no waiting (C-116)."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        if self._thread is not None:
            self._thread.stop()
        with contextlib.suppress(Exception):
            for attachment in list(self._handles):
                attachment.begin_close()
                attachment.finish()
        self._conductor.close()

    def _disown(self) -> None:
        for handle in self._handles.values():
            disown_after_fork(handle)
        disown_after_fork(self)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("this client is closed")

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Client cannot be pickled: connect anew in the other process")


def connect_aeron(config: ClientConfig, clock: Clock | None = None) -> Transport:
    """A transport on the configured media driver; raises TransportError if there is none."""
    return AeronTransport.connect(
        config.aeron_dir, clock, driver_timeout_ms=round(config.media_driver_timeout * 1000)
    )


def _nothing() -> None:
    """Do nothing."""


def _id_or_name(stream: int | str) -> tuple[int, str]:
    """Return the id and "", or 0 and the name. Raises ConfigError."""
    checked = checked_stream(stream)
    return (0, checked) if isinstance(checked, str) else (checked, "")


def _distinct(names: list[str]) -> list[str]:
    """Return the names, with the place added to those that occur twice."""
    return [
        name if names.count(name) == 1 else f"{name} [{place}]" for place, name in enumerate(names)
    ]


def _program_name() -> str:
    program = Path(sys.argv[0]) if sys.argv and sys.argv[0] not in ("", "-", "-c") else None
    if program is None:
        return "python"
    return program.parent.name if program.name == "__main__.py" else program.name
