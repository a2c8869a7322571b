"""`connect`: a running client of the driver of this machine, or of a driver of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Unpack

import msgspec

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.errors import ConfigError, TransportError
from tensor_pool.protocol.transport.ports import Transport

from .attach_wait import wait_for_driver
from .client import Client, connect_aeron
from .config import ClientConfig, ClientSettings

__all__ = ["connect"]

_CONNECT_PERIOD_S = 0.1
_OTHER_DRIVER_STARTS_S = 5.0


def connect(
    config: ClientConfig | None = None,
    *,
    transport: Transport | None = None,
    clock: Clock | None = None,
    reconnect: Callable[[], Transport] | None = None,
    wait: float = 0.0,
    embed: bool = False,
    **settings: Unpack[ClientSettings],
) -> Client:
    """Connect to the driver of this machine; a thread does the background work and reconnects.

    `settings` are fields of ClientConfig, over those of `config`; without any, the driver's default
    endpoints are used. `wait` is the longest time in s to wait for a driver that answers, for
    instance while it starts; without it no driver need run yet. Raises ConfigError, and
    TransportError if no media driver runs there or, with `wait`, no driver answers.

    With `embed` no driver need be started: if none runs there, this process runs one until the
    client is closed. It takes no configuration, and other processes may attach to it (C-130).

    >>> with connect() as pool:  # doctest: +SKIP
    ...     with pool.consumer("camera/left") as viewer:
    ...         for frame in viewer:
    ...             show(frame.array)
    """
    if config is None:
        config = ClientConfig(**settings)
    elif settings:
        config = msgspec.structs.replace(config, **settings)
    if embed:
        return _connect_embedded(config, clock, wait)
    if transport is None and reconnect is None:

        def reconnect() -> Transport:
            return connect_aeron(config, clock)

    deadline = time.monotonic() + wait
    while True:
        try:
            client = Client(config, transport=transport, clock=clock, reconnect=reconnect).start()
            break
        except (TransportError, ConfigError):
            if time.monotonic() >= deadline:
                raise
            time.sleep(_CONNECT_PERIOD_S)
    if wait:
        try:
            wait_for_driver(client, client._conductor, deadline, wait)
        except BaseException:
            client.close()
            raise
    return client


def _connect_embedded(config: ClientConfig, clock: Clock | None, wait: float) -> Client:
    """A client that ends the driver it started; a driver of another process may just begin."""
    from .embedding import embed_driver

    driver = embed_driver(config)
    if driver is None:
        return connect(config, clock=clock, wait=max(wait, _OTHER_DRIVER_STARTS_S))
    try:
        client = connect(config, clock=clock, wait=wait, aeron_dir=driver.aeron_dir)
    except BaseException:
        driver.close()
        raise
    client._on_left = driver.close
    return client
