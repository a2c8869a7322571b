"""`shutdown`: ask the driver to stop, by the message that administrators have for it."""

from __future__ import annotations

import time

from tensor_pool.protocol.wire import ShutdownReason

from ..pool_view.listener import Observer
from ..support.connection_options import Connection
from ..support.exit_status import DRIVER_RUNS, FAILED, OK, CommandError, complain
from ..support.signals import Stop

__all__ = ["shut_driver_down"]

_PAUSE_S = 0.002


def shut_driver_down(connection: Connection, *, token: str | None, text: str) -> int:
    """Send the request and wait for the driver's notice; OK once it has come.

    A driver never answers a request that it does not carry out. Without the notice, a second
    request shows if the driver still runs: DRIVER_RUNS then, else FAILED.
    """
    config = connection.driver_config()
    secret = token or config.policies.shutdown_token
    if not secret:
        raise CommandError(
            "no token: give --token, or --config with the driver's policies.shutdown_token"
        )
    client_config = connection.client_config()
    transport = connection.transport(client_config)
    patience_s = connection.timeout + config.policies.shutdown_timeout_ms / 1000
    try:
        with Stop() as stop:
            observer = Observer(
                transport,
                client_config,
                forget_after_ns=config.policies.lease_duration_ns,
            )
            # The answer also shows that the driver's notice will arrive.
            if observer.ask_for_a_sign_of_life(connection.timeout, stop) is None:
                stop.check()
                raise CommandError("no driver answers on the control channel")
            observer.request_shutdown(secret, ShutdownReason.ADMIN, text)
            deadline = time.monotonic() + patience_s
            while observer.observation.shutdown is None and time.monotonic() < deadline:
                stop.check()
                if not observer.poll():
                    time.sleep(_PAUSE_S)
            notice = observer.observation.shutdown
            runs = notice is None and observer.ask_for_a_sign_of_life(connection.timeout, stop)
    finally:
        transport.close()
    if notice is not None:
        print(f"the driver has stopped ({notice.reason.name.lower()}: {notice.error_message})")
        return OK
    if not runs:
        complain(f"no notice came within {patience_s:g} s, and the driver answers no more")
        return FAILED
    complain(
        f"the driver has not stopped within {patience_s:g} s and still answers: the token is wrong,"
        " the driver has none (policies.shutdown_token), or it is of another make and does not"
        " handle ShmDriverShutdownRequest; stop its process instead"
    )
    return DRIVER_RUNS
