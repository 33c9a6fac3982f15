"""SAM 3's text encoder, loaded on demand and only for prompts that the cache lacks."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open

from activesam_ros.errors import ModelError, SettingsError, VocabularyError
from activesam_ros.model.checkpoint import TextCheckpoint, open_text_checkpoint
from activesam_ros.model.folder import weight_files
from activesam_ros.prompts.cache import PromptCache, PromptEmbedding
from activesam_ros.system.files import write_atomically
from activesam_ros.system.memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from activesam_ros.prompts.prompt_set import NeededPrompts

logger = logging.getLogger(__name__)

Residence = Literal["keep", "offload", "release"]
"""What happens to the text encoder after use: stay on its device, move to host memory, or be dropped."""

BATCH = 16
"""Prompts encoded at a time, and so the most that an interruption loses."""

# Of SAM 3 and of LiteText; in video checkpoints the key comes with a prefix.
_TOKEN_EMBEDDINGS = (
    "text_encoder.text_model.embeddings.token_embedding.weight",
    "text_encoder.embeddings.token_embedding.weight",
)


@dataclass(frozen=True)
class EncodingReport:
    """The cost of embedding some prompts: cache hits, misses (encoded), and seconds including loading."""

    hits: int
    misses: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.hits} cached, {self.misses} encoded in {self.seconds:.2f} s"


class TextEncoder:
    """Embed prompts from the cache, or with the text encoder, in float32 whatever the model's precision.

    So an embedding does not depend on the machine that made it, and may be made ahead of deployment. Calls may come
    from any thread, also beside inference: one at a time encodes unknown prompts, and nobody waits for known ones.
    """

    def __init__(
        self,
        text: TextCheckpoint,
        projection: nn.Module,
        device: torch.device,
        residence: Residence = "release",
        folder: Path | None = None,
    ) -> None:
        """Prepare for encoding; no weights are read yet.

        Args:
            text: the text side of the model.
            projection: its text projection, float32 on `device`.
            device: where the text encoder runs.
            residence: what happens to the text encoder after use.
            folder: of the prompt cache; None: embeddings are remembered in memory only.

        Raises:
            SettingsError: unknown residence.
        """
        if residence not in get_args(Residence):
            raise SettingsError(
                f"text_encoder is {residence!r}; expected one of {', '.join(map(repr, get_args(Residence)))}"
            )
        self._text = text
        self._projection = projection
        self._device = device
        self._residence = residence
        self._cache = PromptCache.of_model(text, folder)
        self._network: Any = None
        self._encoding = threading.Lock()
        # Padding is state of the tokenizer, so two threads must not share it.
        self._tokenizing = threading.Lock()

    @property
    def loaded(self) -> bool:
        """Whether the text encoder is in memory."""
        return self._network is not None

    def check_length(self, prompts: Sequence[str]) -> None:
        """Raise VocabularyError for the first prompt with more tokens than the model's context."""
        # Held for the tokenizer alone: counting must not wait until all prompts are encoded.
        with self._tokenizing:
            counts = count_tokens(self._text.tokenizer, prompts)
        for prompt, count in zip(prompts, counts, strict=True):
            if count > self._text.context_length:
                raise VocabularyError(
                    f"the prompt {prompt!r} has {count} tokens; the model reads at most {self._text.context_length}, "
                    "so shorten it"
                )

    def embed(
        self, prompts: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> tuple[Mapping[str, PromptEmbedding], EncodingReport]:
        """Embed distinct canonical prompts; the embeddings are on the model's device.

        Args:
            prompts: each once.
            progress: called with the number of prompts that became ready.
        """
        started = time.monotonic()
        embeddings: dict[str, PromptEmbedding] = {}
        unknown = self._look_up(prompts, embeddings, progress)
        if unknown:
            with self._encoding:
                # Another thread may have encoded some of them meanwhile.
                unknown = self._look_up(unknown, embeddings, progress)
                for prompt, embedding in zip(unknown, self._encode(unknown, progress), strict=True):
                    # Kept one by one, so that an interruption loses no finished batch.
                    self._cache.put(prompt, embedding)
                    embeddings[prompt] = embedding
        on_device = {
            prompt: PromptEmbedding(
                embeddings[prompt].tokens.to(self._device), embeddings[prompt].pooled.to(self._device)
            )
            for prompt in prompts
        }
        return on_device, EncodingReport(
            len(prompts) - len(unknown), len(unknown), time.monotonic() - started
        )

    def _look_up(
        self,
        prompts: Sequence[str],
        embeddings: dict[str, PromptEmbedding],
        progress: Callable[[int], None] | None,
    ) -> list[str]:
        """Put the embeddings of cached prompts into `embeddings`; return the other prompts."""
        unknown = []
        for prompt in prompts:
            found = self._cache.get(prompt)
            if found is None:
                unknown.append(prompt)
            else:
                embeddings[prompt] = found
        if progress and len(unknown) < len(prompts):
            progress(len(prompts) - len(unknown))
        return unknown

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Map pooled embeddings [..., E] to the prompt space [..., D]; needs no text encoder."""
        with torch.inference_mode():
            return self._projection(pooled)

    def _encode(
        self, prompts: Sequence[str], progress: Callable[[int], None] | None
    ) -> Iterator[PromptEmbedding]:
        """Encode prompts batch by batch, with the text encoder loaded meanwhile."""
        if not prompts:
            return
        if self._network is None:
            started = time.monotonic()
            self._network = self._text.load_text_side()
            logger.info(
                "loaded the text encoder in %.1f s for %d unknown prompts",
                time.monotonic() - started,
                len(prompts),
            )
        try:
            self._network.to(self._device)
            for start in range(0, len(prompts), BATCH):
                batch = prompts[start : start + BATCH]
                yield from self._encode_batch(batch)
                if progress:
                    progress(len(batch))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ModelError(
                f"the text encoder does not fit into the memory of {self._device}; free memory, use "
                "device 'cpu', or fill the prompt cache ahead on a machine that has more"
            ) from error
        finally:
            self._unload()

    def _encode_batch(self, prompts: Sequence[str]) -> list[PromptEmbedding]:
        """Embed a few prompts; tokens beyond the model's context are cut."""
        encoder = self._network.text_encoder
        with self._tokenizing:
            batch = self._text.tokenizer(
                list(prompts),
                padding="max_length",
                truncation=True,
                max_length=self._text.context_length,
                return_tensors="pt",
            )
        ids, mask = batch["input_ids"].to(self._device), batch["attention_mask"].to(self._device)
        valid = mask.bool()
        with torch.inference_mode():
            pooled = _mean_of_valid(encoder.get_input_embeddings()(ids), valid)
            tokens = self._network.text_projection(
                encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            )
            return [
                PromptEmbedding(tokens[index, valid[index]], pooled[index]) for index in range(len(prompts))
            ]

    def _unload(self) -> None:
        if self._network is None or self._residence == "keep":
            return
        if self._residence == "offload":
            self._network.to("cpu")
        else:
            # Nothing refers to it in a cycle, so this frees it at once. A garbage collection would stop every
            # thread for longer than an image takes.
            self._network = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def fill_prompt_cache(
    text: TextCheckpoint,
    folder: Path,
    prompts: NeededPrompts,
    device: torch.device,
    progress: Callable[[int], None] | None = None,
) -> EncodingReport:
    """Encode the prompts that a prompt cache lacks, a batch at a time, and make sure that they are on disk.

    Args:
        text: the text side of the model; its encoder is loaded only if a prompt is missing.
        folder: of the prompt cache.
        prompts: what has to be known.
        device: where the text encoder runs.
        progress: called with the number of prompts that became ready.

    Raises:
        VocabularyError: a prompt is longer than the model's context.
        ModelError: the weights cannot be read or do not fit into the device's memory.
        SettingsError: the folder cannot be written to.
    """
    projection = text.load_text_projection().to(device)
    _require_writable(folder)
    encoder = TextEncoder(text, projection, device, "keep", folder)
    encoder.check_length(prompts.prompts)
    # A second cache reads what was written; the encoder's own one also serves from memory.
    written = PromptCache.of_model(text, folder)
    hits, misses, seconds = 0, 0, 0.0
    everything = tuple(prompts)
    for start in range(0, len(everything), BATCH):
        batch = everything[start : start + BATCH]
        report = encoder.embed(batch, progress)[1]
        hits, misses, seconds = hits + report.hits, misses + report.misses, seconds + report.seconds
        if report.misses and any(written.get(prompt) is None for prompt in batch):
            raise SettingsError(
                f"the prompt cache {folder} did not keep what was written; free disk space or choose another "
                "folder, then start again"
            )
    return EncodingReport(hits, misses, seconds)


def _require_writable(folder: Path) -> None:
    """Make a folder for a prompt cache; raise SettingsError if it cannot be made or written to."""
    probe = folder / ".writable"
    try:
        write_atomically(probe, b"")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(
            f"the prompt cache {folder} cannot be written ({error.strerror}); choose a folder that can"
        ) from error


class TokenTable:
    """The tokenizer and the token embeddings of a model: count tokens and find neighbours without its networks.

    For SAM 3 that takes a second instead of a minute.

    Attributes:
        context_length: most tokens of a prompt that the model reads, start and end included.
    """

    def __init__(self, model: str | Path) -> None:
        """Read the table of a SAM 3 checkpoint, named as for `load_checkpoint`.

        Raises:
            ModelError: the model cannot be found or read.
        """
        text = open_text_checkpoint(model)
        self._tokenizer = text.tokenizer
        self._embeddings = _read_tensor(text.folder, _TOKEN_EMBEDDINGS)
        self.context_length = text.context_length

    def counts(self, prompts: Sequence[str]) -> list[int]:
        """Count the tokens of each prompt, start and end included, uncut."""
        return count_tokens(self._tokenizer, prompts)

    def pooled(self, prompts: Sequence[str]) -> torch.Tensor:
        """Average the token embeddings of each prompt, float32 [N, E]: what neighbours are found by."""
        batch = self._tokenizer(
            list(prompts), padding=True, truncation=True, max_length=self.context_length, return_tensors="pt"
        )
        return _mean_of_valid(self._embeddings[batch["input_ids"]].float(), batch["attention_mask"].bool())


def count_tokens(tokenizer: Callable[..., Any], prompts: Sequence[str]) -> list[int]:
    """Count the tokens of each prompt, start and end included, uncut."""
    if not prompts:
        return []
    # Without `verbose=False` transformers would warn of prompts that are too long, which are only counted.
    batch = tokenizer(list(prompts), padding=False, truncation=False, verbose=False)
    return [len(ids) for ids in batch["input_ids"]]


def _mean_of_valid(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Average values [N, T, E] over the tokens where valid [N, T]: [N, E]."""
    weights = valid.unsqueeze(-1).to(values.dtype)
    return (values * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def _read_tensor(folder: Path, names: tuple[str, ...]) -> torch.Tensor:
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as tensors:
                for key in tensors.keys():  # noqa: SIM118
                    if key.endswith(names):
                        return tensors.get_tensor(key)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path} cannot be read ({error}); download or copy the folder again") from error
    raise ModelError(
        f"the model in {folder} has no tensor {names[0]!r}; expected SAM 3 weights (*.safetensors) as saved by "
        "transformers"
    )
