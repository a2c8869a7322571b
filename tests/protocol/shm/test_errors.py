from __future__ import annotations

import pickle
import re
from pathlib import Path

from tensor_pool.protocol import errors
from tensor_pool.protocol.wire.generated.enums import LeaseRevokeReason, ResponseCode

SPECIFICATION = Path(__file__).parents[3] / "docs" / "specification"


def tree_of_the_specification() -> dict[str, tuple[str, ...]]:
    """Return each error class of C-120 with its bases, ours first."""
    page = (SPECIFICATION / "client.md").read_text(encoding="utf-8")
    tree = page.split('<a id="C-120"></a>')[1].split("```")[1]
    bases: dict[str, tuple[str, ...]] = {}
    above: list[str] = []
    for line in filter(None, tree.splitlines()):
        found = re.match(r"([│├└─ ]*)(\w+Error)(?:\((\w+)\))?", line)
        assert found is not None, line
        depth = len(found[1]) // 4
        above[depth:] = [found[2]]
        builtin = (found[3],) if found[3] else ()
        bases[found[2]] = (*above[depth - 1 : depth], *builtin)
    return bases


def test_C_120_the_errors_have_the_bases_that_the_specification_lists() -> None:
    listed = tree_of_the_specification()
    assert len(listed) == 18
    for name, bases in listed.items():
        assert tuple(base.__name__ for base in getattr(errors, name).__bases__) == bases, name


def test_C_120_one_except_clause_catches_every_error_of_the_library() -> None:
    defined = [
        one
        for one in vars(errors).values()
        if isinstance(one, type)
        and issubclass(one, Exception)
        and one.__module__ == errors.__name__
    ]
    assert len(defined) >= len(tree_of_the_specification())
    assert [one for one in defined if not issubclass(one, errors.TensorPoolError)] == []


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
