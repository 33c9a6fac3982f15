"""A colour for every class: that of Cityscapes for its classes, else one that follows from the name."""

from __future__ import annotations

import colorsys
import hashlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Colour = tuple[int, int, int]

UNLABELED: Colour = (0, 0, 0)
"""Red, green and blue of pixels without a class."""

CITYSCAPES: Mapping[str, Colour] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
"""The colours in which the 19 classes of Cityscapes are usually shown."""

_SYNONYMS: Mapping[str, str] = {
    "street": "road",
    "roadway": "road",
    "asphalt": "road",
    "pavement": "sidewalk",
    "footpath": "sidewalk",
    "house": "building",
    "railing": "fence",
    "post": "pole",
    "lamp post": "pole",
    "traffic signal": "traffic light",
    "stoplight": "traffic light",
    "road sign": "traffic sign",
    "street sign": "traffic sign",
    "tree": "vegetation",
    "bush": "vegetation",
    "plants": "vegetation",
    "grass": "terrain",
    "lawn": "terrain",
    "soil": "terrain",
    "pedestrian": "person",
    "people": "person",
    "human": "person",
    "cyclist": "rider",
    "automobile": "car",
    "lorry": "truck",
    "coach": "bus",
    "tram": "train",
    "motorbike": "motorcycle",
    "bike": "bicycle",
}

# CIE Lab distance (8-bit scale) below which two colours are hard to tell apart in a picture; halved until
# a crowded vocabulary finds a place.
_DISTINCT = 40.0
_CANDIDATES = 24
# Beyond this many classes no eye tells them apart, and the search would cost seconds.
_MOST_DISTINCT = 512


def name_colour(name: str) -> Colour:
    """Return the colour of a class name on its own: red, green, blue, 0 to 255."""
    key = _key(name)
    key = _SYNONYMS.get(key, key)
    return CITYSCAPES.get(key) or _candidate(key, 0)


def class_colours(names: Sequence[str], fixed: Mapping[int, Colour] | None = None) -> NDArray[np.uint8]:
    """Choose colours for the classes of one vocabulary, distinct from each other and never black.

    A name keeps the colour of `name_colour` unless a name before it (or a Cityscapes class anywhere) has one
    that looks alike; then it gets the first of its own further colours that does not.

    Args:
        names: display names in class order; of a name with aliases only the first counts.
        fixed: colours that are given, by index into `names`; they stay, and the others keep clear of them.

    Returns:
        uint8 [len(names), 3], red, green, blue.
    """
    keys = [_key(name) for name in names]
    colours: dict[int, Colour] = dict(fixed or {})
    # A synonym gets the shared colour only if nobody before it has it.
    taken: set[Colour] = set(colours.values())
    for synonyms in (False, True):
        for index, key in enumerate(keys):
            known = _SYNONYMS.get(key, "") if synonyms else key
            if index not in colours and known in CITYSCAPES and CITYSCAPES[known] not in taken:
                colours[index] = CITYSCAPES[known]
                taken.add(colours[index])
    chosen = list(_lab([UNLABELED, *colours.values()]))
    for index, key in enumerate(keys):
        if index in colours:
            continue
        if index >= _MOST_DISTINCT:
            colours[index] = _candidate(key, 0)
            continue
        colours[index] = _distinct(key, np.array(chosen))
        chosen.append(_lab([colours[index]])[0])
    return np.array([colours[index] for index in range(len(keys))], np.uint8).reshape(-1, 3)


def colour_table(
    class_ids: Sequence[int], colours: Sequence[Colour] | NDArray[np.uint8], unlabeled_id: int
) -> NDArray[np.uint8]:
    """Make a table that turns labels into colours by `table[labels]`.

    Args:
        class_ids: id of each class.
        colours: red, green and blue of each class, in the same order.
        unlabeled_id: 255 or 65535, the highest value of the labels' type.

    Returns:
        uint8 [unlabeled_id + 1, 3]; ids that no class has are black like `unlabeled_id`.
    """
    table = np.zeros((unlabeled_id + 1, 3), np.uint8)
    table[:] = UNLABELED
    if len(colours):
        table[np.asarray(class_ids)] = np.asarray(colours, np.uint8)
    return table


def _key(name: str) -> str:
    return " ".join(name.split(",")[0].lower().replace("_", " ").replace("-", " ").split())


def _candidate(key: str, attempt: int) -> Colour:
    """Return the `attempt`-th colour of a name: hue, saturation and value from a hash, never dark or pale."""
    digest = hashlib.sha256(f"{key}/{attempt}".encode()).digest()
    hue = int.from_bytes(digest[:4], "big") / 2**32
    saturation = 0.55 + 0.45 * digest[4] / 255
    value = 0.55 + 0.45 * digest[5] / 255
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def _distinct(key: str, chosen: NDArray[np.uint8]) -> Colour:
    candidates = [_candidate(key, attempt) for attempt in range(_CANDIDATES)]
    distance = np.linalg.norm(_lab(candidates)[:, None] - chosen[None], axis=2).min(axis=1)
    wanted = _DISTINCT
    while True:
        good = np.flatnonzero(distance >= wanted)
        if len(good):
            return candidates[good[0]]
        wanted /= 2
        if wanted < 1:
            return candidates[int(distance.argmax())]


def _lab(colours: Sequence[Colour]) -> NDArray[np.uint8]:
    return cv2.cvtColor(np.array([colours], np.uint8), cv2.COLOR_RGB2LAB)[0].astype(np.float32)
