"""The sources of values: overrides, environment, file, default."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tensor_pool.driver.config.findings import ConfigError
from tensor_pool.driver.config.keys import SETTINGS, TABLES
from tensor_pool.driver.config.load import STARTER, load_config, parse_override
from tensor_pool.driver.core.configuration import DriverConfig, IdRange, Pool, Profile
from tests.driver.config.configs import load, load_exactly, problems


def test_D_180_each_source_beats_the_next(tmp_path: Path) -> None:
    in_file = "[driver]\nfragment_limit = 20\n"
    environ = {"DRIVER_FRAGMENT_LIMIT": "30"}
    override = [("driver.fragment_limit", "40")]

    loaded = [
        load(tmp_path),
        load(tmp_path, in_file),
        load(tmp_path, in_file, environ=environ),
        load(tmp_path, in_file, environ=environ, overrides=override),
    ]

    assert [one.config.driver.fragment_limit for one in loaded] == [10, 20, 30, 40]
    assert [one.sources["driver.fragment_limit"] for one in loaded] == [
        "default",
        "file",
        "environment DRIVER_FRAGMENT_LIMIT",
        "override",
    ]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_every_key_has_a_record_field_and_a_variable_of_its_name(setting: object) -> None:
    """D-180, W-231: the environment name is the key in capitals with `.` as `_`."""
    key: str = setting.key  # type: ignore[attr-defined]
    table, name = key.split(".")
    assert name in {field.name for field in msgspec.structs.fields(TABLES[table])}
    assert setting.environment == f"{table}_{name}".upper()  # type: ignore[attr-defined]


def test_every_field_of_a_record_is_a_key() -> None:
    keys = {
        f"{table}.{field.name}"
        for table, record in TABLES.items()
        for field in msgspec.structs.fields(record)
    }
    assert keys == {setting.key for setting in SETTINGS}


NON_DEFAULT = {
    "driver.instance_id": "lab-7",
    "driver.aeron_dir": "/dev/shm/aeron-lab",
    "driver.media_driver": "external",
    "driver.http_address": "127.0.0.1:9100",
    "driver.http_images": "false",
    "driver.http_socket": "/run/tensor-pool.sock",
    "driver.control_channel": "aeron:ipc",
    "driver.control_stream_id": "1003",
    "driver.announce_channel": "aeron:ipc?term-length=64k",
    "driver.announce_stream_id": "1004",
    "driver.qos_channel": "aeron:ipc?term-length=1m",
    "driver.qos_stream_id": "1201",
    "driver.metadata_channel": "aeron:ipc?term-length=2m",
    "driver.metadata_stream_id": "1301",
    "driver.stream_id_range": "20000-20010",
    "driver.descriptor_stream_id_range": "31000,31010",
    "driver.control_stream_id_range": "32000-32010",
    "driver.fragment_limit": "11",
    "shm.base_dir": "/dev/shm/elsewhere",
    "shm.namespace": "lab",
    "shm.page_size_bytes": "8192",
    "shm.permissions_mode": "600",
    "shm.allowed_base_dirs": "/dev/shm:/tmp",
    "policies.allow_dynamic_streams": "TRUE",
    "policies.default_profile": "camera",
    "policies.announce_period_ms": "500",
    "policies.lease_keepalive_interval_ms": "501",
    "policies.lease_expiry_grace_intervals": "4",
    "policies.max_leases": "5",
    "policies.node_id_reuse_cooldown_ms": "0",
    "policies.prefault_shm": "false",
    "policies.mlock_shm": "1",
    "policies.reuse_existing_shm": "0",
    "policies.delete_shm_on_startup": "true",
    "policies.cleanup_shm_on_exit": "true",
    "policies.provision_on_startup": "true",
    "policies.epoch_gc_enabled": "false",
    "policies.epoch_gc_keep": "3",
    "policies.epoch_gc_min_age_ns": "123",
    "policies.epoch_gc_on_startup": "true",
    "policies.shutdown_timeout_ms": "0",
    "policies.shutdown_token": "secret",
    "policies.outbox_limit": "16",
    "policies.response_ttl_ms": "100",
    "discovery.enabled": "false",
    "discovery.stream_id": "7000",
    "discovery.max_results": "10",
    "discovery.max_endpoints": "0",
}


def test_W_231_every_setting_can_be_set_and_read_back(tmp_path: Path) -> None:
    """W-231, D-180: by the environment and by an override alike."""
    environ = {key.upper().replace(".", "_"): value for key, value in NON_DEFAULT.items()}
    by_environment = load(tmp_path, environ=environ).config
    by_override = load(tmp_path, overrides=NON_DEFAULT.items()).config

    assert by_environment == by_override
    defaults = load(tmp_path).config
    unchanged = [
        key
        for key in NON_DEFAULT
        if _value(by_environment, key) == _value(defaults, key)
        and key not in ("policies.default_profile", "policies.reuse_existing_shm")
    ]
    assert unchanged == []
    # Missing above: it needs hugetlbfs; and header_nslots belongs to a profile.
    assert {setting.key for setting in SETTINGS} - set(NON_DEFAULT) == {"shm.require_hugepages"}


def _value(config: DriverConfig, key: str) -> object:
    table, name = key.split(".")
    return getattr(getattr(config, table), name)


@pytest.mark.parametrize(
    ("alias", "key", "text", "value"),
    [
        ("AERON_DIR", "driver.aeron_dir", "/dev/shm/a", "/dev/shm/a"),
        ("TP_CONTROL_CHANNEL", "driver.control_channel", "aeron:ipc", "aeron:ipc"),
        ("TP_CONTROL_STREAM_ID", "driver.control_stream_id", "1111", 1111),
    ],
)
def test_D_180_an_alias_counts_only_without_the_canonical_variable(
    tmp_path: Path, alias: str, key: str, text: str, value: object
) -> None:
    canonical = key.upper().replace(".", "_")
    loaded = load(tmp_path, environ={alias: text})
    assert _value(loaded.config, key) == value
    assert loaded.sources[key] == f"environment {alias}"

    other = load(tmp_path, environ={alias: "not valid at all", canonical: text})
    assert _value(other.config, key) == value


def test_D_180_a_variable_set_to_the_empty_string_counts(tmp_path: Path) -> None:
    in_file = '[driver]\nhttp_address = "127.0.0.1:1"\nstream_id_range = "20000-20001"\n'
    environ = {"DRIVER_HTTP_ADDRESS": "", "DRIVER_STREAM_ID_RANGE": ""}
    driver = load(tmp_path, in_file, environ=environ).config.driver
    assert driver.http_address == ""
    assert driver.stream_id_range is None
    assert problems(tmp_path, "", environ={"DRIVER_FRAGMENT_LIMIT": ""}) == [
        "driver.fragment_limit: expected u32"
    ]


def test_D_180_profiles_and_streams_have_no_environment_form(tmp_path: Path) -> None:
    environ = {"STREAMS_LEFT_STREAM_ID": "5", "PROFILES_CAMERA_HEADER_NSLOTS": "2"}
    loaded = load(tmp_path, environ=environ)
    assert loaded.config.streams["left"].stream_id == 10000
    assert loaded.config.profiles["camera"].header_nslots == 1024


def test_derived_defaults_follow_the_value_they_come_from(tmp_path: Path) -> None:
    """D-182: announce endpoint, allowed directories, default profile, minimum age."""
    config = load(
        tmp_path,
        '[driver]\ncontrol_channel = "aeron:ipc?a=1"\ncontrol_stream_id = 7\n'
        f'[shm]\nbase_dir = "{tmp_path}"\n[policies]\nannounce_period_ms = 20\n',
    ).config
    assert config.driver.announce_channel == "aeron:ipc?a=1"
    assert config.driver.announce_stream_id == 7
    assert config.shm.allowed_base_dirs == (str(tmp_path),)
    assert config.policies.default_profile == "camera"
    assert config.policies.epoch_gc_min_age_ns == 3 * 20_000_000


def test_ranges_are_read_in_all_three_forms(tmp_path: Path) -> None:
    """D-183."""
    for form in ('"20000-20009"', '"20000,20009"', "[20000, 20009]", '" 20000 - 20009 "'):
        driver = load(tmp_path, f"[driver]\nstream_id_range = {form}\n").config.driver
        assert driver.stream_id_range == IdRange(20000, 20009)
    for unset in ('""', "[]"):
        driver = load(tmp_path, f"[driver]\nstream_id_range = {unset}\n").config.driver
        assert driver.stream_id_range is None


def test_overrides_reach_into_profiles_and_streams(tmp_path: Path) -> None:
    """D-180."""
    loaded = load(
        tmp_path,
        overrides=[
            ("profiles.camera.header_nslots", "64"),
            ("profiles.big.payload_pools", "[{ pool_id = 3, stride_bytes = 128 }]"),
            ("streams.left.profile", "big"),
            ('streams."second one".stream_id', "10001"),
            ('streams."second one".profile', '"camera"'),
        ],
    )
    assert loaded.config.profiles["camera"].header_nslots == 64
    assert loaded.config.streams["left"].profile == "big"
    assert loaded.config.streams["second one"].stream_id == 10001
    assert loaded.sources["streams.left.profile"] == "override"
    assert loaded.sources["streams.left.stream_id"] == "file"


def test_an_override_may_be_a_value_instead_of_text(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        overrides=[
            ("policies.prefault_shm", False),
            ("driver.stream_id_range", IdRange(5, 6)),
            ("shm.allowed_base_dirs", ["/"]),
        ],
    )
    assert loaded.config.policies.prefault_shm is False
    assert loaded.config.driver.stream_id_range == IdRange(5, 6)
    assert loaded.config.shm.allowed_base_dirs == ("/",)


@pytest.mark.parametrize("text", ["novalue", "=1", ""])
def test_an_override_that_is_not_an_assignment_is_a_problem(text: str) -> None:
    with pytest.raises(ConfigError, match="--set: expected key=value"):
        parse_override(text)


def test_an_override_value_may_contain_an_equals_sign() -> None:
    assert parse_override("driver.control_channel=aeron:ipc?a=b") == (
        "driver.control_channel",
        "aeron:ipc?a=b",
    )


def test_without_a_file_the_starter_configuration_is_used() -> None:
    """D-192: `tensor-pool driver` alone must come up with something to attach to."""
    loaded = load_config(environ={})
    assert [stream.stream_id for stream in loaded.config.streams.values()] == [10000]
    assert loaded.config.policies.allow_dynamic_streams
    assert loaded.sources["policies.allow_dynamic_streams"] == "built-in"
    changed = load_config(environ={}, overrides=[("profiles.default.header_nslots", 64)])
    assert changed.config.profiles["default"].header_nslots == 64
    assert STARTER["profiles"]["default"]["header_nslots"] == 32, "the starter was changed in place"


def test_records_made_by_hand_are_complete() -> None:
    config = DriverConfig(profiles={"a": Profile(), "b": Profile()})
    assert config.policies.default_profile == "a"
    assert config.driver.announce_stream_id == config.driver.control_stream_id == 1000
    assert config.shm.directory_mode == 0o770


def test_D_140_the_token_is_in_no_representation_of_a_configuration(tmp_path: Path) -> None:
    config = load(tmp_path, '[policies]\nshutdown_token = "open sesame"\n').config
    assert config.policies.shutdown_token == "open sesame"
    assert "sesame" not in repr(config)
    assert "sesame" not in str(config.policies)


def test_a_file_that_cannot_be_used_is_one_problem(tmp_path: Path) -> None:
    """D-192: unreadable, not UTF-8, or not TOML."""
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read: No such file"):
        load_config(tmp_path / "absent.toml", environ={})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, environ={})
    with pytest.raises(ConfigError, match=r"is not valid TOML: .*line 2"):
        load_exactly(tmp_path, "[driver]\nfragment_limit 3\n")
    (tmp_path / "latin.toml").write_bytes(b'[driver]\ninstance_id = "\xe9"\n')
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load_config(tmp_path / "latin.toml", environ={})


@pytest.mark.parametrize(
    ("strides", "slots"),
    [
        ((64,), 1024),
        ((64 << 10,), 1024),
        ((64 << 10, 1 << 20), 32),
        ((1 << 20,), 64),
        ((8 << 20,), 8),
        ((64 << 20,), 8),
    ],
)
def test_a_ring_without_a_number_of_slots_takes_64_MiB_where_it_can(
    strides: tuple[int, ...], slots: int
) -> None:
    """For TOML, `--set` and embedding programs alike."""
    pools = tuple(Pool(number, stride) for number, stride in enumerate(strides, 1))
    loaded = load_config(
        environ={}, overrides=[("profiles.mine", {"payload_pools": msgspec.to_builtins(pools)})]
    )
    profile = loaded.config.profiles["mine"]
    assert profile == Profile(pools)
    assert profile.header_nslots == slots
    assert profile.nbytes == 64 * (1 + len(pools)) + slots * (256 + sum(strides))
