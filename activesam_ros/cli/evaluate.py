"""The command `activesam-evaluate`: play a recording through the segmenter and write a report."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activesam_ros.cli import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activesam_ros.evaluation.config import EvaluationOutcome

NAME = "activesam-evaluate"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    return command.run(
        _parser(),
        lambda given: _evaluate(given, f"{NAME} {shlex.join(arguments)}"),
        arguments,
        interrupted="interrupted; the same command goes on with what was done",
    )


def _evaluate(given: argparse.Namespace, line: str) -> int:
    if given.report_only is not None:
        with command.loading():
            from activesam_ros.evaluation.runner import rewrite_report

        print(f"report: {rewrite_report(given.report_only)}")
        return command.DONE
    if given.bag is None:
        raise command.UsageError(f"no recording is given; expected {NAME} BAG …, or --report-only FOLDER")
    if given.predictions is not None:
        return _score(given, line)
    from activesam_ros.configuration.segmenter_parameters import read_parameters

    asked = read_parameters(given.params, given.param, given.vocabulary)
    _require_there(given, given.model or asked.model)
    with command.loading():
        from activesam_ros.evaluation.config import EvaluationConfig
        from activesam_ros.evaluation.corruptions import corruptions_of
        from activesam_ros.evaluation.runner import evaluate
    config = EvaluationConfig(
        **_scoring(given, line),
        model=given.model or asked.model,
        device=given.device or asked.device,
        dtype=given.dtype or asked.dtype,
        vocabulary=asked.vocabulary,
        settings=asked.settings,
        methods=("active", *given.compare),
        corruptions=tuple(corruptions_of(given.corrupt, given.severity)),
        seed=given.seed,
        threads=given.threads,
        prompt_cache=given.prompt_cache,
    )
    return _tell(evaluate(config, overwrite=given.overwrite, say=command.say))


def _score(given: argparse.Namespace, line: str) -> int:
    """Score labels that are in the recording."""
    useless = {
        "--model": given.model,
        "--vocabulary": given.vocabulary,
        "--params": given.params,
        "--param": given.param,
        "--compare": given.compare,
        "--corrupt": given.corrupt,
    }
    for option, value in useless.items():
        if value:
            raise command.UsageError(f"{option} has no effect on labels that are recorded; leave it out")
    with command.loading():
        from activesam_ros.evaluation.config import ScoringConfig
        from activesam_ros.evaluation.predictions import evaluate_predictions
    config = ScoringConfig(**_scoring(given, line))
    return _tell(evaluate_predictions(config, given.predictions, given.overwrite, command.say))


def _scoring(given: argparse.Namespace, line: str) -> dict[str, Any]:
    """Return the fields of a `ScoringConfig`."""
    return {
        "bag": given.bag,
        "out": given.out,
        "image_topic": given.image,
        "labels_topic": given.labels,
        "instances_topic": given.instances,
        "class_map": given.classes,
        "mapping": given.map,
        "ignore": given.ignore,
        "tolerance": given.tolerance,
        "every": given.every,
        "start": given.start,
        "end": given.end,
        "command": line,
    }


def _tell(outcome: EvaluationOutcome) -> int:
    """Print the headline; return the exit code."""
    print(outcome.table)
    print(f"report: {outcome.report}")
    if outcome.interrupted:
        return command.INTERRUPTED
    if not outcome.labelled:
        command.complain(NAME, "no frame could be labelled; the report says why")
        return command.FAILED
    if outcome.shortage:
        command.complain(NAME, f"{outcome.shortage}; the report is about those that could be read")
        return command.UNFIT
    return command.DONE


def _require_there(given: argparse.Namespace, model: str) -> None:
    """Raise ActiveSamError for what can be found missing before torch is imported, which takes seconds."""
    from activesam_ros.datasets.recordings import Recording
    from activesam_ros.model.folder import local_folder

    local_folder(model)
    with Recording(given.bag.expanduser()) as recording:
        for topic in filter(None, (given.image, given.labels, given.instances)):
            recording.require(topic)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME,
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
    topics.add_argument(
        "--labels",
        metavar="TOPIC",
        help="label images to compare with, or none (default: those of activesam-make-bag, else none)",
    )
    topics.add_argument(
        "--instances",
        metavar="TOPIC",
        help="ids of the true things, to score whether things keep their ids",
    )
    topics.add_argument(
        "--predictions",
        metavar="TOPIC",
        help="score the labels on this topic, as a node has published them, and label nothing",
    )
    topics.add_argument(
        "--classes",
        metavar="TOPIC|FILE",
        help="names of the labels' ids: a LabelInfo topic or YAML (default: the LabelInfo beside --labels)",
    )
    topics.add_argument(
        "--map", type=Path, metavar="FILE", help="YAML: names in the ground truth to names in the vocabulary"
    )
    topics.add_argument(
        "--ignore",
        type=command.whole_numbers,
        default=(),
        metavar="ID,…",
        help="ids of the ground truth to leave out",
    )
    topics.add_argument(
        "--tolerance",
        type=command.number(0),
        default=0.02,
        metavar="S",
        help="between stamps (default: 0.02 s)",
    )
    command.add_part(topics)

    what = parser.add_argument_group("the segmenter")
    command.add_model(what, note=" (default: facebook/sam3, as the node's)")
    command.add_vocabulary(what)
    command.add_parameters(what)
    command.add_device(what, None)
    command.add_dtype(what, None)
    command.add_threads(what)
    command.add_prompt_cache(what)

    more = parser.add_argument_group("comparisons")
    more.add_argument(
        "--compare",
        type=command.names,
        default=(),
        metavar="A,B,…",
        help="other methods on the same frames: paper, fast, realtime, full-vocabulary, per-class, no-expansion, "
        "no-preview, no-calibration",
    )
    more.add_argument(
        "--corrupt",
        type=command.names,
        default=(),
        metavar="A,B,…",
        help="such as gaussian_noise,fog,jpeg_compression",
    )
    more.add_argument(
        "--severity",
        type=command.whole_numbers,
        default=(3,),
        metavar="N,…",
        help="of corruptions, 1 to 5 (default: 3)",
    )
    more.add_argument("--seed", type=command.whole_number(0), default=0, help="of corruptions (default: 0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
