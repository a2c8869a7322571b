"""Wrong clients: leases, announces, frames."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

_ROWS = "tests/client/test_receive_rows.py"
_LEASES = "tests/client/test_leases.py"
_CONNECTION = "tests/client/test_connection_machine.py"
_CONSUMER = "tests/client/test_consumer_machine.py"
_ANNOUNCES = "tests/client/test_announces.py"
_PUBLISH = "tests/client/test_publish.py"
_BATCHES = "tests/client/test_batches.py"

MUTANTS = (
    # Leases
    Mutant(
        "a keepalive does not move the deadline",
        "client/attachment/connection_machine.py",
        "                self.deadline_ns = now + self._extension_ns\n",
        "                self.deadline_ns += 0\n",
        (_CONNECTION, _LEASES),
    ),
    Mutant(
        "keepalives are as rare as configured, however short the lease",
        "client/attachment/connection_machine.py",
        "min(self._keepalive_ns, self._extension_ns // 3)",
        "self._keepalive_ns",
        (_CONNECTION, _LEASES),
    ),
    Mutant(
        "a consumer whose hellos go unanswered waits for ever",
        "client/consumer/attachment.py",
        'self.connection.dispatch(ConnectionEvent.REATTACH, "no hello was answered")',
        "pass",
        ("tests/client/test_connections.py",),
    ),
    Mutant(
        "a lease is kept when its driver is lost",
        "client/attachment/connection_machine.py",
        '        self._lose_lease("driver lost")\n        self._return_own_lease()\n',
        '        self._lose_lease("driver lost")\n',
        (_CONNECTION,),
    ),
    Mutant(
        "a late answer to another client is adopted",
        "client/attachment/connection_machine.py",
        "return late.grant is not None and late.client_id == self.identity.client_id",
        "return late.grant is not None",
        (_CONNECTION, "tests/client/test_attach_response.py"),
    ),
    Mutant(
        "a refused client id is used again",
        "client/attachment/connection_machine.py",
        "            self.identity.renew()\n",
        "            self.identity.client_id += 0\n",
        (_CONNECTION,),
    ),
    Mutant(
        "a blocked keepalive ends the lease at once",
        "client/attachment/connection_machine.py",
        "if result in _MOMENTARY and now - self._keepalive_blocked_since < self._keepalive_ns:",
        "if result in _MOMENTARY and now > self._keepalive_blocked_since + self._keepalive_ns:",
        (_CONNECTION,),
    ),
    Mutant(
        "a detach is repeated once too often",
        "client/attachment/connection_machine.py",
        "return self._detach_attempts < self.config.detach_attempts",
        "return self._detach_attempts <= self.config.detach_attempts",
        (_CONNECTION,),
    ),
    Mutant(
        "a lease that has run out is accepted",
        "client/attachment/grant.py",
        "expiry is None or expiry > now",
        "expiry is None or expiry >= now",
        ("tests/client/test_attach_response.py",),
    ),
    # Announces and mappings
    Mutant(
        "an announce of an earlier epoch counts",
        "client/attachment/announce_filter.py",
        "            or announce.epoch < self.highest_epoch\n",
        "            or announce.epoch < self.highest_epoch - 1\n",
        (_ANNOUNCES,),
    ),
    Mutant(
        "an announce is stale at the end of its window already",
        "client/attachment/announce_filter.py",
        "return now - timestamp_ns <= self._freshness_ns",
        "return now - timestamp_ns < self._freshness_ns",
        (_ANNOUNCES,),
    ),
    Mutant(
        "an announce from before joining counts",
        "client/attachment/announce_filter.py",
        "            if timestamp_ns < join_time_ns:\n",
        "            if timestamp_ns < join_time_ns - 1:\n",
        (_ANNOUNCES,),
    ),
    Mutant(
        "a lost producer's epoch may be mapped again",
        "client/consumer/machine.py",
        "        self._unmap()\n        self.min_epoch = self.port.highest_epoch + 1\n",
        "        self._unmap()\n        self.min_epoch = self.port.highest_epoch\n",
        (_CONSUMER,),
    ),
    Mutant(
        "a notice older than the mapping unmaps it",
        "client/consumer/machine.py",
        "return notice_timestamp_ns > self.mapped_announce_ts",
        "return notice_timestamp_ns >= self.mapped_announce_ts",
        (_CONSUMER,),
    ),
    Mutant(
        "the epoch waited for is not good enough",
        "client/consumer/machine.py",
        "return announce.epoch >= self.min_epoch",
        "return announce.epoch > self.min_epoch",
        (_CONSUMER,),
    ),
    Mutant(
        "memory of a lost lease stays mapped",
        "client/consumer/machine.py",
        "    def _lose_lease(self, why: str) -> None:\n        self._unmap()\n",
        "    def _lose_lease(self, why: str) -> None:\n        self.mapping = None\n",
        (_CONSUMER,),
    ),
    Mutant(
        "a mapping that comes too late is never released",
        "client/consumer/machine.py",
        "    def _release_late(self, mapping: StreamMapping) -> Outcome:\n"
        "        self.port.release(mapping)\n",
        "    def _release_late(self, mapping: StreamMapping) -> Outcome:\n",
        (_CONSUMER,),
    ),
    # Receiving
    Mutant(
        "a frame is given out after the lease",
        "client/consumer/receiver.py",
        " or prefix != state.prefix or now() > connection.deadline_ns:\n",
        " or prefix != state.prefix:\n",
        (_LEASES,),
    ),
    Mutant(
        "a slot changed while it was read is accepted",
        "client/consumer/receiver.py",
        "                if state.words[word_index] != word:\n",
        "                if state.words[word_index] < word:\n",
        (_ROWS,),
    ),
    Mutant(
        "a slot that is being written is accepted",
        "client/consumer/receiver.py",
        "                if word != seq << 1 | 1:\n",
        "                if word >> 1 != seq:\n",
        (_ROWS,),
    ),
    Mutant(
        "a commit word that went back is accepted",
        "client/consumer/receiver.py",
        "                if word < state.accepted_words[index]:\n",
        "                if word < 0:\n",
        (_ROWS,),
    ),
    Mutant(
        "a gap counts one frame too many",
        "client/consumer/receiver.py",
        "            gap = seq - state.last_seq - 1\n",
        "            gap = seq - state.last_seq\n",
        (_ROWS,),
    ),
    Mutant(
        "the largest gap allowed resynchronises",
        "client/consumer/receiver.py",
        "gap > self._max_seq_gap:",
        "gap >= self._max_seq_gap:",
        (_ROWS,),
    ),
    Mutant(
        "a gap after a resync is not counted",
        "client/consumer/frame_account.py",
        '            self._counters.inc("drops_gap", max(0, seq - state.last_seq - 1))\n',
        "",
        (_ROWS,),
    ),
    Mutant(
        "frames of an epoch that is never mapped are not counted",
        "client/consumer/frame_account.py",
        "            self._heard[epoch] = first, max(newest, seq)\n",
        "            del first, newest\n",
        (
            "tests/client/test_every_frame_counts.py::"
            "test_C_108_frames_of_an_epoch_that_is_never_mapped_count_by_their_descriptors",
        ),
    ),
    Mutant(
        "a sequence that went back is only counted",
        "client/consumer/receiver.py",
        "            self._condemn(state, RoleEvent.INVALID_SEQ_REGRESSION)\n",
        "",
        (_ROWS,),
    ),
    Mutant(
        "a newer epoch in a descriptor is only counted",
        "client/consumer/receiver.py",
        "            if message.epoch > state.epoch:\n",
        "            if message.epoch < state.epoch:\n",
        (_ROWS,),
    ),
    Mutant(
        "a frame stays valid when its slot is written again",
        "client/consumer/frame.py",
        "                and state.words[state.word_indices[self._index]] == self._word\n",
        "                and state.words[state.word_indices[self._index]] >= self._word\n",
        ("tests/client/test_receiving.py", _ROWS),
    ),
    Mutant(
        "a frame stays valid after the lease",
        "client/consumer/frame.py",
        "                and state.now() <= state.connection.deadline_ns\n",
        "",
        ("tests/client/test_receiving.py", _ROWS, _LEASES),
    ),
    Mutant(
        "a copy is not checked",
        "client/consumer/frame.py",
        "        if not self.valid:\n            if not self._state.is_open:\n",
        "        if not self._state.is_open:\n            if not self._state.is_open:\n",
        ("tests/client/test_receiving.py", _ROWS),
    ),
    Mutant(
        "a thread that takes a ring sleeps without looking on",
        "client/consumer/consumer.py",
        "frame = self._look_on() if bell.empty() else self._next()",
        "frame = self._next() if bell.empty() else self._next()",
        ("tests/client/test_waiting.py",),
    ),
    Mutant(
        "a thread that publishes comes in before the conductor that waits",
        "client/handle.py",
        "        self.take = _nothing\n",
        "",
        ("tests/client/test_threads.py",),
    ),
    Mutant(
        "a conductor comes in beside another one",
        "client/handle.py",
        "        self._conductors.acquire()\n",
        "        self._conductors = threading.Lock()\n        self._conductors.acquire()\n",
        ("tests/client/test_threads.py",),
    ),
    Mutant(
        "a bell is rung for every frame",
        "client/producer/producer.py",
        "        bells = self._bells\n        if bells:  # as in `_ring`, without a call\n"
        "            try:\n                for bell in bells:\n"
        "                    if not bell.value:\n",
        "        bells = self._bells\n        if bells:  # as in `_ring`, without a call\n"
        "            try:\n                for bell in bells:\n"
        "                    if True:\n",
        ("tests/client/test_waiting.py",),
    ),
    Mutant(
        "the rate gate is one nanosecond too slow",
        "client/rate_gate.py",
        "(time_ns >= due_ns and",
        "(time_ns > due_ns and",
        ("tests/client/test_receiving.py", _ROWS, "tests/client/test_private_streams.py"),
    ),
    # Batches
    Mutant(
        "frames of a batch are committed before their headers",
        "client/producer/slot_writer.py",
        "        header = plan.header\n        if self.written[slots]",
        "        columns.words[slots] = words | np.uint64(COMMITTED)\n"
        "        header = plan.header\n        if self.written[slots]",
        (f"{_BATCHES}::test_C_085_each_step_is_done_for_all_frames_of_a_part_before_the_next",),
    ),
    Mutant(
        "no word marks that the slots of a batch are being written",
        "client/producer/slot_writer.py",
        "        columns.words[slots] = words\n        full_fence()",
        "        full_fence()",
        (f"{_BATCHES}::test_C_085_each_step_is_done_for_all_frames_of_a_part_before_the_next",),
    ),
    Mutant(
        "a batch keeps the headers that stand in its slots",
        "client/producer/slot_writer.py",
        "if self.written[slots].count(header) != count:",
        "if self.written[slots].count(None):",
        (_BATCHES,),
    ),
    Mutant(
        "a batch goes on after the lease",
        "client/producer/batch.py",
        "            if now > producer._connection.deadline_ns:\n",
        "            if now < 0:\n",
        (f"{_BATCHES}::test_C_051_a_lease_that_ends_within_a_batch_ends_the_batch",),
    ),
    Mutant(
        "a batch overtakes open loans",
        "client/producer/batch.py",
        "if count == 1 or producer._loans.by_seq:",
        "if count == 1:",
        (f"{_BATCHES}::test_C_076_the_descriptors_of_a_batch_wait_for_open_loans",),
    ),
    Mutant(
        "a refused descriptor of a batch counts as sent",
        "client/producer/descriptor_streams.py",
        "statuses[place] = self.settle(descriptor, (first is True, second is True), now)",
        "self.settle(descriptor, (first is True, second is True), now)",
        (f"{_BATCHES}::test_C_085_each_refused_descriptor_has_its_status",),
    ),
    Mutant(
        "the words of a batch are not loaded again behind the headers",
        "client/consumer/read_state.py",
        "        good &= columns.words[slots].copy() == words\n",
        "",
        (
            f"{_BATCHES}::test_C_103_slots_written_between_the_two_looks_at_their_words_are_not_taken",
        ),
    ),
    Mutant(
        "frames of a stack are not checked behind the copies",
        "client/consumer/frame_run.py",
        "        stand = state.still_stand(read)\n",
        "        stand = read.words > 0\n",
        (f"{_BATCHES}::test_C_103_frames_written_over_while_they_are_stacked_are_left_out",),
    ),
    Mutant(
        "the headers of a batch are not compared",
        "client/consumer/read_state.py",
        "        good &= (bodies == found.body).all(axis=1)\n",
        "",
        (f"{_BATCHES}::test_C_103_a_stack_ends_before_a_frame_of_another_layout",),
    ),
    Mutant(
        "frames lost from a stack count as received",
        "client/consumer/receiver.py",
        "            self.frames_ok -= lost\n",
        "",
        (f"{_BATCHES}::test_C_103_frames_written_over_while_they_are_stacked_are_left_out",),
    ),
    # Publishing
    Mutant(
        "the committed word is stored before the header",
        "client/producer/slot_writer.py",
        "        index = seq & self.mask\n        self.write_header(",
        "        index = seq & self.mask\n"
        "        self.words[self.word_indices[index]] = seq << 1 | 1\n"
        "        self.write_header(",
        (_PUBLISH,),
    ),
    Mutant(
        "a loan's header is taken for that of the frames before it",
        "client/producer/slot_writer.py",
        "        self.written[index] = header\n",
        "        self.written[index] = self.written[index] or header\n",
        (_PUBLISH,),
    ),
    Mutant(
        "a header is not written again for a frame of another layout",
        "client/producer/producer.py",
        "            if state.written[index] is plan.header:\n",
        "            if state.written[index] is not None:\n",
        (_PUBLISH,),
    ),
    Mutant(
        "an array of two dimensions is taken to lie like the one before it",
        "client/producer/slot_writer.py",
        "source.ndim > 1 else None",
        "source.ndim > 2 else None",
        (_PUBLISH,),
    ),
    Mutant(
        "a trace id stays for the frames after it",
        "client/producer/producer.py",
        "                trace_id == state.trace_id\n                and meta_version",
        "                meta_version",
        (_PUBLISH,),
    ),
    Mutant(
        "a mapping taken away during a receive raises",
        "client/consumer/read_state.py",
        "UNMAPPED_MEANWHILE = (ValueError, IndexError, TypeError, struct.error)",
        "UNMAPPED_MEANWHILE = (ValueError,)",
        ("tests/client/test_unmapping.py",),
    ),
    Mutant(
        "no word marks that a slot is being written",
        "client/producer/slot_writer.py",
        "        self.words[self.word_indices[seq & self.mask]] = seq << 1\n",
        "",
        (_PUBLISH, "tests/client/test_loans.py"),
    ),
    Mutant(
        "a frame that just fits goes to the next larger pool",
        "client/producer/slot_writer.py",
        "            if pool.stride_bytes >= nbytes:\n",
        "            if pool.stride_bytes > nbytes:\n",
        (_PUBLISH,),
    ),
    Mutant(
        "frames go to the largest pool",
        "client/producer/slot_writer.py",
        "sorted(pools, key=lambda pool: pool.stride_bytes)",
        "sorted(pools, key=lambda pool: -pool.stride_bytes)",
        (_PUBLISH,),
    ),
    Mutant(
        "a loan overtakes an older one that is still open",
        "client/producer/open_loans.py",
        "        while self._held and self._held[0].seq < oldest_open:\n",
        "        while self._held and self._held[0].seq < oldest_open + 8:\n",
        ("tests/client/test_loans.py",),
    ),
    Mutant(
        "a loan is committed into memory of another lease",
        "client/producer/producer.py",
        "            if self._state is not state or loan.seq not in self._loans.by_seq:\n",
        "            if loan.seq not in self._loans.by_seq:\n",
        ("tests/client/test_loans.py",),
    ),
    Mutant(
        "a loan is committed after the lease",
        "client/producer/producer.py",
        "            if now > self._connection.deadline_ns:\n                loan._finish()\n",
        "            if now > self._connection.deadline_ns + 10**15:\n"
        "                loan._finish()\n",
        ("tests/client/test_loans.py", _LEASES),
    ),
)
