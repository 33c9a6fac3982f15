"""Puts the text side of a model together: its prompt cache and what embeds phrases with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from activesam_ros.prompts.cache import PromptCache
from activesam_ros.prompts.embedder import PhraseEmbedder, Residence, check_residence
from activesam_ros.system.files import cache_folder

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from activesam_ros.model.checkpoint import TextCheckpoint


@overload
def prompt_folder(folder: Literal["default"] = "default") -> Path: ...
@overload
def prompt_folder(folder: Path | Literal["default"] | None) -> Path | None: ...
def prompt_folder(folder: Path | Literal["default"] | None = "default") -> Path | None:
    """The folder of the prompt cache; "default": `prompts` in this program's cache folder."""
    return cache_folder() / "prompts" if folder == "default" else folder


def fingerprint_memo(folder: Path) -> Path:
    """The file in a prompt cache that remembers the fingerprints of unchanged models."""
    return folder / "fingerprints.json"


def open_prompt_cache(text: TextCheckpoint, folder: Path | None) -> PromptCache:
    """The prompt cache of a model; None: in memory only."""
    if folder is None:
        # A cache that dies with its process needs no fingerprint, which takes reading the whole text encoder.
        return PromptCache("", text.embedding_sizes, None)
    return PromptCache(text.text_fingerprint(fingerprint_memo(folder)), text.embedding_sizes, folder)


def make_embedder(
    text: TextCheckpoint,
    projection: nn.Module,
    device: torch.device,
    residence: Residence = "release",
    folder: Path | None = None,
) -> PhraseEmbedder:
    """What embeds phrases with a model; reads no weights yet.

    Args:
        text: the text side of the model.
        projection: its text projection, on `device`.
        device: where the text encoder runs.
        residence: what happens to the text encoder after use.
        folder: of the prompt cache; None: embeddings are remembered in memory only.

    Raises:
        SettingsError: an unknown residence.
    """
    # Refused before the text encoder's weights are hashed.
    check_residence(residence)
    cache = open_prompt_cache(text, folder)
    return PhraseEmbedder(
        text.load_text_side,
        projection,
        text.tokenizer,  # type: ignore[arg-type]
        text.context_length,
        cache,
        device,
        residence,
    )
