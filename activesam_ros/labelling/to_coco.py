"""Write labels as a COCO data set: regions as run-length masks, and panoptic PNGs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from activesam_ros.labelling.png import rgb_png
from activesam_ros.labelling.segments import segments

if TYPE_CHECKING:
    from pathlib import Path

    from activesam_ros.labelling.labelled import LabelledImages
    from activesam_ros.labelling.parts import LabelledFrame

_IMAGES, _ANNOTATIONS, _PANOPTIC = "images", "annotations", "panoptic_default"


def write_coco(images: LabelledImages, folder: Path) -> None:
    """Write images, `instances_default.json`, `panoptic_default.json` and its PNGs.

    Files grow image by image, so that memory does not. Category ids are class ids + 1, since 0 stands for nothing.
    """
    from pycocotools import mask as rle

    (folder / _IMAGES).mkdir(parents=True)
    pngs = folder / _ANNOTATIONS / _PANOPTIC
    pngs.mkdir(parents=True)
    to_review = {(one.source, one.position) for one in images.uncertain()} if images.job["review"] else set()
    with (
        _CocoFile(folder / _ANNOTATIONS / "instances_default.json", images) as things,
        _CocoFile(folder / _ANNOTATIONS / "panoptic_default.json", images) as panoptic,
        _CocoFile(folder / _ANNOTATIONS / "instances_review.json", images, bool(to_review)) as review,
    ):
        number = 0
        for image_id, (frame, part) in enumerate(images.parts(), start=1):
            ending, data = part.image
            (folder / _IMAGES / f"{frame.name}{ending}").write_bytes(data)
            files = [things, panoptic, *([review] if (frame.source, frame.position) in to_review else [])]
            for one in files:
                one.add_image(_image(image_id, frame, ending))
            ids = np.zeros((frame.height, frame.width), np.uint32)
            infos = []
            for place, segment in enumerate(segments(frame, part, images.job), start=1):
                number += 1
                ids[segment.mask] = place
                encoded = rle.encode(np.asfortranarray(segment.mask, np.uint8))
                about = {
                    "category_id": segment.class_id + 1,
                    "area": int(rle.area(encoded)),
                    "bbox": [float(one) for one in rle.toBbox(encoded)],
                    "iscrowd": 0,
                }
                infos.append({"id": place, **about})
                mask = {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")}
                annotation = {"id": number, "image_id": image_id, **about, "segmentation": mask}
                if segment.instance is not None:
                    annotation["score"] = round(segment.instance.score, 6)
                    if images.is_stream(frame.source):
                        annotation["track_id"] = segment.instance.id
                        # Where CVAT and Datumaro look for it.
                        annotation["attributes"] = {"track_id": segment.instance.id}
                for one in files:
                    if one is not panoptic:
                        one.add_annotation(annotation)
            (pngs / f"{frame.name}.png").write_bytes(_panoptic_png(ids))
            panoptic.add_annotation(
                {"image_id": image_id, "file_name": f"{frame.name}.png", "segments_info": infos}
            )


class _CocoFile:
    """A JSON file of COCO that is written as it goes; a context manager.

    Annotations wait in a second file, as images stand before them.
    """

    def __init__(self, path: Path, images: LabelledImages, used: bool = True) -> None:
        self._path = path
        self._waiting = path.with_suffix(".annotations")
        self._images = images
        self._used = used

    def __enter__(self) -> _CocoFile:
        if self._used:
            self._file = self._path.open("w", encoding="utf-8")
            self._annotations = self._waiting.open("w+", encoding="utf-8")
            categories = json.dumps(_categories(self._images), ensure_ascii=False)
            self._file.write(f'{{"info": {{}}, "licenses": [], "categories": {categories},\n"images": [')
            self._begun: set[TextIO] = set()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._used:
            return
        if kind is None:
            self._file.write('],\n"annotations": [')
            self._annotations.seek(0)
            while text := self._annotations.read(2**20):
                self._file.write(text)
            self._file.write("]}\n")
        self._file.close()
        self._annotations.close()
        self._waiting.unlink(missing_ok=True)

    def add_image(self, entry: dict[str, Any]) -> None:
        self._add(self._file, entry)

    def add_annotation(self, entry: dict[str, Any]) -> None:
        self._add(self._annotations, entry)

    def _add(self, file: TextIO, entry: dict[str, Any]) -> None:
        file.write(",\n" if file in self._begun else "\n")
        self._begun.add(file)
        file.write(json.dumps(entry, ensure_ascii=False))


def _categories(images: LabelledImages) -> list[dict[str, Any]]:
    job = images.job
    return [
        {
            "id": one.class_id + 1,
            "name": one.name,
            "supercategory": "",
            "isthing": int(job["instances"] and one.name not in job["stuff"]),
            "color": list(one.colour),
        }
        for one in images.vocabulary.classes
    ]


def _image(image_id: int, frame: LabelledFrame, ending: str) -> dict[str, Any]:
    return {
        "id": image_id,
        "file_name": f"{frame.name}{ending}",
        "width": frame.width,
        "height": frame.height,
        "stamp": frame.stamp,
        "frame_id": frame.frame_id,
    }


def _panoptic_png(ids: np.ndarray) -> bytes:
    """Encode segment ids [H, W] in colours, red + 256 green + 256² blue; 0 stands for no segment."""
    return rgb_png(np.ascontiguousarray(ids.astype("<u4").view(np.uint8).reshape(*ids.shape, 4)[..., :3]))
