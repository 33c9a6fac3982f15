"""The demonstration (`make demo`): a replayed drive through Toy Town, labelled by a real node.

Renders a drive, replays it to a node of its own process, changes the vocabulary half-way, and writes figures and
pictures of what came back.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from activesam_ros.benchmarks.demo_pictures import spread, to_truth, write_animation, write_pictures
from activesam_ros.cli import command
from activesam_ros.errors import ActiveSamError
from activesam_ros.toytown import CLASSES, DEMO_CLASSES, FOREIGN, SYNONYMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from activesam_ros.benchmarks.demo_client import Replay
    from activesam_ros.datasets.samples import Sample
    from activesam_ros.segmenter import ActiveSegmenter

STAGES = ("prepare", "preview", "encode", "decode", "fuse", "total")
STARTUP_SECONDS = 180.0
# As in the preset: the words cover all that there is in Toy Town.
SETTINGS = {"background_threshold": 0.0}


@dataclass(frozen=True)
class VocabularyFigures:
    """What the node did with one vocabulary.

    Attributes:
        revision: of the vocabulary.
        classes: its size.
        frames: labelled frames.
        active: mean number of active classes per frame.
        mean_iou: against the bag's ground truth, over the 19 classes of Toy Town.
        latency_median, latency_p95: seconds from publishing an image to receiving its labels.
    """

    revision: int
    classes: int
    frames: int
    active: float
    mean_iou: float
    latency_median: float
    latency_p95: float


@dataclass(frozen=True)
class PreviewFigures:
    """The library on the same frames, with or without the preview.

    Attributes:
        preview: whether it was on.
        frames: how many.
        mean_iou: as in VocabularyFigures.
        agreement: share of the pixels labelled as the node did.
        stages: median seconds per stage.
    """

    preview: bool
    frames: int
    mean_iou: float
    agreement: float
    stages: Mapping[str, float]


@dataclass(frozen=True)
class DemoFigures:
    """All figures of one demonstration.

    Attributes:
        published: frames sent.
        answered: frames with labels.
        superseded: frames that a newer one replaced before the node took them.
        rate: frames per second that were sent.
        change_seconds: from the request for the new vocabulary to the first labels with it.
        vocabularies: one entry per revision.
        comparison: with the preview, and without it.
        node_summary: counts by the node itself, including the frames that were sent until it was ready.
    """

    published: int
    answered: int
    superseded: int
    rate: float
    change_seconds: float
    vocabularies: tuple[VocabularyFigures, ...]
    comparison: tuple[PreviewFigures, ...]
    node_summary: str


def second_classes() -> tuple[str, ...]:
    """Return another 60 classes: a synonym of each class of Toy Town, and other foreign classes."""
    others = [name for name in FOREIGN if name not in DEMO_CLASSES]
    return tuple(SYNONYMS[name][1] for name in CLASSES) + tuple(others[:41])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="activesam-demo", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    names: dict[str, Any] = {"type": _names, "metavar": "CLASS;CLASS,ALIAS;…"}
    out, whole = Path("demo_out"), command.whole_number
    parser.add_argument("--out", type=Path, default=out, help="folder for the bag, pictures and figures")
    parser.add_argument("--frames", type=whole(2), default=150, help="length of the drive")
    parser.add_argument("--rate", type=command.number(0.1, 1000), default=6.0, help="frames/s of the camera")
    parser.add_argument("--width", type=whole(64), default=640, help="of the camera, in pixels")
    parser.add_argument("--height", type=whole(64), default=480, help="of the camera, in pixels")
    parser.add_argument("--seed", type=whole(0), default=10_000_007, help="which street")
    parser.add_argument("--model", default="toytown", help="model folder or hub id")
    parser.add_argument(
        "--words", default=DEMO_CLASSES, help="classes of the first half (default: 60)", **names
    )
    parser.add_argument("--then-words", default=second_classes(), help="classes of the second half", **names)
    parser.add_argument("--compare", type=whole(1), default=20, help="frames to repeat without the preview")
    parser.add_argument("--pictures", type=whole(0), default=8, help="how many pictures to write")
    return command.run(parser, _run, arguments)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(";") if name.strip())


def _run(options: argparse.Namespace) -> int:
    from activesam_ros.datasets.labelled_bag import IMAGE_TOPIC, TRUTH_TOPIC, write_drive
    from activesam_ros.datasets.recordings import Recording
    from activesam_ros.datasets.samples import SampleReader

    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    segmenter = _first_picture(options, folder)
    bag = folder / "drive"
    # One more than is played: the first wakes the node.
    write_drive(bag, options.seed, options.frames + 1, options.rate, (options.width, options.height))
    with Recording(bag) as recording:
        first, *frames = SampleReader(recording, IMAGE_TOPIC, TRUTH_TOPIC)
    replay, summary = _replay(options, first, frames)
    by_stamp = {frame.stamp: frame for frame in frames}
    figures = DemoFigures(
        published=len(replay.published),
        answered=len(replay.outputs),
        superseded=len(replay.published) - len(replay.outputs),
        rate=options.rate,
        change_seconds=replay.change_seconds,
        vocabularies=tuple(vocabulary_figures(r, by_stamp, replay) for r in sorted(replay.class_names)),
        comparison=_compare(options, segmenter, by_stamp, replay),
        node_summary=summary,
    )
    (folder / "figures.json").write_text(json.dumps(asdict(figures), indent=1) + "\n", encoding="utf-8")
    (folder / "table.txt").write_text(as_text(figures), encoding="utf-8")
    pictures = write_pictures(folder, by_stamp, replay, options.pictures)
    animation = write_animation(folder / "demo.webp", by_stamp, replay)
    print(as_text(figures))
    print(f"{animation} shows the drive and the change of the words; open it in a browser.")
    print(f"{pictures} pictures, the bag, the node's log and figures.json are in {folder}/")
    print(
        "Next: source env.sh && pip install 'nicegui>=3,<4' && activesam-studio --demo, to try words of your own on "
        "this street."
    )
    return command.DONE


def _first_picture(options: argparse.Namespace, folder: Path) -> ActiveSegmenter:
    """Label the first image of the drive by the library, before all that takes longer; return the segmenter."""
    from activesam_ros.configuration.configuration import first_configuration
    from activesam_ros.segmenter import ActiveSegmenter
    from activesam_ros.toytown.world import World
    from activesam_ros.vocabulary import Vocabulary

    segmenter = ActiveSegmenter.from_pretrained(
        options.model, settings=first_configuration(SETTINGS).settings
    )
    segmenter.set_vocabulary(Vocabulary.from_names(options.words))
    result = segmenter(World(options.seed, options.width, options.height).render(0.0).rgb)
    result.plot().save(folder / "first.png")
    print(
        f"{folder}/first.png: the first image, in which {len(result.active)} of {len(options.words)} words were found"
    )
    return segmenter


def _replay(options: argparse.Namespace, first: Sample, frames: Sequence[Sample]) -> tuple[Replay, str]:
    """Play the frames to a node of its own; return what came back, and the node's own summary."""
    from activesam_ros.benchmarks.node_session import NodeProcess, use_own_dds_domain
    from activesam_ros.datasets.labelled_bag import IMAGE_TOPIC

    use_own_dds_domain()  # before ROS is imported
    import rclpy

    from activesam_ros.benchmarks.demo_client import DemoClient

    rclpy.init()
    try:
        client = DemoClient()
        parameters = {"model": options.model, "vocabulary": list(options.words), **SETTINGS}
        with NodeProcess(parameters, {"image": IMAGE_TOPIC}, options.out) as node:
            client.wait_for_node(first, node.check, STARTUP_SECONDS)
            replay = client.play(frames, options.rate, options.then_words, node.check)
        if node.exit_code != 0:
            raise ActiveSamError(f"the node ended with exit code {node.exit_code}; read its log {node.log}")
        client.destroy_node()
    finally:
        rclpy.try_shutdown()
    if not replay.outputs:
        raise ActiveSamError(f"the node labelled none of {len(frames)} frames; read its log {node.log}")
    return replay, "; ".join(node.frame_summaries())


def _compare(
    options: argparse.Namespace, base: ActiveSegmenter, frames: Mapping[int, Sample], replay: Replay
) -> tuple[PreviewFigures, ...]:
    """Label some of the frames by the library with the node's settings, with and without the preview."""
    settings = base.settings
    stamps = spread(replay, options.compare)
    figures = []
    with command.progress_bar(2 * len(stamps), "with and without preview", "frame") as bar:
        for preview in (True, False):
            segmenter = base.with_settings(settings if preview else replace(settings, max_active=65_535))
            figures.append(_preview_figures(options, segmenter, preview, frames, replay, stamps, bar))
    return tuple(figures)


def _preview_figures(
    options: argparse.Namespace,
    segmenter: Any,
    preview: bool,
    frames: Mapping[int, Sample],
    replay: Replay,
    stamps: Iterable[int],
    bar: Any,
) -> PreviewFigures:
    from activesam_ros.evaluation.metrics import ConfusionMatrix
    from activesam_ros.vocabulary import Vocabulary

    matrix, timings, same, revision = ConfusionMatrix(len(CLASSES)), [], [], -1
    for stamp in stamps:
        output = replay.outputs[stamp]
        if output.revision != revision:
            revision = output.revision
            vocabulary = Vocabulary.from_names(options.words)
            segmenter.set_vocabulary(vocabulary.updated(options.then_words) if revision > 1 else vocabulary)
        result = segmenter.segment(frames[stamp].rgb, instances=False)
        matrix.add(frames[stamp].truth, to_truth(result.labels, replay.class_names[revision]))
        timings.append(result.timings)
        same.append(float(np.mean(result.labels == output.labels)))
        bar.update()
    stages = {stage: [timing[stage] for timing in timings if stage in timing] for stage in STAGES}
    medians = {stage: median(seconds) for stage, seconds in stages.items() if seconds}
    return PreviewFigures(preview, len(timings), matrix.mean_iou, float(np.mean(same)), medians)


def vocabulary_figures(revision: int, frames: Mapping[int, Sample], replay: Replay) -> VocabularyFigures:
    """Return the figures of the frames that were labelled with one revision."""
    from activesam_ros.evaluation.metrics import ConfusionMatrix

    names = replay.class_names[revision]
    outputs = {stamp: output for stamp, output in replay.outputs.items() if output.revision == revision}
    matrix = ConfusionMatrix(len(CLASSES))
    for stamp, output in outputs.items():
        matrix.add(frames[stamp].truth, to_truth(output.labels, names))
    seconds = [output.seconds for output in outputs.values()]
    return VocabularyFigures(
        revision=revision,
        classes=len(names),
        frames=len(outputs),
        active=mean(len(output.active) for output in outputs.values()),
        mean_iou=matrix.mean_iou,
        latency_median=median(seconds),
        latency_p95=float(np.percentile(seconds, 95)),
    )


def as_text(figures: DemoFigures) -> str:
    """Return the figures as a table for a terminal."""
    lines = [
        "",
        f"frames      {figures.published} in at {figures.rate:g} a second = {figures.answered} out "
        f"+ {figures.superseded} superseded by a newer one",
        f"new classes in force {figures.change_seconds:.2f} s after the request, without a pause in the stream",
        "",
        "vocabulary   classes  frames  active/frame   mIoU   latency ms p50   p95",
    ]
    lines += [
        f"revision {one.revision:<6}{one.classes:>5}{one.frames:>8}{one.active:>14.1f}"
        f"{one.mean_iou:>7.3f}{1000 * one.latency_median:>17.0f}{1000 * one.latency_p95:>6.0f}"
        for one in figures.vocabularies
    ]
    lines += ["", "same frames     frames   mIoU   as the node   ms: " + "".join(f"{s:>9}" for s in STAGES)]
    for entry in figures.comparison:
        stages = "".join(f"{1000 * entry.stages.get(name, 0):>9.0f}" for name in STAGES)
        lines.append(
            f"preview {'on' if entry.preview else 'off':<8}{entry.frames:>6}{entry.mean_iou:>7.3f}"
            f"{entry.agreement:>13.2%}       {stages}"
        )
    return "\n".join([*lines, "", f"the node    {figures.node_summary}", "", ""])


if __name__ == "__main__":
    sys.exit(main())
