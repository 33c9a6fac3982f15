"""The command `activesam-vocabulary`: show what becomes of the classes in a vocabulary file."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from activesam_ros.cli import command

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="activesam-vocabulary", description="Look into vocabulary files.")
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
    return command.run(parser, _print, arguments)


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


if __name__ == "__main__":
    sys.exit(main())
