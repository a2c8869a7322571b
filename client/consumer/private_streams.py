"""The per-consumer streams that a consumer was assigned (C-098, W-164)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.ports import FragmentHandler, Subscription

from .receiver import Receiver

__all__ = ["NO_STREAM", "AssignedStreams"]

type _Address = tuple[str, int]

NO_STREAM: _Address = ("", 0)


class AssignedStreams:
    """Moves a receiver between the shared and a private descriptor stream, and keeps the
    subscription to a private control stream.

    The same assignment again changes nothing. One that cannot be subscribed is reported by `failed`
    and leaves the consumer where it was.
    """

    def __init__(
        self,
        receiver: Receiver,
        *,
        subscribe: Callable[[str, int], Subscription],
        subscribe_shared: Callable[[], Subscription],
        failed: Callable[[_Address, TransportError], None],
    ) -> None:
        self.descriptor = NO_STREAM
        self.control = NO_STREAM
        self._receiver = receiver
        self._subscribe = subscribe
        self._subscribe_shared = subscribe_shared
        self._failed = failed
        self._control_subscription: Subscription | None = None

    def assign_descriptor(self, address: _Address) -> None:
        """Read descriptors there from now on; NO_STREAM is the shared stream."""
        if address == self.descriptor:
            return
        private = address != NO_STREAM
        try:
            subscription = self._subscribe(*address) if private else self._subscribe_shared()
        except TransportError as error:
            self._failed(address, error)
            return
        self.descriptor = address
        self._receiver.switch(subscription, private=private)

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

    def poll(self, handler: FragmentHandler, fragment_limit: int) -> int:
        """Poll the private control stream, if there is one."""
        if self._control_subscription is None:
            return 0
        return self._control_subscription.poll(handler, fragment_limit)

    def leave(self) -> None:
        """Back to the shared streams, as after a lost lease."""
        with contextlib.suppress(TransportError):
            self.assign_descriptor(NO_STREAM)
        self.forget()

    def forget(self) -> None:
        """The assignments are void; the receiver is stopped or started anew by the caller."""
        self.descriptor = NO_STREAM
        self.control = NO_STREAM
        self._exchange_control(None)

    def _exchange_control(self, subscription: Subscription | None) -> None:
        previous, self._control_subscription = self._control_subscription, subscription
        if previous is not None:
            previous.close()
