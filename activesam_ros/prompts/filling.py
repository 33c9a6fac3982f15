"""Fills the prompt cache of a model ahead of its use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activesam_ros.errors import SettingsError
from activesam_ros.prompts.assembly import make_embedder, open_prompt_cache
from activesam_ros.prompts.embedder import EncodingReport
from activesam_ros.prompts.encoder import BATCH
from activesam_ros.prompts.hypernyms import MOST
from activesam_ros.prompts.prompt_set import HypernymLookup, expand_phrases
from activesam_ros.system.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import torch

    from activesam_ros.model.checkpoint import TextCheckpoint
    from activesam_ros.vocabulary import Vocabulary


@dataclass(frozen=True)
class NeededPhrases:
    """What the text encoder would be asked for by some vocabularies; each phrase once.

    Attributes:
        prompts: canonical prompts of all classes.
        hypernyms: hypernyms that are no prompts as well.
    """

    prompts: tuple[str, ...]
    hypernyms: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.prompts) + len(self.hypernyms)

    def __iter__(self) -> Iterator[str]:
        return iter(self.prompts + self.hypernyms)


def needed_phrases(vocabularies: Iterable[Vocabulary], sources: Sequence[HypernymLookup]) -> NeededPhrases:
    """The phrases of vocabularies.

    Args:
        vocabularies: what will be segmented with.
        sources: where hypernyms may come from: all of each one's are taken, since the machine that will use
            the cache may have another source than this one. Empty: no hypernyms.
    """
    prompts: dict[str, None] = {}
    hypernyms: dict[str, None] = {}
    for vocabulary in vocabularies:
        prompts |= dict.fromkeys(expand_phrases(vocabulary, lambda _: (), 0).phrases)
        for source in sources:
            for found in expand_phrases(vocabulary, source, MOST).hypernyms:
                hypernyms |= dict.fromkeys(found)
    return NeededPhrases(tuple(prompts), tuple(phrase for phrase in hypernyms if phrase not in prompts))


def fill_prompt_cache(
    text: TextCheckpoint,
    folder: Path,
    phrases: NeededPhrases,
    device: torch.device,
    progress: Callable[[int], None] | None = None,
) -> EncodingReport:
    """Encodes the phrases that a prompt cache lacks, a few at a time, and makes sure that they are on disk.

    Args:
        text: the text side of the model; its encoder is loaded only if a phrase is missing.
        folder: of the prompt cache.
        phrases: what has to be known.
        device: where the text encoder runs.
        progress: called with the number of phrases that became ready.

    Raises:
        VocabularyError: a prompt is longer than the model's context.
        ModelError: the weights cannot be read or do not fit into the device's memory.
        SettingsError: the folder cannot be written to.
    """
    projection = text.load_text_projection().to(device)
    require_writable(folder)
    embedder = make_embedder(text, projection, device, "keep", folder)
    embedder.check_length(phrases.prompts)
    # Reads what was written with other eyes: the embedder's own cache also serves from memory.
    written = open_prompt_cache(text, folder)
    hits, misses, seconds = 0, 0, 0.0
    everything = tuple(phrases)
    for start in range(0, len(everything), BATCH):
        batch = everything[start : start + BATCH]
        report = embedder.embed(batch, progress)[1]
        hits, misses, seconds = hits + report.hits, misses + report.misses, seconds + report.seconds
        if report.misses and any(written.get(phrase) is None for phrase in batch):
            raise SettingsError(
                f"the prompt cache {folder} did not keep what was written; free disk space or choose another "
                "folder, then start again"
            )
    return EncodingReport(hits, misses, seconds)


def require_writable(folder: Path) -> None:
    """Makes a folder for a prompt cache; raises SettingsError if it cannot be made or written to."""
    probe = folder / ".writable"
    try:
        write_atomically(probe, b"")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(
            f"the prompt cache {folder} cannot be written ({error.strerror}); choose a folder that can"
        ) from error
