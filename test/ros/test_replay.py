"""The player: when it begins, how fast it goes, what it says at the end, and its documented parameters."""

import re
import threading
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from diagnostic_msgs.msg import DiagnosticStatus

from activesam_ros.cli.live_evaluator import EvaluatorParameters
from activesam_ros.errors import EvaluationError
from activesam_ros.ros.replay import PlayerParameters, ReplayEnd, replay_end_from_msg, replay_end_to_msg
from activesam_ros.ros.replay_pacing import Pacing, Stillness, Surroundings, missing

from .fakes import PATIENCE


@pytest.mark.parametrize("notes", [(), ("It was cut off.", "Two were lost.")])
def test_the_end_is_read_as_it_was_told(notes):
    end = ReplayEnd(200, notes)
    message = replay_end_to_msg(end)
    assert replay_end_from_msg(message) == end
    assert message.level == (DiagnosticStatus.WARN if notes else DiagnosticStatus.OK)
    assert "200" in message.message


# Readiness.

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
    ("changes", "said"),
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


def test_the_slowest_listener_sets_the_pace():
    pacing = Pacing(["labels", "/evaluator"], most=1)
    sent(pacing, 10)
    pacing.answered("labels", 10)
    assert not pacing.wait_for_room(0)
    assert pacing.unanswered("labels") == 0
    assert pacing.unanswered("/evaluator") == 1
    pacing.answered("/evaluator", 10)
    assert pacing.wait_for_room(0)


def test_an_answer_to_a_later_image_is_one_to_those_before():
    pacing = Pacing(["labels"], most=3)
    sent(pacing, 10, 20, 30)
    pacing.answered("labels", 20)
    assert pacing.unanswered("labels") == 1
    pacing.answered("labels", 10)
    assert pacing.unanswered("labels") == 1


def test_an_answer_to_what_was_not_sent_is_none():
    pacing = Pacing(["labels"], most=3)
    sent(pacing, 10, 20)
    pacing.answered("labels", 15)
    assert pacing.unanswered("labels") == 2


def test_images_with_one_stamp_are_answered_one_by_one():
    pacing = Pacing(["labels"], most=3)
    sent(pacing, 0, 0)
    pacing.answered("labels", 0)
    assert pacing.unanswered("labels") == 1


def test_images_are_given_up():
    pacing = Pacing(["labels", "/evaluator"], most=2)
    sent(pacing, 10, 20)
    assert pacing.abandon("labels") == 2
    assert pacing.abandoned == 2
    assert pacing.unanswered("/evaluator") == 2
    assert pacing.abandon("labels") == 0


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


# Documentation.


PAGE = Path(__file__).parents[2] / "docs" / "live-evaluation.md"


def documented(title):
    """Default of every parameter in the table below a heading."""
    text = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)[1]
    table = text.partition("| parameter | default | meaning |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*?) ?\| .* \|$", table, re.M)
    return {
        name: yaml.safe_load(default.strip("`")) or ""
        for names, default in rows
        for name in re.findall(r"`(\w+)`", names)
    }


@pytest.mark.parametrize(
    ("title", "parameters"), [("The player", PlayerParameters), ("The evaluator", EvaluatorParameters)]
)
def test_every_parameter_is_documented_with_its_default(title, parameters):
    assert documented(title) == {field.name: field.default or "" for field in fields(parameters)}
