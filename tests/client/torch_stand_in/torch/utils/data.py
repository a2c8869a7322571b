"""Datasets that are iterated in worker processes, each with a number."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

_END = "end of this worker's items"
_worker: SimpleNamespace | None = None


class IterableDataset:
    """The base class of a dataset that yields its items."""


def get_worker_info() -> SimpleNamespace | None:
    """Return the number of this worker and of all; None outside of one."""
    return _worker


class DataLoader:
    """Yields what the workers yield, one item at a time."""

    def __init__(
        self,
        dataset: IterableDataset,
        *,
        batch_size: None,
        num_workers: int = 0,
        multiprocessing_context: str | None = None,
    ) -> None:
        self._dataset = dataset
        self._count = num_workers
        self._context = multiprocessing.get_context(multiprocessing_context)

    def __iter__(self) -> Iterator[Any]:
        if not self._count:
            yield from self._dataset  # type: ignore[misc]
            return
        items = self._context.Queue()
        workers = [
            self._context.Process(target=_run, args=(self._dataset, number, self._count, items))
            for number in range(self._count)
        ]
        for worker in workers:
            worker.start()
        left = self._count
        while left:
            item = items.get()
            if isinstance(item, str):
                left -= 1
            else:
                yield item
        for worker in workers:
            worker.join()


def _run(dataset: Any, number: int, count: int, items: Any) -> None:
    global _worker
    _worker = SimpleNamespace(id=number, num_workers=count)
    try:
        for item in dataset:
            items.put(item)
    finally:
        items.put(_END)
