"""`Handle`, the base class of Producer and Consumer, and the lock that keeps other threads out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, Protocol, Self

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.errors import ClosedError, ConcurrentUseError, ForkedProcessError

from .attachment.attachment import Attachment

__all__ = ["Handle", "HandleClient", "HandleLock", "disown_after_fork"]


_ATTEMPTS = 3
_PAUSE_S = 50e-6
_CLOSING_PATIENCE_S = 0.1
_nothing: Callable[[], object] = [].pop  # what there is to take while the conductor is in or waits


class HandleLock:
    """Keeps a second thread out of a handle, and the conductor out while a thread is in it.

    A thread gets an error if another thread has it (C-112). The conductor, which only comes to
    exchange a mapping or to close a publication, waits its turn, and threads wait for it.

    The thread that pops the one item of a list has the handle. A lock would be a locked
    instruction on the way in and one on the way out, each of which waits until all stores to
    shared memory have left the processor: a tenth of the cost of a small frame.
    """

    __slots__ = ("_conductors", "_is_entered", "_items", "give", "gives_up", "take")

    def __init__(self) -> None:
        self._items = [True]
        self._is_entered = False  # by the conductor
        self.gives_up = False  # the handle is closed: the conductor waits no longer than a moment
        self._conductors = threading.Lock()
        self.take: Callable[[], object] = self._items.pop  # raises IndexError if a thread has it
        self.give = self._items.append  # True, to let the next one in

    def enter(self, what: str) -> None:
        """Take it, when the conductor is done; ConcurrentUseError if another thread is in."""
        for _ in range(_ATTEMPTS):
            while self.take is _nothing:
                time.sleep(_PAUSE_S)
            try:
                self.take()
            except IndexError:
                continue
            except BaseException:  # Ctrl-C, on the way in
                self.give(True)
                raise
            return
        raise ConcurrentUseError(
            f"{what} is in use by another thread; use one handle per thread, or a lock"
        )

    def leave(self) -> None:
        """Let the next one in."""
        self.give(True)

    def __enter__(self) -> Self:
        """The conductor's way in: no thread comes in from now on.

        The thread that is in may be the one that closes the handle, in a signal handler: it cannot
        go on before the closing ends. So the conductor of a closed handle stops waiting for it.
        """
        self._conductors.acquire()
        self.take = _nothing
        waited_s = 0.0
        while True:
            try:
                self._items.pop()
            except IndexError:
                if self.gives_up and waited_s > _CLOSING_PATIENCE_S:
                    self._is_entered = False
                    return self
                time.sleep(_PAUSE_S)
                waited_s += _PAUSE_S
            else:
                self._is_entered = True
                return self

    def __exit__(self, *_: object) -> None:
        if self._is_entered:
            self.give(True)
        self.take = self._items.pop
        self._conductors.release()


class HandleClient(Protocol):
    """The client of a handle, as far as handles use it."""

    @property
    def clock(self) -> Clock: ...

    @property
    def is_threaded(self) -> bool: ...

    def do_work(self) -> int: ...

    def _do_work_while_waiting(self) -> None: ...

    def _wake(self) -> None: ...

    def run_once(self, idle: Callable[[], object] | None = None) -> None: ...

    def _close_handle(self, handle: Handle) -> None: ...

    def _begin_close_handle(self, handle: Handle) -> None: ...


class Handle:
    """A live attachment as the application holds it; close it, or use it in a `with` block."""

    _attachment: Attachment

    def __init__(self, client: HandleClient, attachment: Attachment) -> None:
        self._client = client
        self._attachment = attachment
        self._closed = False
        self.closed_because: Exception | None = None

    @property
    def stream_id(self) -> int:
        """The tensor stream; where 0 was asked for, the one the driver chose."""
        return self._attachment.stream_id

    @property
    def label(self) -> str:
        """The name that the stream was attached by, or its id."""
        return self._attachment.connection.stream_name or str(self.stream_id)

    @property
    def client_id(self) -> int:
        """The id of this attachment on the wire."""
        return self._attachment.client_id

    @property
    def state(self) -> str:
        """State of the producer or consumer machine: "Active", "Mapped", "Paused", ..."""
        return self._attachment.machine.current.name

    @property
    def connection_state(self) -> str:
        """State of the connection to the driver: "Attached", "Backoff", ..."""
        return self._attachment.connection.current.name

    @property
    def last_error(self) -> Exception | None:
        """The latest background trouble: a refusal, a lost lease, regions that do not map."""
        return self._attachment.last_error

    @property
    def closed(self) -> bool:
        """True if `close()` was called, or the client was closed."""
        return self._closed

    def poll_ready(self) -> bool:
        """Return whether the attach is complete: regions mapped and the lease live (C-030)."""
        self._check_open()
        return self._attachment.is_ready

    def metrics(self) -> dict[str, int]:
        """All counters by name (C-122); `attachment/counter_names.py` has the names."""
        self._check_open()
        return self._attachment.metrics()

    def close(self) -> None:
        """Stop use, return the lease, forget everything; may be called again, from any thread.

        From within a callback it only starts the closing.
        """
        self._closed = True
        self._give_up_waiting()
        self._client._close_handle(self)

    def begin_close(self) -> None:
        """Do as `close`, but return at once; `is_finished` is true once the lease is back."""
        if not self._closed:
            self._closed = True
            self._client._begin_close_handle(self)

    @property
    def is_finished(self) -> bool:
        """True once the handle is closed and its lease is back."""
        return self._attachment.finished.is_set()

    def _give_up_waiting(self) -> None:
        """Have the conductor not wait for a thread that is in this handle."""

    def _check_open(self) -> None:
        if self._closed:
            because = f": {self.closed_because}" if self.closed_because is not None else ""
            raise ClosedError(f"this {type(self).__name__.lower()} is closed{because}")

    def _set_callbacks(self, **callbacks: Callable[..., object] | None) -> None:
        self._attachment.set_callbacks({k: v for k, v in callbacks.items() if v is not None})

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled: it belongs to this process; attach"
            " again in the other one"
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self.connection_state}/{self.state}"
        return f"<{type(self).__name__} stream_id={self.stream_id} {state}>"


class _OfParent:
    """The class that handles and clients get in a forked child: only closing is harmless."""

    def __getattribute__(self, name: str) -> Any:
        if name in {"close", "__class__", "__dict__", "__enter__", "__exit__", "__init__"}:
            return object.__getattribute__(self, name)
        raise ForkedProcessError(
            f"{name}: this object belongs to the parent process; make a client of your own in the"
            " child (and prefer spawn over fork)"
        )

    def close(self) -> None:
        """Nothing: the parent still uses what this stood for (C-114)."""

    def __enter__(self) -> NoReturn:
        raise ForkedProcessError("this object belongs to the parent process")

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> NoReturn:
        raise ForkedProcessError("this object belongs to the parent process")

    __aiter__ = __iter__

    def __repr__(self) -> str:
        return "<object of the parent process>"


def disown_after_fork(obj: Any) -> None:
    """Make an object of the parent unusable in this child."""
    obj.__dict__.clear()
    obj.__class__ = _OfParent
