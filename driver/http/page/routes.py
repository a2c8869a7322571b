"""The page's URLs: the page itself, what it loads, and its two streams of events.

Nothing here changes anything. The page may load nothing from elsewhere, and no page from elsewhere
may load, embed or read this one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sse_starlette import EventSourceResponse
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .event_hub import Hub
from .peer import is_same_user

__all__ = ["SecurityHeaders", "page_routes"]

_STATIC = Path(__file__).parent / "static"
_STREAMS_AT_ONCE = 64
_PING_S = 10  # a comment shows a dead connection
_SEND_TIMEOUT_S = 10.0  # to a page that does not read

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class SecurityHeaders:
    """Adds to every response what browsers need to keep the page to itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-cache")
            await send(message)

        await self._app(scope, receive, send_with_headers)


def page_routes(hub: Hub) -> list[BaseRoute]:
    """The routes of the page and its events."""

    async def page(_request: Request) -> Response:
        return FileResponse(_STATIC / "index.html")

    async def events(_request: Request) -> Response:
        return _refusal(hub) or _stream(hub, None)

    async def frames(request: Request) -> Response:
        refusal = _refusal(hub) or _refusal_of_frames(hub, request)
        if refusal is not None:
            return refusal
        try:
            stream_ids = _ids(request.query_params.get("streams", ""))
        except ValueError:
            return PlainTextResponse("streams: expected stream ids, for example 10000,10001\n", 400)
        return _stream(hub, stream_ids)

    async def pixels(request: Request) -> Response:
        refusal = _refusal_of_frames(hub, request)
        if refusal is not None:
            return refusal
        try:
            (stream_id,) = _ids(request.query_params.get("stream", ""))
        except ValueError:
            return PlainTextResponse("stream: expected one stream id, for example 10000\n", 400)
        body = await hub.pixels(stream_id)
        if body is None:
            return PlainTextResponse("no new frame\n", 404)
        return Response(body, media_type="application/octet-stream")

    return [
        Route("/", page),
        Route("/events", events),
        Route("/frames", frames),
        Route("/pixels", pixels),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]


def _refusal(hub: Hub) -> Response | None:
    """Return the answer to one page too many, or None."""
    if not hub.has_room:
        return PlainTextResponse("too many pages are open\n", 503)
    return None


def _refusal_of_frames(hub: Hub, request: Request) -> Response | None:
    """Return the answer to a user who may not see frames, or None."""
    if not hub.shows_frames:
        return PlainTextResponse("images are switched off by driver.http_images\n", 403)
    if not is_same_user(request.client, request.scope.get("server")):
        return PlainTextResponse(
            "frames are shown to the driver's own user only, as the region files are\n", 403
        )
    return None


def _stream(hub: Hub, stream_ids: Iterable[int] | None) -> Response:
    return EventSourceResponse(hub.watch(stream_ids), ping=_PING_S, send_timeout=_SEND_TIMEOUT_S)


def _ids(text: str) -> list[int]:
    """The numbers of a comma-separated list; ValueError for anything else."""
    ids = [int(part) for part in text.split(",")]
    if len(ids) > _STREAMS_AT_ONCE or min(ids) < 0:
        raise ValueError(text)
    return ids
