"""`conformance`: run the checks of the conformance kit and print what they found."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pyaeron

from ..conformance.bus import Bus
from ..conformance.check import Outcome, run_checks
from ..conformance.driver import DRIVER_CHECKS
from ..conformance.driver_world import DriverWorld
from ..support.connection_options import Connection
from ..support.exit_status import FAILED, OK, CommandError

__all__ = ["check_driver"]


def check_driver(
    connection: Connection,
    *,
    stream_id: int,
    announce_period_s: float,
    token: str,
    as_json: bool,
) -> int:
    """Run the checks of drivers; OK if none is broken."""
    config = connection.client_config()
    bus = _bus(connection)
    control = (config.control_channel, config.control_stream_id)
    announce = (
        config.announce_channel or config.control_channel,
        config.announce_stream_id or config.control_stream_id,
    )
    try:
        world = DriverWorld(
            bus,
            control=control,
            announce=announce,
            stream_id=stream_id,
            announce_period_s=announce_period_s,
            token=token,
            patience_s=connection.timeout,
        )
        return _verdict(run_checks(DRIVER_CHECKS, world, _printer(as_json)), as_json=as_json)
    finally:
        bus.close()


def _bus(connection: Connection) -> Bus:
    aeron_dir = connection.client_config().aeron_dir or pyaeron.default_path()
    if not pyaeron.is_driver_active(aeron_dir):
        raise CommandError(f"no media driver is running in {aeron_dir}")
    return Bus(aeron_dir)


def _printer(as_json: bool) -> Callable[[Outcome], None]:
    def report(outcome: Outcome) -> None:
        print(msgspec.json.encode(outcome).decode() if as_json else outcome, flush=True)

    return report


def _verdict(outcomes: list[Outcome], *, as_json: bool) -> int:
    counts = {
        verdict: sum(one.verdict == verdict for one in outcomes)
        for verdict in ("holds", "broken", "not seen")
    }
    if not as_json:
        print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return FAILED if counts["broken"] else OK
