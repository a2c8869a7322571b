"""The client library: publish and receive frames.

>>> from tensor_pool.client import connect
>>> with connect() as pool:  # doctest: +SKIP
...     with pool.producer(stream_id=10_000) as camera:
...         camera.publish(image)

The names below are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensor_pool.protocol.lazy_names import lazy_names

if TYPE_CHECKING:
    from tensor_pool.protocol.errors import (
        AmbiguousStreamError,
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
        UnknownStreamError,
        UnsupportedPlatformError,
    )
    from tensor_pool.protocol.wire import Dtype, HugepagesPolicy, MajorOrder, Mode, PublishMode

    from ._version import __version__
    from .client import Client
    from .config import ClientConfig
    from .connecting import connect
    from .consumer.consumer import Consumer
    from .consumer.frame import Frame
    from .consumer.frame_run import FrameStack
    from .consumer.options import ConsumerOptions
    from .consumer.progress import ProgressUpdate
    from .discovery.changes import Appeared, Changed, StreamChanges, Vanished
    from .discovery.stream_info import StreamInfo
    from .image_format import ENCODINGS, ImageFormat
    from .metadata import AttributeValue, SourceMetadata
    from .producer.loan import Loan
    from .producer.payload_layout import FrameHeader
    from .producer.producer import Producer
    from .producer.results import PublishResult, PublishResults, PublishStatus
    from .qos.endpoint import QosLimits
    from .qos.monitor import QosMonitor
    from .qos.snapshot import ConsumerQos, ProducerQos, QosChange, QosSnapshot, StreamQos
    from .synchronizer.explanation import GivenUp
    from .synchronizer.frame_set import FrameSet
    from .synchronizer.inputs import InputCounters
    from .synchronizer.synchronizer import Explanation, Synchronizer

__all__ = [
    "ENCODINGS",
    "AmbiguousStreamError",
    "Appeared",
    "AttachRejectedError",
    "AttachTimeoutError",
    "AttributeValue",
    "Changed",
    "Client",
    "ClientConfig",
    "ClosedError",
    "ConcurrentUseError",
    "ConfigError",
    "Consumer",
    "ConsumerOptions",
    "ConsumerQos",
    "Dtype",
    "Explanation",
    "ForkedProcessError",
    "Frame",
    "FrameHeader",
    "FrameOverwrittenError",
    "FrameSet",
    "FrameStack",
    "GivenUp",
    "HugepagesPolicy",
    "ImageFormat",
    "InputCounters",
    "InvalidFrameError",
    "LeaseLostError",
    "Loan",
    "LoanLimitError",
    "MajorOrder",
    "Mode",
    "Producer",
    "ProducerQos",
    "ProgressUpdate",
    "ProtocolError",
    "ProtocolViolationError",
    "PublishMode",
    "PublishResult",
    "PublishResults",
    "PublishStatus",
    "QosChange",
    "QosLimits",
    "QosMonitor",
    "QosSnapshot",
    "ShmError",
    "ShmUriError",
    "ShmValidationError",
    "SourceMetadata",
    "StaleFrameError",
    "StaleLoanError",
    "StreamChanges",
    "StreamInfo",
    "StreamQos",
    "Synchronizer",
    "TensorPoolError",
    "TransportError",
    "UnknownStreamError",
    "UnsupportedPlatformError",
    "Vanished",
    "__version__",
    "connect",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "tensor_pool.client._version": ("__version__",),
        "tensor_pool.client.client": ("Client",),
        "tensor_pool.client.config": ("ClientConfig",),
        "tensor_pool.client.connecting": ("connect",),
        "tensor_pool.client.consumer.consumer": ("Consumer",),
        "tensor_pool.client.consumer.frame": ("Frame",),
        "tensor_pool.client.consumer.frame_run": ("FrameStack",),
        "tensor_pool.client.consumer.options": ("ConsumerOptions",),
        "tensor_pool.client.consumer.progress": ("ProgressUpdate",),
        "tensor_pool.client.discovery.changes": (
            "Appeared",
            "Changed",
            "StreamChanges",
            "Vanished",
        ),
        "tensor_pool.client.discovery.stream_info": ("StreamInfo",),
        "tensor_pool.client.image_format": (
            "ENCODINGS",
            "ImageFormat",
        ),
        "tensor_pool.client.metadata": (
            "AttributeValue",
            "SourceMetadata",
        ),
        "tensor_pool.client.producer.loan": ("Loan",),
        "tensor_pool.client.producer.payload_layout": ("FrameHeader",),
        "tensor_pool.client.producer.producer": ("Producer",),
        "tensor_pool.client.producer.results": (
            "PublishResult",
            "PublishResults",
            "PublishStatus",
        ),
        "tensor_pool.client.qos.endpoint": ("QosLimits",),
        "tensor_pool.client.qos.monitor": ("QosMonitor",),
        "tensor_pool.client.qos.snapshot": (
            "ConsumerQos",
            "ProducerQos",
            "QosChange",
            "QosSnapshot",
            "StreamQos",
        ),
        "tensor_pool.client.synchronizer.explanation": ("GivenUp",),
        "tensor_pool.client.synchronizer.frame_set": ("FrameSet",),
        "tensor_pool.client.synchronizer.inputs": ("InputCounters",),
        "tensor_pool.client.synchronizer.synchronizer": (
            "Explanation",
            "Synchronizer",
        ),
        "tensor_pool.protocol.errors": (
            "AmbiguousStreamError",
            "AttachRejectedError",
            "AttachTimeoutError",
            "ClosedError",
            "ConcurrentUseError",
            "ConfigError",
            "ForkedProcessError",
            "FrameOverwrittenError",
            "InvalidFrameError",
            "LeaseLostError",
            "LoanLimitError",
            "ProtocolError",
            "ProtocolViolationError",
            "ShmError",
            "ShmUriError",
            "ShmValidationError",
            "StaleFrameError",
            "StaleLoanError",
            "TensorPoolError",
            "TransportError",
            "UnknownStreamError",
            "UnsupportedPlatformError",
        ),
        "tensor_pool.protocol.wire": (
            "Dtype",
            "HugepagesPolicy",
            "MajorOrder",
            "Mode",
            "PublishMode",
        ),
    },
)
