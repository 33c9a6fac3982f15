"""Which images are taken, how they are subscribed, and what is said when none come: the real node, over DDS."""

import re
import time

import pytest

from .conftest import PATIENCE
from .processes import Faults

pytestmark = pytest.mark.usefixtures("dds_environment")

SPACE = "policy"
IMAGE = f"/{SPACE}/image"
RELIABILITY = f"qos_overrides.{IMAGE}.subscription.reliability"
SMALL_MODEL_SIDE = ("-p", "full_resolution:=96")
OK, WARN, ERROR, STALE = range(4)


@pytest.fixture(scope="module", autouse=True)
def replay(start_shared_node, tmp_path_factory):
    """A node that labels every frame, and its faults; it loads while the other is tested."""
    faults = Faults(tmp_path_factory.mktemp("replay") / "order")
    arguments = ("-p", "queue:=all", "-p", "queue_size:=3", *SMALL_MODEL_SIDE)
    node = start_shared_node(*arguments, namespace="replay", faults=faults.path)
    yield node, faults
    assert node.end() == 0
    assert "Traceback" not in node.log


@pytest.fixture(scope="module")
def node(start_shared_node, tmp_path_factory):
    """A node with a reliable subscription, by a parameter file, and a /clock of its own."""
    file = tmp_path_factory.mktemp("parameters") / "reliable.yaml"
    file.write_text(f"/**:\n  ros__parameters:\n    {RELIABILITY}: reliable\n")
    arguments = ("--params-file", str(file), "-r", f"/clock:=/{SPACE}/clock", *SMALL_MODEL_SIDE)
    node = start_shared_node(*arguments, namespace=SPACE)
    yield node
    assert node.end() == 0
    assert "Traceback" not in node.log


@pytest.fixture(scope="module")
def connected(node, make_shared_client, small):
    client = make_shared_client(namespace=SPACE, reliable=True)
    client.connect(small)
    client.counted()
    return client


@pytest.fixture
def client(connected):
    """A client of the shared node, all of whose frames are counted; the node is as it was started afterwards."""
    yield connected
    defaults = {"max_age": 0.0, "max_rate": 0.0, "image_timeout": 5.0, "use_sim_time": False}
    assert connected.set(**defaults) == (True, "")


def diagnosed(client, level, said):
    return client.diagnosed(lambda found, message, _: (found == level) and said in message, "camera")


def test_a_parameter_file_makes_the_subscription_reliable(client):
    from rclpy.qos import ReliabilityPolicy

    (endpoint,) = client.node.get_subscriptions_info_by_topic(IMAGE)
    assert endpoint.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    told = client.diagnosed(lambda *_: True, "camera")
    assert told["quality of service"] == "reliable, keep last 1, volatile"


@pytest.mark.parametrize(("policy", "value"), [("reliability", "sometimes"), ("depth", "0")])
def test_a_wrong_override_ends_the_start_with_one_sentence(start_node, policy, value):
    node = start_node("-p", f"qos_overrides./wrong/image.subscription.{policy}:={value}", namespace="wrong")
    assert node.process.wait(PATIENCE) == 1
    (line,) = re.findall(r"\[FATAL\].*", node.log)
    assert policy in line and "Traceback" not in node.log


def test_silence_is_explained_and_ends_with_an_image(client, node, small):
    assert client.set(image_timeout=0.3) == (True, "")
    node.wait_for_log(rf"\[WARN\].*no image comes on {IMAGE}, although its publisher .* fit")
    told = diagnosed(client, STALE, f"no image comes on {IMAGE}")
    assert float(told["seconds since the last image"]) > 0.3

    client.unplug()
    node.wait_for_log(rf"\[WARN\].*nobody publishes {IMAGE}")
    diagnosed(client, STALE, f"nobody publishes {IMAGE}")

    client.plug(reliable=False)
    # The publisher may be known before its name is.
    name = client.node.get_name()
    said = node.wait_for_log(rf"\[WARN\].*{name} publishes on {IMAGE} cannot be received.*").group()
    assert f"{RELIABILITY}: best_effort" in said
    client.unplug()
    assert client.set(image_timeout=5.0) == (True, "")
    client.plug(reliable=True)
    client.eventually(lambda: client.is_wanted)
    client.ask(small)
    diagnosed(client, OK, "")
    assert client.counted(received=1) == {"received": 1, "answered": 1}


def test_old_frames_are_dropped(client, small):
    now = int(time.time())
    assert client.set(max_age=1000.0) == (True, "")
    client.send(small, stamp=now - 2000)
    client.ask(small, stamp=now)
    # A clock that is ahead of ours is no reason to drop anything.
    client.ask(small, stamp=now + 2000)
    gained = client.counted(received=2)
    # The old one may have been replaced before its turn came.
    assert gained in (
        {"received": 3, "answered": 2, "too old": 1},
        {"received": 3, "answered": 2, "superseded": 1},
        {"received": 2, "answered": 2},
    )
    client.send(small, stamp=now - 3000)
    assert client.counted(received=1) == {"received": 1, "too old": 1}
    assert client.set(max_age=0.0) == (True, "")
    client.ask(small, stamp=now - 4000)
    assert client.counted(received=1) == {"received": 1, "answered": 1}


def test_frames_over_the_rate_are_dropped(client, small):
    rate = 4.0
    assert client.set(max_rate=rate) == (True, "")
    begun = time.monotonic()

    def enough():
        client.send(small)
        _, _, values = client.statuses["camera"][-1]
        return int(values["dropped: over the rate"]) >= 10

    client.eventually(enough)
    gained = client.counted()
    seconds = time.monotonic() - begun
    assert set(gained) <= {"received", "answered", "over the rate", "superseded"}
    taken = gained["received"] - gained["over the rate"]
    assert gained["answered"] >= 1 and gained["over the rate"] >= 10
    assert taken <= seconds * rate + 2


def test_simulated_time_may_jump_back(client, small):
    from rclpy.qos import QoSProfile
    from rosgraph_msgs.msg import Clock

    clock = client.node.create_publisher(Clock, f"/{SPACE}/clock", QoSProfile(depth=1))

    def is_now(seconds):
        message = Clock()
        message.clock.sec = seconds

        def known():
            clock.publish(message)
            return client.beats[-1].stamp.sec == seconds

        client.eventually(known)

    assert client.set(use_sim_time=True, max_age=5.0, max_rate=1.0) == (True, "")
    # One image a second of a clock that stands still: the first one after each jump.
    for now in (5000, 1000, 9000, 100):
        is_now(now)
        client.ask(small, stamp=now - 2)
        assert client.counted(received=1) == {"received": 1, "answered": 1}
    assert client.set(max_rate=0.0) == (True, "")
    # From before the jump, and so in the future.
    client.ask(small, stamp=8999)
    client.send(small, stamp=90)
    assert client.counted(received=2) == {"received": 2, "answered": 1, "too old": 1}
    assert client.set(use_sim_time=False, max_age=0.0) == (True, "")
    client.ask(small)
    assert client.counted(received=1) == {"received": 1, "answered": 1}
    client.node.destroy_publisher(clock)


def test_every_frame_of_a_replay_is_answered_in_order(replay, make_client, small):
    node, faults = replay
    client = make_client(namespace="replay", reliable=True)
    client.connect(small)
    client.counted()
    sent = []
    for _ in range(20):
        # As a player does: at most so many frames are unanswered.
        sent.append(client.send(small))
        assert client.until(lambda: len(sent) - sum(stamp in sent for stamp in client.stamps("labels")) < 3)
    client.with_stamp("labels", sent[-1])
    assert client.stamps("labels")[-20:] == sent
    assert client.counted(received=20) == {"received": 20, "answered": 20}

    # A player that does not wait loses what the queue cannot hold, and nothing else.
    faults.order("wait", seconds=300)
    first = client.send(small)
    node.wait_for_log("fault: wait at decode")
    rest = [client.send(small) for _ in range(7)]
    told = diagnosed(client, ERROR, "full queue")
    assert "a frame was lost, since 3 were waiting" in node.wait_for_log(r"\[ERROR\].*lost.*").group()
    faults.none()
    client.with_stamp("labels", rest[2])
    assert client.stamps("labels")[-4:] == [first, *rest[:3]]
    assert client.counted(received=8) == {"received": 8, "answered": 4, "queue full": 4}
    assert told["quality of service"].startswith("reliable, keep all")
