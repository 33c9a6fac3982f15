"""The command `activesam-segment`: labels image files, and writes overlays and label images."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activesam_ros.errors import ActiveSamError, DatasetError, ImageError, VocabularyError
from activesam_ros.system.threads import let_waiting_threads_sleep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activesam_ros.results import SegmentationResult
    from activesam_ros.segmenter import ActiveSegmenter
    from activesam_ros.vocabulary import Vocabulary

FAILED = 2
"""Exit code of a command that could not do what was asked, or not for every image."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it."""

BACKGROUND_THRESHOLD = 0.4
"""As the node's parameter has it; a vocabulary file may name another."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    given = _parser().parse_args(arguments)
    let_waiting_threads_sleep()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        return _segment(given)
    except ActiveSamError as error:
        _complain(str(error))
        return FAILED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain about it once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _complain("interrupted; the images labelled so far are written")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="activesam-segment",
        description="Label images with the words of your choice. Writes for each an overlay with a legend, and a PNG "
        "with the class id of every pixel; prints which classes were found.",
    )
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="JPEG, PNG, or what Pillow reads"
    )
    words = parser.add_mutually_exclusive_group(required=True)
    words.add_argument(
        "--words", metavar="WORDS", help="the classes, with commas between them: 'road, car, sky'"
    )
    words.add_argument(
        "--vocabulary",
        metavar="FILE|PRESET|WORDS",
        help="a path to YAML or text, a preset's name, or words: semicolons between classes, commas between "
        "aliases ('road; car, automobile; sky')",
    )
    parser.add_argument(
        "--model",
        default="facebook/sam3",
        help="model folder or hub id (default: facebook/sam3), or 'toytown' for the demo model",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("segmented"),
        metavar="DIR",
        help="folder to write (default: segmented)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace pictures that are there")
    parser.add_argument("--confidence", action="store_true", help="write the confidence of every pixel, too")
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
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    return parser


def _segment(given: argparse.Namespace) -> int:
    from activesam_ros.results_files import result_paths

    vocabulary, threshold = _words(given)
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
    outputs = [result_paths(given.out, image.stem, given.confidence) for image in given.images]
    there = [path for paths in outputs for path in paths.values() if path.exists()]
    if there and not given.overwrite:
        raise ActiveSamError(
            f"{there[0]} exists already; give --overwrite to replace it, or another folder with --out"
        )
    segmenter = _segmenter(given, vocabulary, threshold)
    return _label_all(given, segmenter, outputs)


def _words(given: argparse.Namespace) -> tuple[Vocabulary, float | None]:
    """The vocabulary, and the background threshold that its file names."""
    from activesam_ros.vocabulary import Vocabulary, check_size
    from activesam_ros.vocabulary.files import load_vocabulary_file, words_of

    threshold = None
    words = given.words.rstrip(", ").split(",") if given.words is not None else words_of(given.vocabulary)
    if words is not None:
        vocabulary = Vocabulary.from_names(words, given.background)
    elif given.background is not None:
        raise VocabularyError("--background goes with words; a vocabulary file names its own background")
    else:
        file = load_vocabulary_file(given.vocabulary)
        vocabulary, threshold = file.vocabulary(), file.background_threshold
    check_size(vocabulary)
    return vocabulary, threshold


def _segmenter(given: argparse.Namespace, vocabulary: Vocabulary, threshold: float | None) -> ActiveSegmenter:
    from activesam_ros.settings import SegmenterSettings

    stated = (given.background_threshold, threshold, BACKGROUND_THRESHOLD)
    settings = SegmenterSettings(background_threshold=next(one for one in stated if one is not None))
    if given.confidence_threshold is not None:
        settings = replace(settings, confidence_threshold=given.confidence_threshold)
    # Imports torch and transformers, which take seconds.
    from activesam_ros.segmenter import ActiveSegmenter

    segmenter = ActiveSegmenter.from_pretrained(given.model, device=given.device, settings=settings)
    segmenter.set_vocabulary(vocabulary)
    return segmenter


def _label_all(given: argparse.Namespace, segmenter: ActiveSegmenter, outputs: list[dict[str, Path]]) -> int:
    from tqdm import tqdm

    from activesam_ros.datasets.image_files import has_exif_rotation, read_image
    from activesam_ros.results_files import write_result

    reports = []
    failed = 0
    # Only on a terminal, and on stderr, so that what is printed can be piped.
    with tqdm(total=len(given.images), desc="images", unit="image", disable=None) as bar:
        for image, paths in zip(given.images, outputs, strict=True):
            try:
                rgb = read_image(image).rgb
                result = segmenter.segment(rgb)
            except (DatasetError, ImageError) as error:
                # One bad file must not cost the others.
                failed += 1
                _complain(str(error) if str(image) in str(error) else f"{image}: {error}")
            else:
                write_result(paths, rgb, result)
                if has_exif_rotation(image):
                    _complain(f"{image} was taken with a turned camera, and is labelled as it is stored")
                reports.append(_report(image, paths, result))
            bar.update()
    if given.json:
        print(
            json.dumps({"classes": _classes(segmenter.vocabulary), "images": reports}, indent=2), flush=True
        )
    else:
        print("\n\n".join(_table(report) for report in reports), flush=True)
    if failed:
        _complain(f"{failed} of {len(given.images)} images could not be labelled")
    return FAILED if failed else 0


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
    }


def _table(report: dict[str, Any]) -> str:
    from activesam_ros.vocabulary.report import align

    shown = [one for one in report["classes"] if one["area"]]
    rows = [[str(one["id"]), one["name"], f"{one['presence']:.2f}", f"{one['area']:.1%}"] for one in shown]
    if report["unlabeled_area"]:
        rows.append([str(report["unlabeled_id"]), "no class", "-", f"{report['unlabeled_area']:.1%}"])
    return "\n".join(
        [f"{report['image']}  →  {report['overlay']}", *align(["id", "class", "presence", "area"], rows)]
    )


def _complain(sentence: str) -> None:
    print(f"activesam-segment: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
