"""A minimal producer of the tensor pool protocol: `struct`, `mmap` and the Aeron binding alone.

    python examples/interop/producer.py AERON_DIR --frames 1000 --rate 100

Each frame is an array of 16 unsigned 64-bit integers that all equal its sequence. Numbers in
comments are requirements of the specification; docs/how-to/other-languages.md explains the steps.
"""

import argparse
import mmap
import os
import struct
import time

import pyaeron

CHANNEL, CONTROL, DESCRIPTORS = "aeron:ipc?term-length=4m", 1000, 1100
ATTACH, ATTACHED, DETACH, DETACHED, KEEPALIVE, SHUTDOWN, REVOKED = range(1, 8)
PRODUCER, CREATE, NONE32, NONE64 = 1, 2, 2**32 - 1, 2**64 - 1
STREAM, WORDS = 10000, 16
TENSOR = struct.pack(  # UINT64, row order, one dimension; the header's length and header before it
    "<I4H hhBBBI 8i8i109x", 192, 184, 52, 900, 1, 7, 1, 1, 0, 0, 0, WORDS, *[0] * 7, 8, *[0] * 7
)


def message(schema, template, layout, *values):
    """Return a whole message: SBE header and block."""
    block = struct.pack("<" + layout, *values)
    return struct.pack("<4H", len(block), template, schema, 1) + block


def text(data, at):
    """Return variable data at an offset, and the offset behind it."""
    (length,) = struct.unpack_from("<I", data, at)
    return data[at + 4 : at + 4 + length].decode("ascii"), at + 4 + length


def map_region(uri, base, expected, length):
    """Map a region file read-write after the checks of W-030 and W-054."""
    path = uri.removeprefix("shm:file?path=").partition("|")[0]
    if os.path.islink(path) or not os.path.realpath(path).startswith(os.path.realpath(base) + "/"):
        raise SystemExit(f"{path} does not lie below {base}")
    file = os.open(os.path.realpath(path), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    memory = mmap.mmap(file, length)  # refuses a file that is too short
    os.close(file)
    if struct.unpack_from("<QIQIhHI", memory) != (0x544F504C53484D31, 1, *expected):
        raise SystemExit(f"the superblock of {path} does not fit the grant")
    return memory


class Control:
    """The control stream, on which clients and the driver send messages to each other."""

    def __init__(self, aeron):
        self.publication = aeron.add_exclusive_publication(CHANNEL, CONTROL)
        self.subscription = aeron.add_subscription(CHANNEL, CONTROL)

    def send(self, data):
        """Offer until the transport takes the message: wait for a driver."""
        while self.publication.offer(data) is not True:
            time.sleep(0.001)

    def read(self):
        """Return (template, schema, message) of everything that has arrived."""
        taken = []
        self.subscription.poll(lambda buffer, _: taken.append(bytes(buffer)), 100)
        return [(*struct.unpack_from("<2xHH", data), data) for data in taken if len(data) >= 16]

    def request(self, template, correlation, layout, *values):
        """Send a request of the driver schema and return its answer, whose template is the next."""
        self.send(message(901, template, "q" + layout, correlation, *values))
        wanted = (template + 1, 901, struct.pack("<q", correlation))
        for _ in range(5000):
            for *kind, data in self.read():
                if (*kind, data[8:16]) == wanted:
                    return data
            time.sleep(0.001)
        raise SystemExit("the driver does not answer")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("aeron_dir")
    parser.add_argument("--base-dir", default="/dev/shm/tensorpool")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=100.0, help="frames a second")
    options = parser.parse_args()
    # Without an error handler the Aeron client ends the process when the media driver is lost.
    aeron = pyaeron.Aeron(context=pyaeron.Context(dir=options.aeron_dir, error_handler=print))
    control = Control(aeron)
    descriptors = aeron.add_exclusive_publication(CHANNEL, DESCRIPTORS)
    me = int.from_bytes(os.urandom(4)) or 1
    asked = (STREAM, me, PRODUCER, 1, CREATE, 0, NONE32)
    grant = control.request(ATTACH, 1 << 32 | me, "IIBIBBI", *asked)
    block, *fields = struct.unpack_from("<H6xqiQQIQIIHI", grant)
    _, code, lease, _, stream, epoch, _, nslots, *_ = fields
    entry, count = struct.unpack_from("<HH", grant, 8 + block)
    at, pools = 12 + block, []
    for _ in range(count):
        pool_id, _, stride = struct.unpack_from("<HII", grant, at)
        uri, at = text(grant, at + entry)
        pools.append((stride, pool_id, uri))
    ring_uri, at = text(grant, at)
    if code:
        raise SystemExit(f"refused with code {code}: {text(grant, at)[0]}")
    shapes = [(256, 0, ring_uri), *pools]
    wanted = [(epoch, stream, 2 if number else 1, number, nslots) for _, number, _ in shapes]
    memories = [
        map_region(uri, options.base_dir, want, 64 + nslots * size)
        for (size, _, uri), want in zip(shapes, wanted, strict=True)
    ]
    # Commit words and stamps take one aligned 8-byte store, which struct does not do (W-085).
    stamps = [memoryview(memory)[:64].cast("Q") for memory in memories]
    ring, words = memories[0], memoryview(memories[0]).cast("Q")
    stride, pool_id, _ = best = min(pool for pool in pools if pool[0] >= 8 * WORDS)  # W-091
    payloads = memories[1 + pools.index(best)]
    print(f"attached to stream {stream}, epoch {epoch}", flush=True)

    sequence, held, next_upkeep, start = 0, True, 0.0, time.monotonic()
    while sequence < options.frames and held:
        if time.monotonic() >= next_upkeep:  # well within the lease and the announce period
            next_upkeep = time.monotonic() + 0.5
            now = time.monotonic_ns()
            control.send(message(901, KEEPALIVE, "QIIBQ", lease, stream, me, PRODUCER, now))
            for stamp in stamps:
                stamp[7] = now  # W-053
            for template, schema, data in control.read():
                revoked = template == REVOKED and data[16:24] == lease.to_bytes(8, "little")
                held &= not (schema == 901 and (template == SHUTDOWN or revoked))  # W-148
        elif time.monotonic() < start + sequence / options.rate:
            time.sleep(0.0005)
        else:
            slot = sequence & (nslots - 1)
            words[8 + 32 * slot] = 2 * sequence  # in progress (W-081)
            at, now = 64 + slot * stride, time.monotonic_ns()
            payloads[at : at + 8 * WORDS] = struct.pack("<Q", sequence) * WORDS
            head = struct.pack("<IIHIQI26x", 8 * WORDS, slot, pool_id, 0, now, 0)
            ring[72 + 256 * slot : 320 + 256 * slot] = head + TENSOR
            words[8 + 32 * slot] = 2 * sequence + 1  # committed: x86-64 keeps the order of stores
            descriptors.offer(message(900, 4, "IQQQIQ", stream, epoch, sequence, NONE64, NONE32, 0))
            sequence += 1  # also when the descriptor was not taken (W-088)
    if held:
        control.request(DETACH, 2 << 32 | me, "QIIB", lease, stream, me, PRODUCER)
    print(f"{sequence} frames published{'' if held else '; the lease ended'}", flush=True)
    raise SystemExit(0 if held else 1)


if __name__ == "__main__":
    main()
