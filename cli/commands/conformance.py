"""`conformance`: run the checks of the conformance kit and print what they found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyaeron

from tensor_pool.protocol.wire import Role, ShmDetachRequest, ShmDetachResponse

from ..conformance.bus import Bus
from ..conformance.check import Outcome, run_checks
from ..conformance.consumer import CONSUMER_CHECKS
from ..conformance.consumer_world import ConsumerWorld
from ..conformance.driver import DRIVER_CHECKS
from ..conformance.driver_world import DriverWorld
from ..conformance.peer_world import Streams
from ..conformance.producer import PRODUCER_CHECKS
from ..conformance.producer_world import ProducerWorld
from ..conformance.stand_in import StandInOptions
from ..support.connection_options import Connection
from ..support.exit_status import FAILED, OK, USAGE, CommandError

__all__ = ["check_driver", "check_peer"]

_PEERS: dict[Role, tuple[Any, Any]] = {
    Role.PRODUCER: (ProducerWorld, PRODUCER_CHECKS),
    Role.CONSUMER: (ConsumerWorld, CONSUMER_CHECKS),
}


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
            qos=(config.qos_channel, config.qos_stream_id),
            stream_id=stream_id,
            announce_period_s=announce_period_s,
            token=token,
            patience_s=connection.timeout,
        )
        return _verdict(run_checks(DRIVER_CHECKS, world, _printer(as_json)), as_json=as_json)
    finally:
        bus.close()


def check_peer(
    role: Role,
    connection: Connection,
    *,
    stream_id: int,
    announce_period_s: float,
    command: list[str],
    names: list[str],
    as_json: bool,
) -> int:
    """Run the checks of a producer or a consumer, started here if there is a command.

    `names` are the checks to run, all if empty.
    """
    config = connection.client_config()
    streams = Streams(
        (config.control_channel, config.control_stream_id),
        (config.descriptor_channel, config.descriptor_stream_id),
        (config.qos_channel, config.qos_stream_id),
        (config.metadata_channel, config.metadata_stream_id),
    )
    options = StandInOptions(
        stream_id=stream_id,
        nslots=64,
        strides=(640, 4096, 65_536, 640 << 10, 4096, 8 << 20),
        lease_s=max(3.0, 3 * announce_period_s),
        announce_period_s=announce_period_s,
    )
    base_dir = Path(connection.driver_config().shm.base_dir)
    base_dir.mkdir(parents=True, exist_ok=True)
    kind, checks = _PEERS[role]
    unknown = set(names) - {one.name for one in checks}
    if unknown:
        raise CommandError(f"no check is called {', '.join(sorted(unknown))}", USAGE)
    checks = [one for one in checks if not names or one.name in names]
    bus = _bus(connection)
    process: subprocess.Popen[bytes] | None = None
    try:
        _refuse_beside_a_driver(bus, streams.control)
        world = kind(
            bus,
            streams,
            base_dir,
            stream_id=stream_id,
            period_s=announce_period_s,
            patience_s=connection.timeout,
            options=options,
        )
        try:
            if command:
                process = subprocess.Popen(command, stdout=sys.stderr)
                world.leave = process.terminate
                world.has_ended = partial(_has_ended, process)
            else:
                print(f"waiting for a {role.name.lower()} of stream {stream_id}", file=sys.stderr)
            world.begin()
            return _verdict(run_checks(checks, world, _printer(as_json)), as_json=as_json)
        finally:
            world.close()
    finally:
        bus.close()
        if process is not None:
            _end(process)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _refuse_beside_a_driver(bus: Bus, control: tuple[str, int]) -> None:
    """Raise CommandError if a driver answers on the control stream: the kit plays the driver."""
    bus.listen(*control)
    request = ShmDetachRequest(int.from_bytes(os.urandom(4)), 2**63, 1, 1, Role.CONSUMER)
    bus.publication(*control)
    bus.send(*control, request)
    answered = bus.until(
        lambda: any(isinstance(one.message, ShmDetachResponse) for one in bus.heard), 0.5
    )
    if answered:
        raise CommandError(
            f"a driver runs on {control[0]} stream {control[1]}; the kit takes its place, so stop "
            "it or name another --control-stream-id"
        )


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
