"""Margin-aware background calibration."""

from __future__ import annotations

import torch


def background_mask(
    best: torch.Tensor, second: torch.Tensor, threshold: float, exponent: float
) -> torch.Tensor:
    """The pixels whose winner is too weak or too close to the runner-up (ActiveSAM, arXiv 2606.16996).

    A pixel is background if best · √(best − second) < threshold ^ exponent.

    Args:
        best, second: the best two class scores, float32 [H, W].
        threshold: 0 takes no pixel.
        exponent: above 0.

    Returns:
        bool [H, W].
    """
    if threshold <= 0:
        return torch.zeros_like(best, dtype=torch.bool)
    return best * (best - second).clamp(min=0).sqrt() < threshold**exponent
