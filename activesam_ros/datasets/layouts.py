"""Layouts of data sets: images and the label files that belong to them, of eight benchmarks or of your own.

Class ids are those of the vocabulary presets of the same names. Sources of the layouts and mappings: mmsegmentation's
dataset preparation and data set classes (open-mmlab/mmsegmentation), the published configurations of ActiveSAM
(VILA-Lab/ActiveSAM), GroupViT's definition of COCO-Object (NVlabs/GroupViT), and the data sets' own tables:
nightrome/cocostuff, mcordts/cityscapesScripts, CSAILVision/sceneparsing, and Pascal Context's labels.txt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from activesam_ros.datasets.image_files import LabelIds
from activesam_ros.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """One way in which the files of a data set lie below its folder; `{split}` stands for the split's own name.

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
# COCO's stuff task has files with 0, 92 to 182 for stuff, and 183 for all objects: one more than COCO-Stuff's.
_STUFF_TASK = dict.fromkeys(
    (182, 183),
    "those of COCO's stuff task have, which count stuff from 92 and know no objects; expected COCO-Stuff's own, from "
    "stuffthingmaps_trainval2017.zip",
)

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
    """Ignore value 0 and begin classes at 1, as `reduce_zero_label` of mmsegmentation."""
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
            },
            foreign=_STUFF_TASK,
        ),
    ),
    _coco(
        "coco_stuff",
        "COCO-Stuff",
        "_labelTrainIds",
        _with_zero(171),
        LabelIds(_numbered(_COCO_VALUES), _VOID, _STUFF_TASK),
    ),
    _cityscapes(),
    _ade20k(),
)

BENCHMARKS: Mapping[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}
"""The eight benchmarks of the ActiveSAM paper by name."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Files with these endings are images, unless another ending is asked for."""


@dataclass(frozen=True)
class Pair:
    """An image and its label file; None: it has no ground truth."""

    image: Path
    label: Path | None


@dataclass(frozen=True)
class PairList:
    """The images of a data set in order, and what the values in their label files mean."""

    pairs: tuple[Pair, ...]
    ids: LabelIds


def benchmark_pairs(benchmark: Benchmark, root: Path, split: str) -> PairList:
    """Find the images of a benchmark's split below `root`, in the order of its list or of their paths.

    Raises:
        DatasetError: the folder is not laid out as the benchmark's, or files are missing.
    """
    layouts = [_of_split(layout, benchmark, split) for layout in benchmark.layouts]
    for folder, layout in product(benchmark.roots, layouts):
        listing = root / folder / layout.listing if layout.listing else None
        if listing is not None and not listing.is_file():
            continue
        for below_images, below_labels in product(layout.images, layout.labels):
            images, labels = root / folder / below_images, root / folder / below_labels
            if images.is_dir() and labels.is_dir() and any(labels.rglob(f"*{layout.label_suffix}")):
                return PairList(_all_pairs(images, labels, layout, listing), layout.ids)
    if not root.is_dir():
        raise DatasetError(f"there is no folder {root}; expected the folder of {benchmark.title}")
    inside = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
    expected = "; or ".join(_described(layout) for layout in layouts)
    raise DatasetError(
        f"{root} is not laid out as {benchmark.title}: expected for the split {split!r} {expected}; found {inside}"
    )


def benchmark_pairs_in(
    benchmark: Benchmark, images: Path, labels: Path, split: str, listing: Path | None = None
) -> PairList:
    """Find the same in a folder of images and one of label files that need not lie together.

    `listing` has the names of the images, one a line; None: the data set's own beside `images`, if the benchmark has
    one, else all images of the folder.

    Raises:
        DatasetError: folders, files or the list are missing.
    """
    _check_folders(images, labels)
    layouts = [_of_split(layout, benchmark, split) for layout in benchmark.layouts]
    layout = next((one for one in layouts if any(labels.rglob(f"*{one.label_suffix}"))), None)
    if layout is None:
        names = " or ".join(f"*{layout.label_suffix}" for layout in layouts)
        raise DatasetError(f"{labels} has no label files of {benchmark.title}; expected {names}")
    if listing is None and layout.listing:
        listing = images.parent / layout.listing
        if not listing.is_file():
            raise DatasetError(
                f"{listing} is missing, which says what images belong to the split {split!r} of {benchmark.title}; "
                "give it with --list"
            )
    return PairList(_all_pairs(images, labels, layout, listing), layout.ids)


def own_pairs(
    images: Path,
    labels: Path,
    image_suffix: str | None = None,
    label_suffix: str = ".png",
    listing: Path | None = None,
) -> tuple[Pair, ...]:
    """Find the images of a folder and the label files of the same names in another, in the order of their paths.

    Images may lack a label file, but not all of them.

    Args:
        images: folder; what lies in folders below it is taken along.
        labels: folder with the label files at the same places; may be the same one if the suffixes differ.
        image_suffix: how the name of an image ends; None: one of `IMAGE_SUFFIXES`.
        label_suffix: what stands there instead in the name of its label file.
        listing: file with the images' names without suffix, one a line; None: all.

    Raises:
        DatasetError: a folder or an image is missing, or nothing fits together.
    """
    _check_folders(images, labels)
    names = list(_images(images, (image_suffix,) if image_suffix else IMAGE_SUFFIXES))
    if images.resolve() == labels.resolve():
        names = [(name, path) for name, path in names if not path.name.endswith(label_suffix)]
    if listing is not None:
        known = dict(names)
        wanted = _read_listing(listing)
        unknown = next((name for name in wanted if name not in known), None)
        if unknown is not None:
            raise DatasetError(f"{listing} names the image {unknown}, which is not in {images}")
        names = [(name, known[name]) for name in wanted]
    if not names:
        endings = image_suffix or ", ".join(IMAGE_SUFFIXES)
        raise DatasetError(f"{images} has no images; expected names that end in {endings}")
    pairs = []
    for name, image in names:
        label = labels / f"{name}{label_suffix}"
        pairs.append(Pair(image, label if label.is_file() else None))
    if all(pair.label is None for pair in pairs):
        raise DatasetError(
            f"none of the {len(pairs)} images in {images} has a label file in {labels}; expected for "
            f"{pairs[0].image.name} the file {names[0][0]}{label_suffix}, or say how names end with --image-suffix and "
            "--label-suffix"
        )
    return tuple(pairs)


def _of_split(layout: Layout, benchmark: Benchmark, split: str) -> Layout:
    if split not in benchmark.splits:
        raise DatasetError(
            f"{benchmark.title} has no split {split!r}; expected one of {', '.join(benchmark.splits)}"
        )
    word = benchmark.splits[split]
    return replace(
        layout,
        images=tuple(folder.format(split=word) for folder in layout.images),
        labels=tuple(folder.format(split=word) for folder in layout.labels),
        listing=layout.listing and layout.listing.format(split=word),
    )


def _described(layout: Layout) -> str:
    listing = f" and {layout.listing}" if layout.listing else ""
    images = " or ".join(f"{folder}/*{layout.image_suffix}" for folder in layout.images)
    labels = " or ".join(f"{folder}/*{layout.label_suffix}" for folder in layout.labels)
    return f"{images} with {labels}{listing}"


def _check_folders(images: Path, labels: Path) -> None:
    for folder, what in ((images, "images"), (labels, "label files")):
        if not folder.is_dir():
            raise DatasetError(f"there is no folder {folder}; expected the folder of the {what}")


def _images(folder: Path, suffixes: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield names without suffix, relative to the folder, and paths; sorted."""
    for path in sorted(folder.rglob("*")):
        suffix = next((suffix for suffix in suffixes if path.name.lower().endswith(suffix.lower())), None)
        if suffix is not None and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix()[: -len(suffix)], path


def _read_listing(listing: Path) -> list[str]:
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"the list {listing} cannot be read ({error}); expected names, one a line"
        ) from error
    # The lists of VOC's main task have a second column.
    names = [line.split()[0] for line in lines if line.strip()]
    if not names:
        raise DatasetError(f"the list {listing} is empty; expected names of images, one a line")
    return names


def _all_pairs(images: Path, labels: Path, layout: Layout, listing: Path | None) -> tuple[Pair, ...]:
    if listing is not None:
        files = [(name, images / f"{name}{layout.image_suffix}") for name in _read_listing(listing)]
    else:
        files = list(_images(images, (layout.image_suffix,)))
    if not files:
        raise DatasetError(f"{images} has no images; expected names that end in {layout.image_suffix}")
    label_files = [labels / f"{name}{layout.label_suffix}" for name, _ in files]
    for paths, what in (([path for _, path in files], "images"), (label_files, "label files")):
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise DatasetError(
                f"{len(missing)} of {len(paths)} {what} are missing, the first is {missing[0]}; unpack the data set "
                "again"
            )
    return tuple(Pair(image, label) for (_, image), label in zip(files, label_files, strict=True))
