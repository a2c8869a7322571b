"""The problems of a configuration, and their texts."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensor_pool.driver.config import check as config_check
from tensor_pool.driver.config.findings import ConfigError
from tensor_pool.driver.config.load import load_config
from tests.driver.config.configs import MINIMAL, load, load_exactly, problems, problems_exactly

PORT = "must be in 1..2147483647"
PERIOD = "must be in 10..3600000"
PAUSE = "must be in 0..3600000"
RANGE_FORM = 'expected "start-end" or [start, end]'


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("driver.instance_id", '""', "must be 1-128 printable ASCII characters"),
        ("driver.instance_id", f'"{"x" * 129}"', "must be 1-128 printable ASCII characters"),
        ("driver.instance_id", '"caf\\u00e9"', "must be 1-128 printable ASCII characters"),
        ("driver.instance_id", '"a\\nb"', "must be 1-128 printable ASCII characters"),
        ("driver.aeron_dir", '"relative"', "must be an absolute path"),
        ("driver.aeron_dir", '"/a\\u0000"', "must be an absolute path"),
        ("driver.media_driver", '"none"', "must be auto, embedded or external"),
        ("driver.http_address", '"0.0.0.0:80"', "must be a loopback host:port"),
        ("driver.http_address", '"example.org:80"', "must be a loopback host:port"),
        ("driver.http_address", '"127.0.0.1"', "must be a loopback host:port"),
        ("driver.http_address", '"127.0.0.1:65536"', "must be a loopback host:port"),
        ("driver.http_address", '"::1:80"', "must be a loopback host:port"),
        ("driver.control_channel", '"ipc"', "must be an Aeron channel"),
        ("driver.announce_channel", '""', "must be an Aeron channel"),
        ("driver.qos_channel", '"udp://x"', "must be an Aeron channel"),
        ("driver.control_stream_id", "0", PORT),
        ("driver.control_stream_id", "2147483648", PORT),
        ("driver.announce_stream_id", "0", PORT),
        ("driver.qos_stream_id", "0", PORT),
        ("driver.fragment_limit", "0", "must be in 1..1000"),
        ("driver.fragment_limit", "1001", "must be in 1..1000"),
        ("shm.base_dir", '"relative"', "must be an absolute path"),
        ("shm.base_dir", '"/dev/shm/a b"', "contains characters not allowed in a region URI"),
        ("shm.base_dir", '"/dev/shm/a|b"', "contains characters not allowed in a region URI"),
        ("shm.base_dir", '"/dev/shm/a?b"', "contains characters not allowed in a region URI"),
        ("shm.base_dir", '"/dev/null/x"', "not usable: ENOTDIR"),
        ("shm.require_hugepages", "true", "shm.base_dir is not on hugetlbfs"),
        ("shm.page_size_bytes", "2048", "must be a power of two >= 4096"),
        ("shm.page_size_bytes", "5000", "must be a power of two >= 4096"),
        ("shm.allowed_base_dirs", '["dev/shm"]', "must be absolute paths"),
        ("shm.allowed_base_dirs", '["/etc"]', "must contain shm.base_dir"),
        ("shm.allowed_base_dirs", '["/dev/sh"]', "must contain shm.base_dir"),
        ("shm.allowed_base_dirs", "[]", "must contain shm.base_dir"),
        ("policies.default_profile", '"none"', 'profile "none" not defined'),
        ("policies.announce_period_ms", "9", PERIOD),
        ("policies.announce_period_ms", "3600001", PERIOD),
        ("policies.lease_keepalive_interval_ms", "9", PERIOD),
        ("policies.lease_expiry_grace_intervals", "0", "must be in 1..1000"),
        ("policies.lease_expiry_grace_intervals", "1001", "must be in 1..1000"),
        ("policies.node_id_reuse_cooldown_ms", "3600001", PAUSE),
        ("policies.epoch_gc_keep", "0", "must be >= 1"),
        ("policies.shutdown_timeout_ms", "3600001", PAUSE),
        ("policies.shutdown_token", f'"{"x" * 1025}"', "must be at most 1024 ASCII bytes"),
        ("policies.shutdown_token", '"gehe\\u00efm"', "must be at most 1024 ASCII bytes"),
        ("policies.outbox_limit", "15", "must be in 16..65536"),
        ("policies.outbox_limit", "65537", "must be in 16..65536"),
        ("policies.response_ttl_ms", "99", "must be in 100..600000"),
        ("policies.response_ttl_ms", "600001", "must be in 100..600000"),
    ],
)
def test_D_182_each_rule_has_its_text(tmp_path: Path, key: str, value: str, text: str) -> None:
    table, name = key.split(".")
    assert problems(tmp_path, f"[{table}]\n{name} = {value}\n") == [f"{key}: {text}"]


@pytest.mark.parametrize(
    "mode", ["770", "0770", "400", "4660", "1660", "066", "60", "66x", "668", "666"]
)
def test_D_182_modes_that_are_refused(tmp_path: Path, mode: str) -> None:
    assert problems(tmp_path, f'[shm]\npermissions_mode = "{mode}"\n') == [
        "shm.permissions_mode: must be an octal mode with owner read/write, no write for"
        " others, no execute or special bits"
    ]


@pytest.mark.parametrize(("mode", "directory"), [("600", 0o700), ("0664", 0o775), ("640", 0o750)])
def test_D_115_directories_get_execute_where_read_is_set(
    tmp_path: Path, mode: str, directory: int
) -> None:
    shm = load(tmp_path, f'[shm]\npermissions_mode = "{mode}"\n').config.shm
    assert shm.directory_mode == directory


@pytest.mark.parametrize("namespace", ["", ".", "..", "a/b", "a b", "x" * 65])
def test_W_016_namespaces_that_are_refused(tmp_path: Path, namespace: str) -> None:
    assert problems(tmp_path, f'[shm]\nnamespace = "{namespace}"\n') == [
        "shm.namespace: must be 1-64 characters of A-Z a-z 0-9 . _ -"
    ]


@pytest.mark.parametrize("namespace", ["x" * 64, "a.b_c-D9", "..."])
def test_W_016_namespaces_that_are_accepted(tmp_path: Path, namespace: str) -> None:
    assert load(tmp_path, f'[shm]\nnamespace = "{namespace}"\n').config.shm.namespace == namespace


@pytest.mark.parametrize(
    "address", ["127.0.0.1:0", "127.8.8.8:80", "localhost:65535", "[::1]:9100"]
)
def test_loopback_addresses_are_accepted(tmp_path: Path, address: str) -> None:
    """D-182."""
    driver = load(tmp_path, f'[driver]\nhttp_address = "{address}"\n').config.driver
    assert driver.http_address == address


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"20000"', RANGE_FORM),
        ('"a-b"', RANGE_FORM),
        ("[1, 2, 3]", RANGE_FORM),
        ('[1, "2"]', RANGE_FORM),
        ("[true, 2]", RANGE_FORM),
        ("17", "expected range"),
        ('"30-20"', "start must be <= end"),
        ('"0-20"', PORT),
        ('"5-2147483648"', PORT),
        ("[-1, 5]", PORT),
        ('"990-1000"', "contains reserved id 1000"),
        ('"1150-1250"', "contains reserved id 1200"),
        ('"9990-10010"', "contains reserved id 10000"),
    ],
)
def test_D_183_each_range_problem_has_its_text(tmp_path: Path, value: str, text: str) -> None:
    key = "driver.stream_id_range"
    assert problems(tmp_path, f"[driver]\nstream_id_range = {value}\n") == [f"{key}: {text}"]


def test_D_183_a_range_may_not_contain_the_announce_stream(tmp_path: Path) -> None:
    toml = '[driver]\nannounce_stream_id = 31005\ndescriptor_stream_id_range = "31000-31999"\n'
    assert problems(tmp_path, toml) == [
        "driver.descriptor_stream_id_range: contains reserved id 31005"
    ]


def test_W_230_overlapping_ranges_are_reported_on_the_later_key(tmp_path: Path) -> None:
    """D-183, W-230: and one text a key, the overlap before the reserved id."""
    toml = """
    [driver]
    stream_id_range = "20000-29999"
    descriptor_stream_id_range = "29999-31000"
    control_stream_id_range = "900-20000"
    """
    assert problems(tmp_path, toml) == [
        "driver.descriptor_stream_id_range: overlaps driver.stream_id_range",
        "driver.control_stream_id_range: overlaps driver.stream_id_range",
    ]


def test_D_184_the_suggested_numbers_go_together(tmp_path: Path) -> None:
    toml = """
    [driver]
    control_stream_id = 1000
    announce_stream_id = 1001
    qos_stream_id = 1200
    stream_id_range = "20000-29999"
    descriptor_stream_id_range = "31000-31999"
    control_stream_id_range = "32000-32999"
    [policies]
    allow_dynamic_streams = true
    """
    assert problems(tmp_path, toml) == []


def test_neighbouring_ranges_do_not_overlap(tmp_path: Path) -> None:
    """W-230."""
    toml = """
    [driver]
    stream_id_range = "20000-29999"
    descriptor_stream_id_range = "30000-31999"
    control_stream_id_range = "32000-32000"
    """
    assert problems(tmp_path, toml) == []


@pytest.mark.parametrize(
    ("profile", "problem"),
    [
        ("header_nslots = 12", "header_nslots: must be a power of two"),
        ("header_nslots = 0", "header_nslots: must be a power of two"),
        ("header_nslots = 4294967296", "header_nslots: out of range"),
        ("header_slot_bytes = 512", "header_slot_bytes: must be 256"),
        ("header_slot_bytes = 65536", "header_slot_bytes: out of range"),
        ("payload_pools = 3", "payload_pools: expected list"),
        ("payload_pools = []", "payload_pools: must have 1..64 entries"),
        ("payload_pools = [3]", "payload_pools[0]: expected table"),
        ("payload_pools = [{ stride_bytes = 64 }]", "payload_pools[0].pool_id: required"),
        ("payload_pools = [{ pool_id = 1 }]", "payload_pools[0].stride_bytes: required"),
        (
            "payload_pools = [{ pool_id = 0, stride_bytes = 64 }]",
            "payload_pools[0].pool_id: must be in 1..65534",
        ),
        (
            "payload_pools = [{ pool_id = 65535, stride_bytes = 64 }]",
            "payload_pools[0].pool_id: must be in 1..65534",
        ),
        (
            "payload_pools = [{ pool_id = 65536, stride_bytes = 64 }]",
            "payload_pools[0].pool_id: out of range",
        ),
        (
            "payload_pools = [{pool_id = 7, stride_bytes = 64}, {pool_id = 7, stride_bytes = 64}]",
            "payload_pools[1].pool_id: duplicate pool_id 7",
        ),
        *(
            (
                f"payload_pools = [{{ pool_id = 1, stride_bytes = {stride} }}]",
                "payload_pools[0].stride_bytes: must be a multiple of 64",
            )
            for stride in (0, 32, 96, 650)
        ),
    ],
)
def test_D_182_each_profile_rule_has_its_text(tmp_path: Path, profile: str, problem: str) -> None:
    toml = f"[profiles.p]\n{profile}\n"
    if "payload_pools" not in profile:
        toml += "payload_pools = [{ pool_id = 1, stride_bytes = 64 }]\n"
    assert problems(tmp_path, toml) == [f"profiles.p.{problem}"]


def test_D_182_at_most_64_pools(tmp_path: Path) -> None:
    def with_pools(count: int) -> list[str]:
        pools = ",".join(f"{{pool_id={n + 1},stride_bytes=64}}" for n in range(count))
        return problems(tmp_path, f"[profiles.p]\npayload_pools = [{pools}]\n")

    assert with_pools(64) == []
    assert with_pools(65) == ["profiles.p.payload_pools: must have 1..64 entries"]


def _deep_dir(length: int) -> str:
    path = "/dev/shm/tp"
    while len(path) < length:
        path += "/" + "d" * min(200, length - len(path) - 1)
    return path


def test_D_182_an_announce_must_fit_into_a_message(tmp_path: Path) -> None:
    pools = ",".join(f"{{pool_id={n + 1},stride_bytes=64}}" for n in range(64))
    toml = f'[profiles.p]\npayload_pools = [{pools}]\n[shm]\nbase_dir = "@"\n'
    assert problems(tmp_path, toml.replace("@", _deep_dir(800))) == []
    assert problems(tmp_path, toml.replace("@", _deep_dir(1100))) == [
        "profiles.p.payload_pools: encoded announce too large"
    ]


def test_D_182_a_region_uri_must_stay_within_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The host refuses paths of that length by itself; what is checked is the length of the URI.
    monkeypatch.setattr(config_check, "usability_problem", lambda path: None)
    monkeypatch.setattr(config_check, "huge_page_bytes_at", lambda path: None)
    toml = '[shm]\nbase_dir = "{}"\n'
    assert problems(tmp_path, toml.format(_deep_dir(3950))) == []
    assert problems(tmp_path, toml.format(_deep_dir(4060))) == [
        "profiles.camera.payload_pools: region URI too long"
    ]


def test_D_182_page_size_must_match_a_hugetlbfs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-182, D-120: as if base_dir were on a hugetlbfs of 2 MiB pages."""
    monkeypatch.setattr(config_check, "huge_page_bytes_at", lambda path: 2 << 20)
    toml = "[shm]\nrequire_hugepages = true\npage_size_bytes = {}\n"
    assert problems(tmp_path, toml.format(4096)) == []
    assert problems(tmp_path, toml.format(2 << 20)) == []
    assert problems(tmp_path, toml.format(8192)) == [
        "shm.page_size_bytes: does not match the hugetlbfs page size"
    ]


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        ("[streams.a]\nprofile = 'camera'", ["streams.a.stream_id: required"]),
        ("[streams.a]\nstream_id = 5", ["streams.a.profile: required"]),
        (
            "[streams.a]\nstream_id = 0\nprofile = 'camera'",
            ["streams.a.stream_id: must be in 1..4294967294"],
        ),
        (
            "[streams.a]\nstream_id = 4294967295\nprofile = 'camera'",
            ["streams.a.stream_id: must be in 1..4294967294"],
        ),
        (
            "[streams.a]\nstream_id = 10000\nprofile = 'x'",
            ['streams.a.profile: profile "x" not defined'],
        ),
        ("[streams]\na = 3", ["streams.a: expected table"]),
    ],
)
def test_D_182_each_stream_rule_has_its_text(
    tmp_path: Path, streams: str, expected: list[str]
) -> None:
    profile = "[profiles.camera]\npayload_pools = [{ pool_id = 1, stride_bytes = 64 }]\n"
    assert problems_exactly(tmp_path, f"{profile}{streams}\n") == expected


def test_D_181_a_duplicate_is_reported_on_the_later_entry(tmp_path: Path) -> None:
    toml = MINIMAL + "[streams.also]\nstream_id = 10000\nprofile = 'camera'\n"
    assert problems_exactly(tmp_path, toml) == ["streams.also.stream_id: duplicate stream_id 10000"]


def test_D_182_profiles_and_streams_must_exist(tmp_path: Path) -> None:
    no_stream = "streams: at least one stream is required when policies.allow_dynamic_streams=false"
    assert problems_exactly(tmp_path, "") == [
        "profiles: at least one profile is required",
        no_stream,
    ]
    dynamic = "[policies]\nallow_dynamic_streams = true\n[driver]\nstream_id_range = '5-6'\n"
    profile = "[profiles.p]\npayload_pools = [{ pool_id = 1, stride_bytes = 64 }]\n"
    assert problems_exactly(tmp_path, dynamic + profile) == []
    assert problems_exactly(tmp_path, "profiles = 3\nstreams = 4\n") == [
        "profiles: expected table",
        "streams: expected table",
    ]


def test_D_182_deletion_and_reuse_exclude_each_other(tmp_path: Path) -> None:
    toml = "[policies]\ndelete_shm_on_startup = true\nreuse_existing_shm = true\n"
    assert problems(tmp_path, toml) == [
        "policies.delete_shm_on_startup: conflicts with policies.reuse_existing_shm"
    ]


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("driver.instance_id", "3", "expected str"),
        ("driver.fragment_limit", '"3"', "expected u32"),
        ("driver.fragment_limit", "3.0", "expected u32"),
        ("driver.fragment_limit", "true", "expected u32"),
        ("driver.fragment_limit", "-1", "out of range"),
        ("driver.fragment_limit", "4294967296", "out of range"),
        ("policies.epoch_gc_min_age_ns", "18446744073709551616", "out of range"),
        ("policies.epoch_gc_min_age_ns", "'1'", "expected u64"),
        ("policies.mlock_shm", "1", "expected bool"),
        ("policies.mlock_shm", '"true"', "expected bool"),
        ("shm.allowed_base_dirs", '"/dev/shm"', "expected list"),
        ("shm.allowed_base_dirs", "[1]", "expected list"),
    ],
)
def test_D_182_wrong_types_and_sizes(tmp_path: Path, key: str, value: str, text: str) -> None:
    table, name = key.split(".")
    assert problems(tmp_path, f"[{table}]\n{name} = {value}\n") == [f"{key}: {text}"]


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("policies.mlock_shm", "yes", "expected bool"),
        ("policies.mlock_shm", "", "expected bool"),
        ("driver.fragment_limit", "ten", "expected u32"),
        ("driver.fragment_limit", " 10", "expected u32"),
        ("driver.fragment_limit", "1_0", "expected u32"),
        ("driver.fragment_limit", "9" * 5000, "out of range"),
        ("driver.stream_id_range", "9" * 5000 + "-1", RANGE_FORM),
    ],
)
def test_D_182_wrong_texts_in_the_environment(
    tmp_path: Path, key: str, value: str, text: str
) -> None:
    environ = {key.upper().replace(".", "_"): value}
    assert problems(tmp_path, "", environ=environ) == [f"{key}: {text}"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("FALSE", False), ("1", True), ("0", False), ("True", True)],
)
def test_D_182_booleans_in_the_environment(tmp_path: Path, text: str, value: bool) -> None:
    loaded = load(tmp_path, environ={"POLICIES_MLOCK_SHM": text})
    assert loaded.config.policies.mlock_shm is value


def test_D_182_unknown_keys_are_warned_about_and_ignored(tmp_path: Path) -> None:
    toml = """
    [driver]
    fragmentlimit = 3
    [extra]
    x = 1
    [profiles.p]
    payload_pools = [{ pool_id = 1, stride_bytes = 64, colour = "red" }]
    slots = 3
    [streams.more]
    stream_id = 5
    profile = "p"
    fps = 3
    """
    loaded = load(tmp_path, toml, overrides=[("driver.nonsense", "1")])
    assert loaded.warnings == (
        "driver.nonsense: unknown key, ignored",
        "driver.fragmentlimit: unknown key, ignored; did you mean driver.fragment_limit?",
        "extra: unknown key, ignored",
        "profiles.p.slots: unknown key, ignored",
        "profiles.p.payload_pools[0].colour: unknown key, ignored",
        "streams.more.fps: unknown key, ignored",
    )


def test_dynamic_streams_without_a_range_are_warned_about(tmp_path: Path) -> None:
    """D-182."""
    (warning,) = load(tmp_path, "[policies]\nallow_dynamic_streams = true\n").warnings
    assert "without driver.stream_id_range" in warning


def test_D_182_a_table_that_is_not_a_table(tmp_path: Path) -> None:
    assert problems(tmp_path, "driver = 5\n") == ["driver: expected table"]


def test_D_181_every_problem_is_reported_in_the_order_of_the_keys(tmp_path: Path) -> None:
    toml = """
    [streams.s]
    stream_id = 0
    profile = "camera"
    [profiles.camera]
    header_nslots = 3
    payload_pools = [{ pool_id = 1, stride_bytes = 65 }]
    [policies]
    outbox_limit = 1
    [shm]
    namespace = ".."
    [driver]
    fragment_limit = "x"
    """
    assert problems_exactly(tmp_path, toml) == [
        "driver.fragment_limit: expected u32",
        "shm.namespace: must be 1-64 characters of A-Z a-z 0-9 . _ -",
        "policies.outbox_limit: must be in 16..65536",
        "profiles.camera.header_nslots: must be a power of two",
        "profiles.camera.payload_pools[0].stride_bytes: must be a multiple of 64",
        "streams.s.stream_id: must be in 1..4294967294",
    ]


def test_D_181_a_problem_carries_value_and_source_but_never_the_token(tmp_path: Path) -> None:
    environ = {"DRIVER_FRAGMENT_LIMIT": "0", "POLICIES_SHUTDOWN_TOKEN": "gehéim"}
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, environ=environ)
    limit, token = caught.value.problems
    assert (limit.value, limit.source) == ("0", "environment DRIVER_FRAGMENT_LIMIT")
    assert token.key == "policies.shutdown_token"
    assert token.value is None
    assert "gehéim" not in str(caught.value)


def test_base_dir_may_be_missing_and_validation_does_not_make_it(tmp_path: Path) -> None:
    """D-181: nothing is touched by a check."""
    missing = tmp_path / "not" / "there"
    assert load(tmp_path, f'[shm]\nbase_dir = "{missing}"\n').config.shm.base_dir == str(missing)
    assert not (tmp_path / "not").exists()


def test_base_dir_problems_are_named_by_errno(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-182."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.setattr(os, "access", lambda *arguments, **options: False)
    toml = '[shm]\nbase_dir = "{}"\n'
    assert problems(tmp_path, toml.format(tmp_path)) == ["shm.base_dir: not usable: EACCES"]
    assert problems(tmp_path, toml.format(tmp_path / "loop" / "x")) == [
        "shm.base_dir: not usable: ELOOP"
    ]


def test_allowed_dirs_are_compared_after_resolving(tmp_path: Path) -> None:
    """D-182, W-031: a link to an allowed directory is that directory."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    toml = f'[shm]\nbase_dir = "{tmp_path}/link/base"\nallowed_base_dirs = ["{tmp_path}/real"]\n'
    assert problems(tmp_path, toml) == []


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_document_is_either_loaded_or_reported(data: st.DataObject) -> None:
    """D-181, D-182: no value of any type in any place ends in another exception."""
    from tensor_pool.driver.config.keys import SETTINGS

    keys = st.sampled_from([setting.key for setting in SETTINGS] + ["profiles.p", "streams.s"])
    overrides = data.draw(st.lists(st.tuples(keys, json_like), max_size=5))
    environ = data.draw(
        st.dictionaries(st.sampled_from([s.environment for s in SETTINGS]), st.text(), max_size=3)
    )
    with contextlib.suppress(ConfigError):
        load_config(overrides=overrides, environ=environ)


def test_the_same_file_is_reported_alike_twice(tmp_path: Path) -> None:
    toml = "[driver]\nfragment_limit = 0\n[shm]\nnamespace = ''\n"
    assert problems(tmp_path, toml) == problems(tmp_path, toml) != []
    with pytest.raises(ConfigError):
        load_exactly(tmp_path, toml)
