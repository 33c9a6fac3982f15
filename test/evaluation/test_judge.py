"""The judge on label images that can be counted by hand."""

import numpy as np
import pytest

from activesam_ros.datasets.class_map import ClassMap, match_classes
from activesam_ros.datasets.samples import Sample
from activesam_ros.evaluation.judge import Answer, Cost, FrameBefore, FrameJudge
from activesam_ros.evaluation.records import FrameRecord
from activesam_ros.results import ActiveClass, SegmentationResult
from activesam_ros.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["road", "car", "sky", "unicorn"])


# Sky and unicorn are not evaluated, and neither is what the truth calls a tree.
PAIRS = match_classes(
    VOCABULARY, ClassMap({10: "road", 20: "automobile", 30: "tree"}, frozenset({0})), {"automobile": "car"}
)


def frame(**known):
    return Sample(**{"index": 3, "stamp": 99, "rgb": None} | known)


def active(*ids):
    return tuple(ActiveClass(number, VOCABULARY.names[number], 0.5, None, None) for number in ids)


TRUTH = np.array([[10, 10, 20], [20, 0, 10]], np.uint8)
LABELS = np.array([[0, 0, 0], [255, 1, 2]], np.uint8)
ANSWER = Answer(LABELS, 255, active(0, 3), {"total": 0.5})


def test_every_field_of_a_scored_frame():
    before = FrameBefore(
        np.array([[10, 20, 20], [20, 0, 10]], np.uint8), np.array([[1, 1, 0], [1, 0, 2]], np.uint8)
    )
    cost = Cost(latency=0.7, work=3e9, work_split={"decode": 2e9, "encode": 1e9}, peak_memory=5)
    record = FrameJudge(PAIRS).judge(
        frame(truth=TRUTH),
        ANSWER,
        before,
        method="active",
        corruption="fog:2",
        reference=LABELS + 0,
        cost=cost,
    )
    assert (record.index, record.stamp, record.method, record.corruption, record.error) == (
        3,
        99,
        "active",
        "fog:2",
        None,
    )
    assert (record.width, record.height) == (3, 2)
    assert (record.active, record.presence, record.pixels, record.unlabeled) == (
        (0, 3),
        (0.5, 0.5),
        (3, 0),
        1,
    )
    assert (record.latency, record.work, record.peak_memory) == (0.7, 3e9, 5)
    assert record.work_split == {"decode": 2e9, "encode": 1e9} and record.timings == {"total": 0.5}
    assert record.agreement == 1
    scores = record.truth
    assert (scores.classes, scores.active) == (2, (0,)), "the unicorn is not evaluated"
    assert scores.confusion == ((0, 0, 2), (0, 2, 1), (1, 0, 1), (1, 2, 1)), "the truth 0 does not count"
    assert scores.missed == (1,)
    assert scores.boundary == ((0, 2, 4), (1, 0, 2)), "everything is at an edge"
    assert (scores.changed, scores.compared) == (2, 4)
    assert scores.unknown == ()
    assert FrameRecord.from_json(record.to_json()) == record


def test_a_result_of_the_segmenter_is_an_answer():
    result = SegmentationResult(
        LABELS, 255, np.ones(LABELS.shape, np.float32), active(0, 1), None, (0, 1), {"total": 1.0}, VOCABULARY
    )
    record = FrameJudge(PAIRS).judge(frame(truth=TRUTH), result, method="active")
    assert record.active == (0, 1)
    assert record.pixels == (3, 1), "counted on the labels"
    assert record.truth.missed == ()
    assert (record.truth.changed, record.truth.compared) == (None, None)


def test_without_truth_there_is_agreement():
    other = LABELS.copy()
    other[0, 0] = 2
    for judge, sample in ((FrameJudge(None), frame(truth=TRUTH)), (FrameJudge(PAIRS), frame())):
        record = judge.judge(sample, ANSWER, method="active", reference=other)
        assert record.truth is None
        assert record.agreement == pytest.approx(5 / 6)
        assert record.active == (0, 3)


def test_it_may_not_be_known_what_was_decoded():
    record = FrameJudge(PAIRS).judge(frame(truth=TRUTH), Answer(LABELS, 255), method="live")
    assert record.active is None and record.truth.active is None
    assert record.truth.missed == ()
    assert FrameRecord.from_json(record.to_json()) == record


def test_labels_without_a_readable_truth_keep_the_error():
    record = FrameJudge(PAIRS).judge(
        frame(error="the truth of frame 3 cannot be read"), ANSWER, method="active"
    )
    assert record.error == "the truth of frame 3 cannot be read"
    assert record.truth is None and record.active == (0, 3)


@pytest.mark.parametrize("truth", [None, np.zeros((5, 5), np.uint8)])
def test_no_flicker_against_another_size_or_no_truth(truth):
    before = FrameBefore(truth, LABELS)
    record = FrameJudge(PAIRS).judge(frame(truth=TRUTH), ANSWER, before, method="active")
    assert record.truth.compared is None


def test_boundary_can_be_left_out():
    record = FrameJudge(PAIRS, boundary=False).judge(frame(truth=TRUTH), ANSWER, method="active")
    assert record.truth.boundary == () and record.truth.confusion


def test_unknown_ids_of_the_truth_are_counted():
    truth = np.array([[10, 41, 40], [30, 40, 255]], np.uint8)
    scores = FrameJudge(PAIRS).judge(frame(truth=truth), ANSWER, method="active").truth
    assert scores.unknown == ((40, 2), (41, 1)), "30 has a name, and 255 is no class by custom"
    assert scores.counted == 1


def test_failed():
    sample = frame(rgb=np.zeros((4, 6, 3), np.uint8))
    record = FrameJudge(None).failed(sample, "there is no memory", method="paper", corruption="fog:1")
    assert record == FrameRecord(3, 99, "paper", "fog:1", "there is no memory", width=6, height=4)
    assert FrameJudge(None).failed(frame(), "unreadable", method="paper").width is None


def test_sizes_must_agree():
    judge = FrameJudge(PAIRS)
    with pytest.raises(ValueError, match="one size"):
        judge.judge(frame(truth=np.zeros((9, 9), np.uint8)), ANSWER, method="active")
    with pytest.raises(ValueError, match="one size"):
        judge.judge(frame(truth=TRUTH), ANSWER, method="active", reference=np.zeros((9, 9), np.uint8))
