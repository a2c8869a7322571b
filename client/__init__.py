"""The client library: publish and receive frames, and what driver and clients share.

>>> from tensor_pool.client import connect
>>> with connect() as pool:  # doctest: +SKIP
...     with pool.producer(stream_id=10_000) as camera:
...         camera.publish(image)

The names below are imported when first used: the driver shares parts of this package and needs
neither the client nor what it loads.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensor_pool.protocol.errors import (
        AttachRejectedError,
        AttachTimeoutError,
        ClosedError,
        ConcurrentUseError,
        ConfigError,
        ForkedProcessError,
        FrameOverwrittenError,
        InvalidFrameError,
        LeaseLostError,
        LoanLimitError,
        ProtocolError,
        ProtocolViolationError,
        ShmError,
        ShmUriError,
        ShmValidationError,
        StaleFrameError,
        StaleLoanError,
        TensorPoolError,
        TransportError,
        UnsupportedPlatformError,
    )
    from tensor_pool.protocol.wire import Dtype, HugepagesPolicy, MajorOrder, Mode, PublishMode

    from .client import Client, connect
    from .config import ClientConfig
    from .consumer.consumer import Consumer
    from .consumer.frame import Frame
    from .consumer.options import ConsumerOptions
    from .consumer.progress import ProgressUpdate
    from .metadata import AttributeValue, SourceMetadata
    from .producer.loan import Loan
    from .producer.payload_layout import FrameHeader
    from .producer.producer import Producer
    from .producer.results import PublishResult, PublishStatus

__all__ = [
    "AttachRejectedError",
    "AttachTimeoutError",
    "AttributeValue",
    "Client",
    "ClientConfig",
    "ClosedError",
    "ConcurrentUseError",
    "ConfigError",
    "Consumer",
    "ConsumerOptions",
    "Dtype",
    "ForkedProcessError",
    "Frame",
    "FrameHeader",
    "FrameOverwrittenError",
    "HugepagesPolicy",
    "InvalidFrameError",
    "LeaseLostError",
    "Loan",
    "LoanLimitError",
    "MajorOrder",
    "Mode",
    "Producer",
    "ProgressUpdate",
    "ProtocolError",
    "ProtocolViolationError",
    "PublishMode",
    "PublishResult",
    "PublishStatus",
    "ShmError",
    "ShmUriError",
    "ShmValidationError",
    "SourceMetadata",
    "StaleFrameError",
    "StaleLoanError",
    "TensorPoolError",
    "TransportError",
    "UnsupportedPlatformError",
    "connect",
]

_MODULES = {
    "AttachRejectedError": "tensor_pool.protocol.errors",
    "AttachTimeoutError": "tensor_pool.protocol.errors",
    "AttributeValue": "tensor_pool.client.metadata",
    "Client": "tensor_pool.client.client",
    "ClientConfig": "tensor_pool.client.config",
    "ClosedError": "tensor_pool.protocol.errors",
    "ConcurrentUseError": "tensor_pool.protocol.errors",
    "ConfigError": "tensor_pool.protocol.errors",
    "Consumer": "tensor_pool.client.consumer.consumer",
    "ConsumerOptions": "tensor_pool.client.consumer.options",
    "Dtype": "tensor_pool.protocol.wire",
    "ForkedProcessError": "tensor_pool.protocol.errors",
    "InvalidFrameError": "tensor_pool.protocol.errors",
    "Frame": "tensor_pool.client.consumer.frame",
    "FrameHeader": "tensor_pool.client.producer.payload_layout",
    "FrameOverwrittenError": "tensor_pool.protocol.errors",
    "HugepagesPolicy": "tensor_pool.protocol.wire",
    "LeaseLostError": "tensor_pool.protocol.errors",
    "Loan": "tensor_pool.client.producer.loan",
    "LoanLimitError": "tensor_pool.protocol.errors",
    "MajorOrder": "tensor_pool.protocol.wire",
    "Mode": "tensor_pool.protocol.wire",
    "Producer": "tensor_pool.client.producer.producer",
    "ProgressUpdate": "tensor_pool.client.consumer.progress",
    "ProtocolError": "tensor_pool.protocol.errors",
    "ProtocolViolationError": "tensor_pool.protocol.errors",
    "PublishMode": "tensor_pool.protocol.wire",
    "PublishResult": "tensor_pool.client.producer.results",
    "PublishStatus": "tensor_pool.client.producer.results",
    "ShmError": "tensor_pool.protocol.errors",
    "ShmUriError": "tensor_pool.protocol.errors",
    "ShmValidationError": "tensor_pool.protocol.errors",
    "SourceMetadata": "tensor_pool.client.metadata",
    "StaleFrameError": "tensor_pool.protocol.errors",
    "StaleLoanError": "tensor_pool.protocol.errors",
    "TensorPoolError": "tensor_pool.protocol.errors",
    "TransportError": "tensor_pool.protocol.errors",
    "UnsupportedPlatformError": "tensor_pool.protocol.errors",
    "connect": "tensor_pool.client.client",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
