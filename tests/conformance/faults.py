"""Faults for a producer and a consumer of ours, each with the check that must find it.

`plant` replaces single methods of the client library in this process.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tensor_pool.client.attachment import connection_machine
from tensor_pool.client.attachment.announce_filter import AnnounceFilter
from tensor_pool.client.attachment.connection_machine import DriverConnection
from tensor_pool.client.attachment.epoch_mapping import MappingRules, StreamMapping
from tensor_pool.client.attachment.events import RoleEvent
from tensor_pool.client.consumer.attachment import ConsumerAttachment
from tensor_pool.client.consumer.receiver import Receiver
from tensor_pool.client.producer import slot_writer
from tensor_pool.client.producer.attachment import ProducerAttachment
from tensor_pool.client.producer.known_consumers import AssignedDescriptors, KnownConsumers
from tensor_pool.client.producer.slot_writer import SlotWriter
from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.shm import region as region_module
from tensor_pool.protocol.shm.slot_header import SlotFault, SlotValidator
from tensor_pool.protocol.wire import (
    LeaseRevokeReason,
    Role,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
)

__all__ = ["CONSUMER_FAULTS", "PRODUCER_FAULTS", "plant"]

PRODUCER_FAULTS = {
    "keepalives",
    "drivers_messages",
    "sequences",
    "padding",
    "whole_slot",
    "pool_choice",
    "stamps",
    "no_superblock_of_another_epoch",
    "withdrawal",
    "consumer_lease_end",
    "stale_consumer",
    "rate_cap",
    "qos",
    "detach",
}
CONSUMER_FAULTS = {
    "keepalives",
    "gaps",
    "bad_slots",
    "good_slots",
    "bad_announces",
    "read_only",
    "regression",
    "stale_activity",
    "changed_pid",
    "producer_notice",
    "use_shm",
    "no_superblock_of_another_epoch",
    "id_conflict",
    "detach",
}


def _nothing(*_: object, **__: object) -> Any:
    return None


def _set(owner: Any, name: str, value: Any) -> Any:
    """Replace what must be there, and return it."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    return before


def plant(role: str) -> None:
    """Plant the faults of a role, besides those of both."""
    _plant_in_both()
    if role == "producer":
        _plant_in_producer()
    else:
        _plant_in_consumer()


def _plant_in_both() -> None:
    def stamped_wrongly(**fields: Any) -> ShmLeaseKeepalive:
        return ShmLeaseKeepalive(**{**fields, "client_timestamp_ns": 5})

    _set(connection_machine, "ShmLeaseKeepalive", stamped_wrongly)
    _set(DriverConnection, "_send_detach", _nothing)

    def tolerant(superblock: Any, region: Any, path: str) -> None:
        wanted = msgspec.structs.replace(superblock, epoch=region.epoch)
        check(wanted, region, path)

    check = _set(region_module, "check_superblock", tolerant)


def _plant_in_producer() -> None:
    _set(ProducerAttachment, "_refresh_activity", _nothing)
    _set(AssignedDescriptors, "cap", _nothing)
    _set(KnownConsumers, "drop_stale", lambda *_: 0)
    _set(KnownConsumers, "_close_descriptors", _nothing)

    def dirty(layout: Any) -> bytes:
        return bytes(image(layout)[:-1] + b"\x55")

    image = _set(slot_writer, "header_image", dirty)

    def largest(state: SlotWriter, nbytes: int) -> Any:
        return max(state._pools, key=lambda pool: pool.stride_bytes)

    _set(SlotWriter, "pool_for", largest)

    def begin_at_five(state: SlotWriter, mapping: StreamMapping) -> None:
        begin(state, mapping)
        state.next_seq = 5

    begin = _set(SlotWriter, "__init__", begin_at_five)

    def play_the_driver(attachment: ProducerAttachment) -> None:
        attachment.send(ShmLeaseRevoked(1, 2**40, 77, 1, Role.CONSUMER, LeaseRevokeReason.REVOKED))

    _set(ProducerAttachment, "_send_qos", play_the_driver)


def _plant_in_consumer() -> None:
    _set(AnnounceFilter, "_is_timely", lambda *_: True)
    _set(StreamMapping, "_freshness", _nothing)
    _set(ConsumerAttachment, "on_foreign_notice", _nothing)
    _set(ConsumerAttachment, "on_qos_consumer", _nothing)

    def writable(rules: Any, geometry: Any, _: bool, *others: Any) -> StreamMapping:
        return mapped(rules, geometry, True, *others)

    mapped = _set(MappingRules, "_map", writable)

    def count_twice(counters: Counters, name: str, n: int = 1) -> None:
        inc(counters, name, 2 * n if name == "drops_gap" else n)

    inc = _set(Counters, "inc", count_twice)

    def careless(validator: Any, index: int, nbytes: int, *others: Any) -> Any:
        if nbytes == 100:
            return SlotFault.EXTENT
        _slot, pool, offset, image = others
        return check(validator, index, nbytes, index, pool, offset, image)

    check = _set(SlotValidator, "check", careless)

    def stay(receiver: Receiver, state: Any, event: RoleEvent) -> None:
        if event is not RoleEvent.INVALID_SEQ_REGRESSION:
            condemn(receiver, state, event)

    condemn = _set(Receiver, "_condemn", stay)

    def ignore_pid(mapping: StreamMapping, *arguments: Any) -> RoleEvent | None:
        event = revalidate(mapping, *arguments)
        return None if event is RoleEvent.INVALID_PID_CHANGED else event

    revalidate = _set(StreamMapping, "revalidate", ignore_pid)

    def always_use(attachment: ConsumerAttachment, config: Any) -> None:
        on_config(attachment, msgspec.structs.replace(config, use_shm=True))

    on_config = _set(ConsumerAttachment, "on_consumer_config", always_use)
