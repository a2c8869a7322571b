"""The examples do what their texts promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.hsm.handshake import (
    ATTEMPTS,
    Bye,
    HandshakeClient,
    Hello,
    Message,
    Ping,
    Pong,
    Refused,
    Welcome,
)
from examples.hsm.light_switch import LightSwitch
from examples.hsm.traffic_light import TrafficLight
from examples.hsm.vending_machine import Cancel, Coin, VendingMachine
from tensor_pool.hsm import DEFERRED, UNHANDLED, Machine

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "hsm").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs_as_a_script(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert len(done.stdout.splitlines()) >= 6
    assert done.stderr == ""


@pytest.mark.parametrize("machine", [LightSwitch, TrafficLight, VendingMachine, HandshakeClient])
def test_the_examples_have_nothing_to_complain_about(machine: type[Machine]) -> None:
    assert machine.lint() == ()


def test_the_light_switch_starts_dim_and_closes_the_circuit_while_on() -> None:
    switch = LightSwitch()
    switch.dispatch("flip")
    assert switch.current is switch.Dim
    assert switch.current_flows
    switch.dispatch("brighten")
    switch.dispatch("flip")
    assert switch.current is switch.Off
    assert not switch.current_flows
    assert switch.dispatch("dim") is UNHANDLED


def _run_for(light: TrafficLight, seconds: int) -> list[str]:
    names = []
    for _ in range(seconds):
        light.dispatch("tick")
        names.append(light.current.name)
    return names


def test_the_traffic_light_keeps_its_phases() -> None:
    assert _run_for(TrafficLight(), 10) == (
        ["Red", "Red", "RedAmber", "Green", "Green", "Green", "Green", "Green", "Amber", "Red"]
    )


def test_a_button_pressed_at_red_shortens_the_next_green() -> None:
    light = TrafficLight()
    assert light.dispatch("button") is DEFERRED
    assert _run_for(light, 7)[3:] == ["Green", "Green", "Amber", "Red"]


def test_service_goes_back_to_the_interrupted_phase() -> None:
    light = TrafficLight()
    _run_for(light, 4)
    light.dispatch("service")
    _run_for(light, 20)
    assert light.current is light.Service
    light.dispatch("resume")
    assert light.current is light.Green


def _give(machine: VendingMachine, *messages: Coin | Cancel) -> None:
    for message in messages:
        machine.dispatch(type(message), message)


def test_a_can_costs_its_price_and_the_change_comes_back() -> None:
    machine = VendingMachine(cans=3, price_cents=120)
    _give(machine, Coin(100))
    assert machine.display == "20 c more"
    _give(machine, Coin(50))
    assert machine.tray == ["can", "30 c"]
    assert machine.current is machine.Idle


def test_cancelling_returns_the_money() -> None:
    machine = VendingMachine(cans=3, price_cents=120)
    _give(machine, Coin(50), Coin(20), Cancel())
    assert machine.tray == ["70 c"]
    assert machine.dispatch(Cancel, Cancel()) is UNHANDLED


def test_the_last_can_closes_the_machine() -> None:
    machine = VendingMachine(cans=1, price_cents=50)
    _give(machine, Coin(50))
    assert machine.is_complete
    assert machine.current is machine.SoldOut


@pytest.fixture
def sent() -> list[Message]:
    return []


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(sent: list[Message], clock: Clock) -> HandshakeClient:
    client = HandshakeClient(sent.append, clock)
    client.connect()
    return client


def test_an_unanswered_hello_is_repeated_and_then_given_up(
    client: HandshakeClient, sent: list[Message], clock: Clock
) -> None:
    while client.is_running:
        clock.now += 0.1
        client.poll()
    assert clock.now == pytest.approx(ATTEMPTS * 0.5, abs=0.11)
    assert sent == [Hello(1)] * ATTEMPTS
    assert client.current is client.Lost
    assert client.reason == "nobody answers"


def test_a_welcome_of_another_hello_is_a_stray(client: HandshakeClient) -> None:
    client.receive(Welcome(nonce=9, session=4))
    assert client.strays == 1
    client.receive(Welcome(nonce=1, session=4))
    assert (client.session, client.strays) == (4, 1)
    assert client.current is client.Idle


def test_a_refusal_is_final(client: HandshakeClient) -> None:
    client.receive(Refused("full"))
    assert client.is_complete
    assert client.reason == "full"


def test_pongs_keep_the_connection_and_three_silent_pings_lose_it(
    client: HandshakeClient, sent: list[Message], clock: Clock
) -> None:
    client.receive(Welcome(1, 4))
    sent.clear()
    while client.is_running:
        clock.now += 0.1
        client.poll()
        if sent and clock.now < 10:
            assert sent == [Ping(4)]
            client.receive(Pong(3))
            client.receive(Pong(4))
            sent.clear()
    assert sent == [Ping(4)] * ATTEMPTS
    assert client.current is client.Lost


def test_closing_sends_the_last_message_and_one_may_connect_again(
    client: HandshakeClient, sent: list[Message]
) -> None:
    client.receive(Welcome(1, 4))
    client.close()
    client.connect()
    assert sent == [Hello(1), Bye(4), Hello(2)]
    client.close()
    assert client.current is client.Closed
