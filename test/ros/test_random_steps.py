"""Random calls, messages and transitions to the real node, in random order: each is answered as its state asks for.

ACTIVESAM_RANDOM_STEPS and ACTIVESAM_RANDOM_SEED make it longer or other.
"""

import array
import os
import random

import numpy as np
import pytest

from activesam_ros.ros.parameters import PARAMETERS, TAKES, Takes
from activesam_ros.vocabulary.files import preset_names

from .conftest import PATIENCE
from .test_hostile import Hostile, _images

pytestmark = pytest.mark.usefixtures("dds_environment")

STEPS = int(os.environ.get("ACTIVESAM_RANDOM_STEPS", "120"))
SEED = int(os.environ.get("ACTIVESAM_RANDOM_SEED", "1"))
POOL = (
    "road",
    "sky, clouds",
    "car",
    "bus",
    "no",
    "7",
    "tree",
    "=mouse",
    "traffic light",
    "C++",
    "café",
    "person",
)
TOPICS = ("confidence", "overlay", "detections", "instances", "panoptic", "active_classes")
# Of parameters whose limits would make the test slow, or have frames dropped.
TAME = {
    "full_resolution": (64, 96, 112),
    "preview_resolution": (48, 64),
    "max_rate": (0.0,),
    "max_age": (0.0,),
    "max_pixels": (1_000_000, 8_300_000),
    "worker_timeout": (30.0, 60.0),
    "device": ("cpu", "auto"),
    "dtype": ("auto", "float32"),
    "compile": (False,),
    "model": ("toytown",),
    "prompt_cache": ("memory",),
    "background_class": ("",),
}
WRONG = (None, -1e9, float("nan"), "", "\x1b[2J", [""], ["a", "A"], True, 2**40, [b"\xff"])
# What a transition leads to from a state; all others are refused.
MOVES = {
    ("configure", "unconfigured"): "inactive",
    ("activate", "inactive"): "active",
    ("deactivate", "active"): "inactive",
    ("cleanup", "inactive"): "unconfigured",
}


class Robot:
    """Takes steps against a node, and knows what state it must be in."""

    def __init__(self, client, node, rgb, seed):
        from activesam_ros.srv import Segment

        self.chance = random.Random(seed)
        self.client, self.node, self.rgb = client, node, rgb
        self.state, self.calls, self.served = "active", 0, 0
        self.bad_images = _images(Hostile(seed), self.chance)
        self.service = client.node.create_client(Segment, "activesam/segment")
        assert self.service.wait_for_service(PATIENCE)
        self.live = [one for one in PARAMETERS if TAKES[one.name] is not Takes.NEVER]
        self.subscribed = set()

    def step(self):
        steps = {
            self.set: 8,
            self.image: 6,
            self.bad_image: 3,
            self.call: 3,
            self.move: 3,
            self.ask: 2,
            self.look: 2,
        }
        (chosen,) = self.chance.choices(list(steps), steps.values())
        return chosen()

    def words(self):
        return self.chance.sample(POOL, self.chance.randint(1, 6))

    def value(self, spec):
        chance = self.chance
        if spec.name in TAME:
            return chance.choice(TAME[spec.name])
        if spec.name == "vocabulary":
            return self.words()
        if spec.name == "vocabulary_file":
            return chance.choice(
                ("", *(name for name in preset_names() if name.startswith(("voc", "indoor"))))
            )
        if spec.choices:
            return chance.choice(spec.choices)
        if isinstance(spec.default, bool):
            return chance.random() < 0.5
        low, high = spec.limits
        if isinstance(spec.default, int):
            return chance.choice((low, high, min(high, max(low, chance.randint(1, 40)))))
        return chance.choice((low, high, low + chance.random() * (high - low)))

    def shown(self):
        from rclpy.parameter import parameter_value_to_python

        names = [one.name for one in self.live]
        values = self.client.result(self.client.parameters.get_parameters(names)).values
        return {name: parameter_value_to_python(one) for name, one in zip(names, values, strict=True)}

    def set(self):
        """One call is one change: all of it is shown afterwards, or nothing."""
        chosen = self.chance.sample(self.live, self.chance.randint(1, 4))
        values = {spec.name: self.value(spec) for spec in chosen}
        wrong = self.chance.random() < 0.25
        if wrong:
            name = self.chance.choice(chosen).name
            # Whether there is such a model is known when it is loaded.
            values[name] = 7 if name == "model" else self.chance.choice(WRONG)
        before = self.shown()
        accepted, reason = self.client.set(**values)
        after = self.shown()
        assert accepted == (not reason)
        if accepted:
            # A list that arrives empty has another type, and whole numbers are numbers.
            for name, value in values.items():
                assert after[name] == value or (not value and not after[name]), (name, value, after[name])
        else:
            assert after == before and reason.isprintable(), (values, reason)
        return f"set {values}: {reason or 'accepted'}"

    def image(self):
        """While the node is active, labels come, with ids that are known by then."""
        if self.state != "active":
            self.client.send(self.rgb)
            return "image, not active"
        entry = self.client.ask(self.rgb)
        self.served += 1
        message, stamp = entry.message, (entry.message.header.stamp.sec, entry.message.header.stamp.nanosec)
        kind = {"mono8": np.uint8, "mono16": np.uint16}[message.encoding]
        used = set(np.unique(np.frombuffer(message.data, kind)).tolist()) - {np.iinfo(kind).max}

        def known():
            told = [one.message for one in self.client.received["vocabulary"]]
            told = [one for one in told if (one.header.stamp.sec, one.header.stamp.nanosec) <= stamp]
            return bool(told) and used <= {one.class_id for one in told[-1].classes}

        assert self.client.until(known, 10), f"{used} are not all known"
        return "image"

    def bad_image(self):
        self.client.images.publish(next(self.bad_images))
        return "bad image"

    def call(self):
        """A call is labelled while the node is active, with its own classes if it has any."""
        from activesam_ros.srv import Segment

        self.calls += 1
        own = (
            [f"{word} {self.calls}" for word in self.words()] if self.chance.random() < 0.5 else self.words()
        )
        request = Segment.Request(vocabulary=own if self.chance.random() < 0.8 else [])
        image = request.image
        image.height, image.width = self.rgb.shape[:2]
        image.encoding, image.step, image.data = "rgb8", 3 * image.width, array.array("B", self.rgb.tobytes())
        answer = self.client.result(self.service.call_async(request))
        assert answer.success == (self.state == "active"), answer.message
        if answer.success and request.vocabulary:
            assert len(answer.vocabulary.classes) == len(own) and answer.labels.height == image.height
        return f"call {own}: {answer.message or 'labelled'}"

    def move(self):
        transition = self.chance.choice(
            ("activate", "activate", "activate", "configure", "deactivate", "cleanup")
        )
        to = MOVES.get((transition, self.state))
        moved = self.client.change_state(transition)
        assert moved == (to is not None), (transition, self.state)
        self.state = to or self.state
        assert self.client.state() == self.state
        return f"{transition}: {self.state}"

    def ask(self):
        names = self.chance.sample([one.name for one in self.live], 2)
        asked = self.client.parameters
        known = self.client.result(asked.describe_parameters(names)).descriptors
        assert [one.name for one in known] == names
        # As rclpy answers if one of them is unknown.
        assert not self.client.result(asked.describe_parameters([*names, "no such parameter"])).descriptors
        return "ask"

    def look(self):
        topic = self.chance.choice(TOPICS)
        if topic in self.subscribed:
            self.client.unsubscribe(topic)
        else:
            self.client.subscribe(topic)
        self.subscribed ^= {topic}
        return f"look at {topic}"


def test_random_steps_are_answered_as_the_state_of_the_node_asks_for(start_node, make_client, small):
    node = start_node("-p", "full_resolution:=96", "-p", "prompt_cache:=memory")
    client = make_client(topics=("labels", "vocabulary"), reliable=False)
    client.connect(small)
    robot, done = Robot(client, node, small, SEED), []
    try:
        done += (robot.step() for _ in range(STEPS))
        while robot.state != "active":
            robot.move()
        robot.image()
        assert node.end() == 0
    except Exception as error:
        steps = "\n".join(done[-15:])
        raise AssertionError(
            f"seed {SEED}, step {len(done)}: {error}\n{steps}\n{node.log[-3000:]}"
        ) from error
    # What an image is called may be quoted, within a line.
    assert not [
        line for line in node.log.splitlines() if line.startswith("[FATAL]") or not line.isprintable()
    ]
    for fault in ("Traceback", "is undone", "unexpected", "callback failed"):
        assert fault not in node.log, node.log
    assert robot.served > STEPS / 20
