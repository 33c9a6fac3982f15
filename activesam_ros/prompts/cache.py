"""The prompt cache: embeddings of canonical prompts, in memory and on disk, one folder per text encoder."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, overload

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from activesam_ros.errors import SettingsError
from activesam_ros.system.files import cache_folder, remove_abandoned_writes, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from activesam_ros.model.checkpoint import TextCheckpoint

logger = logging.getLogger(__name__)

FORMAT = "1"

MEMORY_LIMIT = 16_000_000
"""Most bytes of embeddings in memory; those unused for longest are read from disk, or encoded, again."""

DISK_LIMIT = 512_000_000
"""Most bytes that a prompt cache takes on disk unless the environment says otherwise."""

DISK_LIMIT_VARIABLE = "ACTIVESAM_PROMPT_CACHE_MB"

# Of the objects around the numbers of an embedding.
_OVERHEAD = 2_000
# What is left of a full cache, so that not each further prompt has it searched.
_KEPT = 0.9


@dataclass(frozen=True, eq=False)
class PromptEmbedding:
    """The embedding of one prompt, whatever vocabulary it is part of.

    Attributes:
        tokens: float32 [T, D], projected features of its T real tokens (start and end included).
        pooled: float32 [E], mean of the token embeddings *before* the text transformer.
    """

    tokens: torch.Tensor
    pooled: torch.Tensor

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return int(self.tokens.nbytes + self.pooled.nbytes) + _OVERHEAD


@dataclass(frozen=True)
class DiskUse:
    """What is on disk: number of prompts, their bytes, and how many were removed."""

    prompts: int
    size: int
    removed: int


def disk_limit() -> int:
    """Return the most bytes that a prompt cache may take on disk: $ACTIVESAM_PROMPT_CACHE_MB, or `DISK_LIMIT`.

    Raises:
        SettingsError: the variable is not a number of megabytes.
    """
    text = os.environ.get(DISK_LIMIT_VARIABLE, "")
    if not text:
        return DISK_LIMIT
    if not text.isdecimal():
        raise SettingsError(f"{DISK_LIMIT_VARIABLE} is {text!r}; expected whole megabytes, such as 512")
    return int(text) * 1_000_000


def prompts_on_disk(folder: Path) -> int:
    """Return the bytes that the prompts of all text encoders in a cache take on disk."""
    return sum(size for _, size, _ in _prompt_files(folder))


def prune_prompts(folder: Path, limit: int) -> DiskUse:
    """Remove prompts of all text encoders from a cache, those unused for longest first, down to `limit` bytes."""
    found = sorted(_prompt_files(folder))
    size, removed = sum(one for _, one, _ in found), 0
    for _, one, path in found:
        if size <= limit:
            break
        with suppress(OSError):  # a folder that cannot be written keeps its prompts
            path.unlink(missing_ok=True)
            size, removed = size - one, removed + 1
    return DiskUse(len(found) - removed, size, removed)


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

    Memory and disk are bounded, by `MEMORY_LIMIT` and `disk_limit`: what was unused for longest goes first.

    On disk each prompt is a safetensors file of its own, written atomically: a crash loses at most the prompt that
    was being written. A truncated, foreign or stale file is ignored with a warning and overwritten.
    """

    def __init__(self, fingerprint: str, shape: tuple[int, int], folder: Path | None) -> None:
        """Open a cache.

        Args:
            fingerprint: of the text encoder.
            shape: length of a token feature and of a pooled embedding.
            folder: the files go into its subfolder `fingerprint`; None: memory only.

        Raises:
            SettingsError: the limit in the environment is no number.
        """
        self._fingerprint = fingerprint
        self._shape = shape
        self._root = folder
        self._folder = None if folder is None else folder / fingerprint
        if self._folder is not None:
            remove_abandoned_writes(self._folder)
        self._limit = disk_limit()
        # In the order of use; and bytes on disk, as far as they are known.
        self._memory: OrderedDict[str, PromptEmbedding] = OrderedDict()
        self._in_memory = 0
        self._on_disk: int | None = None
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
            if found is not None:
                self._memory.move_to_end(prompt)
        if self._folder is None:
            return found
        path = _file(self._folder, prompt)
        if found is None:
            found = self._read(path, prompt)
            if found is not None:
                self._remember(prompt, found)
        if found is not None:
            with suppress(OSError):  # its time says when it was used last
                os.utime(path)
        return found

    def put(self, prompt: str, embedding: PromptEmbedding) -> None:
        """Keep an embedding; a disk that cannot be written to is reported once, and memory serves on."""
        embedding = PromptEmbedding(
            embedding.tokens.detach().to("cpu", copy=True), embedding.pooled.detach().to("cpu", copy=True)
        )
        self._remember(prompt, embedding)
        if self._root is None or self._folder is None or not self._writable:
            return
        path = _file(self._folder, prompt)
        content = save(
            {"tokens": embedding.tokens.contiguous(), "pooled": embedding.pooled.contiguous()},
            metadata=self._metadata(prompt),
        )
        try:
            write_atomically(path, content)
            self._bound(self._root, path)
        except OSError as error:
            self._writable = False
            logger.warning(
                "the prompt cache %s cannot be written (%s); prompts are kept in memory only",
                self._folder,
                error,
            )

    def _remember(self, prompt: str, embedding: PromptEmbedding) -> None:
        with self._lock:
            before = self._memory.pop(prompt, None)
            self._memory[prompt] = embedding
            self._in_memory += embedding.size - (before.size if before else 0)
            while self._in_memory > MEMORY_LIMIT and len(self._memory) > 1:
                self._in_memory -= self._memory.popitem(last=False)[1].size

    def _bound(self, root: Path, written: Path) -> None:
        """Keep the cache on disk within its limit; what other processes write is found when it seems full."""
        with self._lock:
            if self._on_disk is None:
                self._on_disk = prune_prompts(root, self._limit).size
            else:
                self._on_disk += _on_disk(written.stat())
            if self._on_disk > self._limit:
                self._on_disk = prune_prompts(root, int(_KEPT * self._limit)).size

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


def _prompt_files(folder: Path) -> list[tuple[int, int, Path]]:
    """Return when each prompt in a cache was last used (ns), its bytes on disk and its file."""
    found = []
    for path in folder.glob("*/*.safetensors"):
        with suppress(OSError):  # another process has removed it
            stat = path.stat()
            found.append((stat.st_mtime_ns, _on_disk(stat), path))
    return found


def _on_disk(stat: os.stat_result) -> int:
    """Return the bytes of a file's blocks; small files take a whole one."""
    return 512 * stat.st_blocks


def _file(folder: Path, prompt: str) -> Path:
    return folder / f"{hashlib.blake2b(prompt.encode(), digest_size=16).hexdigest()}.safetensors"
