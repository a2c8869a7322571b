"""A minimal consumer of the tensor pool protocol: `struct`, `mmap` and the Aeron binding alone.

    python examples/interop/consumer.py AERON_DIR --seconds 10

Compares each frame of stream 10000 with what producer.py writes. Numbers in comments are
requirements of the specification; docs/how-to/other-languages.md explains the steps.
"""

import argparse
import mmap
import os
import struct
import time

import pyaeron

CHANNEL, CONTROL, DESCRIPTORS, STREAM = "aeron:ipc?term-length=4m", 1000, 1100, 10000
ATTACH, ATTACHED, DETACH, DETACHED, KEEPALIVE, SHUTDOWN, REVOKED = range(1, 8)
ANNOUNCE, DESCRIPTOR, PRODUCER, CONSUMER, CREATE, STALE_NS = 1, 4, 1, 2, 2, 3_000_000_000


def message(schema, template, layout, *values):
    """Return a whole message: SBE header and block."""
    block = struct.pack("<" + layout, *values)
    return struct.pack("<4H", len(block), template, schema, 1) + block


def regions_of(data):
    """Return [(slot bytes, pool id, URI)] of an attach response or announce, the ring last."""
    at, found = 12 + struct.unpack_from("<H", data)[0], []
    entry, count = struct.unpack_from("<HH", data, at - 4)
    for number in range(count + 1):
        pool_id, _, stride = struct.unpack_from("<HII", data, at) if number < count else (0, 0, 256)
        at += entry + 4 if number < count else 4
        length = struct.unpack_from("<I", data, at - 4)[0]
        found.append((stride, pool_id, data[at : at + length].decode("ascii")))
        at += length
    return found


class Mapped:
    """The regions of one epoch, mapped read-only after the checks of W-030 and W-054."""

    def __init__(self, base, epoch, nslots, data):
        self.epoch, self.nslots, self.last, self.pools = epoch, nslots, -1, {}
        for size, pool_id, uri in regions_of(data):
            path = uri.removeprefix("shm:file?path=").partition("|")[0]
            real = os.path.realpath(path)
            if os.path.islink(path) or not real.startswith(os.path.realpath(base) + "/"):
                raise SystemExit(f"{path} does not lie below {base}")
            file = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            memory = mmap.mmap(file, 64 + nslots * size, prot=mmap.PROT_READ)  # fails if too short
            os.close(file)
            wanted = (0x544F504C53484D31, 1, epoch, STREAM, 2 if pool_id else 1, pool_id, nslots)
            if struct.unpack_from("<QIQIhHI", memory) != wanted:
                raise SystemExit(f"the superblock of {path} does not fit")
            self.pools[pool_id] = (size, memory)
        self.ring = self.pools.pop(0)[1]
        self.words = memoryview(self.ring).cast("Q")

    def payload(self, sequence):
        """Return the bytes of a frame, or None if its slot cannot be used (W-082, W-106)."""
        slot = sequence & (self.nslots - 1)
        before = self.words[8 + 32 * slot]
        header = self.ring[64 + 256 * slot : 320 + 256 * slot]
        length, at, pool_id, *fixed = struct.unpack_from("<IIHI38xI4H", header, 8)
        size, memory = self.pools.get(pool_id, (-1, b""))
        if (at, *fixed) != (slot, 0, 192, 184, 52, 900, 1) or length > size:
            return None
        data = memory[64 + slot * size : 64 + slot * size + length]
        return data if before == self.words[8 + 32 * slot] == 2 * sequence + 1 else None


class Consumer:
    """The state of a consumer."""

    def __init__(self, base, client):
        self.base, self.correlation, self.lease = base, struct.pack("<q", client), None
        self.mapped, self.held = None, True
        self.above = self.good = self.wrong = self.lost = 0

    def on_message(self, data):
        template, schema = struct.unpack_from("<2xHH", data)
        if (schema, template) == (900, DESCRIPTOR):
            self.on_descriptor(*struct.unpack_from("<IQQ", data, 8))
        elif (schema, template) == (900, ANNOUNCE) and self.lease:
            stream, epoch, stamp, nslots = struct.unpack_from("<I4xQQ5xI", data, 8)
            if stream == STREAM and epoch > self.above and time.monotonic_ns() - stamp < STALE_NS:
                self.mapped, self.above = Mapped(self.base, epoch, nslots, data), epoch
        elif (schema, template) == (901, ATTACHED) and data[8:16] == self.correlation:
            code, self.lease, epoch, nslots = struct.unpack_from("<iQ12xQ4xI", data, 16)
            print(f"answered with code {code}", flush=True)
            self.held, self.above = code == 0, epoch
            self.mapped = Mapped(self.base, epoch, nslots, data) if self.held else None
        elif (schema, template) == (901, SHUTDOWN):
            self.held = False
        elif (schema, template) == (901, REVOKED):
            lease, stream, _, role = struct.unpack_from("<QIIB", data, 16)
            self.held &= lease != self.lease  # W-148
            if (stream, role) == (STREAM, PRODUCER):
                self.mapped = None  # until a higher epoch is announced (W-147)

    def on_descriptor(self, stream, epoch, sequence):
        mapped = self.mapped
        if stream != STREAM or mapped is None or epoch != mapped.epoch or sequence <= mapped.last:
            return
        self.lost += sequence - mapped.last - 1 if mapped.last >= 0 else 0
        mapped.last, data = sequence, mapped.payload(sequence)
        right = data is not None and data == struct.pack("<Q", sequence) * (len(data) // 8)
        self.good, self.lost = self.good + right, self.lost + (data is None)
        self.wrong += data is not None and not right


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("aeron_dir")
    parser.add_argument("--base-dir", default="/dev/shm/tensorpool")
    parser.add_argument("--frames", type=int, default=2**63, help="end after so many frames")
    parser.add_argument("--seconds", type=float, default=10.0, help="end after so many seconds")
    options = parser.parse_args()
    # Without an error handler the Aeron client ends the process when the media driver is lost.
    aeron = pyaeron.Aeron(context=pyaeron.Context(dir=options.aeron_dir, error_handler=print))
    requests = aeron.add_exclusive_publication(CHANNEL, CONTROL)
    subscriptions = [aeron.add_subscription(CHANNEL, one) for one in (CONTROL, DESCRIPTORS)]
    me, inbox = int.from_bytes(os.urandom(4)) or 1, []
    one = Consumer(options.base_dir, me)
    asked = message(901, ATTACH, "qIIBIBBI", me, STREAM, me, CONSUMER, 1, CREATE, 0, 2**32 - 1)
    while requests.offer(asked) is not True:  # waits for a driver
        time.sleep(0.001)
    upkeep, end = time.monotonic() + 0.5, time.monotonic() + options.seconds
    while one.held and one.good + one.wrong + one.lost < options.frames and time.monotonic() < end:
        taken = [s.poll(lambda buffer, _: inbox.append(bytes(buffer)), 100) for s in subscriptions]
        for data in inbox:
            one.on_message(data)
        inbox.clear()
        if time.monotonic() >= upkeep and one.lease:
            upkeep, now = time.monotonic() + 0.5, time.monotonic_ns()
            requests.offer(message(901, KEEPALIVE, "QIIBQ", one.lease, STREAM, me, CONSUMER, now))
            if one.mapped and now - one.mapped.words[7] > STALE_NS:  # W-145
                one.mapped, one.above = None, one.above - 1
        if not any(taken):
            time.sleep(0.0005)
    if one.held and one.lease:
        requests.offer(message(901, DETACH, "qQIIB", me + 2**32, one.lease, STREAM, me, CONSUMER))
    print(f"{one.good} frames right, {one.wrong} wrong, {one.lost} lost", flush=True)


if __name__ == "__main__":
    main()
