"""What a model's folder may not ask for: code, pickles, or files from elsewhere.

The folder of a model is data. transformers follows some requests in it all the same, with other packages installed or
in files that only look like safetensors; they end here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from activesam_ros.errors import ModelError

# Names of classes in the folder's own Python files, and of kernels that are fetched from the hub and run.
_CODE = {
    "attn_implementation",
    "auto_map",
    "custom_pipelines",
    "experts_implementation",
    "kernel_config",
    "trust_remote_code",
    "use_kernels",
}

# Other weights than *.safetensors in the folder as they are.
_OTHER_WEIGHTS = ("transformers_weights", "quantization_config", "gguf_file")


def inert(config: Mapping, folder: Path) -> dict:
    """A configuration, and those inside it, without what names code.

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
    """Raises ModelError if there are no weights, or such as might hold code, or the weights are elsewhere."""
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
    """Refuses an index that names anything but *.safetensors files beside it."""
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
