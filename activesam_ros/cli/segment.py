"""The command `activesam-segment`: label image files, and write overlays and label images."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activesam_ros.cli import command
from activesam_ros.errors import ActiveSamError, ImageError, OutOfMemoryError, VocabularyError
from activesam_ros.settings import SegmenterSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activesam_ros.results import SegmentationResult
    from activesam_ros.segmenter import ActiveSegmenter
    from activesam_ros.vocabulary import Vocabulary

NAME = "activesam-segment"
BACKGROUND_THRESHOLD = 0.4
"""As the node's parameter has it; a vocabulary file may name another."""

MAX_PIXELS = 100_000_000
"""Photos have more pixels than the images of robots' cameras."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Label images with the classes of your choice. Writes for each an overlay with a legend, and a "
        "PNG with the class id of every pixel; prints which classes were found.",
    )
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="JPEG, PNG, or what Pillow reads"
    )
    classes = parser.add_mutually_exclusive_group(required=True)
    classes.add_argument(
        "--words", metavar="NAMES", help="the classes, with commas between them: 'road, car, sky'"
    )
    command.add_vocabulary(classes)
    command.add_model(parser, "facebook/sam3")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("segmented"),
        metavar="DIR",
        help="folder to write (default: segmented)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace pictures that are there")
    parser.add_argument("--confidence", action="store_true", help="write the confidence of every pixel, too")
    parser.add_argument(
        "--instances", action="store_true", help="write which instance each pixel belongs to, and draw boxes"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument(
        "--background", metavar="NAME", help="class that pixels without a clear winner become"
    )
    parser.add_argument(
        "--background-threshold",
        type=float,
        metavar="NUMBER",
        help=f"how clear a winner has to be, 0 to 1 (default: the vocabulary file's, else {BACKGROUND_THRESHOLD:g})",
    )
    parser.add_argument(
        "--confidence-threshold",
        type=float,
        metavar="NUMBER",
        help="of instance masks, 0 to 1 (default: 0.3)",
    )
    command.add_device(parser)
    return command.run(
        parser, _segment, arguments, interrupted="interrupted; the images labelled so far are written"
    )


def _segment(given: argparse.Namespace) -> int:
    from activesam_ros.results import result_paths

    vocabulary, threshold = _vocabulary(given)
    stems: dict[str, Path] = {}
    for image in given.images:
        if not image.is_file():
            raise ActiveSamError(f"there is no image {image}; expected the path of a file")
        other = stems.setdefault(image.stem, image)
        if other is not image:
            raise ActiveSamError(
                f"{other} and {image} would be written under one name, {image.stem}; give them in two calls, each with "
                "a folder of its own (--out)"
            )
    outputs = [
        result_paths(given.out, image.stem, given.confidence, given.instances) for image in given.images
    ]
    there = [path for paths in outputs for path in paths.values() if path.exists()]
    if there and not given.overwrite:
        raise ActiveSamError(
            f"{there[0]} exists already; give --overwrite to replace it, or another folder with --out"
        )
    settings = _settings(given, threshold)
    with command.loading():
        from activesam_ros.segmenter import ActiveSegmenter
    segmenter = ActiveSegmenter.from_pretrained(given.model, device=given.device, settings=settings)
    segmenter.set_vocabulary(vocabulary)
    return _label_all(given, segmenter, outputs)


def _vocabulary(given: argparse.Namespace) -> tuple[Vocabulary, float | None]:
    """Return the vocabulary, and the background threshold that its file names."""
    from activesam_ros.vocabulary import Vocabulary, check_size
    from activesam_ros.vocabulary.files import load_vocabulary_file, parse_class_list

    threshold = None
    words = (
        given.words.rstrip(", ").split(",") if given.words is not None else parse_class_list(given.vocabulary)
    )
    if words is not None:
        vocabulary = Vocabulary.from_names(words, given.background)
    elif given.background is not None:
        raise VocabularyError("--background goes with words; a vocabulary file names its own background")
    else:
        file = load_vocabulary_file(given.vocabulary)
        vocabulary, threshold = file.vocabulary(), file.background_threshold
    check_size(vocabulary)
    return vocabulary, threshold


def _settings(given: argparse.Namespace, threshold: float | None) -> SegmenterSettings:
    stated = (given.background_threshold, threshold, BACKGROUND_THRESHOLD)
    settings = SegmenterSettings(
        background_threshold=next(one for one in stated if one is not None), max_pixels=MAX_PIXELS
    )
    if given.confidence_threshold is not None:
        settings = replace(settings, confidence_threshold=given.confidence_threshold)
    return settings


def _label_all(given: argparse.Namespace, segmenter: ActiveSegmenter, outputs: list[dict[str, Path]]) -> int:
    reports = []
    failed = 0
    with command.progress_bar(len(given.images), "images", "image") as bar:
        for image, paths in zip(given.images, outputs, strict=True):
            try:
                # From the file itself, which is turned as its EXIF orientation says.
                result = segmenter.segment(image, instances=given.instances)
            except (ImageError, OutOfMemoryError) as error:
                # One bad file must not cost the others.
                failed += 1
                command.complain(NAME, str(error) if str(image) in str(error) else f"{image}: {error}")
            else:
                try:
                    result.save(given.out, image.stem, given.confidence, given.instances)
                except ActiveSamError as error:
                    raise ActiveSamError(f"{error} with --out") from error
                reports.append(_report(image, paths, result))
            bar.update()
    if given.json:
        print(json.dumps({"classes": _classes(segmenter.vocabulary), "images": reports}, indent=2))
    else:
        print("\n\n".join(_table(report) for report in reports))
    if failed:
        command.complain(NAME, f"{failed} of {len(given.images)} images could not be labelled")
    return command.FAILED if failed else command.DONE


def _classes(vocabulary: Vocabulary | None) -> list[dict[str, Any]]:
    entries = vocabulary.classes if vocabulary else ()
    return [
        {"id": one.class_id, "name": one.name, "prompts": list(one.prompts), "colour": list(one.colour)}
        for one in entries
    ]


def _report(image: Path, paths: dict[str, Path], result: SegmentationResult) -> dict[str, Any]:
    height, width = result.labels.shape
    unlabelled = int((result.labels == result.unlabeled_id).sum())
    return {
        "image": str(image),
        **{kind: str(path) for kind, path in paths.items()},
        "width": width,
        "height": height,
        "unlabeled_id": result.unlabeled_id,
        "unlabeled_area": unlabelled / result.labels.size,
        "seconds": result.timings["total"],
        "classes": [
            {
                "id": one.class_id,
                "name": one.name,
                "presence": one.presence,
                "area": (one.pixels or 0) / result.labels.size,
            }
            for one in sorted(result.active, key=lambda one: (-(one.pixels or 0), one.class_id))
        ],
        **(_found(result) if result.instances is not None else {}),
    }


def _found(result: SegmentationResult) -> dict[str, Any]:
    return {
        "found": [
            {"id": one.id, "class": one.class_id, "name": one.name, "score": one.score, "box": list(one.box)}
            for one in result.instances or ()
        ]
    }


def _table(report: dict[str, Any]) -> str:
    from activesam_ros.prompts.report import align

    shown = [one for one in report["classes"] if one["area"]]
    rows = [[str(one["id"]), one["name"], f"{one['presence']:.2f}", f"{one['area']:.1%}"] for one in shown]
    if report["unlabeled_area"]:
        rows.append([str(report["unlabeled_id"]), "no class", "-", f"{report['unlabeled_area']:.1%}"])
    return "\n".join(
        [f"{report['image']}  →  {report['overlay']}", *align(["id", "class", "presence", "area"], rows)]
    )


if __name__ == "__main__":
    sys.exit(main())
