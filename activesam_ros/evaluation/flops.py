"""What a segmenter asked its model for one image, so that the work can be counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from activesam_ros.model.flops import FusedModelFlops, ModelFlops, Workload

if TYPE_CHECKING:
    from activesam_ros.results import SegmentationResult
    from activesam_ros.segmenter import ActiveSegmenter


class PathWork:
    """Counts of both paths of a model, which are shared between images, since they remember what they counted."""

    def __init__(self, config: object) -> None:
        """Args:
        config: the model's `Sam3Config`.
        """
        self._config = config
        self._known: dict[bool, ModelFlops] = {}

    def of(self, plain: bool) -> ModelFlops:
        """The counts of transformers' own modules, or of the lean path."""
        if plain not in self._known:
            self._known[plain] = (ModelFlops if plain else FusedModelFlops)(self._config)
        return self._known[plain]


def asked_by(segmenter: ActiveSegmenter, result: SegmentationResult) -> Workload:
    """What the model was asked for a result.

    Args:
        segmenter: whose result it is; the vocabulary that it was made with is still in force.
        result: what `segment` or `decode` gave.

    Raises:
        ValueError: another vocabulary is in force, or the result does not say what was asked or kept.
    """
    prompts = segmenter.prompts
    if prompts is None or prompts.vocabulary != result.vocabulary:
        raise ValueError("the result has another vocabulary than the segmenter; count before it is changed")
    if result.instances is None or result.schedule is None:
        raise ValueError(
            "the result does not say what was asked, or how many instance masks were kept; expected one of a segmenter"
        )
    previewed, presence_only = _asked_before(result)
    # The image's class token is the last of every prompt.
    text = prompts.text.shape[1] + 1
    context = prompts.context.tokens.shape[1]
    return Workload(
        full_resolution=segmenter.full_resolution,
        preview_resolution=segmenter.preview_resolution,
        previewed=previewed,
        preview_tokens=text,
        decoded=tuple((text + context, kept) for kept in result.instances),
        presence_only=presence_only,
    )


def _asked_before(result: SegmentationResult) -> tuple[int, int]:
    """How many prompts were asked before decoding: at the preview's, and at full resolution."""
    if result.preview_presence is None:
        return 0, 0
    count = int(np.count_nonzero(~np.isnan(result.preview_presence)))
    return (0, count) if result.schedule is not None and result.schedule.mode == "share" else (count, 0)
