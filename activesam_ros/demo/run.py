"""Renders a drive, replays it through a real node, changes the words half-way, and shows what came of it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from activesam_ros.benchmarks.node_session import NodeProcess, use_own_dds_domain
from activesam_ros.datasets.labelled_bag import IMAGE_TOPIC
from activesam_ros.demo.drive import RecordedFrame, read_drive, write_drive
from activesam_ros.errors import ActiveSamError
from activesam_ros.system.threads import let_waiting_threads_sleep
from activesam_ros.toytown import CLASSES, DEMO_CLASSES, FOREIGN, SYNONYMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_FOLDER = Path("demo_out")
STARTUP_SECONDS = 180.0


def second_words() -> tuple[str, ...]:
    """Another 60 words: a synonym of each class of Toy Town, and other words of other worlds."""
    others = [word for word in FOREIGN if word not in DEMO_CLASSES]
    return tuple(SYNONYMS[name][1] for name in CLASSES) + tuple(others[:41])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demonstration; returns the exit code."""
    options = _options(arguments)
    let_waiting_threads_sleep()
    use_own_dds_domain()
    try:
        _run(options)
    except (ActiveSamError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace) -> None:
    # ROS is imported only here, so that --help works and the transport is chosen before.
    import rclpy

    from activesam_ros.demo import report
    from activesam_ros.demo.replay import ReplayNode

    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    bag = folder / "drive"
    # One more than is played: the first wakes the node.
    write_drive(bag, options.seed, options.frames + 1, options.rate, (options.width, options.height))
    waking, *recorded = read_drive(bag)
    frames = {frame.stamp: frame for frame in recorded}

    rclpy.init()
    try:
        player = ReplayNode()
        parameters = {"model": options.model, "vocabulary": list(options.words)}
        with NodeProcess(parameters, {"image": IMAGE_TOPIC}, folder) as node:
            player.wait_for_node(waking, node.check, STARTUP_SECONDS)
            recording = player.play(recorded, options.rate, options.then_words, node.check)
        if node.exit_code != 0:
            raise ActiveSamError(f"the node ended with exit code {node.exit_code}; read its log {node.log}")
        player.destroy_node()
    finally:
        rclpy.try_shutdown()
    if not recording.answers:
        raise ActiveSamError(f"the node answered none of {len(recorded)} frames; read its log {node.log}")

    comparison = _compare(options, frames, recording)
    revisions = sorted(recording.class_names)
    figures = report.DemoFigures(
        published=len(recording.published),
        answered=len(recording.answers),
        superseded=len(recording.published) - len(recording.answers),
        rate=options.rate,
        change_seconds=recording.change_seconds,
        vocabularies=tuple(report.vocabulary_figures(revision, frames, recording) for revision in revisions),
        comparison=comparison,
        node_summary="; ".join(node.last_words()),
    )
    report.write_figures(figures, folder)
    pictures = report.write_pictures(folder, frames, recording, options.pictures)
    print(report.as_text(figures))
    print(f"{len(pictures)} pictures, the bag, the node's log and figures.json are in {folder}/")


def _compare(options: argparse.Namespace, frames: Mapping[int, RecordedFrame], recording):
    """The library on some of the answered frames, with the node's settings, with and without the preview."""
    from activesam_ros.configuration import first_configuration
    from activesam_ros.demo import report
    from activesam_ros.evaluation.confusion import ConfusionMatrix
    from activesam_ros.segmenter import ActiveSegmenter
    from activesam_ros.vocabulary import Vocabulary

    settings = first_configuration({}).settings
    stamps = sorted(recording.answers)
    picked = [stamps[round(at)] for at in np.linspace(0, len(stamps) - 1, min(options.compare, len(stamps)))]
    base = ActiveSegmenter.from_pretrained(options.model, settings=settings)
    figures = []
    with tqdm(total=2 * len(picked), desc="with and without preview", unit="frame") as bar:
        for preview in (True, False):
            segmenter = base.with_settings(settings if preview else replace(settings, max_active=65_535))
            matrix = ConfusionMatrix(len(CLASSES))
            timings, same = [], []
            revision = None
            for stamp in picked:
                answer = recording.answers[stamp]
                names = recording.class_names[answer.revision]
                if answer.revision != revision:
                    vocabulary = Vocabulary.from_names(options.words)
                    if answer.revision > 1:
                        vocabulary = vocabulary.updated(options.then_words)
                    segmenter.set_vocabulary(vocabulary)
                    revision = answer.revision
                result = segmenter.segment(frames[stamp].rgb)
                matrix.add(frames[stamp].truth, report.to_truth(result.labels, names))
                timings.append(result.timings)
                same.append(float(np.mean(result.labels == answer.labels)))
                bar.update()
            stages = {
                name: median(timing[name] for timing in timings if name in timing)
                for name in report.STAGES
                if any(name in timing for timing in timings)
            }
            figures.append(
                report.PreviewFigures(preview, len(picked), matrix.mean_iou, float(np.mean(same)), stages)
            )
    return tuple(figures)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m activesam_ros.demo",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    words = {"type": _words, "metavar": "WORD;WORD,ALIAS;…"}
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_FOLDER, help="folder for the bag, pictures and figures"
    )
    parser.add_argument("--frames", type=_at_least(2), default=150, help="length of the drive")
    parser.add_argument("--rate", type=float, default=6.0, help="frames a second of the camera")
    parser.add_argument("--width", type=_at_least(64), default=640, help="of the camera, in pixels")
    parser.add_argument("--height", type=_at_least(64), default=480, help="of the camera, in pixels")
    parser.add_argument("--seed", type=_at_least(0), default=10_000_007, help="which street")
    parser.add_argument("--model", default="toytown", help="model folder or hub id")
    parser.add_argument("--words", default=DEMO_CLASSES, help="words of the first half (default: 60)", **words)
    parser.add_argument("--then-words", default=second_words(), help="words of the second half", **words)
    parser.add_argument(
        "--compare", type=_at_least(1), default=20, help="frames to repeat without the preview"
    )
    parser.add_argument("--pictures", type=_at_least(0), default=8, help="how many pictures to write")
    options = parser.parse_args(arguments)
    if not 0.1 <= options.rate <= 1000:
        parser.error(f"--rate is {options.rate:g}; expected 0.1 to 1000 frames a second")
    return options


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(";") if word.strip())


def _at_least(low: int):
    def number(text: str) -> int:
        if not text.isdigit() or int(text) < low:
            raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from {low}")
        return int(text)

    return number
