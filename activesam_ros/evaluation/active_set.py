"""How well the preview chose what to decode: its recall, its precision, and what its misses cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activesam_ros.evaluation.confusion import ConfusionMatrix

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from activesam_ros.evaluation.records import TruthScores


@dataclass(frozen=True)
class ClassRecall:
    """How often one class was decoded where the truth shows it.

    Attributes:
        index: the evaluated class.
        present: frames whose truth shows it.
        missed: those of them in which it was missed (see `TruthScores.missed`).
        lost_pixels: its true pixels in the frames that missed it.
    """

    index: int
    present: int
    missed: int
    lost_pixels: int

    @property
    def recall(self) -> float:
        """Share of the frames that show it in which it was not missed."""
        return 1 - self.missed / self.present


@dataclass(frozen=True)
class ActiveSetScores:
    """The choice of the active set over many frames. Every share is of (frame, class) pairs, over all frames at once.

    Attributes:
        recall: share of the pairs in which the truth shows the class where it was not missed; None without any.
        prominent_recall: the same over the pairs in which the class is prominent (see `TruthScores.prominent`).
        precision: share of the pairs in which an evaluated class was decoded where the truth shows it, with however
            few pixels; None without any. Decoded classes that are not evaluated do not count.
        classes: of each class that the truth shows, the one most often missed first.
        lost_share: share of the counted pixels whose class was missed; None without any.
        lost_iou: the mIoU over the pixels that the active set could reach, less the mIoU over all of them: both of one
            confusion matrix, once without and once with the pixels whose class was missed in their frame; None without
            any pixel left. It takes out what missed pixels did to their own class and to those that they were
            labelled as. It does not know how well stage 2 would have labelled them, what further classes in the
            active set would have taken from others, or, for a class that was missed in every frame, any IoU at
            all: such a class leaves the first mean. So it is a share of the blame, not a prediction; what pruning
            costs in all is the difference to a run that decodes every class.
    """

    recall: float | None
    prominent_recall: float | None
    precision: float | None
    classes: tuple[ClassRecall, ...]
    lost_share: float | None
    lost_iou: float | None


def active_set_scores(frames: Iterable[TruthScores]) -> ActiveSetScores:
    """The figures of those of the frames of which it is known what was decoded.

    Args:
        frames: scores over the same evaluated classes.
    """
    present: Counter[int] = Counter()
    missed: Counter[int] = Counter()
    lost: Counter[int] = Counter()
    prominent = prominent_missed = decoded = decoded_present = 0
    classes = 0
    whole: list[tuple[int, int, int]] = []
    reached: list[tuple[int, int, int]] = []
    for frame in frames:
        if frame.active is None:
            continue
        gone = set(frame.missed)
        present.update(frame.present)
        missed.update(gone)
        lost.update(frame.lost_pixels)
        prominent += len(frame.prominent)
        prominent_missed += len(gone.intersection(frame.prominent))
        decoded += len(frame.active)
        decoded_present += len(set(frame.active).intersection(frame.present))
        classes = frame.classes
        whole.extend(frame.confusion)
        reached.extend(triple for triple in frame.confusion if triple[0] not in gone)
    recalls = (ClassRecall(index, present[index], missed[index], lost[index]) for index in present)
    counted = sum(pixels for *_, pixels in whole)
    return ActiveSetScores(
        recall=_without(missed.total(), present.total()),
        prominent_recall=_without(prominent_missed, prominent),
        precision=_without(decoded - decoded_present, decoded),
        classes=tuple(sorted(recalls, key=lambda each: (-each.missed, -each.lost_pixels, each.index))),
        lost_share=lost.total() / counted if counted else None,
        lost_iou=_mean_iou(classes, reached) - _mean_iou(classes, whole) if reached else None,
    )


def _mean_iou(classes: int, triples: Sequence[tuple[int, int, int]]) -> float:
    return ConfusionMatrix.from_triples(classes, triples).mean_iou


def _without(bad: int, total: int) -> float | None:
    return 1 - bad / total if total else None
