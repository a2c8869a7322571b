"""Rules that need more than one key, or the file system (D-182, D-183, W-230).

A rule is left out while something is already wrong with a key that it needs: its answer would only
repeat that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from tensor_pool.protocol.shm.uri import MAX_URI_BYTES, format_region_uri, is_uri_path
from tensor_pool.protocol.wire import ClockDomain, PayloadPool, ShmPoolAnnounce, encode

from ..core.configuration import IdRange, Profile, ShmTable, StreamConfig
from .findings import Findings
from .keys import MAX_TRANSPORT_ID
from .layout import Layout
from .probe import huge_page_bytes_at, usability_problem

__all__ = ["check_across_keys"]

_RANGES = (
    "driver.stream_id_range",
    "driver.descriptor_stream_id_range",
    "driver.control_stream_id_range",
)
_TRANSPORT_IDS = (
    "driver.control_stream_id",
    "driver.announce_stream_id",
    "driver.qos_stream_id",
    "driver.metadata_stream_id",
    "discovery.stream_id",
)
_MAX_ANNOUNCE_BYTES = 65535


def check_across_keys(
    findings: Findings, profiles: Mapping[str, Profile], streams: Mapping[str, StreamConfig]
) -> None:
    """Add every problem and warning that no key shows by itself."""
    _check_ranges(findings, streams)
    _check_base_dir(findings)
    _check_hugepages(findings)
    _check_allowed_dirs(findings)
    _check_policies(findings, profiles, streams)
    _check_sizes(findings, profiles)


def _check_ranges(findings: Findings, streams: Mapping[str, StreamConfig]) -> None:
    reserved = [
        findings[key] for key in _TRANSPORT_IDS if findings.sound(key) and findings[key] is not None
    ]
    reserved += [stream.stream_id for stream in streams.values()]
    earlier: dict[str, IdRange] = {}
    for key in _RANGES:
        id_range: IdRange | None = findings[key]
        if id_range is None or not findings.sound(key) or findings.sources[key] == "default":
            continue  # a default is far from what people choose, and need not be moved for them
        for text in _range_problems(id_range, earlier, reserved):
            findings.problem(key, text, str(id_range), findings.sources[key])
        if id_range.start <= id_range.end:
            earlier[key] = id_range


def _range_problems(
    id_range: IdRange, earlier: Mapping[str, IdRange], reserved: Iterable[int]
) -> Iterator[str]:
    """Yield the problems of a range, the gravest first."""
    if id_range.start > id_range.end:
        yield "start must be <= end"
    if id_range.start < 1 or id_range.end > MAX_TRANSPORT_ID:
        yield f"must be in 1..{MAX_TRANSPORT_ID}"
    for key, other in earlier.items():
        if id_range.overlaps(other):
            yield f"overlaps {key}"
    for number in reserved:
        if number in id_range:
            yield f"contains reserved id {number}"


def _check_base_dir(findings: Findings) -> None:
    key = "shm.base_dir"
    if not findings.sound(key):
        return
    path: str = findings[key]
    if not path.startswith("/"):
        text = "must be an absolute path"
    elif not is_uri_path(path) or not is_uri_path(os.path.realpath(path)):
        text = "contains characters not allowed in a region URI"
    elif name := usability_problem(path):
        text = f"not usable: {name}"
    else:
        return
    findings.problem(key, text, path, findings.sources[key])


def _check_hugepages(findings: Findings) -> None:
    if not findings.sound("shm.base_dir"):
        return
    page_bytes = huge_page_bytes_at(findings["shm.base_dir"])
    key = "shm.require_hugepages"
    if findings.sound(key) and findings[key] and not page_bytes:
        findings.problem(key, "shm.base_dir is not on hugetlbfs", True, findings.sources[key])
    key = "shm.page_size_bytes"
    wanted = findings[key]
    if (
        page_bytes
        and findings.sound(key)
        and wanted not in (ShmTable().page_size_bytes, page_bytes)
    ):
        text = "does not match the hugetlbfs page size"
        findings.problem(key, text, wanted, findings.sources[key])


def _check_allowed_dirs(findings: Findings) -> None:
    key = "shm.allowed_base_dirs"
    if not findings.sound(key, "shm.base_dir") or not findings.given(key):
        return
    allowed: tuple[str, ...] = findings[key]
    base = os.path.realpath(findings["shm.base_dir"])
    if not any(_contains(os.path.realpath(path), base) for path in allowed):
        findings.problem(key, "must contain shm.base_dir", list(allowed), findings.sources[key])
    for path in allowed:
        if not os.path.isdir(path) and os.path.realpath(path) != base:
            findings.warnings.append(f"{key}: {path} is not a directory")


def _contains(directory: str, path: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _check_policies(
    findings: Findings, profiles: Mapping[str, Profile], streams: Mapping[str, StreamConfig]
) -> None:
    dynamic = "policies.allow_dynamic_streams"
    range_key = "driver.stream_id_range"
    if findings.sound(dynamic, range_key) and findings[dynamic] and findings[range_key] is None:
        findings.warnings.append(
            f"{dynamic}: true without driver.stream_id_range, so every request for an unknown"
            " stream will be refused"
        )
    key = "policies.default_profile"
    if findings.sound(key) and findings.given(key) and findings[key] not in profiles:
        text = f'profile "{findings[key]}" not defined'
        findings.problem(key, text, findings[key], findings.sources[key])
    key = "policies.delete_shm_on_startup"
    reuse = "policies.reuse_existing_shm"
    if findings.sound(key, reuse) and findings[key] and findings[reuse]:
        findings.problem(key, f"conflicts with {reuse}", True, findings.sources[key])
    if (
        not (streams or findings[dynamic])
        and findings.sound(dynamic)
        and (findings.sound_below("streams"))
    ):
        findings.problem(
            "streams", f"at least one stream is required when {dynamic}=false", None, ""
        )


def _check_sizes(findings: Findings, profiles: Mapping[str, Profile]) -> None:
    if not findings.sound("shm.base_dir", "shm.namespace"):
        return
    layout = Layout.of(
        ShmTable(base_dir=findings["shm.base_dir"], namespace=findings["shm.namespace"])
    )
    hugepages = huge_page_bytes_at(layout.base_dir) is not None
    around_path = len(format_region_uri("/", require_hugepages=hugepages))
    for name, profile in profiles.items():
        if not findings.sound_below(f"profiles.{name}"):
            continue
        key = f"profiles.{name}.payload_pools"
        uri_bytes = [around_path - 1 + len(path) for path in layout.longest_paths(profile)]
        if _announce_bytes(profile) + sum(uri_bytes) > _MAX_ANNOUNCE_BYTES:
            findings.problem(key, "encoded announce too large")
        if max(uri_bytes) > MAX_URI_BYTES:
            findings.problem(key, "region URI too long")


def _announce_bytes(profile: Profile) -> int:
    """Size of an announce of this profile apart from its URIs."""
    uri = "?"
    announce = ShmPoolAnnounce(
        stream_id=1,
        producer_id=0,
        epoch=1,
        announce_timestamp_ns=1,
        announce_clock_domain=ClockDomain.MONOTONIC,
        layout_version=1,
        header_nslots=profile.header_nslots,
        header_slot_bytes=profile.header_slot_bytes,
        payload_pools=tuple(
            PayloadPool(
                pool_id=pool.pool_id,
                pool_nslots=profile.header_nslots,
                stride_bytes=pool.stride_bytes,
                region_uri=uri,
            )
            for pool in profile.payload_pools
        ),
        header_region_uri=uri,
    )
    return len(encode(announce)) - len(uri) * (len(profile.payload_pools) + 1)
