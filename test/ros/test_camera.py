"""One camera: that its images are subscribed while, and only while, something is wanted of them."""

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from activesam_ros.configuration import group_of
from activesam_ros.ros.camera import Camera
from activesam_ros.ros.camera_outputs import Demand
from activesam_ros.ros.inbox import Inbox
from activesam_ros.ros.parameters import DEFAULTS, Policy, Setup

from .recording import RecordingNode


@pytest.fixture
def node():
    return RecordingNode()


@pytest.fixture
def told():
    return []


@pytest.fixture
def make(node, told):
    def camera(name="", **parameters):
        values = {**DEFAULTS, **parameters}
        setup = group_of(Setup, values)
        inbox = Inbox([name], setup.queue_size if setup.queue == "all" else None)
        inbox.open()
        return Camera(
            node,
            name,
            setup,
            lambda: group_of(Policy, values),
            inbox,
            lambda camera: told.append(("overflowed", camera)),
            lambda camera: told.append(("incompatible", camera)),
        )

    return camera


@pytest.mark.parametrize(
    ("name", "title", "prefix"), [("", "camera", ""), ("front", "camera front", "front: ")]
)
def test_sentences_name_it_unless_it_is_the_only_one(make, name, title, prefix):
    camera = make(name)
    assert (camera.name, camera.title, camera.prefix) == (name, title, prefix)


def test_images_are_subscribed_while_active_and_wanted(make, node):
    camera = make("front")
    node.subscribers["front/labels"] = 1
    camera.follow_demand()
    assert camera.demand is Demand.NOTHING and not camera.input.listening
    camera.activate(True)
    assert camera.demand is Demand.LABELS and camera.input.listening
    node.subscribers["front/labels"] = 0
    camera.follow_demand()
    assert camera.demand is Demand.NOTHING and not camera.input.listening
    node.subscribers["front/active_classes"] = 1
    camera.follow_demand()
    assert camera.demand is Demand.PREVIEW and camera.input.listening
    camera.activate(False)
    assert camera.demand is Demand.NOTHING and not camera.input.listening
    assert node.subscriptions == {}


def test_comers_and_goers_are_followed_at_once(make, node):
    camera = make()
    camera.activate(True)
    node.subscribers["overlay"] = 1
    node.publishers["overlay"].event_callbacks.matched(None)
    assert camera.input.listening
    node.subscribers["overlay"] = 0
    node.publishers["overlay"].event_callbacks.matched(None)
    assert not camera.input.listening


def test_the_log_tells_when_images_are_taken_and_why_not(make, node):
    camera = make("front")
    camera.activate(True)
    assert node.logged == []
    node.subscribers["front/labels"] = 1
    for _ in range(2):
        camera.follow_demand()
    assert node.logged == ["front: images are taken from /front/image"]
    node.subscribers["front/labels"] = 0
    for _ in range(2):
        camera.follow_demand()
    assert len(node.logged) == 2
    assert node.logged[1].startswith("front: no images are taken: nobody subscribes")
    node.subscribers["front/labels"] = 1
    camera.follow_demand()
    camera.activate(False)
    assert len(node.logged) == 4
    assert node.logged[3].startswith("front: no images are taken: the node is not active")


@pytest.mark.parametrize(("parameters", "depth"), [({}, 1), ({"queue": "all", "queue_size": 7}, 7)])
def test_slow_subscribers_may_lag_as_far_as_frames_wait(make, node, parameters, depth):
    make(**parameters)
    assert node.publishers["labels"].profile.depth == depth


def test_what_goes_wrong_is_told_with_the_camera(make, node, told):
    camera = make("front", queue="all", queue_size=1)
    node.subscribers["front/labels"] = 1
    camera.activate(True)
    subscription = node.subscriptions["/front/image"]
    subscription.callback(subscription.kind())
    assert told == []
    subscription.callback(subscription.kind())
    subscription.event_callbacks.incompatible_qos(None)
    assert told == [("overflowed", camera), ("incompatible", camera)]


def test_what_listens_anew_begins_with_nothing_remembered(make, node):
    camera = make("front")
    node.subscribers["front/labels"] = 1
    memories = [camera.memory]
    for begin in (lambda: camera.activate(True), camera.follow_demand):
        begin()
        memories.append(camera.memory)
        camera.follow_demand()
        assert camera.memory is memories[-1]
        node.subscribers["front/labels"] = 0
        camera.follow_demand()
        node.subscribers["front/labels"] = 1
    camera.activate(False)
    camera.activate(True)
    memories.append(camera.memory)
    assert len(set(map(id, memories))) == 4
