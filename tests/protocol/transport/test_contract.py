"""The promises of both transports: the same tests on the in-memory network and on real Aeron."""

from __future__ import annotations

import pytest

from tensor_pool.protocol.errors import ConcurrentUseError, TransportError
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import ClockDomain, PayloadPool, ShmPoolAnnounce, decode, encode


def test_a_message_arrives_whole_and_once(world):
    publication, subscription = world.pair()
    assert publication.offer(b"hello") is OfferResult.ACCEPTED
    assert world.receive(subscription, 1) == [b"hello"]
    assert subscription.poll(lambda message: pytest.fail("twice"), 10) == 0


def test_bytearrays_and_empty_messages_travel_too(world):
    publication, subscription = world.pair()
    buffer = bytearray(b"first")
    world.offer(publication, buffer)
    buffer[:] = b"spoil"
    world.offer(publication, b"")
    assert world.receive(subscription, 2) == [b"first", b""]


def test_W_003_each_publisher_is_received_in_order(world):
    subscription = world.transport("receiver").add_subscription(world.channel, world.stream_id)
    publications = [
        world.transport(name).add_publication(world.channel, world.stream_id) for name in "ab"
    ]
    world.until(lambda: all(p.is_connected for p in publications))
    for number in range(50):
        for name, publication in zip(b"ab", publications, strict=True):
            world.offer(publication, bytes([name, number]))
    received = world.receive(subscription, 100, limit=7)
    for name in b"ab":
        assert [m[1] for m in received if m[0] == name] == list(range(50))


def test_W_004_without_a_subscriber_an_offer_returns_not_connected(world):
    publication = world.transport("sender").add_publication(world.channel, world.stream_id)
    assert publication.offer(b"x") is OfferResult.NOT_CONNECTED
    assert not publication.is_connected
    assert not publication.is_closed


def test_W_004_a_tethered_subscriber_that_never_polls_back_pressures_within_a_window(world):
    """Trap 10: bounded, refused at once, and over when the subscriber polls."""
    publication, subscription = world.pair()
    results = [publication.offer(b"d" * 48) for _ in range(2000)]
    accepted = results.count(OfferResult.ACCEPTED)
    assert 300 <= accepted <= 700  # a window of half a 64 KiB term takes 342 descriptors
    assert set(results[accepted:]) <= {OfferResult.BACK_PRESSURED, OfferResult.ADMIN_ACTION}
    assert len(world.receive(subscription, accepted)) == accepted
    world.offer(publication, b"again")
    assert world.receive(subscription, 1) == [b"again"]


def test_W_008_a_subscriber_that_does_not_poll_is_dropped_and_the_others_miss_nothing(world):
    """However many messages; afterwards it receives again, from the newest on."""
    publication, stalled = world.pair(tether=False)
    reader = world.transport("reader").add_subscription(world.channel, world.stream_id)
    world.until(lambda: reader.is_connected)
    received: list[int] = []
    for number in range(3000):  # the window takes 342
        message = number.to_bytes(4, "little") * 12

        def offered(message=message):
            reader.poll(lambda m: received.append(int.from_bytes(m[:4], "little")), 100)
            return publication.offer(message) is OfferResult.ACCEPTED

        world.until(offered)
    while len(received) < 3000:
        reader.poll(lambda m: received.append(int.from_bytes(m[:4], "little")), 100)
    assert received == list(range(3000))

    def is_back():
        publication.offer(b"newest")
        seen: list[bytes] = []
        stalled.poll(lambda m: seen.append(bytes(m)), 1000)
        reader.poll(lambda m: None, 1000)
        return b"newest" in seen

    world.until(is_back)


def test_nothing_is_lost_across_term_rotations(world):
    """Trap 6: ADMIN_ACTION and BACK_PRESSURED are answers to retry after."""
    publication, subscription = world.pair()
    refusals = set()
    received = []
    for number in range(3000):
        message = number.to_bytes(4, "little") * 12
        while (result := publication.offer(message)) is not OfferResult.ACCEPTED:
            refusals.add(result)
            subscription.poll(lambda m: received.append(bytes(m[:4])), 100)
            world.wait()
    while len(received) < 3000:
        subscription.poll(lambda m: received.append(bytes(m[:4])), 100)
    assert [int.from_bytes(m, "little") for m in received] == list(range(3000))
    assert OfferResult.ADMIN_ACTION in refusals
    assert refusals <= {OfferResult.ADMIN_ACTION, OfferResult.BACK_PRESSURED}


@pytest.mark.parametrize("length", [1375, 1376, 1377, 2752, 2753, 8192])
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_M_054_D_016_a_message_of_several_fragments_arrives_whole_and_once(world, length, limit):
    """Also when its fragments are taken by several polls."""
    publication, subscription = world.pair()
    message = bytes(i * 7 % 251 for i in range(length))
    for part in (b"before", message, b"after"):
        world.offer(publication, part)
    assert world.receive(subscription, 3, limit) == [b"before", message, b"after"]


def test_M_054_an_announce_with_40_pools_and_long_uris_is_received_intact(world):
    announce = ShmPoolAnnounce(
        stream_id=1,
        producer_id=2,
        epoch=3,
        announce_timestamp_ns=4,
        announce_clock_domain=ClockDomain.MONOTONIC,
        layout_version=1,
        header_nslots=1024,
        header_slot_bytes=256,
        header_region_uri="shm:file?path=/dev/shm/" + "x" * 100,
        payload_pools=tuple(
            PayloadPool(
                pool_id=number,
                pool_nslots=1024,
                stride_bytes=4096,
                region_uri=f"shm:file?path=/dev/shm/{'y' * 100}/{number}.pool",
            )
            for number in range(40)
        ),
    )
    publication, subscription = world.pair()
    encoded = encode(announce)
    assert len(encoded) > 4000
    world.offer(publication, encoded)
    assert decode(world.receive(subscription, 1, limit=1)[0]) == announce


def test_M_054_messages_of_two_publishers_under_way_at_once_are_not_mixed(world):
    subscription = world.transport("receiver").add_subscription(world.channel, world.stream_id)
    messages = [bytes([letter]) * 4000 for letter in b"ab"]
    for message, name in zip(messages, "ab", strict=True):
        publication = world.transport(name).add_publication(world.channel, world.stream_id)
        world.until(lambda publication=publication: publication.is_connected)
        world.offer(publication, message)
    assert sorted(world.receive(subscription, 2, limit=1)) == messages


def test_a_poll_takes_no_more_fragments_than_asked_for(world):
    publication, subscription = world.pair()
    for _ in range(5):
        world.offer(publication, b"x")
    received = []
    world.until(lambda: subscription.poll(lambda m: received.append(bytes(m)), 3) == 3)
    assert len(received) == 3
    assert subscription.poll(lambda m: received.append(bytes(m)), 3) == 2


def test_an_exception_in_a_handler_is_raised_and_the_batch_still_delivered(world):
    """Trap 2."""
    publication, subscription = world.pair()
    for number in range(5):
        world.offer(publication, bytes([number]))
    seen = []

    def handler(message):
        seen.append(message[0])
        if message[0] in (1, 3):
            raise ValueError(f"on {message[0]}")

    with pytest.raises(ValueError, match="on 1"):
        world.until(lambda: subscription.poll(handler, 10) > 0)
    assert seen == [0, 1, 2, 3, 4]
    world.offer(publication, b"\x09")
    assert world.receive(subscription, 1) == [b"\x09"]


def test_a_buffer_kept_by_a_handler_is_void_after_the_call(world):
    """Trap 3: it must not read freed memory."""
    publication, subscription = world.pair()
    world.offer(publication, b"x")
    kept = []
    world.until(lambda: subscription.poll(kept.append, 10) == 1)
    with pytest.raises(ValueError, match="released"):
        kept[0][0]


def test_the_buffer_is_read_only(world):
    publication, subscription = world.pair()
    world.offer(publication, b"x")
    flags = []
    world.until(lambda: subscription.poll(lambda m: flags.append(m.readonly), 10) == 1)
    assert flags == [True]


def test_polling_inside_a_handler_is_refused(world):
    """Trap 3: with the bare binding it is a segmentation fault."""
    publication, subscription = world.pair()
    world.offer(publication, b"x")

    def handler(message):
        subscription.poll(lambda inner: None, 1)

    with pytest.raises(ConcurrentUseError):
        world.until(lambda: subscription.poll(handler, 10) > 0)
    world.offer(publication, b"y")
    assert world.receive(subscription, 1) == [b"y"]


def test_closing_a_subscription_inside_its_handler_ends_delivery_and_nothing_else(world):
    """Trap 3: with the bare binding it is a segmentation fault."""
    publication, subscription = world.pair()
    for number in range(3):
        world.offer(publication, bytes([number]))
    seen = []

    def handler(message):
        seen.append(message[0])
        subscription.close()

    world.until(lambda: subscription.poll(handler, 10) > 0)
    assert seen == [0]
    assert subscription.poll(handler, 10) == 0
    assert not subscription.is_connected
    world.until(lambda: not publication.is_connected)


def test_closing_the_transport_inside_a_handler_works(world):
    publication, subscription = world.pair()
    receiver = world.opened[0]
    for number in range(3):
        world.offer(publication, bytes([number]))
    seen = []

    def handler(message):
        seen.append(message[0])
        receiver.close()

    world.until(lambda: subscription.poll(handler, 10) > 0)
    assert seen == [0]
    assert receiver.is_closed
    world.until(lambda: not publication.is_connected)


def test_a_message_too_long_for_the_channel_is_an_error_result(world):
    publication, _ = world.pair()
    assert publication.offer(bytes(8193)) is OfferResult.ERROR  # an eighth of a term is the limit
    assert publication.offer(bytes(8192)) is OfferResult.ACCEPTED


def test_a_closed_publication_refuses_and_stays_closed(world):
    publication, subscription = world.pair()
    publication.close()
    publication.close()
    assert publication.is_closed
    assert not publication.is_connected
    assert publication.offer(b"x") is OfferResult.CLOSED
    world.until(lambda: subscription.poll(lambda m: None, 1) == 0 and not subscription.is_connected)


def test_a_closed_transport_takes_everything_with_it_and_names_no_error(world):
    publication, subscription = world.pair()
    sender, receiver = world.opened[1], world.opened[0]
    for transport in (sender, receiver):
        assert not transport.is_closed
        transport.close()
        transport.close()
        assert transport.is_closed
        assert transport.error is None
    assert publication.offer(b"x") is OfferResult.CLOSED
    assert subscription.poll(lambda m: None, 10) == 0
    for add in (sender.add_publication, receiver.add_subscription):
        with pytest.raises(TransportError, match="closed"):
            add(world.channel, world.stream_id)


def test_what_was_accepted_before_a_close_can_still_be_read(world):
    publication, subscription = world.pair()
    world.offer(publication, b"last words")
    publication.close()
    assert world.receive(subscription, 1) == [b"last words"]


@pytest.mark.parametrize("channel", ["nonsense", "aeron:ipc?term-length=77", "aeron:udp"])
def test_a_bad_channel_is_refused_in_one_line(world, channel):
    transport = world.transport("sender")
    for add in (transport.add_publication, transport.add_subscription):
        if channel == "aeron:ipc?term-length=77" and add == transport.add_subscription:
            continue  # a subscription has no term
        with pytest.raises(TransportError) as caught:
            add(channel, world.stream_id)
        assert "\n" not in str(caught.value)
        assert channel in str(caught.value)
    assert not transport.is_closed


def test_all_subscribers_of_a_stream_get_every_message_and_other_streams_none(world):
    publication, first = world.pair()
    receiver = world.transport("another")
    second = receiver.add_subscription("aeron:ipc?term-length=4m", world.stream_id)
    elsewhere = receiver.add_subscription(world.channel, world.stream_id + 100_000)
    world.until(lambda: second.is_connected)
    world.offer(publication, b"x")
    assert world.receive(first, 1) == world.receive(second, 1) == [b"x"]
    assert elsewhere.poll(lambda m: pytest.fail("other stream"), 10) == 0
    assert not elsewhere.is_connected


def test_every_publication_has_a_session_of_its_own(world):
    transport = world.transport("sender")
    publications = [transport.add_publication(world.channel, world.stream_id) for _ in range(3)]
    assert len({p.session_id for p in publications}) == 3
    assert {(p.channel, p.stream_id) for p in publications} == {(world.channel, world.stream_id)}


def test_a_subscription_names_its_channel_and_stream(world):
    subscription = world.transport("receiver").add_subscription(world.channel, world.stream_id)
    assert (subscription.channel, subscription.stream_id) == (world.channel, world.stream_id)


def test_the_join_time_is_that_of_the_latest_connection(world):
    subscription = world.transport("receiver").add_subscription(world.channel, world.stream_id)
    created = subscription.join_time_ns
    sender = world.transport("sender")
    joins = []
    for _ in range(2):
        world.wait()
        publication = sender.add_publication(world.channel, world.stream_id)
        world.until(lambda publication=publication: publication.is_connected)
        before = joins[-1] if joins else created
        world.until(lambda before=before: subscription.join_time_ns > before)
        joins.append(subscription.join_time_ns)
    assert created < joins[0] < joins[1]
    publication.close()
    world.wait()
    assert subscription.join_time_ns == joins[1]
