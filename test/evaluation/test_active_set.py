"""Recall, precision and cost of misses, against cases counted by hand and a computation on label images."""

import numpy as np
import pytest

from activesam_ros.evaluation.active_set import ClassRecall, active_set_scores
from activesam_ros.evaluation.records import TruthScores

# Two frames over three classes. The first misses class 2, whose 2 pixels became class 1; in the second everything is
# decoded, class 1 for nothing.
FRAMES = (
    TruthScores(3, (0, 1), ((0, 0, 300), (1, 1, 96), (2, 1, 2))),
    TruthScores(3, (0, 1, 2), ((0, 0, 60), (0, 3, 20), (2, 2, 20))),
)


def test_hand_counted():
    scores = active_set_scores(FRAMES)
    assert scores.recall == pytest.approx(4 / 5)  # 0, 1, 2 and 0, 2 are there; 2 was missed once
    assert scores.prominent_recall == 1  # the 2 pixels are less than 1 % of 398
    assert scores.precision == pytest.approx(4 / 5)  # 0, 1 and 0, 2 of five decoded
    assert scores.lost_share == pytest.approx(2 / 498)
    assert scores.classes == (ClassRecall(2, 2, 1, 2), ClassRecall(0, 2, 0, 0), ClassRecall(1, 1, 0, 0))
    assert scores.classes[0].recall == 0.5
    # With the missed pixels: 360/380, 96/98, 20/22; without: 360/380, 96/96, 20/20.
    assert scores.lost_iou == pytest.approx(((1 - 96 / 98) + (1 - 20 / 22)) / 3)


def test_a_few_pixels_make_a_decoded_class_right():
    assert active_set_scores(
        [TruthScores(3, (0, 1, 2), ((0, 0, 999), (1, 1, 1)))]
    ).precision == pytest.approx(2 / 3)


def test_a_class_that_is_missed_everywhere_leaves_the_mean_without_misses():
    scores = active_set_scores([TruthScores(2, (0,), ((0, 0, 50), (1, 0, 50)))])
    assert scores.recall == 0.5
    assert scores.lost_iou == pytest.approx(1 - (50 / 100 + 0) / 2)


def test_nothing_missed_costs_nothing():
    assert active_set_scores(FRAMES[1:]).lost_iou == 0
    assert active_set_scores(FRAMES[1:]).lost_share == 0


@pytest.mark.parametrize("frames", [(), (TruthScores(2, (), ()),), (TruthScores(2, None, ((0, 1, 9),)),)])
def test_nothing_known(frames):
    scores = active_set_scores(frames)
    assert (scores.recall, scores.prominent_recall, scores.precision) == (None, None, None)
    assert (scores.lost_share, scores.lost_iou, scores.classes) == (None, None, ())


def test_everything_missed():
    scores = active_set_scores([TruthScores(2, (), ((0, 2, 4), (1, 2, 4)))])
    assert (scores.recall, scores.precision, scores.lost_share, scores.lost_iou) == (0, None, 1, None)


def test_as_computed_on_label_images():
    generator = np.random.default_rng(1)
    classes = 6
    truths = generator.integers(0, classes, (5, 8, 9))
    actives = [sorted(generator.choice(classes, 3, replace=False).tolist()) for _ in truths]
    guesses = np.stack([generator.choice([*active, classes], truths.shape[1:]) for active in actives])
    frames = []
    for truth, guess, active in zip(truths, guesses, actives, strict=True):
        pairs, counts = np.unique(np.stack([truth.ravel(), guess.ravel()]), axis=1, return_counts=True)
        triples = zip(*pairs.tolist(), counts.tolist(), strict=True)
        frames.append(TruthScores(classes, tuple(active), tuple(triples)))
    scores = active_set_scores(frames)

    def mean_iou(keep):
        found = []
        for index in range(classes):
            union = np.sum(((truths == index) | (guesses == index)) & keep)
            if union:
                found.append(np.sum((truths == index) & (guesses == index) & keep) / union)
        return np.mean(found)

    shown = [(at, index) for at in range(5) for index in range(classes) if (truths[at] == index).any()]
    hits = [(at, index) for at, index in shown if index in actives[at]]
    reachable = np.stack([np.isin(truth, active) for truth, active in zip(truths, actives, strict=True)])
    assert scores.recall == pytest.approx(len(hits) / len(shown))
    assert scores.precision == pytest.approx(len(hits) / sum(map(len, actives)))
    assert scores.lost_share == pytest.approx(1 - reachable.mean())
    assert scores.lost_iou == pytest.approx(mean_iou(reachable) - mean_iou(np.ones_like(reachable)))
