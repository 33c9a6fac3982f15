"""Who is let in by a studio's server, and what it gives out."""

import asyncio
from dataclasses import replace

import pytest

from activesam_ros.studio.server import Gate, Pictures, cookie_name, is_loopback, new_token


def ask(gate_token, kind="http", query="", **headers):
    """Returns what is sent first for a request that goes through the gate: status and headers."""
    return exchange(gate_token, kind, query, **headers)[0]


def refusal(*arguments, **options):
    return exchange(*arguments, **options)[1]["body"].decode()


def exchange(gate_token, kind="http", query="", **headers):
    """Returns the messages that answer a request through the gate."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return {"type": f"{kind}.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": kind, "method": "GET", "path": "/", "query_string": query.encode(), "headers": named}
    asyncio.run(Gate(app, gate_token)(scope, receive, send))
    return sent


def allowed(*arguments, **options):
    return ask(*arguments, **options).get("status") == 200


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_without_a_token_only_this_machine_is_answered(kind):
    for host in ("localhost:8765", "127.0.0.1:8765", "127.0.0.2", "[::1]:8765", "[::1]"):
        assert allowed(None, kind, host=host)
        assert allowed(None, kind, host=host, origin=f"http://{host}")
        assert not allowed(None, kind, host=host, origin="http://elsewhere.example")
    for host in ("elsewhere.example:8765", "", "127.0.0.1.example:80", "192.168.0.2:80"):
        assert not allowed(None, kind, host=host)


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_with_a_token_everybody_needs_it(kind):
    token = new_token()
    assert len(token) >= 32 and token != new_token()
    assert not allowed(token, kind, host="127.0.0.1:8765")
    assert not allowed(token, kind, query="token=wrong", host="robot:8765")
    name = cookie_name(token)
    assert not allowed(token, kind, host="robot:8765", cookie=f"{name}=wrong; a")
    assert not allowed(token, kind, host="robot:8765", cookie=f"{cookie_name('other')}={token}")
    assert allowed(token, kind, query=f"token={token}", host="robot:8765")
    assert allowed(token, kind, host="robot:8765", cookie=f"{name}={token}")
    # Beside cookies of others, which may break the rules.
    assert allowed(
        token, kind, host="robot:8765", cookie=f'{{"a":[1]}}; b@c=\u00e9 "; {name}=old; {name}={token};; d'
    )


def test_a_refusal_says_what_would_be_answered():
    assert "token" in refusal("secret", host="robot:1")
    assert "this machine only" in refusal(None, host="robot:1")
    assert "own pages" in refusal(None, host="localhost:1", origin="http://elsewhere.example")


def test_the_token_is_kept_in_a_cookie_that_scripts_cannot_read():
    token = new_token()
    (name, value), *_ = ask(token, query=f"token={token}", host="robot:1")["headers"]
    assert name == b"set-cookie" and value.startswith(f"{cookie_name(token)}={token};".encode())
    assert b"HttpOnly" in value and b"SameSite=Strict" in value


def test_addresses_of_this_machine():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.2", "robot", "")))


def test_pictures_of_views_that_are_gone_are_not_made(open_session, street_image):
    session = open_session([street_image], vocabulary=["road", "sky"])
    drawn = Pictures(session)
    _, run, number = drawn.remember(session.view).split("/")
    number = int(number)
    assert Pictures(session).draw(run, number, "labels") == (None, False)
    labels, asked = drawn.draw(run, number, "labels")
    assert asked and labels.startswith(b"\x89PNG") and drawn.draw(run, number, "labels")[0] is labels
    assert drawn.draw(run, number, "image")[0].startswith(b"\xff\xd8")
    assert drawn.draw(run, number, "score", 1)[0].startswith(b"\x89PNG")
    assert drawn.draw(run, number, "score", 77)[0] is None and drawn.probe() is None
    # Of a view that is gone, that of the newest one.
    for later in range(100, 104):
        drawn.remember(replace(session.view, number=later))
    newest, _ = drawn.draw(run, 103, "image")
    assert drawn.draw(run, number, "image") == (newest, False)


def test_a_browser_keeps_no_pictures_of_another_run(open_session, street_image):
    session = open_session([street_image], vocabulary=["road", "sky"])
    before, now = Pictures(session).remember(session.view), Pictures(session).remember(session.view)
    assert before != now and before.rpartition("/")[2] == now.rpartition("/")[2]
