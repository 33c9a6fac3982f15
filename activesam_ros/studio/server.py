"""The web server of a studio: who is let in, the pictures, and the page."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
import signal
import threading
import warnings
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import uvicorn
from fastapi import FastAPI, Response
from nicegui import ui

from activesam_ros.errors import ActiveSamError
from activesam_ros.studio import pictures
from activesam_ros.studio.page import Page

if TYPE_CHECKING:
    from collections.abc import Callable

    from activesam_ros.studio.session import Session, View
    from activesam_ros.studio.sharing import Control, VocabularyFiles

_COOKIE = "activesam_studio"
_KEPT_VIEWS = 4
_KEPT_PICTURES = 48
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


class Gate:
    """Lets requests through that come from this machine, or have the token.

    Without a token only requests that name this machine are answered, so that no page of elsewhere can reach the studio
    through a name of its own; and no other page may open its socket.
    """

    def __init__(self, app: Any, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request of ASGI, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        origin = headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc != host
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        if self._token is None:
            allowed = host.rsplit(":", 1)[0] in _LOCAL
        else:
            allowed = any(self._is_token(one) for one in (asked, _cookie(headers.get("cookie", ""))))
        if foreign or not allowed:
            await _refuse(scope, receive, send)
            return
        if asked and self._token is not None and scope["type"] == "http":
            await self._app(scope, receive, _with_cookie(send, self._token))
            return
        await self._app(scope, receive, send)

    def _is_token(self, text: str) -> bool:
        return self._token is not None and hmac.compare_digest(text.encode(), self._token.encode())


class Pictures:
    """The pictures of the last few views, drawn when a browser asks for them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._views: OrderedDict[int, View] = OrderedDict()
        self._drawn: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, view: View) -> None:
        """Keep a view that a page is about to show."""
        with self._lock:
            self._views[view.number] = view
            while len(self._views) > _KEPT_VIEWS:
                self._views.popitem(last=False)

    def draw(self, number: int, kind: str, class_id: int = -1) -> bytes | None:
        """Return a picture of a view, or of the newest one if that is gone, as JPEG or PNG; None: there is none."""
        with self._lock:
            if number not in self._views and self._views:
                # Of a browser that is slower than the pictures change.
                number = next(reversed(self._views))
            view = self._views.get(number)
            known = self._drawn.get((number, kind, class_id))
        if view is None or known is not None:
            return known
        drawn = self._draw(view, kind, class_id)
        if drawn is not None:
            with self._lock:
                self._drawn[(number, kind, class_id)] = drawn
                while len(self._drawn) > _KEPT_PICTURES:
                    self._drawn.popitem(last=False)
        return drawn

    def probe(self) -> bytes | None:
        """Return the score map of the phrase that was asked last."""
        probe, view = self._session.probe, self._session.view
        if probe is None or view is None or probe.refused:
            return None
        return pictures.scores_png(probe.scores, view.rgb.shape)

    def scan(self) -> bytes:
        """Return the chart of the scan."""
        scan, view = self._session.scan, self._session.view
        colours = {one.class_id: one.colour for one in view.document.vocabulary.classes} if view else {}
        return pictures.scan_png(scan, pictures.scan_rows(scan), colours)

    def _draw(self, view: View, kind: str, class_id: int) -> bytes | None:
        if kind == "image":
            return pictures.image_jpeg(view.rgb)
        if kind == "labels":
            return pictures.labels_png(view)
        if kind == "confidence":
            return pictures.confidence_png(view)
        scores = self._session.score_map(view, class_id)
        return None if scores is None else pictures.scores_png(scores, view.rgb.shape)


def make_app(
    session: Session, control: Control, files: VocabularyFiles, about: str, token: str | None
) -> FastAPI:
    """Make the web application of a session.

    Args:
        session: what it shows.
        control: who may change it.
        files: what may be read and written.
        about: a line for the head of the page: model and pictures.
        token: asked of every request; None: requests of this machine are answered.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    drawn = Pictures(session)

    def answer(data: bytes | None, kind: str, lasting: bool = True) -> Response:
        if data is None:
            return Response(status_code=404)
        age = "private, max-age=600" if lasting else "no-store"
        return Response(
            data, media_type=kind, headers={"Cache-Control": age, "X-Content-Type-Options": "nosniff"}
        )

    # Plain functions: the framework runs them in threads, so that drawing delays no page.
    def image(number: int) -> Response:
        return answer(drawn.draw(number, "image"), "image/jpeg")

    def layer(number: int, kind: str, class_id: int = -1) -> Response:
        known = kind in ("labels", "confidence", "score")
        return answer(drawn.draw(number, kind, class_id) if known else None, "image/png")

    def probe() -> Response:
        return answer(drawn.probe(), "image/png", lasting=False)

    def scan() -> Response:
        return answer(drawn.scan(), "image/png", lasting=False)

    app.add_api_route("/pictures/{number}/image.jpg", image)
    app.add_api_route("/pictures/{number}/{kind}.png", layer)
    app.add_api_route("/pictures/probe.png", probe)
    app.add_api_route("/pictures/scan.png", scan)

    def root() -> None:
        Page(session, control, files, drawn.remember, about)

    ui.run_with(app, root=root, title="activesam studio", favicon=_ICON, show_welcome_message=False)
    app.add_middleware(Gate, token=token)
    return app


def serve(app: FastAPI, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until the process is interrupted.

    Args:
        app: of `make_app`.
        host: address to listen on.
        port: 0: any free one.
        ready: called with the port once the server listens.

    Raises:
        ActiveSamError: the address cannot be listened on.
    """
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=1, server_header=False
    )
    try:
        socket = config.bind_socket()
    except SystemExit as error:
        raise ActiveSamError(
            f"{host}:{port} cannot be listened on; choose another --port or --host"
        ) from error
    server = uvicorn.Server(config)

    async def run() -> None:
        serving = asyncio.create_task(server.serve(sockets=[socket]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started:
            ready(socket.getsockname()[1])
        await serving

    before = signal.getsignal(signal.SIGINT)
    try:
        with warnings.catch_warnings():
            # At its start the framework looks at every object there is, among them those that torch has deprecated.
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"nicegui\.")
            asyncio.run(run())
    finally:
        signal.signal(signal.SIGINT, before)


def is_loopback(host: str) -> bool:
    """Return whether an address is one of this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(24)


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(_COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _with_cookie(send: Any, token: str) -> Any:
    value = f"{_COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/"

    async def wrapped(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"set-cookie", value.encode())]}
        await send(message)

    return wrapped


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    sentence = (
        "The studio needs the token that it printed when it started: open the whole address, with ?token=…"
    )
    response = Response(sentence, status_code=403, media_type="text/plain")
    await response(scope, receive, send)


_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#12343b"/>'
    '<path d="M4 22 12 9l7 9 4-5 5 9z" fill="#5ec2b7"/><circle cx="23" cy="9" r="3.4" fill="#f4b942"/></svg>'
)
