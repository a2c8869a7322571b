"""The architecture as a table of imports, held against every import there is.

Imports inside functions and below `TYPE_CHECKING` count like any other: a type that closes a circle
is typed against a small Protocol beside the class that needs it.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PREFIX = "tensor_pool."
PACKAGES = ("hsm", "protocol", "client", "driver", "bridge", "cli", "schemas")

# Package: the packages of ours that it may import. The longest name that fits a module decides.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "hsm": (),
    "protocol": ("schemas",),
    "schemas": (),
    "schemas.generator": (),
    "client": ("hsm", "protocol"),
    # `connect(embed=True)` runs a driver in the client's process.
    "client.embedding": ("client", "driver"),
    "client.connecting": ("client", "hsm", "protocol", "client.embedding"),
    "driver.core": ("hsm", "protocol.wire", "protocol.clock", "protocol.errors"),
    "driver": ("hsm", "protocol"),
    # `EmbeddedDriver.client_config()` makes what `connect()` takes, and nothing else of the client.
    "driver.config.for_clients": ("driver.core", "client.config"),
    "driver.http": ("driver", "hsm", "protocol", "client"),
    "bridge": ("hsm", "protocol", "client"),
    "cli": ("hsm", "protocol", "client", "driver", "bridge", "schemas"),
}
IO_MODULES = {"asyncio", "fcntl", "mmap", "os", "pathlib", "select", "shutil", "signal", "socket"}
IO_MODULES |= {"subprocess", "tempfile", "threading", "time"}


def _modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = path
    return found


MODULES = _modules()


def _imported(module: str, path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere: ours without the prefix, others by their name."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _ours(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                above = parts[: len(parts) - node.level + 1]
                base = ".".join((*above, base) if base else above)
            base = _ours(base)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in MODULES else base


def _ours(name: str) -> str:
    return name.removeprefix(PREFIX)


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@functools.cache
def imports() -> dict[str, set[str]]:
    """Module: what it imports; read when a test asks, as every worker collects this file."""
    return {
        module: {name for name in _imported(module, path) if name != module}
        for module, path in MODULES.items()
    }


def _rule_for(module: str) -> str:
    return max((package for package in MAY_IMPORT if _within(module, package)), key=len)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_the_table_allows(package: str) -> None:
    members = [module for module in MODULES if _rule_for(module) == package]
    allowed = (package, *MAY_IMPORT[package])
    wrong = [
        f"{module} imports {name}"
        for module in members
        for name in sorted(imports()[module] & MODULES.keys())
        if not any(_within(name, other) for other in allowed)
    ]
    assert not wrong


def test_every_module_of_ours_that_is_named_in_an_import_exists() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, names in imports().items()
        for name in sorted(names)
        if name.partition(".")[0] in PACKAGES and name not in MODULES
    ]
    assert not wrong


def test_S_004_services_live_in_the_client_and_discovery_is_answered_by_the_driver() -> None:
    """S-004; what imports what is the table's (above)."""
    for service in ("discovery.directory", "qos.monitor", "synchronizer.synchronizer"):
        assert f"client.{service}" in MODULES
    assert "client.traces.store" in MODULES
    assert "driver.core.discovery" in MODULES
    commands = {"health", "trace", "watch"}
    assert {f"cli.commands.{name}" for name in commands} <= MODULES.keys()


def test_state_machines_use_the_standard_library_only() -> None:
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        if _within(module, "hsm")
        for name in sorted(imports()[module])
        if name.partition(".")[0] not in {"hsm", *sys.stdlib_module_names}
    ]
    assert not wrong


def test_the_core_of_the_driver_does_no_input_or_output() -> None:
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        if _within(module, "driver.core")
        for name in sorted(imports()[module])
        if name.partition(".")[0] in IO_MODULES
    ]
    assert not wrong


def _circle(graph: dict[str, set[str]]) -> str:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return " -> ".join(error.args[1])
    return ""


def _folder(module: str) -> str:
    """The folder of a module; generated codecs belong to the folder that they are generated for."""
    is_package = MODULES[module].name == "__init__.py"
    folder = module if is_package else module.rpartition(".")[0]
    return folder.removesuffix(".generated")


def _is_facade(module: str) -> bool:
    """The front of a whole package, which only passes on the names of its parts."""
    return module in PACKAGES


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle_of_modules(package: str) -> None:
    graph = {
        module: {name for name in imports()[module] & MODULES.keys() if not _is_facade(name)}
        for module in MODULES
        if _within(module, package) and not _is_facade(module)
    }
    assert not _circle(graph)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle_of_folders(package: str) -> None:
    """The modules that stand in the package itself belong to no folder."""
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        folder = _folder(module)
        if not _within(module, package) or folder == package:
            continue
        others = {_folder(name) for name in imports()[module] & MODULES.keys()}
        inside = {other for other in others if _within(other, package)}
        graph.setdefault(folder, set()).update(inside - {folder, package})
    assert not _circle(graph)


def test_the_picture_of_the_packages_has_an_arrow_for_every_import_and_no_other() -> None:
    picture = (ROOT / "docs" / "pictures" / "packages.svg").read_text(encoding="utf-8")
    drawn = set(re.findall(r'data-import="(\w+) (\w+)"', picture))
    imported = {
        (module.partition(".")[0], name.partition(".")[0])
        for module, names in imports().items()
        for name in names & MODULES.keys()
    }
    assert drawn == {(importer, name) for importer, name in imported if importer != name}


def test_a_client_starts_without_what_few_programs_need() -> None:
    """Together they took half of the time of a start."""
    script = "import sys, tensor_pool.client as c; c.connect, c.Consumer; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "tensor_pool.client.consumer.consumer" in loaded
    for_few = {
        *("asyncio", "crc32c", "difflib", "importlib.metadata"),
        *("pydantic", "pygments", "rich", "typer", "PIL"),
        *("tensor_pool.cli", "tensor_pool.driver", "tensor_pool.bridge"),
        *("tensor_pool.client.qos.monitor", "tensor_pool.client.synchronizer.synchronizer"),
    }
    assert not for_few & set(loaded)


def test_the_names_of_the_client_are_there_before_anything_is_loaded() -> None:
    """`import tensor_pool.client` itself loads neither numpy nor Aeron."""
    script = "import sys, tensor_pool.client; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "tensor_pool.client" in loaded
    assert not {"numpy", "msgspec", "pyaeron", "posix_ipc", "tensor_pool.hsm"} & set(loaded)
