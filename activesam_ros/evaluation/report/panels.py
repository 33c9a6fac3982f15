"""Draw one frame as pictures side by side (input, truth, prediction, error) with a legend."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import cv2
import numpy as np

from activesam_ros import visualization
from activesam_ros.vocabulary.palette import UNLABELED, Colour

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from activesam_ros.evaluation.truth import Matching
    from activesam_ros.vocabulary import Vocabulary

PANEL_WIDTH = 480
"""Maximum width of a picture in pixels: four fit side by side on a screen, and a page with many stays small."""

NOT_COUNTED: Colour = (255, 255, 255)
"""Colour of pixels whose truth does not count."""

_MIN_SHARE = 0.002
_MAX_CLASSES = 14
_GREY: Colour = (205, 205, 205)


class Outcome(IntEnum):
    """The outcome of a pixel: a correct label, or the kind of error."""

    NOT_COUNTED = 0
    RIGHT = 1
    WRONG = 2
    UNLABELED = 3
    MISSED = 4


OUTCOME_NAMES = {
    Outcome.NOT_COUNTED: "truth does not count",
    Outcome.RIGHT: "right",
    Outcome.WRONG: "wrong class",
    Outcome.UNLABELED: "no label",
    Outcome.MISSED: "class was not decoded",
}

OUTCOME_COLOURS: dict[Outcome, Colour] = {
    Outcome.NOT_COUNTED: NOT_COUNTED,
    Outcome.RIGHT: _GREY,
    Outcome.WRONG: (213, 94, 0),
    Outcome.UNLABELED: (240, 228, 66),
    Outcome.MISSED: (0, 90, 181),
}
"""From the colour-blind-safe palette of Okabe and Ito."""


@dataclass(frozen=True)
class ClassColours:
    """Names and colours of labels; labels and truth of one class share both.

    Attributes:
        unlabeled_id: label of pixels without a class.
        names, colours: by class id of the vocabulary; ids of one evaluated class have one colour.
        classes, class_colours: of the evaluated classes; empty without ground truth.
        label_index: index of the evaluated class of each class id that has one.
    """

    unlabeled_id: int
    names: Mapping[int, str]
    colours: Mapping[int, Colour]
    classes: tuple[str, ...]
    class_colours: tuple[Colour, ...]
    label_index: Mapping[int, int]

    @classmethod
    def of(cls, vocabulary: Vocabulary, matching: Matching | None = None) -> ClassColours:
        """Take names and colours from a vocabulary; `matching` maps its classes to those of the ground truth."""
        names = dict(zip(vocabulary.class_ids, vocabulary.names, strict=True))
        colours = dict(zip(vocabulary.class_ids, vocabulary.colours, strict=True))
        if matching is None:
            return cls(vocabulary.unlabeled_id, names, colours, (), (), {})
        shared: dict[int, Colour] = {}
        for class_id, index in matching.label_index.items():
            colours[class_id] = shared.setdefault(index, colours[class_id])
        classes = tuple(matching.classes)
        class_colours = tuple(shared[index] for index in range(len(classes)))
        return cls(
            vocabulary.unlabeled_id, names, colours, classes, class_colours, dict(matching.label_index)
        )

    def label_table(self) -> np.ndarray:
        """Return the colour of each label, uint8 [unlabeled_id + 1, 3]; labels of no class are black."""
        table = np.full((self.unlabeled_id + 1, 3), UNLABELED, np.uint8)
        for class_id, colour in self.colours.items():
            table[class_id] = colour
        return table

    def truth_table(self) -> np.ndarray:
        """Return the colour of each evaluated class, and last of pixels that do not count: uint8 [classes + 1, 3]."""
        return np.array([*self.class_colours, NOT_COUNTED], np.uint8)

    def evaluated(self, labels: np.ndarray) -> np.ndarray:
        """Map labels to evaluated classes, int32 [H, W]; `len(classes)` where a label has none."""
        table = np.full(self.unlabeled_id + 1, len(self.classes), np.int32)
        for class_id, index in self.label_index.items():
            table[class_id] = index
        return table[labels]


@dataclass(frozen=True)
class LegendEntry:
    """A legend entry: name, colour, and the shares in 0..1 of the truth and of the labels that it covers.

    With ground truth, both are shares of the counted pixels.
    """

    name: str
    colour: Colour
    truth: float | None = None
    labels: float | None = None


@dataclass(frozen=True, eq=False)
class Panels:
    """Pictures of one frame, all of one size.

    Attributes:
        pictures: (title, uint8 [h, w, 3]) from left to right.
        classes: the visible classes, largest first.
        errors: what the colours of the last picture mean, with shares of the counted pixels; empty without comparison.
    """

    pictures: tuple[tuple[str, np.ndarray], ...]
    classes: tuple[LegendEntry, ...]
    errors: tuple[LegendEntry, ...]


def outcomes(
    truth: np.ndarray, labels: np.ndarray, colours: ClassColours, missed: Collection[int] = ()
) -> np.ndarray:
    """Compare labels with the truth, pixel by pixel.

    Args:
        truth: indices of evaluated classes, integers [H, W]; negative: the pixel does not count.
        labels: class ids, integers [H, W].
        colours: of the run.
        missed: indices of evaluated classes that were not decoded (see `TruthScores.missed`).

    Returns:
        `Outcome` values, uint8 [H, W].

    Raises:
        ValueError: the images differ in size.
    """
    if truth.shape != labels.shape:
        raise ValueError(f"the truth is {truth.shape} and the labels {labels.shape}; expected one size")
    found = np.full(truth.shape, Outcome.WRONG, np.uint8)
    found[labels == colours.unlabeled_id] = Outcome.UNLABELED
    found[np.isin(truth, list(missed))] = Outcome.MISSED
    found[truth == colours.evaluated(labels)] = Outcome.RIGHT
    found[truth < 0] = Outcome.NOT_COUNTED
    return found


def truth_panels(
    rgb: np.ndarray,
    truth: np.ndarray,
    labels: np.ndarray,
    colours: ClassColours,
    missed: Collection[int] = (),
) -> Panels:
    """Draw input, truth, prediction and error of an image, uint8 [H, W, 3]; for the rest see `outcomes`."""
    found = outcomes(truth, labels, colours, missed)
    pixels = np.bincount(found.ravel(), minlength=len(Outcome))
    counted = max(1, int(np.count_nonzero(found)))
    errors = tuple(
        LegendEntry(OUTCOME_NAMES[kind], OUTCOME_COLOURS[kind], labels=pixels[kind] / counted)
        for kind in (Outcome.RIGHT, Outcome.WRONG, Outcome.UNLABELED, Outcome.MISSED)
        if pixels[kind]
    )
    if pixels[Outcome.NOT_COUNTED]:
        errors += (LegendEntry(OUTCOME_NAMES[Outcome.NOT_COUNTED], NOT_COUNTED),)
    pictures = (
        ("input", shrunk(rgb)),
        ("truth", shrunk(colours.truth_table()[truth], nearest=True)),
        ("prediction", _label_picture(labels, colours)),
        ("error", _error_picture(rgb, found)),
    )
    return Panels(pictures, _truth_legend(truth, labels, colours), errors)


def reference_panels(
    rgb: np.ndarray,
    labels: np.ndarray,
    colours: ClassColours,
    reference: np.ndarray | None = None,
    reference_name: str = "reference",
) -> Panels:
    """Draw a frame without ground truth: input, labels of a reference method if there are any, prediction, difference.

    Raises:
        ValueError: the images differ in size.
    """
    whole, prediction = ("input", shrunk(rgb)), ("prediction", _label_picture(labels, colours))
    legend = _label_legend(labels, reference, colours)
    if reference is None:
        return Panels((whole, prediction), legend, ())
    if reference.shape != labels.shape:
        raise ValueError(f"the labels are {reference.shape} and {labels.shape}; expected one size")
    differs = reference != labels
    share = float(differs.mean())
    errors = (
        LegendEntry("same label", _GREY, labels=1 - share),
        LegendEntry("another label", OUTCOME_COLOURS[Outcome.WRONG], labels=share),
    )
    found = np.where(differs, Outcome.WRONG, Outcome.RIGHT).astype(np.uint8)
    other = (reference_name, _label_picture(reference, colours))
    return Panels((whole, other, prediction, ("difference", _error_picture(rgb, found))), legend, errors)


def contact_sheet(panels: Panels) -> np.ndarray:
    """Draw the pictures side by side over their legends, uint8 [H, W, 3]."""
    titles, pictures = zip(*panels.pictures, strict=True)
    row = visualization.panels(pictures, titles)
    legends = [
        visualization.legend([one.name for one in entries], [one.colour for one in entries], row.shape[1])
        for entries in (panels.classes, panels.errors)
        if entries
    ]
    return visualization.stack(row, *legends)


def shrunk(picture: np.ndarray, width: int = PANEL_WIDTH, nearest: bool = False) -> np.ndarray:
    """Shrink a picture to `width` if it is wider; `nearest` keeps the colours of labels."""
    if picture.shape[1] <= width:
        return picture
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(
        picture, (width, height), interpolation=cv2.INTER_NEAREST if nearest else cv2.INTER_AREA
    )


def _label_picture(labels: np.ndarray, colours: ClassColours) -> np.ndarray:
    return shrunk(visualization.colourise(labels, colours.label_table()), nearest=True)


def _error_picture(rgb: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Draw errors in full colour over a pale grey photograph that shows the place."""
    grey = cv2.cvtColor(cv2.cvtColor(shrunk(rgb), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    small = shrunk(found, nearest=True)
    table = np.array([OUTCOME_COLOURS[kind] for kind in Outcome], np.uint8)
    # Few grey levels make a small file.
    return np.where((small == Outcome.RIGHT)[..., None], 165 + grey // 16 * 5, table[small]).astype(np.uint8)


def _truth_legend(truth: np.ndarray, labels: np.ndarray, colours: ClassColours) -> tuple[LegendEntry, ...]:
    counted = truth[truth >= 0]
    total = max(1, counted.size)
    in_truth = np.bincount(counted.ravel(), minlength=len(colours.classes)) / total
    in_labels = np.bincount(labels[truth >= 0], minlength=colours.unlabeled_id + 1) / total
    evaluated = np.zeros(len(colours.classes))
    others = []
    for class_id, name in colours.names.items():
        share = float(in_labels[class_id])
        index = colours.label_index.get(class_id)
        if index is not None:
            evaluated[index] += share
        elif share:
            others.append(LegendEntry(f"{name} (not in the truth)", colours.colours[class_id], 0.0, share))
    entries = [
        LegendEntry(name, colours.class_colours[index], float(in_truth[index]), float(evaluated[index]))
        for index, name in enumerate(colours.classes)
    ]
    unlabeled = LegendEntry("no label", UNLABELED, None, float(in_labels[colours.unlabeled_id]))
    return _largest([*entries, *others, unlabeled])


def _label_legend(
    labels: np.ndarray, reference: np.ndarray | None, colours: ClassColours
) -> tuple[LegendEntry, ...]:
    def shares(image: np.ndarray) -> list[float]:
        return (np.bincount(image.ravel(), minlength=colours.unlabeled_id + 1) / image.size).tolist()

    own, other = shares(labels), None if reference is None else shares(reference)
    entries = [
        LegendEntry(name, colours.colours[class_id], other[class_id] if other else None, own[class_id])
        for class_id, name in colours.names.items()
    ]
    return _largest([*entries, LegendEntry("no label", UNLABELED, None, own[colours.unlabeled_id])])


def _largest(entries: list[LegendEntry]) -> tuple[LegendEntry, ...]:
    def size(entry: LegendEntry) -> float:
        return max(entry.truth or 0.0, entry.labels or 0.0)

    seen = [entry for entry in entries if size(entry) >= _MIN_SHARE]
    return tuple(sorted(seen, key=size, reverse=True)[:_MAX_CLASSES])
