"""Rates of frames to another host, beside raw Aeron, pyzmq and zenoh: B-170 and B-171.

Two hosts on this machine: namespaces with a virtual wire as root, else loopback (the output has
which). In each round all contenders move the same frames one after the other: raw Aeron with the
bridge's chunk size, the bridge with a source paced at 1.2 times what raw Aeron carried in that
round, pyzmq (PUSH/PULL, HWM 16) and zenoh (BLOCK, scouting off) over TCP. Receivers copy each
payload into memory of their own. Printed are the rates of each round, and medians as ratios to raw
Aeron and to pyzmq. `python benchmarks/bridge.py --rounds 5`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tensor_pool.cli.demo.children import tensor_pool_command
from tensor_pool.cli.demo.stage import driver_configuration
from tensor_pool.cli.demo.two_hosts.hosts import Host, Hosts, make_hosts

STREAM = 10000
SIZES = {"64 KiB": 64 << 10, "640 KiB": 640 << 10, "4 MiB": 4 << 20}
MTUS = (1408, 8192, 65504)
CHUNK = 61440
SILENCE_S = 0.4
SLOTS = 32
PORTS = {"aeron": 41001, "zmq": 41002, "zenoh": 41003, "bridge": 41004}
SMALL, SMALL_MESSAGE, SMALL_GOAL = 64, 400, 0.2
LATENCY_GOAL = 2
GOALS = {1408: (0.5, 0.75), 8192: (0.45, 0.65), 65504: (0.35, 0.5)}

type Send = Callable[[np.ndarray], object]
type Receive = Callable[[memoryview], int]  # fills the buffer, returns bytes, 0 for none


# Ends of the contenders; each process has one for its whole life.


def aeron_sender(place: str, mtu: int, _: dict[str, str]) -> Send:
    from tensor_pool.bridge.channels import publication_channel
    from tensor_pool.bridge.net import AeronNet
    from tensor_pool.protocol.transport.ports import OfferResult

    net = AeronNet()
    channel = publication_channel(place, mtu=mtu, term_length=16 << 20, window=4 << 20, alias="raw")
    publication = net.publication(channel, 3000)
    keep.append(net)

    def send(array: np.ndarray) -> None:
        view = memoryview(array)
        for at in range(0, len(view), CHUNK):
            part = view[at : at + CHUNK]
            while publication.offer(part) is not OfferResult.ACCEPTED:
                os.sched_yield()

    return send


def aeron_receiver(place: str, _: dict[str, str]) -> Receive:
    from tensor_pool.bridge.channels import subscription_channel
    from tensor_pool.bridge.net import AeronNet

    net = AeronNet()
    subscription = net.subscription(subscription_channel(place, window=4 << 20, alias="raw"), 3000)
    keep.append(net)
    got = 0
    target = memoryview(bytearray(1))

    def take(_: int, message: memoryview) -> None:
        nonlocal got
        target[: len(message)] = message
        got += len(message)

    def receive(buffer: memoryview) -> int:
        nonlocal got, target
        got, target = 0, buffer
        if not subscription.poll(take, 256):
            os.sched_yield()
        return got

    return receive


def zmq_sender(place: str, _: int, __: dict[str, str]) -> Send:
    import zmq

    end = zmq.Context.instance().socket(zmq.PUSH)
    end.set_hwm(16)
    end.connect(f"tcp://{place}")
    return lambda array: end.send(array, copy=False)


def zmq_receiver(place: str, _: dict[str, str]) -> Receive:
    import zmq

    end = zmq.Context.instance().socket(zmq.PULL)
    end.set_hwm(16)
    end.setsockopt(zmq.RCVTIMEO, 50)
    end.bind(f"tcp://{place}")

    def receive(buffer: memoryview) -> int:
        try:
            message = end.recv(copy=False).buffer
        except zmq.Again:
            return 0
        buffer[: len(message)] = message
        return len(message)

    return receive


def _zenoh(config: dict[str, Any]) -> Any:
    import zenoh

    made = zenoh.Config()
    for key, value in {"scouting/multicast/enabled": False, "mode": "peer", **config}.items():
        made.insert_json5(key, json.dumps(value))
    return zenoh.open(made)


def zenoh_sender(place: str, _: int, __: dict[str, str]) -> Send:
    import zenoh

    session = _zenoh({"connect/endpoints": [f"tcp/{place}"]})
    publisher = session.declare_publisher(
        "frames", congestion_control=zenoh.CongestionControl.BLOCK
    )
    keep.append(session)
    return lambda array: publisher.put(array.tobytes())


def zenoh_receiver(place: str, _: dict[str, str]) -> Receive:
    import queue

    session = _zenoh({"listen/endpoints": [f"tcp/{place}"]})
    samples: queue.Queue[Any] = queue.Queue(16)
    keep.append(session)
    keep.append(session.declare_subscriber("frames", samples.put))

    def receive(buffer: memoryview) -> int:
        try:
            payload = samples.get(timeout=0.05).payload.to_bytes()
        except queue.Empty:
            return 0
        buffer[: len(payload)] = payload
        return len(payload)

    return receive


def _pool(host: dict[str, str]) -> Any:
    from tensor_pool.client import connect

    pool = connect(aeron_dir=host["aeron"], allowed_base_dirs=(host["base"],))
    keep.append(pool)
    return pool


def bridge_sender(_: str, __: int, host: dict[str, str]) -> Send:
    producer = _pool(host).producer(STREAM)
    return lambda array: producer.publish(array)


def bridge_receiver(_: str, host: dict[str, str]) -> Receive:
    from tensor_pool.client import FrameOverwrittenError

    consumer = _pool(host).consumer(STREAM, attach_timeout=60)

    def receive(buffer: memoryview) -> int:
        frame = consumer.receive(0.05)
        if frame is None:
            return 0
        try:
            frame.copy(np.frombuffer(buffer[: frame.nbytes], np.uint8))
        except FrameOverwrittenError:
            return 0
        return int(frame.nbytes)

    return receive


SENDERS = {
    "aeron": aeron_sender, "bridge": bridge_sender, "zmq": zmq_sender, "zenoh": zenoh_sender,
}  # fmt: skip
RECEIVERS = {
    "aeron": aeron_receiver, "bridge": bridge_receiver, "zmq": zmq_receiver,
    "zenoh": zenoh_receiver,
}  # fmt: skip
keep: list[Any] = []


def worker(role: str, kind: str, place: str, mtu: int, host: dict[str, str]) -> None:
    """One end; orders come as JSON lines, a result goes back for each."""
    send = SENDERS[kind](place, mtu, host) if role == "send" else None
    receive = RECEIVERS[kind](place, host) if role == "receive" else None
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        result = drive(send, order) if send else collect(receive, order)  # type: ignore[arg-type]
        print(json.dumps(result), flush=True)


def drive(send: Send, order: dict[str, float]) -> dict[str, float]:
    """Send for `seconds`; at `bytes_s` if that is not 0. Each frame begins with its time."""
    array = np.zeros(int(order["size"]), np.uint8)
    stamp = array[:8].view(np.uint64)
    period = order["size"] / order["bytes_s"] if order["bytes_s"] else 0.0
    frames, began, cpu = 0, time.monotonic(), time.thread_time()
    while time.monotonic() - began < order["seconds"]:
        if period:
            ahead = began + frames * period - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
        stamp[0] = time.monotonic_ns()
        send(array)
        frames += 1
    return {"frames": frames, "cpu": time.thread_time() - cpu}


def collect(receive: Receive, order: dict[str, float]) -> dict[str, float]:
    """Receive until nothing has come for a while after the first frame."""
    buffer = memoryview(bytearray(8 << 20))
    deadline = time.monotonic() + 20
    first = last = total = 0.0
    ages, cpu = [], time.thread_time()
    while time.monotonic() < deadline:
        nbytes = receive(buffer)
        now = time.monotonic()
        if nbytes:
            if not total:
                first = now  # its bytes came before the time that is measured
                total = 1e-9
            else:
                total += nbytes
            last = now
            if order.get("latency"):
                ages.append(time.monotonic_ns() - int.from_bytes(buffer[:8], "little"))
        elif total and now - last > SILENCE_S:
            break
    return {
        "bytes_s": total / (last - first) if last > first else 0.0,
        "total": total,
        "cpu": time.thread_time() - cpu,
        "p50_ms": statistics.median(ages) / 1e6 if ages else 0.0,
    }


# The harness


class End:
    """A worker process on a host."""

    def __init__(self, host: Host, role: str, kind: str, place: str, mtu: int) -> None:
        told = {"aeron": str(host.aeron_dir), "base": str(host.base_dir)}
        self.process = subprocess.Popen(
            [
                *(*host.prefix, sys.executable, __file__, "--worker", role, kind, place),
                *(str(mtu), json.dumps(told)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def order(self, **values: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(values) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a worker has ended; see above")
        return json.loads(line)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running(host: Host, words: list[str], ready: str) -> Iterator[int]:
    """A program of ours on a host; yields its pid."""
    process = subprocess.Popen(
        [*host.prefix, *tensor_pool_command(*words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if ready in line:
            break
    else:
        raise SystemExit(f"{' '.join(words)}: exit status {process.wait()}")
    try:
        yield process.pid
    finally:
        process.terminate()
        process.communicate()


def main_thread_s(pid: int) -> float:
    """CPU seconds of the main thread: the bridge without its media driver."""
    fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    """All contenders at one MTU."""

    def __init__(self, hosts: Hosts, folder: Path, mtu: int, seconds: float) -> None:
        self.seconds = seconds
        self.mtu = mtu
        self.opened = contextlib.ExitStack()
        enter = self.opened.enter_context
        for host in (hosts.a, hosts.b):
            file = folder / f"{host.name}.toml"
            text = driver_configuration(
                host.name, host.aeron_dir, host.base_dir, [64, *SIZES.values()], SLOTS
            )
            file.write_text(text)
            enter(running(host, ["driver", "--config", str(file)], "driver ready"))
        address = hosts.listen_at.partition(":")[0]
        place = {kind: f"{address}:{port}" for kind, port in PORTS.items()}
        words = ["bridge", "receive", str(STREAM), "--at", place["bridge"], "--instance", "b"]
        config = ["--config", str(folder / f"{hosts.b.name}.toml")]
        self.receiver_pid = enter(running(hosts.b, [*words, *config], "bridge ready"))
        words = ["bridge", "send", str(STREAM), "--to", place["bridge"], "--mtu", str(mtu)]
        config = ["--instance", "a", "--config", str(folder / f"{hosts.a.name}.toml")]
        self.sender_pid = enter(running(hosts.a, [*words, *config], "bridge ready"))
        self.ends: dict[str, tuple[End, End]] = {}
        for kind in SENDERS:
            receiver = End(hosts.b, "receive", kind, place[kind], mtu)
            self.opened.callback(receiver.close)
            sender = End(hosts.a, "send", kind, place[kind], mtu)
            self.opened.callback(sender.close)
            self.ends[kind] = (sender, receiver)
        for sender, receiver in self.ends.values():
            sender.answer()
            receiver.answer()
        time.sleep(3)  # the far stream has its producer, sockets are connected

    def run(self, kind: str, size: int, *, bytes_s: float = 0.0, latency: bool = False) -> Any:
        sender, receiver = self.ends[kind]
        before = main_thread_s(self.sender_pid) + main_thread_s(self.receiver_pid)
        receiver.order(latency=latency)
        sender.order(size=size, bytes_s=bytes_s, seconds=self.seconds)
        sent, got = sender.answer(), receiver.answer()
        after = main_thread_s(self.sender_pid) + main_thread_s(self.receiver_pid)
        got["cpu_per_gb"] = (
            (after - before if kind == "bridge" else sent["cpu"] + got["cpu"])
            / max(got["total"], 1) * 1e9
        )  # fmt: skip
        return got

    def rounds(self, name: str, size: int, count: int) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {kind: [] for kind in SENDERS}
        for _ in range(count):
            raw = self.run("aeron", size)
            found["aeron"].append(raw)
            found["bridge"].append(self.run("bridge", size, bytes_s=1.2 * raw["bytes_s"]))
            for kind in ("zmq", "zenoh"):
                found[kind].append(self.run(kind, size))
        return found


def medians(found: dict[str, list[Any]], against: str, key: str = "bytes_s") -> float:
    """Return the median over rounds of bridge ÷ contender."""
    return statistics.median(
        bridge[key] / other[key] if other[key] else float("nan")
        for bridge, other in zip(found["bridge"], found[against], strict=True)
    )


def row(mtu: int, name: str, found: dict[str, list[Any]]) -> str:
    """Return one line: MB/s of each contender, ratios, and the goal."""
    middle = {kind: statistics.median(r["bytes_s"] for r in runs) for kind, runs in found.items()}
    ratio = medians(found, "aeron")
    goal = GOALS[mtu][(os.cpu_count() or 1) >= 4]
    cells = " ".join(f"{middle[kind] / 1e6:8.0f}" for kind in ("aeron", "bridge", "zmq", "zenoh"))
    met = "met" if ratio >= goal else "missed"
    cpu = medians(found, "aeron", "cpu_per_gb")
    return (
        f"{mtu:>6} {name:>8} {cells}   {ratio:5.2f} (goal {goal:.2f}: {met})"
        f" {medians(found, 'zmq'):7.2f} {medians(found, 'zenoh'):7.2f} {cpu:8.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.9, help="of sending, each run")
    parser.add_argument("--mtu", type=int, action="append", choices=MTUS, help="only this one")
    parser.add_argument("--loopback", action="store_true", help="no namespaces, also as root")
    arguments = parser.parse_args()
    print(f"{'MTU':>6} {'frames':>8} {'aeron':>8} {'bridge':>8} {'pyzmq':>8} {'zenoh':>8}   "
          "bridge ÷ aeron             ÷ pyzmq ÷ zenoh  CPU ÷ raw   (MB/s, medians)")  # fmt: skip
    for mtu in arguments.mtu or MTUS:
        hosts = make_hosts(namespaces=False if arguments.loopback else None, wire_mtu=65535)
        with tempfile.TemporaryDirectory() as folder:
            bench = None
            try:
                bench = Bench(hosts, Path(folder), mtu, arguments.seconds)
                if mtu == (arguments.mtu or MTUS)[0]:
                    print(f"       hosts: {hosts.description}")
                for name, size in SIZES.items():
                    found = bench.rounds(name, size, arguments.rounds)
                    print(row(mtu, name, found), flush=True)
                    for kind, runs in found.items():
                        each = " ".join(f"{run['bytes_s'] / 1e6:.0f}" for run in runs)
                        print(f"{'':16}{kind}: {each}")
                if mtu == MTUS[0]:
                    small(bench, arguments.rounds)
                    latency(bench)
            finally:
                if bench is not None:
                    bench.opened.close()
                hosts.close()


def small(bench: Bench, rounds: int) -> None:
    """64 B frames beside raw messages of 400 bytes, as many as a frame and its header take."""
    found: dict[str, list[float]] = {"aeron": [], "bridge": []}
    for _ in range(rounds):
        raw = bench.run("aeron", SMALL_MESSAGE)["bytes_s"] / SMALL_MESSAGE
        got = bench.run("bridge", SMALL, bytes_s=1.2 * raw * SMALL)["bytes_s"] / SMALL
        found["aeron"].append(raw)
        found["bridge"].append(got)
    ratio = statistics.median(b / a for a, b in zip(*found.values(), strict=True))
    met = "met" if ratio >= SMALL_GOAL else "missed"
    print(f"       64 B frames ÷ raw messages of 400 B: {ratio:.2f} (goal {SMALL_GOAL}: {met})")
    for kind, rates in found.items():
        print(f"{'':16}{kind}: {' '.join(f'{rate:.0f}' for rate in rates)} a second")


def latency(bench: Bench) -> None:
    """64 KiB at 100 Hz: publish to copy at the far consumer; raw Aeron in one message less."""
    size = CHUNK  # raw Aeron's messages begin with a stamp, so one message is one frame
    raw, far = (
        bench.run(kind, size, bytes_s=size * 100, latency=True)["p50_ms"]
        for kind in ("aeron", "bridge")
    )
    met = "met" if far <= LATENCY_GOAL * raw else "missed"
    print(
        f"       one-way latency at 100 Hz, 60 KiB, p50: aeron {raw:.2f} ms, bridge {far:.2f} ms,"
        f" {far / raw:.1f} times (goal {LATENCY_GOAL}: {met})"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        _, _, which, what, where, packet, told_host = sys.argv
        worker(which, what, where, int(packet), json.loads(told_host))
    else:
        main()
