"""What identifies a text encoder: its weights, its configuration and its tokenizer."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open

from activesam_ros.system.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
)
_PARTS = ("text_encoder.", "text_projection.")
_PREFIX = "detector_model."
_REMEMBERED = 64


def text_fingerprint(folder: Path, text_config: dict, memo: Path | None = None) -> str:
    """A hash of everything that a prompt's embedding depends on, the same in every layout of one checkpoint.

    Args:
        folder: of the checkpoint.
        text_config: the text encoder's configuration.
        memo: file that remembers the hash of unchanged files, since hashing SAM 3's text encoder reads 1.4 GB;
            None: none. A damaged one is rewritten.

    Returns:
        32 hexadecimal digits.
    """
    weights = sorted(folder.glob("*.safetensors"))
    tokenizer = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    config = json.dumps(text_config, sort_keys=True).encode()
    state = _hash(config, json.dumps([_identity(path) for path in [*weights, *tokenizer]]).encode())
    known = _read_memo(memo)
    if state not in known:
        found = _hash_contents(weights, tokenizer, config)
        if memo is not None:
            kept = dict([*known.items()][1 - _REMEMBERED :])
            _write_memo(memo, {**kept, state: found})
        return found
    return known[state]


def _hash_contents(weights: list[Path], tokenizer: list[Path], config: bytes) -> str:
    digest = hashlib.blake2b(config, digest_size=16)
    places = []
    for path in weights:
        with safe_open(path, framework="pt") as tensors:
            places += [(key.removeprefix(_PREFIX), path, key) for key in tensors.keys()]  # noqa: SIM118
    for name, path, key in sorted(places):
        if name.startswith(_PARTS):
            with safe_open(path, framework="pt") as tensors:
                tensor = tensors.get_tensor(key).contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    for path in tokenizer:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _identity(path: Path) -> list:
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def _hash(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _read_memo(memo: Path | None) -> dict[str, str]:
    if memo is None:
        return {}
    try:
        content = json.loads(memo.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("%s is unreadable (%s); it is made again", memo, error)
        return {}
    whole = isinstance(content, dict) and all(isinstance(value, str) for value in content.values())
    return content if whole else {}


def _write_memo(memo: Path, content: dict[str, str]) -> None:
    try:
        write_atomically(memo, json.dumps(content, indent=0).encode())
    except OSError as error:
        logger.warning("%s cannot be written (%s); the model is hashed again next time", memo, error)
