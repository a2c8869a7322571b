"""A vending machine: typed events, a choice, a completion and a final state.

Coins add up until they pay for the chosen drink; the machine then serves it, gives change and waits
for the next customer. When the last can is gone it closes. Run it:
`python examples/hsm/vending_machine.py`
"""

from __future__ import annotations

from dataclasses import dataclass

from tensor_pool.hsm import (
    HANDLED,
    ROOT,
    Final,
    Machine,
    Outcome,
    State,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_initial,
)


@dataclass(frozen=True)
class Coin:
    """A coin was put in."""

    cents: int


@dataclass(frozen=True)
class Cancel:
    """The customer asks for the money back."""


class VendingMachine(Machine):
    """Sells one kind of drink. Feed it with `dispatch(type(message), message)`."""

    Open = State()
    Idle = State(parent=Open)
    Paying = State(parent=Open)
    Serving = State(parent=Open)
    SoldOut = Final()

    def __init__(self, cans: int, price_cents: int) -> None:
        self.cans = cans
        self.price_cents = price_cents
        self.paid_cents = 0
        self.display = ""
        self.tray: list[str] = []
        super().__init__()

    opens = on_initial(ROOT, target=Open)
    waits = on_initial(Open, target=Idle)

    @on_event(Idle, Coin, targets=(Paying, Serving))
    def first_coin(self, coin: Coin) -> Outcome:
        return self._take(coin)

    @on_event(Paying, Coin, targets=(Paying, Serving))
    def next_coin(self, coin: Coin) -> Outcome:
        return self._take(coin)

    def _take(self, coin: Coin) -> Outcome:
        """One coin more; whether that is enough is known only when it has been counted."""

        def count() -> None:
            self.paid_cents += coin.cents

        return self.choice(
            self.Open,
            [(lambda: self.paid_cents >= self.price_cents, self.Serving)],
            otherwise=self.Paying,
            effect=count,
        )

    @on_event(Open, Coin)
    def refuse(self, coin: Coin) -> Outcome:
        self.tray.append(f"{coin.cents} c")
        return HANDLED

    @on_event(Paying, Cancel, target=Idle)
    def give_back(self, cancel: Cancel) -> None:
        self._return_money(self.paid_cents)

    @on_entry(Idle)
    def invite(self) -> None:
        self.paid_cents = 0
        self.display = f"{self.price_cents} c"

    @on_entry(Paying)
    def show_rest(self) -> None:
        self.display = f"{self.price_cents - self.paid_cents} c more"

    @on_entry(Serving)
    def serve(self) -> None:
        self.cans -= 1
        self.tray.append("can")

    @on_exit(Serving)
    def give_change(self) -> None:
        self._return_money(self.paid_cents - self.price_cents)

    # Serving is over as soon as it has been entered: a completion leaves it.

    def none_left(self) -> bool:
        return self.cans == 0

    close = on_completion(Serving, guard=none_left, target=SoldOut)
    next_customer = on_completion(Serving, target=Idle)

    def _return_money(self, cents: int) -> None:
        if cents:
            self.tray.append(f"{cents} c")


def main() -> None:
    machine = VendingMachine(cans=2, price_cents=120)
    for message in (Coin(50), Cancel(), Coin(100), Coin(50), Coin(200)):
        machine.dispatch(type(message), message)
        print(f"{message!s:16} {machine.current.name:8} {machine.display:10} {machine.tray}")
    print("sold out" if machine.is_complete else "open")


if __name__ == "__main__":
    main()
