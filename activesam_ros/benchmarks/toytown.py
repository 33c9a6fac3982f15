"""Accuracy of a demo model on held-out scenes of Toy Town.

Everything is measured through `ActiveSegmenter` with its default settings, except where a line needs another setting:
without instance masks (``confidence_threshold`` 1), and presence of all 60 classes at full resolution (``max_active``
60, so that the preview is skipped).
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from activesam_ros.evaluation.metrics import (
    ConfusionMatrix,
    area_under_curve,
    boundary_counts,
    boundary_iou,
)
from activesam_ros.results import SegmentationResult
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.system.machine import ignoring_interrupts
from activesam_ros.toytown import CLASSES, DEMO_CLASSES, SYNONYMS, UNSEEN_FOREIGN
from activesam_ros.toytown.world import held_out_scene
from activesam_ros.vocabulary import Vocabulary

_WORTH_KEEPING = 0.01
_ACCEPTED = 0.5


@dataclass(frozen=True)
class ToytownMetrics:
    """Accuracy of a demo model; shares and scores in 0..1, NaN where nothing could be counted.

    AUC is the mean of one area under the ROC curve per class, so that knowing how frequent a class is does not help;
    classes that are in every scene have none. ``false_accepts_*`` are shares of absent classes with presence above
    0.5. ``survival`` is the share of classes covering at least 1 % of their image that the preview of a vocabulary of
    60 keeps. ``boundary`` is the IoU at the outlines of each class, ``mean_boundary`` its mean.
    """

    scenes: int
    miou: float
    mean_boundary: float
    miou_synonyms: float
    miou_without_instances: float
    auc_full: float
    auc_preview: float
    false_accepts_street_full: float
    false_accepts_street_preview: float
    false_accepts_foreign_full: float
    false_accepts_foreign_preview: float
    false_accepts_unseen_full: float
    survival: float
    iou: Mapping[str, float]
    boundary: Mapping[str, float]
    auc: Mapping[str, float]


@dataclass(frozen=True)
class Goal:
    """A line of the table: the metric, its goal, and whether more or less is better."""

    metric: str
    title: str
    bound: float
    at_least: bool = True

    def met(self, value: float) -> bool:
        """Tell whether the value reaches the goal; NaN does not."""
        return value >= self.bound if self.at_least else value <= self.bound


GOALS: tuple[Goal, ...] = (
    Goal("miou", "mIoU, the 19 class names", 0.86),
    Goal("miou_synonyms", "mIoU, one random synonym for each class", 0.86),
    Goal("auc_full", "macro presence AUC, full size (192)", 0.93),
    Goal("auc_preview", "macro presence AUC, preview size (128)", 0.90),
    Goal("false_accepts_street_full", "absent street classes accepted, full size", 0.15, False),
    Goal("false_accepts_street_preview", "absent street classes accepted, preview size", 0.15, False),
    Goal("false_accepts_foreign_full", "foreign classes accepted, full size", 0.02, False),
    Goal("false_accepts_foreign_preview", "foreign classes accepted, preview size", 0.02, False),
    Goal("survival", "classes of >= 1 % of the image kept by the preview", 0.95),
)


@dataclass(frozen=True)
class Tally:
    """Counts on some scenes, to be joined with other scenes' by `summarise`.

    ``confusion`` holds counts int64 [3, 19, 20] (names, synonyms, without instances; truth; prediction, the last
    column for unlabelled), ``boundary`` pixels int64 [19, 2] (names; intersection and union of the regions at
    outlines). The rest has one row per scene: presence of the 19 names, of the 60 classes in the preview and at full
    size, share of the image per class, and which classes the preview kept.
    """

    confusion: np.ndarray
    boundary: np.ndarray
    names: np.ndarray
    preview: np.ndarray
    complete: np.ndarray
    area: np.ndarray
    kept: np.ndarray


def tally(segmenter: ActiveSegmenter, first: int, last: int, progress: bool = True) -> Tally:
    """Count on the held-out scenes ``first`` ... ``last`` - 1.

    Args:
        segmenter: over the model to measure.
        first: index of the first scene.
        last: index after the last scene.
        progress: show a progress bar.
    """
    default = segmenter.settings
    names = Vocabulary.from_names(list(CLASSES))
    demo = Vocabulary.from_names(list(DEMO_CLASSES))
    plain, other, previewed = (segmenter.with_settings(default) for _ in range(3))
    bare = segmenter.with_settings(replace(default, confidence_threshold=1.0))
    complete = segmenter.with_settings(replace(default, max_active=len(DEMO_CLASSES)))
    for one, vocabulary in ((plain, names), (bare, names), (previewed, demo), (complete, demo)):
        one.set_vocabulary(vocabulary)
    confusions = [ConfusionMatrix(len(CLASSES)) for _ in range(3)]
    boundary = np.zeros((len(CLASSES), 2), np.int64)
    rows: list[tuple[np.ndarray, ...]] = []
    bar = tqdm(range(first, last), desc="evaluating", unit="scene", disable=not progress)
    for index in bar:
        frame = held_out_scene(index)
        r = np.random.default_rng([index, 4])
        other.set_vocabulary(Vocabulary.from_names([str(r.choice(SYNONYMS[name])) for name in CLASSES]))
        result = plain.segment(frame.rgb, instances=False)
        results = (
            result,
            other.segment(frame.rgb, instances=False),
            bare.segment(frame.rgb, instances=False),
        )
        for confusion, each in zip(confusions, results, strict=True):
            confusion.add(frame.labels, each.labels)
        for index, both, union in boundary_counts(frame.labels, result.labels, len(CLASSES)):
            boundary[index] += both, union
        kept = previewed.segment(frame.rgb, instances=False)
        rows.append(
            (
                _presence(result, len(CLASSES)),
                np.asarray(kept.preview_presence),
                _presence(complete.segment(frame.rgb, instances=False), len(DEMO_CLASSES)),
                np.bincount(frame.labels.ravel(), minlength=256)[: len(CLASSES)] / frame.labels.size,
                np.isin(np.arange(len(CLASSES)), list(kept.active_prompts)),
            )
        )
    counts = np.stack([confusion.counts for confusion in confusions])
    return Tally(counts, boundary, *(np.stack(column) for column in zip(*rows, strict=True)))


def summarise(tallies: Sequence[Tally]) -> ToytownMetrics:
    """Return the metrics over all scenes of the tallies."""
    counts = sum(t.confusion for t in tallies)
    plain, synonyms, bare = (ConfusionMatrix(len(CLASSES), each) for each in counts)
    names, preview, complete, area, kept = (
        np.concatenate([getattr(t, name) for t in tallies])
        for name in ("names", "preview", "complete", "area", "kept")
    )
    edges = boundary_iou(*sum(t.boundary for t in tallies).T)
    there = area > 0
    classes = range(len(CLASSES))
    auc = [area_under_curve(names[:, c], there[:, c]) for c in classes]
    foreign = np.arange(len(CLASSES), len(DEMO_CLASSES))
    unseen = np.array([i for i in foreign if DEMO_CLASSES[i] in UNSEEN_FOREIGN])
    return ToytownMetrics(
        scenes=len(area),
        miou=plain.mean_iou,
        mean_boundary=float(np.nanmean(edges)),
        miou_synonyms=synonyms.mean_iou,
        miou_without_instances=bare.mean_iou,
        auc_full=float(np.nanmean(auc)),
        auc_preview=float(np.nanmean([area_under_curve(preview[:, c], there[:, c]) for c in classes])),
        false_accepts_street_full=_share(names[~there]),
        false_accepts_street_preview=_share(preview[:, : len(CLASSES)][~there]),
        false_accepts_foreign_full=_share(complete[:, foreign]),
        false_accepts_foreign_preview=_share(preview[:, foreign]),
        false_accepts_unseen_full=_share(complete[:, unseen]),
        survival=float(kept[area >= _WORTH_KEEPING].mean()),
        iou=dict(zip(CLASSES, map(float, plain.iou), strict=True)),
        boundary=dict(zip(CLASSES, map(float, edges), strict=True)),
        auc=dict(zip(CLASSES, auc, strict=True)),
    )


def evaluate(
    model: str | Path, scenes: int = 200, processes: int = 2, progress: bool = True
) -> ToytownMetrics:
    """Measure a model on held-out scenes.

    Args:
        model: model folder, or ``toytown`` for the shipped one.
        scenes: how many scenes.
        processes: how many processes share the scenes, one CPU thread each.
        progress: show a progress bar (of the first process).

    Raises:
        ValueError: no scenes are asked for.
        ModelError: the model cannot be loaded.
    """
    if scenes < 1:
        raise ValueError(f"at least one scene is needed to measure anything, got {scenes}")
    processes = max(1, min(processes, scenes))
    bounds = [scenes * i // processes for i in range(processes + 1)]
    jobs = [(str(model), a, b, progress and a == 0) for a, b in pairwise(bounds)]
    if processes == 1:
        return summarise([_tally_model(*jobs[0])])
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        with ignoring_interrupts():
            tallies = pool.map(_tally_model, *zip(*jobs, strict=True))
        return summarise(list(tallies))


def _tally_model(model: str, first: int, last: int, progress: bool) -> Tally:
    torch.set_num_threads(1)
    return tally(ActiveSegmenter.from_pretrained(model, device="cpu"), first, last, progress)


def table(metrics: ToytownMetrics) -> str:
    """Return the metrics as a Markdown table with goals, followed by one line per class."""
    rows = ["| measured | value | goal | |", "|---|---|---|---|"]
    for goal in GOALS:
        value = getattr(metrics, goal.metric)
        sign = "≥" if goal.at_least else "≤"
        rows.append(
            f"| {goal.title} | {value:.3f} | {sign} {goal.bound:.2f} | {'yes' if goal.met(value) else 'no'} |"
        )
    rows.append(
        f"| mIoU without instance masks | {metrics.miou_without_instances:.3f} | < {metrics.miou:.3f} | "
        f"{'yes' if metrics.miou_without_instances < metrics.miou else 'no'} |"
    )
    rows.append(f"| boundary IoU, the 19 class names | {metrics.mean_boundary:.3f} | | |")
    rows.append(
        "| foreign classes never trained on accepted, full size | "
        f"{metrics.false_accepts_unseen_full:.3f} | | |"
    )
    rows += ["", "| class | IoU | boundary IoU | presence AUC |", "|---|---|---|---|"]
    for name in CLASSES:
        auc = metrics.auc[name]
        rows.append(
            f"| {name} | {metrics.iou[name]:.2f} | {metrics.boundary[name]:.2f} | "
            f"{'in every scene' if np.isnan(auc) else f'{auc:.2f}'} |"
        )
    return "\n".join(rows)


def as_json(metrics: ToytownMetrics) -> str:
    """Return the metrics as a JSON object; null stands for what could not be counted."""
    values = asdict(metrics)
    for of_classes in ("iou", "boundary", "auc"):
        values[of_classes] = {
            name: None if np.isnan(value) else value for name, value in values[of_classes].items()
        }
    return json.dumps(values, indent=2) + "\n"


def _presence(result: SegmentationResult, count: int) -> np.ndarray:
    values = np.full(count, np.nan)
    for active in result.active:
        values[active.class_id] = active.presence
    return values


def _share(scores: np.ndarray) -> float:
    return float((scores > _ACCEPTED).mean()) if scores.size else float("nan")
