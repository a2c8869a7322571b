"""The in-memory network's own promises: faults, deaths, and the same story from the same seed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.testing.faults import Faults
from tensor_pool.protocol.testing.memory_network import MemoryNetwork
from tensor_pool.protocol.transport.channel import tethered
from tensor_pool.protocol.transport.ports import OfferResult

CHANNEL = "aeron:ipc?term-length=64k"
SECOND = 1_000_000_000


@pytest.fixture
def clock():
    return SimulatedClock()


@pytest.fixture
def network(clock):
    return MemoryNetwork(clock, seed=42)


def pair(network, stream_id=1, sender="sender", receiver="receiver"):
    subscription = network.transport(receiver).add_subscription(tethered(CHANNEL), stream_id)
    publication = network.transport(sender).add_publication(CHANNEL, stream_id)
    return publication, subscription


def drain(subscription):
    received = []
    while subscription.poll(lambda m: received.append(bytes(m)), 10):
        pass
    return received


def story(seed, faults, clock_step=1_000_000):
    """A journal of three publishers and two subscribers under faults."""
    journal = []
    clock = SimulatedClock()
    network = MemoryNetwork(clock, seed, faults=faults, observer=journal.append)
    subscriptions = [network.transport(n).add_subscription(CHANNEL, 1) for n in ("x", "y")]
    publications = [network.transport(n).add_publication(CHANNEL, 1) for n in ("a", "b", "c")]
    for number in range(40):
        for publication in publications:
            publication.offer(bytes([number]) * 10)
        clock.advance(clock_step)
        for subscription in subscriptions:
            subscription.poll(lambda m: None, 2)
    return journal


EVERYTHING = Faults(
    loss=0.1,
    duplicate=0.1,
    max_delay_ns=5_000_000,
    reorder=0.3,
    back_pressure=0.1,
    admin_action=0.1,
    disconnect=0.02,
)


def test_the_same_seed_gives_the_same_run_byte_for_byte():
    assert story(7, EVERYTHING) == story(7, EVERYTHING)
    assert story(7, EVERYTHING) != story(8, EVERYTHING)


def test_a_loss_rate_of_one_loses_everything_and_frees_the_window(network):
    publication, subscription = pair(network)
    network.set_faults(Faults(loss=1.0))
    for _ in range(3000):
        if publication.offer(bytes(48)) is OfferResult.BACK_PRESSURED:
            assert drain(subscription) == []
    assert publication.offer(b"x") is not OfferResult.BACK_PRESSURED


def test_losses_happen_at_about_their_rate(network):
    publication, subscription = pair(network)
    network.set_faults(Faults(loss=0.25))
    received = []
    for _ in range(2000):
        while publication.offer(b"x") is not OfferResult.ACCEPTED:
            received += drain(subscription)
    received += drain(subscription)
    assert 1400 < len(received) < 1600


def test_a_duplicate_follows_its_original(network):
    publication, subscription = pair(network)
    network.set_faults(Faults(duplicate=1.0))
    publication.offer(b"a")
    publication.offer(b"b")
    assert drain(subscription) == [b"a", b"a", b"b", b"b"]


def test_delayed_messages_arrive_in_time_and_in_order(network, clock):
    publication, subscription = pair(network)
    network.set_faults(Faults(min_delay_ns=10, max_delay_ns=1000))
    for number in range(20):
        publication.offer(bytes([number]))
    assert drain(subscription) == []
    clock.advance(1000)
    assert drain(subscription) == [bytes([number]) for number in range(20)]


def test_W_003_reordering_mixes_publishers_but_never_one_publishers_messages(network):
    network.set_faults(Faults(reorder=1.0))
    subscription = network.transport("receiver").add_subscription(CHANNEL, 1)
    publications = [network.transport(n).add_publication(CHANNEL, 1) for n in ("a", "b")]
    sent = []
    for number, publication in itertools.product(range(30), publications):
        sent.append(bytes([publications.index(publication), number]))
        publication.offer(sent[-1])
    received = drain(subscription)
    assert sorted(received) == sorted(sent)
    assert received != sent
    for which in (0, 1):
        assert [m[1] for m in received if m[0] == which] == list(range(30))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    faults=st.builds(
        Faults,
        loss=st.floats(0, 0.5),
        duplicate=st.floats(0, 0.5),
        max_delay_ns=st.integers(0, 10_000_000),
        reorder=st.floats(0, 1),
        back_pressure=st.floats(0, 0.5),
        admin_action=st.floats(0, 0.5),
        disconnect=st.floats(0, 0.1),
        stale_fragments=st.booleans(),
    ),
)
def test_W_003_under_any_faults_one_publisher_is_received_in_order(seed, faults):
    journal = story(seed, faults)
    accepted = {(event.session_id, event.message) for event in journal if event.kind == "accepted"}
    heard = {}
    for event in journal:
        if event.kind == "delivered":
            assert (event.session_id, event.message) in accepted
            heard.setdefault((event.transport, event.session_id), []).append(event.message)
    for messages in heard.values():
        assert messages == sorted(messages)


def test_refusals_can_be_drawn_or_forced(network):
    publication, _ = pair(network)
    network.set_faults(Faults(back_pressure=1.0))
    assert publication.offer(b"x") is OfferResult.BACK_PRESSURED
    network.set_faults(Faults(admin_action=1.0))
    assert publication.offer(b"x") is OfferResult.ADMIN_ACTION
    for result in OfferResult:
        if result is not OfferResult.ACCEPTED:
            network.set_faults(Faults(offer_result=result))
            assert publication.offer(b"x") is result
    network.set_faults(Faults())
    assert publication.offer(b"x") is OfferResult.ACCEPTED


@pytest.mark.parametrize(
    "bad",
    [
        {"loss": 1.1},
        {"duplicate": -0.1},
        {"min_delay_ns": 2, "max_delay_ns": 1},
        {"offer_result": OfferResult.ACCEPTED},
    ],
)
def test_impossible_faults_are_refused(bad):
    with pytest.raises(ValueError, match=r"must|accept"):
        Faults(**bad)


def test_the_most_specific_faults_apply(network):
    blocked = Faults(offer_result=OfferResult.BACK_PRESSURED)
    failing = Faults(offer_result=OfferResult.ERROR)
    sender = network.transport("sender")
    one, two = (sender.add_publication(CHANNEL, stream_id) for stream_id in (1, 2))
    other = network.transport("other").add_publication(CHANNEL, 2)
    network.set_faults(blocked, stream_id=2)
    assert one.offer(b"") is OfferResult.NOT_CONNECTED
    assert two.offer(b"") is other.offer(b"") is OfferResult.BACK_PRESSURED
    network.set_faults(failing, transport="sender")
    assert one.offer(b"") is two.offer(b"") is OfferResult.ERROR
    network.set_faults(Faults(), transport="sender", stream_id=2)
    assert two.offer(b"") is OfferResult.NOT_CONNECTED
    assert other.offer(b"") is OfferResult.BACK_PRESSURED


def test_delivery_faults_are_the_receivers(network):
    publication, deaf = pair(network, receiver="deaf")
    hearing = network.transport("hearing").add_subscription(CHANNEL, 1)
    network.set_faults(Faults(loss=1.0), transport="deaf")
    publication.offer(b"x")
    assert drain(deaf) == []
    assert drain(hearing) == [b"x"]


def test_a_disconnected_transport_is_alone_until_it_reconnects(network, clock):
    publication, subscription = pair(network)
    to_self = network.transport("self")
    own = to_self.add_publication(CHANNEL, 3), to_self.add_subscription(CHANNEL, 3)
    publication.offer(b"unread")
    network.disconnect("receiver")
    network.disconnect("self")
    assert not publication.is_connected
    assert not subscription.is_connected
    assert publication.offer(b"x") is OfferResult.NOT_CONNECTED
    assert own[0].is_connected
    late = network.transport("late").add_publication(CHANNEL, 1)
    assert not late.is_connected
    clock.advance(5)
    network.reconnect("receiver")
    assert drain(subscription) == []
    assert subscription.join_time_ns == clock.monotonic_ns()
    for connected in (publication, late):
        assert connected.offer(b"y") is OfferResult.ACCEPTED
    assert drain(subscription) == [b"y", b"y"]


def test_a_passing_disconnection_loses_the_unread_and_renews_the_join_time(network, clock):
    publication, subscription = pair(network)
    network.set_faults(Faults(disconnect=1.0))
    clock.advance(7)
    publication.offer(b"lost")
    assert drain(subscription) == []
    assert subscription.join_time_ns == clock.monotonic_ns()
    assert publication.is_connected


def test_a_killed_receiver_blocks_publishers_until_it_is_missed(network, clock):
    """Trap 5: as after an unclean exit, for the liveness timeout of 10 s."""
    publication, _ = pair(network)
    network.kill("receiver")
    results = [publication.offer(bytes(48)) for _ in range(400)]
    assert results[-1] is OfferResult.BACK_PRESSURED
    clock.advance(10 * SECOND - 1)
    assert publication.is_connected
    assert publication.offer(b"x") is OfferResult.BACK_PRESSURED
    clock.advance(1)
    assert not publication.is_connected
    assert publication.offer(b"x") is OfferResult.NOT_CONNECTED


def test_a_killed_sender_stays_connected_until_it_is_missed_and_its_last_words_arrive(
    network, clock
):
    publication, subscription = pair(network)
    publication.offer(b"last words")
    network.kill("sender", liveness_timeout_ns=SECOND)
    assert publication.offer(b"from the grave") is OfferResult.CLOSED
    assert subscription.is_connected
    clock.advance(SECOND)
    assert subscription.is_connected
    assert drain(subscription) == [b"last words"]
    assert not subscription.is_connected


def test_a_killed_process_can_start_again_under_its_name(network, clock):
    _, subscription = pair(network)
    with pytest.raises(TransportError, match="open already"):
        network.transport("sender")
    network.kill("sender")
    with pytest.raises(TransportError, match="no open transport"):
        network.kill("sender")
    publication = network.transport("sender").add_publication(CHANNEL, 1)
    publication.offer(b"back")
    assert drain(subscription) == [b"back"]


def test_the_loss_of_the_media_driver_closes_every_transport_and_is_reported(network):
    publication, subscription = pair(network)
    network.lose_media_driver()
    for transport in (publication.transport, subscription.transport):
        assert transport.is_closed
        assert transport.error == "media driver lost"
    assert publication.offer(b"x") is OfferResult.CLOSED
    with pytest.raises(TransportError, match="media driver lost"):
        publication.transport.add_publication(CHANNEL, 1)


def test_a_late_joiner_starts_at_the_publishers_position(network):
    publication, first = pair(network)
    publication.offer(b"early")
    late = network.transport("late").add_subscription(CHANNEL, 1)
    publication.offer(b"later")
    assert drain(late) == [b"later"]
    assert drain(first) == [b"early", b"later"]


def test_stale_fragments_reach_a_late_joiner_when_asked_for(network):
    """Trap 5: also those of a publication that is closed."""
    network.set_faults(Faults(stale_fragments=True))
    publication, first = pair(network)
    publication.offer(b"read")
    drain(first)
    publication.offer(b"unread")
    publication.close()
    late = network.transport("late").add_subscription(CHANNEL, 1)
    assert drain(late) == [b"unread"]
    assert drain(first) == [b"unread"]
    assert not late.is_connected
    assert not first.is_connected
    too_late = network.transport("too late").add_subscription(CHANNEL, 1)
    assert drain(too_late) == []


def test_connecting_can_take_time(clock):
    network = MemoryNetwork(clock, connect_delay_ns=SECOND)
    publication, subscription = pair(network)
    assert publication.offer(b"x") is OfferResult.NOT_CONNECTED
    clock.advance(SECOND)
    assert publication.offer(b"x") is OfferResult.ACCEPTED
    assert subscription.join_time_ns == clock.monotonic_ns()
    assert drain(subscription) == [b"x"]


def test_what_closes_before_it_is_connected_never_connects(clock):
    network = MemoryNetwork(clock, connect_delay_ns=SECOND)
    publication, subscription = pair(network)
    publication.close()
    clock.advance(SECOND)
    assert not subscription.is_connected


def test_unread_messages_are_bounded_by_the_window(network):
    """Trap 10: a reader that never polls costs no memory beyond the window."""
    publication, subscription = pair(network)
    accepted = 0
    for _ in range(10_000):
        accepted += publication.offer(bytes(48)) is OfferResult.ACCEPTED
    assert accepted == 342  # half a 64 KiB term of 96-byte frames
    assert len(drain(subscription)) == accepted


def test_udp_channels_meet_by_endpoint(network):
    transport = network.transport("a")
    publication = transport.add_publication("aeron:udp?endpoint=localhost:40123", 1)
    transport.add_subscription("aeron:udp?endpoint=localhost:40124", 1)
    assert not publication.is_connected
    transport.add_subscription("aeron:udp?endpoint=localhost:40123|term-length=64k", 1)
    assert publication.is_connected
