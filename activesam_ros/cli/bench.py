"""The command `activesam-bench`: measure the library and the node."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activesam_ros.cli import command
from activesam_ros.cli.command import image_size, number, whole_number
from activesam_ros.errors import ActiveSamError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FULL_SIZE_MASKS = 15
"""With random weights no instance passes the usual threshold; a trained model keeps about as many."""
SPEED_VARIANTS = ("plain", "lean", "fast", "realtime", "bfloat16", "compiled", "graphs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="activesam-bench", description="Benchmarks.")
    benchmarks = parser.add_subparsers(required=True, metavar="NAME")
    for add in (
        *(_add_vocabulary, _add_soak, _add_cameras, _add_overhead, _add_points),
        *(_add_transport, _add_work, _add_launches, _add_speed, _add_fuse, _add_preview, _add_video),
    ):
        add(benchmarks)
    return command.run(parser, lambda given: given.measure(given), arguments)


# What needs no ROS.


def _add_vocabulary(benchmarks: Any) -> None:
    vocabulary = benchmarks.add_parser(
        "vocabulary",
        help="what classes cost",
        description="Time of changes of the vocabulary and of a start, memory with and without the text encoder, and "
        "latency of a stream while prompts are encoded; on the CPU.",
    )
    _add_model(vocabulary)
    command.add_dtype(vocabulary)
    vocabulary.add_argument("--classes", type=whole_number(3), help="of the vocabulary (default: all 171)")
    vocabulary.add_argument(
        "--repeats", type=int, choices=range(1, 7), default=3, help="of each change of classes (default: 3)"
    )
    command.add_threads(vocabulary)
    vocabulary.add_argument(
        "--stream-classes", type=whole_number(2), default=19, help="of the stream (default: 19)"
    )
    vocabulary.add_argument(
        "--stream-resolution", type=whole_number(1), help="of the stream, in pixels (default: the model's)"
    )
    vocabulary.add_argument(
        "--stream-frames", type=whole_number(2), default=10, help="images between changes (default: 10)"
    )
    vocabulary.add_argument(
        "--stream-edits", type=whole_number(1), default=5, help="changes beside the stream (default: 5)"
    )
    command.add_json(vocabulary)
    vocabulary.set_defaults(measure=_vocabulary)


def _vocabulary(given: argparse.Namespace) -> int:
    with command.loading():
        from activesam_ros.benchmarks.vocabulary import VocabularyOptions, measure_vocabulary, to_markdown

    options = VocabularyOptions(
        _full_size_model() if given.full_size else given.model,
        given.dtype,
        given.classes,
        given.repeats,
        given.threads,
        given.stream_classes,
        given.stream_resolution,
        given.stream_frames,
        given.stream_edits,
    )
    found = measure_vocabulary(options, command.say)
    return _finish(given, to_markdown(found), asdict(found))


def _add_work(benchmarks: Any) -> None:
    work = benchmarks.add_parser(
        "work",
        help="counted operations of every way to label an image",
        description="Counts the floating-point operations of SAM 3's published architecture, without weights, for "
        "several vocabularies and image sizes.",
    )
    work.add_argument(
        "--tokens",
        type=whole_number(2),
        default=10,
        help="of a prompt: text, context and class token (default: 10)",
    )
    work.add_argument(
        "--kept", type=whole_number(1), default=20, help="masks of each decoded prompt (default: 20)"
    )
    work.add_argument(
        "--shown", type=whole_number(1), default=11, help="classes that a video shows (default: 11)"
    )
    _add_out(work, "work.md, work.json and work.png")
    work.set_defaults(measure=_work)


def _work(given: argparse.Namespace) -> int:
    with command.loading():
        from activesam_ros.benchmarks import work

    found = work.count_work(work.Assumptions(given.tokens, given.kept, given.shown), command.say)
    page = work.to_markdown(found)
    print(page, end="")
    if given.out:
        _write(given.out, "work", page, asdict(found))
        (given.out / "work.png").write_bytes(work.plot(found))
    return command.DONE


def _add_launches(benchmarks: Any) -> None:
    launches = benchmarks.add_parser(
        "launches",
        help="kernels that an image launches on a GPU, and waits for it",
        description="Counts the kernels that an image launches on a GPU, and how often the host waits for it, for the "
        "profiles paper, fast and realtime; without weights and without a GPU. A minute.",
    )
    launches.add_argument(
        "--models",
        type=command.names,
        default=("published", "toytown"),
        help="published is SAM 3's architecture (default: published,toytown)",
    )
    launches.add_argument(
        "--classes", type=whole_number(20), default=150, help="of the vocabulary (default: 150)"
    )
    launches.add_argument(
        "--size", type=image_size, default=(1280, 720), help="of the images (default: 1280x720)"
    )
    launches.add_argument("--instances", action="store_true", help="with instances")
    launches.add_argument("--cuda-graphs", action="store_true", help="with the parameter cuda_graphs")
    command.add_json(launches)
    launches.set_defaults(measure=_launches)


def _launches(given: argparse.Namespace) -> int:
    with command.loading():
        from activesam_ros.benchmarks import launches

    found = [
        one
        for model in given.models
        for one in launches.count_launches(
            model,
            command.say,
            classes=given.classes,
            size=given.size,
            instances=given.instances,
            graphs=given.cuda_graphs,
        )
    ]
    page = launches.to_markdown(found, given.classes, given.size)
    return _finish(given, page, {"profiles": [asdict(one) for one in found]})


def _add_speed(benchmarks: Any) -> None:
    speed = benchmarks.add_parser(
        "speed",
        help="time and memory of the published path and of ours",
        description="Labels the same images in several variants, each in a process of its own, in turns.",
    )
    _add_model(speed)
    speed.add_argument(
        "--paths",
        type=_speed_variants,
        help=f"of {', '.join(SPEED_VARIANTS)}; the first is what others are compared with (default: plain,lean, and "
        "realtime unless weights are random)",
    )
    command.add_device(speed)
    command.add_dtype(speed)
    speed.add_argument("--classes", type=whole_number(2), default=60, help="of the vocabulary (default: 60)")
    speed.add_argument("--size", type=image_size, default=(640, 480), help="of the images (default: 640x480)")
    speed.add_argument("--images", type=whole_number(1), default=5, help="that are measured (default: 5)")
    speed.add_argument(
        "--cold",
        action="store_true",
        help="measure the first image too, which pays for what later ones reuse (default: one more comes before)",
    )
    command.add_threads(speed)
    speed.add_argument(
        "--max-active",
        type=whole_number(1),
        help="most prompts that are decoded (default: as the profile has it)",
    )
    masks = speed.add_mutually_exclusive_group()
    masks.add_argument("--threshold", type=number(0, 1), help="confidence threshold (default: the usual one)")
    masks.add_argument(
        "--masks",
        type=whole_number(1),
        help="choose the confidence threshold so that each prompt keeps so many (default: the usual threshold, or "
        f"{FULL_SIZE_MASKS} with --full-size)",
    )
    _add_out(speed, "speed.md and speed.json")
    speed.set_defaults(measure=_speed)


def _speed_variants(text: str) -> tuple[str, ...]:
    names = command.names(text)
    for name in names:
        if name not in SPEED_VARIANTS:
            raise argparse.ArgumentTypeError(f"{name!r}; expected {', '.join(SPEED_VARIANTS)}")
    if len(set(names)) != len(names):
        raise argparse.ArgumentTypeError(f"{text!r} names a variant twice; expected each once")
    return names


def _speed(given: argparse.Namespace) -> int:
    with command.loading():
        from activesam_ros.benchmarks import speed

    model, masks, called = given.model, given.masks, None
    if given.full_size:
        model = _full_size_model()
        if given.threshold is None:
            masks = masks or FULL_SIZE_MASKS
        called = "SAM 3's published size with random weights"
    options = speed.SpeedOptions(
        paths=given.paths or (("plain", "lean") if given.full_size else ("plain", "lean", "realtime")),
        model=model,
        device=given.device,
        dtype=given.dtype,
        classes=given.classes,
        size=given.size,
        images=given.images,
        cold=given.cold,
        threads=given.threads,
        masks=masks,
        threshold=given.threshold,
        max_active=given.max_active,
        called=called,
    )
    found = speed.measure_speed(options, command.say)
    page = speed.to_markdown(found)
    print(page, end="")
    if given.out:
        _write(given.out, "speed", page, asdict(found))
    return command.DONE


def _add_fuse(benchmarks: Any) -> None:
    fuse = benchmarks.add_parser(
        "fuse",
        help="what fusing masks in tiles costs, and whether labels stay",
        description="Decodes images with the demo model on the CPU, and fuses and labels what was decoded in tiles, as "
        "large images are, and as the formula says, by turns. Two minutes on one core.",
    )
    _add_sizes(fuse, (640, 480), (1920, 1080))
    fuse.add_argument(
        "--classes",
        type=whole_number(1),
        nargs="*",
        default=(19, 60),
        help="of the vocabularies (default: 19 60)",
    )
    fuse.add_argument(
        "--thresholds",
        type=number(0, 1),
        nargs="*",
        default=(0.0, 0.4),
        help="values of background_threshold (default: 0 0.4)",
    )
    fuse.add_argument("--images", type=whole_number(1), default=4, help="of each size (default: 4)")
    fuse.add_argument("--repeats", type=whole_number(1), default=5, help="of each image (default: 5)")
    command.add_threads(fuse, 1)
    command.add_json(fuse)
    fuse.set_defaults(measure=_fuse)


def _fuse(given: argparse.Namespace) -> int:
    with command.loading():
        from activesam_ros.benchmarks.fusing import FusingOptions, measure_fusing, to_markdown

    options = FusingOptions(
        given.sizes,
        tuple(given.classes),
        tuple(given.thresholds),
        given.images,
        given.repeats,
        given.threads,
    )
    found = measure_fusing(options, command.say)
    return _finish(given, to_markdown(found), asdict(found))


def _add_preview(benchmarks: Any) -> None:
    preview = benchmarks.add_parser(
        "preview",
        help="what the ways to preview presence cost in work, found classes and labels",
        description="Labels held-out scenes of Toy Town, clean and corrupted, with the demo model and the profiles "
        "paper and fast; and draws recall over work for every way to preview. Two hours on one core.",
    )
    preview.add_argument("--scenes", type=whole_number(1), default=200, help="so many (default: 200)")
    preview.add_argument("--first", type=whole_number(0), default=0, help="index of the first (default: 0)")
    preview.add_argument(
        "--classes",
        type=whole_number(19),
        nargs="*",
        default=(19, 60, 150),
        help="of the vocabularies (default: 19 60 150)",
    )
    preview.add_argument("--clean", action="store_true", help="without corrupted images")
    preview.add_argument("--curve", type=whole_number(19), help="classes of the curve (default: no curve)")
    command.add_threads(preview, 1)
    _add_out(preview, "preview.md, preview.json and, with --curve, preview.png")
    preview.set_defaults(measure=_preview)


def _preview(given: argparse.Namespace) -> int:
    with command.loading():
        import torch
        from transformers import Sam3Config

        from activesam_ros.benchmarks import preview
        from activesam_ros.model.flops import FusedModelFlops
        from activesam_ros.segmenter import ActiveSegmenter

    torch.set_num_threads(given.threads)
    corruptions = () if given.clean else preview.CORRUPTIONS
    options = preview.PreviewOptions(
        given.scenes, given.first, tuple(given.classes), corruptions, given.curve
    )
    segmenter = ActiveSegmenter.from_pretrained("toytown", device="cpu")
    found = preview.measure_preview(segmenter, FusedModelFlops(Sam3Config()), options, command.say)
    page = preview.to_markdown(found)
    print(page, end="")
    if given.out:
        _write(given.out, "preview", page, asdict(found))
        if found.curve:
            (given.out / "preview.png").write_bytes(preview.plot(found))
    return command.DONE


def _add_video(benchmarks: Any) -> None:
    video = benchmarks.add_parser(
        "video",
        help="what the settings for streams cost in work and labels",
        description="Labels drives through Toy Town with the demo model and several settings: SAM 3's operations a "
        "frame, mIoU, recall, and how long a class that appeared goes unseen. Half an hour on one core.",
    )
    video.add_argument("--drives", type=whole_number(1), default=5, help="so many streets (default: 5)")
    video.add_argument("--frames", type=whole_number(2), default=40, help="of each drive (default: 40)")
    video.add_argument("--rate", type=number(0.001, 1e6), default=10.0, help="frames a second (default: 10)")
    video.add_argument(
        "--classes", type=whole_number(20), default=150, help="of the vocabulary (default: 150)"
    )
    video.add_argument("--quick", action="store_true", help="the profiles alone")
    command.add_threads(video, 1)
    command.add_json(video)
    video.set_defaults(measure=_video)


def _video(given: argparse.Namespace) -> int:
    with command.loading():
        import torch
        from transformers import Sam3Config

        from activesam_ros.benchmarks.video import VideoOptions, measure_video, to_markdown
        from activesam_ros.model.flops import FusedModelFlops
        from activesam_ros.segmenter import ActiveSegmenter

    torch.set_num_threads(given.threads)
    shared = (given.drives, given.frames, given.rate, given.classes)
    quick = VideoOptions(*shared, variants=(), floors=(0.0,), change_drives=0)
    options = quick if given.quick else VideoOptions(*shared)
    segmenter = ActiveSegmenter.from_pretrained("toytown", device="cpu")
    found = measure_video(segmenter, FusedModelFlops(Sam3Config()), options, command.say)
    return _finish(given, to_markdown(found), asdict(found))


# What runs the node.


def _add_soak(benchmarks: Any) -> None:
    soak = benchmarks.add_parser(
        "soak",
        help="thousands of frames through the node, with edits, calls and bad frames",
        description="Sends frames of two cameras to the real node, with edits of the vocabulary, calls of ~/segment "
        "with new classes and bad frames among them; reports memory, where every frame went, and latency. Exit code 1 "
        "if something is unclean.",
    )
    soak.add_argument(
        "--frames", type=whole_number(20), default=5000, help="after the warm-up (default: 5000)"
    )
    soak.add_argument(
        "--warm-up", type=whole_number(1), default=500, help="frames before memory counts (default: 500)"
    )
    soak.add_argument("--size", type=image_size, default=(160, 120), help="of the images (default: 160x120)")
    soak.add_argument("--seed", type=whole_number(0), default=1, help="of the order of things (default: 1)")
    soak.add_argument(
        "--bad-rate", type=number(0, 0.4), default=0.05, help="share of frames that are bad (default: 0.05)"
    )
    soak.add_argument(
        "--edit-rate",
        type=number(0, 100),
        default=0.02,
        help="changes of the vocabulary per frame (default: 0.02)",
    )
    soak.add_argument(
        "--call-rate",
        type=number(0, 100),
        default=0.02,
        help="calls of ~/segment with 20 new classes per frame (default: 0.02)",
    )
    soak.add_argument(
        "--words",
        type=whole_number(7),
        default=12,
        help="classes of each vocabulary (default: 12)",
    )
    soak.add_argument(
        "--unanswered",
        type=whole_number(2),
        default=4,
        help="frames of a camera that are on their way at most (default: 4; the node's queue takes 20)",
    )
    _add_node_arguments(soak, _soak)


def _soak(given: argparse.Namespace) -> int:
    with command.loading():
        from activesam_ros.benchmarks.node_soak import SoakOptions, measure_soak, to_markdown

    options = SoakOptions(
        frames=given.frames,
        warm_up=given.warm_up,
        size=given.size,
        seed=given.seed,
        bad_rate=given.bad_rate,
        edit_rate=given.edit_rate,
        call_rate=given.call_rate,
        words=given.words,
        unanswered=given.unanswered,
        model=given.model,
        threads=given.threads,
    )
    found = measure_soak(options, given.log)
    return _finish(given, to_markdown(found), asdict(found), found.complaints())


def _add_cameras(benchmarks: Any) -> None:
    cameras = benchmarks.add_parser(
        "cameras",
        help="several cameras on one model",
        description="Sends the images of cameras side by side to the real node, best effort as cameras do; reports "
        "where every frame went, and what labelling their images together would bring. Exit code 1 if the counts do "
        "not add up.",
    )
    cameras.add_argument(
        "--cameras",
        type=command.whole_numbers,
        default=(1, 2, 3),
        help="numbers of them, up to 4 (default: 1,2,3)",
    )
    cameras.add_argument(
        "--rate", type=number(0.1, 1000), default=10.0, help="images a second of each (default: 10)"
    )
    cameras.add_argument("--seconds", type=number(0.1, 1000), default=30.0, help="how long (default: 30)")
    cameras.add_argument(
        "--size", type=image_size, default=(320, 240), help="of the images (default: 320x240)"
    )
    _add_node_arguments(cameras, _cameras)


def _cameras(given: argparse.Namespace) -> int:
    with command.loading():
        from activesam_ros.benchmarks import node_cameras

    runs = [
        node_cameras.CamerasOptions(
            cameras=number,
            rate=given.rate,
            seconds=given.seconds,
            size=given.size,
            model=given.model,
            threads=given.threads,
        )
        for number in given.cameras
    ]
    found = tuple(node_cameras.measure_cameras(one, given.log) for one in runs)
    batches = node_cameras.measure_batches(runs[0], max(given.cameras))
    return _finish(
        given,
        node_cameras.to_markdown(found, batches),
        {"runs": [asdict(one) for one in found], "batches": [asdict(one) for one in batches]},
        [complaint for one in found for complaint in one.complaints()],
    )


def _add_overhead(benchmarks: Any) -> None:
    overhead = benchmarks.add_parser(
        "overhead",
        help="what the node adds to the bare segmenter",
        description="Gives the same images to the real node and to the bare segmenter, by turns.",
    )
    _add_sizes(overhead, (640, 480), (1280, 720), (1920, 1080))
    overhead.add_argument("--frames", type=whole_number(2), default=60, help="of each size (default: 60)")
    _add_node_arguments(overhead, _overhead)


def _overhead(given: argparse.Namespace) -> int:
    with command.loading():
        from activesam_ros.benchmarks.node_overhead import OverheadOptions, measure_overhead, to_markdown

    options = OverheadOptions(
        sizes=given.sizes, frames=given.frames, model=given.model, threads=given.threads
    )
    found = measure_overhead(options, given.log)
    return _finish(given, to_markdown(found), asdict(found))


def _add_points(benchmarks: Any) -> None:
    points = benchmarks.add_parser(
        "points",
        help="what a labelled point cloud takes",
        description="Processor time of making clouds of a rendered image, dense and organised, and of serialising "
        "them, without the middleware.",
    )
    _add_sizes(points, (640, 480), (1920, 1080))
    points.add_argument(
        "--strides", type=whole_number(1), nargs="+", default=[1, 4], help="of the pixels (default: 1 4)"
    )
    points.add_argument("--repeats", type=whole_number(1), default=15, help="of each (default: 15)")
    command.add_json(points)
    points.set_defaults(measure=lambda given: _with_ros(_points, given))


def _points(given: argparse.Namespace) -> int:
    from activesam_ros.benchmarks.points import PointsOptions, measure_points, to_markdown

    found = measure_points(PointsOptions(given.sizes, tuple(given.strides), given.repeats), command.say)
    return _finish(given, to_markdown(found), asdict(found))


def _add_transport(benchmarks: Any) -> None:
    transport = benchmarks.add_parser(
        "transport",
        help="which images a DDS transport carries, and whether processes always meet",
        description="Sends best-effort images from process to process, without the node, and starts publishers again "
        "and again; with Fast DDS's default transports, the profile that comes with the package, and LARGE_DATA.",
    )
    transport.add_argument(
        "--transports", type=_transports, help="of default, profile, LARGE_DATA (default: all)"
    )
    transport.add_argument("--images", type=whole_number(1), default=10, help="of each size (default: 10)")
    transport.add_argument(
        "--starts", type=whole_number(0), default=20, help="for each kind of end (default: 20)"
    )
    transport.add_argument(
        "--start-size", type=image_size, default=(640, 480), help="of the images there (default: 640x480)"
    )
    command.add_json(transport)
    transport.set_defaults(measure=lambda given: _with_ros(_transport, given))


def _transports(text: str) -> tuple[str, ...]:
    from activesam_ros.benchmarks.transport import TRANSPORTS

    names = command.names(text)
    for name in names:
        if name not in TRANSPORTS:
            raise argparse.ArgumentTypeError(f"{name!r}; expected {', '.join(TRANSPORTS)}")
    return names


def _transport(given: argparse.Namespace) -> int:
    from activesam_ros.benchmarks import transport

    options = transport.TransportOptions(
        given.transports or transport.TRANSPORTS,
        images=given.images,
        starts=given.starts,
        start_size=given.start_size,
    )
    found = transport.measure_transports(options, command.say)
    return _finish(
        given, transport.to_markdown(options, found), {"transports": [asdict(one) for one in found]}
    )


# What several have.


def _add_model(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    command.add_model(which, "toytown")
    which.add_argument(
        "--full-size",
        action="store_true",
        help="a SAM 3 of the published size with random weights, made once",
    )


def _add_sizes(parser: argparse.ArgumentParser, *default: tuple[int, int]) -> None:
    parser.add_argument(
        "--sizes",
        type=lambda text: tuple(map(image_size, text.split(","))),
        default=default,
        help=f"of the images (default: {','.join(f'{width}x{height}' for width, height in default)})",
    )


def _add_out(parser: argparse.ArgumentParser, files: str) -> None:
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"also write {files} there")


def _add_node_arguments(
    parser: argparse.ArgumentParser, measure: Callable[[argparse.Namespace], int]
) -> None:
    command.add_model(parser, "toytown")
    command.add_threads(parser)
    parser.add_argument("--log", type=Path, metavar="FOLDER", help="keep the node's log there")
    command.add_json(parser)
    parser.set_defaults(measure=lambda given: _with_ros(measure, given))


def _with_ros(measure: Callable[[argparse.Namespace], int], given: argparse.Namespace) -> int:
    if find_spec("rclpy") is None:
        raise ActiveSamError("ROS is missing; run `make setup` once and `source env.sh` in this shell")
    return measure(given)


def _full_size_model() -> str:
    from activesam_ros.benchmarks.inputs import ensure_random_model, full_size_folder

    command.say("making sure of the model of full size")
    return str(ensure_random_model(full_size_folder()))


def _finish(
    given: argparse.Namespace, page: str, figures: Mapping[str, Any], complaints: Sequence[str] = ()
) -> int:
    print(page, end="")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return command.UNFIT if complaints else command.DONE


def _write(folder: Path, name: str, page: str, figures: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(page, encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
