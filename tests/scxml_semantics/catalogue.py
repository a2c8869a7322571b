"""All 193 tests of the W3C SCXML suite: cases of ours, or the reason for having none."""

from __future__ import annotations

from tests.scxml_semantics import (  # noqa: F401 - they register the cases
    activity,
    executable,
    parallel,
    structure,
    timed,
)

_INVOKE = "invoked sessions: here a handler owns other machines as plain objects"
_FIELDS = "event I/O processors, addresses, ids and fields of messages"
_CANCEL = "cancelling an event by its id: a timer belongs to a state and ends with it (H-241)"
_DONE_DATA = "data of done events: a completion carries none"
_DATA = "the data model: here it is Python itself"
_CROSSING = "a transition between two regions of one state (H-254)"
_REGION_DONE = "a region has no completion of its own (H-250)"
_HISTORY_STATE = "a history is not a state that could be active"


def _reasons(numbers: str, reason: str) -> dict[str, str]:
    return dict.fromkeys(numbers.split(), reason)


NOT_EXPRESSED: dict[str, str] = {
    **_reasons(
        "191 192 207 215 216 220 223 224 225 226 228 229 232 233 234 235 236 237 239 240 241 "
        "242 243 244 245 247 252 253 276 338 347 422 530 554",
        _INVOKE,
    ),
    **_reasons(
        "173 174 183 190 194 198 199 200 201 321 323 325 330 332 333 335 336 337 339 349 350 351 "
        "352 496 500 501 509 510 518 519 520 521 522 531 532 534 561 562 567 569 577 578",
        _FIELDS,
    ),
    **_reasons("210", _CANCEL),
    **_reasons("294 298 343 488 527 528 529", _DONE_DATA),
    **_reasons("286 311 322 324 326 446 487 551 552 557 558", _DATA),
    **_reasons("403c", _CROSSING),
    **_reasons("570", _REGION_DONE),
    **_reasons("580", _HISTORY_STATE),
}
