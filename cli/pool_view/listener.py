"""Listen to a pool without slowing it down, and test that its driver answers."""

from __future__ import annotations

import secrets
import time

from tensor_pool.client.config import ClientConfig
from tensor_pool.protocol.transport.channel import untethered
from tensor_pool.protocol.transport.ports import OfferResult, Publication, Transport
from tensor_pool.protocol.wire import (
    Role,
    ShmDetachRequest,
    ShmDriverShutdownRequest,
    ShutdownReason,
    WireError,
    decode,
    encode,
)

from ..support.exit_status import CommandError
from ..support.signals import Stop
from .heard import Observation

__all__ = ["Observer"]

_FRAGMENT_LIMIT = 256
_MESSAGES_PER_POLL = 4096
_CONNECT_PATIENCE_S = 2.0
_ASK_AGAIN_S = 0.3
_PAUSE_S = 0.0001


class Observer:
    """Subscriptions to all streams of a pool; `poll()` folds what came into `observation`.

    They are untethered: when this process is stopped or slow, the media driver lets it miss
    messages, and publishers go on.
    """

    def __init__(self, transport: Transport, config: ClientConfig, *, forget_after_ns: int) -> None:
        self._transport = transport
        self._config = config
        self.observation = Observation(forget_after_ns)
        self._publication: Publication | None = None
        streams = {
            (config.control_channel, config.control_stream_id),
            (config.announce_channel, config.announce_stream_id),
            (config.qos_channel, config.qos_stream_id),
            (config.metadata_channel, config.metadata_stream_id),
        }
        self._subscriptions = [
            transport.add_subscription(untethered(channel), stream_id)
            for channel, stream_id in sorted(streams)
        ]

    def poll(self) -> int:
        """Take what has arrived; how many messages there were."""
        if (error := self._transport_error()) is not None:
            raise CommandError(error)
        taken = 0
        for subscription in self._subscriptions:
            of_this = 0
            while of_this < _MESSAGES_PER_POLL:
                count = subscription.poll(self._on_message, _FRAGMENT_LIMIT)
                of_this += count
                if count < _FRAGMENT_LIMIT:
                    break
            taken += of_this
        now_ns = time.monotonic_ns()
        self.observation.forget_the_silent(now_ns)
        return taken

    def ask_for_a_sign_of_life(self, timeout_s: float, stop: Stop) -> float | None:
        """Return the round trip of a request in ms; None if no driver answers or a signal came.

        The question is one that every driver answers and that changes nothing: a detach of a lease
        that does not exist. It is asked again and again, since the way back from the driver may not
        be there yet when a process has just come.
        """
        answers = self.observation.answers
        asked: dict[int, int] = {}
        now = time.monotonic()
        deadline, ask_due = now + timeout_s, now
        while now < deadline and not stop.requested:
            if now >= ask_due:
                ask_due = now + _ASK_AGAIN_S
                correlation_id = secrets.randbits(62) + 1
                asked[correlation_id] = self._send(encode(_empty_question(correlation_id)))
            if not self.poll():
                time.sleep(_PAUSE_S)
            for correlation_id, asked_ns in asked.items():
                if correlation_id in answers:
                    round_trip_ms = (answers[correlation_id] - asked_ns) / 1e6
                    answers.clear()
                    return round_trip_ms
            now = time.monotonic()
        return None

    def request_shutdown(self, token: str, reason: ShutdownReason, text: str) -> None:
        """Ask the driver to stop (D-143); it answers by its shutdown notice or not at all."""
        self._send(
            encode(
                ShmDriverShutdownRequest(
                    correlation_id=secrets.randbits(62) + 1,
                    reason=reason,
                    token=token,
                    error_message=text,
                )
            )
        )

    def _send(self, message: bytes) -> int:
        """Send on the control stream; returns when."""
        config = self._config
        if self._publication is None:
            self._publication = self._transport.add_publication(
                config.control_channel, config.control_stream_id
            )
        deadline = time.monotonic() + _CONNECT_PATIENCE_S
        # Our own subscription connects it, so this succeeds also where no driver runs.
        while True:
            sent_ns = time.monotonic_ns()
            result = self._publication.offer(message)
            if result is OfferResult.ACCEPTED:
                return sent_ns
            if time.monotonic() > deadline:
                raise CommandError(
                    f"the control channel {config.control_channel} stream"
                    f" {config.control_stream_id} takes no message ({result.value})"
                )
            self.poll()
            time.sleep(0.002)

    def _on_message(self, view: memoryview) -> None:
        try:
            message = decode(view, raw_enums=True)
        except WireError:  # not a message of the pool, or of a version to come
            return
        self.observation.hear(message, time.monotonic_ns())

    def _transport_error(self) -> str | None:
        if not self._transport.is_closed:
            return None
        return f"the media driver is gone: {self._transport.error or 'transport closed'}"


def _empty_question(correlation_id: int) -> ShmDetachRequest:
    return ShmDetachRequest(
        correlation_id=correlation_id,
        lease_id=secrets.randbits(62) + 1,
        stream_id=1,
        client_id=secrets.randbelow(2**32 - 2) + 1,
        role=Role.CONSUMER,
    )
