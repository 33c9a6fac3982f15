"""When the names behind the ids are told, and what stamp they carry."""

import threading
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from rclpy.qos import DurabilityPolicy
from std_msgs.msg import Header

from activesam_ros.configuration import first_configuration
from activesam_ros.ros.announcer import Announcer
from activesam_ros.vocabulary import Vocabulary

from .fakes import PATIENCE, FakeSegmenter, in_force
from .recording import RecordingNode


def serving(revision, *names, threshold=0.25):
    given = {"vocabulary": names or ("road",), "confidence_threshold": threshold, "background_threshold": 0.0}
    configuration = replace(first_configuration(given), revision=revision)
    return in_force(FakeSegmenter(configuration.settings), configuration)


def header(seconds, nanoseconds=0):
    made = Header(frame_id=f"camera {seconds}")
    made.stamp.sec, made.stamp.nanosec = seconds, nanoseconds
    return made


@pytest.fixture
def node():
    return RecordingNode()


@pytest.fixture
def announcer(node):
    return Announcer(node)


@pytest.fixture
def stamps(node):
    """Stamps of what was told since the last call, by topic; None where nothing was."""
    seen = [0]

    def since():
        told = node.published[seen[0] :]
        seen[0] = len(node.published)
        both = {topic: (message.header.stamp.sec, message.header.stamp.nanosec) for topic, message in told}
        assert len(both) == len(told)
        # The picture belongs to the words.
        assert both.get("legend") == both.get("vocabulary")
        return both.get("label_info"), both.get("vocabulary")

    return since


def test_all_are_kept_for_who_comes_late(announcer, node):
    profiles = [node.publishers[topic].profile for topic in ("label_info", "vocabulary", "legend")]
    assert [one.durability for one in profiles] == 3 * [DurabilityPolicy.TRANSIENT_LOCAL]


def test_names_come_before_the_first_labels_of_a_revision_and_once(announcer, node):
    announcer.before([header(1)], serving(1, "road"))
    announcer.before([header(2)], serving(1, "road"))
    announcer.before([header(3)], serving(2, "sky", "car"))
    assert node.topics() == 2 * ["label_info", "vocabulary", "legend"]
    assert [one.header for one in node.messages("vocabulary")] == [header(1), header(3)]
    assert [one.revision for one in node.messages("vocabulary")] == [1, 2]
    infos = node.messages("label_info")
    assert [one.header for one in infos] == [header(1), header(3)]
    assert [[entry.class_name for entry in one.class_map] for one in infos] == [["road"], ["sky", "car"]]
    assert [one.threshold for one in infos] == [0.25, 0.25]


def test_of_several_cameras_the_earliest_image_dates_the_names(announcer, stamps):
    announcer.before([header(5, 300), header(5, 100), header(5, 200)], serving(1))
    assert stamps() == ((5, 100), (5, 100))
    announcer.before([header(5, 400), header(5, 100)], serving(1))
    assert stamps() == (None, None)


def test_another_threshold_is_announced_without_another_vocabulary(announcer, node, stamps):
    announcer.before([header(1)], serving(1, threshold=0.25))
    assert stamps() == ((1, 0), (1, 0))
    announcer.before([header(2)], serving(1, threshold=0.75))
    assert stamps() == ((2, 0), None)
    announcer.ahead(serving(1, threshold=0.5))
    assert stamps() == ((2, 1), None)
    assert [one.threshold for one in node.messages("label_info")] == [0.25, 0.75, 0.5]


def test_before_any_image_the_names_hold_from_the_start_of_time(announcer, stamps):
    announcer.ahead(serving(1))
    assert stamps() == ((0, 0), (0, 0))
    announcer.ahead(serving(1))
    announcer.before([header(0)], serving(1))
    announcer.before([header(7)], serving(1))
    assert stamps() == (None, None)


@pytest.mark.parametrize(("newest", "told"), [((7, 0), (7, 1)), ((7, 999_999_999), (8, 0)), ((0, 0), (0, 1))])
def test_ahead_of_an_image_new_names_hold_from_just_after_the_newest(announcer, stamps, newest, told):
    announcer.before([header(0), header(*newest)], serving(1))
    stamps()
    announcer.ahead(serving(2))
    assert stamps() == (told, told)
    announcer.before([header(*told)], serving(2))
    assert stamps() == (None, None)


def test_stamps_that_jump_back_announce_everything_again(announcer, stamps):
    announcer.before([header(50)], serving(1))
    announcer.before([header(60)], serving(1))
    stamps()
    # The announcement of 50 still holds for 55, but not for what is before it.
    announcer.before([header(55)], serving(1))
    assert stamps() == (None, None)
    announcer.before([header(49, 999_999_999)], serving(1))
    assert stamps() == 2 * ((49, 999_999_999),)
    announcer.before([header(50)], serving(1))
    assert stamps() == (None, None)
    announcer.before([header(3)], serving(1, threshold=0.5))
    assert stamps() == ((3, 0), (3, 0))
    # What comes ahead goes by the new time.
    announcer.ahead(serving(2))
    assert stamps() == ((3, 1), (3, 1))


def test_the_legend_shows_the_colours_of_the_words_in_force(announcer, node):
    announcer.ahead(serving(1, "road", "sky"))
    announcer.before([header(2)], serving(2, "car", "dragon"))
    for message, names in zip(node.messages("legend"), (("road", "sky"), ("car", "dragon")), strict=True):
        assert message.encoding == "rgb8"
        pixels = np.asarray(message.data).reshape(message.height, message.width, 3)
        seen = {tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()}
        for name in ("road", "sky", "car", "dragon"):
            assert (Vocabulary.from_names([name]).colours[0] in seen) is (name in names)


def test_who_comes_to_look_sees_the_legend_without_asking_for_the_past(announcer, node):
    node.subscribers["legend"] = 1
    announcer.show_again()
    assert node.topics() == []  # there is none yet
    announcer.ahead(serving(1, "road"))
    announcer.show_again()
    assert len(node.messages("legend")) == 1
    node.subscribers["legend"] = 2
    announcer.show_again()
    announcer.show_again()
    first, again = node.messages("legend")
    assert again is first
    node.subscribers["legend"] = 0
    announcer.show_again()
    node.subscribers["legend"] = 1
    announcer.show_again()
    assert len(node.messages("legend")) == 3


def test_a_legend_that_is_shown_again_never_comes_after_a_newer_one(announcer, node):
    announcer.ahead(serving(1, "road"))
    old = node.messages("legend")[0]
    publisher = node.publishers["legend"]
    publish = publisher.publish
    newer = threading.Thread(target=announcer.ahead, args=(serving(2, "sky"),), daemon=True)

    def slowly(message):
        publisher.publish = publish
        newer.start()
        newer.join(0.3)  # long enough to overtake, if nothing holds it back
        publish(message)

    publisher.publish = slowly
    node.subscribers["legend"] = 1
    announcer.show_again()
    newer.join(PATIENCE)
    legends = node.messages("legend")
    assert len(legends) == 3 and legends[1] is old and legends[2] is not old
