"""The pages of the driver's HTTP server.

A page is a route here and a function that asks the driver's loop for what it shows. The page for
people, at `/`, is in `page/`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from typing import Protocol

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..config.keys import is_loopback_host
from ..runtime.report import DriverReport, MetricsReport, status_document
from ..runtime.transition_feed import TransitionFeed
from .page.event_hub import Hub
from .page.routes import SecurityHeaders, page_routes
from .page.viewer_process import Viewer
from .prometheus import CONTENT_TYPE, metrics_page
from .traffic import StreamTraffic

__all__ = ["Reporter", "create_app"]

_ANSWER_TIMEOUT_S = 2.0
_EVENTS_IN_STATUS = 50


class Reporter(Protocol):
    """Requests of pages to the driver's loop; futures are cancelled when the driver stops."""

    def request_metrics(self) -> Future[MetricsReport]: ...

    def request_report(self) -> Future[DriverReport]: ...


def create_app(
    reporter: Reporter,
    hub: Hub | None = None,
    traffic: Callable[[], tuple[StreamTraffic, ...]] = tuple,
) -> Starlette:
    """The application; without a hub its page shows reports only, no history and no frames.

    `traffic` returns what was measured of each stream (D-197).
    """
    if hub is None:
        hub = Hub(reporter, TransitionFeed(), Viewer())

    async def answer[T](asked: Future[T]) -> T:
        try:
            return await asyncio.wait_for(asyncio.wrap_future(asked), _ANSWER_TIMEOUT_S)
        except TimeoutError:
            raise HTTPException(503, "the driver's loop did not answer in time") from None
        except (CancelledError, asyncio.CancelledError):
            raise HTTPException(503, "the driver has stopped") from None

    async def metrics(_request: Request) -> Response:
        report = await answer(reporter.request_metrics())
        return Response(metrics_page(report, traffic()), media_type=CONTENT_TYPE)

    async def status(_request: Request) -> Response:
        document = status_document(await answer(reporter.request_report()))
        document["traffic"] = traffic()
        document["events"] = hub.latest_records(_EVENTS_IN_STATUS)
        return Response(msgspec.json.encode(document), media_type="application/json")

    return Starlette(
        routes=[
            Route("/metrics", metrics),
            Route("/status.json", status),
            *page_routes(hub),
        ],
        middleware=[
            Middleware(LoopbackHostOnly),
            Middleware(SecurityHeaders),
            Middleware(OwnPageOnly),
        ],
    )


class LoopbackHostOnly:
    """Refuses requests whose Host header is not a loopback name.

    A web page from elsewhere can make a browser on this machine connect here by letting its own
    name resolve to 127.0.0.1 (DNS rebinding); the browser then still sends that name.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and not is_loopback_host(_host_name(Headers(scope=scope))):
            refusal = PlainTextResponse("this server answers to loopback names only\n", 421)
            return refusal(scope, receive, send)
        return self._app(scope, receive, send)


class OwnPageOnly:
    """Refuses requests that a page from elsewhere makes a browser send.

    Such a page cannot read the answer, but each request takes time of the driver's loop. A link to
    this page may be followed from anywhere.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            is_own = headers.get("sec-fetch-site", "none") in ("none", "same-origin")
            is_link = scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"
            if not (is_own or is_link):
                refusal = PlainTextResponse("only this server's own page may ask for this\n", 403)
                return refusal(scope, receive, send)
        return self._app(scope, receive, send)


def _host_name(headers: Headers) -> str:
    """The Host header without its port, an IPv6 address without its brackets."""
    host = headers.get("host", "").lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
