"""Datasets that are iterated in worker processes, each with a number."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

_END = "end of this worker's items"
_worker: SimpleNamespace | None = None


class IterableDataset:
    """The base class of a dataset that yields its items."""


def get_worker_info() -> SimpleNamespace | None:
    """Return the number of this worker and of all; None outside of one."""
    return _worker


class DataLoader:
    """Yields what the workers yield, one item at a time or stacked in batches."""

    def __init__(
        self,
        dataset: IterableDataset,
        *,
        batch_size: int | None,
        num_workers: int = 0,
        multiprocessing_context: str | None = None,
    ) -> None:
        self._dataset = dataset
        self._batch_size = batch_size
        self._count = num_workers
        self._context = multiprocessing.get_context(multiprocessing_context)

    def __iter__(self) -> Iterator[Any]:
        if not self._count:
            yield from _batches(self._dataset, self._batch_size)
            return
        items = self._context.Queue()
        workers = [
            self._context.Process(
                target=_run, args=(self._dataset, self._batch_size, number, self._count, items)
            )
            for number in range(self._count)
        ]
        for worker in workers:
            worker.start()
        left = self._count
        try:
            while left:
                item = items.get()
                if isinstance(item, str):
                    left -= 1
                else:
                    yield item
        finally:
            for worker in workers:
                if left:
                    worker.terminate()
                worker.join()


def _batches(dataset: Any, size: int | None) -> Iterator[Any]:
    if size is None:
        yield from dataset
    else:
        yield from (np.stack(batch) for batch in itertools.batched(dataset, size))


def _run(dataset: Any, batch_size: int | None, number: int, count: int, items: Any) -> None:
    global _worker
    _worker = SimpleNamespace(id=number, num_workers=count)
    try:
        for item in _batches(dataset, batch_size):
            items.put(item)
    finally:
        items.put(_END)
