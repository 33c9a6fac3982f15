"""Layouts of data sets: images and the label files that belong to them, of eight benchmarks or of your own.

Class ids are those of the vocabulary presets of the same names. Sources of the layouts and mappings: mmsegmentation's
dataset preparation and data set classes (open-mmlab/mmsegmentation), the published configurations of ActiveSAM
(VILA-Lab/ActiveSAM), GroupViT's definition of COCO-Object (NVlabs/GroupViT), and the data sets' own tables:
nightrome/cocostuff, mcordts/cityscapesScripts, CSAILVision/sceneparsing, and Pascal Context's labels.txt.
"""

from __future__ import annotations

import codecs
import os
import re
import unicodedata
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from activesam_ros.datasets.image_files import LabelIds
from activesam_ros.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


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


_COLUMNS = re.compile(r"[\s,;]+")
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
    halves: dict[str, None] = {}
    for folder, layout in product(benchmark.roots, layouts):
        listing = root / folder / layout.listing if layout.listing else None
        for below_images, below_labels in product(layout.images, layout.labels):
            images, labels = root / folder / below_images, root / folder / below_labels
            files = _Files(labels, (layout.label_suffix,))
            if images.is_dir() and files.names and (listing is None or listing.is_file()):
                others = [one for one in layouts if one is not layout]
                return PairList(_all_pairs(images, files, layout, listing, others), layout.ids)
            there = [f"images in {images}"] * images.is_dir() + [f"{labels}/*{layout.label_suffix}"] * bool(
                files.names
            )
            lacks = [str(images)] * (not images.is_dir())
            lacks += [f"{labels}/*{layout.label_suffix}"] * (not files.names)
            lacks += [str(listing)] * (listing is not None and not listing.is_file())
            if there:
                halves[f"{' and '.join(there)}, but no {' and no '.join(lacks)}"] = None
    if not root.is_dir():
        raise DatasetError(f"there is no folder {root}; expected the folder of {benchmark.title}")
    inside = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
    if halves:
        inside = "; or ".join(halves)
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
    found = ((layout, _Files(labels, (layout.label_suffix,))) for layout in layouts)
    layout, files = next(((layout, files) for layout, files in found if files.names), (None, None))
    if layout is None or files is None:
        names = " or ".join(f"*{layout.label_suffix}" for layout in layouts)
        raise DatasetError(f"{labels} has no label files of {benchmark.title}; expected {names}")
    if listing is None and layout.listing:
        listing = images.parent / layout.listing
        if not listing.is_file():
            raise DatasetError(
                f"{listing} is missing, which says what images belong to the split {split!r} of {benchmark.title}; "
                "give it with --list"
            )
    others = [one for one in layouts if one is not layout]
    return PairList(_all_pairs(images, files, layout, listing, others), layout.ids)


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
        listing: file with the images' names, with suffix or without, one a line; a second column may name the label
            files; None: all.

    Raises:
        DatasetError: a folder or an image is missing, or nothing fits together.
    """
    _check_folders(images, labels)
    files = _Files(images, (image_suffix,) if image_suffix else IMAGE_SUFFIXES)
    label_files = _Files(labels, (label_suffix,))
    names: list[tuple[str, Path, Path | None]] = [(name, path, None) for name, path in files.names]
    if images.resolve() == labels.resolve():
        names = [one for one in names if not one[1].name.lower().endswith(label_suffix.lower())]
    if listing is not None:
        names = _listed(listing, files, label_files)
    if not names:
        endings = image_suffix or ", ".join(IMAGE_SUFFIXES)
        raise DatasetError(f"{images} has no images; expected names that end in {endings}")
    pairs = [Pair(image, label or label_files.path_of(name)) for name, image, label in names]
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


class _Files:
    """The files below a folder whose names end in one of some suffixes; linked folders are followed.

    Case of a suffix and the Unicode form of a name, which file systems change, do not tell files apart.

    Attributes:
        folder: as given.
        names: name without suffix relative to the folder, and path, of each; sorted by path.
    """

    def __init__(self, folder: Path, suffixes: Sequence[str]) -> None:
        self.folder = folder
        self.names: list[tuple[str, Path]] = []
        self._found: dict[str, tuple[str, Path]] = {}
        for path in sorted(_walk(folder)):
            suffix = next((one for one in suffixes if path.name.lower().endswith(one.lower())), None)
            if suffix is None:
                continue
            name = path.relative_to(folder).as_posix()
            bare = name[: -len(suffix)]
            self.names.append((bare, path))
            self._found[_key(name)] = (bare, path)
            if _key(bare) not in self._found or path.name.endswith(suffix):
                self._found[_key(bare)] = (bare, path)

    def find(self, name: str) -> tuple[str, Path] | None:
        """Return the file of a name, which may have its suffix, and begin with the folder as in lists; else None."""
        name = name.strip()
        parts = name.replace("\\", "/").removeprefix("./").split("/")
        # A path in a list goes up to the folder that the files are in now.
        below = [parts[place + 1 :] for place, part in enumerate(parts[:-1]) if part == self.folder.name]
        for candidate in map("/".join, (parts, *below)):
            bare, _, suffix = candidate.rpartition(".")
            known = f".{suffix.lower()}" in (*IMAGE_SUFFIXES, ".mat")
            for key in (_key(candidate), *([_key(bare)] if known else [])):
                if key in self._found:
                    return self._found[key]
        return None

    def path_of(self, name: str) -> Path | None:
        """Return the path of a file by its name without suffix; None if there is none."""
        found = self._found.get(_key(name))
        return None if found is None else found[1]


def _walk(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield the files below a folder, but hidden ones; also below links, unless they lead back to where they are."""
    here = folder.resolve()
    if here in above or not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if path.is_dir() if entry.is_symlink() else entry.is_dir():
                yield from _walk(path, above | {here})
            elif not entry.is_symlink() or path.is_file():
                yield path


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _listed(listing: Path, images: _Files, labels: _Files) -> list[tuple[str, Path, Path | None]]:
    """Return name and path of the images that a list names, and the label file if it has a column for them.

    Raises:
        DatasetError: an image is missing.
    """
    found: list[tuple[str, Path, Path | None]] = []
    missing = []
    lines = _read_listing(listing)
    for line in lines:
        # Names may have spaces, and other columns may follow: labels, or the 1 and -1 of VOC's main task.
        breaks = [
            (line, ""),
            *((line[: one.start()], line[one.end() :]) for one in reversed(list(_COLUMNS.finditer(line)))),
        ]
        image, rest = next(((one, rest) for first, rest in breaks if (one := images.find(first))), (None, ""))
        if image is None:
            missing.append(line)
            continue
        label = labels.find(rest) if Path(rest).suffix else None
        found.append((*image, label and label[1]))
    if missing:
        raise DatasetError(
            f"{len(missing)} of the {len(lines)} images that {listing} names are missing in {images.folder}, the first "
            f"is {missing[0]}; unpack the data set again, or give another list"
        )
    return found


def _read_listing(listing: Path) -> list[str]:
    try:
        content = listing.read_bytes()
        encoding = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        lines = content.decode(encoding).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"the list {listing} cannot be read ({error}); expected names, one a line"
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise DatasetError(f"the list {listing} is empty; expected names of images, one a line")
    return names


def _all_pairs(
    images: Path, labels: _Files, layout: Layout, listing: Path | None, others: Sequence[Layout]
) -> tuple[Pair, ...]:
    files = _Files(images, (layout.image_suffix,))
    names = (
        [(name, path, None) for name, path in files.names]
        if listing is None
        else _listed(listing, files, labels)
    )
    if not names:
        raise DatasetError(f"{images} has no images; expected names that end in {layout.image_suffix}")
    pairs = []
    missing = []
    for name, image, label in names:
        label = label or labels.path_of(name)
        if label is None:
            missing.append(labels.folder / f"{name}{layout.label_suffix}")
        else:
            pairs.append(Pair(image, label))
    if not missing:
        return tuple(pairs)
    said = f"{len(missing)} of {len(names)} label files are missing, the first is {missing[0]}"
    for other in others:
        rest = _Files(labels.folder, (other.label_suffix,))
        if other.label_suffix != layout.label_suffix and any(rest.path_of(name) for name, *_ in names):
            raise DatasetError(
                f"{said}: the half that ends in {other.label_suffix} is there, and not all of it was converted to "
                f"{layout.label_suffix}; finish that, or remove what was converted"
            )
    raise DatasetError(f"{said}; unpack the data set again")
