"""From label images to the published figures, against a computation that shares no code with it."""

import numpy as np
import pytest

from activesam_ros.datasets.class_map import ClassMap, match_classes
from activesam_ros.datasets.samples import Sample
from activesam_ros.evaluation.judge import Answer, FrameBefore, FrameJudge
from activesam_ros.evaluation.summary import summarise
from activesam_ros.results import ActiveClass
from activesam_ros.vocabulary import Vocabulary

# Ids 0, 5, 6, …: those of the first vocabulary that do not stay are not used again.
WORDS = ("road", "car", "sky", "tree", "house", "dog")
VOCABULARY = Vocabulary.from_names(["road", "a", "b", "c", "d"]).updated(WORDS)
# The truth has its own order, calls the dog something else, does not know houses, and knows a cat.
TRUTH_NAMES = {3: "sky", 7: "tree", 9: "road", 12: "car", 20: "puppy", 30: "cat"}
IGNORED = 255
UNKNOWN = 77
MATCHING = match_classes(VOCABULARY, ClassMap(TRUTH_NAMES, frozenset({IGNORED})), {"puppy": "dog"})
EVALUATED = ("road", "car", "sky", "tree", "dog")
TRUTH_ID = {"sky": 3, "tree": 7, "road": 9, "car": 12, "dog": 20}
LABEL_ID = dict(zip(VOCABULARY.names, VOCABULARY.class_ids, strict=True))
SIZE = (60, 80)
WIDTH = 2  # of the boundary regions: 2 % of a diagonal of 100


def frames(seed, count=8):
    """Truths of blocks that change slowly, labels that are mostly right, and active sets that miss classes."""
    generator = np.random.default_rng(seed)
    ids = [*TRUTH_NAMES, IGNORED, UNKNOWN]
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
    judge = FrameJudge(MATCHING)
    records, before = [], None
    for frame, labels, active in data:
        chosen = tuple(ActiveClass(LABEL_ID[name], name, 0.5, None, None) for name in active)
        records.append(judge.judge(frame, Answer(labels, 255, chosen), before, method="active"))
        before = FrameBefore(frame.truth, labels)
    truth = summarise(records, MATCHING.classes).summary("active").truth
    assert MATCHING.classes == EVALUATED
    assert truth.unknown == ((UNKNOWN, sum((frame.truth == UNKNOWN).sum() for frame, _, _ in data)),)
    for name, value in by_pixels(data).items():
        found = getattr(truth, name) if hasattr(truth, name) else getattr(truth.active_set, name)
        assert found == pytest.approx(value, abs=1e-12), name
    assert truth.active_set.recall < 1 and truth.flicker > 0, "there is something to measure"
