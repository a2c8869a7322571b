"""Loans: filling slots in place (C-075 to C-077)."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tensor_pool.client.producer.loan import Loan
from tensor_pool.client.producer.results import PublishStatus
from tensor_pool.protocol.errors import LoanLimitError, StaleLoanError
from tensor_pool.protocol.wire import FrameDescriptor
from tests.client.fake_driver import lines_of_maps
from tests.client.world import STREAM, World


def seqs(world: World) -> list[int]:
    return [m.seq for m in world.hear(1100) if isinstance(m, FrameDescriptor)]


def test_C_075_a_raw_loan_is_shared_memory_and_counts_when_committed(world: World) -> None:
    producer, consumer = world.pair()
    loan = producer.loan(100)
    assert isinstance(loan, Loan)
    assert (loan.seq, loan.pool_id, len(loan.buffer)) == (0, 1, 1024)
    address = np.frombuffer(loan.buffer, np.uint8).ctypes.data
    inside = [
        int(line.split("-")[0], 16) <= address < int(line.split("-")[1].split()[0], 16)
        for line in lines_of_maps(world.base)
        if "1.pool" in line
    ]
    assert any(inside)
    word = world.driver.streams[STREAM].peek(0, 64, 8)
    assert word == bytes(8)  # 2 * 0: in progress
    loan.buffer[:4] = b"\1\2\3\4"
    result = loan.commit(4, (2, 2), np.uint8)
    assert (result.status, result.seq) == (PublishStatus.PUBLISHED, 0)
    frame = consumer.poll()
    assert frame is not None
    assert frame.array.tolist() == [[1, 2], [3, 4]]


def test_C_075_none_when_too_large_or_not_active(world: World) -> None:
    producer, _ = world.pair()
    assert producer.loan(65537) is None
    assert producer.metrics()["drops_too_large"] == 1
    world.driver.silent = True
    world.driver.notice(world.driver.lease_of(producer.client_id))
    producer._client.do_work()
    assert producer.loan(10) is None
    assert producer.metrics()["drops_not_active"] == 1


def test_C_075_an_uncommitted_raw_loan_is_aborted_on_leaving_its_block(world: World) -> None:
    producer, consumer = world.pair()
    with producer.loan(10):
        pass
    producer.publish(b"x")
    frame = consumer.poll()
    assert frame is not None
    assert frame.seq == 1
    assert world.driver.streams[STREAM].peek(0, 64, 8) == bytes(8)
    assert producer.metrics()["loans_aborted"] == 1


def test_a_typed_loan_is_committed_on_leaving_its_block(world: World) -> None:
    producer, consumer = world.pair()
    with producer.loan((3, 4), np.int32) as loan:
        loan.array[:] = np.arange(12).reshape(3, 4)
    assert loan.result.status is PublishStatus.PUBLISHED
    frame = consumer.poll()
    assert frame is not None
    assert frame.array.tolist() == np.arange(12).reshape(3, 4).tolist()
    with producer.loan(5, np.float32) as loan:
        loan.array.fill(1.5)
    frame = consumer.poll()
    assert frame is not None
    assert frame.array.tolist() == [1.5] * 5


def test_a_typed_loan_is_aborted_by_an_exception(world: World) -> None:
    producer, consumer = world.pair()
    with pytest.raises(RuntimeError, match="camera"), producer.loan((2,), np.uint8):
        raise RuntimeError("camera")
    producer.publish(b"x")
    frame = consumer.poll()
    assert frame is not None
    assert frame.seq == 1


def test_a_typed_loan_without_a_lease_can_be_filled_and_raises_not_active(world: World) -> None:
    """A program need not ask before each frame: the loan is ordinary memory then."""
    producer, _ = world.pair()
    world.driver.silent = True
    world.driver.notice(world.driver.lease_of(producer.client_id))
    producer._client.do_work()
    with producer.loan((2, 2), np.uint8) as loan:
        assert not loan.is_live
        loan.array[:] = 1
    assert loan.result.status is PublishStatus.NOT_ACTIVE
    with pytest.raises(StaleLoanError):
        loan.commit()


def test_a_typed_loan_that_fits_nowhere_is_a_value_error(world: World) -> None:
    producer, _ = world.pair()
    with pytest.raises(ValueError, match="too large"):
        producer.loan((65537,), np.uint8)
    with pytest.raises(ValueError, match="give a dtype"):
        producer.loan((2, 2))


def test_C_076_descriptors_leave_in_order_whatever_order_loans_are_committed_in(
    world: World,
) -> None:
    """C-076, CI-6: commit 2, 1, 3: descriptors 1, 2, 3."""
    producer, consumer = world.pair()
    world.listen(1100)
    one, two, three = (producer.loan((1,), np.uint8) for _ in range(3))
    for loan in (one, two, three):
        loan.array[0] = loan.seq
    assert two.commit().status is PublishStatus.DEFERRED
    assert seqs(world) == []
    assert producer.publish(b"z").status is PublishStatus.DEFERRED
    assert one.commit().status is PublishStatus.PUBLISHED
    assert seqs(world) == [0, 1]
    assert three.commit().status is PublishStatus.PUBLISHED
    assert seqs(world) == [0, 1, 2, 3]
    assert [f.seq for f in iter(consumer.poll, None)] == [0, 1, 2, 3]


def test_C_076_an_aborted_loan_releases_what_it_held_back(world: World) -> None:
    """C-076, W-088."""
    producer, consumer = world.pair()
    first = producer.loan(1)
    assert bool(producer.publish(b"a"))
    first.abort()
    first.abort()
    assert [f.seq for f in iter(consumer.poll, None)] == [1]


def test_C_076_max_loans_are_open_at_most(world: World) -> None:
    world.driver.add_stream(STREAM, nslots=16)
    producer = world.client(max_loans=3).producer(STREAM)
    loans = [producer.loan(1) for _ in range(3)]
    with pytest.raises(LoanLimitError, match="max_loans is 3"):
        producer.loan(1)
    loans[1].abort()
    assert producer.loan(1) is not None
    assert producer.metrics()["loans_refused"] == 1


def test_W_089_the_ring_never_comes_round_to_an_open_loan(world: World) -> None:
    """W-089, C-076, C-070: LOANS_OPEN for publish, LoanLimitError for loan; nothing is written."""
    producer, consumer = world.pair()  # 8 slots
    oldest = producer.loan((4,), np.uint8)
    oldest.array[:] = 9
    for _ in range(7):
        assert producer.publish(b"x").status is PublishStatus.DEFERRED
    before = world.driver.streams[STREAM].peek(0, 64, 256)
    result = producer.publish(b"y")
    assert (result.status, result.seq, bool(result)) == (PublishStatus.LOANS_OPEN, None, False)
    with pytest.raises(LoanLimitError, match="come round"):
        producer.loan(1)
    assert world.driver.streams[STREAM].peek(0, 64, 256) == before
    oldest.commit()
    assert producer.publish(b"y").seq == 8
    assert [f.seq for f in iter(consumer.poll, None)][-1] == 8


def test_C_077_a_loan_of_an_earlier_mapping_is_stale(world: World) -> None:
    producer, consumer = world.pair()
    loan = producer.loan((4,), np.uint8)
    world.driver.revoke(world.driver.lease_of(producer.client_id))
    world.run(0.5)
    assert producer.state == "Active"
    assert not loan.is_live
    loan.array[:] = 7  # still readable and writable memory, but of no slot
    with pytest.raises(StaleLoanError):
        loan.commit()
    with pytest.raises(StaleLoanError):
        loan.commit()
    assert consumer.poll() is None
    assert producer.publish(b"x").seq == 0


def test_C_077_a_loan_of_an_earlier_mapping_is_not_taken_for_one_with_its_sequence(
    world: World,
) -> None:
    """Each mapping counts from 0, so loans of two mappings may have the same number."""
    producer, consumer = world.pair()
    former = producer.loan((4,), np.uint8)
    world.driver.revoke(world.driver.lease_of(producer.client_id))
    world.run(0.5)
    present = producer.loan((4,), np.uint8)
    assert former.seq == present.seq == 0
    present.array[:] = 5
    with pytest.raises(StaleLoanError):
        former.commit()
    assert consumer.poll() is None
    assert present.commit()
    frame = consumer.poll()
    assert frame is not None
    assert frame.copy().tolist() == [5] * 4


def test_C_051_a_loan_filled_past_the_lease_reaches_no_consumer(world: World) -> None:
    """C-051: the deadline counts at the commit, whenever the loan was taken."""
    producer, _ = world.pair()
    loan = producer.loan((4,), np.uint8)
    slot = world.driver.streams[STREAM].peek(0, 64, 256)
    world.clock.advance(10_000_000_000)
    assert loan.commit().status is PublishStatus.NOT_ACTIVE
    assert world.driver.streams[STREAM].peek(0, 64, 256) == slot


def test_C_077_a_finished_loan_is_stale(world: World) -> None:
    producer, _ = world.pair()
    loan = producer.loan(4)
    loan.commit()
    with pytest.raises(StaleLoanError):
        loan.commit()
    loan.abort()


def test_a_typed_block_that_outlives_its_lease_raises_not_active(world: World) -> None:
    producer, _ = world.pair()
    with producer.loan((4,), np.uint8) as loan:
        world.driver.revoke(world.driver.lease_of(producer.client_id))
        world.run(0.1)
    assert loan.result.status is PublishStatus.NOT_ACTIVE


@pytest.mark.parametrize(
    "arguments", [(2000,), (3, (2, 2), np.uint8), (4, (2,), np.complex64), (-1,)]
)
def test_a_commit_that_does_not_fit_raises_and_leaves_the_loan_open(
    world: World, arguments: tuple[object, ...]
) -> None:
    producer, _ = world.pair()
    loan = producer.loan(100)
    with pytest.raises(ValueError):  # noqa: PT011 - four texts
        loan.commit(*arguments)
    assert loan.commit(4, (2, 2), np.uint8)


def test_loans_are_not_picklable(world: World) -> None:
    """C-115."""
    producer, _ = world.pair()
    with pytest.raises(TypeError, match="Loan"):
        pickle.dumps(producer.loan(4))
