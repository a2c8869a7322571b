"""The cost of encoding and decoding: `python benchmarks/wire.py`, microseconds a message.

The best of several rounds: other load on the machine only ever adds. The driver decodes every
message of the control stream, so keepalives and attach requests are what to look at.
"""

from __future__ import annotations

import argparse
import timeit
from collections.abc import Callable

from tensor_pool.protocol.wire import (
    PayloadPool,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmLeaseKeepalive,
    decode,
    decoder_for,
    encode,
    peek_header,
)
from tensor_pool.protocol.wire.frame_descriptor import (
    FRAME_DESCRIPTOR,
    FRAME_DESCRIPTOR_TAIL,
    FRAME_DESCRIPTOR_TAIL_OFFSET,
    NULL_U32,
    NULL_U64,
    frame_descriptor_buffer,
)

URI = "shm:file?path=/dev/shm/tensorpool/tensorpool-alice/default/10000/7/1.pool"
KEEPALIVE = ShmLeaseKeepalive(9, 10000, 21, Role.PRODUCER, 123)
REQUEST = ShmAttachRequest(77, 10000, 21, Role.CONSUMER, 1)
POOLS = tuple(PayloadPool(n, 8, 4096, URI) for n in range(1, 4))
RESPONSE = ShmAttachResponse(77, ResponseCode.OK, 9, 8, 10000, 7, 1, 8, 256, 5, POOLS, URI)


def cases() -> dict[str, Callable[[], object]]:
    """Return the measured calls by name."""
    handled = decoder_for([ShmAttachRequest, ShmLeaseKeepalive], raw_enums=True)
    keepalive, request = memoryview(encode(KEEPALIVE)), memoryview(encode(REQUEST))
    response = memoryview(encode(RESPONSE))
    descriptor = frame_descriptor_buffer(stream_id=10000, epoch=7)
    pack, unpack = FRAME_DESCRIPTOR_TAIL.pack_into, FRAME_DESCRIPTOR.unpack_from
    return {
        "peek_header": lambda: peek_header(keepalive),
        "decode keepalive": lambda: decode(keepalive),
        "decode keepalive, as the driver": lambda: handled(keepalive),
        "decode attach request, as the driver": lambda: handled(request),
        "decode attach response, 3 pools": lambda: decode(response),
        "encode keepalive": lambda: encode(KEEPALIVE),
        "encode attach request": lambda: encode(REQUEST),
        "encode attach response, 3 pools": lambda: encode(RESPONSE),
        "write descriptor in place": lambda: pack(
            descriptor, FRAME_DESCRIPTOR_TAIL_OFFSET, 5, NULL_U64, NULL_U32, 0
        ),
        "read descriptor": lambda: unpack(descriptor),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--number", type=int, default=20_000, help="messages in a round")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    for name, case in cases().items():
        best = min(timeit.repeat(case, number=arguments.number, repeat=arguments.rounds))
        print(f"{name:<40}{best / arguments.number * 1e6:8.2f} µs")


if __name__ == "__main__":
    main()
