"""Summaries of hand-made records, and that they equal one computation over all frames."""

from dataclasses import replace

import numpy as np
import pytest

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.metrics import Percentiles
from activesam_ros.evaluation.records import FrameRecord, TruthScores
from activesam_ros.evaluation.summary import Comparison, Decoded, Robustness, frame_scores, summarise

CLASSES = ("road", "car")


def scores(confusion, active=(0, 1), **more):
    return TruthScores(2, active, confusion, **more)


def record(index, method="active", corruption="", seconds=0.5, work=None, truth=None, **more):
    values = {"active": (0, 1), "presence": (0.5, 0.25), "pixels": (60, 40), "unlabeled": 0} | more
    return FrameRecord(
        index, index * 10, method, corruption, timings={"total": seconds}, work=work, truth=truth, **values
    )


def test_truth_by_hand():
    records = [
        record(0, truth=scores(((0, 0, 50), (1, 0, 50)), (0,), boundary=((0, 6, 8), (1, 0, 4)))),
        record(
            1,
            truth=scores(
                ((0, 0, 90), (1, 1, 8), (1, 2, 2)), boundary=((0, 6, 8), (1, 1, 4)), changed=3, compared=60
            ),
        ),
        record(2, truth=scores(((0, 0, 100),), changed=0, compared=90)),
    ]
    summary = summarise(records, CLASSES).summary("active")
    truth = summary.truth
    # Road: 240 right, 50 of car became road; car: 8 right of 60.
    assert (summary.frames, summary.labelled, summary.scored, summary.failed) == (3, 3, 3, 0)
    assert truth.mean_iou == pytest.approx((240 / 290 + 8 / 60) / 2)
    assert truth.pixel_accuracy == pytest.approx(248 / 300)
    assert truth.mean_accuracy == pytest.approx((1 + 8 / 60) / 2)
    assert truth.frequency_weighted_iou == pytest.approx(0.8 * 240 / 290 + 0.2 * 8 / 60)
    assert truth.boundary_iou == pytest.approx((12 / 16 + 1 / 8) / 2)
    assert truth.flicker == pytest.approx(3 / 150)
    assert truth.pixels == 300
    assert truth.counted_share is None, "the records have no size"
    assert truth.confusion == ((0, 0, 240), (1, 0, 50), (1, 1, 8), (1, 2, 2))
    road, car = truth.classes
    assert (road.name, road.truth_pixels, road.labelled_pixels) == ("road", 240, 290)
    assert (car.iou, car.accuracy, car.boundary_iou) == pytest.approx((8 / 60, 8 / 60, 1 / 8))
    assert truth.active_set.recall == pytest.approx(4 / 5)
    assert truth.active_set.classes[0].index == 1


def test_what_does_not_count_is_told():
    records = [
        record(0, width=10, height=10, truth=scores(((0, 0, 50),), unknown=((7, 10), (9, 30)))),
        record(1, width=20, height=5, truth=scores(((0, 0, 100),))),
        record(2, width=10, height=10, truth=scores(((0, 0, 75),), unknown=((7, 25),))),
        record(3, width=99, height=99),
    ]
    truth = summarise(records, CLASSES).summary("active").truth
    assert truth.counted_share == 225 / 300
    assert truth.unknown == ((7, 35), (9, 30))


def test_costs_by_hand():
    records = [
        record(
            0,
            seconds=0.5,
            work=1e12,
            work_split={"decode": 6e11, "preview": 4e11},
            latency=0.6,
            peak_memory=7,
        ),
        record(1, seconds=1.5, work=3e12, work_split={"decode": 3e12}, latency=1.6, peak_memory=9),
        FrameRecord(2, 20, "active", error="the image cannot be read"),
        record(3, seconds=1.0, work=2e12, work_split={"decode": 2.1e12}),
    ]
    summary = summarise(records).summary("active")
    assert (summary.frames, summary.labelled, summary.failed, summary.scored) == (4, 3, 1, 0)
    assert summary.errors == (("the image cannot be read", 1),)
    assert summary.truth is None
    assert summary.rate == 1
    assert summary.work == 2e12
    assert summary.work_split == pytest.approx({"decode": 1.9e12, "preview": 4e11 / 3})
    assert summary.peak_memory == 9
    assert summary.latency == Percentiles.of([0.6, 1.6])
    assert summary.timings == {"total": Percentiles.of([0.5, 1.5, 1.0])}
    assert summary.active_size == Percentiles.of([2, 2, 2])


def test_decoded_classes_by_hand():
    records = [
        record(0),
        record(1, active=(1,), presence=(0.75,), pixels=(5,)),
        record(2, active=None, presence=(), pixels=()),
    ]
    assert summarise(records).summaries[0].decoded == (Decoded(1, 2, 0.5, 45), Decoded(0, 1, 0.5, 60))
    assert summarise(records).summaries[0].active_size.count == 2


def test_agreement_without_truth():
    records = [record(0, agreement=0.5), record(1, agreement=1.0), record(2)]
    assert summarise(records).summary("active").agreement == 0.75


def test_differences_are_over_common_frames():
    good, bad = scores(((0, 0, 9), (1, 1, 1))), scores(((0, 0, 9), (1, 0, 1)))
    records = [
        record(0, seconds=1, work=4, truth=good),
        record(1, seconds=9, work=9, truth=bad),
        record(0, "paper", seconds=2, work=2, truth=bad),
        FrameRecord(1, 10, "paper", error="there is no memory"),
        record(2, "paper", truth=good),
    ]
    results = summarise(records, CLASSES)
    assert results.methods == ("active", "paper")
    assert results.summary("active").against_first is None
    found = results.summary("paper").against_first
    assert found == Comparison(frames=1, mean_iou=pytest.approx((9 / 10 + 0) / 2 - 1), rate=0.5, work=0.5)
    assert results.summary("paper").against_clean is None


def test_nothing_in_common():
    results = summarise([record(0), record(1, "paper")])
    assert results.summary("paper").against_first == Comparison(0, None, None, None)


def test_corruptions_fall_against_clean():
    good, bad = scores(((0, 0, 9), (1, 1, 1))), scores(((0, 0, 9), (1, 0, 1)))
    worst = scores(((0, 2, 9), (1, 2, 1)))
    records = [
        record(0, corruption="fog:10", truth=worst),
        record(0, corruption="fog:2", truth=bad),
        record(0, truth=good),
        record(0, "paper", truth=good),
    ]
    results = summarise(records, CLASSES)
    assert results.corruptions == ("", "fog:2", "fog:10")
    assert results.summary("active").against_clean is None
    assert results.summary("active", "fog:2").against_clean.mean_iou == pytest.approx(-0.55)
    assert results.summary("active", "fog:2").against_first is None
    assert results.summary("paper", "fog:2") is None
    (robust,) = results.robustness
    assert (robust.method, robust.mean_iou, robust.fall) == (
        "active",
        pytest.approx(0.225),
        pytest.approx(0.775),
    )


def test_no_robustness_where_a_corruption_is_not_done():
    records = [record(0, corruption="fog:1", truth=scores(((0, 0, 1),))), record(0, corruption="fog:2")]
    assert summarise(records, CLASSES).robustness == (Robustness("active", None, None),)


def test_what_was_asked_for_gives_the_order():
    records = [record(0, "paper"), record(0, "active"), record(0, "old"), record(0, "active", "fog:1")]
    results = summarise(records, methods=("active", "paper", "per-class"), corruptions=("",))
    assert [(each.method, each.corruption) for each in results.summaries] == [("active", ""), ("paper", "")]


def test_figures_of_all_frames_are_those_of_one_large_image():
    generator = np.random.default_rng(0)
    truth, guess = generator.integers(0, 2, (2, 6, 50))
    guess[:3] = truth[:3]
    records = []
    for index, (true, labels) in enumerate(zip(truth, guess, strict=True)):
        triples = tuple((a, b, int(np.sum((true == a) & (labels == b)))) for a in (0, 1) for b in (0, 1))
        records.append(record(index, truth=scores(triples)))
    found = summarise(records, CLASSES).summary("active").truth
    ious = [np.sum((truth == a) & (guess == a)) / np.sum((truth == a) | (guess == a)) for a in (0, 1)]
    assert found.mean_iou == pytest.approx(np.mean(ious))
    assert found.pixel_accuracy == pytest.approx(np.mean(truth == guess))


def test_order_of_records_does_not_matter():
    records = [record(index, truth=scores(((0, 0, index + 1),))) for index in range(5)]
    assert summarise(records, CLASSES) == summarise(records[::-1], CLASSES)


def test_frame_alone():
    frame = scores(((0, 0, 3), (0, 2, 1)), boundary=((0, 1, 4),))
    assert frame_scores(frame) == (0.75, 0.75, 0.25)
    assert frame_scores(replace(frame, confusion=(), boundary=())) == (None, None, None)


def test_records_of_another_matching_are_refused():
    with pytest.raises(EvaluationError, match=r"frame 4 .active. was scored with 2 classes; expected the 3"):
        summarise([record(4, truth=scores(((0, 0, 1),)))], ("road", "car", "sky"))


def test_nothing():
    results = summarise([])
    assert (results.methods, results.summaries, results.robustness) == ((), (), ())
