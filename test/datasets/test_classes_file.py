"""Classes of one's own label files."""

import pytest

from activesam_ros.datasets.classes_file import OwnClasses, read_classes
from activesam_ros.errors import DatasetError


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("classes: {0: road, 7: car}\nignore: [255]", OwnClasses({0: "road", 7: "car"}, frozenset({255}))),
        ("classes: [road, car]", OwnClasses({0: "road", 1: "car"}, frozenset())),
        ("classes: {300: road}\nignore: [0, 65535]", OwnClasses({300: "road"}, frozenset({0, 65535}))),
    ],
)
def test_what_is_taken(tree, content, expected):
    assert read_classes(tree.text("classes.yaml", content)) == expected


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "has no classes; expected classes: {0: road, 1: car} or a list of names"),
        ("road", "has no classes"),
        ("classes: road", "is 'road'; expected {0: road, 1: car} or a list"),
        ("classes: {road: 0}", "'road' in .* is no value of a label file; expected a number from 0 to 65534"),
        ("classes: {-1: road}", "-1 in .* is no value"),
        ("classes: {65535: road}", "65535 in .* is no value"),
        ("classes: {0: }", "the class 0 in .* is None; expected a name"),
        ("classes: {0: road, 1: road}", "gives two classes the same name"),
        ("classes: {0: road}\nignored: [255]", "has the key 'ignored'; expected only classes and ignore"),
        ("classes: {0: road}\nignore: 255", "ignore in .* is 255; expected a list such as"),
        ("classes: {0: road}\nignore: [0]", "0 in .* is both a class and ignored"),
        ("classes: [road", "cannot be read"),
    ],
)
def test_mistakes(tree, content, reason):
    with pytest.raises(DatasetError, match=reason):
        read_classes(tree.text("classes.yaml", content))


def test_no_file(tree):
    with pytest.raises(DatasetError, match="nowhere.yaml cannot be read: .*No such file"):
        read_classes(tree.root / "nowhere.yaml")
