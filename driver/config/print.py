"""The effective configuration as text: TOML that can be loaded again, each line with its source."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import msgspec

from ..core.configuration import IdRange
from .keys import SETTINGS
from .load import LoadedConfig

__all__ = ["printed_config"]


def printed_config(loaded: LoadedConfig) -> str:
    """All effective values, one `key = value  # source` a line (D-192).

    The output is TOML. Comments stand for values without a TOML form: an unset range, and the
    shutdown token, which is masked (D-140).
    """
    return "\n".join(_lines(loaded)) + "\n"


def _lines(loaded: LoadedConfig) -> Iterator[str]:
    for setting in SETTINGS:
        value = getattr(getattr(loaded.config, setting.table), setting.name)
        source = loaded.sources[setting.key]
        if setting.key == "policies.shutdown_token" and value:
            yield f"# {setting.key} = ***  # {source}"
        elif value is None:
            yield f"# {setting.key} is unset  # {source}"
        else:
            yield f"{setting.key} = {_toml(value)}  # {source}"
    for table, entries in (
        ("profiles", loaded.config.profiles),
        ("streams", loaded.config.streams),
    ):
        for name, entry in entries.items():
            for field, value in msgspec.structs.asdict(entry).items():
                key = f"{table}.{name}.{field}"
                source = loaded.sources.get(key, "default")
                yield f"{table}.{_toml_key(name)}.{field} = {_toml(value)}  # {source}"


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, IdRange):
        return f"[{value.start}, {value.end}]"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.asdict(value).items()
        return f"{{ {', '.join(f'{name} = {_toml(item)}' for name, item in fields)} }}"
    # A JSON string is a TOML basic string, except for DEL, which JSON leaves as it is. A path of
    # the environment that is not UTF-8 has no form in TOML at all.
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
