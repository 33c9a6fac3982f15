"""A labelled image as files: the overlay for people, labels and confidence for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2

from activesam_ros.errors import ActiveSamError
from activesam_ros.system.files import write_atomically
from activesam_ros.visualization import legend, overlay, stack
from activesam_ros.vocabulary.palette import colour_table

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from activesam_ros.results import SegmentationResult

_LEGEND_WIDTH = 320


def result_paths(folder: Path, stem: str, confidence: bool) -> dict[str, Path]:
    """The files of an image by what they show: "overlay", "labels" and, if wanted, "confidence"."""
    kinds = ("overlay", "labels", "confidence") if confidence else ("overlay", "labels")
    return {kind: folder / f"{stem}_{kind}.png" for kind in kinds}


def write_result(paths: dict[str, Path], rgb: np.ndarray, result: SegmentationResult) -> None:
    """Writes the files of an image, each whole or not at all.

    The labels are class ids, 8 or 16 bit grey, `unlabeled_id` where no class won; the confidence is 8 bit grey, 255
    is certain, 0 where no class won. Both have the size of the image.

    Args:
        paths: as of `result_paths`.
        rgb: the image, uint8 [H, W, 3].
        result: of the image.

    Raises:
        ActiveSamError: a file cannot be written.
    """
    confidence = cv2.convertScaleAbs(result.confidence, alpha=255.0)
    confidence[result.labels == result.unlabeled_id] = 0
    pictures = {
        "overlay": cv2.cvtColor(labelled_picture(rgb, result), cv2.COLOR_RGB2BGR),
        "labels": result.labels,
        "confidence": confidence,
    }
    for kind, path in paths.items():
        _, data = cv2.imencode(".png", pictures[kind])
        try:
            write_atomically(path, data.tobytes())
        except OSError as error:
            raise ActiveSamError(
                f"{path} cannot be written ({error.strerror}); choose another folder with --out"
            ) from error


def labelled_picture(rgb: np.ndarray, result: SegmentationResult) -> np.ndarray:
    """The image with its classes in colour, and below it their names, the largest first: uint8 [H + …, ≥ W, 3]."""
    vocabulary = result.vocabulary
    table = colour_table(vocabulary.class_ids, vocabulary.colours, vocabulary.unlabeled_id)
    shown = sorted((entry for entry in result.active if entry.pixels), key=lambda entry: -(entry.pixels or 0))
    strip = legend(
        [entry.name for entry in shown],
        table[[entry.class_id for entry in shown]],
        max(rgb.shape[1], _LEGEND_WIDTH),
    )
    return stack(overlay(rgb, result.labels, table, result.unlabeled_id), strip)
