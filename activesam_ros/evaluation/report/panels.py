"""One frame as pictures: input | truth | prediction | error, and what the colours mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import cv2
import numpy as np

from activesam_ros import visualization as drawing
from activesam_ros.evaluation.report.class_key import NOT_COUNTED, ClassKey
from activesam_ros.vocabulary.palette import UNLABELED, Colour

if TYPE_CHECKING:
    from collections.abc import Collection

PANEL_WIDTH = 480
"""Pictures are at most this wide: four fit beside each other on a screen, and a page with many stays small."""

_LEAST_SHARE = 0.002
_MOST_NAMED = 14
_GREY: Colour = (205, 205, 205)


class Verdict(IntEnum):
    """What became of a pixel."""

    NOT_COUNTED = 0
    RIGHT = 1
    WRONG = 2
    UNLABELED = 3
    MISSED = 4


VERDICT_NAMES = {
    Verdict.NOT_COUNTED: "truth does not count",
    Verdict.RIGHT: "right",
    Verdict.WRONG: "wrong class",
    Verdict.UNLABELED: "no label",
    Verdict.MISSED: "class was not decoded",
}

# Of the set by Okabe and Ito, which people with any common colour blindness tell apart.
VERDICT_COLOURS: dict[Verdict, Colour] = {
    Verdict.NOT_COUNTED: NOT_COUNTED,
    Verdict.RIGHT: _GREY,
    Verdict.WRONG: (213, 94, 0),
    Verdict.UNLABELED: (240, 228, 66),
    Verdict.MISSED: (0, 90, 181),
}


@dataclass(frozen=True)
class Entry:
    """A line of a legend: a name, its colour, and the share in 0..1 of the truth and of the labels that it covers.

    With a truth, both are shares of the pixels that count.
    """

    name: str
    colour: Colour
    truth: float | None = None
    labels: float | None = None


@dataclass(frozen=True, eq=False)
class Panels:
    """Pictures of one frame, all of one size.

    Attributes:
        pictures: title and picture (uint8 [h, w, 3]) from left to right.
        classes: the classes that are seen, the largest first.
        errors: what the colours of the last picture mean, with the share of the counted pixels as `labels`; empty if
            there is nothing to compare with.
    """

    pictures: tuple[tuple[str, np.ndarray], ...]
    classes: tuple[Entry, ...]
    errors: tuple[Entry, ...]


def verdicts(
    truth: np.ndarray, labels: np.ndarray, key: ClassKey, missed: Collection[int] = ()
) -> np.ndarray:
    """What became of each pixel.

    Args:
        truth: indices of evaluated classes, integers [H, W]; negative: the pixel does not count.
        labels: class ids, integers [H, W].
        key: of the run.
        missed: indices of evaluated classes that were not decoded (see `TruthScores.missed`).

    Returns:
        values of `Verdict`, uint8 [H, W].

    Raises:
        ValueError: the images differ in size.
    """
    if truth.shape != labels.shape:
        raise ValueError(f"the truth is {truth.shape} and the labels {labels.shape}; expected one size")
    found = np.full(truth.shape, Verdict.WRONG, np.uint8)
    found[labels == key.unlabeled_id] = Verdict.UNLABELED
    found[np.isin(truth, list(missed))] = Verdict.MISSED
    found[truth == key.evaluated(labels)] = Verdict.RIGHT
    found[truth < 0] = Verdict.NOT_COUNTED
    return found


def truth_panels(
    rgb: np.ndarray,
    truth: np.ndarray,
    labels: np.ndarray,
    key: ClassKey,
    missed: Collection[int] = (),
    width: int = PANEL_WIDTH,
) -> Panels:
    """Input | truth | prediction | error.

    Args:
        rgb: uint8 [H, W, 3].
        truth, labels, key, missed: as of `verdicts`.
        width: the pictures are shrunk to it if they are wider.

    Raises:
        ValueError: the images differ in size.
    """
    found = verdicts(truth, labels, key, missed)
    counted = max(1, int(np.count_nonzero(found)))
    pixels = np.bincount(found.ravel(), minlength=len(Verdict))
    errors = tuple(
        Entry(VERDICT_NAMES[kind], VERDICT_COLOURS[kind], labels=pixels[kind] / counted)
        for kind in (Verdict.RIGHT, Verdict.WRONG, Verdict.UNLABELED, Verdict.MISSED)
        if pixels[kind]
    )
    if pixels[Verdict.NOT_COUNTED]:
        errors += (Entry(VERDICT_NAMES[Verdict.NOT_COUNTED], NOT_COUNTED),)
    return Panels(
        (
            ("input", shrunk(rgb, width)),
            ("truth", shrunk(key.truth_table()[truth], width, sharp=True)),
            ("prediction", shrunk(drawing.colourise(labels, key.label_table()), width, sharp=True)),
            ("error", _error_picture(rgb, found, width)),
        ),
        _class_entries(truth, labels, key),
        errors,
    )


def reference_panels(
    rgb: np.ndarray,
    labels: np.ndarray,
    key: ClassKey,
    reference: np.ndarray | None = None,
    reference_name: str = "reference",
    width: int = PANEL_WIDTH,
) -> Panels:
    """Without ground truth: input | another method's labels | prediction | difference, or input | prediction alone.

    Args:
        rgb: uint8 [H, W, 3].
        labels: class ids, integers [H, W].
        key: of the run.
        reference: class ids of the method that is compared with, integers [H, W]; None: there is none.
        reference_name: its name.
        width: the pictures are shrunk to it if they are wider.

    Raises:
        ValueError: the images differ in size.
    """
    table = key.label_table()
    pictures = [("input", shrunk(rgb, width))]
    errors: tuple[Entry, ...] = ()
    if reference is not None:
        if reference.shape != labels.shape:
            raise ValueError(f"the labels are {reference.shape} and {labels.shape}; expected one size")
        differs = reference != labels
        share = float(differs.mean())
        pictures.append((reference_name, shrunk(drawing.colourise(reference, table), width, sharp=True)))
        errors = (
            Entry("same label", _GREY, labels=1 - share),
            Entry("another label", VERDICT_COLOURS[Verdict.WRONG], labels=share),
        )
    pictures.append(("prediction", shrunk(drawing.colourise(labels, table), width, sharp=True)))
    if reference is not None:
        found = np.where(differs, Verdict.WRONG, Verdict.RIGHT).astype(np.uint8)
        pictures.append(("difference", _error_picture(rgb, found, width)))
    return Panels(tuple(pictures), _label_entries(labels, reference, key), errors)


def sheet(panels: Panels) -> np.ndarray:
    """The pictures side by side over their legend, for a file of its own: uint8 [H, W, 3]."""
    titles, pictures = zip(*panels.pictures, strict=True)
    row = drawing.panels(pictures, titles)
    strips = [
        drawing.legend([entry.name for entry in entries], [entry.colour for entry in entries], row.shape[1])
        for entries in (panels.classes, panels.errors)
        if entries
    ]
    return drawing.stack(row, *strips)


def shrunk(picture: np.ndarray, width: int, sharp: bool = False) -> np.ndarray:
    """The picture, at most `width` wide; `sharp` makes up no colours between those of labels."""
    if picture.shape[1] <= width:
        return picture
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST if sharp else cv2.INTER_AREA)


def _error_picture(rgb: np.ndarray, found: np.ndarray, width: int) -> np.ndarray:
    """What is right as a pale grey photograph, so that one sees where one is; the rest in full colour."""
    grey = cv2.cvtColor(cv2.cvtColor(shrunk(rgb, width), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    small = shrunk(found, width, sharp=True)
    table = np.array([VERDICT_COLOURS[kind] for kind in Verdict], np.uint8)
    # Few levels of grey, which make a small file.
    return np.where((small == Verdict.RIGHT)[..., None], 165 + grey // 16 * 5, table[small]).astype(np.uint8)


def _class_entries(truth: np.ndarray, labels: np.ndarray, key: ClassKey) -> tuple[Entry, ...]:
    counted = truth[truth >= 0]
    in_truth = np.bincount(counted.ravel(), minlength=len(key.classes)) / max(1, counted.size)
    in_labels = np.bincount(labels[truth >= 0], minlength=key.unlabeled_id + 1) / max(1, counted.size)
    evaluated = np.zeros(len(key.classes))
    others = []
    for class_id, name in key.names.items():
        index = key.label_index.get(class_id)
        if index is not None:
            evaluated[index] += in_labels[class_id]
        elif in_labels[class_id]:
            others.append(
                Entry(f"{name} (not in the truth)", key.colours[class_id], 0.0, float(in_labels[class_id]))
            )
    entries = [
        Entry(name, key.class_colours[index], float(in_truth[index]), float(evaluated[index]))
        for index, name in enumerate(key.classes)
    ]
    return _largest([*entries, *others, _unlabeled(float(in_labels[key.unlabeled_id]))])


def _label_entries(labels: np.ndarray, reference: np.ndarray | None, key: ClassKey) -> tuple[Entry, ...]:
    shares = np.bincount(labels.ravel(), minlength=key.unlabeled_id + 1) / labels.size
    other = (
        shares if reference is None else np.bincount(reference.ravel(), minlength=len(shares)) / labels.size
    )
    entries = [
        Entry(
            name,
            key.colours[class_id],
            None if reference is None else float(other[class_id]),
            float(shares[class_id]),
        )
        for class_id, name in key.names.items()
    ]
    return _largest([*entries, _unlabeled(float(shares[key.unlabeled_id]))])


def _unlabeled(share: float) -> Entry:
    return Entry("no label", UNLABELED, None, share)


def _largest(entries: list[Entry]) -> tuple[Entry, ...]:
    def size(entry: Entry) -> float:
        return max(entry.truth or 0.0, entry.labels or 0.0)

    seen = [entry for entry in entries if size(entry) >= _LEAST_SHARE]
    return tuple(sorted(seen, key=size, reverse=True)[:_MOST_NAMED])
