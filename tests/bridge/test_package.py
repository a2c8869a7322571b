"""The package as a whole: what it may touch, what is drawn, what its pages promise."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tensor_pool.bridge import (
    BridgeSettings,
    ReceiveLink,
    ReceiveStream,
    SendLink,
    SendStream,
)
from tensor_pool.bridge.pool import ClientPool
from tests.project.test_imports import imports

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "bridge").rglob("*.py"))
SPECIFICATION = ROOT / "docs" / "specification" / "bridge.md"
MACHINES = ("BridgeLifecycle", "OutgoingLink", "OutboundStream", "InboundStream")


def test_B_001_the_bridge_reaches_shared_memory_through_the_client_library_only() -> None:
    """B-001: no module of regions, and no message that only a driver sends, is named."""
    names = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.alias):
                names.add(node.name.rpartition(".")[2])
    assert not names & {"ShmPoolAnnounce", "ConsumerConfig", "mmap", "memfd_create"}
    imported = {
        m for module, found in imports().items() if module.startswith("bridge") for m in found
    }
    assert not {m for m in imported if m.startswith("protocol.shm")}
    calls = {
        node.attr
        for node in ast.walk(ast.parse((ROOT / "bridge" / "pool.py").read_text()))
        if isinstance(node, ast.Attribute) and node.attr.startswith("begin_")
    }
    assert calls == {"begin_attach_consumer", "begin_attach_producer"}
    assert ClientPool.__module__ == "tensor_pool.bridge.pool"


def test_B_014_the_bridge_imports_neither_driver_nor_command_line() -> None:
    """B-014: `hsm`, `protocol` and `client`; the command line is added where the others are."""
    imported = {
        m for module, found in imports().items() if module.startswith("bridge") for m in found
    }
    packages = {module.partition(".")[0] for module in imported}
    assert packages & {"hsm", "protocol", "client", "driver", "cli", "bridge"} == {
        *("hsm", "protocol", "client", "bridge")
    }


def test_B_010_the_four_machines_are_drawn() -> None:
    """B-010: `make diagrams` has each; the table tests run them with fakes only."""
    drawn = {path.stem for path in (ROOT / "diagrams").glob("*.svg")}
    assert set(MACHINES) <= drawn


def test_B_135_there_are_no_keys_and_no_cryptography() -> None:
    """B-135: no module of it is imported, and no setting takes a secret."""
    imported = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
    assert "crc32c" in imported  # finds faults, not forgery (B-062)
    assert not imported & {"cryptography", "hashlib", "hmac", "nacl", "secrets", "ssl"}
    settings = {
        name
        for kind in (BridgeSettings, SendLink, SendStream, ReceiveLink, ReceiveStream)
        for name in kind.__struct_fields__
    }
    words = {word for name in settings for word in name.split("_")}
    assert not words & {"key", "keys", "password", "secret", "token", "certificate", "mac"}


def test_B_172_the_pages_have_the_formulas_and_the_settings() -> None:
    """B-172: rates, memory, sysctl, MTU on Ethernet, with jumbo frames, in a WireGuard tunnel."""
    explanation = (ROOT / "docs" / "explanation" / "bridge.md").read_text()
    how_to = (ROOT / "docs" / "how-to" / "two-machines.md").read_text()
    for formula in (
        "rate ≤ window ÷ round trip",
        "rate ≤ MTU ÷ (loss × round trip)",
        "3 × `term_length`",
    ):
        assert formula in explanation
    for setting in ("net.core.rmem_max", "net.core.wmem_max", "1408", "8192", "1376", "WireGuard"):
        assert setting in how_to


def test_B_140_the_tests_that_the_specification_names_exist() -> None:
    """B-140: each row of sections 12 and 16.2 has a test."""
    here = Path(__file__).parent
    named = re.findall(r"`(\w+)::(\w+)`", SPECIFICATION.read_text())
    assert len(named) > 20
    for file, test in named:
        assert f"def {test}(" in (here / f"{file}.py").read_text(), f"{file}::{test}"
