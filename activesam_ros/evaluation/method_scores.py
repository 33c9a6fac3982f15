"""Score the labels of one method, frame after frame, and keep records, label images and pictures of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activesam_ros.evaluation.report.findings import FULL_VOCABULARY
from activesam_ros.evaluation.scoring import PreviousFrame, failed_frame, score_frame

if TYPE_CHECKING:
    import numpy as np

    from activesam_ros.datasets.class_map import ClassMatching
    from activesam_ros.datasets.samples import Sample
    from activesam_ros.evaluation.records import RecordFile
    from activesam_ros.evaluation.report.gallery import Gallery
    from activesam_ros.evaluation.run_folder import RunFolder
    from activesam_ros.evaluation.scoring import FrameCost, FrameLabels
    from activesam_ros.results import SegmentationResult


class MethodScores:
    """Scores of one method, with one corruption or without; frames come in order.

    Attributes:
        labelled: whether any frame was labelled, also by an earlier run.
    """

    def __init__(
        self,
        folder: RunFolder,
        file: RecordFile,
        matching: ClassMatching | None,
        method: str,
        corruption: str = "",
        gallery: Gallery | None = None,
    ) -> None:
        """Go on with a run.

        Args:
            folder: of the run.
            file: takes the records.
            matching: between the classes of the labels and those of the truth; None: there is no truth.
            method: see `FrameRecord`.
            corruption: likewise.
            gallery: takes pictures; None: there are none of this method.
        """
        self._folder = folder
        self._file = file
        self._matching = matching
        self._names = method, corruption
        self._gallery = gallery
        # The frame before, which flicker is measured against: truth, and labels or the index of those that are kept.
        self._before: PreviousFrame | tuple[int, np.ndarray | None] | None = None
        self.labelled = False

    def add(
        self,
        sample: Sample,
        rgb: np.ndarray,
        result: SegmentationResult | FrameLabels,
        cost: FrameCost | None = None,
        reference: np.ndarray | None = None,
    ) -> None:
        """Score the labels of the next frame.

        Args:
            sample: the frame.
            rgb: what was labelled, uint8 [H, W, 3].
            result: its labels.
            cost: what they cost; None: not known.
            reference: labels of `full-vocabulary`, [H, W]; None: there are none.
        """
        method, corruption = self._names
        record = score_frame(
            sample,
            result,
            self._matching,
            self._previous(),
            method=method,
            corruption=corruption,
            reference=reference,
            cost=cost,
        )
        self._folder.save_prediction(method, corruption, sample.index, result.labels)
        if self._gallery is not None:
            truth = None
            if sample.truth is not None and self._matching is not None:
                truth = self._matching.truth_of(sample.truth)
            self._gallery.offer(record, rgb, result.labels, truth, reference, FULL_VOCABULARY)
        self._before = PreviousFrame(sample.truth, result.labels)
        self.labelled = True
        # Last: what has a record is not done again.
        self._file.append(record)

    def fail(self, sample: Sample, error: str) -> None:
        """Note that the next frame has no labels, and why, in one sentence."""
        self._before = None
        method, corruption = self._names
        self._file.append(failed_frame(sample, error, method=method, corruption=corruption))

    def skip(self, sample: Sample, labelled: bool) -> None:
        """Pass over a frame that an earlier run did, and labelled or not."""
        self._before = (sample.index, sample.truth) if labelled else None
        self.labelled |= labelled

    def _previous(self) -> PreviousFrame | None:
        """Return truth and labels of the frame before; None if it failed, or if there is none."""
        if not isinstance(self._before, tuple):
            return self._before
        index, truth = self._before
        labels = self._folder.prediction(*self._names, index)
        return None if labels is None else PreviousFrame(truth, labels)
