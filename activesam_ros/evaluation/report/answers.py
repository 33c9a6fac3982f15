"""The three questions with which the page begins: is it right, what did pruning cost, what is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING

import numpy as np

from activesam_ros.evaluation.report import wording
from activesam_ros.evaluation.report.panels import VERDICT_COLOURS, VERDICT_NAMES, Entry, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from activesam_ros.evaluation.records import FrameRecord
    from activesam_ros.evaluation.summary import ClassScores, Results, Summary, TruthSummary

PRUNING_ALONE = "no-preview"
"""The method that differs from the first in pruning and in nothing else."""

FULL_VOCABULARY = "full-vocabulary"
"""Another one that decodes every class; agreement is with it."""

EVERY_CLASS = (PRUNING_ALONE, FULL_VOCABULARY)

LIVE = "node"
"""The method of a run through the running node, beside which there is no other."""

_WEAKEST = 3


@dataclass(frozen=True)
class Answer:
    """One of the questions.

    Attributes:
        question: as a person asks it.
        figure: the number that answers it, with its unit; empty: there is none.
        unit: what the figure is.
        sentences: what it means.
        bar: shares that make up a whole, for a picture; empty: none.
    """

    question: str
    figure: str
    unit: str
    sentences: tuple[str, ...]
    bar: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Confused:
    """Pixels of one class that are labelled as another.

    Attributes:
        truth, label: the classes; `label` may be `NO_CLASS`.
        pixels: how many.
        of_class, of_all: shares of the pixels of the class, and of all that count.
    """

    truth: str
    label: str
    pixels: int
    of_class: float
    of_all: float


NO_CLASS = "none of these"
"""Instead of a class: no label, or a word that the truth does not have."""


def confused(truth: TruthSummary, classes: Sequence[str]) -> list[Confused]:
    """Every pair of a true class and another label that occurred, the largest share of its class first."""
    totals = {index: one.truth_pixels for index, one in enumerate(truth.classes)}
    names = [*classes, NO_CLASS]
    pairs = [
        Confused(names[true], names[label], pixels, pixels / totals[true], pixels / truth.pixels)
        for true, label, pixels in truth.confusion
        if true != label
    ]
    return sorted(pairs, key=lambda pair: -pair.of_class)


def counted_classes(truth: TruthSummary) -> int:
    """Number of classes in the mIoU: those that truth or labels have."""
    return sum(one.iou is not None for one in truth.classes)


def never_shown(truth: TruthSummary) -> list[ClassScores]:
    """Classes that labels have and the truth never shows, the most pixels first; each counts as 0 in the mIoU."""
    found = [one for one in truth.classes if one.iou is not None and not one.truth_pixels]
    return sorted(found, key=lambda one: -one.labelled_pixels)


def shown_mean_iou(truth: TruthSummary) -> float | None:
    """Mean IoU of the classes that the truth shows; None if it shows none."""
    known = [one.iou for one in truth.classes if one.iou is not None and one.truth_pixels]
    return fsum(known) / len(known) if known else None


def pixel_verdicts(records: Iterable[FrameRecord]) -> tuple[Entry, ...]:
    """Shares of the counted pixels that are right, of a class that was not decoded, or else wrong."""
    pixels: Counter[Verdict] = Counter()
    for record in records:
        if record.truth is None:
            continue
        missed = set(record.truth.missed)
        for true, label, number in record.truth.confusion:
            verdict = (
                Verdict.RIGHT if true == label
                else Verdict.MISSED if true in missed
                else Verdict.UNLABELED if label == record.truth.classes
                else Verdict.WRONG
            )  # fmt: skip
            pixels[verdict] += number
    names = {**VERDICT_NAMES, Verdict.UNLABELED: "no label, or a word that the truth lacks"}
    return tuple(
        Entry(names[verdict], VERDICT_COLOURS[verdict], labels=pixels[verdict] / pixels.total())
        for verdict in (Verdict.RIGHT, Verdict.WRONG, Verdict.UNLABELED, Verdict.MISSED)
        if pixels[verdict]
    )


def answers(
    results: Results, records: Sequence[FrameRecord], vocabulary: int | None = None
) -> tuple[Answer, ...]:
    """The answers on the first method and clean images; none if nothing was labelled.

    Args:
        results: of the run.
        records: of the run.
        vocabulary: number of its classes; None: not known.
    """
    first = results.summary(results.methods[0]) if results.methods else None
    if first is None or not first.labelled:
        return ()
    own = [record for record in records if record.method == first.method and not record.corruption]
    return (
        _is_it_right(first, own),
        _pruning(results, first, _pruned(own, vocabulary)),
        _what_is_wrong(results, first),
    )


def _is_it_right(first: Summary, records: Sequence[FrameRecord]) -> Answer:
    question = "Is it right on this data?"
    if first.truth is None:
        told = ["Without it the pictures have to tell."]
        if first.agreement is not None:
            told.append(
                f"{wording.percent(first.agreement)} of the pixels get the label that {FULL_VOCABULARY} gives them: "
                "that says what is different, not what is right."
            )
        return Answer(question, "Not known", "there is no ground truth in this run", tuple(told))
    told = (
        f"{wording.percent(first.truth.pixel_accuracy)} of the pixels have the right label. mIoU, the overlap of "
        f"labels and truth averaged over {counted_classes(first.truth)} classes, counts small classes as much "
        "as large ones.",
    )
    return Answer(question, wording.percent(first.truth.mean_iou), "mIoU", told, pixel_verdicts(records))


def _pruned(records: Sequence[FrameRecord], vocabulary: int | None) -> bool | None:
    """Whether any frame decoded fewer classes than there are; None: not known."""
    sizes = [len(record.active) for record in records if record.active is not None]
    return min(sizes) < vocabulary if sizes and vocabulary is not None else None


def _pruning(results: Results, first: Summary, pruned: bool | None) -> Answer:
    question = "What did pruning cost?"
    if pruned is None:
        told = ("Nothing tells which classes were decoded, or how many the vocabulary has.",)
        return Answer(question, "Not known", "whether any class was pruned", told)
    if not pruned:
        return Answer(
            question, "0", "classes pruned", ("Nothing was pruned: every class was decoded in every image.",)
        )
    other = next((found for name in EVERY_CLASS if (found := _against(results, name)) is not None), None)
    choice = first.truth.active_set if first.truth is not None else None
    told = []
    if choice is not None and choice.recall is not None:
        told.append(
            f"Stage 1 found {wording.percent(choice.recall)} of the classes in the images "
            f"({wording.percent(choice.prominent_recall)} of those that cover 1 % of the image or more); "
            f"{wording.percent(choice.lost_share)} of the pixels belong to a class that it missed."
        )
    if other is None:
        figure = choice.lost_iou if choice is not None else None
        told.append(
            "What was gained is not known: the node labels in one way only, and nothing is there to compare with."
            if first.method == LIVE
            else "What was gained is not known: run again with --compare no-preview."
        )
        return Answer(
            question,
            "" if figure is None else wording.better(-figure),
            "in mIoU, by missed classes",
            tuple(told),
        )
    comparison = other.against_first
    gains = []
    if comparison.rate:
        gains.append(f"{wording.factor(1 / comparison.rate)} as many frames a second")
    if comparison.work:
        gains.append(f"{wording.percent(1 / comparison.work, 0)} of the computation")
    if gains:
        told.insert(0, f"Against {other.method}, which decodes every class: {wording.listed(gains)}.")
    if comparison.mean_iou is None:
        changed = None if first.agreement is None else 1 - first.agreement
        figure, alone = wording.percent(changed), False
        unit = f"of the pixels get another label than with {FULL_VOCABULARY}"
    else:
        figure, alone = wording.better(-comparison.mean_iou), other.method == PRUNING_ALONE
        unit = f"in mIoU: the difference to {other.method}"
    if not alone:
        told.append(
            f"The difference to {FULL_VOCABULARY} is not of pruning alone: it also holds context tokens and "
            f"calibration, which {FULL_VOCABULARY} does without."
        )
        if results.summary(PRUNING_ALONE) is None:
            told.append(f"--compare {PRUNING_ALONE} tells what pruning alone costs.")
    return Answer(question, figure, unit, tuple(told))


def _against(results: Results, method: str) -> Summary | None:
    found = results.summary(method)
    return found if found is not None and found.against_first is not None else None


def _what_is_wrong(results: Results, first: Summary) -> Answer:
    question = "What is wrong?"
    told = []
    figure, unit = "", ""
    if first.truth is not None:
        known = [one for one in first.truth.classes if one.iou is not None and one.truth_pixels]
        weakest = sorted(known, key=lambda one: one.iou)[:_WEAKEST]
        if weakest:
            figure, unit = wording.percent(weakest[0].iou, 0), f"IoU of {weakest[0].name}, the weakest class"
        if weakest[1:]:
            others = [f"{one.name} {wording.percent(one.iou, 0)}" for one in weakest[1:]]
            told.append(f"Next: {wording.listed(others)}.")
        pairs = [pair for pair in confused(first.truth, results.classes) if pair.label != NO_CLASS]
        if pairs:
            worst = max(pairs, key=lambda pair: pair.of_class * np.sqrt(pair.of_all))
            told.append(
                f"{wording.percent(worst.of_class, 0)} of the pixels of {worst.truth} are labelled {worst.label}."
            )
        extra = [one.name for one in never_shown(first.truth)]
        if extra:
            counts = "it counts" if len(extra) == 1 else "each counts"
            told.append(
                f"In the labels and never in the truth: {wording.listed(extra, most=6)}. As in the benchmarks, "
                f"{counts} as 0 in the mIoU of {wording.percent(first.truth.mean_iou)}; over the classes of the truth "
                f"it is {wording.percent(shown_mean_iou(first.truth))}."
            )
        missed = [one for one in first.truth.active_set.classes if one.missed]
        if missed:
            told.append(
                f"{results.classes[missed[0].index]} was not decoded in {missed[0].missed} of the "
                f"{missed[0].present} images that show it."
            )
    if first.failed:
        told.append(f"{first.failed} of {first.frames} frames could not be labelled or scored.")
    if not told and not figure:
        told.append("Without ground truth only a person can see it: look at the frames below.")
    return Answer(question, figure, unit, tuple(told))
