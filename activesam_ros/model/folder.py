"""The folder of a model: where it is, and what its files say before any weight is read."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

from activesam_ros.errors import ModelError

logger = logging.getLogger(__name__)

Channels = tuple[float, float, float]

BUNDLED = {"toytown": Path(__file__).parent.parent / "toytown" / "model"}
"""Models that ship with the package, by the name that stands for their folder."""

HUB_FILES = ["*.json", "*.txt", "*.safetensors"]


def first_line(error: BaseException) -> str:
    """What an exception of a library says, as a part of a sentence."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")


def resolve_folder(model: str | Path) -> Path:
    """The folder of a model: a bundled one, a local one, or a hub repository, downloaded if need be.

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


def read_detector_config(folder: Path) -> dict:
    """The configuration of the image model in a folder, of a plain or a video checkpoint; raises ModelError."""
    config = _read_json(folder, "config.json")
    kind = config.get("model_type")
    if kind == "sam3_video":
        config = config.get("detector_config")
        if not isinstance(config, dict):
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


def _read_json(folder: Path, name: str) -> dict:
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
    """Raises ModelError if there is no tokenizer."""
    # The loader would make an empty tokenizer without a word.
    if not (folder / "tokenizer.json").is_file() and not all(
        (folder / name).is_file() for name in ("vocab.json", "merges.txt")
    ):
        raise ModelError(
            f"the model folder {folder} has no tokenizer; expected tokenizer.json, or vocab.json and merges.txt, in it"
        )


def read_normalisation(folder: Path) -> tuple[Channels, Channels]:
    """Mean and standard deviation of image channels in [0, 1], RGB, of the model's image preparation.

    Raises:
        ModelError: the file says something that cannot be.
    """
    for name, nested in (("processor_config.json", "image_processor"), ("preprocessor_config.json", None)):
        if not (folder / name).is_file():
            continue
        config = _read_json(folder, name)
        if nested:
            config = config.get(nested)
        if isinstance(config, dict) and {"image_mean", "image_std"} <= set(config):
            return _channels(folder / name, config, "image_mean"), _channels(
                folder / name, config, "image_std"
            )
    logger.info("%s says nothing of image_mean and image_std; 0.5 is taken, as SAM 3 has it", folder)
    half = (0.5, 0.5, 0.5)
    return half, half


def _channels(path: Path, config: dict, key: str) -> Channels:
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
    return tuple(float(value) for value in values)
