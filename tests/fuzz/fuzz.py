"""Coverage-guided fuzzing of one or all targets: `make fuzz`, `make fuzz RUNS=10000000 TARGET=uri`.

Needs the `fuzz` extra (atheris). Each target runs in a process of its own with its share of the
runs, starts from the corpus that is checked in under `corpus/`, and stops at the first finding,
whose input libFuzzer writes to the current directory. Inputs that reach new code go to a scratch
directory; `--keep` adds them to the checked-in corpus.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

INSTRUMENTED = [
    "tensor_pool.bridge.core",
    "tensor_pool.protocol.wire",
    "tensor_pool.protocol.shm.geometry",
    "tensor_pool.protocol.shm.slot_header",
    "tensor_pool.protocol.shm.superblock",
    "tensor_pool.protocol.shm.tensor",
    "tensor_pool.protocol.shm.uri",
]
with atheris.instrument_imports(include=INSTRUMENTED):
    from tests.fuzz.targets import TARGETS

MAX_BYTES = {"bridge": 700, "uri": 4200, "superblock": 65, "slot": 250}


def fuzz(target: str, options: list[str]) -> None:
    """Run libFuzzer in this process; it exits by itself, with a status of its own on a finding."""
    atheris.Setup([sys.argv[0], *options], TARGETS[target])
    atheris.Fuzz()


def run(target: str, runs: int, seconds: int, *, keep: bool) -> int:
    """Fuzz one target in a child process; returns its exit status."""
    corpus = HERE / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        limits = [
            f"-runs={runs}",
            f"-max_total_time={seconds}",
            f"-max_len={MAX_BYTES.get(target, 600)}",
            "-timeout=120",  # of wall time; a busy machine stops any input for seconds
            "-rss_limit_mb=2048",
        ]
        command = [sys.executable, __file__, "--child", target, "--", *limits]
        done = subprocess.run([*command, "-print_final_stats=1", scratch, str(corpus)])
        if keep:
            for path in Path(scratch).iterdir():
                shutil.copy(path, corpus / path.name[:16])
    return done.returncode


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", choices=[*TARGETS, "all"], default="all")
    parser.add_argument("--runs", type=int, default=600_000, help="inputs over all chosen targets")
    parser.add_argument(
        "--seconds", type=int, default=0, help="time limit of each target; 0 = none"
    )
    parser.add_argument("--keep", action="store_true", help="add useful new inputs to the corpus")
    parser.add_argument("--child", choices=TARGETS, help=argparse.SUPPRESS)
    parser.add_argument("options", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        fuzz(arguments.child, arguments.options)
        return 0
    targets = list(TARGETS) if arguments.target == "all" else [arguments.target]
    share = -(-arguments.runs // len(targets))
    for target in targets:
        print(f"== {target}: {share} inputs", flush=True)
        status = run(target, share, arguments.seconds, keep=arguments.keep)
        if status:
            print(f"{target}: finding (exit status {status})", file=sys.stderr)
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
