"""Garbage on the control stream of a real daemon: it must change nothing and cost no lease.

    python tests/soak/garbage_flood.py --seconds 30 --rate 100000

Starts a media driver and the daemon, takes two leases, and floods the control stream with random
and damaged messages while it keeps the leases alive. Afterwards the same leases and epochs must be
in force, every message must have been taken from the stream, and the log must not have been
flooded: at most one warning per cause and second. Exit status 0 if all that holds, and the messages
were sent as fast as asked for.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[2]))

from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import Role
from tests.driver.daemons import Daemon, HandClient
from tests.driver.garbage import garbage_corpus

CLIENTS = ((77, Role.PRODUCER), (78, Role.CONSUMER))
BATCH_S = 0.002


class Outcome(msgspec.Struct):
    """The outcome of a flood."""

    sent: int
    sending_s: float
    refused_offers: int
    seconds: float
    before: dict[str, Any]
    after: dict[str, Any]
    warnings: dict[str, int]

    @property
    def taken(self) -> int:
        """Messages that the driver took from the stream, its own included."""
        return _grown(self, "fragments")

    def problems(self) -> list[str]:
        """Everything that should not have happened."""
        found = []
        for what in ("leases", "streams"):
            old, new = (_lasting(state[what]) for state in (self.before, self.after))
            if old != new:
                found.append(f"{what} changed: {old} -> {new}")
        if self.after["driver"]["state"] != "Serving.Running.Normal":
            found.append(f"the driver is in {self.after['driver']['state']}")
        if self.taken < self.sent:
            found.append(f"{self.sent} messages were sent, {self.taken} taken")
        found += [
            f"{name} grew by {_grown(self, name)}"
            for name in ("attach_granted", "leases_expired", "leases_revoked", "handler_errors")
            if _grown(self, name)
        ]
        for cause, lines in self.warnings.items():
            if lines > self.seconds + 2:
                found.append(f"{lines} warnings about {cause} in {self.seconds:.1f} s")
        return found


def _lasting(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in entry.items() if key != "expires_in_ms"} for entry in entries
    ]


def _grown(outcome: Outcome, metric: str) -> int:
    return int(outcome.after["metrics"][metric] - outcome.before["metrics"][metric])


def flood(
    client: HandClient,
    corpus: Sequence[bytes],
    *,
    seconds: float,
    rate: int,
    between: Callable[[], None],
) -> tuple[int, int, float]:
    """Send `seconds * rate` messages in small batches, at most `rate` a second.

    Returns how many were sent, how many offers were refused, and the time it took. An offer that is
    refused because the driver is behind is made again; a driver that cannot keep up takes longer,
    and at most twice as long.
    """
    offer, count = client.offer_once, len(corpus)
    total = int(seconds * rate)
    sent = refused = 0
    began = time.monotonic()
    while sent < total and (elapsed := time.monotonic() - began) < 2 * seconds:
        due = min(int(elapsed * rate), total)
        while sent < due:
            if offer(corpus[sent % count]) is OfferResult.ACCEPTED:
                sent += 1
            else:
                refused += 1
                break
        between()
        time.sleep(BATCH_S if sent >= due else BATCH_S / 10)
    return sent, refused, time.monotonic() - began


def run(directory: Path, *, seconds: float, rate: int, aeron_dir: str, seed: int = 1) -> Outcome:
    """One flood against a daemon of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    daemon = Daemon(
        directory,
        directory / "shm",
        aeron_dir,
        settings={"driver.http_address": f"127.0.0.1:{port}", "driver.fragment_limit": 100},
    )
    try:
        daemon.ready()
        return _flood_daemon(daemon, port, aeron_dir, seconds=seconds, rate=rate, seed=seed)
    finally:
        daemon.close()


def _flood_daemon(
    daemon: Daemon, port: int, aeron_dir: str, *, seconds: float, rate: int, seed: int
) -> Outcome:
    def status() -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status.json", timeout=10) as page:
            document: dict[str, Any] = json.load(page)
        return document

    client = HandClient(aeron_dir, daemon.control_stream_id)
    flooder = HandClient(aeron_dir, daemon.control_stream_id)
    try:
        leases = {
            client_id: client.attach(10000, client_id, role).lease_id or 0
            for client_id, role in CLIENTS
        }
        next_keepalive = 0.0

        def between() -> None:
            nonlocal next_keepalive
            if time.monotonic() >= next_keepalive:
                next_keepalive = time.monotonic() + 0.5
                for client_id, role in CLIENTS:
                    client.keepalive(leases[client_id], 10000, client_id, role)

        # They would hear all of the flood, which is the driver's to bear.
        client.stop_hearing()
        flooder.stop_hearing()
        between()
        time.sleep(0.1)
        before = status()
        corpus = garbage_corpus(seed, 5000)
        began = time.monotonic()
        sent, refused, sending_s = flood(
            flooder, corpus, seconds=seconds, rate=rate, between=between
        )
        after = status()
        while after["metrics"]["fragments"] - before["metrics"]["fragments"] < sent:
            if time.monotonic() - began > seconds + 20:
                break
            between()
            after = status()
        took = time.monotonic() - began
    finally:
        client.close()
        flooder.close()
    warnings = Counter(
        record["cause"]
        for record in daemon.log
        if record["level"] == "warning" and "cause" in record
    )
    return Outcome(sent, sending_s, refused, took, before, after, dict(warnings))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rate", type=int, default=100_000, help="messages per second")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="tp-flood-", dir="/dev/shm"))
    try:
        with MediaDriverProcess() as media_driver:
            outcome = run(
                directory,
                seconds=arguments.seconds,
                rate=arguments.rate,
                aeron_dir=media_driver.directory,
                seed=arguments.seed,
            )
    finally:
        shutil.rmtree(directory)
    rate = outcome.sent / outcome.sending_s
    print(
        f"{outcome.sent} messages in {outcome.sending_s:.1f} s ({rate:.0f} per s,"
        f" {outcome.refused_offers} offers refused at first), {outcome.taken} taken"
    )
    for name in ("malformed", "foreign_schema", "unknown_template", "unsupported_version"):
        print(f"  {name:<20} {_grown(outcome, name)}")
    print(f"  longest cycle        {outcome.after['metrics']['max_cycle_ns'] / 1e6:.1f} ms")
    print(f"  warnings             {outcome.warnings}")
    problems = outcome.problems()
    if rate < 0.999 * arguments.rate:
        problems.append(f"{rate:.0f} messages a second were sent, not {arguments.rate}")
    for problem in problems:
        print(f"PROBLEM: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
