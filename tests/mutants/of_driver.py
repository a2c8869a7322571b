"""Wrong drivers: leases, epochs, announces, answers, files."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

_LEASES = "tests/driver/core/test_leases.py"
_LEASE = "tests/driver/core/test_lease_machine.py"
_STREAM = "tests/driver/core/test_stream_machine.py"
_EPOCHS = "tests/driver/core/test_epochs.py"
_ORDER = "tests/driver/core/test_order.py"
_STOP = "tests/driver/core/test_start_stop.py"
_REFUSALS = "tests/driver/core/test_attach_refusals.py"
_ROUTER = "tests/driver/core/test_router.py"
_IDS = "tests/driver/core/test_ids.py"
_MACHINE = "tests/driver/core/test_driver_machine.py"
_HEALTH = "tests/driver/core/test_health.py"
_PUBLISHING = "tests/driver/core/test_publishing.py"
_GC = "tests/driver/files/test_store_gc.py"

MUTANTS = (
    # Leases
    Mutant(
        "no notice goes out when a lease ends",
        "driver/core/lease_machine.py",
        "        services.metrics.inc(counter)\n        services.publisher.publish(\n",
        "        services.metrics.inc(counter)\n        _log_only = (\n",
        (_LEASE, _LEASES),
    ),
    Mutant(
        "the next epoch is announced before the notice",
        "driver/core/lease_machine.py",
        "        services.metrics.inc(counter)\n        services.publisher.publish(\n",
        "        services.metrics.inc(counter)\n"
        "        if self.role == Role.PRODUCER:\n"
        "            self._leave_as_producer()\n"
        "        services.publisher.publish(\n",
        (_ORDER, _EPOCHS),
    ),
    Mutant(
        "a keepalive does not extend the lease",
        "driver/core/lease_machine.py",
        "    def _kept_alive(self, _: object) -> Outcome:\n        self._extend()\n",
        "    def _kept_alive(self, _: object) -> Outcome:\n",
        (_LEASE, _LEASES),
    ),
    Mutant(
        "node ids of ended leases stay taken",
        "driver/core/lease_machine.py",
        "        services.node_ids.release(self.node_id, self.client_id, services.time.now)\n",
        "",
        (_IDS, _LEASE),
    ),
    Mutant(
        "a lease expires one nanosecond early",
        "driver/core/lease_table.py",
        "            if lease.expiry_ns >= before_ns:\n",
        "            if lease.expiry_ns > before_ns:\n",
        (_LEASES,),
    ),
    Mutant(
        "leases are forgotten in the order of their keepalives",
        "driver/core/lease_table.py",
        "return sorted(found, key=lambda lease: lease.lease_id)",
        "return found",
        (_LEASES, _ORDER),
    ),
    Mutant(
        "a lease kept alive hides those that expired behind it",
        "driver/core/lease_table.py",
        "        self._by_id.move_to_end(lease.lease_id)\n",
        "        self._by_id.get(lease.lease_id)\n",
        (_LEASES,),
    ),
    Mutant(
        "an ended lease still blocks its client id",
        "driver/core/lease_table.py",
        "        if self._by_client.get(lease.client_id) is lease:\n",
        "        if self._by_client.get(lease.client_id) is None:\n",
        (_LEASES, _REFUSALS),
    ),
    Mutant(
        "leases expire although their keepalives wait unread",
        "driver/core/lease_requests.py",
        "        if not check.drained:\n",
        "        if not check.drained and False:\n",
        (_LEASES,),
    ),
    Mutant(
        "a client keeps another client's lease alive",
        "driver/core/lease_requests.py",
        "        and lease.client_id == message.client_id\n",
        "",
        (_LEASES,),
    ),
    Mutant(
        "an unknown lease gets a notice for every keepalive",
        "driver/core/lease_requests.py",
        "            self._foreign.move_to_end(message.lease_id)\n            return\n",
        "            self._foreign.move_to_end(message.lease_id)\n",
        (_LEASES,),
    ),
    Mutant(
        "the end of the last lease does not end the drain",
        "driver/core/lease_requests.py",
        "        if not self._leases and self._is_draining():\n",
        "        if not self._leases and not self._is_draining():\n",
        (_STOP, _MACHINE),
    ),
    # Attaching
    Mutant(
        "a second producer is admitted",
        "driver/core/admission.py",
        "if request.role == Role.PRODUCER and stream.producer is not None:",
        "if request.role == Role.CONSUMER and stream.producer is not None:",
        (_REFUSALS,),
    ),
    Mutant(
        "a request is a repetition whatever its correlation id",
        "driver/core/admission.py",
        "            lease.correlation_id == request.correlation_id\n            and lease.role",
        "            lease.role",
        (_REFUSALS, "tests/driver/core/test_router.py"),
    ),
    Mutant(
        "one lease too many is granted",
        "driver/core/admission.py",
        "if limit and len(self._leases) >= limit:",
        "if limit and len(self._leases) > limit:",
        (_REFUSALS,),
    ),
    Mutant(
        "a grant that broke leaves its lease in the table",
        "driver/core/attach_requests.py",
        "            self._leases.remove(lease)\n",
        "            self._leases.get(lease.lease_id)\n",
        ("tests/driver/core/test_router.py", _EPOCHS, _IDS, _REFUSALS, _LEASES),
    ),
    Mutant(
        "a new producer writes into the epoch of the last one",
        "driver/core/attach_requests.py",
        "        if stream.regions is not None and role != Role.PRODUCER:\n",
        "        if stream.regions is not None:\n",
        (_EPOCHS,),
    ),
    # Streams and epochs
    Mutant(
        "an epoch is not above those on disk",
        "driver/core/epochs.py",
        "            self._store.highest_epoch(stream_id) + 1,\n",
        "            self._store.highest_epoch(stream_id),\n",
        (_EPOCHS,),
    ),
    Mutant(
        "the epoch is not bumped where the clock stands still",
        "driver/core/epochs.py",
        "            stream.last_epoch + 1,\n",
        "            stream.last_epoch,\n",
        (_EPOCHS, "tests/driver/files/test_store_gc.py"),
    ),
    Mutant(
        "a stream accepts an epoch it had before",
        "driver/core/stream_machine.py",
        "return new.regions.epoch > self.last_epoch",
        "return new.regions.epoch >= self.last_epoch",
        (_STREAM,),
    ),
    Mutant(
        "an epoch that is over is not retired",
        "driver/core/stream_machine.py",
        "    def _epoch_bumped(self, new: NewEpoch) -> Outcome:\n        self._retire()\n",
        "    def _epoch_bumped(self, new: NewEpoch) -> Outcome:\n",
        (_STREAM, _EPOCHS),
    ),
    Mutant(
        "any lease's end frees the stream of its producer",
        "driver/core/stream_machine.py",
        "        return self.producer is not None and self.producer.lease_id == end.lease_id\n",
        "        return self.producer is not None\n",
        (_STREAM,),
    ),
    Mutant(
        "a stream without a successor keeps its old epoch",
        "driver/core/stream_machine.py",
        "    def _producer_lost(self, end: ProducerEnd) -> None:\n"
        "        self._clear_producer()\n"
        "        self._retire()\n",
        "    def _producer_lost(self, end: ProducerEnd) -> None:\n        self._clear_producer()\n",
        (_STREAM, _EPOCHS),
    ),
    Mutant(
        "consumers of a stream without an epoch wait for ever",
        "driver/core/driver_machine.py",
        "            elif stream.consumers and stream.accepts_provisioning():\n",
        "            elif not stream.consumers and stream.accepts_provisioning():\n",
        (_EPOCHS,),
    ),
    Mutant(
        "a drain that begins without leases waits for its time",
        "driver/core/driver_machine.py",
        "        elif not self.leases:\n            services.post(",
        "        elif self.leases:\n            services.post(",
        (_STOP, _MACHINE),
    ),
    Mutant(
        "one of two troubles ends, and all is well",
        "driver/core/driver_machine.py",
        "        return not self.conditions - {condition}\n",
        "        return bool(self.conditions) or condition is None\n",
        (_HEALTH, _MACHINE),
    ),
    Mutant(
        "a period is over one nanosecond late",
        "driver/core/timers.py",
        "now - self._last_ns < self._period_ns:",
        "now - self._last_ns <= self._period_ns:",
        (_LEASES, _MACHINE, "tests/driver/core/test_announces.py"),
    ),
    Mutant(
        "a start that failed keeps the namespace",
        "driver/core/start_stop.py",
        "            opened.callback(services.store.close, discard=True)\n",
        "",
        (_STOP,),
    ),
    Mutant(
        "recovered space is not noticed",
        "driver/core/health.py",
        "                if store.free_bytes() >= self._space_wanted:\n",
        "                if store.free_bytes() > 2 * self._space_wanted + 2**60:\n",
        (_HEALTH,),
    ),
    # Messages
    Mutant(
        "an outdated announce is sent after the newer one",
        "driver/messages/outbox.py",
        "            self.discard_announce(entry.stream_id)\n            self._announces",
        "            self._announces",
        (_PUBLISHING, "tests/driver/core/test_announces.py"),
    ),
    Mutant(
        "an empty token stops a driver that has none",
        "driver/messages/incoming.py",
        "if not (self._shutdown_token and hmac.compare_digest(given, self._shutdown_token)):",
        "if not hmac.compare_digest(given, self._shutdown_token):",
        (_STOP, _ROUTER),
    ),
    Mutant(
        "node ids of others are given out before they have cooled down",
        "driver/core/node_ids.py",
        "return now - release.at_ns >= self._cooldown_ns",
        "return now - release.at_ns >= self._cooldown_ns - 1",
        (_IDS,),
    ),
    Mutant(
        "node ids begin again at 0",
        "driver/core/node_ids.py",
        "    return node_id + 1 if node_id + 1 < NULL_NODE_ID else 1\n",
        "    return node_id + 1 if node_id + 1 < NULL_NODE_ID else 0\n",
        (_IDS,),
    ),
    # Files
    Mutant(
        "current epochs are collected like others",
        "driver/files/garbage.py",
        "            if self._is_current(stream_id, epoch):\n",
        "            if not self._is_current(stream_id, epoch):\n",
        (_GC,),
    ),
    Mutant(
        "an epoch is collected at its minimum age, not above",
        "driver/files/garbage.py",
        "                if age_ns > leniency.min_age_ns:\n",
        "                if age_ns >= leniency.min_age_ns:\n",
        (_GC,),
    ),
    Mutant(
        "epochs of another driver that lives are collected",
        "driver/files/garbage.py",
        "            if superblock.pid != os.getpid() and process_is_alive(superblock.pid):\n",
        "            if superblock.pid == 0 and process_is_alive(superblock.pid):\n",
        (_GC,),
    ),
    Mutant(
        "one epoch too few is kept",
        "driver/files/garbage.py",
        "epochs[: -leniency.keep] if leniency.keep else epochs:",
        "epochs[: 1 - leniency.keep] if leniency.keep > 1 else epochs:",
        (_GC,),
    ),
    Mutant(
        "short space does not bring old epochs down",
        "driver/files/store.py",
        "            self._collect_for_space()\n",
        "            self.free_bytes()\n",
        (_GC, "tests/driver/files/test_store_provision.py"),
    ),
    Mutant(
        "retired epochs stay mapped by the driver",
        "driver/files/store.py",
        "self._regions.pop((stream_id, epoch), ()):\n            region.close()\n",
        "self._regions.get((stream_id, epoch), ()):\n            region.geometry\n",
        (_GC, "tests/driver/files/test_store_provision.py"),
    ),
)
