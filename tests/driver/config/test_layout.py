"""Names and places of region files."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from tensor_pool.driver.config.layout import Layout, path_component, user_name
from tensor_pool.driver.core.configuration import ShmTable
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.shm.epoch_directories import decimal_name
from tensor_pool.protocol.shm.uri import parse_region_uri
from tests.driver.config.configs import SMALL
from tests.driver.conftest import Stores


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("a/../b", "a_.._b"),
        ("a/b", "a_b"),
        (".", "_"),
        ("..", "_"),
        ("", "_"),
        ("DOMAIN\\jörg", "DOMAIN_j_rg"),
        ("ok.user-1_x", "ok.user-1_x"),
    ],
)
def test_D_110_account_names_are_made_fit_for_a_path(name: str, component: str) -> None:
    """D-110, W-016."""
    assert path_component(name) == component


def test_W_016_the_user_is_the_account_of_the_effective_uid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """W-016: not the name in the environment."""
    for variable in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "somebody-else")
    assert user_name() == pwd.getpwuid(os.geteuid()).pw_name


def test_W_016_a_uid_without_an_account_is_named_by_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D-110, W-016."""
    monkeypatch.setattr(os, "geteuid", lambda: 3_999_999_999)
    assert user_name() == "uid-3999999999"


def test_W_015_region_files_lie_where_the_layout_has_them(
    stores: Stores, clock: SimulatedClock
) -> None:
    """D-110, W-015: decimal numbers without padding."""
    regions = stores.open(shm={"namespace": "lab"}).provision(10000, SMALL, 7)

    directory = stores.base_dir / f"tensorpool-{user_name()}" / "lab" / "10000" / "7"
    assert sorted(path.name for path in directory.iterdir()) == ["1.pool", "2.pool", "header.ring"]
    assert parse_region_uri(regions.header_uri).path == str(directory / "header.ring")
    assert [parse_region_uri(pool.uri).path for pool in regions.pools] == [
        str(directory / "1.pool"),
        str(directory / "2.pool"),
    ]


def test_W_017_announced_paths_are_canonical_and_explicit(stores: Stores, shm_dir: Path) -> None:
    """D-111, W-017: also where base_dir is configured through a link."""
    (shm_dir / "real").mkdir()
    (shm_dir / "link").symlink_to(shm_dir / "real")
    store = stores.open(shm={"base_dir": str(shm_dir / "link")})

    uri = parse_region_uri(store.provision(10000, SMALL, 7).header_uri)

    assert uri.path.startswith(str(shm_dir / "real") + "/")
    assert os.path.realpath(uri.path) == uri.path


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("0", 0),
        ("7", 7),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", None),
        ("07", None),
        ("+7", None),
        ("-7", None),
        ("７", None),
        ("7.pool", None),
        ("", None),
    ],
)
def test_D_127_only_plain_decimal_names_are_epochs(name: str, number: int | None) -> None:
    assert decimal_name(name) == number


def test_the_longest_paths_are_at_least_as_long_as_any_real_one(shm_dir: Path) -> None:
    """D-182: what the check of URI lengths measures."""
    layout = Layout.of(ShmTable(base_dir=str(shm_dir)))
    longest = list(layout.longest_paths(SMALL))
    for pool_id, path in zip((0, 1, 2), longest, strict=True):
        assert len(path) >= len(layout.region_path(4294967294, 2**64 - 2, pool_id))
