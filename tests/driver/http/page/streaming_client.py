"""A client that publishes pictures of one colour, or reads them, until it is killed.

streaming_client.py ROLE STREAM_ID AERON_DIR CHANNEL CONTROL_STREAM_ID BASE_DIR
"""

from __future__ import annotations

import sys
import time

import numpy as np

from tensor_pool.client import ClientConfig, connect

HZ = 50
RED = (220, 30, 40)


def main() -> None:
    role, stream_id, aeron_dir, channel, control_stream_id, base_dir = sys.argv[1:]
    config = ClientConfig(
        aeron_dir=aeron_dir,
        control_channel=channel,
        control_stream_id=int(control_stream_id),
        qos_channel="aeron:ipc?term-length=4m",
        allowed_base_dirs=(base_dir,),
        keepalive_interval=0.4,
        announce_period=0.4,
        qos_interval=0.2,
    )
    with connect(config) as client:
        if role == "consumer":
            for _ in client.consumer(int(stream_id)):
                pass
        picture = np.full((60, 80, 3), RED, np.uint8)
        with client.producer(int(stream_id)) as producer:
            while True:
                producer.publish(picture)
                time.sleep(1 / HZ)


if __name__ == "__main__":
    main()
