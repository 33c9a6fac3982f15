"""The command `activesam-make-bag`: make a recording of images and labels, or of a rendered street."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from activesam_ros.cli import command
from activesam_ros.datasets.layouts import BENCHMARKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activesam_ros.datasets.labelled_bag import BagReport
    from activesam_ros.datasets.layouts import PairList

_FEW = 8
# A street that the demo model has not been trained on.
_TOYTOWN_SEED = 10_000_019
_TOYTOWN_SIZE = (320, 240)
_TOYTOWN_IMAGES = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return command.run(
        _parser(), _make, arguments, interrupted="interrupted; nothing was written", intermixed=True
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="activesam-make-bag",
        usage="activesam-make-bag FOLDER OUT --dataset NAME [options]\n"
        "       activesam-make-bag IMAGES LABELS OUT --classes FILE [options]\n"
        "       activesam-make-bag OUT --toytown [options]",
        description="Turn images and label files into a rosbag2 with ground truth and the names of its classes: a "
        "benchmark from its folder, images and label files of your own, or a rendered street to try things on.",
    )
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="a benchmark's folder, or a folder of images and one of label files; and last the recording to write",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--dataset",
        choices=sorted(BENCHMARKS),
        metavar="NAME",
        help=f"one of {', '.join(sorted(BENCHMARKS))}",
    )
    what.add_argument(
        "--classes", type=Path, metavar="FILE", help="YAML with classes: {0: road, 1: car} and ignore: [255]"
    )
    what.add_argument(
        "--toytown", action="store_true", help="render a drive through the street of the demo model"
    )
    parser.add_argument("--split", default="val", help="part of the benchmark (default: val)")
    parser.add_argument(
        "--list", type=Path, metavar="FILE", dest="listing", help="names of the images to take, one a line"
    )
    parser.add_argument(
        "--image-suffix", metavar="END", help="how names of your own images end (default: any kind of image)"
    )
    parser.add_argument(
        "--label-suffix", default=".png", metavar="END", help="what stands there in their label files' (.png)"
    )
    parser.add_argument(
        "--rate",
        type=command.number(0.001, 1000),
        default=10.0,
        help="frames a second of the stamps (default: 10)",
    )
    parser.add_argument(
        "--limit",
        type=command.whole_number(1),
        metavar="N",
        help="take the first N images only; of --toytown: 200",
    )
    parser.add_argument(
        "--storage",
        choices=("mcap", "sqlite3"),
        default="mcap",
        help="format of the recording (default: mcap)",
    )
    parser.add_argument(
        "--compressed",
        action="store_true",
        help="record JPEG and PNG files as they are (sensor_msgs/CompressedImage): small, and the same pixels",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a recording that is there")
    return parser


def _check_usage(given: argparse.Namespace) -> None:
    folders = len(given.folders)
    if given.toytown and folders != 1:
        raise command.UsageError("give the recording to write, and nothing else")
    if given.toytown and (given.compressed or given.listing):
        raise command.UsageError("--compressed and --list are for files; --toytown renders its images")
    if given.dataset and folders not in (2, 3):
        raise command.UsageError(
            "give the benchmark's folder and the recording to write, or IMAGES LABELS OUT"
        )
    if given.classes and folders != 3:
        raise command.UsageError(
            "give the folder of the images, that of the label files, and the recording to write"
        )
    if not given.classes and (given.image_suffix or given.label_suffix != ".png"):
        raise command.UsageError("--image-suffix and --label-suffix are for --classes alone")
    if given.dataset and folders == 2 and given.listing:
        raise command.UsageError(
            "--list goes with IMAGES LABELS OUT; in its own folder a benchmark has its own list"
        )


def _make(given: argparse.Namespace) -> int:
    _check_usage(given)
    with command.loading():
        from activesam_ros.datasets.labelled_bag import BagOptions, make_bag

    *sources, out = given.folders
    if given.toytown:
        _make_toytown(given, out)
        return command.DONE
    found, names = _benchmark(given, sources) if given.dataset else _own(given, sources)
    pairs = found.pairs[: given.limit]
    notes = {"dataset": f"{given.dataset} {given.split}" if given.dataset else given.classes.name}
    options = BagOptions(given.rate, given.storage, given.compressed, given.overwrite, notes)
    report = make_bag(pairs, found.ids, names, out, options)

    _tell_recording(given, out)
    print(f"images     {report.images}, {report.labelled} with ground truth{_expected(given, report.images)}")
    uncounted = report.pixels.get(found.ids.uncounted_id, 0)
    print(
        f"classes    {len(names)}, {_share(uncounted, sum(report.pixels.values()))} of the pixels do not count"
        f"{_absent(names, report.pixels)}"
    )
    _tell_unknown(report)
    unlabelled = [pair.image.name for pair in pairs if pair.label is None]
    if unlabelled:
        print(f"without    {len(unlabelled)} images have no label file: {_few(unlabelled)}")
    _tell_evaluation(out, given.dataset or "VOCABULARY", "facebook/sam3")
    return command.DONE


def _make_toytown(given: argparse.Namespace, out: Path) -> None:
    from activesam_ros.datasets.labelled_bag import whole_recording, write_drive

    images = given.limit or _TOYTOWN_IMAGES
    with whole_recording(out, given.overwrite) as folder:
        write_drive(folder, _TOYTOWN_SEED, images, given.rate, _TOYTOWN_SIZE, given.storage)
    _tell_recording(given, out)
    print(f"images     {images}, {images} with ground truth")
    _tell_evaluation(out, "toytown", "toytown")


def _tell_recording(given: argparse.Namespace, out: Path) -> None:
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"recording  {out} ({given.storage}, {size / 1e6:.1f} MB)")


def _tell_evaluation(out: Path, vocabulary: str, model: str) -> None:
    print(f"evaluate   activesam-evaluate {shlex.quote(str(out))} --vocabulary {vocabulary} --model {model}")


def _benchmark(given: argparse.Namespace, sources: Sequence[Path]) -> tuple[PairList, Mapping[int, str]]:
    from activesam_ros.datasets.layouts import benchmark_pairs, benchmark_pairs_in
    from activesam_ros.vocabulary.files import load_vocabulary_file

    benchmark = BENCHMARKS[given.dataset]
    vocabulary = load_vocabulary_file(benchmark.name).vocabulary()
    names = dict(zip(vocabulary.class_ids, vocabulary.names, strict=True))
    if len(sources) == 1:
        return benchmark_pairs(benchmark, sources[0], given.split), names
    images, labels = sources
    return benchmark_pairs_in(benchmark, images, labels, given.split, given.listing), names


def _own(given: argparse.Namespace, sources: Sequence[Path]) -> tuple[PairList, Mapping[int, str]]:
    from activesam_ros.datasets.class_map import read_class_map
    from activesam_ros.datasets.image_files import LabelIds
    from activesam_ros.datasets.layouts import PairList, own_pairs

    class_map = read_class_map(given.classes)
    names = {value: name for value, name in class_map.names.items() if value not in class_map.ignore}
    ids = LabelIds({value: value for value in names}, class_map.ignore)
    images, labels = sources
    pairs = own_pairs(images, labels, given.image_suffix, given.label_suffix, given.listing)
    return PairList(pairs, ids), names


def _tell_unknown(report: BagReport) -> None:
    values = sorted(report.unknown_pixels)
    pixels = sum(report.unknown_pixels.values())
    if len(values) == 1:
        print(
            f"unknown    the value {values[0]} is no class: {pixels} pixels in {report.unknown_images[values[0]]} "
            "images do not count"
        )
    elif values:
        print(
            f"unknown    {len(values)} values are no class: {_few(values)}; their {pixels} pixels do not count"
        )


def _few(things: Sequence[object]) -> str:
    more = f" and {len(things) - _FEW} more" if len(things) > _FEW else ""
    return ", ".join(map(str, things[:_FEW])) + more


def _expected(given: argparse.Namespace, images: int) -> str:
    whole = BENCHMARKS[given.dataset].images if given.dataset and given.split == "val" else None
    return f"; the whole benchmark has {whole}" if whole not in (None, images) else ""


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _absent(names: Mapping[int, str], pixels: Mapping[int, int]) -> str:
    absent = [name for class_id, name in names.items() if not pixels.get(class_id)]
    if not absent:
        return ""
    return f"; never seen: {_few(absent)}"


if __name__ == "__main__":
    sys.exit(main())
