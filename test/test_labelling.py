"""From class scores to ids."""

import numpy as np
import torch

from activesam_ros.settings import SegmenterSettings
from activesam_ros.stages.fusion import BestTwo
from activesam_ros.stages.labelling import label_pixels
from activesam_ros.vocabulary import Vocabulary


def top():
    """The middle pixel's winner is close to the runner-up."""
    best = BestTwo((1, 3), torch.device("cpu"))
    best.add(0, torch.tensor([[0.9, 0.5, 0.1]]))
    best.add(1, torch.tensor([[0.1, 0.4999, 0.8]]))
    return best


def test_ids_of_the_vocabulary():
    words = Vocabulary.from_names(["a", "b"]).updated(["c", "b"])
    labels, confidence = label_pixels(top(), words, SegmenterSettings())
    assert labels.dtype == np.uint8 and labels.tolist() == [[2, 2, 1]]
    assert confidence.dtype == np.float32
    np.testing.assert_allclose(confidence, [[0.9, 0.5, 0.8]])


def test_what_the_calibration_takes():
    for background, taken in ((None, 255), ("b", 1)):
        words = Vocabulary.from_names(["a", "b"], background=background)
        labels, confidence = label_pixels(top(), words, SegmenterSettings(background_threshold=0.3))
        assert labels.tolist() == [[0, taken, 1]]
        np.testing.assert_allclose(confidence, [[0.9, 0, 0.8]])


def test_large_ids_need_16_bits():
    words = Vocabulary.from_names([f"word {index}" for index in range(300)])
    labels, _ = label_pixels(top(), words, SegmenterSettings(background_threshold=0.3))
    assert labels.dtype == np.uint16 and labels.tolist() == [[0, 65535, 1]]
