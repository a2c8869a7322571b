from __future__ import annotations

import pickle

import pytest

from tensor_pool.protocol import errors
from tensor_pool.protocol.wire.generated.enums import LeaseRevokeReason, ResponseCode


@pytest.mark.parametrize(
    ("error", "base"),
    [
        ("ConfigError", "TensorPoolError"),
        ("ClosedError", "TensorPoolError"),
        ("ForkedProcessError", "TensorPoolError"),
        ("ConcurrentUseError", "TensorPoolError"),
        ("TransportError", "TensorPoolError"),
        ("ProtocolError", "TensorPoolError"),
        ("AttachTimeoutError", "ProtocolError"),
        ("AttachRejectedError", "ProtocolError"),
        ("ProtocolViolationError", "ProtocolError"),
        ("ShmError", "TensorPoolError"),
        ("ShmUriError", "ShmError"),
        ("ShmValidationError", "ShmError"),
        ("LeaseLostError", "TensorPoolError"),
        ("StaleLoanError", "TensorPoolError"),
        ("LoanLimitError", "TensorPoolError"),
        ("FrameOverwrittenError", "TensorPoolError"),
        ("StaleFrameError", "TensorPoolError"),
    ],
)
def test_C_120_subclass_relations(error: str, base: str) -> None:
    assert getattr(errors, error).__bases__[0] is getattr(errors, base)


def test_C_120_builtin_bases() -> None:
    assert issubclass(errors.ConfigError, ValueError)
    assert issubclass(errors.AttachTimeoutError, TimeoutError)


def test_C_120_attributes_and_texts() -> None:
    rejected = errors.AttachRejectedError(ResponseCode.REJECTED, "producer already attached")
    assert (rejected.code, rejected.message) == (3, "producer already attached")
    assert str(rejected) == ("attach refused by the driver (REJECTED): producer already attached")
    assert "code 77" in str(errors.AttachRejectedError(77, ""))
    violation = errors.ProtocolViolationError(4, "epoch 0")
    assert violation.rule == 4
    assert str(violation) == "protocol violation by the driver: rule 4: epoch 0"
    lost = errors.LeaseLostError(LeaseRevokeReason.EXPIRED)
    assert lost.reason is LeaseRevokeReason.EXPIRED
    assert str(lost) == "lease lost: EXPIRED"
    refused = errors.ShmValidationError("pool 3", "/dev/shm/x", 9, "10 bytes", "at least 20")
    assert str(refused) == ("pool 3 at /dev/shm/x refused (step 9): 10 bytes; expected at least 20")


def test_errors_survive_pickling_to_another_process() -> None:
    refused = errors.ShmValidationError("pool 3", "/dev/shm/x", 9, "10 bytes", "at least 20")
    copy = pickle.loads(pickle.dumps(refused))
    assert (copy.region, copy.step, str(copy)) == ("pool 3", 9, str(refused))
