"""`config`: check the driver's configuration, show what is in force, write one to start from."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from tensor_pool.driver.config.keys import SETTINGS
from tensor_pool.driver.config.load import load_config, parse_override
from tensor_pool.driver.core.configuration import IdRange
from tensor_pool.driver.daemon.command import DriverCommand, run_driver_command
from tensor_pool.driver.daemon.log import configure_logging
from tensor_pool.protocol.shm.geometry import stride_for

from ..support.exit_status import OK, USAGE, CommandError
from ..support.replacing import replaced

__all__ = ["check_config", "init_config", "show_config"]


def check_config(file: Path | None, overrides: list[str]) -> int:
    """Say everything that is wrong; the status is the driver's own, 0 or 2."""
    return run_driver_command(
        DriverCommand(config_file=file, overrides=tuple(overrides), check=True)
    )


def show_config(file: Path | None, overrides: list[str], *, as_json: bool) -> int:
    """Print the values in force, each with where it comes from."""
    if not as_json:
        return run_driver_command(
            DriverCommand(config_file=file, overrides=tuple(overrides), print_config=True)
        )
    configure_logging("auto", "info")
    loaded = load_config(file, overrides=[parse_override(text) for text in overrides])
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        value = getattr(getattr(loaded.config, setting.table), setting.name)
        if setting.key == "policies.shutdown_token":
            value = "***" if value else ""
        elif isinstance(value, IdRange):
            value = str(value)
        values[setting.key] = {"value": value, "source": loaded.sources[setting.key]}
    document = {
        "settings": values,
        "profiles": loaded.config.profiles,
        "streams": loaded.config.streams,
    }
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document).decode()) + "\n")
    return OK


def init_config(
    out: Path | None,
    *,
    streams: list[str],
    frame: str,
    slots: int,
    http: str,
    force: bool,
) -> int:
    """Write a configuration for streams of frames of one size; to the terminal without a file."""
    text = configuration_text(
        streams=[_named_id(stream) for stream in streams],
        frame_bytes=parse_size(frame),
        slots=slots,
        http=http,
    )
    if out is None:
        sys.stdout.write(text)
        return OK
    if out.exists() and not force:
        raise CommandError(f"{out}: exists; --force overwrites it", USAGE)
    with replaced(out) as file:
        file.write(text.encode())
    load_config(out, environ={})
    print(f"wrote {out}; start the driver with: tensor-pool driver --config {out}")
    return OK


def parse_size(text: str) -> int:
    """Bytes of one frame: `1920x1080x3`, `640x480x2`, `1500000`, `6M`, `512k`.

    >>> parse_size("1920x1080x3"), parse_size("6M"), parse_size("100")
    (6220800, 6291456, 100)
    """
    if re.fullmatch(r"\d+(x\d+)+", text):
        nbytes = 1
        for factor in text.split("x"):
            nbytes *= int(factor)
    elif match := re.fullmatch(r"(\d+)([kKmMgG]?)", text):
        nbytes = int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[match[2].lower()]
    else:
        raise CommandError(
            f"--frame {text}: give a size such as 1920x1080x3 (factors in bytes), 6M or 1500000",
            USAGE,
        )
    if not 1 <= nbytes <= 1 << 31:
        raise CommandError(f"--frame {text}: {nbytes} bytes are not within 1 to 2 GiB", USAGE)
    return nbytes


def configuration_text(
    *, streams: list[tuple[str, int]], frame_bytes: int, slots: int, http: str
) -> str:
    """The text of a configuration file, with what people change first."""
    if slots < 1 or slots & (slots - 1):
        raise CommandError(f"--slots {slots}: must be a power of two", USAGE)
    stride = stride_for(frame_bytes)
    total = (stride + 256) * slots
    named = "\n".join(
        f'[streams.{name}]\nstream_id = {stream_id}\nprofile = "frames"\n'
        for name, stream_id in streams
    )
    return f"""\
# Configuration of the tensor pool driver; docs/reference/configuration.md explains every key.
# Check it with:  tensor-pool config check FILE

[driver]
instance_id = "driver-01"
# Status page and metrics; "" serves none.
http_address = "{http}"
# Ids for streams that clients make on request.
stream_id_range = "20000-29999"

[shm]
base_dir = "/dev/shm/tensorpool"
namespace = "default"

[policies]
allow_dynamic_streams = true
# A client without a keepalive for 3 intervals loses its lease.
lease_keepalive_interval_ms = 1000
lease_expiry_grace_intervals = 3
# Lets `tensor-pool shutdown --token ...` stop the driver; "" never.
shutdown_token = ""

# Frames of up to {stride} bytes, {slots} of them: {total / (1 << 20):.1f} MiB of shared memory a
# stream. A consumer has time for {slots} frames until the first is overwritten.
[profiles.frames]
header_nslots = {slots}
payload_pools = [{{ pool_id = 1, stride_bytes = {stride} }}]

{named}"""


def _named_id(text: str) -> tuple[str, int]:
    name, separator, number = text.partition("=")
    if not separator or not re.fullmatch(r"[A-Za-z0-9_-]+", name) or not number.isdecimal():
        raise CommandError(f"--stream {text}: write NAME=ID, such as left=10000", USAGE)
    return name, int(number)
