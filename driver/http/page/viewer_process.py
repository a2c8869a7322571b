"""Starting, instructing and ending the page's client (`viewer.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterable

import msgspec

from tensor_pool.client.config import ClientConfig

__all__ = ["Viewer", "ViewerProcess"]

_RESTART_S = 2.0
_END_S = 2.0
_LINE_LIMIT_BYTES = 4 << 20

_log = logging.getLogger(__name__)


class Viewer:
    """Looks into the frames of streams and hands messages to `heard`; this one sees nothing.

    `open()` and `close()` may alternate; `look_at()` sets the streams from now on.
    """

    def open(self, heard: Callable[[dict[str, object]], None]) -> None:
        """Begin to look."""

    def look_at(self, stream_ids: Iterable[int]) -> None:
        """Only these streams from now on."""

    def ask_pixels(self, stream_id: int) -> None:
        """Hand over one whole frame of a stream that is looked at, with its values."""

    async def close(self) -> None:
        """Look no more; returns when nothing is left of it."""


class ViewerProcess(Viewer):
    """A child process, started anew when it dies."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._streams: frozenset[int] = frozenset()
        self._stdin: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self, heard: Callable[[dict[str, object]], None]) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._keep_running(heard), name="viewer")

    def look_at(self, stream_ids: Iterable[int]) -> None:
        wanted = frozenset(stream_ids)
        if wanted != self._streams:
            self._streams = wanted
            self._tell()

    def ask_pixels(self, stream_id: int) -> None:
        self._write({"pixels": stream_id})

    async def close(self) -> None:
        task, self._task = self._task, None
        self._streams = frozenset()
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _keep_running(self, heard: Callable[[dict[str, object]], None]) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._run_once(heard)
            except (OSError, asyncio.IncompleteReadError) as error:
                _log.warning("the page's client has ended or cannot be started: %s", error)
            await asyncio.sleep(max(0.0, began + _RESTART_S - time.monotonic()))

    async def _run_once(self, heard: Callable[[dict[str, object]], None]) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # what lies in the current directory must not stand in for a module
            "-m",
            f"{__package__}.viewer",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT_BYTES,
            start_new_session=True,  # a Ctrl-C is the driver's; this one ends with its stdin
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(self._config) + b"\n")
            self._stdin = process.stdin
            self._tell()
            async for line in process.stdout:
                message = msgspec.json.decode(line)
                if size := message.pop("body_bytes", 0):
                    message["body"] = await process.stdout.readexactly(size)
                heard(message)
            _log.info("the page's client has ended")
        finally:
            self._stdin = None
            await _end(process)

    def _tell(self) -> None:
        self._write({"streams": sorted(self._streams)})

    def _write(self, wish: object) -> None:
        if self._stdin is not None and not self._stdin.is_closing():
            self._stdin.write(msgspec.json.encode(wish) + b"\n")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close its stdin, at which it returns its leases; kill it if that takes too long."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(_END_S):
            while await process.stdout.read(1 << 16):  # or it may wait for room in the pipe
                pass
            await process.wait()
    except (TimeoutError, asyncio.CancelledError) as error:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if isinstance(error, asyncio.CancelledError):
            raise
