"""The client side of a small connection protocol with timers, retries and a keepalive.

    client                       server
      Hello(nonce)          -->            repeated up to three times
                            <--  Welcome(nonce, session)   or  Refused(reason)
      Ping(session)         -->            while idle; three unanswered pings lose the connection
                            <--  Pong(session)
      Bye(session)          -->            closes it

The machine does no I/O. Messages come in by `receive`, and what is to be sent goes to the `send`
function given at construction. Its time events go by the `clock` given there, and `poll` processes
those that are due; so a test can play server and clock. Run it:
`python examples/hsm/handshake.py`
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tensor_pool.hsm import (
    ANY,
    HANDLED,
    ROOT,
    Final,
    Machine,
    Outcome,
    State,
    on_entry,
    on_event,
    on_initial,
    on_timeout,
)

ATTEMPTS = 3
ANSWER_S = 0.5
KEEPALIVE_S = 2.0


@dataclass(frozen=True)
class Hello:
    nonce: int


@dataclass(frozen=True)
class Welcome:
    nonce: int
    session: int


@dataclass(frozen=True)
class Refused:
    reason: str


@dataclass(frozen=True)
class Ping:
    session: int


@dataclass(frozen=True)
class Pong:
    session: int


@dataclass(frozen=True)
class Bye:
    session: int


Message = Hello | Welcome | Refused | Ping | Pong | Bye


class HandshakeClient(Machine):
    """Closed until `connect`; Greeting while a Hello is unanswered; Connected with a session.

    While connected it is Idle or AwaitingPong. Lost and Rejected are the ends, with a `reason`.
    """

    Closed = State()
    Greeting = State()
    Connected = State()
    Idle = State(parent=Connected)
    AwaitingPong = State(parent=Connected)
    Rejected = Final()
    Lost = Final()

    def __init__(
        self, send: Callable[[Message], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send = send
        self.clock = clock
        self._nonce = 0
        self._attempts_left = 0
        self.session: int | None = None
        self.reason = ""
        self.strays = 0
        super().__init__()

    begins = on_initial(ROOT, target=Closed)
    idles = on_initial(Connected, target=Idle)

    # Methods for the program that uses the handshake.

    def connect(self) -> None:
        self.dispatch("connect")

    def close(self) -> None:
        self.dispatch("close")

    def receive(self, message: Message) -> None:
        self.dispatch(type(message), message)

    # Opening.

    greet = on_event(Closed, "connect", target=Greeting)

    @on_entry(Greeting)
    def start_greeting(self) -> None:
        self._nonce += 1
        self._attempts_left = ATTEMPTS
        self._hello()

    def can_repeat(self) -> bool:
        return self._attempts_left > 0

    @on_timeout(Greeting, ANSWER_S, every=True, guard=can_repeat)
    def greet_again(self) -> Outcome:
        self._hello()
        return HANDLED

    @on_timeout(Greeting, ATTEMPTS * ANSWER_S, target=Lost)
    def give_up(self) -> None:
        self.reason = "nobody answers"

    def is_ours(self, welcome: Welcome) -> bool:
        return welcome.nonce == self._nonce

    @on_event(Greeting, Welcome, guard=is_ours, target=Connected)
    def accept(self, welcome: Welcome) -> None:
        self.session = welcome.session

    @on_event(Greeting, Refused, target=Rejected)
    def note_reason(self, refused: Refused) -> None:
        self.reason = refused.reason

    # Connected.

    @on_entry(Idle)
    def rest(self) -> None:
        self._attempts_left = ATTEMPTS

    ask = on_timeout(Idle, KEEPALIVE_S, target=AwaitingPong)

    @on_entry(AwaitingPong)
    def ping(self) -> None:
        self._attempts_left -= 1
        assert self.session is not None
        self._send(Ping(self.session))

    ask_again = on_timeout(AwaitingPong, ANSWER_S, guard=can_repeat, target=AwaitingPong)

    @on_timeout(AwaitingPong, ANSWER_S, target=Lost)
    def lose(self) -> None:
        self.reason = "connection lost"

    def is_this_session(self, pong: Pong) -> bool:
        return pong.session == self.session

    alive = on_event(AwaitingPong, Pong, guard=is_this_session, target=Idle)

    # Closing, and everything that does not fit.

    @on_event(Connected, "close", target=Closed)
    def say_goodbye(self, arg: object) -> None:
        assert self.session is not None
        self._send(Bye(self.session))
        self.session = None

    cancel = on_event(Greeting, "close", target=Closed)

    @on_event(ROOT, ANY)
    def count_stray(self, arg: object, event: object) -> Outcome:
        """A late or foreign message changes nothing."""
        self.strays += 1
        return HANDLED

    # Effects.

    def _hello(self) -> None:
        self._attempts_left -= 1
        self._send(Hello(self._nonce))


def main() -> None:
    """Play a server that is slow to greet, answers one ping and then goes away."""
    sent: list[Message] = []
    now_ms = 0
    client = HandshakeClient(sent.append, clock=lambda: now_ms / 1000)
    client.connect()
    arrivals: dict[int, Message] = {700: Welcome(1, session=77), 3_000: Pong(77)}
    for now_ms in range(100, 7_001, 100):
        before = client.current
        client.poll()
        if now_ms in arrivals:
            client.receive(arrivals[now_ms])
        for message in sent:
            print(f"{now_ms:5} ms  sends {message}")
        sent.clear()
        if client.current is not before:
            print(f"{now_ms:5} ms  {before.name} -> {client.current.name} {client.reason}")
        if client.is_complete:
            break


if __name__ == "__main__":
    main()
