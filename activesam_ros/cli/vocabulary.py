"""The command `activesam-vocabulary`: shows what becomes of the words in a vocabulary file."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from activesam_ros.errors import ActiveSamError
from activesam_ros.prompts.hypernyms import default_hypernyms
from activesam_ros.vocabulary.files import load_vocabulary_file, preset_names
from activesam_ros.vocabulary.report import align, report_of, to_json, to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED = 2
"""Exit code of a command that could not do what was asked."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        print(given.command(given), end="", flush=True)
    except ActiveSamError as error:
        print(f"activesam-vocabulary: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain about it once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="activesam-vocabulary", description="Look into vocabulary files.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="list the presets", description="List the presets.")
    listing.set_defaults(command=_list)
    show = commands.add_parser(
        "show",
        help="show what becomes of the words of a file",
        description="Print the classes of a vocabulary with ids, colours, canonical prompts and hypernyms; "
        "with a model also the number of tokens and the most similar other prompts.",
    )
    show.add_argument("source", metavar="FILE|PRESET", help="a preset's name, or a path to YAML or text")
    show.add_argument("--model", help="model folder or hub id, or 'toytown' for the demo model")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(command=_show)
    return parser


def _list(given: argparse.Namespace) -> str:
    rows = []
    for name in preset_names():
        file = load_vocabulary_file(name)
        threshold = "-" if file.background_threshold is None else f"{file.background_threshold:g}"
        prompts = sum(len(entry.prompts) for entry in file.entries)
        rows.append([name, str(len(file.entries)), str(prompts), threshold, file.description])
    return "\n".join(align(["preset", "classes", "prompts", "threshold", "what it is"], rows)) + "\n"


def _show(given: argparse.Namespace) -> str:
    file = load_vocabulary_file(given.source)
    model = None
    if given.model is not None:
        # Imports torch and transformers, which take seconds.
        from activesam_ros.prompts.token_table import TokenTable

        model = TokenTable.load(given.model)
    report = report_of(file, default_hypernyms(), model, given.model)
    return to_json(report) + "\n" if given.json else to_text(report)


if __name__ == "__main__":
    sys.exit(main())
