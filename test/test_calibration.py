"""Margin-aware background calibration against its formula."""

import pytest
import torch

from activesam_ros.stages.calibration import background_mask


@pytest.mark.parametrize(
    ("best", "second", "threshold", "taken"),
    [
        (0.9, 0.0, 0.4, False),
        (0.9, 0.89, 0.4, True),  # 0.9·√0.01 = 0.09 < 0.4^1.25 = 0.318
        (0.5, 0.0, 0.4, False),  # 0.5·√0.5 = 0.354
        (0.45, 0.0, 0.4, True),  # 0.45·√0.45 = 0.302
        (0.0, 0.0, 0.1, True),
        (0.0, 0.0, 0.0, False),
    ],
)
def test_hand_computed_pixels(best, second, threshold, taken):
    mask = background_mask(torch.tensor([[best]]), torch.tensor([[second]]), threshold, 1.25)
    assert mask.shape == (1, 1)
    assert mask.item() is taken
