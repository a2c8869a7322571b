"""All 193 tests of the W3C SCXML suite: cases of ours, or the reason for having none."""

from __future__ import annotations

from tests.scxml_semantics import (  # noqa: F401 - they register the cases
    activity,
    executable,
    invoked,
    parallel,
    structure,
    timed,
)

_DOCUMENTS = "documents that are loaded or parsed at run time: here a machine is a class"
_IDS = "texts as ids, names and addresses of sessions: here a reference leads to a machine"
_PROCESSORS = "event I/O processors and their types: here `dispatch` is the only way in"
_FIELDS = "fields of an event: here an event has a value and one argument"
_UNKNOWN = "a value for a variable that the child does not have: Python refuses it"
_CANCEL = "cancelling an event by its id: a timer belongs to a state and ends with it (H-241)"
_CROSSING = "a transition between two regions of one state (H-254)"


def _reasons(numbers: str, reason: str) -> dict[str, str]:
    return dict.fromkeys(numbers.split(), reason)


NOT_EXPRESSED: dict[str, str] = {
    **_reasons("239 242 446 552 557 558 561 562", _DOCUMENTS),
    **_reasons("183 224 321 322 323 324", _IDS),
    **_reasons(
        "174 194 198 199 200 201 253 325 326 352 500 501 509 510 518 519 520 522 531 532 534 "
        "567 569 577",
        _PROCESSORS,
    ),
    **_reasons("330 332 333 335 337 339 351", _FIELDS),
    **_reasons("245", _UNKNOWN),
    **_reasons("210", _CANCEL),
    **_reasons("403c", _CROSSING),
}
