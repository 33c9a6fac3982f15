"""What a change of words costs, against encoding the whole vocabulary."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from activesam_ros.benchmarks.words import NEW_WORDS, other_names, with_one_changed
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.prompts.prompt_set import encode_vocabulary
from activesam_ros.prompts.text_encoder import TextEncoder
from activesam_ros.settings import SegmenterSettings
from activesam_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from activesam_ros.model.checkpoint import TextCheckpoint
    from activesam_ros.prompts.text_encoder import Residence, TextEncoder

_WARM_UP = "to load the text encoder"


@dataclass(frozen=True)
class Encoding:
    """How long it took to make a vocabulary ready.

    Attributes:
        seconds: median over the repeats.
        encoded: phrases that the text encoder read.
    """

    seconds: float
    encoded: int


@dataclass(frozen=True)
class Edit:
    """A change of words in three ways.

    Attributes:
        name: which change.
        phrases: distinct prompts and hypernyms of the vocabulary after it.
        release: with the cache; the text encoder is loaded if it is needed, and dropped.
        keep: with the cache and a text encoder that stays in memory.
        everything: without a cache and with a text encoder that stays in memory.
    """

    name: str
    phrases: int
    release: Encoding
    keep: Encoding
    everything: Encoding


def measure_edits(text: TextCheckpoint, warm: Path, names: list[str], repeats: int) -> list[Edit]:
    """Measures a change of one word, of all words, and back.

    Args:
        text: the text side of the model.
        warm: a prompt cache that has the phrases of `names`; stays as it is.
        names: the vocabulary before the change, at least three names.
        repeats: measurements of each time, at most half as many as there are new words.

    Raises:
        ValueError: too many repeats, or none.
    """
    if not 1 <= repeats <= len(NEW_WORDS) // 2:
        raise ValueError(f"repeats is {repeats}; expected 1 to {len(NEW_WORDS) // 2}")
    bench = _Bench(text, text.load_text_projection(), warm, names)
    one = [with_one_changed(names, word) for word in NEW_WORDS[: 2 * repeats]]
    other = Vocabulary.from_names(other_names(names))
    all_other = [other] * repeats
    one_release, _ = bench.changes("release", one[:repeats])
    one_keep, _ = bench.changes("keep", one[repeats:])
    other_release, back_release = bench.changes("release", all_other)
    other_keep, back_keep = bench.changes("keep", all_other)
    count = len(names)
    return [
        _edit(f"one word of {count}, new", one_release, one_keep, bench.everything(one[:repeats])),
        _edit(f"all {count}, new", other_release, other_keep, bench.everything(all_other)),
        _edit(f"all {count}, seen before", back_release, back_keep, bench.everything([bench.base] * repeats)),
    ]


def _edit(name: str, release: Encoding, keep: Encoding, everything: Encoding) -> Edit:
    return Edit(name, everything.encoded, release, keep, everything)


class _Bench:
    def __init__(self, text: TextCheckpoint, projection: nn.Module, warm: Path, names: list[str]) -> None:
        self._text = text
        self._projection = projection
        self._warm = warm
        self.base = Vocabulary.from_names(names)
        self._hypernyms = TableHypernyms.shipped()
        self._settings = SegmenterSettings()

    def changes(self, residence: Residence, targets: list[Vocabulary]) -> tuple[Encoding, Encoding]:
        """From the base to each vocabulary, and back."""
        there, back = [], []
        for target in targets:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(shutil.copytree(self._warm, Path(scratch) / "prompts"))
                embedder = self._embedder(residence, folder)
                self._encode(embedder, self.base)
                if residence == "keep":
                    embedder.embed([_WARM_UP])
                there.append(self._encode(embedder, target))
                back.append(self._encode(embedder, self.base))
        return _median(there), _median(back)

    def everything(self, targets: list[Vocabulary]) -> Encoding:
        """Each vocabulary without a cache."""
        found = []
        for target in targets:
            embedder = self._embedder("keep", None)
            embedder.embed([_WARM_UP])
            found.append(self._encode(embedder, target))
        return _median(found)

    def _embedder(self, residence: Residence, folder: Path | None) -> TextEncoder:
        return TextEncoder(self._text, self._projection, torch.device("cpu"), residence, folder)

    def _encode(self, embedder: TextEncoder, vocabulary: Vocabulary) -> Encoding:
        settings = self._settings
        started = time.perf_counter()
        prompts = encode_vocabulary(
            vocabulary, embedder, self._hypernyms, settings.neighbor_tokens, settings.hypernym_tokens
        )
        return Encoding(time.perf_counter() - started, prompts.report.misses)


def _median(found: list[Encoding]) -> Encoding:
    """The median time, and the most phrases."""
    return Encoding(statistics.median(one.seconds for one in found), max(one.encoded for one in found))
