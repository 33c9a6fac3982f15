"""What the studio asks a node about the picture that is shown: one call at a time, and the newest wish next."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from activesam_ros.studio.document import start_document
from activesam_ros.studio.segment_calls import RivalsCalls


class Service:
    """Keeps the calls, whose futures the test completes."""

    def __init__(self):
        self.calls, self.ready, self.forgotten = [], True, []

    def service_is_ready(self):
        return self.ready

    def call_async(self, request):
        future = SimpleNamespace(
            request=request, told=None, add_done_callback=lambda tell: setattr(future, "told", tell)
        )
        self.calls.append(future)
        return future

    def remove_pending_request(self, future):
        self.forgotten.append(future)


def answer(future, label, score, **fields):
    """Complete a call: one class and score everywhere."""
    from activesam_ros.srv import Segment

    response = Segment.Response(success=True)
    for image, value in ((response.labels, label), (response.confidence, score)):
        image.height, image.width, image.step, image.encoding = 2, 3, 3, "mono8"
        image.data = bytes([value] * 6)
    for name, value in fields.items():
        setattr(response, name, value)
    future.result = lambda: response
    future.told(future)


@pytest.fixture
def view():
    document = start_document({"vocabulary": ["road", "car, automobile", "sky"]})
    return SimpleNamespace(number=7, document=document, rgb=np.zeros((2, 3, 3), np.uint8))


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def calls(service):
    return RivalsCalls(service, lambda: None)


def test_the_others_are_asked_and_named(calls, service, view):
    assert calls.wish(view, 0)
    calls.send()
    request = service.calls[0].request
    assert request.vocabulary == ["car, automobile", "sky"] and request.background_threshold == 0
    assert (request.image.height, request.image.width, request.image.encoding) == (2, 3, "rgb8")
    assert calls.known(view, 0) is None
    answer(service.calls[0], 1, 102)
    assert calls.known(view, 0).at(0.5, 0.5) == ("sky", pytest.approx(0.4))
    assert not calls.wish(view, 0)
    # Where no class won, all are asked; and where none wins there either, none comes second.
    assert calls.wish(view, 255)
    calls.send()
    assert service.calls[1].request.vocabulary == ["road", "car, automobile", "sky"]
    answer(service.calls[1], 255, 0)
    assert calls.known(view, 255).at(2, -1) == (None, 0)


def test_one_call_at_a_time_and_the_newest_wish_next(calls, service, view):
    assert calls.wish(view, 0)
    assert not calls.wish(view, 0)  # about to be sent
    calls.send()
    assert [calls.wish(view, one) for one in (0, 1, 2)] == [False] * 3
    calls.send()
    assert len(service.calls) == 1
    answer(service.calls[0], 0, 255)
    assert len(service.calls) == 2 and service.calls[1].request.vocabulary == ["road", "car, automobile"]
    answer(service.calls[1], 0, 255)
    assert len(service.calls) == 2 and calls.known(view, 1) is None


def test_calls_that_are_lost_or_refused(calls, service, view, monkeypatch):
    calls.wish(view, 0)
    calls.send()
    later = time.monotonic() + 60
    monkeypatch.setattr("time.monotonic", lambda: later)
    assert calls.wish(view, 0)  # asked anew
    calls.send()
    assert service.forgotten == service.calls[:1] and len(service.calls) == 2
    answer(service.calls[1], 0, 0, success=False, message="too many calls wait")
    assert calls.known(view, 0).refused == "too many calls wait"
    service.ready = False
    calls.wish(view, 1)
    calls.send()
    assert "does not answer" in calls.known(view, 1).refused
    # A moment later it may answer.
    service.ready = True
    assert not calls.wish(view, 1)
    later += 5
    assert calls.wish(view, 1)
    calls.send()
    answer(service.calls[2], 0, 255)
    assert not calls.known(view, 1).refused and not calls.wish(view, 1)


def test_a_wish_while_its_call_is_made_asks_once(calls, service, view):
    make = service.call_async
    service.call_async = lambda request: (calls.wish(view, 0), calls.send(), make(request))[2]
    calls.wish(view, 0)
    calls.send()
    answer(service.calls[0], 0, 255)
    assert len(service.calls) == 1
