"""The faults of the in-memory network, as probabilities and bounds."""

from __future__ import annotations

from dataclasses import dataclass

from ..transport.ports import OfferResult

__all__ = ["NO_FAULTS", "Faults"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Faults of one network, transport or stream; the default has none.

    Probabilities are in 0..1 and drawn per message. In any case the messages of one publisher
    reach one subscription in the order in which they were offered (W-003).
    """

    loss: float = 0.0
    """A message never arrives at one subscription."""
    duplicate: float = 0.0
    """A message arrives twice in a row at one subscription."""
    min_delay_ns: int = 0
    max_delay_ns: int = 0
    """A message arrives after a delay drawn evenly from min..max."""
    reorder: float = 0.0
    """A poll takes its next message from a random publisher instead of the oldest message."""
    back_pressure: float = 0.0
    """An offer is refused with BACK_PRESSURED."""
    admin_action: float = 0.0
    """An offer is refused with ADMIN_ACTION."""
    disconnect: float = 0.0
    """After an offer one subscription loses its connection with all that was unread, and gets a
    new one at once."""
    offer_result: OfferResult | None = None
    """Every offer is refused with this result, if it is set."""
    stale_fragments: bool = False
    """A new subscription starts at the slowest subscriber's position, and also receives what is
    unread of publications already closed, as Aeron's may."""

    def __post_init__(self) -> None:
        chances = (
            "loss",
            "duplicate",
            "reorder",
            "back_pressure",
            "admin_action",
            "disconnect",
        )
        for name in chances:
            if not 0.0 <= (value := getattr(self, name)) <= 1.0:
                raise ValueError(f"{name} must be in 0..1, not {value}")
        if not 0 <= self.min_delay_ns <= self.max_delay_ns:
            raise ValueError(
                f"delays must satisfy 0 <= min <= max, not {self.min_delay_ns}..{self.max_delay_ns}"
            )
        if self.offer_result is OfferResult.ACCEPTED:
            raise ValueError("offer_result forces a refusal; leave it None to accept")


NO_FAULTS = Faults()
