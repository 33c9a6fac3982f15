"""What the node tells is read as it was meant."""

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from activesam_ros.msg import ActiveClass, ActiveClasses
from std_msgs.msg import Header

from activesam_ros.ros.conversions import label_info_to_msg, vocabulary_to_msg
from activesam_ros.ros.told import active_of, class_map_of, nanoseconds, vocabulary_of
from activesam_ros.vocabulary import ClassSpec, Vocabulary


@pytest.mark.parametrize("background", [None, "sky"])
def test_a_vocabulary_comes_through_as_it_is(background):
    entries = [
        ClassSpec("road", ("road", "street"), (1, 127, 254)),
        ClassSpec("ground", ("grass", "sand"), members=("lawn", "beach")),
        ClassSpec("sky"),
    ]
    vocabulary = Vocabulary.from_entries(entries, background)
    assert vocabulary_of(vocabulary_to_msg(vocabulary, 3, Header())) == vocabulary


def test_an_edited_vocabulary_keeps_its_ids():
    vocabulary = Vocabulary.from_names(["road", "car", "sky"]).updated(["sky", "tree"])
    told = vocabulary_of(vocabulary_to_msg(vocabulary, 2, Header()))
    assert told.classes == vocabulary.classes
    assert told.class_ids == (2, 3)


def test_active_classes_are_read_in_their_order():
    message = ActiveClasses(
        classes=[
            ActiveClass(class_id=7, name="car", presence=0.5, area=0.25),
            ActiveClass(class_id=2, name="sky", presence=0.75, area=0.5),
        ]
    )
    assert [(one.class_id, one.name, one.presence) for one in active_of(message)] == [
        (7, "car", 0.5),
        (2, "sky", 0.75),
    ]


def test_a_label_info_is_a_class_map():
    message = label_info_to_msg(Vocabulary.from_names(["road", "sky"]), 0.3, Header())
    assert class_map_of(message).names == {0: "road", 1: "sky"}


def test_a_stamp_is_one_number():
    header = Header()
    header.stamp.sec, header.stamp.nanosec = 1_700_000_000, 7
    assert nanoseconds(header.stamp) == 1_700_000_000_000_000_007
