"""Frames between hosts: streams of one pool carried into the pool of another over Aeron UDP.

The sending half is a consumer of the source stream, the receiving half a producer of the far
stream; both talk to their own driver through the client library and to nothing else.
"""

from .core.bridge import Bridge
from .settings import (
    BridgeSettings,
    CrcPolicy,
    ReceiveLink,
    ReceiveStream,
    SendLink,
    SendStream,
    SequencePolicy,
    TimestampPolicy,
)

__all__ = [
    "Bridge",
    "BridgeSettings",
    "CrcPolicy",
    "ReceiveLink",
    "ReceiveStream",
    "SendLink",
    "SendStream",
    "SequencePolicy",
    "TimestampPolicy",
]
