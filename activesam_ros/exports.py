"""Instances in the forms that other libraries read; each of these is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from activesam_ros.errors import ActiveSamError
from activesam_ros.instances import draw_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activesam_ros.instances import Instance


def to_supervision(instances: Sequence[Instance], size: tuple[int, int]) -> Any:
    """Return the `supervision.Detections` of an image of `size`, height and width."""
    supervision = _required("supervision")
    masks = np.zeros((len(instances), *size), bool)
    for mask, one in zip(masks, instances, strict=True):
        mask[:] = one.mask
    return supervision.Detections(
        xyxy=np.array([one.box for one in instances], np.float32).reshape(-1, 4),
        mask=masks,
        confidence=np.array([one.score for one in instances], np.float32),
        class_id=np.array([one.class_id for one in instances], int),
        tracker_id=np.array([one.id for one in instances], int),
        data={"class_name": np.array([one.name for one in instances], str)},
    )


def to_coco(instances: Sequence[Instance], image_id: int) -> list[dict[str, Any]]:
    """Return COCO's results, one dictionary for each instance, which `json` can write."""
    coco = _required("pycocotools.mask")
    results = []
    for one in instances:
        left, top, right, bottom = one.box
        encoded = coco.encode(np.asfortranarray(one.mask, np.uint8))
        results.append(
            {
                "image_id": image_id,
                "category_id": one.class_id,
                "bbox": [left, top, right - left, bottom - top],
                "score": one.score,
                "segmentation": {"size": list(one.size), "counts": encoded["counts"].decode("ascii")},
            }
        )
    return results


def to_segmentation(
    instances: Sequence[Instance], labels: np.ndarray, unlabeled_id: int, presence: Mapping[int, float]
) -> dict[str, Any]:
    """Return what transformers' panoptic post-processing returns.

    Args:
        instances: of the image.
        labels: its class ids, [H, W].
        unlabeled_id: the label of pixels without a class.
        presence: of each decoded class, by its id.
    """
    torch = _required("torch")
    segments = draw_ids(instances, labels).astype(np.int32)
    shown = set(np.unique(segments).tolist())
    info = [
        {"id": one.id, "label_id": one.class_id, "was_fused": False, "score": round(one.score, 6)}
        for one in instances
        if one.id in shown
    ]
    rest = segments == 0
    number = max((one.id for one in instances), default=0)
    for class_id in map(int, np.unique(labels[rest])):
        if class_id == unlabeled_id:
            continue
        number += 1
        segments[rest & (labels == class_id)] = number
        score = round(presence.get(class_id, 0.0), 6)
        info.append({"id": number, "label_id": class_id, "was_fused": True, "score": score})
    return {"segmentation": torch.from_numpy(segments), "segments_info": info}


def _required(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ActiveSamError(
            f"{package} cannot be imported ({error}); install it with: pip install {package}"
        ) from error
