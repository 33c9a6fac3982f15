"""The mappings of the benchmarks: complete, in the order of the presets, and as their sources define them."""

import numpy as np
import pytest

from activesam_ros.datasets.layouts import BENCHMARKS
from activesam_ros.vocabulary.files import load_vocabulary_file, preset_names

IGNORE = 255


def names_of(benchmark):
    return load_vocabulary_file(benchmark).vocabulary().names


def converted(benchmark, layout, values):
    """Names of the classes of values; None: not counted."""
    labels, unknown = BENCHMARKS[benchmark].layouts[layout].ids.convert(np.array([values], np.uint16))
    assert not unknown
    return [None if label == IGNORE else names_of(benchmark)[label] for label in labels[0]]


def test_every_benchmark_has_the_preset_of_its_name():
    assert set(BENCHMARKS) <= set(preset_names())
    assert len(BENCHMARKS) == 8
    assert all(name == benchmark.name for name, benchmark in BENCHMARKS.items())


@pytest.mark.parametrize(
    ("benchmark", "layout"),
    [(b, i) for b, benchmark in BENCHMARKS.items() for i in range(len(benchmark.layouts))],
)
def test_every_layout_has_every_class_of_the_preset_and_no_other(benchmark, layout):
    ids = BENCHMARKS[benchmark].layouts[layout].ids
    assert sorted(set(ids.classes.values())) == list(range(len(names_of(benchmark))))
    assert not ids.ignored & ids.classes.keys()
    assert ids.dtype == np.uint8


@pytest.mark.parametrize(("benchmark", "classes"), [("voc20", 20), ("context59", 59), ("ade20k", 150)])
def test_reduced_zero_labels(benchmark, classes):
    values = np.array([[*range(classes + 1), 255]], np.uint8)
    # The definition, with arithmetic instead of a table.
    expected = values.copy()
    expected[expected == 0] = 255
    expected -= 1
    expected[expected == 254] = 255
    labels, unknown = BENCHMARKS[benchmark].layouts[0].ids.convert(values)
    assert np.array_equal(labels, expected)
    assert not unknown


def test_voc():
    assert converted("voc21", 0, [0, 1, 20, 255]) == ["background", "aeroplane", "tvmonitor", None]
    assert converted("voc20", 0, [0, 1, 20, 255]) == [None, "aeroplane", "tvmonitor", None]


# Numbers and names from Pascal Context's table of its 459 classes.
CONTEXT = {2: "aeroplane", 19: "bedclothes", 85: "computer", 258: "motorbike", 259: "mountain", 260: "mouse"}
CONTEXT |= {284: "person", 308: "pottedplant", 355: "sign", 397: "table", 427: "tvmonitor", 458: "wood"}


def test_context_from_its_459_classes():
    assert converted("context60", 1, list(CONTEXT)) == list(CONTEXT.values())
    assert converted("context59", 1, list(CONTEXT)) == list(CONTEXT.values())
    # accordion, unknown, wool
    assert converted("context60", 1, [0, 1, 431, 459]) == ["background"] * 4
    assert converted("context59", 1, [0, 1, 431, 459]) == [None] * 4


def test_context_prepared():
    assert converted("context60", 0, [0, 1, 2, 59]) == ["background", "aeroplane", "bag", "wood"]
    assert converted("context59", 0, [0, 1, 2, 59]) == [None, "aeroplane", "bag", "wood"]


# COCO-Stuff's own numbers, from its table; the files hold one less.
COCO_STUFF = {1: "person", 11: "fire hydrant", 13: "stop sign", 25: "giraffe", 27: "backpack", 44: "bottle"}
COCO_STUFF |= {46: "wine glass", 67: "dining table", 72: "tv", 84: "book", 90: "toothbrush"}
COCO_STUFF_SURROUNDINGS = {92: "banner", 110: "desk-stuff", 157: "sky-other", 169: "tree", 182: "wood"}
NOT_IN_COCO = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)


def test_coco_stuff_as_downloaded():
    table = COCO_STUFF | COCO_STUFF_SURROUNDINGS
    assert converted("coco_stuff", 1, [number - 1 for number in table]) == list(table.values())
    assert converted("coco_stuff", 1, [255]) == [None]


@pytest.mark.parametrize("benchmark", ["coco_stuff", "coco_object"])
def test_classes_that_coco_never_annotated_are_unknown(benchmark):
    values = np.array([[number - 1 for number in NOT_IN_COCO]], np.uint8)
    _, unknown = BENCHMARKS[benchmark].layouts[1].ids.convert(values)
    assert sorted(unknown) == values[0].tolist()


def test_in_coco_object_everything_but_objects_is_background():
    assert converted("coco_object", 1, [number - 1 for number in COCO_STUFF]) == list(COCO_STUFF.values())
    others = [number - 1 for number in COCO_STUFF_SURROUNDINGS]
    assert converted("coco_object", 1, [*others, 255]) == ["background"] * 6


def test_coco_prepared():
    assert converted("coco_stuff", 0, [0, 79, 80, 170, 255]) == [
        "person",
        "toothbrush",
        "banner",
        "wood",
        None,
    ]
    assert converted("coco_object", 0, [0, 1, 80, 255]) == ["background", "person", "toothbrush", None]


def test_cityscapes():
    assert converted("cityscapes", 0, [0, 10, 18, 255]) == ["road", "sky", "bicycle", None]
    # By cityscapesScripts: caravan 29, trailer 30 and guard rail 14 are not evaluated.
    assert converted("cityscapes", 1, [7, 17, 23, 28, 31, 33]) == [
        "road",
        "pole",
        "sky",
        "bus",
        "train",
        "bicycle",
    ]
    assert converted("cityscapes", 1, [0, 6, 9, 14, 18, 29, 30]) == [None] * 7


def test_ade20k():
    assert converted("ade20k", 0, [0, 1, 2, 13, 150]) == [None, "wall", "building", "person", "flag"]
