"""From the best class scores of every pixel to its class id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from activesam_ros.stages.calibration import background_mask

if TYPE_CHECKING:
    import numpy as np

    from activesam_ros.settings import SegmenterSettings
    from activesam_ros.stages.fusion import BestTwo
    from activesam_ros.vocabulary import Vocabulary


def label_pixels(
    top: BestTwo, vocabulary: Vocabulary, settings: SegmenterSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Class ids in the vocabulary's label type, and confidence float32, both [H, W].

    Where the calibration takes a pixel, it gets the background class, or the unlabelled id if there is none, and a
    confidence of 0.

    Args:
        top: the best two classes of every pixel; overwritten.
        vocabulary: whose classes they are.
        settings: those of the calibration.
    """
    taken = background_mask(top.best, top.second, settings.background_threshold, settings.margin_exponent)
    ids = torch.tensor(vocabulary.class_ids, dtype=torch.int32, device=taken.device)
    fallback = vocabulary.background_id
    labels = ids[top.index].masked_fill_(taken, vocabulary.unlabeled_id if fallback is None else fallback)
    confidence = top.best.masked_fill_(taken, 0)
    return labels.cpu().numpy().astype(vocabulary.label_dtype), confidence.cpu().numpy()
