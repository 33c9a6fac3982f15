"""The command `activesam-vocabulary`: show what becomes of the classes in a vocabulary file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activesam_ros.cli import command

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="activesam-vocabulary", description="Look into vocabulary files, and tune one."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="list the presets", description="List the presets.")
    listing.set_defaults(text=_list)
    show = commands.add_parser(
        "show",
        help="show what becomes of the classes of a file",
        description="Print the classes of a vocabulary with ids, colours, canonical prompts and hypernyms; "
        "with a model also the number of tokens and the most similar other prompts.",
    )
    show.add_argument("source", metavar="FILE|PRESET", help="a preset's name, or a path to YAML or text")
    command.add_model(show)
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(text=_show)
    _add_tune(commands)
    return command.run(parser, _print, arguments)


def _add_tune(commands: Any) -> None:
    tuning = commands.add_parser(
        "tune",
        help="find better phrases for the classes on labelled frames",
        description="Try phrases for each class on the frames of a recording, keep those that help, choose the "
        "background threshold, and judge on frames that had no part in the choice. Without --labels: only tell "
        "what is doubtful.",
    )
    tuning.add_argument("recording", type=Path, metavar="RECORDING", help="a rosbag2: folder or file")
    tuning.add_argument("--labels", metavar="TOPIC", help="topic of the true label images")
    tuning.add_argument("--image", metavar="TOPIC", help="topic of the images (default: the only one)")
    tuning.add_argument(
        "--classes", metavar="FILE|TOPIC", help="what the true ids mean (default: as the recording says)"
    )
    command.add_vocabulary(tuning, required=True)
    command.add_model(tuning, required=True)
    phrases = "YAML with phrases to try: a list for all classes, or a list for each class; '*' is for all"
    tuning.add_argument("--phrases", type=Path, metavar="FILE", help=phrases)
    tuning.add_argument(
        "--no-wordnet", action="store_true", help="do not try WordNet's synonyms and hyponyms"
    )
    positive = command.whole_number(1)
    tuning.add_argument("--frames", type=positive, default=40, help="use so many frames (default 40)")
    tuning.add_argument("--most", type=positive, default=3, help="phrases of a class at most (default 3)")
    output = "vocabulary file to write; a page with the suffix .html is written beside it"
    tuning.add_argument("--out", type=command.output_file, required=True, metavar="FILE.yaml", help=output)
    command.add_device(tuning)
    command.add_threads(tuning)
    tuning.set_defaults(text=_tune)


def _print(given: argparse.Namespace) -> int:
    print(given.text(given), end="")
    return command.DONE


def _list(given: argparse.Namespace) -> str:
    from activesam_ros.prompts.report import align
    from activesam_ros.vocabulary.files import load_vocabulary_file, preset_names

    rows = []
    for name in preset_names():
        file = load_vocabulary_file(name)
        threshold = "-" if file.background_threshold is None else f"{file.background_threshold:g}"
        prompts = sum(len(entry.prompts) for entry in file.classes)
        rows.append([name, str(len(file.classes)), str(prompts), threshold, file.description])
    return "\n".join(align(["preset", "classes", "prompts", "threshold", "what it is"], rows)) + "\n"


def _show(given: argparse.Namespace) -> str:
    from activesam_ros.prompts.hypernyms import default_hypernyms
    from activesam_ros.prompts.report import report_of, to_json, to_text
    from activesam_ros.vocabulary.files import load_vocabulary_file

    file = load_vocabulary_file(given.source)
    model = None
    if given.model is not None:
        with command.loading():
            from activesam_ros.prompts.text_encoder import TokenTable

        model = TokenTable(given.model)
    report = report_of(file, default_hypernyms(), model, given.model)
    return to_json(report) + "\n" if given.json else to_text(report)


def _tune(given: argparse.Namespace) -> str:
    with command.loading():
        from activesam_ros.segmenter import ActiveSegmenter
        from activesam_ros.settings import settings_for
        from activesam_ros.system.files import write_atomically
        from activesam_ros.tuning.page import as_html, as_text
        from activesam_ros.tuning.tune import TuneConfig, as_yaml, tune
        from activesam_ros.vocabulary.files import load_vocabulary_file, parse_class_list

    if given.out.suffix not in (".yaml", ".yml"):
        raise command.UsageError(f"--out is {given.out}; expected a file with the suffix .yaml")
    vocabulary = command.vocabulary_of(given.vocabulary)
    threshold = None
    if parse_class_list(given.vocabulary) is None:
        threshold = load_vocabulary_file(given.vocabulary).background_threshold
    values = {} if threshold is None else {"background_threshold": threshold}
    segmenter = ActiveSegmenter.from_pretrained(
        given.model, settings=settings_for("paper", values), device=given.device
    )
    config = TuneConfig(
        given.recording,
        given.labels,
        given.image,
        given.classes,
        given.frames,
        given.most,
        given.phrases,
        not given.no_wordnet,
    )
    with command.progress_bar(1, "reading the frames", "frame") as bar:

        def progress(what: str, done: int, total: int) -> None:
            bar.set_description(what)
            bar.total, bar.n = total or bar.total, done or bar.n
            bar.refresh()

        tuned = tune(segmenter, vocabulary, config, progress)
    write_atomically(given.out, as_yaml(tuned).encode())
    page = given.out.with_suffix(".html")
    about = (
        f"{given.vocabulary} on {config.frames} frames of {given.recording}, with the model {given.model}."
    )
    write_atomically(page, as_html(tuned, about).encode())
    return f"{as_text(tuned)}{given.out} is the vocabulary; {page} tells more\n"


if __name__ == "__main__":
    sys.exit(main())
