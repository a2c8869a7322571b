"""Node ids, ids of dynamic streams, and ranges (§14)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_pool.driver.core.configuration import IdRange
from tensor_pool.driver.core.node_ids import NULL_NODE_ID, REMEMBERED_RELEASES, NodeIds
from tensor_pool.driver.core.rotating_ids import RotatingIds
from tensor_pool.protocol.wire import Role
from tests.driver.core.harness import MS, SECOND, STREAM, Rig, make_config

COOLDOWN_NS = SECOND


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 6),  # client
            st.one_of(st.none(), st.integers(0, 6)),  # desired id
            st.integers(0, 2 * SECOND),  # time passing
        ),
        max_size=60,
    )
)
def test_D_160_active_node_ids_are_distinct(steps: list[tuple[int, int | None, int]]) -> None:
    """D-160, D-161, D-162, D-163"""
    ids = NodeIds(COOLDOWN_NS)
    held: dict[int, int] = {}
    released: dict[int, tuple[int, int]] = {}
    now = 0
    for client, desired, passing in steps:
        now += passing
        if client in held:
            node_id = held.pop(client)
            ids.release(node_id, client, now)
            released[node_id] = (client, now)
            continue
        seen = ids.peek(client, desired, now)
        taken = ids.take(client, desired, now)
        assert taken == seen
        if taken is None:
            assert desired is not None
            last = released.get(desired)
            cooling = last is not None and last[0] != client and now - last[1] < COOLDOWN_NS
            assert desired in held.values() or cooling
            continue
        assert taken not in held.values()
        assert desired in (None, taken)
        last_client, at_ns = released.get(taken, (client, now))
        assert last_client == client or now - at_ns >= COOLDOWN_NS
        held[client] = taken
    assert ids.active == set(held.values())


def test_D_161_any_value_but_null_may_be_desired() -> None:
    rig = Rig()
    assert rig.granted(1, desired_node_id=0).node_id == 0
    assert rig.granted(2, desired_node_id=NULL_NODE_ID - 1).node_id == NULL_NODE_ID - 1
    assert rig.attach(3, desired_node_id=0).error_message == "node_id unavailable"


def test_D_161_a_cooling_id_is_refused_to_others_and_given_to_its_former_client() -> None:
    """D-161, D-163"""
    rig = Rig()
    rig.detach(rig.granted(1, desired_node_id=9), 1, Role.CONSUMER)
    rig.clock.advance(COOLDOWN_NS - 1)
    assert rig.attach(2, desired_node_id=9).error_message == "node_id unavailable"
    back = rig.granted(1, desired_node_id=9)
    rig.detach(back, 1, Role.CONSUMER)
    rig.clock.advance(COOLDOWN_NS)
    assert rig.granted(2, desired_node_id=9).node_id == 9


def test_D_162_a_client_that_comes_back_keeps_its_id() -> None:
    rig = Rig()
    rig.granted(5)
    lease = rig.granted(6)
    rig.detach(lease, 6, Role.CONSUMER)
    assert rig.granted(7).node_id == 3
    rig.run(2 * SECOND)
    assert rig.granted(6).node_id == lease.node_id == 2


def test_D_162_giving_an_old_id_again_does_not_move_the_counter() -> None:
    ids = NodeIds(COOLDOWN_NS)
    ids.take(1, None, 0)
    ids.take(2, None, 0)
    ids.release(1, 1, 0)
    assert ids.take(1, None, 0) == 1
    assert ids.next_id == 3


def test_D_162_counting_skips_ids_in_use_and_cooling() -> None:
    ids = NodeIds(COOLDOWN_NS)
    assert ids.take(1, 1, 0) == 1
    assert ids.take(2, 2, 0) == 2
    ids.release(2, 2, 0)
    assert ids.take(3, None, 0) == 3
    assert ids.next_id == 4


def test_D_162_the_counter_wraps_before_the_null_value() -> None:
    ids = NodeIds(COOLDOWN_NS)
    ids._next = NULL_NODE_ID - 1
    assert ids.take(1, None, 0) == NULL_NODE_ID - 1
    assert ids.take(2, None, 0) == 1


def test_D_163_memory_of_former_holders_is_bounded() -> None:
    ids = NodeIds(3600 * SECOND)
    for client in range(1, 100_001):
        node_id = ids.take(client, None, client)
        assert node_id is not None
        ids.release(node_id, client, client)
    assert len(ids._released) == len(ids._last_of_client) == REMEMBERED_RELEASES
    assert ids.peek(100_000, None, 100_001) == 100_000


def dynamic(first: int, last: int, **policies: object) -> Rig:
    return Rig(
        make_config(
            driver={"stream_id_range": IdRange(first, last)},
            policies={"allow_dynamic_streams": True, **policies},
        )
    )


def test_D_164_dynamic_ids_go_round() -> None:
    rig = dynamic(20000, 20002)
    first = [rig.granted(client, stream_id=0) for client in (1, 2)]
    assert [lease.stream_id for lease in first] == [20000, 20001]
    rig.detach(first[0], 1, Role.CONSUMER)
    assert rig.granted(3, stream_id=0).stream_id == 20002
    assert rig.granted(4, stream_id=0).stream_id == 20000
    assert rig.attach(5, stream_id=0).error_message == "stream_id_range exhausted"


def test_D_164_a_requested_id_in_the_range_is_used_as_it_is() -> None:
    rig = dynamic(20000, 20002)
    assert rig.granted(1, stream_id=20001).stream_id == 20001
    assert [rig.granted(c, stream_id=0).stream_id for c in (2, 3)] == [20000, 20002]
    assert rig.granted(4, stream_id=20001).stream_id == 20001


def test_D_165_a_dynamic_stream_goes_with_its_last_lease() -> None:
    rig = dynamic(20000, 20002)
    lease = rig.granted(1, Role.PRODUCER, stream_id=0)
    consumer = rig.granted(2, stream_id=lease.stream_id)
    rig.detach(lease, 1, Role.PRODUCER)
    assert len(rig.snapshot().streams) == 3
    rig.detach(consumer, 2, Role.CONSUMER)
    assert [s.stream_id for s in rig.snapshot().streams] == [STREAM, STREAM + 1]
    assert rig.store.current == {}


def test_D_165_configured_streams_are_never_removed() -> None:
    rig = Rig()
    rig.detach(rig.granted(1), 1, Role.CONSUMER)
    assert len(rig.snapshot().streams) == 2


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(1, 9)), max_size=60))
def test_D_170_ids_are_unique_and_a_released_one_is_reused_last(steps: list[int | None]) -> None:
    """D-164, D-170"""
    ids = RotatingIds(IdRange(1, 9))
    used: list[int] = []
    released: list[int] = []
    for step in steps:
        if step is not None and step in used:
            used.remove(step)
            released.append(step)
            ids.release(step)
            continue
        taken = ids.take()
        if taken is None:
            assert len(used) == 9
            continue
        assert taken not in used
        if taken in released:
            assert taken == released.pop(0)
            assert len(used) + len(released) + 1 == 9
        used.append(taken)


def test_D_170_allocation_order() -> None:
    ids = RotatingIds(IdRange(1, 3))
    assert [ids.take(), ids.take()] == [1, 2]
    ids.release(2)
    ids.release(1)
    assert [ids.take(), ids.take(), ids.take(), ids.take()] == [3, 2, 1, None]


def test_a_cooldown_of_zero_frees_an_id_at_once() -> None:
    """D-163"""
    rig = Rig(make_config(policies={"node_id_reuse_cooldown_ms": 0}))
    rig.detach(rig.granted(1, desired_node_id=4), 1, Role.CONSUMER)
    assert rig.granted(2, desired_node_id=4).node_id == 4
    rig.run(5 * MS)
