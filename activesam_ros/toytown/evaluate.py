"""Measure a demo model on held-out scenes: ``python -m activesam_ros.toytown.evaluate --model FOLDER``.

Everything is measured through the public segmenter with its default settings, except where a line needs
another setting: without instance masks (``confidence_threshold`` 1) and presence of all 60 words at full
resolution (``max_active`` 60, so that the preview is skipped).
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from activesam_ros.segmenter import ActiveSegmenter, SegmentationResult
from activesam_ros.toytown.scenes import held_out_scenes
from activesam_ros.toytown.words import CLASSES, DEMO_WORDS, SYNONYMS, UNSEEN_FOREIGN, VOID
from activesam_ros.vocabulary import Vocabulary

_WORTH_KEEPING = 0.01
_ACCEPTED = 0.5


@dataclass(frozen=True)
class Metrics:
    """What `evaluate` measured; shares and scores in 0..1, NaN where nothing could be counted.

    AUC is the mean of one area under the ROC curve per class, so that knowing how frequent a class is counts
    for nothing; classes that are in every scene have none. ``false_accepts_*`` are shares of absent words
    with presence above 0.5. ``survival`` is the share of classes covering at least 1 % of their image that
    the preview of a 60-word vocabulary keeps.
    """

    scenes: int
    miou: float
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
    auc: Mapping[str, float]


@dataclass(frozen=True)
class Goal:
    """A line of the table: what is measured, its goal, and whether more or less is better."""

    metric: str
    title: str
    bound: float
    at_least: bool = True

    def met(self, value: float) -> bool:
        """Whether the value reaches the goal; NaN does not."""
        return value >= self.bound if self.at_least else value <= self.bound


GOALS: tuple[Goal, ...] = (
    Goal("miou", "mIoU, the 19 class names", 0.60),
    Goal("miou_synonyms", "mIoU, one random synonym for each class", 0.60),
    Goal("auc_full", "macro presence AUC, full size (192)", 0.93),
    Goal("auc_preview", "macro presence AUC, preview size (128)", 0.90),
    Goal("false_accepts_street_full", "absent street words accepted, full size", 0.15, False),
    Goal("false_accepts_street_preview", "absent street words accepted, preview size", 0.15, False),
    Goal("false_accepts_foreign_full", "foreign words accepted, full size", 0.02, False),
    Goal("false_accepts_foreign_preview", "foreign words accepted, preview size", 0.02, False),
    Goal("survival", "classes of >= 1 % of the image kept by the preview", 0.95),
)


def mean_iou(confusion: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean intersection over union, and that of each class, from counts [truth, answer].

    Classes that neither occur nor are answered are left out (NaN). Answers beyond the true classes
    (unlabelled) are extra columns.
    """
    classes = len(confusion)
    hit = np.diag(confusion[:, :classes]).astype(np.float64)
    union = confusion.sum(1) + confusion[:, :classes].sum(0) - hit
    iou = np.divide(hit, union, out=np.full(classes, np.nan), where=union > 0)
    return float(np.nanmean(iou)), iou


def area_under_curve(scores: np.ndarray, present: np.ndarray) -> float:
    """Probability that a present case scores above an absent one; NaN if there is no such pair."""
    yes, no = scores[present], scores[~present]
    if not len(yes) or not len(no):
        return float("nan")
    return float((yes[:, None] > no[None]).mean() + 0.5 * (yes[:, None] == no[None]).mean())


def evaluate(segmenter: ActiveSegmenter, scenes: int = 200, progress: bool = True) -> Metrics:
    """Measure a segmenter with default settings on held-out scenes.

    Args:
        segmenter: over the model to measure.
        scenes: how many scenes.
        progress: show a progress bar.

    Raises:
        ValueError: no scenes are asked for.
    """
    if scenes < 1:
        raise ValueError(f"at least one scene is needed to measure anything, got {scenes}")
    names = Vocabulary.from_names(list(CLASSES))
    demo = Vocabulary.from_names(list(DEMO_WORDS))
    default = segmenter.settings
    plain = segmenter.with_settings(default)
    plain.set_vocabulary(names)
    bare = segmenter.with_settings(replace(default, confidence_threshold=1.0))
    bare.set_vocabulary(names)
    other = segmenter.with_settings(default)
    previewed = segmenter.with_settings(default)
    previewed.set_vocabulary(demo)
    complete = segmenter.with_settings(replace(default, max_active=len(DEMO_WORDS)))
    complete.set_vocabulary(demo)
    confusion = {
        name: np.zeros((len(CLASSES), len(CLASSES) + 1), np.int64) for name in ("plain", "other", "bare")
    }
    presence: dict[str, list[np.ndarray]] = {"plain": [], "preview": [], "complete": []}
    area, kept = [], []
    for index, frame in enumerate(
        tqdm(held_out_scenes(scenes), total=scenes, desc="evaluating", unit="scene", disable=not progress)
    ):
        r = np.random.default_rng([index, 4])
        other.set_vocabulary(Vocabulary.from_names([str(r.choice(SYNONYMS[name])) for name in CLASSES]))
        result = plain.segment(frame.rgb)
        presence["plain"].append(_presence(result, len(CLASSES)))
        _count(confusion["plain"], frame.labels, result)
        _count(confusion["other"], frame.labels, other.segment(frame.rgb))
        _count(confusion["bare"], frame.labels, bare.segment(frame.rgb))
        result = previewed.segment(frame.rgb)
        presence["preview"].append(result.preview_presence)
        kept.append(np.isin(np.arange(len(CLASSES)), list(result.active_queries)))
        presence["complete"].append(_presence(complete.segment(frame.rgb), len(DEMO_WORDS)))
        area.append(np.bincount(frame.labels.ravel(), minlength=256)[: len(CLASSES)] / frame.labels.size)
    full, preview, everything = (np.stack(presence[name]) for name in ("plain", "preview", "complete"))
    there = np.stack(area) > 0
    miou, iou = mean_iou(confusion["plain"])
    classes = range(len(CLASSES))
    auc = [area_under_curve(full[:, c], there[:, c]) for c in classes]
    foreign = np.arange(len(CLASSES), len(DEMO_WORDS))
    unseen = np.array([i for i in foreign if DEMO_WORDS[i] in UNSEEN_FOREIGN])
    return Metrics(
        scenes=scenes,
        miou=miou,
        miou_synonyms=mean_iou(confusion["other"])[0],
        miou_without_instances=mean_iou(confusion["bare"])[0],
        auc_full=float(np.nanmean(auc)),
        auc_preview=float(np.nanmean([area_under_curve(preview[:, c], there[:, c]) for c in classes])),
        false_accepts_street_full=_share(full[~there]),
        false_accepts_street_preview=_share(preview[:, : len(CLASSES)][~there]),
        false_accepts_foreign_full=_share(everything[:, foreign]),
        false_accepts_foreign_preview=_share(preview[:, foreign]),
        false_accepts_unseen_full=_share(everything[:, unseen]),
        survival=float(np.stack(kept)[np.stack(area) >= _WORTH_KEEPING].mean()),
        iou=dict(zip(CLASSES, map(float, iou), strict=True)),
        auc=dict(zip(CLASSES, auc, strict=True)),
    )


def table(metrics: Metrics) -> str:
    """The metrics as a Markdown table with goals, followed by one line per class."""
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
    rows.append(
        "| foreign words never trained on accepted, full size | "
        f"{metrics.false_accepts_unseen_full:.3f} | | |"
    )
    rows += ["", "| class | IoU | presence AUC |", "|---|---|---|"]
    for name in CLASSES:
        auc = metrics.auc[name]
        rows.append(
            f"| {name} | {metrics.iou[name]:.2f} | {'in every scene' if np.isnan(auc) else f'{auc:.2f}'} |"
        )
    return "\n".join(rows)


def _presence(result: SegmentationResult, count: int) -> np.ndarray:
    values = np.full(count, np.nan)
    for active in result.active:
        values[active.class_id] = active.presence
    return values


def _count(confusion: np.ndarray, truth: np.ndarray, result: SegmentationResult) -> None:
    known = truth != VOID
    answer = np.minimum(result.labels[known], len(CLASSES)).astype(np.int64)
    columns = confusion.shape[1]
    flat = np.bincount(truth[known].astype(np.int64) * columns + answer, minlength=confusion.size)
    confusion += flat.reshape(confusion.shape)


def _share(scores: np.ndarray) -> float:
    return float((scores > _ACCEPTED).mean()) if scores.size else float("nan")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="activesam-evaluate-toytown", description="Measure a Toy Town model on held-out scenes."
    )
    parser.add_argument("--model", default="toytown", help="model folder (default: the shipped model)")
    parser.add_argument("--scenes", type=int, default=200, help="number of held-out scenes (default 200)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    given = parser.parse_args(arguments)
    if given.scenes < 1:
        parser.error(f"--scenes must be at least 1, got {given.scenes}")
    torch.set_num_threads(given.threads)
    metrics = evaluate(ActiveSegmenter.from_pretrained(given.model, device="cpu"), given.scenes)
    print(table(metrics))
    if given.json:
        given.json.write_text(json.dumps(asdict(metrics), indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
