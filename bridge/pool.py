"""The pool side: consumers and producers of this host's client library (B-001)."""

from __future__ import annotations

from collections.abc import Callable

from tensor_pool.client.client import Client
from tensor_pool.client.consumer.consumer import Consumer
from tensor_pool.client.producer.producer import Producer

from .core.ports import Sink

__all__ = ["ClientPool"]


class ClientPool:
    """See the port Pool."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def source(self, stream_id: int) -> Consumer:
        """A consumer that asks for a descriptor stream of its own (B-040).

        Where the driver has none to give it reads the shared one untethered.
        """
        return self._client.begin_attach_consumer(
            stream_id, descriptor_channel=self._client.config.descriptor_channel, tether=False
        )

    def sink(
        self,
        stream_id: int,
        *,
        on_ready: Callable[[], object],
        on_lost: Callable[[str], object],
        on_refused: Callable[[int, str], object],
    ) -> Sink:
        """A producer of a stream that is created if it has to be (B-081)."""
        producer: Producer = self._client.begin_attach_producer(
            stream_id,
            on_active=on_ready,
            on_paused=on_lost,
            on_shutdown=lambda: on_lost("driver shutdown"),
            on_refused=on_refused,
        )
        return producer
