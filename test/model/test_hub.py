"""Models of the hub: a whole one in the cache starts whatever the hub does; else one sentence says what it did."""

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from activesam_ros.errors import ModelError
from activesam_ros.model import hub
from activesam_ros.model.checkpoint import load_checkpoint
from activesam_ros.model.folder import resolve_folder
from activesam_ros.model.hub import find_or_download

COMMIT = "a" * 40
TOKEN_WORDS = "Please enable access to public gated repositories in your fine-grained token settings"
ERRORS = {
    "gated": (403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}),
    "private": (401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}),
    "token": (403, {"X-Error-Message": TOKEN_WORDS}),
    "disabled": (403, {"X-Error-Message": "Access to this resource is disabled."}),
    "nowhere": (404, {"X-Error-Code": "RepoNotFound"}),
    "limited": (429, {}),
    "down": (503, {}),
}


class Hub(BaseHTTPRequestHandler):
    """Serves the demo model as a hub does, or misbehaves by the name of the repository."""

    protocol_version = "HTTP/1.1"
    folder = None
    asked = 0

    def log_message(self, *_):
        pass

    def answer(self, content, status=200, kind="application/json", **headers):
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(content)), **headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        type(self).asked += 1
        parts = self.path.split("?")[0].strip("/").removeprefix("api/models/").split("/")
        name, last = parts[1], parts[-1]
        files = sorted(one for one in self.folder.iterdir() if one.is_file())
        if name in ERRORS:
            status, headers = ERRORS[name]
            return self.answer(b"", status, **headers)
        if name == "silent":
            time.sleep(30)
        if name == "reset":
            self.close_connection = True
            return self.connection.close()
        if name == "login":
            return self.answer(b"<html>Please log in to the hotel</html>", kind="text/html")
        if "revision" in parts:
            listed = [{"rfilename": one.name} for one in files]
            return self.answer(json.dumps({"id": f"org/{name}", "sha": COMMIT, "siblings": listed}).encode())
        if "tree" in parts:
            tree = [
                {"type": "file", "path": one.name, "size": one.stat().st_size, "oid": self.etag(one)}
                for one in files
            ]
            return self.answer(json.dumps(tree).encode())
        content = (self.folder / last).read_bytes()
        if name == "page" and last == "config.json":
            content = b"<html>Please log in</html>"
        return self.answer(content, **{"ETag": f'"{self.etag(self.folder / last)}"', "X-Repo-Commit": COMMIT})

    @staticmethod
    def etag(path):
        return hashlib.sha1(path.read_bytes()).hexdigest()


@pytest.fixture
def served(toytown_folder, tmp_path, monkeypatch):
    """A hub on this machine, and an empty cache."""
    handler = type("Handler", (Hub,), {"folder": toytown_folder, "asked": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    yield handler
    server.shutdown()


def refused(name) -> str:
    with pytest.raises(ModelError) as caught:
        resolve_folder(name)
    message = str(caught.value)
    assert "\n" not in message and "give that path" in message
    return message


def test_a_whole_cached_model_starts_whatever_the_hub_does(served, monkeypatch):
    folder = find_or_download("org/fine")
    assert load_checkpoint("org/fine", device="cpu").source == "org/fine"
    asked = served.asked
    for endpoint in ("http://127.0.0.1:9", "no scheme", None):
        if endpoint:
            monkeypatch.setenv("HF_ENDPOINT", endpoint)
        assert find_or_download("org/fine") == folder
    assert served.asked == asked
    # What is missing is fetched again, and nothing else is asked of a model that is whole.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    (folder / "config.json").unlink()
    assert "cannot be reached" in refused("org/fine")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gated", "answered 403 (Access is restricted); it is gated: accept its licence"),
        ("private", "answered 401 (Repository not found); check the spelling and HF_TOKEN"),
        ("token", f"answered 403 ({TOKEN_WORDS}); change what your account or its token may read"),
        ("disabled", "answered 403 (Access to this resource is disabled); change"),
        ("nowhere", "answered 404 (Not Found); check the spelling"),
        ("limited", "answered 429 (Too Many Requests); wait some minutes"),
        ("down", "answered 503 (Service Unavailable); try again later"),
        ("reset", "gives no answer of a hub (RemoteProtocolError"),
        ("login", "gives no answer of a hub (JSONDecodeError"),
        ("page", "config.json of org/page arrived with another size than"),
    ],
)
def test_what_the_hub_says_is_said_in_one_sentence(served, name, words):
    assert words in refused(f"org/{name}")


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HF_ENDPOINT", "127.0.0.1:9", "cannot be reached"),
        ("HF_TOKEN", "hf_é", "HF_TOKEN"),
        ("HF_HUB_OFFLINE", "1", "HF_HUB_OFFLINE forbids"),
    ],
)
def test_environments_that_cannot_work(served, monkeypatch, variable, value, words):
    monkeypatch.setenv(variable, value)
    assert words in refused("org/fine")


def test_a_hub_that_never_answers(served, monkeypatch):
    monkeypatch.setattr(hub, "ANSWER_SECONDS", 2.0)
    started = time.monotonic()
    assert "stopped answering for 2 s" in refused("org/silent")
    assert time.monotonic() - started < 10


def test_a_cache_that_cannot_be_written(served, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    assert f"org/fine cannot be stored: {tmp_path / 'file'}" in refused("org/fine")


def test_a_download_that_dies(monkeypatch):
    monkeypatch.setattr(
        hub, "sys", SimpleNamespace(executable="false", path=[], stderr=SimpleNamespace(isatty=bool))
    )
    with pytest.raises(ModelError, match="ended without a word"):
        find_or_download("org/fine-or-not")


def test_nonsense_ids():
    with pytest.raises(ModelError, match="valid hub id"):
        resolve_folder("no spaces/in ids")
    with pytest.raises(ModelError, match="does not exist"):
        resolve_folder("a/b/c")
