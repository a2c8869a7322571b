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
    from .client import Client, connect
    from .config import ClientConfig
    from .consumer import Consumer
    from .consumer_options import ConsumerOptions
    from .errors import (
        AttachRejectedError,
        AttachTimeoutError,
        ClosedError,
        ConcurrentUseError,
        ConfigError,
        ForkedProcessError,
        FrameOverwrittenError,
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
    from .frame import Frame
    from .loan import Loan
    from .metadata import AttributeValue, SourceMetadata
    from .producer import Producer
    from .progress_reading import ProgressUpdate
    from .results import PublishResult, PublishStatus
    from .wire import Dtype, HugepagesPolicy, MajorOrder, Mode, PublishMode

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
    "FrameOverwrittenError",
    "HugepagesPolicy",
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
    "AttachRejectedError": "errors",
    "AttachTimeoutError": "errors",
    "AttributeValue": "metadata",
    "Client": "client",
    "ClientConfig": "config",
    "ClosedError": "errors",
    "ConcurrentUseError": "errors",
    "ConfigError": "errors",
    "Consumer": "consumer",
    "ConsumerOptions": "consumer_options",
    "Dtype": "wire",
    "ForkedProcessError": "errors",
    "Frame": "frame",
    "FrameOverwrittenError": "errors",
    "HugepagesPolicy": "wire",
    "LeaseLostError": "errors",
    "Loan": "loan",
    "LoanLimitError": "errors",
    "MajorOrder": "wire",
    "Mode": "wire",
    "Producer": "producer",
    "ProgressUpdate": "progress_reading",
    "ProtocolError": "errors",
    "ProtocolViolationError": "errors",
    "PublishMode": "wire",
    "PublishResult": "results",
    "PublishStatus": "results",
    "ShmError": "errors",
    "ShmUriError": "errors",
    "ShmValidationError": "errors",
    "SourceMetadata": "metadata",
    "StaleFrameError": "errors",
    "StaleLoanError": "errors",
    "TensorPoolError": "errors",
    "TransportError": "errors",
    "UnsupportedPlatformError": "errors",
    "connect": "client",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
