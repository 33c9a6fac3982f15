"""Tuning of a vocabulary on the frames of a recording: read them, ask, choose on one half and judge on the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from activesam_ros.datasets.class_map import NOT_COUNTED, class_map_of, match_classes
from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import SampleReader, default_image_topic
from activesam_ros.errors import EvaluationError, VocabularyError
from activesam_ros.evaluation.metrics import ConfusionMatrix
from activesam_ros.tuning.doubts import Doubts, find_doubts
from activesam_ros.tuning.evidence import collect
from activesam_ros.tuning.phrases import Phrases, gather_phrases, read_phrases
from activesam_ros.tuning.search import Choice, choose
from activesam_ros.vocabulary import Vocabulary
from activesam_ros.vocabulary.files import vocabulary_yaml
from activesam_ros.vocabulary.vocabulary import ClassSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from activesam_ros.datasets.class_map import ClassMatching
    from activesam_ros.segmenter import ActiveSegmenter

# Neighbouring frames are alike, so that halves are made of stretches of the recording, not of every other frame.
_STRETCHES = 8
_RESAMPLES = 1000


@dataclass(frozen=True)
class TuneConfig:
    """What to tune on.

    Attributes:
        recording: path of the recording.
        labels_topic: of the true labels; None: there are none, and only doubts are found.
        image_topic: None: the recording's, if there is one.
        class_map: what the true ids mean, as `activesam-evaluate --classes`; None: as the recording says.
        frames: use so many, spread over the recording.
        most_phrases: a class gets at most so many.
        phrases: file with phrases to try; None: none.
        wordnet: whether to try WordNet's.
    """

    recording: Path
    labels_topic: str | None = None
    image_topic: str | None = None
    class_map: str | None = None
    frames: int = 40
    most_phrases: int = 3
    phrases: Path | None = None
    wordnet: bool = True


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds that hold 95 % of the resampled sets of frames."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """How both vocabularies label the frames that had no part in the choice, by the segmenter itself.

    Attributes:
        frames: how many.
        before, after, gain: mIoU; the gain with its own interval, since both label the same frames.
        classes: for each evaluated class its name and its IoU before and after; NaN where it does not occur.
    """

    frames: int
    before: Interval
    after: Interval
    gain: Interval
    classes: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class Tuned:
    """The result; `choice` and `verdict` are None without truth, and `vocabulary` is the given one."""

    given: Vocabulary
    vocabulary: Vocabulary
    threshold: float
    doubts: Doubts
    phrases: Phrases
    choice: Choice | None = None
    verdict: Verdict | None = None


def tune(
    segmenter: ActiveSegmenter,
    vocabulary: Vocabulary,
    config: TuneConfig,
    progress: Callable[[str, int, int], object] = lambda what, done, total: None,
) -> Tuned:
    """Choose phrases for the classes of a vocabulary on a recording.

    Args:
        segmenter: over the model; its `background_threshold` is the one at the start.
        vocabulary: the classes.
        config: what to tune on.
        progress: is called with what is done, how much of it, and of how much.

    Raises:
        DatasetError, EvaluationError: the recording cannot be read, or its frames do not suffice.
        VocabularyError: the file of phrases holds none, or phrases for a class that there is not; or the vocabulary has
            groups, whose members would be lost.
    """
    if groups := [one.name for one in vocabulary.classes if one.members]:
        raise VocabularyError(
            f"{groups[0]!r} is a group, whose classes cannot be tuned one by one; take the groups out of the file and "
            "put them back afterwards"
        )
    by_class, shared = read_phrases(config.phrases) if config.phrases else ({}, ())
    labelled = config.labels_topic is not None
    phrases = gather_phrases(vocabulary, by_class, shared, config.wordnet)
    if not labelled:  # nothing is chosen, so that only what the vocabulary has is asked for
        count = len(dict.fromkeys(one for found in phrases.own for one in found))
        phrases = Phrases(phrases.texts[:count], phrases.own, phrases.own)
    images, truths, matching = _read(vocabulary, config)
    done = iter(range(1, len(images) + 1))
    evidence = collect(
        segmenter,
        phrases.texts,
        images,
        truths if labelled else None,
        lambda: progress("asking the frames", next(done), len(images)),
    )
    doubts = find_doubts(vocabulary, phrases.own, evidence, segmenter.encode(vocabulary))
    settings = segmenter.settings
    if matching is None:
        return Tuned(vocabulary, vocabulary, settings.background_threshold, doubts, phrases)
    evaluated = sorted({_position(vocabulary, class_id) for class_id in matching.label_index})
    stretch = np.arange(len(images)) * _STRETCHES // len(images)
    choosing, judging = np.flatnonzero(stretch % 2 == 0), np.flatnonzero(stretch % 2 == 1)
    choice = choose(
        evidence.of(choosing),
        phrases,
        evaluated,
        config.most_phrases,
        settings.margin_exponent,
        settings.background_threshold,
        lambda: progress("choosing", 0, 0),
    )
    tuned = _vocabulary(vocabulary, phrases, choice)
    judge = [(images[index], truths[index]) for index in judging.tolist()]
    counts = [
        _label(segmenter, one, threshold, judge, evaluated, progress)
        for one, threshold in ((vocabulary, settings.background_threshold), (tuned, choice.threshold))
    ]
    names = [vocabulary.names[one] for one in evaluated]
    return Tuned(vocabulary, tuned, choice.threshold, doubts, phrases, choice, _verdict(names, *counts))


def as_yaml(tuned: Tuned) -> str:
    """Return the tuned vocabulary as a vocabulary file."""
    description = "Tuned by activesam-vocabulary tune."
    if tuned.verdict:
        gain = tuned.verdict.gain
        description += (
            f" mIoU on {tuned.verdict.frames} frames that had no part in the choice: {tuned.verdict.before.value:.3f} "
            f"before, {tuned.verdict.after.value:.3f} after; gain {gain.low:+.3f} to {gain.high:+.3f} (95 %)."
        )
    return vocabulary_yaml(tuned.vocabulary, tuned.threshold, description)


def _read(
    vocabulary: Vocabulary, config: TuneConfig
) -> tuple[list[np.ndarray], list[np.ndarray], ClassMatching | None]:
    """Return images and, for each, the index of the class of each pixel; the matching is None without truth."""
    with Recording(config.recording) as recording:
        topic = config.image_topic or default_image_topic(recording, config.labels_topic)
        matching = None
        if config.labels_topic is not None:
            class_map = class_map_of(recording, config.labels_topic, config.class_map)
            matching = match_classes(vocabulary, class_map)
        samples = SampleReader(recording, topic, config.labels_topic)
        usable = samples.labelled if matching else range(len(samples))
        spread = np.linspace(0, len(usable) - 1, min(config.frames, len(usable))).round().astype(int)
        samples.take_only(usable[place] for place in spread.tolist())
        images, truths = [], []
        for sample in samples:
            if sample.rgb is None or (matching is not None and sample.truth is None):
                continue
            images.append(sample.rgb)
            if matching is not None and sample.truth is not None:
                truths.append(_indices(vocabulary, matching, sample.truth))
    least = _STRETCHES if matching else 1
    if len(images) < least:
        raise EvaluationError(
            f"{config.recording} has {len(images)} frames that can be read{' with labels' if matching else ''}; "
            f"expected at least {least}"
        )
    return images, truths, matching


def _position(vocabulary: Vocabulary, class_id: int) -> int:
    return vocabulary.class_ids.index(class_id)


def _indices(vocabulary: Vocabulary, matching: ClassMatching, truth: np.ndarray) -> np.ndarray:
    """Turn true ids into indices of classes of the vocabulary."""
    position = np.full(len(matching.classes) + 1, NOT_COUNTED, np.int16)
    for class_id, index in matching.label_index.items():
        position[index] = _position(vocabulary, class_id)
    return position[matching.truth_of(truth)]


def _vocabulary(given: Vocabulary, phrases: Phrases, choice: Choice) -> Vocabulary:
    """Return the classes with the chosen phrases; name, id and colour stay."""
    specs = [
        ClassSpec(one.name, tuple(phrases.texts[index] for index in found), one.colour)
        for one, found in zip(given.classes, choice.phrases, strict=True)
    ]
    background = None
    if given.background_id is not None:
        background = given.names[given.class_ids.index(given.background_id)]
    return Vocabulary.from_specs(specs, background)


def _label(
    segmenter: ActiveSegmenter,
    vocabulary: Vocabulary,
    threshold: float,
    frames: Sequence[tuple[np.ndarray, np.ndarray]],
    evaluated: Sequence[int],
    progress: Callable[[str, int, int], object],
) -> np.ndarray:
    """Return the confusion of each frame, int64 [frames, classes, classes + 1]."""
    one = segmenter.with_settings(replace(segmenter.settings, background_threshold=threshold))
    one.set_vocabulary(vocabulary)
    row = np.full(max(*vocabulary.class_ids, vocabulary.unlabeled_id) + 1, len(evaluated))
    for place, index in enumerate(evaluated):
        row[vocabulary.class_ids[index]] = place
    truth_row = np.full(len(vocabulary) + 1, NOT_COUNTED)
    truth_row[list(evaluated)] = range(len(evaluated))
    counts = []
    for number, (image, truth) in enumerate(frames, start=1):
        matrix = ConfusionMatrix(len(evaluated))
        matrix.add(truth_row[truth], row[one.segment(image, instances=False).labels])
        counts.append(matrix.counts)
        progress("judging", number, len(frames))
    return np.stack(counts)


def _verdict(names: Sequence[str], before: np.ndarray, after: np.ndarray) -> Verdict:
    draws = np.random.default_rng(0).integers(len(before), size=(_RESAMPLES, len(before)))
    resampled = [[_mean_iou(counts[draw]) for draw in draws] for counts in (before, after)]
    gains = np.subtract(resampled[1], resampled[0])
    means = [_mean_iou(before), _mean_iou(after)]
    ious = [ConfusionMatrix(len(names), counts.sum(axis=0)).iou for counts in (before, after)]
    return Verdict(
        len(before),
        _interval(means[0], resampled[0]),
        _interval(means[1], resampled[1]),
        _interval(means[1] - means[0], gains),
        tuple(zip(names, *(iou.tolist() for iou in ious), strict=True)),
    )


def _mean_iou(counts: np.ndarray) -> float:
    return ConfusionMatrix(counts.shape[1], counts.sum(axis=0)).mean_iou


def _interval(value: float, resampled: Sequence[float] | np.ndarray) -> Interval:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(value, float(low), float(high))
