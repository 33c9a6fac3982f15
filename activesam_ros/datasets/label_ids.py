"""What the values in label files mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from activesam_ros.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping

_VALUES = 65_536
_IGNORED, _UNKNOWN = -1, -2


@dataclass(frozen=True)
class LabelIds:
    """The classes behind the values of label files.

    Attributes:
        classes: value in the file → class id.
        ignored: values whose pixels do not count, as the data set says.

    Raises:
        DatasetError: no classes, or a class id above 65534.
    """

    classes: Mapping[int, int]
    ignored: frozenset[int] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if not self.classes:
            raise DatasetError(
                "there is no class left to evaluate; expected at least one that is not ignored"
            )
        if max(self.classes.values()) > _VALUES - 2:
            raise DatasetError(
                f"the class id {_VALUES - 1} stands for pixels without a class; expected smaller ids"
            )

    @cached_property
    def dtype(self) -> np.dtype:
        """uint8 while every class id is at most 254, else uint16."""
        return np.dtype(np.uint8 if max(self.classes.values()) < 255 else np.uint16)

    @cached_property
    def uncounted_id(self) -> int:
        """What pixels without a class become: 255, or 65535 in 16 bit."""
        return int(np.iinfo(self.dtype).max)

    @cached_property
    def _table(self) -> np.ndarray:
        table = np.full(_VALUES, _UNKNOWN, np.int32)
        table[sorted(self.ignored)] = _IGNORED
        for value, class_id in self.classes.items():
            table[value] = class_id
        return table

    def convert(self, values: np.ndarray) -> tuple[np.ndarray, dict[int, int]]:
        """Class ids of a label file.

        Args:
            values: uint8 or uint16 [H, W].

        Returns:
            class ids [H, W] of type `dtype`, with `uncounted_id` where there is none; and for every value that is
            neither a class nor ignored the number of its pixels.
        """
        ids = self._table[values]
        unknown: dict[int, int] = {}
        if (ids == _UNKNOWN).any():
            found, pixels = np.unique(values[ids == _UNKNOWN], return_counts=True)
            unknown = dict(zip(found.tolist(), pixels.tolist(), strict=True))
        return np.where(ids < 0, self.uncounted_id, ids).astype(self.dtype), unknown
