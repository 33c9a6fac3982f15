import threading
from types import SimpleNamespace

from activesam_ros.ros import changes
from activesam_ros.ros.changes import ChangeDesk

# Long enough for a loaded machine; reached only by a failure.
PATIENCE = 30


class Preparation:
    """A preparation that waits for permission, so that a test decides what overtakes what."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.allowed = threading.Semaphore(0)
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        self.begun.release()
        assert self.allowed.acquire(timeout=PATIENCE)
        if request == "bad":
            raise RuntimeError("no such word")
        return f"prepared {request}"


def make():
    failures = []
    failed = threading.Event()

    def on_failure(request, error):
        failures.append((request, str(error)))
        failed.set()

    return ChangeDesk(on_failure), Preparation(), failures, failed


def test_nothing_is_prepared_before_the_desk_opens_and_then_the_latest():
    desk, preparation, _, _ = make()
    desk.submit("one")
    desk.submit("two")
    assert desk.collect() is None
    preparation.allowed.release()
    desk.open(preparation)
    assert desk.wait() == "prepared two"
    assert preparation.requests == ["two"]
    assert desk.collect() is None


def test_collect_never_waits():
    desk, preparation, _, _ = make()
    desk.open(preparation)
    desk.submit("one")
    assert preparation.begun.acquire(timeout=PATIENCE)
    assert desk.since is not None and desk.collect() is None
    preparation.allowed.release()
    assert desk.wait() == "prepared one"


def test_the_latest_of_several_fast_requests_wins():
    desk, preparation, failures, _ = make()
    desk.open(preparation)
    desk.submit("one")
    assert preparation.begun.acquire(timeout=PATIENCE)
    for request in ("two", "three", "four"):
        desk.submit(request)
    preparation.allowed.release(2)
    assert desk.wait() == "prepared four"
    assert preparation.requests == ["one", "four"]
    assert desk.join(PATIENCE) and not failures


def test_what_was_ready_but_not_collected_stays_until_the_next_is_ready():
    desk, preparation, _, _ = make()
    desk.open(preparation)
    preparation.allowed.release(2)
    desk.submit("one")
    assert desk.join(PATIENCE)
    desk.submit("two")
    assert desk.join(PATIENCE)
    assert desk.collect() == "prepared two" and desk.collect() is None


def test_what_was_prepared_before_a_failure_comes_into_force():
    desk, preparation, failures, failed = make()
    desk.open(preparation)
    desk.submit("one")
    assert preparation.begun.acquire(timeout=PATIENCE)
    # Overtaken while it is prepared, by one that fails.
    desk.submit("bad")
    preparation.allowed.release(2)
    assert failed.wait(PATIENCE) and failures == [("bad", "no such word")]
    assert desk.collect() == "prepared one"


def test_a_failure_is_reported_and_the_next_request_is_served():
    desk, preparation, failures, failed = make()
    desk.open(preparation)
    preparation.allowed.release()
    desk.submit("bad")
    assert failed.wait(PATIENCE)
    assert failures == [("bad", "no such word")]
    preparation.allowed.release()
    desk.submit("good")
    assert desk.wait() == "prepared good"


def test_a_failure_that_was_overtaken_is_nobodys_concern():
    desk, preparation, failures, _ = make()
    desk.open(preparation)
    desk.submit("bad")
    assert preparation.begun.acquire(timeout=PATIENCE)
    desk.submit("good")
    preparation.allowed.release(2)
    assert desk.wait() == "prepared good"
    assert not failures


def test_close_wakes_who_waits_and_forgets_what_runs():
    desk, preparation, failures, _ = make()
    desk.open(preparation)
    desk.submit("bad")
    assert preparation.begun.acquire(timeout=PATIENCE)
    outcome = []
    waiting = threading.Thread(target=lambda: outcome.append(desk.wait()))
    waiting.start()
    desk.close()
    waiting.join(PATIENCE)
    assert outcome == [None]
    preparation.allowed.release()
    assert desk.join(PATIENCE) and not failures
    desk.submit("late")
    assert desk.join(PATIENCE) and preparation.requests == ["bad"]


def test_a_report_that_raises_does_not_stop_later_requests(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def failed(request, error):
        raise RuntimeError("nobody listens")

    desk, preparation = ChangeDesk(failed), Preparation()
    desk.open(preparation)
    preparation.allowed.release(2)
    desk.submit("bad")
    assert desk.join(PATIENCE)
    desk.submit("good")
    assert desk.wait() == "prepared good"
    assert desk.join(PATIENCE)


def test_the_beginning_of_each_preparation_is_known_while_it_runs(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(changes, "time", SimpleNamespace(monotonic=lambda: clock.now))
    desk, preparation, _, _ = make()
    desk.open(preparation)
    assert desk.since is None
    desk.submit("bad")
    assert preparation.begun.acquire(timeout=PATIENCE)
    clock.now = 130.0
    desk.submit("good")
    assert desk.since == 100.0, "one that waits does not make the other any younger"
    preparation.allowed.release()
    assert preparation.begun.acquire(timeout=PATIENCE)
    assert desk.since == 130.0
    desk.close()
    assert desk.since == 130.0, "it cannot be interrupted"
    preparation.allowed.release()
    assert desk.join(PATIENCE) and desk.since is None
