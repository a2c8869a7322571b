"""Options that name the pool, shared by all commands, and the driver's own settings.

A command reads the same file and environment variables as the driver, so what reaches one driver
from one shell reaches it from the next. Options beat the environment, the environment the file.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import msgspec
import typer

from .exit_status import CommandError

if TYPE_CHECKING:
    from tensor_pool.client.client import Client
    from tensor_pool.client.config import ClientConfig
    from tensor_pool.driver.core.configuration import DriverConfig
    from tensor_pool.protocol.transport.aeron import AeronTransport

__all__ = ["Connection", "connected"]

_LONGEST_BACKOFF_S = 0.4  # a person waits for the command


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """The connection options of one command, as given."""

    config: Path | None = None
    aeron_dir: str | None = None
    control_channel: str | None = None
    control_stream_id: int | None = None
    announce_channel: str | None = None
    announce_stream_id: int | None = None
    descriptor_stream_id: int | None = None
    qos_stream_id: int | None = None
    metadata_stream_id: int | None = None
    base_dir: list[str] | None = None
    timeout: float = 5.0

    def driver_config(self) -> DriverConfig:
        """Return the driver's configuration from options, environment and file."""
        from tensor_pool.driver.config.load import load_config

        given = {
            "driver.aeron_dir": self.aeron_dir,
            "driver.control_channel": self.control_channel,
            "driver.control_stream_id": self.control_stream_id,
            "driver.announce_channel": self.announce_channel,
            "driver.announce_stream_id": self.announce_stream_id,
            "driver.qos_stream_id": self.qos_stream_id,
        }
        overrides: list[tuple[str, object]] = [
            (key, str(value)) for key, value in given.items() if value is not None
        ]
        if self.base_dir:
            overrides.append(("shm.base_dir", self.base_dir[0]))
            overrides.append(("shm.allowed_base_dirs", ":".join(self.base_dir)))
        return load_config(self.config, overrides=overrides).config

    def client_config(self) -> ClientConfig:
        """Return the configuration of a client of that driver."""
        from tensor_pool.driver.config.for_clients import client_config_for

        config = self.driver_config()
        changes: dict[str, Any] = {
            "attach_timeout": self.timeout,
            "response_timeout": min(1.0, self.timeout),
            "backoff_max": _LONGEST_BACKOFF_S,
        }
        for name in ("descriptor_stream_id", "metadata_stream_id"):
            if (value := getattr(self, name)) is not None:
                changes[name] = value
        return client_config_for(config, config.driver.aeron_dir or None, **changes)

    def client(self) -> Client:
        """Return a connected client; raise CommandError without a media driver."""
        from tensor_pool.client.connecting import connect
        from tensor_pool.protocol.errors import ConfigError, TransportError

        config = self.client_config()
        try:
            config.check_base_dirs()
        except ConfigError as error:
            raise CommandError(str(error)) from error
        try:
            return connect(config)
        except TransportError as error:
            raise CommandError(str(error)) from error

    def transport(self, config: ClientConfig) -> AeronTransport:
        """A bare transport, for commands that only listen; CommandError without a media driver."""
        from tensor_pool.protocol.errors import TransportError
        from tensor_pool.protocol.transport.aeron import AeronTransport

        try:
            return AeronTransport.connect(config.aeron_dir)
        except TransportError as error:
            raise CommandError(str(error)) from error


_OPTIONS: dict[str, Any] = {
    "config": Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="The driver's TOML file.", show_default=False
        ),
    ],
    "aeron_dir": Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Directory of the media driver.", show_default=False),
    ],
    "control_channel": Annotated[
        str | None,
        typer.Option(metavar="URI", help="Aeron channel of requests.", show_default=False),
    ],
    "control_stream_id": Annotated[
        int | None,
        typer.Option(metavar="ID", help="Its Aeron stream id (1000).", show_default=False),
    ],
    "announce_channel": Annotated[
        str | None,
        typer.Option(metavar="URI", help="Channel of announces (control's).", show_default=False),
    ],
    "announce_stream_id": Annotated[
        int | None,
        typer.Option(metavar="ID", help="Its stream id (control's).", show_default=False),
    ],
    "descriptor_stream_id": Annotated[
        int | None,
        typer.Option(
            metavar="ID", help="Stream id of frame descriptors (1100).", show_default=False
        ),
    ],
    "qos_stream_id": Annotated[
        int | None, typer.Option(metavar="ID", help="Stream id of QoS (1200).", show_default=False)
    ],
    "metadata_stream_id": Annotated[
        int | None,
        typer.Option(metavar="ID", help="Stream id of metadata (1300).", show_default=False),
    ],
    "base_dir": Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR",
            help="Directory of region files (/dev/shm/tensorpool); may be repeated.",
            show_default=False,
        ),
    ],
    "timeout": Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.05, help="Longest wait for an answer of the driver."),
    ],
}


def connected(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is a Connection gets the options that make one."""
    hints = get_type_hints(function, include_extras=True)
    first, *own = inspect.signature(function).parameters.values()
    defaults = {field.name: field.default for field in msgspec.structs.fields(Connection)}
    parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
    parameters += [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=annotation
        )
        for name, annotation in _OPTIONS.items()
    ]

    @functools.wraps(function)
    def command(**arguments: Any) -> None:
        options = {name: arguments.pop(name) for name in _OPTIONS}
        function(**{first.name: Connection(**options)}, **arguments)

    del command.__wrapped__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command
