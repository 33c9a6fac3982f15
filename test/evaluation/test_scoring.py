"""Scores of frames, on label images that can be counted by hand and against a computation that shares no code."""

from types import SimpleNamespace

import numpy as np
import pytest

from activesam_ros.datasets.class_map import ClassMap, match_classes
from activesam_ros.datasets.samples import Sample
from activesam_ros.evaluation.records import FrameRecord
from activesam_ros.evaluation.scoring import (
    FrameCost,
    FrameLabels,
    PreviousFrame,
    RunningScore,
    failed_frame,
    score_frame,
)
from activesam_ros.evaluation.summary import summarise
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
ANSWER = FrameLabels(LABELS, 255, active(0, 3), {"total": 0.5})


def test_every_field_of_a_scored_frame():
    before = PreviousFrame(
        np.array([[10, 20, 20], [20, 0, 10]], np.uint8), np.array([[1, 1, 0], [1, 0, 2]], np.uint8)
    )
    cost = FrameCost(latency=0.7, work=3e9, work_split={"decode": 2e9, "encode": 1e9}, peak_memory=5)
    record = score_frame(
        frame(truth=TRUTH),
        ANSWER,
        PAIRS,
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
    record = score_frame(frame(truth=TRUTH), result, PAIRS, method="active")
    assert record.active == (0, 1)
    assert record.pixels == (3, 1), "counted on the labels"
    assert record.truth.missed == ()
    assert (record.truth.changed, record.truth.compared) == (None, None)


def test_without_truth_there_is_agreement():
    other = LABELS.copy()
    other[0, 0] = 2
    for matching, sample in ((None, frame(truth=TRUTH)), (PAIRS, frame())):
        record = score_frame(sample, ANSWER, matching, method="active", reference=other)
        assert record.truth is None
        assert record.agreement == pytest.approx(5 / 6)
        assert record.active == (0, 3)


def test_it_may_not_be_known_what_was_decoded():
    record = score_frame(frame(truth=TRUTH), FrameLabels(LABELS, 255), PAIRS, method="live")
    assert record.active is None and record.truth.active is None
    assert record.truth.missed == ()
    assert FrameRecord.from_json(record.to_json()) == record


def test_labels_without_a_readable_truth_keep_the_error():
    record = score_frame(frame(error="the truth of frame 3 cannot be read"), ANSWER, PAIRS, method="active")
    assert record.error == "the truth of frame 3 cannot be read"
    assert record.truth is None and record.active == (0, 3)


@pytest.mark.parametrize("truth", [None, np.zeros((5, 5), np.uint8)])
def test_no_flicker_against_another_size_or_no_truth(truth):
    before = PreviousFrame(truth, LABELS)
    record = score_frame(frame(truth=TRUTH), ANSWER, PAIRS, before, method="active")
    assert record.truth.compared is None


def test_unknown_ids_of_the_truth_are_counted():
    truth = np.array([[10, 41, 40], [30, 40, 255]], np.uint8)
    scores = score_frame(frame(truth=truth), ANSWER, PAIRS, method="active").truth
    assert scores.unknown == ((40, 2), (41, 1)), "30 has a name, and 255 is no class by custom"
    assert scores.counted == 1


def test_failed():
    sample = frame(rgb=np.zeros((4, 6, 3), np.uint8))
    record = failed_frame(sample, "there is no memory", method="paper", corruption="fog:1")
    assert record == FrameRecord(3, 99, "paper", "fog:1", "there is no memory", width=6, height=4)
    assert failed_frame(frame(), "unreadable", method="paper").width is None


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="one size"):
        score_frame(frame(truth=np.zeros((9, 9), np.uint8)), ANSWER, PAIRS, method="active")
    with pytest.raises(ValueError, match="one size"):
        score_frame(frame(truth=TRUTH), ANSWER, PAIRS, method="active", reference=np.zeros((9, 9), np.uint8))


# Ids 0, 5, 6, …: those of the first vocabulary that do not stay are not used again.
WORDS = ("road", "car", "sky", "tree", "house", "dog")
EDITED = Vocabulary.from_names(["road", "a", "b", "c", "d"]).updated(WORDS)
# The truth has its own order, calls the dog something else, does not know houses, and knows a cat.
NAMES = {3: "sky", 7: "tree", 9: "road", 12: "car", 20: "puppy", 30: "cat"}
IGNORED = 255
UNKNOWN = 77
EDITED_PAIRS = match_classes(EDITED, ClassMap(NAMES, frozenset({IGNORED})), {"puppy": "dog"})
EVALUATED = ("road", "car", "sky", "tree", "dog")
TRUTH_ID = {"sky": 3, "tree": 7, "road": 9, "car": 12, "dog": 20}
LABEL_ID = dict(zip(EDITED.names, EDITED.class_ids, strict=True))
SIZE = (60, 80)
WIDTH = 2  # of the boundary regions: 2 % of a diagonal of 100


def frames(seed, count=8):
    """Truths of blocks that change slowly, labels that are mostly right, and active sets that miss classes."""
    generator = np.random.default_rng(seed)
    ids = [*NAMES, IGNORED, UNKNOWN]
    right = {TRUTH_ID[name]: LABEL_ID[name] for name in EVALUATED}
    blocks = generator.choice(ids, (6, 8))
    for index in range(count):
        blocks[generator.integers(6), generator.integers(8)] = generator.choice(ids)
        truth = np.kron(blocks, np.ones((10, 10))).astype(np.uint8)
        active = sorted(generator.choice(WORDS, 4, replace=False).tolist(), key=WORDS.index)
        noise = generator.choice([*(LABEL_ID[name] for name in active), 255], SIZE)
        labels = np.vectorize(lambda number: right.get(number, 255))(truth)
        keep = np.isin(labels, [LABEL_ID[name] for name in active]) & (generator.random(SIZE) < 0.8)
        yield Sample(index, index, None, truth), np.where(keep, labels, noise).astype(np.uint8), active


def by_pixels(data):
    """Every figure from sets of pixels."""
    truth = np.stack([frame.truth for frame, _, _ in data])
    labels = np.stack([each for _, each, _ in data])
    counts = np.isin(truth, list(TRUTH_ID.values()))
    reachable = np.zeros_like(counts)
    for at, (_, _, active) in enumerate(data):
        reachable[at] = np.isin(truth[at], [TRUTH_ID[name] for name in active if name in TRUTH_ID])

    def ious(where):
        found = []
        for name in EVALUATED:
            true, guess = (truth == TRUTH_ID[name]) & where, (labels == LABEL_ID[name]) & where
            if (true | guess).any():
                found.append((true & guess).sum() / (true | guess).sum())
        return np.array(found)

    def outline(mask):
        padded = np.pad(mask, ((0, 0), (WIDTH, WIDTH), (WIDTH, WIDTH)))
        inner = np.ones_like(mask)
        for down in range(2 * WIDTH + 1):
            for right in range(2 * WIDTH + 1):
                inner &= padded[:, down : down + SIZE[0], right : right + SIZE[1]]
        return mask & ~inner

    true = [(truth == TRUTH_ID[name]) for name in EVALUATED]
    guess = [(labels == LABEL_ID[name]) & counts for name in EVALUATED]
    hits = [(a & b).sum() for a, b in zip(true, guess, strict=True)]
    sizes = [a.sum() for a in true]
    edges = [(outline(a), outline(b)) for a, b in zip(true, guess, strict=True)]
    steady = (truth[1:] == truth[:-1]) & counts[1:]
    shown = [
        (at, name) for at in range(len(data)) for name in EVALUATED if (truth[at] == TRUTH_ID[name]).any()
    ]
    large = [
        (at, name) for at, name in shown if (truth[at] == TRUTH_ID[name]).sum() >= 0.01 * counts[at].sum()
    ]
    decoded = [(at, name) for at, (_, _, active) in enumerate(data) for name in active if name in EVALUATED]
    return {
        "mean_iou": ious(counts).mean(),
        "pixel_accuracy": sum(hits) / counts.sum(),
        "mean_accuracy": np.mean(np.divide(hits, sizes)),
        "frequency_weighted_iou": np.dot(ious(counts), sizes) / sum(sizes),
        "boundary_iou": np.mean([(a & b).sum() / (a | b).sum() for a, b in edges]),
        "flicker": (labels[1:] != labels[:-1])[steady].mean(),
        "pixels": counts.sum(),
        "counted_share": counts.mean(),
        "recall": len({*shown} & {*decoded}) / len(shown),
        "prominent_recall": len({*large} & {*decoded}) / len(large),
        "precision": len({*shown} & {*decoded}) / len(decoded),
        "lost_share": 1 - reachable.sum() / counts.sum(),
        "lost_iou": ious(reachable).mean() - ious(counts).mean(),
    }


@pytest.mark.parametrize("seed", range(4))
def test_figures_equal_those_of_sets_of_pixels(seed):
    data = list(frames(seed))
    records, before = [], None
    for frame, labels, active in data:
        chosen = tuple(ActiveClass(LABEL_ID[name], name, 0.5, None, None) for name in active)
        records.append(
            score_frame(frame, FrameLabels(labels, 255, chosen), EDITED_PAIRS, before, method="active")
        )
        before = PreviousFrame(frame.truth, labels)
    truth = summarise(records, EDITED_PAIRS.classes).summary("active").truth
    assert EDITED_PAIRS.classes == EVALUATED
    assert truth.unknown == ((UNKNOWN, sum((frame.truth == UNKNOWN).sum() for frame, _, _ in data)),)
    for name, value in by_pixels(data).items():
        found = getattr(truth, name) if hasattr(truth, name) else getattr(truth.active_set, name)
        assert found == pytest.approx(value, abs=1e-12), name
    assert truth.active_set.recall < 1 and truth.flicker > 0, "there is something to measure"


def test_a_running_score_takes_the_truth_that_is_nearest_and_near():
    def message(pixels):
        height, width = pixels.shape
        return SimpleNamespace(
            height=height, width=width, step=width, encoding="mono8", is_bigendian=0, data=pixels.reshape(-1)
        )

    pairs = match_classes(VOCABULARY, ClassMap({1: "road", 2: "car"}))
    right, wrong = np.array([[0, 1], [1, 0]], np.uint8), np.array([[1, 0], [1, 0]], np.uint8)
    running = RunningScore(pairs, tolerance=5)
    running.add_truth(10, message(right + 1))
    running.add_truth(20, message(wrong + 1))
    running.add_labels(28, message(right))  # 8 from any truth
    assert running.mean_iou is None
    running.add_truth(30, message(right + 1))
    running.add_truth(33, message(wrong + 1))
    running.add_labels(31, message(right))
    assert running.mean_iou == 1
    running.add_labels(32, message(right[:1]))  # of another size
    running.add_labels(33, SimpleNamespace(**{**vars(message(right)), "encoding": "rgb8"}))
    assert running.mean_iou == 1
    running.add_labels(33, message(right))
    # Of 8 true pixels 6 are right: 3 of 5 of each class.
    assert running.mean_iou == pytest.approx(3 / 5)
