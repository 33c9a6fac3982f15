"""The command `activesam-cache`: fills the prompt cache, so that a robot never needs the text encoder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from activesam_ros.errors import ActiveSamError
from activesam_ros.system.threads import let_waiting_threads_sleep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activesam_ros.vocabulary import Vocabulary

FAILED = 2
"""Exit code of a command that could not do what was asked."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    given = _parser().parse_args(arguments)
    let_waiting_threads_sleep()
    try:
        _fill(given)
    except ActiveSamError as error:
        print(f"activesam-cache: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("activesam-cache: interrupted; the prompts encoded so far are kept", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="activesam-cache",
        description="Encode the prompts of vocabularies into the prompt cache, ahead of deployment: a node "
        "whose words are all cached never loads the text encoder.",
    )
    parser.add_argument(
        "--model", required=True, help="model folder or hub id, or 'toytown' for the demo model"
    )
    parser.add_argument(
        "--vocabulary",
        required=True,
        action="append",
        metavar="FILE|PRESET|WORDS",
        help="a path to YAML or text, a preset's name, or words: semicolons between classes, commas between "
        "aliases ('road; car, automobile; sky'); may be given several times",
    )
    parser.add_argument(
        "--prompt-cache",
        type=Path,
        metavar="DIR",
        help="folder of the cache (default: in the XDG cache folder)",
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument(
        "--no-hypernyms",
        action="store_true",
        help="leave out the hypernyms; right only for nodes with hypernym_tokens 0",
    )
    return parser


def _fill(given: argparse.Namespace) -> None:
    # Imports torch and transformers, which take seconds.
    from tqdm import tqdm

    from activesam_ros.model.checkpoint import open_text_checkpoint, resolve_device
    from activesam_ros.prompts.assembly import fingerprint_memo, prompt_folder
    from activesam_ros.prompts.filling import fill_prompt_cache, needed_phrases
    from activesam_ros.prompts.hypernyms import TableHypernyms, default_hypernyms

    vocabularies = [vocabulary_of(text) for text in given.vocabulary]
    sources = () if given.no_hypernyms else (default_hypernyms(), TableHypernyms.shipped())
    phrases = needed_phrases(vocabularies, sources)
    device = resolve_device(given.device)
    text = open_text_checkpoint(given.model)
    folder = given.prompt_cache.expanduser() if given.prompt_cache else prompt_folder()
    bar = tqdm(total=len(phrases), desc="prompts", unit="prompt", disable=None)
    with bar:
        report = fill_prompt_cache(text, folder, phrases, device, bar.update)
    fingerprint = text.text_fingerprint(fingerprint_memo(folder))
    print(f"folder       {folder}")
    print(f"fingerprint  {fingerprint} (text encoder of {given.model})")
    print(f"prompts      {len(phrases.prompts)} of classes, {len(phrases.hypernyms)} further hypernyms")
    print(f"encoding     {report.hits} hits, {report.misses} misses, {report.seconds:.2f} s")
    if not report.misses:
        print(f"nothing to do, {report.hits} prompts cached")


def vocabulary_of(text: str) -> Vocabulary:
    """The `Vocabulary` that a command line names: a preset, a file, or words.

    Args:
        text: as `--vocabulary` takes it.

    Raises:
        VocabularyError: it is none of them, or not a valid vocabulary.
    """
    from activesam_ros.vocabulary import Vocabulary
    from activesam_ros.vocabulary.files import load_vocabulary_file, words_of

    words = words_of(text)
    return load_vocabulary_file(text).vocabulary() if words is None else Vocabulary.from_names(words)


if __name__ == "__main__":
    sys.exit(main())
