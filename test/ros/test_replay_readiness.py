"""What a replay waits for, in words."""

from dataclasses import replace

import pytest

from activesam_ros.errors import EvaluationError
from activesam_ros.ros.replay_readiness import Surroundings, missing

READY = Surroundings(
    image_topic="/camera/image",
    labels_topic="/activesam/labels",
    labelling=["/activesam"],
    active=True,
    subscribers={"/activesam": True, "/evaluator": True, "/viewer": False},
    matched=3,
    listeners=["/evaluator"],
)


def test_nothing_is_missing_once_everybody_listens():
    assert missing(READY) is None


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"labelling": [], "active": False}, "a node that publishes /activesam/labels"),
        ({"active": False}, "/activesam to be active"),
        ({"subscribers": {"/evaluator": True}}, "/activesam to subscribe to /camera/image"),
        ({"subscribers": {"/activesam": True}}, "/evaluator to subscribe to /camera/image"),
        ({"matched": 2}, "the connection to the subscribers of /camera/image"),
    ],
)
def test_what_is_missing_is_named(changes, said):
    assert said in missing(replace(READY, **changes))


@pytest.mark.parametrize("name", ["/activesam", "/evaluator"])
def test_who_may_lose_images_is_refused(name):
    with pytest.raises(EvaluationError, match=f"{name} .*queue: all"):
        missing(replace(READY, subscribers={**READY.subscribers, name: False}))
