"""What the configuration files of a model say, and what they may not ask for.

The folder is data. transformers follows requests in it for code or for files from elsewhere; they end here.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from activesam_ros.errors import ModelError
from activesam_ros.model.folder import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

Channels = tuple[float, float, float]

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

# Keys that change what transformers' modules return.
_OUTPUTS = {"output_attentions", "output_hidden_states", "return_dict", "use_return_dict", "torchscript"}

# Keys that name other weights than *.safetensors in the folder as they are.
_OTHER_WEIGHTS = ("transformers_weights", "quantization_config", "gguf_file")

LITE_TEXT = "sam3_lite_text"
"""Model type of SAM 3 with a small text encoder."""

# Endings of names of whole numbers that make the model, and the largest that are believed: others would take all
# memory, or hours, before the weights are found not to fit.
_SIZES = {
    "image_size": 8192,
    "patch_size": 1024,
    "_layers": 1000,
    "_stages": 100,
    "_heads": 10_000,
    "_size": 1_000_000,
    "_dim": 1_000_000,
    "_queries": 1_000_000,
    "_channels": 1_000_000,
    "_embeddings": 1_000_000,
}
_NUMBERS = ("_eps", "dropout", "_theta", "eos_token_id")
_AGAIN = "download or copy the folder again"


def read_detector_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of the image model of a plain or video checkpoint; raise ModelError if there is none."""
    config = read_json(folder, "config.json")
    kind = config.get("model_type")
    if kind == "sam3_video":
        config = config.get("detector_config") or {}
        if not isinstance(config, dict) or not config:
            raise ModelError(
                f"{folder / 'config.json'} is of a SAM 3 video model without a detector_config; download or copy the "
                "folder again"
            )
        kind = config.get("model_type", "sam3")
    if kind not in ("sam3", LITE_TEXT):
        raise ModelError(
            f"the model in {folder} is of type {kind!r}; expected SAM 3 ('sam3' or 'sam3_video', such as "
            f"facebook/sam3) or SAM 3 LiteText ('{LITE_TEXT}')"
        )
    return config


def require_possible(config: Mapping[str, Any], path: Path) -> None:
    """Raise ModelError for sizes and numbers that no model has.

    Args:
        config: complete, with the defaults of what the file leaves out.
        path: of the file, for messages.
    """
    size, heads = config.get("hidden_size"), config.get("num_attention_heads")
    for name, value in config.items():
        if isinstance(value, Mapping):
            require_possible(value, path)
            continue
        most = next((most for ending, most in _SIZES.items() if str(name).endswith(ending)), None)
        if most is not None and not (type(value) is int and 1 <= value <= most):
            raise ModelError(
                f"{path} has {name} {value!r}; expected a whole number from 1 to {most}, so {_AGAIN}"
            )
        number = type(value) in (int, float) or not str(name).endswith(_NUMBERS)
        if not number or not all(math.isfinite(one) for one in _floats(value)):
            raise ModelError(f"{path} has {name} {value!r}; expected finite numbers, so {_AGAIN}")
    if size and heads and size % heads:
        raise ModelError(
            f"{path} has hidden_size {size} for {heads} attention heads; expected a multiple, so {_AGAIN}"
        )


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _floats(one)


def read_normalisation(folder: Path) -> tuple[Channels, Channels]:
    """Read mean and standard deviation of the image channels (RGB, in [0, 1]); raise ModelError for invalid values."""
    for name, nested in (("processor_config.json", "image_processor"), ("preprocessor_config.json", None)):
        if not (folder / name).is_file():
            continue
        config = read_json(folder, name)
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
    """Copy a configuration, and those inside it, without the keys that name code or other outputs.

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
        if key.lstrip("_") not in _CODE | _OUTPUTS
    }
