"""Temporal flicker: labels that change while the world does not."""

from __future__ import annotations

import numpy as np


def flicker_counts(
    truth_before: np.ndarray, truth: np.ndarray, labels_before: np.ndarray, labels: np.ndarray
) -> tuple[int, int]:
    """Pixels whose label changed between two frames, of those whose truth did not.

    Pixels are compared in place, so a moving camera leaves only the inside of what stays: the figure says how steady
    labels are there, not how well they follow a motion.

    Args:
        truth_before, truth: integers [H, W]; negative: does not count.
        labels_before, labels: class ids as published, integers [H, W]; "unlabelled" is a label like others.

    Returns:
        How many changed, and how many were compared.

    Raises:
        ValueError: the images differ in size.
    """
    if not truth_before.shape == truth.shape == labels_before.shape == labels.shape:
        raise ValueError(
            f"truth and labels are {truth_before.shape} and {labels_before.shape} before, {truth.shape} and "
            f"{labels.shape} now; expected one size"
        )
    steady = (truth == truth_before) & (truth >= 0)
    return int(np.count_nonzero((labels != labels_before) & steady)), int(np.count_nonzero(steady))
