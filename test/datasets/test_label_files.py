"""Label files of all kinds: what comes out is numbers, never colours."""

import sys

import numpy as np
import pytest
from PIL import Image

from activesam_ros.datasets.image_files import read_labels
from activesam_ros.errors import DatasetError


def test_grey_and_palettes_give_their_numbers(tree):
    expected = tree.filled(0, 7, 255)
    assert np.array_equal(read_labels(tree.labels("grey.png", 0, 7, 255)), expected)
    values = read_labels(tree.labels("palette.png", 0, 7, 255, palette=True))
    assert values.dtype == np.uint8
    assert np.array_equal(values, expected)


def test_16_bit(tree):
    values = read_labels(tree.labels("deep.png", 0, 300, 65535))
    assert values.dtype == np.uint16
    assert np.array_equal(values, tree.filled(0, 300, 65535))


def test_one_bit(tree):
    tree.root.mkdir()
    path = tree.root / "bits.png"
    Image.fromarray(tree.filled(0, 1).astype(bool)).save(path)
    assert np.array_equal(read_labels(path), tree.filled(0, 1))


def test_colours_are_refused(tree):
    with pytest.raises(DatasetError, match="is a picture of the mode RGB; expected class numbers"):
        read_labels(tree.picture("colour.png"))


@pytest.mark.parametrize("content", ["", "no picture at all"])
def test_no_picture(tree, content):
    with pytest.raises(DatasetError, match="the label file .* cannot be read"):
        read_labels(tree.text("damaged.png", content))


def test_a_truncated_picture(tree):
    path = tree.labels("cut.png", *range(200))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DatasetError, match="the label file .* cannot be read"):
        read_labels(path)


def test_label_maps_of_pascal_context(tree):
    scipy_io = pytest.importorskip("scipy.io", reason="scipy, which reads MATLAB files, is not installed")
    tree.root.mkdir()
    path = tree.root / "a.mat"
    scipy_io.savemat(path, {"LabelMap": tree.filled(2, 284, 459)}, do_compression=True)
    values = read_labels(path)
    assert values.dtype == np.uint16
    assert np.array_equal(values, tree.filled(2, 284, 459))
    # MATLAB's numbers are floating point unless one asks for others.
    scipy_io.savemat(path, {"LabelMap": tree.filled(2, 284, 459).astype(np.float64)})
    assert np.array_equal(read_labels(path), tree.filled(2, 284, 459))
    scipy_io.savemat(path, {"Other": np.zeros((2, 2))})
    with pytest.raises(DatasetError, match="has no variable LabelMap"):
        read_labels(path)
    path.write_text("no MATLAB")
    with pytest.raises(DatasetError, match="the label file .* cannot be read"):
        read_labels(path)


def test_without_scipy_the_sentence_says_what_to_install(tree, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(DatasetError, match="for which scipy is needed; install it with: pip install scipy"):
        read_labels(tree.text("a.mat", ""))
