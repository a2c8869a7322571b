"""The speed of our state machines: against a class written by hand, and against other libraries.

    python benchmarks/hsm.py            # about a minute
    python benchmarks/hsm.py --no-peers

Every figure is the median over rounds in which all contestants take turns, so that what else the
computer does meets all of them; every ratio is the median of the ratios within a round. Time is
that of the processor. The targets are those of requirement H-198. The other libraries are in the
extra `bench`; one that is not installed is reported.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent))  # run as a script from anywhere

import hsm_charts
import hsm_features
import hsm_peers

ROUNDS = 41
CASES = [
    # name, events of one cycle, target ratio
    ("event handled in the leaf", ("leaf",), 1.20),
    ("event handled three levels up", ("up",), 1.20),
    ("unhandled event", ("unknown",), 1.20),
    ("sibling transition", ("sibling", "sibling"), 1.20),
    ("3 exits, 3 entries, initials", ("across", "across"), 1.30),
    ("imperative, sibling transition", ("decide", "decide"), 1.40),
    ("imperative, 3 exits, 3 entries", ("decide_across", "decide_across"), 1.40),
]


def cycle_time(dispatch: Callable[[str], object], events: tuple[str, ...], cycles: int) -> float:
    """Seconds per event."""
    rounds = range(cycles)
    if len(events) == 1:
        event = events[0]
        begin = time.thread_time()
        for _ in rounds:
            dispatch(event)
        return (time.thread_time() - begin) / cycles
    first, second = events
    begin = time.thread_time()
    for _ in rounds:
        dispatch(first)
        dispatch(second)
    return (time.thread_time() - begin) / cycles / 2


def show(name: str, ours: str, other: str, ratio: float, target: float | None) -> None:
    verdict = (
        "" if target is None else f"  target {target:.2f}  {'ok' if ratio <= target else 'MISSED'}"
    )
    print(f"  {name:<34} {ours:>10} {other:>10}  {ratio:6.2f}{verdict}")


def against_hand_written(rounds: int) -> None:
    print("\nAgainst a class written by hand (ns per event)          ours    by hand   ratio")
    ours, by_hand = hsm_charts.Ours(), hsm_charts.ByHand()
    for name, events, target in CASES:
        times = [
            (
                cycle_time(ours.dispatch, events, 3000) * 1e9,
                cycle_time(by_hand.dispatch, events, 3000) * 1e9,
            )
            for _ in range(rounds + 3)
        ][3:]
        if ours.count != by_hand.count:
            raise SystemExit(f"{name}: {ours.count} actions here, {by_hand.count} by hand")
        ratio = median(a / b for a, b in times)
        show(
            name,
            f"{median(a for a, _ in times):.0f}",
            f"{median(b for _, b in times):.0f}",
            ratio,
            target,
        )


def features(rounds: int) -> None:
    print("\nSingle features (ns per event)                          ours    by hand   ratio")
    for name, kind, other, target in hsm_features.PAIRS:
        ours, by_hand = kind(), other()
        times = [
            (
                cycle_time(ours.dispatch, ("go", "go"), 3000) * 1e9,
                cycle_time(by_hand.dispatch, ("go", "go"), 3000) * 1e9,
            )
            for _ in range(rounds + 3)
        ][3:]
        if ours.count != by_hand.count:
            raise SystemExit(f"{name}: {ours.count} actions here, {by_hand.count} by hand")
        ratio = median(a / b for a, b in times)
        here, there = median(a for a, _ in times), median(b for _, b in times)
        show(name, f"{here:.0f}", f"{there:.0f}", ratio, target)


def instances(rounds: int) -> None:
    print("\nInstances                                              ours    by hand   ratio")
    kinds = (hsm_charts.Ours, hsm_charts.ByHand)
    times: list[list[float]] = []
    for _ in range(rounds):
        row = []
        for kind in kinds:
            begin = time.thread_time()
            for _ in range(2000):
                kind()
            row.append((time.thread_time() - begin) / 2000 * 1e9)
        times.append(row)
    ratio = median(a / b for a, b in times)
    show(
        "creation (ns)",
        f"{median(r[0] for r in times):.0f}",
        f"{median(r[1] for r in times):.0f}",
        ratio,
        1.3,
    )
    for label, events in (
        ("memory of 100,000 (bytes each)", ()),
        ("… after leaving A", ("across",)),
    ):
        sizes = []
        for kind in kinds:
            gc.collect()
            tracemalloc.start()
            machines = [kind() for _ in range(100_000)]
            for machine in machines:
                for event in events:
                    machine.dispatch(event)
            sizes.append((tracemalloc.get_traced_memory()[0] - sys.getsizeof(machines)) / 100_000)
            tracemalloc.stop()
            del machines
        show(
            label,
            f"{sizes[0]:.0f}",
            f"{sizes[1]:.0f}",
            sizes[0] / sizes[1],
            1.3 if not events else None,
        )


def chart_sizes(rounds: int) -> None:
    print("\nThe same events on charts of different size (ns)  1000 states  10 states   ratio")
    large, small = hsm_charts.ours_with_states(1000), hsm_charts.ours_with_states(10)
    for name, events, _ in CASES:
        times = [
            (
                cycle_time(large.dispatch, events, 5000) * 1e9,
                cycle_time(small.dispatch, events, 5000) * 1e9,
            )
            for _ in range(rounds)
        ]
        show(
            name,
            f"{median(a for a, _ in times):.0f}",
            f"{median(b for _, b in times):.0f}",
            median(a / b for a, b in times),
            1.05,
        )


def class_creation() -> None:
    hsm_charts.define_class()
    times = []
    for _ in range(15):
        begin = time.thread_time()
        machine = hsm_charts.define_class()()
        defined = time.thread_time() - begin
        for state in range(20):
            for edge in range(60):
                machine.dispatch(f"e{edge}", state)
        times.append((defined, time.thread_time() - begin))
    defined = median(a for a, _ in times) * 1e3
    print(f"\nA class with 20 states and 60 edges: defined and started in {defined:.1f} ms", end="")
    print(f" (target 10 ms: {'ok' if defined < 10 else 'MISSED'}),")
    planned = median(b for _, b in times) * 1e3
    print(f"with 1200 events, which plan every leaf on the way: {planned:.1f} ms")


def against_peers(rounds: int) -> None:
    print("\nAgainst other libraries: how many times longer they take")
    ours = hsm_charts.Ours()
    print(f"  {'':<24}" + "".join(f"{name:>16}" for name, _ in hsm_peers.CASES))
    for peer in hsm_peers.PEERS:
        try:
            machine = peer.make()
        except ImportError:
            print(f"  {peer.name:<24}   not installed (pip install -e '.[bench]')")
            continue
        row = []
        for _, events in hsm_peers.CASES:
            ratios = []
            for _ in range(rounds):
                theirs = cycle_time(machine, events, 60)
                ratios.append(theirs / cycle_time(ours.dispatch, events, 2000))
            row.append(median(ratios))
        verdict = "ok" if min(row) >= peer.target else "MISSED"
        figures = "".join(f"{ratio:>15.0f}x" for ratio in row)
        print(f"  {peer.name:<24}{figures}  target {peer.target}x  {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    print(f"CPython {sys.version.split()[0]}, {arguments.rounds} alternating rounds, medians")
    gc.disable()
    against_hand_written(arguments.rounds)
    features(arguments.rounds)
    instances(arguments.rounds)
    chart_sizes(arguments.rounds)
    class_creation()
    if not arguments.no_peers:
        against_peers(max(5, arguments.rounds // 5))


if __name__ == "__main__":
    main()
