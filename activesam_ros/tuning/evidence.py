"""What the model makes of phrases on labelled frames: presence, and scores at the resolution of the masks or below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from activesam_ros.vocabulary import Vocabulary
from activesam_ros.vocabulary.vocabulary import ClassSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activesam_ros.segmenter import ActiveSegmenter

# Scores are kept at most at this side: 40 frames of 300 phrases take 220 MB.
_SIDE = 96
# A phrase below this presence gets no mask: what it would score is below what any setting keeps.
_LEAST_PRESENCE = 0.02


@dataclass(frozen=True, eq=False)
class Evidence:
    """Answers to P phrases on F frames.

    Attributes:
        presence: float32 [F, P], of the preview.
        scores: float16 [F, P, h, w], mask times presence; 0 where the presence is too low for a mask.
        truth: int16 [F, h, w], index of the class of the vocabulary, or `NOT_COUNTED`; None: there is no truth.
    """

    presence: np.ndarray
    scores: np.ndarray
    truth: np.ndarray | None

    def of(self, frames: np.ndarray) -> Evidence:
        """Return the evidence of the frames with these indices."""
        return Evidence(
            self.presence[frames], self.scores[frames], None if self.truth is None else self.truth[frames]
        )


def collect(
    segmenter: ActiveSegmenter,
    phrases: Sequence[str],
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray] | None,
    step: Callable[[], object] = lambda: None,
) -> Evidence:
    """Ask phrases of images; each image is encoded once.

    Args:
        segmenter: over the model.
        phrases: what to ask for, each at most once.
        images: uint8 [H, W, 3].
        truths: for each image the index of the class of each pixel [H, W], or `NOT_COUNTED`; None: unknown.
        step: is called after each image.

    Raises:
        ImageError, VocabularyError, ModelError, OutOfMemoryError: as `ActiveSegmenter.segment`.
    """
    # A class for each phrase, named by number: two phrases may have one name, "mouse" and "=mouse".
    specs = [ClassSpec(str(number), (phrase,)) for number, phrase in enumerate(phrases)]
    prompts = segmenter.encode(Vocabulary.from_specs(specs))
    presence, scores, labels = [], [], []
    for number, image in enumerate(images):
        kept = segmenter.keep(image)
        every = segmenter.encode_kept(kept, prompts, range(len(phrases)))
        assert every.preview is not None  # since prompts were asked for
        asked = np.flatnonzero(every.preview > _LEAST_PRESENCE)
        if not len(asked):
            asked = np.array([int(every.preview.argmax())])
        encoded = segmenter.encode_kept(kept, prompts, asked.tolist())
        result = segmenter.decode(encoded, instances=False, score_maps=True)
        assert result.score_maps is not None  # since they were asked for
        maps = np.stack([_shrunk(one.astype(np.float32)) for one in result.score_maps])
        frame = np.zeros((len(phrases), *maps.shape[1:]), np.float16)
        frame[asked] = maps
        presence.append(np.nan_to_num(every.preview))
        scores.append(frame)
        if truths is not None:
            labels.append(_sampled(truths[number], maps.shape[1:]))
        step()
    return Evidence(np.stack(presence), np.stack(scores), np.stack(labels) if truths is not None else None)


def _shrunk(scores: np.ndarray) -> np.ndarray:
    """Average a score map [h, w] over cells, so that it has at most `_SIDE` rows and columns."""
    height, width = (min(_SIDE, side) for side in scores.shape)
    return cv2.resize(scores, (width, height), interpolation=cv2.INTER_AREA)


def _sampled(truth: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Take the truth at the middle of each cell, int16 [h, w]."""
    rows, columns = (
        ((np.arange(count) + 0.5) * side / count).astype(int)
        for count, side in zip(size, truth.shape, strict=True)
    )
    return truth[np.ix_(rows, columns)].astype(np.int16)
