"""Frames of a stream as a dataset of PyTorch, each in one worker of a DataLoader.

Import it by its name, `tensor_pool.client.torch`: the rest of the library does without torch.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Unpack

try:
    import torch
    from torch.utils.data import IterableDataset, get_worker_info
except ImportError as error:
    raise ImportError(
        "tensor_pool.client.torch needs the package torch of the extra torch: pip install torch"
    ) from error

from tensor_pool.protocol.errors import FrameOverwrittenError, StaleFrameError

from .config import ClientSettings
from .connecting import connect
from .consumer.consumer import Consumer
from .consumer.frame import Frame

__all__ = ["FrameDataset", "frame_tensor"]

_LOOK_S = 1.0  # between two looks whether the loader's process lives


def frame_tensor(frame: Frame) -> Any:
    """Return the frame as a tensor of its own: one checked copy, and DLPack without another."""
    return torch.from_dlpack(frame.copy())


class FrameDataset(IterableDataset):  # type: ignore[misc, unused-ignore]
    """The frames of a stream, shared out among the workers of a DataLoader by sequence number.

    Each worker has a client and a consumer of its own, and no frame reaches two of them (C-113).
    `transform` makes an item of a frame, by default `frame_tensor`. Its result must be data of its
    own, and with the start method `spawn` it must be a function of a module. Frames that are
    overwritten meanwhile are left out, so the loop is as current as it is fast.

    `timeout` ends the dataset when no frame came for so many seconds; None waits as long as the
    loader's process lives. `consumer` has keyword arguments of `Client.consumer`, `wait` is that
    of `connect`, and `settings` are fields of ClientConfig.

    >>> loader = DataLoader(  # doctest: +SKIP
    ...     FrameDataset("camera/left"), batch_size=8, num_workers=2,
    ...     multiprocessing_context="spawn",
    ... )
    """

    def __init__(
        self,
        stream: int | str,
        *,
        transform: Callable[[Frame], Any] = frame_tensor,
        timeout: float | None = None,
        wait: float = 30.0,
        consumer: Mapping[str, Any] | None = None,
        **settings: Unpack[ClientSettings],
    ) -> None:
        super().__init__()
        self._stream = stream
        self._transform = transform
        self._timeout = timeout
        self._wait = wait
        self._consumer = dict(consumer or {})
        self._settings = settings

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, count = (0, 1) if info is None else (info.id, info.num_workers)
        with (
            connect(wait=self._wait, **self._settings) as pool,
            pool.consumer(self._stream, **self._consumer) as frames,
        ):
            while (frame := self._next(frames)) is not None:
                if frame.seq % count != worker:
                    continue
                try:
                    item = self._transform(frame)
                except (FrameOverwrittenError, StaleFrameError):
                    continue
                if frame.valid:
                    yield item

    def _next(self, frames: Consumer) -> Frame | None:
        if self._timeout is not None:
            return frames.receive(self._timeout)
        loader = multiprocessing.parent_process()
        while (frame := frames.receive(_LOOK_S)) is None:
            if loader is not None and not loader.is_alive():
                return None
        return frame
