"""What a method for streams remembers from frame to frame, also over an interruption of the evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activesam_ros.stages.temporal_reuse import StreamMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from activesam_ros.evaluation.records import FrameRecord
    from activesam_ros.evaluation.run_folder import RunFolder
    from activesam_ros.results import SegmentationResult
    from activesam_ros.segmenter import ActiveSegmenter


class Stream:
    """Labels the frames of a recording, in order, with one method and one corruption.

    Attributes:
        restored: whether its memory is that after the last frame that an earlier run labelled; if not, it has to see
            those frames again.
    """

    def __init__(
        self,
        folder: RunFolder,
        method: str,
        corruption: str,
        segmenter: ActiveSegmenter,
        done: Sequence[FrameRecord],
    ) -> None:
        """Args:
        folder: keeps the memory beside the records.
        method, corruption: see `FrameRecord`.
        segmenter: of the method.
        done: records of an earlier run.
        """
        self._folder = folder
        self._names = method, corruption
        self._segmenter = segmenter
        self._memory = StreamMemory()
        self.restored = False
        labelled = [
            record.index
            for record in done
            if (record.method, record.corruption) == self._names and record.unlabeled is not None
        ]
        kept = folder.memory(*self._names)
        if labelled and kept is not None and kept[0] == max(labelled):
            try:
                queries = segmenter.vocabulary.prompts
                self._memory = StreamMemory.restored(kept[1], queries, segmenter.settings)
                self.restored = True
            except (ValueError, KeyError, TypeError):
                pass  # Damaged: the frames are seen again.

    def segment(self, rgb: np.ndarray, stamp: int) -> SegmentationResult:
        """Labels the next frame, uint8 [H, W, 3], taken at `stamp` nanoseconds; raises as `ActiveSegmenter.segment`."""
        self._memory.at(stamp)
        return self._segmenter.segment(rgb, self._memory)

    def save(self, index: int) -> None:
        """Keep what is remembered after the frame of this index; before its record is kept."""
        self._folder.save_memory(*self._names, index, self._memory.state())
