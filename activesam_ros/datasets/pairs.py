"""Images and the label files that belong to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from activesam_ros.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from activesam_ros.datasets.benchmarks import Benchmark, Layout
    from activesam_ros.datasets.label_ids import LabelIds

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Files with these endings are images, unless another ending is asked for."""


@dataclass(frozen=True)
class Pair:
    """An image and its label file; None: it has no ground truth."""

    image: Path
    label: Path | None


@dataclass(frozen=True)
class Found:
    """The images of a data set in order, and what the values in their label files mean."""

    pairs: tuple[Pair, ...]
    ids: LabelIds


def benchmark_pairs(benchmark: Benchmark, root: Path, split: str) -> Found:
    """The images of a benchmark's split, in the order of its list or of their paths.

    Args:
        benchmark: which.
        root: the data set's folder, or the one that it was unpacked in.
        split: one of `benchmark.splits`.

    Raises:
        DatasetError: the folder is not laid out as the benchmark's, or files are missing.
    """
    layouts = [_of_split(layout, benchmark, split) for layout in benchmark.layouts]
    for base in (root / folder for folder in benchmark.roots):
        for layout in layouts:
            for images, labels in _folders(base, layout):
                listing = base / layout.listing if layout.listing else None
                if (listing is None or listing.is_file()) and _has(labels, layout.label_suffix):
                    return Found(_all_pairs(images, labels, layout, listing), layout.ids)
    if not root.is_dir():
        raise DatasetError(f"there is no folder {root}; expected the folder of {benchmark.title}")
    inside = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
    expected = "; or ".join(_described(layout) for layout in layouts)
    raise DatasetError(
        f"{root} is not laid out as {benchmark.title}: expected for the split {split!r} {expected}; found {inside}"
    )


def benchmark_pairs_of(
    benchmark: Benchmark, images: Path, labels: Path, split: str, listing: Path | None = None
) -> Found:
    """The same from a folder of images and one of label files that need not lie together.

    Args:
        benchmark: which.
        images: folder of the images.
        labels: folder of the label files.
        split: one of `benchmark.splits`.
        listing: file with the names of the images, one a line; None: the data set's own beside `images`, if the
            benchmark has one, else all images of the folder.

    Raises:
        DatasetError: folders, files or the list are missing.
    """
    _check_folders(images, labels)
    layouts = [_of_split(layout, benchmark, split) for layout in benchmark.layouts]
    layout = next((layout for layout in layouts if _has(labels, layout.label_suffix)), None)
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
    return Found(_all_pairs(images, labels, layout, listing), layout.ids)


def own_pairs(
    images: Path,
    labels: Path,
    image_suffix: str | None = None,
    label_suffix: str = ".png",
    listing: Path | None = None,
) -> tuple[Pair, ...]:
    """The images of a folder, and the label files of the same names in another, by the order of their paths.

    Images may lack a label file, but not all of them.

    Args:
        images: folder; what lies in folders below it is taken along.
        labels: folder with the label files at the same places; may be the same one if the suffixes differ.
        image_suffix: how the name of an image ends; None: one of `PICTURE_SUFFIXES`.
        label_suffix: what stands there instead in the name of its label file.
        listing: file with the images' names without suffix, one a line; None: all.

    Raises:
        DatasetError: a folder or an image is missing, or nothing fits together.
    """
    _check_folders(images, labels)
    names = list(_images(images, (image_suffix,) if image_suffix else PICTURE_SUFFIXES))
    if images.resolve() == labels.resolve():
        names = [(name, path) for name, path in names if not path.name.endswith(label_suffix)]
    if listing is not None:
        known = dict(names)
        names = [(name, _listed(known, name, images, listing)) for name in _read_listing(listing)]
    if not names:
        endings = image_suffix or ", ".join(PICTURE_SUFFIXES)
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


def _folders(base: Path, layout: Layout) -> Iterator[tuple[Path, Path]]:
    for images in layout.images:
        for labels in layout.labels:
            if (base / images).is_dir() and (base / labels).is_dir():
                yield base / images, base / labels


def _described(layout: Layout) -> str:
    listing = f" and {layout.listing}" if layout.listing else ""
    images = " or ".join(f"{folder}/*{layout.image_suffix}" for folder in layout.images)
    labels = " or ".join(f"{folder}/*{layout.label_suffix}" for folder in layout.labels)
    return f"{images} with {labels}{listing}"


def _check_folders(images: Path, labels: Path) -> None:
    for folder, what in ((images, "images"), (labels, "label files")):
        if not folder.is_dir():
            raise DatasetError(f"there is no folder {folder}; expected the folder of the {what}")


def _has(folder: Path, suffix: str) -> bool:
    return next(folder.rglob(f"*{suffix}"), None) is not None


def _images(folder: Path, suffixes: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Names without suffix, relative to the folder, and paths; sorted."""
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


def _listed(known: dict[str, Path], name: str, images: Path, listing: Path) -> Path:
    if name not in known:
        raise DatasetError(f"{listing} names the image {name}, which is not in {images}")
    return known[name]


def _all_pairs(images: Path, labels: Path, layout: Layout, listing: Path | None) -> tuple[Pair, ...]:
    if listing is not None:
        names = _read_listing(listing)
        pairs = tuple(
            Pair(images / f"{name}{layout.image_suffix}", labels / f"{name}{layout.label_suffix}")
            for name in names
        )
    else:
        pairs = tuple(
            Pair(path, labels / f"{name}{layout.label_suffix}")
            for name, path in _images(images, (layout.image_suffix,))
        )
    if not pairs:
        raise DatasetError(f"{images} has no images; expected names that end in {layout.image_suffix}")
    for files, what in (
        ([pair.image for pair in pairs], "images"),
        ([pair.label for pair in pairs], "label files"),
    ):
        missing = [path for path in files if not path.is_file()]
        if missing:
            raise DatasetError(
                f"{len(missing)} of {len(files)} {what} are missing, the first is {missing[0]}; unpack the data set "
                "again"
            )
    return pairs
