"""How long a start takes until the first vocabulary is in force, and the memory that it leaves occupied."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.system.memory import Memory, memory
from activesam_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pathlib import Path

    from activesam_ros.prompts.text_encoder import Residence


@dataclass(frozen=True)
class Start:
    """One start.

    Attributes:
        model_seconds: to load the image path.
        prompt_seconds: to make the vocabulary ready, the text encoder's loading included.
        encoded: phrases that the text encoder read.
        text_encoder_loaded: whether the text encoder is in memory at the end.
        before: memory before the model was loaded, libraries included.
        after: memory with the vocabulary in force.
    """

    model_seconds: float
    prompt_seconds: float
    encoded: int
    text_encoder_loaded: bool
    before: Memory
    after: Memory


def measure_start(
    model: str,
    names: list[str],
    prompt_cache: Path | None,
    text_encoder: Residence,
    dtype: str = "auto",
    then: str | None = None,
) -> Start:
    """Starts a segmenter; meaningful in a process of its own only.

    Args:
        model: as for `load_checkpoint`.
        names: the vocabulary.
        prompt_cache: its folder; None: in memory only.
        text_encoder: what happens to the text encoder after use.
        dtype: as for `load_checkpoint`.
        then: an unknown word that is added once the vocabulary is in force.
    """
    table = TableHypernyms.shipped()
    before = memory()
    started = time.perf_counter()
    segmenter = ActiveSegmenter.from_pretrained(
        model, "cpu", dtype, hypernyms=table, text_encoder=text_encoder, prompt_cache=prompt_cache
    )
    loaded = time.perf_counter()
    segmenter.set_vocabulary(Vocabulary.from_names(names))
    ready = time.perf_counter()
    encoded = segmenter.prompts.report.misses
    if then is not None:
        segmenter.set_vocabulary(Vocabulary.from_names([*names, then]))
        encoded += segmenter.prompts.report.misses
    return Start(loaded - started, ready - loaded, encoded, segmenter.text_encoder_loaded, before, memory())
