"""The prompt cache: embeddings of phrases, in memory and on disk, by text encoder and phrase."""

from __future__ import annotations

import hashlib
import logging
import threading
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from activesam_ros.prompts.embedding import PromptEmbedding
from activesam_ros.system.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

FORMAT = "1"


class PromptCache:
    """Remembers phrase embeddings of one text encoder.

    On disk each phrase is a safetensors file of its own, written atomically, so that several processes may share
    the folder and a crash loses at most the phrase that was being written. A file that is truncated, foreign or
    stale is ignored with a warning and overwritten.

    It may be used by several threads.
    """

    def __init__(self, fingerprint: str, shape: tuple[int, int], folder: Path | None) -> None:
        """Args:
        fingerprint: of the text encoder.
        shape: length of a token feature and of a pooled embedding.
        folder: where the files go, below a folder of the fingerprint's name; None: memory only.
        """
        self._fingerprint = fingerprint
        self._shape = shape
        self._folder = None if folder is None else folder / fingerprint
        self._memory: dict[str, PromptEmbedding] = {}
        self._lock = threading.Lock()
        self._writable = True
        self._warned = False

    def get(self, phrase: str) -> PromptEmbedding | None:
        """The embedding of a phrase on the CPU, or None if it is not known."""
        with self._lock:
            found = self._memory.get(phrase)
        if found is None and self._folder is not None:
            found = self._read(_file(self._folder, phrase), phrase)
            if found is not None:
                with self._lock:
                    self._memory[phrase] = found
        return found

    def put(self, phrase: str, embedding: PromptEmbedding) -> None:
        """Keeps an embedding. A disk that cannot be written to is reported once; memory serves on."""
        embedding = PromptEmbedding(
            embedding.tokens.detach().to("cpu", copy=True), embedding.pooled.detach().to("cpu", copy=True)
        )
        with self._lock:
            self._memory[phrase] = embedding
        if self._folder is None or not self._writable:
            return
        content = save(
            {"tokens": embedding.tokens.contiguous(), "pooled": embedding.pooled.contiguous()},
            metadata={"format": FORMAT, "phrase": phrase, "text_encoder": self._fingerprint},
        )
        try:
            write_atomically(_file(self._folder, phrase), content)
        except OSError as error:
            self._writable = False
            logger.warning(
                "the prompt cache %s cannot be written (%s); prompts are kept in memory only",
                self._folder,
                error,
            )

    def _read(self, path: Path, phrase: str) -> PromptEmbedding | None:
        try:
            if not path.is_file():
                return None
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                wanted = {"format": FORMAT, "phrase": phrase, "text_encoder": self._fingerprint}
                if {name: metadata.get(name) for name in wanted} != wanted:
                    raise ValueError("it belongs to another phrase, text encoder or version")
                found = PromptEmbedding(file.get_tensor("tokens"), file.get_tensor("pooled"))
            self._check(found)
        except (OSError, SafetensorError, ValueError) as error:
            # One warning says it; a whole cache of another version would give hundreds.
            level = logging.DEBUG if self._warned else logging.WARNING
            self._warned = True
            logger.log(
                level, "the cached prompt %r in %s is not used (%s) and made again", phrase, path, error
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


def _file(folder: Path, phrase: str) -> Path:
    return folder / f"{hashlib.blake2b(phrase.encode(), digest_size=16).hexdigest()}.safetensors"
