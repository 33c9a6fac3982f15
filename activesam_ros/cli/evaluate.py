"""The command `activesam-evaluate`: plays a recording through the segmenter and writes a report."""

from __future__ import annotations

import argparse
import logging
import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from activesam_ros.errors import ActiveSamError
from activesam_ros.system.threads import let_waiting_threads_sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FAILED = 2
"""Exit code of a command that could not do what was asked."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    given = _parser().parse_args(arguments)
    let_waiting_threads_sleep()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        if given.report_only is not None:
            from activesam_ros.evaluation.run import rewrite_report

            print(f"report: {rewrite_report(given.report_only)}")
            return 0
        return _evaluate(given, "activesam-evaluate " + shlex.join(arguments))
    except (ActiveSamError, OSError) as error:
        print(f"activesam-evaluate: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("activesam-evaluate: interrupted; the same command goes on with what was done", file=sys.stderr)
        return INTERRUPTED


def _evaluate(given: argparse.Namespace, command: str) -> int:
    # Imports torch and transformers, which take seconds.
    from activesam_ros.evaluation.corruptions import corruptions_of
    from activesam_ros.evaluation.node_parameters import wanted
    from activesam_ros.evaluation.run import Request, evaluate

    if given.bag is None:
        raise ActiveSamError(
            "no recording is given; expected activesam-evaluate BAG …, or --report-only FOLDER"
        )
    asked = wanted(given.params, given.param, given.vocabulary)
    request = Request(
        bag=given.bag,
        out=given.out,
        model=given.model or asked.model,
        device=given.device or asked.device,
        dtype=given.dtype or asked.dtype,
        vocabulary=asked.vocabulary,
        settings=asked.settings,
        image_topic=given.image,
        labels_topic=given.labels,
        class_map=given.classes,
        mapping=given.map,
        ignore=tuple(given.ignore),
        tolerance=given.tolerance,
        every=given.every,
        start=given.start,
        end=given.end,
        methods=("active", *given.compare),
        corruptions=tuple(corruptions_of(given.corrupt, given.severity)),
        seed=given.seed,
        threads=given.threads,
        prompt_cache=given.prompt_cache,
        command=command,
    )
    finished = evaluate(request, overwrite=given.overwrite, say=_say)
    print(finished.table)
    print(f"report: {finished.report}")
    if finished.interrupted:
        return INTERRUPTED
    if not finished.labelled:
        print("activesam-evaluate: no frame could be labelled; the report says why", file=sys.stderr)
        return FAILED
    return 0


def _say(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="activesam-evaluate",
        description="Play a recording through the segmenter that the node runs, compare it with ground truth and with "
        "other methods, and write a report. Goes on where an interrupted run of the same command ended.",
    )
    parser.add_argument(
        "bag", nargs="?", type=Path, metavar="BAG", help="rosbag2 folder, or an .mcap or .db3 file"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("evaluation"),
        metavar="DIR",
        help="of the report (default: evaluation)",
    )
    parser.add_argument("--overwrite", action="store_true", help="begin anew, whatever is in --out")
    parser.add_argument(
        "--report-only", type=Path, metavar="DIR", help="make the page of a run anew, and evaluate nothing"
    )

    topics = parser.add_argument_group("the recording")
    topics.add_argument("--image", metavar="TOPIC", help="images, raw or compressed (default: the only ones)")
    topics.add_argument("--labels", metavar="TOPIC", help="label images to compare with (default: none)")
    topics.add_argument(
        "--classes",
        metavar="TOPIC|FILE",
        help="names of the labels' ids: a LabelInfo topic or YAML (default: the LabelInfo beside --labels)",
    )
    topics.add_argument(
        "--map", type=Path, metavar="FILE", help="YAML: names in the ground truth to names in the vocabulary"
    )
    topics.add_argument(
        "--ignore", type=_numbers, default=[], metavar="ID,…", help="ids of the ground truth to leave out"
    )
    topics.add_argument(
        "--tolerance", type=_number(0.0), default=0.02, metavar="S", help="between stamps (default: 0.02 s)"
    )
    topics.add_argument("--every", type=_whole(1), default=1, metavar="N", help="take every N-th image")
    topics.add_argument("--start", type=_number(0.0), metavar="S", help="seconds from the beginning")
    topics.add_argument("--end", type=_number(0.0), metavar="S", help="seconds from the beginning")

    what = parser.add_argument_group("the segmenter")
    what.add_argument("--model", help="as the node's (default: facebook/sam3)")
    what.add_argument(
        "--vocabulary",
        metavar="PRESET|FILE|WORDS",
        help="such as cityscapes, or 'road; car, automobile; sky'",
    )
    what.add_argument(
        "--params", type=Path, metavar="FILE", help="parameter file of the node: words, settings and model"
    )
    what.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="one of the node's parameters"
    )
    what.add_argument("--device", help="auto (default), cpu, cuda or cuda:N")
    what.add_argument("--dtype", help="auto (default), float32, bfloat16 or float16")
    what.add_argument("--threads", type=_whole(1), help="of torch (default: its choice)")
    what.add_argument("--prompt-cache", type=Path, metavar="DIR", help="(default: in the XDG cache folder)")

    more = parser.add_argument_group("comparisons")
    more.add_argument(
        "--compare",
        type=_names,
        default=[],
        metavar="A,B,…",
        help="other methods on the same frames: paper, realtime, full-vocabulary, per-class, no-expansion, no-preview, "
        "no-calibration",
    )
    more.add_argument(
        "--corrupt",
        type=_names,
        default=[],
        metavar="A,B,…",
        help="such as gaussian_noise,fog,jpeg_compression",
    )
    more.add_argument(
        "--severity", type=_numbers, default=[3], metavar="N,…", help="of corruptions, 1 to 5 (default: 3)"
    )
    more.add_argument("--seed", type=_whole(0), default=0, help="of corruptions (default: 0)")
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",") if number.strip()]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers such as 1,3") from error


def _whole(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return whole


def _number(least: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not least <= value < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not a number from {least:g}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
