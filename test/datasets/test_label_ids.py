"""Values of label files become class ids."""

import numpy as np
import pytest

from activesam_ros.datasets.image_files import LabelIds
from activesam_ros.errors import DatasetError


def test_classes_ignored_and_unknown_values():
    ids = LabelIds({7: 0, 8: 1}, frozenset({0, 255}))
    labels, unknown = ids.convert(np.array([[7, 8, 0], [255, 9, 9]], np.uint8))
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[0, 1, 255], [255, 255, 255]]
    assert unknown == {9: 2}


def test_nothing_unknown():
    labels, unknown = LabelIds({0: 0}).convert(np.zeros((2, 2), np.uint8))
    assert not labels.any()
    assert unknown == {}


@pytest.mark.parametrize(("largest", "kind", "uncounted"), [(254, np.uint8, 255), (255, np.uint16, 65535)])
def test_large_ids_need_16_bit(largest, kind, uncounted):
    ids = LabelIds({300: largest}, frozenset({65535}))
    labels, unknown = ids.convert(np.array([[300, 65535]], np.uint16))
    assert (ids.dtype, ids.uncounted_id) == (kind, uncounted)
    assert labels.dtype == kind
    assert labels.tolist() == [[largest, uncounted]]
    assert unknown == {}


def test_the_values_given_stay_as_they_are():
    values = np.array([[1, 2]], np.uint8)
    LabelIds({1: 0, 2: 1}).convert(values)
    assert values.tolist() == [[1, 2]]


def test_what_cannot_be_recorded():
    with pytest.raises(DatasetError, match="there is no class left to evaluate"):
        LabelIds({}, frozenset({0}))
    with pytest.raises(DatasetError, match="the class id 65535 stands for pixels without a class"):
        LabelIds({0: 65535})
