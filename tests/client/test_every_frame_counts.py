"""Received and counted drops are exactly what was published since the attach (C-108).

Descriptor streams, leases and epochs change in every order.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tensor_pool.client import Consumer, Producer
from tensor_pool.client.attachment.counter_names import LOSS_COUNTERS
from tensor_pool.protocol.testing.faults import Faults
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import ConsumerConfig, Mode, ShmAttachResponse
from tensor_pool.protocol.wire.stream_pairs import STREAM_WIDE_ID
from tests.client.fake_driver import CHANNEL
from tests.client.test_stream_wide import WIDE, assign_wide
from tests.client.world import STREAM, World

DATA = np.zeros(4, np.uint8)
REFUSING = Faults(offer_result=OfferResult.NOT_CONNECTED)


class Course:
    """One consumer, one camera, and what happens to them; `published` counts since the attach."""

    def __init__(self, base: Path, seed: int, *, is_assigned: bool) -> None:
        self.random = random.Random(seed)
        self.world = World(base)
        self.world.driver.change_response = self._before_the_grant
        self.world.driver.assigns = assign_wide if is_assigned else None
        self.serves_assigned = False
        self.published = self.received = 0
        self.camera = self.world.client("camera").producer(STREAM)
        self._set_descriptors()
        self.burst()
        self.published = 0
        self.consumer: Consumer = self.world.client("consumer").consumer(STREAM, attach_timeout=9)

    def _before_the_grant(self, response: ShmAttachResponse) -> ShmAttachResponse:
        lease = self.world.driver.leases[response.lease_id]
        if lease.role.name == "PRODUCER" and self.serves_assigned:
            self._name_to_the_camera()
        return response

    def _name_to_the_camera(self) -> None:
        self.world.driver.send(
            ConsumerConfig(
                STREAM,
                STREAM_WIDE_ID,
                use_shm=True,
                mode=Mode.STREAM,
                descriptor_stream_id=WIDE,
                descriptor_channel=CHANNEL,
            )
        )

    def _set_descriptors(self) -> None:
        attachment = self.camera._attachment
        if self.serves_assigned:
            vars(attachment).pop("on_consumer_config", None)
            self._name_to_the_camera()
        else:
            vars(attachment)["on_consumer_config"] = lambda _: None
            attachment.consumers.clear()

    # What may happen

    def assignment(self) -> None:
        self.world.driver.assigns = assign_wide

    def unserved(self) -> None:
        """The camera uses the shared stream only, as one of another implementation."""
        self.serves_assigned = False
        self._set_descriptors()

    def served(self) -> None:
        self.serves_assigned = True
        self._set_descriptors()

    def lost_lease(self) -> None:
        self.world.network.set_faults(REFUSING, transport="consumer", stream_id=1000)
        self.world.run(1.1)
        self.burst()
        self.world.network.set_faults(Faults(), transport="consumer", stream_id=1000)

    def restarted_camera(self) -> None:
        if not self.serves_assigned:
            # A consumer that neither has the ring nor receives a descriptor cannot know the end of
            # an epoch.
            while self.consumer.state != "Mapped":
                self.world.run(0.05)
        self.camera.close()
        self.camera = self.world.client(f"camera-{self.published}").producer(STREAM)
        self._set_descriptors()

    def unread(self) -> None:
        self.burst(reads=False)

    def burst(self, *, reads: bool = True) -> None:
        """Some frames, 25 times at most; the consumer reads in between, or does not."""
        for _ in range(self.random.randrange(25)):
            for _ in range(self.random.randrange(4)):
                self._publish()
            self.world.run(self.random.choice((0.0, 0.005, 0.05)))
            if reads and self.random.random() < 0.7:
                self.read()

    def _publish(self) -> None:
        state = self.camera._state
        self.camera.publish(DATA)
        if state is not None and self.camera._state is state:
            self.published += 1

    def read(self) -> None:
        if hasattr(self, "consumer"):
            self.received += sum(1 for _ in iter(self.consumer.poll, None))

    def settle(self) -> None:
        """Go on until the consumer receives what is published, the last frame included."""
        for _ in range(400):
            before = self.received
            self._publish()
            self.world.run(0.05)
            self.read()
            if self.received > before and self.consumer.state == "Mapped":
                state = self.consumer._receiver.state
                if state is not None and state.last_seq == self.camera._state.next_seq - 1:  # type: ignore[union-attr]
                    return
        raise AssertionError("no frame arrives any more")

    def check(self) -> None:
        metrics = self.consumer.metrics()
        lost = {name: metrics[name] for name in LOSS_COUNTERS if metrics[name]}
        assert self.received + sum(lost.values()) == self.published, (self.received, metrics)


EVENTS = ("assignment", "unserved", "served", "restarted_camera", "lost_lease", "unread")


def follow(course: Course, events: tuple[str, ...]) -> None:
    with contextlib.closing(course.world):
        for event in events:
            getattr(course, event)()
            course.burst()
            if event == events[-1] or course.random.random() < 0.5:
                course.settle()
                course.check()


@pytest.mark.parametrize("is_assigned", [False, True])
@pytest.mark.parametrize("events", list(itertools.permutations(EVENTS[:4])), ids="-".join)
def test_C_108_in_every_order_each_frame_is_received_or_counted(
    tmp_path: Path, events: tuple[str, ...], is_assigned: bool
) -> None:
    follow(Course(tmp_path, seed=1, is_assigned=is_assigned), events)


@pytest.mark.parametrize("seed", range(20))
def test_C_108_in_longer_courses_each_frame_is_received_or_counted(
    tmp_path: Path, seed: int
) -> None:
    course = Course(tmp_path, seed, is_assigned=seed % 2 == 0)
    follow(course, tuple(course.random.choices(EVENTS, k=8)))


def test_C_108_a_camera_that_ignores_the_assigned_stream_from_its_first_frame(
    tmp_path: Path,
) -> None:
    """The consumer has mapped the epoch before; it receives frames when it falls back."""
    course = Course(tmp_path, seed=0, is_assigned=True)
    with contextlib.closing(course.world):
        course.settle()
        course.restarted_camera()
        course.world.run(1.5)
        heard = course.received
        for _ in range(3873):
            course._publish()
        course.settle()
        course.check()
        assert course.received - heard < 200
        assert isinstance(course.camera, Producer)


class Away(Course):
    """The consumer has lost its lease; the camera goes on."""

    def __init__(self, base: Path) -> None:
        super().__init__(base, 1, is_assigned=False)
        self.settle()
        self.world.network.set_faults(REFUSING, transport="consumer", stream_id=1000)
        self.world.run(1.1)
        assert self.consumer.state != "Mapped"

    def next_camera(self, name: str) -> None:
        self.camera.close()
        self.camera = self.world.client(name).producer(STREAM)

    def publish(self, count: int, *, refused_by: str = "") -> None:
        if refused_by:
            self.world.network.set_faults(REFUSING, transport=refused_by, stream_id=1100)
        for _ in range(count):
            self._publish()
        self.world.run(0.05)
        self.read()
        if refused_by:
            self.world.network.set_faults(Faults(), transport=refused_by, stream_id=1100)

    def back(self) -> None:
        self.world.network.set_faults(Faults(), transport="consumer", stream_id=1000)
        while self.consumer.state != "Mapped":
            self.world.run(0.05)


@pytest.fixture
def course(tmp_path: Path) -> Iterator[Away]:
    course = Away(tmp_path)
    with contextlib.closing(course.world):
        yield course


def test_C_108_an_epoch_of_which_the_first_frames_did_not_arrive_begins_with_its_oldest(
    course: Away,
) -> None:
    course.next_camera("second")
    course.publish(2, refused_by="second")
    course.publish(2)
    course.back()
    course.settle()
    course.check()


def test_C_108_descriptors_noted_while_the_conductor_maps_count_once(course: Away) -> None:
    """The thread that reads has seen no mapping, and notes them when there is one."""
    course.next_camera("second")
    account, noted = course.consumer._receiver._account, []
    account.note_dropped = lambda *what: noted.append(what)  # type: ignore[method-assign]
    course.publish(3)
    course.back()
    del account.note_dropped
    assert len(noted) == 3
    for what in noted:
        account.note_dropped(*what)
    course.settle()
    course.next_camera("third")
    course.settle()
    course.check()


def test_C_108_frames_of_an_epoch_that_is_never_mapped_count_by_their_descriptors(
    tmp_path: Path,
) -> None:
    """Its announces are lost, and its camera is gone before the next one comes through."""
    course = Course(tmp_path, seed=0, is_assigned=False)
    network = course.world.network
    with contextlib.closing(course.world):
        course.settle()
        course.check()
        before = course.consumer.metrics()
        network.set_faults(Faults(loss=1.0), transport="consumer", stream_id=1000)
        course.camera.close()
        course.camera = course.world.client("camera unmapped").producer(STREAM)
        course._set_descriptors()
        for _ in range(5):
            course._publish()
            course.world.run(0.01)
            course.read()
        course.camera.close()
        network.set_faults(Faults(), transport="consumer", stream_id=1000)
        course.camera = course.world.client("camera mapped").producer(STREAM)
        course._set_descriptors()
        course.settle()
        after = course.consumer.metrics()
        assert after["drops_epoch"] + after["drops_unmapped"] >= 5
        assert after["missed_unmapped"] - before["missed_unmapped"] == 5
        course.check()
