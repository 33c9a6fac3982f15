"""The command `activesam-cache`: fill the prompt cache, so that a robot never needs the text encoder."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from activesam_ros.cli import command

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="activesam-cache",
        description="Encode the prompts of vocabularies into the prompt cache, ahead of deployment: a node "
        "whose prompts are all cached never loads the text encoder.",
    )
    command.add_model(parser)
    command.add_vocabulary(parser, action="append")
    command.add_prompt_cache(parser)
    command.add_device(parser)
    parser.add_argument(
        "--no-hypernyms",
        action="store_true",
        help="leave out the hypernyms; right only for nodes with hypernym_tokens 0",
    )
    parser.add_argument(
        "--prune",
        metavar="MB",
        nargs="?",
        type=_megabytes,
        const=-1,
        help="encode nothing, but remove the prompts that were unused for longest until the cache takes at most so "
        "many megabytes (default: its limit, $ACTIVESAM_PROMPT_CACHE_MB or 512)",
    )
    return command.run(
        parser, _run, arguments, interrupted="interrupted; the prompts encoded so far are kept"
    )


def _megabytes(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}; expected whole megabytes")
    return int(text)


def _run(given: argparse.Namespace) -> int:
    if given.prune is not None:
        if given.model or given.vocabulary:
            raise command.UsageError("--prune encodes nothing; leave out --model and --vocabulary")
        return _prune(given)
    missing = [name for name in ("model", "vocabulary") if not getattr(given, name)]
    if missing:
        raise command.UsageError(
            f"the following arguments are required: {', '.join(f'--{name}' for name in missing)}"
        )
    return _fill(given)


def _prune(given: argparse.Namespace) -> int:
    with command.loading():
        from activesam_ros.prompts.cache import disk_limit, prompt_folder, prune_prompts

    folder = given.prompt_cache.expanduser() if given.prompt_cache else prompt_folder()
    use = prune_prompts(folder, disk_limit() if given.prune < 0 else given.prune * 1_000_000)
    print(f"folder       {folder}")
    print(f"removed      {use.removed} prompts")
    print(f"left         {use.prompts} prompts, {use.size / 1e6:.1f} MB")
    return command.DONE


def _fill(given: argparse.Namespace) -> int:
    vocabularies = [command.vocabulary_of(text) for text in given.vocabulary]
    with command.loading():
        from activesam_ros.model.checkpoint import open_text_checkpoint, resolve_device
        from activesam_ros.prompts.cache import fingerprint_memo, prompt_folder
        from activesam_ros.prompts.hypernyms import TableHypernyms, default_hypernyms
        from activesam_ros.prompts.prompt_set import needed_prompts
        from activesam_ros.prompts.text_encoder import fill_prompt_cache

    sources = () if given.no_hypernyms else (default_hypernyms(), TableHypernyms.shipped())
    phrases = needed_prompts(vocabularies, sources)
    device = resolve_device(given.device)
    text = open_text_checkpoint(given.model)
    folder = given.prompt_cache.expanduser() if given.prompt_cache else prompt_folder()
    with command.progress_bar(len(phrases), "prompts", "prompt") as bar:
        report = fill_prompt_cache(text, folder, phrases, device, bar.update)
    fingerprint = text.text_fingerprint(fingerprint_memo(folder))
    print(f"folder       {folder}")
    print(f"fingerprint  {fingerprint} (text encoder of {given.model})")
    print(f"prompts      {len(phrases.prompts)} of classes, {len(phrases.hypernyms)} further hypernyms")
    print(f"encoding     {report.hits} hits, {report.misses} misses, {report.seconds:.2f} s")
    if not report.misses:
        print(f"nothing to do, {report.hits} prompts cached")
    return command.DONE


if __name__ == "__main__":
    sys.exit(main())
