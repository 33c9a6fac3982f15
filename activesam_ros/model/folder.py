"""The folder of a model: where it is, what its files say and may not ask for, and what identifies its text encoder.

The folder is data. transformers follows requests in it for code or for files from elsewhere; they end here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from activesam_ros.errors import ModelError
from activesam_ros.system.files import write_atomically

logger = logging.getLogger(__name__)

Channels = tuple[float, float, float]

BUNDLED = {"toytown": Path(__file__).parent.parent / "toytown" / "model"}
"""Models that ship with the package, by the name that stands for their folder."""

HUB_FILES = ["*.json", "*.txt", "*.safetensors"]

# Keys that name classes in the folder's own Python files, or kernels that are fetched from the hub and run.
_CODE = {
    "attn_implementation",
    "auto_map",
    "custom_pipelines",
    "experts_implementation",
    "kernel_config",
    "trust_remote_code",
    "use_kernels",
}

# Keys that name other weights than *.safetensors in the folder as they are.
_OTHER_WEIGHTS = ("transformers_weights", "quantization_config", "gguf_file")

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
)
_TEXT_WEIGHTS = ("text_encoder.", "text_projection.")
# Keys of video checkpoints come with the prefix.
_VIDEO_PREFIX = "detector_model."
_REMEMBERED = 64


def first_line(error: BaseException) -> str:
    """Return the first line of a library's exception, for use inside a sentence."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")


def resolve_folder(model: str | Path) -> Path:
    """Find the folder of a model: bundled, local, or a hub repository, which is downloaded if need be.

    Raises:
        ModelError: there is none.
    """
    name = str(model)
    if not name:
        raise ModelError("model is empty; expected a folder, a hub id such as 'facebook/sam3', or 'toytown'")
    if name in BUNDLED:
        return BUNDLED[name]
    try:
        folder = Path(name).expanduser()
        is_folder, exists = folder.is_dir(), folder.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"model is {name[:200]!r}, which is no path ({first_line(error)}); expected a folder, a hub id such as "
            "'facebook/sam3', or 'toytown'"
        ) from error
    if is_folder:
        return folder
    if exists:
        raise ModelError(
            f"model is the file {name}; expected the folder that holds config.json and *.safetensors"
        )
    if isinstance(model, Path) or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(
            f"the model folder {name} does not exist; expected a folder with config.json and *.safetensors, a hub id "
            "such as 'facebook/sam3', or 'toytown'"
        )
    return _download(name)


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    logger.info("looking for %s; what is not on this machine yet is downloaded", hub_id)
    try:
        return Path(snapshot_download(hub_id, allow_patterns=HUB_FILES))
    except GatedRepoError as error:
        raise ModelError(
            f"{hub_id} is gated: accept its licence on its hub page, then run 'hf auth login' on this machine and try "
            "again"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{hub_id} is neither a folder here nor a model on the hub that you may read; check the spelling, or run "
            "'hf auth login' if it is private"
        ) from error
    except HFValidationError as error:
        raise ModelError(
            f"{hub_id!r} is neither a folder here nor a valid hub id; expected a form like 'facebook/sam3'"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ModelError(
            f"{hub_id} is not on this machine and the hub cannot be reached; connect once and run 'hf download "
            f"{hub_id}', or copy its folder here and give that path"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"{hub_id} could not be downloaded ({first_line(error)}); try again, or copy its folder here and give "
            "that path"
        ) from error


def read_detector_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of the image model of a plain or video checkpoint; raise ModelError if there is none."""
    config = _read_json(folder, "config.json")
    kind = config.get("model_type")
    if kind == "sam3_video":
        config = config.get("detector_config") or {}
        if not isinstance(config, dict) or not config:
            raise ModelError(
                f"{folder / 'config.json'} is of a SAM 3 video model without a detector_config; download or copy the "
                "folder again"
            )
        kind = config.get("model_type", "sam3")
    if kind != "sam3":
        raise ModelError(
            f"the model in {folder} is of type {kind!r}; expected SAM 3 ('sam3' or 'sam3_video'), such as "
            "facebook/sam3"
        )
    return config


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise ModelError(
            f"the model folder {folder} has no {name}; expected a SAM 3 checkpoint as saved by transformers "
            "(config.json, tokenizer files, *.safetensors)"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}); download or copy the folder again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object; download or copy the folder again")
    return content


def require_tokenizer(folder: Path) -> None:
    """Raise ModelError if there is no tokenizer; the loader would silently make an empty one."""
    if not (folder / "tokenizer.json").is_file() and not all(
        (folder / name).is_file() for name in ("vocab.json", "merges.txt")
    ):
        raise ModelError(
            f"the model folder {folder} has no tokenizer; expected tokenizer.json, or vocab.json and merges.txt, in it"
        )


def read_normalisation(folder: Path) -> tuple[Channels, Channels]:
    """Read mean and standard deviation of the image channels (RGB, in [0, 1]); raise ModelError for invalid values."""
    for name, nested in (("processor_config.json", "image_processor"), ("preprocessor_config.json", None)):
        if not (folder / name).is_file():
            continue
        config = _read_json(folder, name)
        if nested:
            config = config.get(nested) or {}
        if isinstance(config, dict) and {"image_mean", "image_std"} <= set(config):
            return _channels(folder / name, config, "image_mean"), _channels(
                folder / name, config, "image_std"
            )
    logger.info("%s has no image_mean and image_std; using SAM 3's 0.5", folder)
    half = (0.5, 0.5, 0.5)
    return half, half


def _channels(path: Path, config: Mapping[str, Any], key: str) -> Channels:
    values = config[key]
    numbers = (
        isinstance(values, list)
        and len(values) == 3
        and all(isinstance(value, int | float) and math.isfinite(value) for value in values)
        and (key == "image_mean" or min(values) > 0)
    )
    if not numbers:
        raise ModelError(
            f"{path} has {key} {values!r}; expected three numbers{' above 0' if key == 'image_std' else ''}, so "
            "download or copy the folder again"
        )
    red, green, blue = map(float, values)
    return red, green, blue


def inert(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Copy a configuration, and those inside it, without the keys that name code.

    Args:
        config: as read from a model's config.json.
        folder: where that is, for messages.

    Raises:
        ModelError: it asks for other weights than the folder's *.safetensors.
    """
    for key in _OTHER_WEIGHTS:
        if config.get(key) is not None:
            raise ModelError(
                f"{folder / 'config.json'} asks for {key}, which is not followed; expected the plain weights of SAM 3 "
                "(*.safetensors), such as those of facebook/sam3"
            )
    return {
        key: inert(value, folder) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if key.lstrip("_") not in _CODE
    }


def require_safetensors(folder: Path) -> None:
    """Raise ModelError if the weights are missing, might hold code, or are elsewhere."""
    if not any(folder.glob("*.safetensors")):
        others = sorted(path.name for path in folder.glob("*.[pb][ti]*"))
        found = f" (it has {others[0]}, which is not read since it may hold code)" if others else ""
        raise ModelError(
            f"the model folder {folder} has no *.safetensors file{found}; expected SAM 3 weights in it"
        )
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"the model folder {folder} has an adapter (adapter_config.json), which is not read; merge it into the "
            "weights, or take it out"
        )
    for index in folder.glob("*.safetensors.index.json"):
        _require_plain_names(index)


def _require_plain_names(index: Path) -> None:
    """Refuse an index that names anything but *.safetensors files beside it."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{index} is no index of weights ({error!r}); download or copy the folder again"
        ) from error
    for name in names:
        plain = isinstance(name, str) and name == Path(name).name and name.endswith(".safetensors")
        if not plain:
            raise ModelError(
                f"{index} names {name!r}; expected *.safetensors files beside it, so download or copy the folder again"
            )


def text_fingerprint(folder: Path, text_config: dict[str, Any], memo: Path | None = None) -> str:
    """Hash all that a prompt's embedding depends on; every layout of one checkpoint has the same hash.

    Args:
        folder: of the checkpoint.
        text_config: the text encoder's configuration.
        memo: file that remembers the hash of unchanged files, since hashing SAM 3's text encoder reads 1.4 GB; a
            damaged one is rewritten. None: none.

    Returns:
        32 hexadecimal digits.
    """
    weights = sorted(folder.glob("*.safetensors"))
    tokenizer = [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    config = json.dumps(text_config, sort_keys=True).encode()
    files = json.dumps([_identity(path) for path in [*weights, *tokenizer]])
    state = hashlib.blake2b(config + files.encode(), digest_size=16).hexdigest()
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
            places += [(key.removeprefix(_VIDEO_PREFIX), path, key) for key in tensors.keys()]  # noqa: SIM118
    for name, path, key in sorted(places):
        if name.startswith(_TEXT_WEIGHTS):
            with safe_open(path, framework="pt") as tensors:
                tensor = tensors.get_tensor(key).contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    for path in tokenizer:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _identity(path: Path) -> list[str | int]:
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


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
