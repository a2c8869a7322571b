"""`health`: one verdict for a pool, once or as it changes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import msgspec

from tensor_pool.client import AttachTimeoutError, Client, QosMonitor, TensorPoolError
from tensor_pool.protocol.transport.media_driver import default_aeron_dir

from ..health.bridges import judge_bridge
from ..health.judge import Evidence, judge
from ..health.machine import HealthEvent, Judgement, PoolHealth
from ..health.verdict import Node, Verdict
from ..support.connection_options import Connection
from ..support.exit_status import CommandError
from ..support.signals import Stop
from ..support.status_page import address_of_pages, fetch_status
from .bridge_status import bridges_of

__all__ = ["HealthCheck", "health", "node_lines"]

_PERIODS = 3.2  # an endpoint is silent after 3, and the driver gone
_LOOK_PERIOD_S = 1.0
_PAUSE_S = 0.05


class HealthCheck:
    """Judges one pool again and again. It listens and asks, and takes no lease (S-172)."""

    def __init__(
        self, client: Client, qos: QosMonitor, *, http: str, expected: Sequence[str], timeout: float
    ) -> None:
        self._client = client
        self._qos = qos
        self._http = http
        self._expected = expected
        self._timeout = timeout
        self._begun_ns = client.clock.monotonic_ns()

    def look(self) -> Node:
        """Return the pool as it is now."""
        client, config = self._client, self._client.config
        try:
            streams = client.streams(timeout=self._timeout)
        except AttachTimeoutError:
            streams = []
        pool = config.aeron_dir or default_aeron_dir()
        now = client.clock.monotonic_ns()
        heard_ns = client.driver_heard_ns
        return judge(
            Evidence(
                driver_state=self._driver_state(),
                driver_age_s=(now - heard_ns) / 1e9 if heard_ns is not None else None,
                patience_s=3 * config.announce_period,
                streams=streams,
                qos=self._qos.snapshot(),
                listened_s=(now - self._begun_ns) / 1e9,
                silence_s=3 * config.qos_interval,
                bridges=[judge_bridge(status) for status in bridges_of(pool)],
            ),
            self._expected,
        )

    def _driver_state(self) -> str | None:
        if not self._http:
            return None
        try:
            return str(fetch_status(self._http, self._timeout)["driver"]["state"])
        except (CommandError, KeyError, TypeError):
            return None  # the driver may live without a page: answers and announces decide


class _Printer:
    """Prints the transitions of PoolHealth; the port of the machine."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.node: Node | None = None
        self.unhandled = 0

    def report(self, verdict: Verdict) -> None:
        assert self.node is not None
        node = msgspec.structs.replace(self.node, verdict=verdict)
        if self._as_json:
            document = {"at": round(time.time(), 3), **node.plain()}
            print(msgspec.json.encode(document).decode(), flush=True)
        else:
            print(
                f"{time.strftime('%H:%M:%S')} {verdict.name.lower()}: {node.cause}",
                flush=True,
            )

    def count(self, counter: str) -> None:
        self.unhandled += 1


def health(
    connection: Connection,
    http: str | None,
    expected: Sequence[str],
    *,
    observe: float | None,
    watch: bool,
    as_json: bool,
) -> int:
    """Judge the pool and return the verdict as the exit status, also if nothing can be reached."""
    address = http or address_of_pages(connection.driver_config(), connection.timeout)
    with Stop() as stop:
        try:
            with connection.client() as client, client.qos() as qos:
                check = HealthCheck(
                    client, qos, http=address, expected=expected, timeout=connection.timeout
                )
                if watch:
                    return _watch(check, client, stop, as_json=as_json)
                config = client.config
                period_s = max(config.announce_period, config.qos_interval)
                _wait(_PERIODS * period_s if observe is None else observe, stop)
                stop.check()
                node = check.look()
        except (CommandError, TensorPoolError) as error:
            node = _unreachable(str(error))
    _print(node, as_json=as_json)
    return int(node.verdict)


def _watch(check: HealthCheck, client: Client, stop: Stop, *, as_json: bool) -> int:
    """Print every transition until a signal comes; return the last verdict."""
    printer = _Printer(as_json=as_json)
    machine = PoolHealth(printer)
    while not stop.requested:
        try:
            printer.node = check.look()
        except TensorPoolError as error:
            printer.node = _unreachable(str(error))
        now = client.clock.monotonic_ns()
        machine.dispatch(HealthEvent.VERDICT, Judgement(printer.node.verdict, now))
        _wait(_LOOK_PERIOD_S, stop)
    return int(machine.verdict)


def _wait(seconds: float, stop: Stop) -> None:
    deadline = time.monotonic() + seconds
    while not stop.requested and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(_PAUSE_S, left))


def _unreachable(cause: str) -> Node:
    driver = Node(
        kind="driver", verdict=Verdict.FAILING, cause=cause, see="tensor-pool driver --check"
    )
    return Node(
        kind="pool",
        verdict=Verdict.FAILING,
        cause=f"driver: {cause}",
        children=(driver,),
    )


def _print(node: Node, *, as_json: bool) -> None:
    if as_json:
        document = msgspec.json.format(msgspec.json.encode(node.plain()), indent=2)
        sys.stdout.buffer.write(document + b"\n")
    else:
        print("\n".join(node_lines(node)))


def node_lines(node: Node, depth: int = 0) -> list[str]:
    """Return one line for each part, children indented; bad ones name the command to use next."""
    hint = f" (see: {node.see})" if node.see and node.verdict and not node.children else ""
    text = f"{'  ' * depth}{node.label}: {node.verdict.name.lower()}, {node.cause}{hint}"
    return [text, *(line for child in node.children for line in node_lines(child, depth + 1))]
