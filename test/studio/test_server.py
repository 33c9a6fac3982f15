"""Who is let in by a studio's server, and what it gives out."""

import asyncio
from dataclasses import replace

import pytest

from activesam_ros.studio.server import Gate, Pictures, is_loopback, new_token


def ask(gate_token, kind="http", query="", **headers):
    """Returns the status of a request through the gate and the headers of the answer; None: it reached no app."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return {"type": f"{kind}.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "method": "GET", "path": "/", "query_string": query.encode(), "headers": named}
    asyncio.run(Gate(app, gate_token)(scope, receive, send))
    return sent[0]


def allowed(*arguments, **options):
    return ask(*arguments, **options).get("status") == 200


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_without_a_token_only_this_machine_is_answered(kind):
    for host in ("localhost:8765", "127.0.0.1:8765", "[::1]:8765"):
        assert allowed(None, kind, host=host)
        assert allowed(None, kind, host=host, origin=f"http://{host}")
        assert not allowed(None, kind, host=host, origin="http://elsewhere.example")
    for host in ("elsewhere.example:8765", "", "127.0.0.1.example:80"):
        assert not allowed(None, kind, host=host)


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_with_a_token_everybody_needs_it(kind):
    token = new_token()
    assert len(token) >= 32 and token != new_token()
    assert not allowed(token, kind, host="127.0.0.1:8765")
    assert not allowed(token, kind, query="token=wrong", host="robot:8765")
    assert not allowed(token, kind, host="robot:8765", cookie="activesam_studio=wrong; a")
    assert allowed(token, kind, query=f"token={token}", host="robot:8765")
    assert allowed(token, kind, host="robot:8765", cookie=f"activesam_studio={token}")


def test_the_token_is_kept_in_a_cookie_that_scripts_cannot_read():
    token = new_token()
    (name, value), *_ = ask(token, query=f"token={token}", host="robot:1")["headers"]
    assert name == b"set-cookie" and value.startswith(f"activesam_studio={token};".encode())
    assert b"HttpOnly" in value and b"SameSite=Strict" in value


def test_addresses_of_this_machine():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.2", "robot", "")))


def test_pictures_of_views_that_are_gone_are_not_made(open_session, street_image):
    session = open_session([street_image], vocabulary=["road", "sky"])
    drawn = Pictures(session)
    assert drawn.draw(session.view.number, "labels") is None
    drawn.remember(session.view)
    labels = drawn.draw(session.view.number, "labels")
    assert labels.startswith(b"\x89PNG") and drawn.draw(session.view.number, "labels") is labels
    assert drawn.draw(session.view.number, "image").startswith(b"\xff\xd8")
    assert drawn.draw(session.view.number, "score", 1).startswith(b"\x89PNG")
    assert drawn.draw(session.view.number, "score", 77) is None and drawn.probe() is None
    # Of a view that is gone, that of the newest one.
    for number in range(100, 104):
        drawn.remember(replace(session.view, number=number))
    assert drawn.draw(session.view.number, "image") == drawn.draw(103, "image")
