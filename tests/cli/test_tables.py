"""Tables of `streams`, `leases` and `watch` beside many consumers."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tensor_pool.cli.commands.watch import watch_screen
from tensor_pool.cli.pool_view.overview import (
    ConsumerView,
    DriverView,
    LeaseView,
    Overview,
    StreamView,
)
from tensor_pool.cli.pool_view.tables import lease_table, stream_table


def pool_of_100_consumers() -> Overview:
    """Numbers as long as they get."""
    consumers = [
        ConsumerView(client_id=4_000_000_000 + number, drops_gap=12_345) for number in range(100)
    ]
    stream = StreamView(
        stream_id=2_000_000_001,
        name="a/camera/with/a/long/name/in/the/third/hall",
        state="Provisioned.Producing",
        epoch=str(2**62),
        producer=4_000_000_123,
        producer_name="grabber (pid 12345 on host)",
        consumers=consumers,
        rate_hz=49_999.9,
        header_nslots=1024,
        strides_bytes=[65_536],
    )
    leases = [
        LeaseView(
            lease_id=str(2**62 + each.client_id),
            stream_id=stream.stream_id,
            client_id=each.client_id,
            client="a program with a long name (pid 1234567)",
            role="CONSUMER",
            state="Live.Active",
            expires_in_ms=3000,
        )
        for each in consumers
    ]
    return Overview(
        source="test", driver=DriverView(), streams=[stream], leases=leases, events=[], unknown=[]
    )


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("what", ["streams", "leases", "watch"])
def test_tables_keep_ids_rates_and_drops_with_100_consumers(width: int, what: str) -> None:
    """On a terminal of 80 columns as in a pipe, which has 200."""
    overview = pool_of_100_consumers()
    output = io.StringIO()
    console = Console(width=width, file=output)
    if what == "watch":
        console.print(watch_screen(overview, width, limited=False))
    elif what == "streams":
        console.print(stream_table(overview.streams, width))
    else:
        console.print(lease_table(overview.leases, width))
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    if what != "leases":
        rows = [line for line in lines if "2000000001" in line and "49999.9" in line]
        assert len(rows) == 1
        words = rows[0].replace("│", " ").split()
        assert {"2000000001", "Producing", "4000000123", "49999.9", "1234500"} <= set(words)
        assert "100" in words or "100:" in words
    if what != "streams":
        for lease in overview.leases:
            (row,) = [line for line in lines if lease.lease_id in line]
            words = row.replace("│", " ").split()
            assert {"2000000001", "consumer", str(lease.client_id), "Active", "3.0"} <= set(words)
