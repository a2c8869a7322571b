"""Single values and named tables of a configuration, read with their problems (D-182, D-183).

`from_toml` and `from_text` return one value or raise ValueError with the text of the problem.
`read_profiles` and `read_streams` read `[profiles.*]` and `[streams.*]`, the two tables whose keys
the user names, and report problems to `Findings`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tensor_pool.protocol.shm.geometry import is_stride

from ..core.configuration import IdRange, Pool, Profile, StreamConfig
from .findings import Findings

__all__ = ["from_text", "from_toml", "read_profiles", "read_streams"]

_MAX_POOLS = 64
_BITS = {"u16": 16, "u32": 32, "u64": 64}
_RANGE_FORM = 'expected "start-end" or [start, end]'


def from_toml(kind: str, value: object) -> object:
    """A value of a TOML document, or of the same Python types, as type `kind`.

    >>> from_toml("range", [31000, 31999])
    IdRange(start=31000, end=31999)
    """
    if kind in _BITS:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"expected {kind}")
        return _in_bits(kind, value)
    if kind == "range":
        return _range_from_toml(value)
    if kind == "list":
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ValueError("expected list")
    if isinstance(value, {"str": str, "bool": bool}[kind]):
        return value
    raise ValueError(f"expected {kind}")


def from_text(kind: str, text: str) -> object:
    """The text of an environment variable or of a `--set` as type `kind`.

    >>> from_text("bool", "True"), from_text("u32", "1000")
    (True, 1000)
    """
    if kind in _BITS:
        if not re.fullmatch(r"-?[0-9]+", text):
            raise ValueError(f"expected {kind}")
        if len(text) > 20:
            raise ValueError("out of range")
        return _in_bits(kind, int(text))
    return _FROM_TEXT[kind](text)


def _in_bits(kind: str, value: int) -> int:
    if not 0 <= value < 2 ** _BITS[kind]:
        raise ValueError("out of range")
    return value


def _bool_from_text(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise ValueError("expected bool") from None


def _list_from_text(text: str) -> tuple[str, ...]:
    return tuple(text.split(":")) if text else ()


def _range_from_toml(value: object) -> IdRange | None:
    if isinstance(value, str):
        return _range_from_text(value)
    if isinstance(value, IdRange):
        return value
    if not isinstance(value, list | tuple):
        raise ValueError("expected range")
    if not value:
        return None
    ends = [end for end in value if isinstance(end, int) and not isinstance(end, bool)]
    if len(value) != 2 or len(ends) != 2:
        raise ValueError(_RANGE_FORM)
    return IdRange(*ends)


def _range_from_text(text: str) -> IdRange | None:
    if not text.strip():
        return None
    inner = text.strip().removeprefix("[").removesuffix("]")
    match = re.fullmatch(r"\s*(-?[0-9]{1,20})\s*[-,]\s*(-?[0-9]{1,20})\s*", inner)
    if not match:
        raise ValueError(_RANGE_FORM)
    return IdRange(int(match[1]), int(match[2]))


_FROM_TEXT: dict[str, Callable[[str], object]] = {
    "str": str,
    "bool": _bool_from_text,
    "list": _list_from_text,
    "range": _range_from_text,
}


class _Entry:
    """One named table while its keys are taken out of it."""

    def __init__(self, key: str, content: object, origin: str, findings: Findings) -> None:
        self.key = key
        self._origin = origin
        self._findings = findings
        self._content: Mapping[str, Any] = content if isinstance(content, Mapping) else {}
        self.is_table = isinstance(content, Mapping)
        if not self.is_table:
            findings.problem(key, "expected table", content, origin)

    def take(self, name: str, kind: str, default: object = None) -> Any:
        """Value of a key, `default` when absent, None when something is wrong with it."""
        key = f"{self.key}.{name}"
        self._findings.expect(key)
        if name not in self._content:
            self._findings.sources.setdefault(key, "default")
            if default is None and self.is_table:
                self._findings.problem(key, "required")
            return default
        self._findings.sources.setdefault(key, self._origin)
        try:
            return from_toml(kind, self._content[name])
        except ValueError as error:
            self.refuse(name, str(error))
            return None

    def has(self, name: str) -> bool:
        """True if the key was given."""
        return name in self._content

    def take_list(self, name: str) -> list[object] | None:
        """A list of anything; absent is empty."""
        key = f"{self.key}.{name}"
        self._findings.expect(key)
        self._findings.sources.setdefault(key, self._origin)
        value = self._content.get(name, [])
        if isinstance(value, list | tuple):
            return list(value)
        self.refuse(name, "expected list")
        return None

    def refuse(self, name: str, text: str) -> None:
        """Something is wrong with the value of a key."""
        key = f"{self.key}.{name}"
        self._findings.problem(key, text, self._content.get(name), self._origin)

    def warn_of_others(self, known: Iterable[str]) -> None:
        """Warn of keys that mean nothing here."""
        names = list(known)
        for name in self._content:
            if name not in names:
                self._findings.unknown(f"{self.key}.{name}", [f"{self.key}.{n}" for n in names])


def _named_tables(
    table: str, content: object, origin: str, findings: Findings
) -> Iterable[tuple[str, _Entry]]:
    findings.expect(table)
    if content is None:
        return
    if not isinstance(content, Mapping):
        findings.problem(table, "expected table", content, origin)
        return
    for name, entry in content.items():
        yield name, _Entry(f"{table}.{name}", entry, origin, findings)


def read_profiles(content: object, origin: str, findings: Findings) -> dict[str, Profile]:
    """All profiles by name; of one with problems, a record that later checks can live with."""
    profiles = {
        name: _read_profile(entry, origin, findings)
        for name, entry in _named_tables("profiles", content, origin, findings)
    }
    if not profiles:
        findings.problem("profiles", "at least one profile is required")
    return profiles


def _read_profile(entry: _Entry, origin: str, findings: Findings) -> Profile:
    nslots = entry.take("header_nslots", "u32", 1)
    if nslots is not None and nslots.bit_count() != 1:
        entry.refuse("header_nslots", "must be a power of two")
    slot_bytes = entry.take("header_slot_bytes", "u16", 256)
    if slot_bytes is not None and slot_bytes != 256:
        entry.refuse("header_slot_bytes", "must be 256")
    pools = entry.take_list("payload_pools")
    if pools is not None and not 1 <= len(pools) <= _MAX_POOLS:
        entry.refuse("payload_pools", f"must have 1..{_MAX_POOLS} entries")
    entry.warn_of_others(("header_nslots", "header_slot_bytes", "payload_pools"))
    return Profile(
        payload_pools=tuple(_read_pools(entry.key, pools or (), origin, findings)),
        header_nslots=(nslots or 1) if entry.has("header_nslots") else 0,
    )


def _read_pools(
    profile_key: str, pools: Iterable[object], origin: str, findings: Findings
) -> Iterable[Pool]:
    seen: set[int] = set()
    for index, content in enumerate(pools):
        entry = _Entry(f"{profile_key}.payload_pools[{index}]", content, origin, findings)
        pool_id = entry.take("pool_id", "u16")
        if pool_id is not None:
            if not 1 <= pool_id <= 65534:
                entry.refuse("pool_id", "must be in 1..65534")
            elif pool_id in seen:
                entry.refuse("pool_id", f"duplicate pool_id {pool_id}")
            seen.add(pool_id)
        stride = entry.take("stride_bytes", "u32")
        if stride is not None and not is_stride(stride):
            entry.refuse("stride_bytes", "must be a multiple of 64")
        entry.warn_of_others(("pool_id", "stride_bytes"))
        if pool_id is not None and stride is not None:
            yield Pool(pool_id, stride)


def read_streams(
    content: object, profiles: Mapping[str, Profile], origin: str, findings: Findings
) -> dict[str, StreamConfig]:
    """All sound streams by name."""
    streams: dict[str, StreamConfig] = {}
    seen: set[int] = set()
    for name, entry in _named_tables("streams", content, origin, findings):
        stream_id = entry.take("stream_id", "u32")
        if stream_id is not None:
            if not 1 <= stream_id <= 2**32 - 2:
                entry.refuse("stream_id", f"must be in 1..{2**32 - 2}")
            elif stream_id in seen:
                entry.refuse("stream_id", f"duplicate stream_id {stream_id}")
            seen.add(stream_id)
        profile = entry.take("profile", "str")
        if profile is not None and profile not in profiles:
            entry.refuse("profile", f'profile "{profile}" not defined')
        entry.warn_of_others(("stream_id", "profile"))
        if stream_id is not None and profile is not None:
            streams[name] = StreamConfig(stream_id, profile)
    return streams
