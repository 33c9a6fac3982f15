"""Requests of `~/segment` as they are read, and responses as they are filled."""

import math

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.srv", reason="the messages are not built; run make setup")

from activesam_ros.srv import Segment
from std_msgs.msg import Header

from activesam_ros.errors import ActiveSamError
from activesam_ros.ros.calls import Answer, Outcome
from activesam_ros.ros.segment_service import asked_of, response_of
from activesam_ros.settings import SegmenterSettings
from activesam_ros.vocabulary import MAX_PROMPTS, Vocabulary

from .fakes import FakeEncoded, FakeSegmenter


def asked(**fields):
    return asked_of(Segment.Request(**fields), SegmenterSettings())


def test_outcomes_are_those_of_the_interface():
    for outcome in Outcome:
        assert getattr(Segment.Response, outcome.name) == outcome


def test_an_image_alone_is_asked_as_the_stream_is():
    found = asked()
    assert (found.vocabulary, found.thresholds, found.timeout) == (None, {}, 30.0)


def test_words_and_thresholds_of_its_own():
    found = asked(
        vocabulary=["cup, mug", "table"],
        background_class="table",
        confidence_threshold=0.3,
        background_threshold=0.0,
        timeout=1.5,
    )
    assert found.vocabulary == Vocabulary.from_names(["cup, mug", "table"], "table")
    # As they were meant, not as single precision has them.
    assert found.thresholds == {"confidence_threshold": 0.3, "background_threshold": 0.0}
    assert found.timeout == 1.5


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"vocabulary": ["cup", "cup"]}, "both ask for 'cup'"),
        ({"vocabulary": [""]}, "class 0 has a blank name"),
        ({"vocabulary": ["cup"], "background_class": "table"}, "'table' is not in the vocabulary"),
        ({"vocabulary": [f"thing {n}" for n in range(MAX_PROMPTS + 1)]}, f"at most {MAX_PROMPTS}"),
        ({"background_class": "table"}, "no words of its own"),
        ({"confidence_threshold": 1.5}, "confidence_threshold is 1.5"),
        ({"background_threshold": math.nan}, "background_threshold is nan"),
        ({"timeout": 0.0}, "timeout is 0; expected seconds above 0"),
        ({"timeout": math.inf}, "timeout is inf"),
        ({"timeout": math.nan}, "timeout is nan"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(fields, said):
    with pytest.raises(ActiveSamError, match=said):
        asked(**fields)


def test_an_answer_has_the_header_of_the_image_and_all_that_its_ids_mean():
    request = Segment.Request()
    request.image.header = Header(frame_id="gripper camera")
    request.image.header.stamp.nanosec = 77
    vocabulary = Vocabulary.from_names(["cup, mug", "table"], "table")
    result = FakeSegmenter().decode(FakeEncoded(np.zeros((4, 6, 3), np.uint8), vocabulary))
    response = response_of(Answer(Outcome.LABELLED, result=result, revision=5), request, Segment.Response())
    assert response.success and (response.outcome, response.message) == (0, "")
    for part in (response.labels, response.confidence, response.vocabulary, response.active_classes):
        assert part.header == request.image.header
    assert (response.labels.encoding, response.labels.height, response.labels.step) == ("mono8", 4, 6)
    assert bytes(response.labels.data) == bytes([0, 0, 0, 255, 255, 255] * 4)
    assert bytes(response.confidence.data) == bytes([204, 204, 204, 0, 0, 0] * 4)
    assert [one.name for one in response.vocabulary.classes] == ["cup", "table"]
    assert (response.vocabulary.revision, response.vocabulary.background_id) == (5, 1)
    assert response.active_classes.vocabulary_revision == 5
    (only,) = response.active_classes.classes
    assert (only.name, only.area) == ("cup", 0.5)


def test_a_refusal_has_nothing_but_its_reason():
    response = response_of(Answer(Outcome.BUSY, "too many"), Segment.Request(), Segment.Response())
    assert response == Segment.Response(success=False, outcome=Segment.Response.BUSY, message="too many")
