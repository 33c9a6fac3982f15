"""The benchmarks of open-vocabulary segmentation: where their files lie and what the values in them mean.

Class ids are those of the vocabulary presets of the same names. Sources of the layouts and mappings: mmsegmentation's
dataset preparation and data set classes (open-mmlab/mmsegmentation), the published configurations of ActiveSAM
(VILA-Lab/ActiveSAM), GroupViT's definition of COCO-Object (NVlabs/GroupViT), and the data sets' own tables:
nightrome/cocostuff, mcordts/cityscapesScripts, CSAILVision/sceneparsing, and Pascal Context's labels.txt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from activesam_ros.datasets.label_ids import LabelIds

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Layout:
    """One way in which the files of a data set lie below its folder. `{split}` stands for the split's own word.

    Attributes:
        images: folders that may hold the images.
        labels: folders that may hold the label files; below it they lie as the images below theirs.
        ids: what the values in the label files mean.
        image_suffix: how the name of an image ends.
        label_suffix: what stands there instead in the name of its label file.
        listing: file with the names of the split's images without suffix, one a line; None: all images of the folder.
    """

    images: tuple[str, ...]
    labels: tuple[str, ...]
    ids: LabelIds
    image_suffix: str = ".jpg"
    label_suffix: str = ".png"
    listing: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """A data set with the classes that are evaluated on it.

    Attributes:
        name: also that of its vocabulary preset.
        title: for people.
        roots: folders below the given one that may be the data set's; "" is the given one itself.
        layouts: the ways in which its files may lie, the one to prefer first.
        splits: name of a split → its word in paths.
        images: how many images the whole split `val` has; None: it depends on who prepared it.
    """

    name: str
    title: str
    roots: tuple[str, ...]
    layouts: tuple[Layout, ...]
    splits: Mapping[str, str]
    images: int | None = None


_VOID = frozenset({255})
_VOID_OR_NONE = frozenset({0, 255})

# Of COCO-Stuff's 182 classes these were never annotated: street sign, hat, shoe, eye glasses, plate, mirror, window,
# desk, door, blender, hair brush. Values in its files are its numbers less one.
_NOT_IN_COCO = frozenset({11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90})
_COCO_VALUES = tuple(value for value in range(182) if value not in _NOT_IN_COCO)
_COCO_OBJECTS = 80

# The files of Cityscapes have 34 values; those of its 19 evaluated classes, in order of the training ids.
_CITYSCAPES_VALUES = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

# The numbers, among Pascal Context's 459, of the 59 frequent classes: in alphabetical order, as the preset has them.
_CONTEXT_VALUES = (
    *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98),
    *(104, 105, 113, 115, 144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308),
    *(324, 326, 347, 349, 354, 355, 360, 366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454, 458),
)
_CONTEXT_OTHERS = frozenset(range(460)) - frozenset(_CONTEXT_VALUES)


def _numbered(values: tuple[int, ...] | range, first: int = 0) -> dict[int, int]:
    return {value: first + index for index, value in enumerate(values)}


def _without_zero(classes: int) -> LabelIds:
    """Value 0 does not count and the classes begin at 1: what `reduce_zero_label` means elsewhere."""
    return LabelIds(_numbered(range(1, classes + 1)), _VOID_OR_NONE)


def _with_zero(classes: int) -> LabelIds:
    return LabelIds(_numbered(range(classes)), _VOID)


def _voc(name: str, title: str, ids: LabelIds) -> Benchmark:
    layout = Layout(
        ("JPEGImages",), ("SegmentationClass",), ids, listing="ImageSets/Segmentation/{split}.txt"
    )
    splits = {split: split for split in ("train", "val", "trainval")}
    return Benchmark(name, title, ("", "VOC2012", "VOCdevkit/VOC2012"), (layout,), splits, 1449)


def _context(name: str, title: str, prepared: LabelIds, original: LabelIds) -> Benchmark:
    first = Layout(
        ("JPEGImages",),
        ("SegmentationClassContext",),
        prepared,
        listing="ImageSets/SegmentationContext/{split}.txt",
    )
    second = Layout(
        ("JPEGImages",),
        ("trainval", "SegmentationContext"),
        original,
        label_suffix=".mat",
        listing="ImageSets/Main/{split}.txt",
    )
    splits = {split: split for split in ("train", "val")}
    return Benchmark(name, title, ("", "VOC2010", "VOCdevkit/VOC2010"), (first, second), splits)


def _coco(name: str, title: str, suffix: str, prepared: LabelIds, original: LabelIds) -> Benchmark:
    first = Layout(("images/{split}", "{split}"), ("annotations/{split}",), prepared, ".jpg", f"{suffix}.png")
    labels = ("annotations/{split}", "stuffthingmaps_trainval2017/{split}", "stuffthingmaps/{split}")
    second = replace(first, labels=labels, ids=original, label_suffix=".png")
    splits = {"train": "train2017", "val": "val2017"}
    return Benchmark(name, title, ("", "coco_stuff164k", "coco_object"), (first, second), splits, 5000)


def _cityscapes() -> Benchmark:
    first = Layout(
        ("leftImg8bit/{split}",),
        ("gtFine/{split}",),
        _with_zero(19),
        "_leftImg8bit.png",
        "_gtFine_labelTrainIds.png",
    )
    others = frozenset(range(35)) - frozenset(_CITYSCAPES_VALUES)
    original = LabelIds(_numbered(_CITYSCAPES_VALUES), others | _VOID)
    second = replace(first, ids=original, label_suffix="_gtFine_labelIds.png")
    splits = {split: split for split in ("train", "val")}
    return Benchmark("cityscapes", "Cityscapes", ("", "cityscapes"), (first, second), splits, 500)


def _ade20k() -> Benchmark:
    layout = Layout(("images/{split}",), ("annotations/{split}",), _without_zero(150))
    splits = {"train": "training", "val": "validation"}
    roots = ("", "ADEChallengeData2016", "ade/ADEChallengeData2016")
    return Benchmark("ade20k", "ADE20K", roots, (layout,), splits, 2000)


_ALL = (
    _voc("voc20", "Pascal VOC 2012 without background", _without_zero(20)),
    _voc("voc21", "Pascal VOC 2012 with background", _with_zero(21)),
    _context(
        "context59",
        "Pascal Context without background",
        _without_zero(59),
        LabelIds(_numbered(_CONTEXT_VALUES), _CONTEXT_OTHERS),
    ),
    _context(
        "context60",
        "Pascal Context with background",
        _with_zero(60),
        LabelIds({**dict.fromkeys(_CONTEXT_OTHERS, 0), **_numbered(_CONTEXT_VALUES, 1)}),
    ),
    _coco(
        "coco_object",
        "COCO-Object",
        "_instanceTrainIds",
        _with_zero(81),
        # All surroundings are background there, and so is what nobody labelled.
        LabelIds(
            {
                **dict.fromkeys((*_COCO_VALUES[_COCO_OBJECTS:], 255), 0),
                **_numbered(_COCO_VALUES[:_COCO_OBJECTS], 1),
            }
        ),
    ),
    _coco(
        "coco_stuff",
        "COCO-Stuff",
        "_labelTrainIds",
        _with_zero(171),
        LabelIds(_numbered(_COCO_VALUES), _VOID),
    ),
    _cityscapes(),
    _ade20k(),
)

BENCHMARKS: Mapping[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}
"""The eight benchmarks of the ActiveSAM paper by name."""
