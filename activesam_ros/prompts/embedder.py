"""Phrase embeddings from the cache, or from the text encoder, which is in memory only while it is needed."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import nn

from activesam_ros.errors import ModelError, SettingsError, VocabularyError
from activesam_ros.prompts.embedding import PromptEmbedding
from activesam_ros.prompts.encoder import TextEncoder
from activesam_ros.system.memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from transformers import BatchEncoding

    from activesam_ros.prompts.cache import PromptCache

logger = logging.getLogger(__name__)

Residence = Literal["keep", "offload", "release"]
"""What happens to the text encoder after use: stays on its device, waits in host memory, or is dropped."""


@dataclass(frozen=True)
class EncodingReport:
    """What it took to embed the phrases of a vocabulary.

    Attributes:
        hits: phrases that the cache had.
        misses: phrases that the text encoder had to encode.
        seconds: in all, loading the text encoder included.
    """

    hits: int
    misses: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.hits} cached, {self.misses} encoded in {self.seconds:.2f} s"


class PhraseEmbedder:
    """Embeds phrases; asks the text encoder only for those that the cache lacks.

    Calls may come from any thread, also beside the image path: one at a time encodes unknown phrases. Who
    asks for known ones waits for nobody.
    """

    def __init__(
        self,
        load: Callable[[], nn.Module],
        projection: nn.Module,
        tokenizer: Callable,
        context_length: int,
        cache: PromptCache,
        device: torch.device,
        residence: Residence = "release",
    ) -> None:
        """Args:
            load: reads the `Sam3TextSide` into host memory; called when a phrase is unknown.
            projection: the text projection that the image path keeps, float32.
            tokenizer: the model's tokenizer.
            context_length: most tokens of a phrase, start and end included.
            cache: where embeddings are kept.
            device: where the text encoder runs.
            residence: what happens to it afterwards.

        Raises:
            SettingsError: an unknown residence.
        """
        check_residence(residence)
        self.context_length = context_length
        self._load = load
        self._projection = projection
        self._tokenizer = tokenizer
        self._cache = cache
        self._device = device
        self._residence = residence
        self._side: nn.Module | None = None
        self._busy = threading.Lock()
        # A tokenizer's padding is state, so that two threads must not share it.
        self._tokenizing = threading.Lock()

    @property
    def loaded(self) -> bool:
        """Whether the text encoder is in memory."""
        return self._side is not None

    def check_length(self, phrases: Sequence[str]) -> None:
        """Raises VocabularyError for the first phrase with more tokens than the model's context."""
        for phrase, count in zip(phrases, self.token_counts(phrases), strict=True):
            if count > self.context_length:
                raise VocabularyError(
                    f"the prompt {phrase!r} has {count} tokens; the model reads at most {self.context_length}, so "
                    "shorten it"
                )

    def token_counts(self, phrases: Sequence[str]) -> list[int]:
        """Number of tokens of each phrase, start and end included, uncut."""
        if not phrases:
            return []
        # Without `verbose=False` transformers would warn of phrases that are too long, which are only counted.
        batch = self._tokenize(list(phrases), padding=False, truncation=False, verbose=False)
        return [len(ids) for ids in batch["input_ids"]]

    def embed(
        self, phrases: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> tuple[Mapping[str, PromptEmbedding], EncodingReport]:
        """Embeddings of distinct phrases, on the model's device, and what they took.

        Args:
            phrases: canonical phrases, each once.
            progress: called with the number of phrases that became ready.
        """
        started = time.monotonic()
        found = {phrase: self._cache.get(phrase) for phrase in phrases}
        unknown = [phrase for phrase, embedding in found.items() if embedding is None]
        if progress and len(unknown) < len(phrases):
            progress(len(phrases) - len(unknown))
        if unknown:
            with self._busy:
                unknown = self._look_again(unknown, found, progress)
                if unknown:
                    # Kept as they come, so that an interruption loses no finished batch.
                    for phrase, embedding in zip(unknown, self._encode(unknown, progress), strict=True):
                        self._cache.put(phrase, embedding)
                        found[phrase] = embedding
        embeddings = {
            phrase: PromptEmbedding(embedding.tokens.to(self._device), embedding.pooled.to(self._device))
            for phrase, embedding in found.items()
            if embedding is not None
        }
        report = EncodingReport(len(phrases) - len(unknown), len(unknown), time.monotonic() - started)
        return embeddings, report

    def _look_again(
        self,
        unknown: list[str],
        found: dict[str, PromptEmbedding | None],
        progress: Callable[[int], None] | None,
    ) -> list[str]:
        """Those of `unknown` that nobody has encoded meanwhile; the others are put into `found`."""
        found.update((phrase, self._cache.get(phrase)) for phrase in unknown)
        left = [phrase for phrase in unknown if found[phrase] is None]
        if progress and len(left) < len(unknown):
            progress(len(unknown) - len(left))
        return left

    @torch.inference_mode()
    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Maps pooled embeddings [..., E] to the prompt space [..., D]; needs no text encoder."""
        return self._projection(pooled)

    def _encode(
        self, phrases: Sequence[str], progress: Callable[[int], None] | None
    ) -> Iterator[PromptEmbedding]:
        if self._side is None:
            started = time.monotonic()
            self._side = self._load()
            logger.info(
                "loaded the text encoder in %.1f s for %d unknown prompts",
                time.monotonic() - started,
                len(phrases),
            )
        try:
            self._side.to(self._device)
            yield from TextEncoder(self._side, self._tokenize).encode(phrases, progress)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ModelError(
                f"the text encoder does not fit into the memory of {self._device}; free memory, use "
                "device 'cpu', or fill the prompt cache ahead on a machine that has more"
            ) from error
        finally:
            self._settle()

    def _tokenize(self, phrases: list[str], **how: object) -> BatchEncoding:
        # Held for the tokenizer alone: who counts tokens must not wait until all is encoded.
        with self._tokenizing:
            return self._tokenizer(phrases, **how)

    def _settle(self) -> None:
        if self._side is None or self._residence == "keep":
            return
        if self._residence == "offload":
            self._side.to("cpu")
        else:
            # Nothing refers to it in a cycle, so this frees it at once. A garbage collection would stop every
            # thread for longer than an image takes.
            self._side = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def check_residence(residence: str) -> None:
    """Raises SettingsError for an unknown residence."""
    if residence not in get_args(Residence):
        raise SettingsError(
            f"text_encoder is {residence!r}; expected one of {', '.join(map(repr, get_args(Residence)))}"
        )
