"""The adapter: turns what arrives on the control stream into events, and drops the rest (§4).

The driver shares the stream with every client and receives its own messages. A message is checked
in the order of D-060. A message for others is counted and dropped, whatever its bytes.
"""

from __future__ import annotations

import hmac
import logging
import struct
from collections.abc import Callable
from typing import cast

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.wire import (
    HEADER_BYTES,
    ConsumerHello,
    DataSourceAnnounce,
    DataSourceMeta,
    DiscoveryRequest,
    Message,
    ShmAttachRequest,
    ShmDetachRequest,
    ShmDriverShutdownRequest,
    ShmLeaseKeepalive,
    ShmPoolAnnounce,
    WireError,
    WireProblem,
    attach_refusals,
    decoder_for,
    peek_correlation_id,
)
from tensor_pool.protocol.wire.codec_entry import Codec
from tensor_pool.protocol.wire.generated.catalog import CODECS
from tensor_pool.protocol.wire.header import header_word

from ..core.driver_machine import DriverLifecycle
from ..core.events import DriverEvent, Refusal, Shutdown
from ..core.log_limit import WarningLimit
from ..core.ports import Metrics
from ..core.router import Router
from .outgoing import Proxy

__all__ = ["Adapter"]

LONGEST_CHANNEL_BYTES = 4096
LONGEST_TEXT_BYTES = 1024  # tokens and error texts

UNSUPPORTED_VERSION = Refusal(
    attach_refusals.UNSUPPORTED_VERSION.code,
    attach_refusals.UNSUPPORTED_VERSION.text,
    "the client speaks a newer version of the protocol than this driver",
)

_HANDLED = (
    ShmAttachRequest,
    ShmDetachRequest,
    ShmLeaseKeepalive,
    ShmDriverShutdownRequest,
    ConsumerHello,
    DiscoveryRequest,
)
_KIND = struct.Struct("<HH")
_KIND_BYTES = slice(2, 6)  # template and schema id, where they stand in the header


def _kind_of(codec: Codec) -> bytes:
    header = header_word(0, codec.template_id, codec.schema_id, 0).to_bytes(8, "little")
    return header[_KIND_BYTES]


_KINDS = {codec.kind: _kind_of(codec) for codec in CODECS}
_FOR_US = frozenset(_KINDS[message] for message in _HANDLED)
_FOR_OTHERS = frozenset(_KINDS.values()) - _FOR_US
_OUR_SCHEMAS = frozenset(kind[2:] for kind in _FOR_US)
_ANNOUNCE = _KINDS[ShmPoolAnnounce]
_ATTACH = _KINDS[ShmAttachRequest]
_DISCOVERY = _KINDS[DiscoveryRequest]
_METADATA = frozenset({_KINDS[DataSourceAnnounce], _KINDS[DataSourceMeta]})
_COUNTERS = {
    WireProblem.MALFORMED: "malformed",
    WireProblem.BAD_ENUM: "malformed",
    WireProblem.UNSUPPORTED_VERSION: "unsupported_version",
}

_decode = decoder_for(_HANDLED, raw_enums=True)
_decode_announce = decoder_for([ShmPoolAnnounce])
_decode_metadata = decoder_for([DataSourceAnnounce, DataSourceMeta])
_log = logging.getLogger(__name__)


class Adapter:
    """Handler of the control subscription."""

    def __init__(
        self,
        router: Router,
        lifecycle: DriverLifecycle,
        proxy: Proxy,
        metrics: Metrics,
        clock: Clock,
        shutdown_token: str,
        *,
        answers_discovery: bool = True,
    ) -> None:
        self._router = router
        self._lifecycle = lifecycle
        self._proxy = proxy
        self._metrics = metrics
        self._warnings = WarningLimit(clock)
        self._shutdown_token = shutdown_token.encode()
        self._accused_streams: set[int] = set()
        self._handled = _FOR_US if answers_discovery else _FOR_US - {_DISCOVERY}
        self.requests = 0
        """Messages so far that were not plainly for others."""
        self._handlers: dict[type, Callable[[Message], None]] = {
            ShmLeaseKeepalive: lambda message: router.dispatch(DriverEvent.KEEPALIVE, message),
            ShmAttachRequest: self._on_attach,
            ShmDetachRequest: lambda message: router.dispatch(DriverEvent.DETACH_REQUEST, message),
            ShmDriverShutdownRequest: self._on_shutdown_request,
            ConsumerHello: self._on_hello,
            DiscoveryRequest: lambda message: router.dispatch(
                DriverEvent.DISCOVERY_REQUEST, message
            ),
        }

    def on_fragment(self, buffer: memoryview) -> None:
        """Handle one whole message; never raises."""
        # First, since the driver receives its own answers as often as its clients' requests, and a
        # flood of something else must not cost more than a look at its header.
        kind = bytes(buffer[_KIND_BYTES])
        if kind not in self._handled and len(buffer) >= HEADER_BYTES:
            self._pass_over(kind, buffer)
            return
        self.requests += 1
        try:
            message = _decode(buffer)
        except WireError as error:
            self._drop(buffer, error)
        else:
            self._handlers[type(message)](message)

    def on_side_fragment(self, buffer: memoryview) -> None:
        """Handle one message of the metadata or the discovery stream; never raises (S-031)."""
        kind = bytes(buffer[_KIND_BYTES])
        if kind == _DISCOVERY:
            self.on_fragment(buffer)
        elif kind in _METADATA:
            self._learn(buffer)

    # -- messages for the driver

    def _on_attach(self, message: Message) -> None:
        self._metrics.inc("attach_requests")
        if self._sheds():
            return
        self._router.dispatch(DriverEvent.ATTACH_REQUEST, message)

    def _on_hello(self, message: Message) -> None:
        hello = cast("ConsumerHello", message)
        if max(len(hello.descriptor_channel), len(hello.control_channel)) > LONGEST_CHANNEL_BYTES:
            self._count("malformed", "a channel of a hello is too long")
            return
        self._router.dispatch(DriverEvent.CONSUMER_HELLO, hello)

    def _on_shutdown_request(self, message: Message) -> None:
        """Accept a stop on the wire only with the configured token (D-140)."""
        request = cast("ShmDriverShutdownRequest", message)
        if max(len(request.token), len(request.error_message)) > LONGEST_TEXT_BYTES:
            self._count("malformed", "token or text of a shutdown request is too long")
            return
        given = request.token.encode()
        if not (self._shutdown_token and hmac.compare_digest(given, self._shutdown_token)):
            self._count("shutdown_rejected", "a shutdown request without the configured token")
            return
        shutdown = Shutdown(request.reason, request.error_message)
        self._router.dispatch(DriverEvent.SHUTDOWN_REQUESTED, shutdown)

    # -- everything else

    def _pass_over(self, kind: bytes, buffer: memoryview) -> None:
        """Count a message of a kind that the driver does not handle (D-060)."""
        if kind in _FOR_OTHERS or kind == _DISCOVERY:
            self._metrics.inc("ignored")
            if kind == _ANNOUNCE:
                self._look_for_other_driver(buffer)
            elif kind in _METADATA:
                self._learn(buffer)
        elif kind[2:] in _OUR_SCHEMAS:
            template_id, schema_id = _KIND.unpack(kind)
            self._count("unknown_template", f"template {template_id} of schema {schema_id}")
        else:
            self._metrics.inc("foreign_schema")

    def _drop(self, buffer: memoryview, error: WireError) -> None:
        if error.reason is WireProblem.UNSUPPORTED_VERSION and self._answers_newer_attach(buffer):
            return
        self._count(_COUNTERS[error.reason], error)

    def _answers_newer_attach(self, buffer: memoryview) -> bool:
        """Answer an attach request of a newer schema, if its correlation id can be read (D-061)."""
        if bytes(buffer[_KIND_BYTES]) != _ATTACH:
            return False
        correlation_id = peek_correlation_id(buffer)
        if correlation_id is None or not self._lifecycle.is_in(self._lifecycle.Serving):
            return False
        self._metrics.inc("attach_requests")
        if not self._sheds():
            unknown = ShmAttachRequest(correlation_id, 0, 0, 0, 0)
            self._lifecycle.refuse_attach(unknown, UNSUPPORTED_VERSION)
        return True

    def _sheds(self) -> bool:
        """Return whether an attach request is dropped for want of a way to answer it (D-066)."""
        if not self._proxy.is_full:
            return False
        self._count("attach_shed", "an attach request, since answers cannot be delivered")
        return True

    def _look_for_other_driver(self, buffer: memoryview) -> None:
        """An announce of our stream with an epoch we never gave it comes from another driver."""
        try:
            announce = cast("ShmPoolAnnounce", _decode_announce(buffer))
        except WireError:
            return
        stream = self._lifecycle.streams.get(announce.stream_id)
        if stream is None or stream.has_assigned(announce.epoch):
            return
        self._metrics.inc("foreign_announces")
        if announce.stream_id not in self._accused_streams:
            self._accused_streams.add(announce.stream_id)
            _log.error(
                "another driver announces stream %d; give the drivers different namespaces and"
                " stream ids",
                announce.stream_id,
                extra={"epoch": announce.epoch, "uri": announce.header_region_uri},
            )

    def _learn(self, buffer: memoryview) -> None:
        """Take names and tags; metadata that cannot be decoded is its reader's affair."""
        try:
            message = _decode_metadata(buffer)
        except WireError:
            return
        if isinstance(message, DataSourceAnnounce):
            self._lifecycle.descriptions.on_announce(message)
        elif isinstance(message, DataSourceMeta):
            self._lifecycle.descriptions.on_meta(message)

    def _count(self, counter: str, what: object) -> None:
        self._metrics.inc(counter)
        left_out = self._warnings.admit(counter)
        if left_out is not None:
            _log.warning("dropped: %s", what, extra={"cause": counter, "left_out": left_out})
