"""Write labels as indexed PNGs with a class table, in the layout of Pascal VOC."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from activesam_ros.labelling.segments import instance_ids
from activesam_ros.vocabulary.palette import colour_table

if TYPE_CHECKING:
    from pathlib import Path

    from activesam_ros.labelling.labelled import LabelledImages
    from activesam_ros.vocabulary import Vocabulary

_IMAGES, _MASKS, _INSTANCES = "JPEGImages", "SegmentationClass", "InstanceIds"
_LISTS = "ImageSets/Segmentation"


def write_masks(images: LabelledImages, folder: Path) -> None:
    """Write images, masks, lists of them and the class table.

    A mask has the class's id as value and its colour as palette; with more than 255 ids it is 16-bit grey.
    Ids of instances are 16-bit grey, 0 for none.
    """
    instances = images.job["instances"]
    for name in (_IMAGES, _MASKS, _LISTS, *([_INSTANCES] if instances else [])):
        (folder / name).mkdir(parents=True)
    vocabulary = images.vocabulary
    palette = colour_table(vocabulary.class_ids, vocabulary.colours, vocabulary.unlabeled_id)
    with (folder / _LISTS / "default.txt").open("w", encoding="utf-8") as listed:
        for frame, part in images.parts():
            ending, data = part.image
            (folder / _IMAGES / f"{frame.name}{ending}").write_bytes(data)
            (folder / _MASKS / f"{frame.name}.png").write_bytes(indexed_png(part.labels, palette))
            if instances:
                ids = cv2.imencode(".png", instance_ids(frame, part))[1]
                (folder / _INSTANCES / f"{frame.name}.png").write_bytes(ids.tobytes())
            listed.write(f"{frame.name}\n")
    if images.job["review"]:
        names = "".join(f"{frame.name}\n" for frame in images.uncertain())
        (folder / _LISTS / "review.txt").write_text(names, encoding="utf-8")
    (folder / "labelmap.txt").write_text(_label_map(vocabulary), encoding="utf-8")
    classes = [
        {"id": one.class_id, "name": one.name, "colour": list(one.colour)} for one in vocabulary.classes
    ]
    table = {"classes": classes, "unlabeled_id": vocabulary.unlabeled_id}
    text = json.dumps(table, indent=1, ensure_ascii=False)
    (folder / "classes.json").write_text(f"{text}\n", encoding="utf-8")


def indexed_png(labels: np.ndarray, palette: np.ndarray) -> bytes:
    """Encode labels [H, W] as PNG: uint8 with a palette, uint8 [256, 3]; uint16 as 16-bit grey."""
    if labels.dtype != np.uint8:
        return cv2.imencode(".png", labels)[1].tobytes()
    image = Image.fromarray(labels)
    image.putpalette(palette.ravel().tolist())
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=1)
    return content.getvalue()


def _label_map(vocabulary: Vocabulary) -> str:
    """Return the class table as CVAT reads it; names may not hold its separator."""
    lines = ["# label:color_rgb:parts:actions"]
    if "background" not in vocabulary.names:
        lines.append("background:0,0,0::")  # the pixels without a class
    lines += [
        f"{one.name.replace(':', ' ')}:{','.join(map(str, one.colour))}::" for one in vocabulary.classes
    ]
    return "\n".join(lines) + "\n"
