"""Names and colours by which a person reads the label images of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from activesam_ros.vocabulary.palette import UNLABELED, Colour

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activesam_ros.vocabulary import Vocabulary

NOT_COUNTED: Colour = (255, 255, 255)
"""Colour of pixels whose truth does not count."""


class EvaluatedClasses(Protocol):
    """What of a matching between truth and vocabulary the pictures need."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the evaluated classes."""

    @property
    def label_index(self) -> Mapping[int, int]:
        """Index of the evaluated class of each class id of the vocabulary that has one."""


@dataclass(frozen=True)
class ClassKey:
    """Which label has which name and colour; labels and truth of one class share both.

    Attributes:
        unlabeled_id: the label of pixels without a class.
        names: of each class id of the vocabulary.
        colours: likewise; ids of one evaluated class have one colour.
        classes: names of the evaluated classes; empty without ground truth.
        class_colours: their colours.
        label_index: evaluated class of each class id that has one.
    """

    unlabeled_id: int
    names: Mapping[int, str]
    colours: Mapping[int, Colour]
    classes: tuple[str, ...]
    class_colours: tuple[Colour, ...]
    label_index: Mapping[int, int]

    @classmethod
    def of(cls, vocabulary: Vocabulary, matching: EvaluatedClasses | None = None) -> ClassKey:
        """The key of a vocabulary.

        Args:
            vocabulary: gives names and colours.
            matching: between its classes and those of the ground truth; None: there is no truth.
        """
        names = dict(zip(vocabulary.class_ids, vocabulary.names, strict=True))
        colours = dict(zip(vocabulary.class_ids, vocabulary.colours, strict=True))
        if matching is None:
            return cls(vocabulary.unlabeled_id, names, colours, (), (), {})
        shared: dict[int, Colour] = {}
        for class_id, index in matching.label_index.items():
            colours[class_id] = shared.setdefault(index, colours[class_id])
        return cls(
            vocabulary.unlabeled_id,
            names,
            colours,
            tuple(matching.classes),
            tuple(shared[index] for index in range(len(matching.classes))),
            dict(matching.label_index),
        )

    def label_table(self) -> np.ndarray:
        """Colour of each label, uint8 [unlabeled_id + 1, 3]; labels of no class are black."""
        table = np.full((self.unlabeled_id + 1, 3), UNLABELED, np.uint8)
        for class_id, colour in self.colours.items():
            table[class_id] = colour
        return table

    def truth_table(self) -> np.ndarray:
        """Colour of each evaluated class and, in the last row, of pixels that do not count: uint8 [classes + 1, 3]."""
        return np.array([*self.class_colours, NOT_COUNTED], np.uint8)

    def evaluated(self, labels: np.ndarray) -> np.ndarray:
        """Index of the evaluated class of each label, int32 [H, W]; `len(classes)` where it has none."""
        table = np.full(self.unlabeled_id + 1, len(self.classes), np.int32)
        for class_id, index in self.label_index.items():
            table[class_id] = index
        return table[labels]
