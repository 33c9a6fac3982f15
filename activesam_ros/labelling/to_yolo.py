"""Write labels as polygons for YOLO's segmentation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np

from activesam_ros.labelling.segments import segments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from activesam_ros.labelling.labelled import LabelledImages

# Outlines of what is one pixel wide are found in so many times the resolution, where it has an area.
_FINER = 3


def write_yolo(images: LabelledImages, folder: Path) -> None:
    """Write `images`, `labels` with a polygon a line, and `data.yaml` with the classes.

    Classes are numbered by their order in the vocabulary. A polygon has no holes; the trainer draws smaller ones above
    larger ones.
    """
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    numbers = {class_id: number for number, class_id in enumerate(images.vocabulary.class_ids)}
    files = {}
    for frame, part in images.parts():
        ending, data = part.image
        (folder / "images" / f"{frame.name}{ending}").write_bytes(data)
        files[frame.source, frame.position] = f"./images/{frame.name}{ending}"
        lines = [
            f"{numbers[segment.class_id]}{' %.6f' * polygon.size % tuple(polygon.ravel().tolist())}\n"
            for segment in segments(frame, part, images.job)
            for polygon in polygons(segment.mask)
        ]
        (folder / "labels" / f"{frame.name}.txt").write_text("".join(lines), encoding="utf-8")
    # JSON in the values, which is YAML for any name.
    listed = "".join(
        f"  {number}: {json.dumps(name, ensure_ascii=False)}\n"
        for number, name in enumerate(images.vocabulary.names)
    )
    review = ""
    if images.job["review"]:
        lines = [f"{files[one.source, one.position]}\n" for one in images.uncertain()]
        (folder / "review.txt").write_text("".join(lines), encoding="utf-8")
        review = "review: review.txt\n"
    # Without a path, the images are looked for beside this file.
    text = f"train: images\nval: images\n{review}names:\n{listed}"
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Return the outlines of a region, bool [H, W], each float [N, 2] of x and y from 0 to 1, of three points at least.

    They connect the centres of its outermost pixels; those of what is one pixel wide run two thirds of a pixel apart.
    """
    size = mask.shape[::-1]
    found = []
    for outline in _outlines(mask.astype(np.uint8)):
        if cv2.contourArea(outline) > 0:
            found.append((outline[:, 0] + 0.5) / size)
            continue
        left, top, width, height = cv2.boundingRect(outline)
        own = np.zeros((height, width), np.uint8)
        cv2.drawContours(own, [outline - (left, top)], -1, 1, cv2.FILLED)
        finer = own.repeat(_FINER, 0).repeat(_FINER, 1)
        found += [((one[:, 0] + 0.5) / _FINER + (left, top)) / size for one in _outlines(finer)]
    return found


def _outlines(mask: np.ndarray) -> Sequence[np.ndarray]:
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return outlines
