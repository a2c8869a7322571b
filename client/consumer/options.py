"""The options of a consumer, which its hellos carry."""

from __future__ import annotations

from typing import TypedDict

import msgspec

from tensor_pool.protocol.errors import ConfigError
from tensor_pool.protocol.wire import Mode

__all__ = ["ConsumerOptionFields", "ConsumerOptions"]

_NO_STREAM = 0xFFFFFFFF


class ConsumerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a consumer (C-097). Raises ConfigError for values that cannot work.

    A private stream is asked for with a channel and a token, the stream id that a driver grants if
    it can. The default token is 31000 (control: 32000) + client id modulo 1000, so that consumers
    rarely ask for the same one (C-098). Progress hints count only with `supports_progress`. A
    consumer that stops reading descriptors is dropped by the transport until it reads again; with
    `tether` it holds up the producer instead, and with it all other consumers. With `history` the
    newest frames that still stand in the ring come first, at most that many (C-104).
    """

    mode: Mode = Mode.STREAM
    max_rate_hz: int = 0
    supports_progress: bool = False
    progress_interval_us: int | None = None
    progress_bytes_delta: int | None = None
    progress_major_delta_units: int | None = None
    descriptor_channel: str = ""
    descriptor_token: int | None = None
    control_channel: str = ""
    control_token: int | None = None
    tether: bool = False
    history: int = 0

    def __post_init__(self) -> None:
        if self.mode is Mode.RATE_LIMITED and self.max_rate_hz <= 0:
            raise ConfigError(
                f"max_rate_hz: {self.max_rate_hz} must be above 0 in mode RATE_LIMITED"
            )
        if not 0 <= self.max_rate_hz < _NO_STREAM:
            raise ConfigError(f"max_rate_hz: {self.max_rate_hz} must be in 0..{_NO_STREAM - 1}")
        if self.history < 0:
            raise ConfigError(f"history: {self.history} must be 0 or more")
        for half in ("descriptor", "control"):
            channel, token = getattr(self, f"{half}_channel"), getattr(self, f"{half}_token")
            if channel and token is not None and not 0 < token < _NO_STREAM:
                raise ConfigError(
                    f"{half}_token: {token} with a channel; it must be in 1..{_NO_STREAM - 1}"
                )


class ConsumerOptionFields(TypedDict, total=False):
    """The fields of ConsumerOptions as keyword arguments of `client.consumer()`."""

    mode: Mode
    max_rate_hz: int
    supports_progress: bool
    progress_interval_us: int | None
    progress_bytes_delta: int | None
    progress_major_delta_units: int | None
    descriptor_channel: str
    descriptor_token: int | None
    control_channel: str
    control_token: int | None
    tether: bool
    history: int
