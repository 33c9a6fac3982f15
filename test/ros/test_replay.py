"""The player: when it begins, how fast it goes, what it records, and its documented parameters."""

import contextlib
import re
import threading
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from sensor_msgs.msg import Image

from activesam_ros.cli.replay_pacing import Pacing, Stillness, Surroundings, missing
from activesam_ros.cli.replay_player import PlayerParameters
from activesam_ros.cli.replay_recorder import recorder
from activesam_ros.datasets.label_origin import LabelOrigin, label_origin
from activesam_ros.datasets.recordings import Recording
from activesam_ros.errors import DatasetError, EvaluationError

from .fakes import PATIENCE

# Readiness.

READY = Surroundings(
    image_topic="/camera/image",
    labels_topic="/activesam/labels",
    labelling=["/activesam"],
    active=True,
    described=True,
    subscribers={"/activesam": True, "/viewer": False},
    matched=2,
)


def test_nothing_is_missing_once_everybody_listens():
    assert missing(READY) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labelling": [], "active": False}, "a node that publishes /activesam/labels"),
        ({"active": False}, "/activesam to be active"),
        ({"described": False}, "the parameters of /activesam"),
        ({"subscribers": {"/viewer": True}}, "/activesam to subscribe to /camera/image"),
        ({"matched": 1}, "the connection to the subscribers of /camera/image"),
    ],
)
def test_what_is_missing_is_named(changes, said):
    assert said in missing(replace(READY, **changes))


def test_a_node_that_may_lose_images_is_refused():
    with pytest.raises(EvaluationError, match=r"/activesam .*queue: all"):
        missing(replace(READY, subscribers={**READY.subscribers, "/activesam": False}))


# Pacing.


SECOND = 1_000_000_000


def sent(pacing, *stamps):
    for stamp in stamps:
        pacing.send(stamp)


def test_no_more_images_than_allowed_are_on_their_way():
    pacing = Pacing(["labels"], most=2)
    sent(pacing, 10)
    assert pacing.wait_for_room(0)
    sent(pacing, 20)
    assert not pacing.wait_for_room(0)
    pacing.answered("labels", 10)
    assert pacing.wait_for_room(0)
    assert not pacing.wait_for_all(0)
    pacing.answered("labels", 20)
    assert pacing.wait_for_all(0)
    assert pacing.sent == 2


def test_the_first_topic_sets_the_pace_and_all_are_waited_for_at_the_end():
    pacing = Pacing(["labels", "active"], most=1)
    sent(pacing, 10)
    pacing.answered("active", 10)
    assert not pacing.wait_for_room(0)
    sent(pacing, 20)
    pacing.answered("labels", 20)
    assert pacing.wait_for_room(0) and not pacing.wait_for_all(0)
    pacing.answered("active", 20)
    assert pacing.wait_for_all(0)


def test_an_answer_to_a_later_image_is_one_to_those_before():
    pacing = Pacing(["labels"], most=1)
    sent(pacing, 10, 20, 30)
    pacing.answered("labels", 20)
    pacing.answered("labels", 10)
    assert not pacing.wait_for_room(0)
    pacing.answered("labels", 30)
    assert pacing.wait_for_room(0)


def test_an_answer_to_what_was_not_sent_is_none():
    pacing = Pacing(["labels"], most=1)
    sent(pacing, 10)
    pacing.answered("labels", 15)
    assert not pacing.wait_for_room(0)


def test_images_with_one_stamp_are_answered_one_by_one():
    pacing = Pacing(["labels"], most=1)
    sent(pacing, 0, 0)
    pacing.answered("labels", 0)
    assert not pacing.wait_for_room(0)


def test_images_are_given_up():
    pacing = Pacing(["labels", "active"], most=2)
    sent(pacing, 10, 20)
    pacing.abandon()
    assert pacing.abandoned == 2 and pacing.wait_for_all(0)
    pacing.abandon()
    assert pacing.abandoned == 2


def test_who_waits_for_room_is_woken():
    pacing = Pacing(["labels"], most=1)
    sent(pacing, 10)
    waited = []
    thread = threading.Thread(target=lambda: waited.append(pacing.wait_for_room(PATIENCE)))
    thread.start()
    pacing.answered("labels", 10)
    thread.join()
    assert waited == [True]


def test_two_equal_counts_without_work_are_stillness():
    stillness = Stillness()
    stillness.sent(10 * SECOND)
    assert not stillness.counted(11 * SECOND, received=5, pending=0)
    assert stillness.counted(12 * SECOND, received=5, pending=0)


def test_what_comes_or_is_in_work_is_no_stillness():
    stillness = Stillness()
    stillness.sent(10 * SECOND)
    assert not stillness.counted(11 * SECOND, received=5, pending=0)
    assert not stillness.counted(12 * SECOND, received=6, pending=0)
    assert not stillness.counted(13 * SECOND, received=6, pending=1)
    assert not stillness.counted(14 * SECOND, received=6, pending=0)
    assert stillness.counted(15 * SECOND, received=6, pending=0)


def test_counts_from_before_the_last_image_do_not_count():
    stillness = Stillness()
    assert not stillness.counted(9 * SECOND, received=5, pending=0)
    stillness.sent(10 * SECOND)
    assert not stillness.counted(10 * SECOND, received=5, pending=0)
    assert not stillness.counted(11 * SECOND, received=5, pending=0)
    assert stillness.counted(12 * SECOND, received=5, pending=0)


# What is recorded.


def image(stamp):
    message = Image(width=1, height=1, step=1, encoding="mono8", data=[stamp])
    message.header.stamp.sec = stamp
    return message


def stamps(path, topic):
    with Recording(path) as recording:
        if topic not in recording.topics:
            return []
        return [one.message.header.stamp.sec for one in recording.messages([topic])]


@pytest.fixture
def played(tmp_path):
    """Three images as a recording has them."""
    path = tmp_path / "played"
    with recorder(path, overwrite=False) as writing:
        for stamp in (1, 2, 3):
            writing.add("/camera", image(stamp), published=stamp)
    with Recording(path) as recording:
        yield list(recording.serialised(["/camera"]))


@pytest.mark.parametrize(("interrupted", "kept"), [(True, [1, 2, 3]), (False, [1, 2, 3, 1])])
def test_images_on_their_way_are_recorded_unless_it_is_interrupted(played, tmp_path, interrupted, kept):
    out = tmp_path / "out"
    origin = LabelOrigin({"name": "toytown"}, {"keep_fraction": 0.5}, {"start": None}, ("Cut off.",))
    with recorder(out, overwrite=False) as writing:
        for raw, stamp in zip(played, (10, None, 30), strict=True):
            writing.send("/image", raw, stamp)
        writing.answered(20)  # is none of them
        assert writing.images == 0
        writing.answered(10)
        assert writing.images == 1
        writing.send("/image", played[0], 40)
        writing.add("/labels", image(30))
        writing.answered(30)  # and the one before it, which cannot be read
        assert not out.exists()
        writing.finish(origin, interrupted)
    assert stamps(out, "/image") == kept and stamps(out, "/labels") == [30]
    with Recording(out) as recording:
        assert recording.cut is None and label_origin(recording) == origin


def test_a_recording_that_fails_leaves_what_was_there(played, tmp_path):
    out = tmp_path / "played"
    with pytest.raises(DatasetError, match="exists"), recorder(out, overwrite=False):
        pass
    with contextlib.suppress(KeyError), recorder(out, overwrite=True) as writing:
        writing.add("/camera", image(9))
        raise KeyError
    assert stamps(out, "/camera") == [1, 2, 3]
    assert [one.name for one in tmp_path.iterdir()] == ["played"]


# Documentation.


PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"


def test_every_parameter_is_documented_with_its_default():
    table = PAGE.read_text().partition("| parameter | default | meaning |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*?) ?\| .* \|$", table, re.M)
    documented = {
        name: yaml.safe_load(default.strip("`")) or ""
        for names, default in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    assert documented == {field.name: field.default or "" for field in fields(PlayerParameters)}
