"""Runs of a Graphviz that is installed beside Python or in the system."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from ..errors import HsmError

# `graphviz-pure` is a wheel without any system package: the extra `diagrams` installs it. It writes
# the same bytes everywhere, so it is preferred to a `dot` of unknown version.
_PROGRAMS = ("graphviz-pure", "dot")
_PATIENCE_S = 60


class RendererMissingError(HsmError):
    """No Graphviz program was found."""


def run_graphviz(dot: str) -> str:
    """Return the places of nodes and edges of DOT text, in Graphviz's format json0.

    Raises:
        RendererMissingError: neither `graphviz-pure` nor `dot` is installed.
        HsmError: the program failed; the text has its words.
    """
    done = subprocess.run(
        [_program(), "-Tjson0"],
        input=dot.encode(),
        capture_output=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    if done.returncode != 0:
        raise HsmError(f"Graphviz failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()


def _program() -> str:
    beside_python = Path(sys.executable).parent
    for name in _PROGRAMS:
        found = shutil.which(name, path=str(beside_python)) or shutil.which(name)
        if found:
            return found
    raise RendererMissingError(
        "SVG needs Graphviz. Install the wheel (pip install graphviz-pure) or the "
        "system package (for example: apt-get install graphviz), or ask for another format."
    )
