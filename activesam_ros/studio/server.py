"""The web server of a studio: who is let in, the pictures, and the page."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import secrets
import signal
import threading
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

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

_KEPT_VIEWS = 4
_KEPT_PICTURES = 48


class Gate:
    """Lets requests through that come from this machine, or have the token.

    Without a token only requests that name this machine are answered, so that no page of elsewhere can reach the studio
    through a name of its own; and no other page may open its socket.
    """

    def __init__(self, app: Any, token: str | None) -> None:
        self._app = app
        self._token = token
        self._cookie = cookie_name(token) if token else ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request of ASGI, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        origin = headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2] != host
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        if self._token is None:
            allowed = is_loopback(_without_port(host))
        else:
            given = _cookies(headers.get("cookie", ""), self._cookie)
            allowed = any(self._is_token(one) for one in (asked, *given))
        if foreign or not allowed:
            sentence = _FOREIGN if foreign else _NOT_LOCAL if self._token is None else _NO_TOKEN
            await _refuse(scope, receive, send, sentence)
            return
        if asked and self._token is not None and scope["type"] == "http":
            await self._app(scope, receive, _with_cookie(send, self._cookie, self._token))
            return
        await self._app(scope, receive, send)

    def _is_token(self, text: str) -> bool:
        return self._token is not None and hmac.compare_digest(text.encode(), self._token.encode())


class Pictures:
    """The pictures of the last few views, drawn when a browser asks for them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._run = secrets.token_hex(8)
        self._views: OrderedDict[int, View] = OrderedDict()
        self._drawn: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, view: View) -> str:
        """Keep a view that a page is about to show; return where its pictures are, below the page's address.

        Views are counted from one in every run, and browsers keep pictures: so a run has addresses of its own.
        """
        with self._lock:
            self._views[view.number] = view
            # One that a page holds is remembered again and again.
            self._views.move_to_end(view.number)
            while len(self._views) > _KEPT_VIEWS:
                self._views.popitem(last=False)
        return f"pictures/{self._run}/{view.number}"

    def draw(self, run: str, number: int, kind: str, class_id: int = -1) -> tuple[bytes | None, bool]:
        """Draw a picture of a view, or of the newest one if that is gone.

        Args:
            run: of the address.
            number: of the view.
            kind: "image", "labels", "confidence" or "score".
            class_id: whose score.

        Returns:
            JPEG or PNG, None: there is none; and whether it is of the view that was asked for.
        """
        with self._lock:
            asked = run == self._run and number in self._views
            if not asked and self._views:
                # Of a browser that is slower than the pictures change, or that was there before this run.
                number = max(self._views)
            view = self._views.get(number)
            known = self._drawn.get((number, kind, class_id))
        if view is None or known is not None:
            return known, asked
        drawn = self._draw(view, kind, class_id)
        if drawn is not None:
            with self._lock:
                self._drawn[(number, kind, class_id)] = drawn
                while len(self._drawn) > _KEPT_PICTURES:
                    self._drawn.popitem(last=False)
        return drawn, asked

    def probe(self) -> bytes | None:
        """Return the score map of the phrase that was asked last."""
        probe = self._session.probe
        view = probe.view or self._session.view if probe else None
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

    def answer(data: bytes | None, kind: str, lasting: bool = False) -> Response:
        if data is None:
            return Response(status_code=404)
        age = "private, max-age=600" if lasting else "no-store"
        return Response(
            data, media_type=kind, headers={"Cache-Control": age, "X-Content-Type-Options": "nosniff"}
        )

    # Plain functions: the framework runs them in threads, so that drawing delays no page.
    def image(run: str, number: int) -> Response:
        data, asked = drawn.draw(run, number, "image")
        return answer(data, "image/jpeg", lasting=asked)

    def layer(run: str, number: int, kind: str, class_id: int = -1) -> Response:
        if kind not in ("labels", "confidence", "score"):
            return answer(None, "image/png")
        data, asked = drawn.draw(run, number, kind, class_id)
        return answer(data, "image/png", lasting=asked)

    def probe() -> Response:
        return answer(drawn.probe(), "image/png")

    def scan() -> Response:
        return answer(drawn.scan(), "image/png")

    app.add_api_route("/pictures/{run}/{number}/image.jpg", image)
    app.add_api_route("/pictures/{run}/{number}/{kind}.png", layer)
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


def cookie_name(token: str) -> str:
    """Return the name of the cookie that has a token; cookies know no ports, and a host may have several studios."""
    return f"activesam_studio_{hashlib.sha256(token.encode()).hexdigest()[:12]}"


def _cookies(header: str, name: str) -> list[str]:
    """Return the values of the cookies of a name, whatever the others look like."""
    pairs = (one.strip().partition("=") for one in header.split(";"))
    return [value for key, _, value in pairs if key == name]


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if port.isdigit() else host


def _with_cookie(send: Any, name: str, token: str) -> Any:
    value = f"{name}={token}; HttpOnly; SameSite=Strict; Path=/"

    async def wrapped(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"set-cookie", value.encode())]}
        await send(message)

    return wrapped


async def _refuse(scope: Any, receive: Any, send: Any, sentence: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    response = Response(sentence, status_code=403, media_type="text/plain")
    await response(scope, receive, send)


_FOREIGN = "The studio answers its own pages only: open the address that it printed when it started"
_NOT_LOCAL = (
    "The studio answers requests that name this machine only: open the address that it printed when it started, or "
    "start it with --host 0.0.0.0, which prints one with a token"
)
_NO_TOKEN = (
    "The studio needs the token that it printed when it started: open the whole address, with ?token=…"
)

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#12343b"/>'
    '<path d="M4 22 12 9l7 9 4-5 5 9z" fill="#5ec2b7"/><circle cx="23" cy="9" r="3.4" fill="#f4b942"/></svg>'
)
