"""The prompt cache: embeddings of canonical prompts, in memory and on disk, one folder per text encoder."""

from __future__ import annotations

import hashlib
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, overload

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from activesam_ros.system.files import cache_folder, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from activesam_ros.model.checkpoint import TextCheckpoint

logger = logging.getLogger(__name__)

FORMAT = "1"


@dataclass(frozen=True, eq=False)
class PromptEmbedding:
    """The embedding of one prompt, whatever vocabulary it is part of.

    Attributes:
        tokens: float32 [T, D], projected features of its T real tokens (start and end included).
        pooled: float32 [E], mean of the token embeddings *before* the text transformer.
    """

    tokens: torch.Tensor
    pooled: torch.Tensor


@overload
def prompt_folder(folder: Literal["default"] = "default") -> Path: ...
@overload
def prompt_folder(folder: Path | Literal["default"] | None) -> Path | None: ...
def prompt_folder(folder: Path | Literal["default"] | None = "default") -> Path | None:
    """Resolve the folder of the prompt cache; "default": `prompts` in this program's cache folder."""
    return cache_folder() / "prompts" if folder == "default" else folder


def fingerprint_memo(folder: Path) -> Path:
    """Name the file in a prompt cache that remembers the fingerprints of unchanged models."""
    return folder / "fingerprints.json"


class PromptCache:
    """Remember the embeddings of one text encoder; safe for several threads and processes.

    On disk each prompt is a safetensors file of its own, written atomically: a crash loses at most the prompt that
    was being written. A truncated, foreign or stale file is ignored with a warning and overwritten.
    """

    def __init__(self, fingerprint: str, shape: tuple[int, int], folder: Path | None) -> None:
        """Open a cache.

        Args:
            fingerprint: of the text encoder.
            shape: length of a token feature and of a pooled embedding.
            folder: the files go into its subfolder `fingerprint`; None: memory only.
        """
        self._fingerprint = fingerprint
        self._shape = shape
        self._folder = None if folder is None else folder / fingerprint
        self._memory: dict[str, PromptEmbedding] = {}
        self._lock = threading.Lock()
        self._writable = True
        self._warned = False

    @classmethod
    def of_model(cls, text: TextCheckpoint, folder: Path | None) -> PromptCache:
        """Open the cache of a model's text encoder in `folder`; None: memory only."""
        # Without a folder nothing needs the fingerprint, which takes reading the whole text encoder.
        fingerprint = "" if folder is None else text.text_fingerprint(fingerprint_memo(folder))
        return cls(fingerprint, text.embedding_sizes, folder)

    def get(self, prompt: str) -> PromptEmbedding | None:
        """Return the embedding of a prompt on the CPU, or None if it is not known."""
        with self._lock:
            found = self._memory.get(prompt)
        if found is None and self._folder is not None:
            found = self._read(_file(self._folder, prompt), prompt)
            if found is not None:
                with self._lock:
                    self._memory[prompt] = found
        return found

    def put(self, prompt: str, embedding: PromptEmbedding) -> None:
        """Keep an embedding; a disk that cannot be written to is reported once, and memory serves on."""
        embedding = PromptEmbedding(
            embedding.tokens.detach().to("cpu", copy=True), embedding.pooled.detach().to("cpu", copy=True)
        )
        with self._lock:
            self._memory[prompt] = embedding
        if self._folder is None or not self._writable:
            return
        content = save(
            {"tokens": embedding.tokens.contiguous(), "pooled": embedding.pooled.contiguous()},
            metadata=self._metadata(prompt),
        )
        try:
            write_atomically(_file(self._folder, prompt), content)
        except OSError as error:
            self._writable = False
            logger.warning(
                "the prompt cache %s cannot be written (%s); prompts are kept in memory only",
                self._folder,
                error,
            )

    def _metadata(self, prompt: str) -> dict[str, str]:
        return {"format": FORMAT, "phrase": prompt, "text_encoder": self._fingerprint}

    def _read(self, path: Path, prompt: str) -> PromptEmbedding | None:
        try:
            if not path.is_file():
                return None
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                wanted = self._metadata(prompt)
                if {name: metadata.get(name) for name in wanted} != wanted:
                    raise ValueError("it belongs to another prompt, text encoder or version")
                found = PromptEmbedding(file.get_tensor("tokens"), file.get_tensor("pooled"))
            self._check(found)
        except (OSError, SafetensorError, ValueError) as error:
            # One warning is enough; a whole cache of another version would give hundreds.
            level = logging.DEBUG if self._warned else logging.WARNING
            self._warned = True
            logger.log(
                level, "the cached prompt %r in %s is not used (%s) and made again", prompt, path, error
            )
            return None
        return found

    def _check(self, found: PromptEmbedding) -> None:
        width, pooled = self._shape
        if found.tokens.dim() != 2 or found.tokens.shape[1] != width or found.pooled.shape != (pooled,):
            raise ValueError(f"it has the shapes {tuple(found.tokens.shape)} and {tuple(found.pooled.shape)}")
        if len(found.tokens) == 0 or not (found.tokens.isfinite().all() and found.pooled.isfinite().all()):
            raise ValueError("it is empty or holds numbers that are not finite")
        if found.tokens.dtype is not torch.float32 or found.pooled.dtype is not torch.float32:
            raise ValueError("it is not float32")


def _file(folder: Path, prompt: str) -> Path:
    return folder / f"{hashlib.blake2b(prompt.encode(), digest_size=16).hexdigest()}.safetensors"
