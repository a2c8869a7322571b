"""The client for asyncio programs: nothing here blocks the event loop.

>>> from tensor_pool.client import aio
>>> async def show() -> None:  # doctest: +SKIP
...     async with aio.connect(wait=30) as pool, await pool.consumer(10_000) as viewer:
...         while (frame := await viewer.receive(timeout=1.0)) is not None:
...             print(frame.seq)

Attaching and closing run in threads. A wait that is cancelled, or ends at its timeout, takes no
frame. `publish` never waits: use the Producer as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self

from .attach_wait import wait_until_ready
from .client import Client
from .connecting import connect as connect_blocking
from .consumer.consumer import Consumer
from .consumer.frame import Frame
from .handle import Handle
from .producer.producer import Producer

__all__ = ["AsyncClient", "AsyncConsumer", "connect"]


class AsyncConsumer:
    """A consumer whose waits are awaited; `handle` is the Consumer with everything else."""

    def __init__(self, handle: Consumer) -> None:
        self.handle = handle

    async def receive(self, timeout: float | None = None) -> Frame | None:
        """Wait for the next frame, at most `timeout` seconds; None if none came.

        Raises ClosedError once the consumer is closed, ConcurrentUseError if another task waits.
        """
        frame = await self.handle._receive_async(timeout)
        if frame is None:
            self.handle._check_open()
        return frame

    def __aiter__(self) -> AsyncIterator[Frame]:
        """Every frame as it comes; ends when the consumer is closed."""
        return self.handle.__aiter__()

    async def close(self) -> None:
        """Close the consumer; may be called again."""
        await asyncio.to_thread(self.handle.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncClient:
    """A client whose attaching and closing are awaited; enter it by `async with`."""

    def __init__(self, config: Any, settings: dict[str, Any]) -> None:
        self._config = config
        self._settings = settings
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The Client underneath; RuntimeError before `async with`."""
        if self._client is None:
            raise RuntimeError("connect() is to be used by `async with`")
        return self._client

    async def consumer(self, stream_id: int | str, **arguments: Any) -> AsyncConsumer:
        """Become a consumer, as `Client.consumer` does with the same arguments.

        A wait that is cancelled ends the attach.
        """
        return AsyncConsumer(
            await self._attach(self.client.begin_attach_consumer, stream_id, **arguments)
        )

    async def producer(self, stream_id: int | str, **arguments: Any) -> Producer:
        """Become the producer of a stream, as `Client.producer` does with the same arguments."""
        return await self._attach(self.client.begin_attach_producer, stream_id, **arguments)

    async def _attach[H: Handle](
        self,
        begin: Callable[..., H],
        stream_id: int | str,
        *,
        attach_timeout: float | None = None,
        **arguments: Any,
    ) -> H:
        handle = await asyncio.to_thread(begin, stream_id, **arguments)
        try:
            await asyncio.to_thread(wait_until_ready, self.client, handle, attach_timeout, None)
        except asyncio.CancelledError:
            # Ends the wait in its thread, which cannot be cancelled.
            asyncio.get_running_loop().run_in_executor(None, handle.close)
            raise
        return handle

    async def close(self) -> None:
        """Close all handles and leave; may be called again."""
        if self._client is not None:
            await asyncio.to_thread(self._client.close)

    async def __aenter__(self) -> Self:
        self._client = await asyncio.to_thread(connect_blocking, self._config, **self._settings)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.close()


def connect(config: Any = None, **settings: Any) -> AsyncClient:
    """Return a client for `async with`; arguments as of `tensor_pool.client.connect`."""
    return AsyncClient(config, settings)
