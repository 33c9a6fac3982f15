"""Hostile but well-formed messages to all that the real node takes: it drops them, goes on, and keeps its size."""

import array
import math
import random
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from rclpy.serialization import serialize_message

from activesam_ros.ros.parameters import TAKES, Takes
from activesam_ros.system.memory import memory

pytestmark = pytest.mark.usefixtures("dds_environment")

SECONDS = 40
LONG = "x" * 1_000_000
TEXTS = (
    "",
    "rgb8\n[FATAL] fake",
    "\x1b[2J\x07\x85",
    "\u202egnp\u2066",
    "road," * 2_000,
    "../../etc/passwd",
    "nan",
    "🙂",
)
INTEGERS = (-(2**63), -(2**31), -1, 0, 1, 255, 2**31 - 1, 2**32 - 1, 2**63 - 1)
FLOATS = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1e308, -1e308, 5e-324)


class Hostile:
    """Fills messages of any type with extreme values that the type can hold."""

    def __init__(self, seed):
        self._chance = random.Random(seed)

    def fill(self, message, depth=0):
        for name, kind in message.get_fields_and_field_types().items():
            value = self._value(kind, getattr(message, name), depth)
            if value is not None:
                setattr(message, name, value)
        return message

    def _value(self, kind, now, depth):
        chance = self._chance
        if kind.startswith("sequence<"):
            inner = kind.removeprefix("sequence<").partition(",")[0].rstrip(">")
            count = chance.choice((0, 1, 3))
            if "/" in inner:
                return [self.fill(_new(inner), depth + 1) for _ in range(count)] if depth < 4 else []
            if isinstance(now, array.array):
                return array.array(now.typecode, [self._scalar(inner) for _ in range(count)])
            return [self._scalar(inner) for _ in range(count)]
        if "/" in kind:
            return self.fill(now, depth + 1)
        if "[" in kind:
            return None
        return self._scalar(kind)

    def _scalar(self, kind):
        chance = self._chance
        if kind.startswith("string"):
            return LONG if chance.random() < 0.02 else chance.choice(TEXTS)
        if kind == "boolean":
            return chance.random() < 0.5
        if kind in ("octet", "byte"):
            return bytes([chance.randrange(256)])
        if kind in ("float", "double"):
            value = chance.choice(FLOATS)
            return value if kind == "double" or not math.isfinite(value) else math.copysign(3e38, value)
        bits = int("".join(filter(str.isdigit, kind)) or 8)
        signed = kind.startswith("int")
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return min(max(chance.choice(INTEGERS), low), high)


def _new(kind):
    package, name = kind.split("/")[0], kind.split("/")[-1]
    return getattr(import_module(f"{package}.msg"), name)()


def _images(hostile, chance):
    """Images whose size, step, encoding and data contradict each other."""
    while True:
        image = hostile.fill(_new("sensor_msgs/Image"))
        image.height, image.width = (chance.choice((0, 1, 8, 65_535, 2**32 - 1)) for _ in range(2))
        image.step = chance.choice((0, 1, 24, 2**32 - 1))
        image.encoding = chance.choice((*TEXTS, LONG, "rgb8", "mono16", "bayer_rggb8", "32FC1", "yuv422"))
        image.data = array.array("B", bytes(chance.choice((0, 1, 192, 4096))))
        yield image


def _with_surrogate(image):
    """An image as bytes, in which encoding and frame hold half of a pair of UTF-16, which UTF-8 does not allow."""
    image.encoding = image.header.frame_id = "half"
    return serialize_message(image).replace(b"half", b"\xed\xa0\x80!")


def _services(client):
    """Clients of all services of the node, with their types."""
    found = []
    for name, (kind, *_) in client.node.get_service_names_and_types_by_node("activesam", "/"):
        package, _, kind = kind.split("/")
        service = client.node.create_client(getattr(import_module(f"{package}.srv"), kind), name)
        assert service.wait_for_service(30)
        found.append(service)
    return found


def _request(kind, hostile, chance):
    request = hostile.fill(kind.Request())
    for one in getattr(request, "parameters", ()):
        if chance.random() < 0.7:
            one.name = chance.choice([*TAKES, "use_sim_time"])
        one.value.type = chance.choice((*range(10), 200))
    if hasattr(request, "transition"):
        # One that there is could end the node, as it should.
        request.transition.id = chance.choice((9, 60, 255))
    if hasattr(request, "timeout"):
        request.timeout = min(request.timeout, 0.5)
    return request


def _labels(client, rgb):
    """The labels as ranks of the ids: words that a storm took away come back with new ids, in the same order."""
    message = client.ask(rgb).message
    return np.unique(np.frombuffer(message.data, np.uint8), return_inverse=True)[1]


@pytest.mark.slow
def test_no_message_ends_the_node(start_node, client, small, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("ROS_PYTHON_CHECK_FIELDS", "1")
        node = start_node("-p", "use_sim_time:=true")
    client.connect(small)
    labels = _labels(client, small)
    names = [name for name, takes in TAKES.items() if takes is Takes.AT_ONCE or takes is Takes.PREPARED]
    before = {name: client.get(name) for name in names}
    chance = random.Random(5)
    hostile, images = Hostile(6), _images(Hostile(7), chance)
    clocks = client.node.create_publisher(type(_new("rosgraph_msgs/Clock")), "/clock", 1)
    infos = client.node.create_publisher(type(_new("sensor_msgs/CameraInfo")), "camera_info", 1)
    services = _services(client)
    status = Path(f"/proc/{node.process.pid}/status")
    begun, warm = time.monotonic(), 0
    while time.monotonic() < begun + SECONDS:
        for _ in range(3):
            client.images.publish(next(images))
            client.images.publish(_with_surrogate(next(images)))
            clocks.publish(hostile.fill(_new("rosgraph_msgs/Clock")))
            infos.publish(hostile.fill(_new("sensor_msgs/CameraInfo")))
        for service in services:
            assert client.result(service.call_async(_request(service.srv_type, hostile, chance))) is not None
        if not warm and time.monotonic() > begun + SECONDS / 2:
            warm = memory(status).resident
    grown = memory(status).resident / warm
    assert client.set(use_sim_time=False) == (True, "")
    assert client.set(**before) == (True, ""), node.log[-3000:]
    # What was sent last may still be in the queue, where a newer image replaces one that is asked about.
    client.connect(small)
    client.eventually(lambda: (_labels(client, small) == labels).all())
    assert client.set(max_rate=7.0) == (True, "") and client.get("max_rate") == 7.0
    assert grown < 1.05
    said = node.log.splitlines()
    assert not [line for line in said if line.startswith("[FATAL]") or not line.isprintable()]
    assert "Traceback" not in node.log
    assert node.end() == 0
