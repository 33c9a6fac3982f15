"""Answer the three questions at the top of the report: is it right, what did pruning cost, what is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import fsum, sqrt
from typing import TYPE_CHECKING

from activesam_ros.evaluation.report import formatting
from activesam_ros.evaluation.report.panels import OUTCOME_COLOURS, OUTCOME_NAMES, LegendEntry, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from activesam_ros.evaluation.records import FrameRecord
    from activesam_ros.evaluation.summary import ClassScores, Results, Summary, TruthSummary

PRUNING_ALONE = "no-preview"
"""The method that differs from the first in pruning alone."""
FULL_VOCABULARY = "full-vocabulary"
"""Another method that decodes every class; without ground truth the others are compared with its labels."""
EVERY_CLASS = (PRUNING_ALONE, FULL_VOCABULARY)
LIVE_METHOD = "node"
"""The only method of an evaluation of the running node."""
NO_CLASS = "none of these"
"""Stands for pixels without a label, or with a class that the truth does not have."""

_WEAKEST = 3


@dataclass(frozen=True)
class Finding:
    """The answer to one question: a number with its unit, empty if there is none, and what it means.

    Attributes:
        bar: shares of a whole, drawn as a bar; empty: none.
    """

    question: str
    figure: str
    unit: str
    sentences: tuple[str, ...]
    bar: tuple[LegendEntry, ...] = ()


@dataclass(frozen=True)
class Confusion:
    """Pixels of one class that are labelled as another, as shares of its pixels and of all counted pixels."""

    truth: str
    label: str
    of_class: float
    of_all: float


def confusions(truth: TruthSummary, classes: Sequence[str]) -> list[Confusion]:
    """List the pairs of a true class and another label, the largest share of its class first."""
    totals = [one.truth_pixels for one in truth.classes]
    names = [*classes, NO_CLASS]
    pairs = [
        Confusion(names[true], names[label], pixels / totals[true], pixels / truth.pixels)
        for true, label, pixels in truth.confusion
        if true != label
    ]
    return sorted(pairs, key=lambda pair: -pair.of_class)


def counted_classes(truth: TruthSummary) -> int:
    """Count the classes in the mIoU: those in the truth or in the labels."""
    return sum(one.iou is not None for one in truth.classes)


def shown_mean_iou(truth: TruthSummary) -> float | None:
    """Return the mean IoU of the classes in the truth; None if it shows none."""
    known = [one.iou for one in truth.classes if one.iou is not None and one.truth_pixels]
    return fsum(known) / len(known) if known else None


def score_of(results: Results, method: str, corruption: str) -> float | None:
    """Return mIoU, or agreement in a run without ground truth, in 0..1; None where it is unknown."""
    one = results.summary(method, corruption)
    if one is None or not any(each.truth for each in results.summaries):
        return None if one is None else one.agreement
    return one.truth.mean_iou if one.truth else None


def pixel_outcomes(records: Iterable[FrameRecord]) -> tuple[LegendEntry, ...]:
    """Return the shares of the counted pixels that are right, of a class that was not decoded, or else wrong."""
    pixels: Counter[Outcome] = Counter()
    for record in records:
        if record.truth is None:
            continue
        missed = set(record.truth.missed)
        for true, label, number in record.truth.confusion:
            outcome = (
                Outcome.RIGHT if true == label
                else Outcome.MISSED if true in missed
                else Outcome.UNLABELED if label == record.truth.classes
                else Outcome.WRONG
            )  # fmt: skip
            pixels[outcome] += number
    names = {**OUTCOME_NAMES, Outcome.UNLABELED: "no label, or a class that the truth lacks"}
    return tuple(
        LegendEntry(names[outcome], OUTCOME_COLOURS[outcome], labels=pixels[outcome] / pixels.total())
        for outcome in (Outcome.RIGHT, Outcome.WRONG, Outcome.UNLABELED, Outcome.MISSED)
        if pixels[outcome]
    )


def findings(
    results: Results, records: Sequence[FrameRecord], vocabulary: int | None = None
) -> tuple[Finding, ...]:
    """Answer the questions for the first method on clean images; empty if nothing was labelled.

    `vocabulary` is the number of its classes; None: unknown.
    """
    first = results.summary(results.methods[0]) if results.methods else None
    if first is None or not first.labelled:
        return ()
    own = [record for record in records if record.method == first.method and not record.corruption]
    return _accuracy(first, own), _cost_of_pruning(results, first, own, vocabulary), _errors(results, first)


def _accuracy(first: Summary, records: Sequence[FrameRecord]) -> Finding:
    question = "Is it right on this data?"
    if first.truth is None:
        sentences = ["Without it the pictures have to tell."]
        if first.agreement is not None:
            sentences.append(
                f"{formatting.percent(first.agreement)} of the pixels get the label that {FULL_VOCABULARY} gives them: "
                "that says what is different, not what is right."
            )
        return Finding(question, "Not known", "there is no ground truth in this run", tuple(sentences))
    sentence = (
        f"{formatting.percent(first.truth.pixel_accuracy)} of the pixels have the right label. mIoU, the overlap of "
        f"labels and truth averaged over {counted_classes(first.truth)} classes, counts small classes as much "
        "as large ones."
    )
    figure = formatting.percent(first.truth.mean_iou)
    return Finding(question, figure, "mIoU", (sentence,), pixel_outcomes(records))


def _cost_of_pruning(
    results: Results, first: Summary, records: Sequence[FrameRecord], vocabulary: int | None
) -> Finding:
    question = "What did pruning cost?"
    sizes = [len(record.active) for record in records if record.active is not None]
    if not sizes or vocabulary is None:
        sentence = "Nothing tells which classes were decoded, or how many the vocabulary has."
        return Finding(question, "Not known", "whether any class was pruned", (sentence,))
    if min(sizes) >= vocabulary:
        sentence = "Nothing was pruned: every class was decoded in every image."
        return Finding(question, "0", "classes pruned", (sentence,))
    sentences = []
    scores = first.truth.active_set if first.truth is not None else None
    if scores is not None and scores.recall is not None:
        sentences.append(
            f"Stage 1 found {formatting.percent(scores.recall)} of the classes in the images "
            f"({formatting.percent(scores.prominent_recall)} of those that cover 1 % of the image or more); "
            f"{formatting.percent(scores.lost_share)} of the pixels belong to a class that it missed."
        )
    others = (results.summary(name) for name in EVERY_CLASS)
    other = next((one for one in others if one is not None and one.against_first is not None), None)
    if other is None or other.against_first is None:
        lost = scores.lost_iou if scores is not None else None
        sentences.append(
            "What was gained is not known: the node labels in one way only, and nothing is there to compare with."
            if first.method == LIVE_METHOD
            else f"What was gained is not known: run again with --compare {PRUNING_ALONE}."
        )
        figure = "" if lost is None else formatting.better(-lost)
        return Finding(question, figure, "in mIoU, by missed classes", tuple(sentences))
    comparison = other.against_first
    gains = []
    if comparison.rate:
        gains.append(f"{formatting.factor(1 / comparison.rate)} as many frames a second")
    if comparison.work:
        gains.append(f"{formatting.percent(1 / comparison.work, 0)} of the computation")
    if gains:
        sentences.insert(0, f"Against {other.method}, which decodes every class: {formatting.listed(gains)}.")
    if comparison.mean_iou is None:
        figure = formatting.percent(None if first.agreement is None else 1 - first.agreement)
        unit = f"of the pixels get another label than with {FULL_VOCABULARY}"
    else:
        figure = formatting.better(-comparison.mean_iou)
        unit = f"in mIoU: the difference to {other.method}"
    if comparison.mean_iou is None or other.method != PRUNING_ALONE:
        sentences.append(
            f"The difference to {FULL_VOCABULARY} is not of pruning alone: it also holds context tokens and "
            f"calibration, which {FULL_VOCABULARY} does without."
        )
        if results.summary(PRUNING_ALONE) is None:
            sentences.append(f"--compare {PRUNING_ALONE} tells what pruning alone costs.")
    return Finding(question, figure, unit, tuple(sentences))


def _errors(results: Results, first: Summary) -> Finding:
    figure, unit = "", ""
    sentences: list[str] = []
    if first.truth is not None:
        known = [(one.iou, one) for one in first.truth.classes if one.iou is not None and one.truth_pixels]
        weakest = [one for _, one in sorted(known, key=lambda pair: pair[0])[:_WEAKEST]]
        if weakest:
            figure, unit = (
                formatting.percent(weakest[0].iou, 0),
                f"IoU of {weakest[0].name}, the weakest class",
            )
        if weakest[1:]:
            others = [f"{one.name} {formatting.percent(one.iou, 0)}" for one in weakest[1:]]
            sentences.append(f"Next: {formatting.listed(others)}.")
        pairs = [pair for pair in confusions(first.truth, results.classes) if pair.label != NO_CLASS]
        if pairs:
            worst = max(pairs, key=lambda pair: pair.of_class * sqrt(pair.of_all))
            sentences.append(
                f"{formatting.percent(worst.of_class, 0)} of the pixels of {worst.truth} are labelled {worst.label}."
            )
        extra = _never_in_truth(first.truth)
        if extra:
            counts = "it counts" if len(extra) == 1 else "each counts"
            sentences.append(
                f"In the labels and never in the truth: {formatting.listed([one.name for one in extra], most=6)}. As "
                f"in the benchmarks, {counts} as 0 in the mIoU of {formatting.percent(first.truth.mean_iou)}; over the "
                f"classes of the truth it is {formatting.percent(shown_mean_iou(first.truth))}."
            )
        missed = [one for one in first.truth.active_set.classes if one.missed]
        if missed:
            sentences.append(
                f"{results.classes[missed[0].index]} was not decoded in {missed[0].missed} of the "
                f"{missed[0].present} images that show it."
            )
    if first.failed:
        sentences.append(f"{first.failed} of {first.frames} frames could not be labelled or scored.")
    if not sentences and not figure:
        sentences.append("Without ground truth only a person can see it: look at the frames below.")
    return Finding("What is wrong?", figure, unit, tuple(sentences))


def _never_in_truth(truth: TruthSummary) -> list[ClassScores]:
    """List the classes that only labels have, most pixels first; each counts as 0 in the mIoU."""
    found = [one for one in truth.classes if one.iou is not None and not one.truth_pixels]
    return sorted(found, key=lambda one: -one.labelled_pixels)
