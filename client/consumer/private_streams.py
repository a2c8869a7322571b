"""The streams that a consumer was assigned, and the choice of the one it reads (C-098, W-164)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.ports import FragmentHandler, Subscription

from .receiver import Receiver

__all__ = ["NO_STREAM", "AssignedStreams"]

_log = logging.getLogger("tensor_pool.client")

type _Address = tuple[str, int]

NO_STREAM: _Address = ("", 0)


class AssignedStreams:
    """Moves a receiver between the shared and an assigned descriptor stream, and keeps the
    subscription to a private control stream.

    A consumer that reads nothing yet reads the assigned stream at once. One that reads another
    stream leaves it when the assigned one has a publisher. When the assigned one has none although
    frames are published, as by a producer that does not know it, the consumer reads the shared
    stream until it has, and `unserved` is called once. The same assignment again changes nothing.
    One that cannot be subscribed is reported by `failed` and leaves the consumer where it was.

    An assignment is confirmed by an answer under the present lease only. The driver of an earlier
    lease may be gone, and its successor may have given the number to another tensor stream.
    """

    def __init__(
        self,
        receiver: Receiver,
        *,
        subscribe: Callable[[str, int], Subscription],
        subscribe_shared: Callable[[], Subscription],
        failed: Callable[[_Address, TransportError], None],
        unserved: Callable[[], None],
    ) -> None:
        self.descriptor = NO_STREAM
        self.control = NO_STREAM
        self.is_private = False  # the descriptor stream is read by this consumer alone
        self._receiver = receiver
        self._subscribe = subscribe
        self._subscribe_shared = subscribe_shared
        self._failed = failed
        self._unserved = unserved
        self._reading: Subscription | None = None  # what the receiver reads, or is about to read
        self._reads_shared = False
        self._is_confirmed = False  # the assignment is from the driver of the present lease
        self._awaited: Subscription | None = None  # the assigned one, until it has a publisher
        self._newest_seen: int | None = None
        self._control_subscription: Subscription | None = None

    @property
    def reads_own(self) -> bool:
        """True while the shared stream or one that the present lease's driver named is read."""
        return self._reading is not None and (self._reads_shared or self._is_confirmed)

    def doubt(self) -> None:
        """A new lease: what the driver of an earlier one assigned holds once it is repeated."""
        self._is_confirmed = False
        if self._reads_shared:
            self._drop_awaited()
            self.descriptor = NO_STREAM

    @property
    def is_served(self) -> bool:
        """True while the stream that is read has a publisher."""
        return self._reading is not None and self._reading.is_connected

    def assign_descriptor(self, address: _Address, *, private: bool = True) -> None:
        """Read descriptors there as soon as it has a publisher; NO_STREAM is the shared stream."""
        if address == NO_STREAM:
            self.read_shared()
            return
        if address == self.descriptor:
            self._is_confirmed = True
            return
        try:
            subscription = self._subscribe(*address)
        except TransportError as error:
            self._failed(address, error)
            if not self.reads_own:
                self.read_shared()
            return
        self._drop_awaited()
        reads_own, self._is_confirmed = self.reads_own, True
        self.descriptor = address
        self.is_private = private
        if reads_own:
            self._awaited = subscription
            self.do_work()
        else:
            self._switch(subscription, shared=False)

    def read_shared(self) -> None:
        """Read the shared stream from now on; no other is assigned."""
        self._drop_awaited()
        if not self._reads_shared:
            try:
                subscription = self._subscribe_shared()
            except TransportError as error:
                self._failed(NO_STREAM, error)
                return
            self._switch(subscription, shared=True)
        self.descriptor = NO_STREAM
        self.is_private = False

    def assign_control(self, address: _Address) -> None:
        """Take FrameProgress from there; with NO_STREAM from the shared control stream."""
        if address == self.control:
            return
        subscription: Subscription | None = None
        if address != NO_STREAM:
            try:
                subscription = self._subscribe(*address)
            except TransportError as error:
                self._failed(address, error)
                return
        self.control = address
        self._exchange_control(subscription)

    def do_work(self) -> int:
        """Move to the awaited stream if it has a publisher now."""
        if self._awaited is None or not self._awaited.is_connected:
            return 0
        awaited, self._awaited = self._awaited, None
        self._switch(awaited, shared=False)
        return 1

    def look_for_publisher(self, newest_seq: int | None) -> None:
        """Read the shared stream if frames are published that the assigned one does not carry.

        To be called a few times a second with the newest sequence in the ring, None if unknown.
        """
        seen, self._newest_seen = self._newest_seen, newest_seq
        if (
            self._reading is None
            or self._reads_shared
            or self.descriptor == NO_STREAM
            or self._reading.is_connected
            or seen is None
            or newest_seq is None
            or newest_seq <= seen
        ):
            return
        with contextlib.suppress(TransportError):  # at the next look
            awaited = self._awaited or self._subscribe(*self.descriptor)
            self._awaited = awaited
            self._switch(self._subscribe_shared(), shared=True, was_unserved=True)
            self._unserved()
            _log.info(
                "descriptor stream %d has no publisher; reading the shared one", self.descriptor[1]
            )

    def poll(self, handler: FragmentHandler, fragment_limit: int) -> int:
        """Poll the private control stream, if there is one."""
        if self._control_subscription is None:
            return 0
        return self._control_subscription.poll(handler, fragment_limit)

    def leave(self) -> None:
        """Leave what is this consumer's alone, as after a lost lease.

        A stream that it shares is read on, so that nothing is missed if the lease comes back.
        """
        if self.is_private:
            self.read_shared()
        self.control = NO_STREAM
        self._exchange_control(None)

    def forget(self) -> None:
        """The assignments are void and nothing is read; the caller stops the receiver."""
        self._drop_awaited()
        self._reading = None
        self._reads_shared = self.is_private = self._is_confirmed = False
        self.descriptor = NO_STREAM
        self.control = NO_STREAM
        self._exchange_control(None)

    def _switch(
        self, subscription: Subscription, *, shared: bool, was_unserved: bool = False
    ) -> None:
        self._reading = subscription
        self._reads_shared = shared
        self._newest_seen = None
        self._receiver.switch(
            subscription, private=self.is_private and not shared, was_unserved=was_unserved
        )

    def _drop_awaited(self) -> None:
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited.close()

    def _exchange_control(self, subscription: Subscription | None) -> None:
        previous, self._control_subscription = self._control_subscription, subscription
        if previous is not None:
            previous.close()
