"""Load SAM 3 in parts, each with its own weights only. Importing this imports transformers, which takes seconds.

The text encoder is 353 M of SAM 3's 840 M parameters and is needed only for unknown prompts. All parts read plain
(`sam3`) and video (`sam3_video`) checkpoints, as `Sam3Model` does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import nn
from transformers import (
    CLIPTextModelWithProjection,
    Sam3Config,
    Sam3LiteTextConfig,
    Sam3LiteTextModel,
    Sam3Model,
)
from transformers.models.sam3.modeling_sam3 import Sam3PreTrainedModel
from transformers.models.sam3_lite_text.modeling_sam3_lite_text import Sam3LiteTextTextModel
from transformers.utils import logging as transformers_logging

from activesam_ros.errors import ModelError
from activesam_ros.model.folder import first_line, require_plain_numbers
from activesam_ros.system.memory import is_out_of_memory

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

T = TypeVar("T")

STEP_PERCENT = 10
QUIET_SECONDS = 1.0
"""A progress line comes at most every so many per cent and seconds: a small model needs none, a slow disk not many."""

# Keys of video checkpoints come with the prefix.
_TEXT = rf"^({Sam3Model.base_model_prefix}\.)?text_encoder\."
_NOT_TEXT = rf"^(?!({Sam3Model.base_model_prefix}\.)?(text_encoder|text_projection)\.)"
# Buffers that older releases saved, and that are computed anew.
_COMPUTED = ("position_ids", "inv_freq")
_NOT_PROJECTION = rf"^(?!({Sam3Model.base_model_prefix}\.)?text_projection\.)"


def _projection(config: Sam3Config) -> nn.Linear:
    return nn.Linear(config.text_config.hidden_size, config.detr_encoder_config.hidden_size)


class Sam3WithoutText(Sam3Model):
    """`Sam3Model` without its text encoder; the text projection stays."""

    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [
        *Sam3Model._keys_to_ignore_on_load_unexpected,
        _TEXT,
    ]

    def __init__(self, config: Sam3Config) -> None:
        # While loading, modules are made without memory: the one that is dropped here never had any.
        super().__init__(config)
        self.text_encoder = None


class LiteTextWithoutText(Sam3LiteTextModel):
    """`Sam3LiteTextModel` without its text encoder; the same modules as `Sam3WithoutText`."""

    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = (
        Sam3WithoutText._keys_to_ignore_on_load_unexpected
    )

    def __init__(self, config: Sam3LiteTextConfig) -> None:
        super().__init__(config)
        self.text_encoder = None


def image_part(config: Sam3Config | Sam3LiteTextConfig) -> type[Sam3WithoutText | LiteTextWithoutText]:
    """Return the class of the image side of a model."""
    return LiteTextWithoutText if isinstance(config, Sam3LiteTextConfig) else Sam3WithoutText


class LiteTextEncoder(Sam3LiteTextTextModel):
    """LiteText's text encoder, whose token embeddings transformers does not find by itself."""

    def get_input_embeddings(self) -> nn.Module:
        """Return the token embeddings."""
        return self.embeddings.token_embedding


class Sam3TextSide(Sam3PreTrainedModel):
    """The text encoder of `Sam3Model` or `Sam3LiteTextModel`, and the projection of its features."""

    config_class = Sam3Config
    base_model_prefix = Sam3Model.base_model_prefix
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [_NOT_TEXT]

    def __init__(self, config: Sam3Config) -> None:
        super().__init__(config)
        lite = isinstance(config, Sam3LiteTextConfig)
        self.text_encoder = (LiteTextEncoder if lite else CLIPTextModelWithProjection)(config.text_config)
        self.text_projection = _projection(config)
        self.post_init()


class Sam3TextProjection(Sam3PreTrainedModel):
    """The projection of text features alone: all that known prompts need."""

    config_class = Sam3Config
    base_model_prefix = Sam3Model.base_model_prefix
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [_NOT_PROJECTION]

    def __init__(self, config: Sam3Config) -> None:
        super().__init__(config)
        self.text_projection = _projection(config)
        self.post_init()


def load_part(what: str, part: Any, folder: Path, config: Any) -> Any:
    """Read the weights of one of the parts above in float32, for inference only.

    Args:
        what: what the log and errors call the weights.
        part: the class of the part.
        folder: of the model.
        config: its `Sam3Config`.

    Raises:
        ModelError: the folder is gone, damaged, or does not hold the part.
    """
    try:
        require_plain_numbers(folder)
        with counted_loading(what):
            network, report = part.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                # Refused below, with a sentence that names one.
                ignore_mismatched_sizes=True,
            )
    except ModelError:
        raise
    except Exception as error:  # the loader raises a dozen types for a damaged folder
        if is_out_of_memory(error):
            raise ModelError(
                f"the {what} of the model in {folder} do not fit into the memory of this machine; free memory"
            ) from error
        raise ModelError(
            f"the model in {folder} cannot be loaded ({first_line(error)}); expected config.json, tokenizer files "
            "and *.safetensors as saved by transformers, so download or copy the folder again"
        ) from error
    _require_fit(folder, report)
    _require_finite(folder, network)
    return network.eval().requires_grad_(False)


def _require_fit(folder: Path, report: dict[str, Any]) -> None:
    """Raise ModelError unless weights and configuration name the same tensors, of the same shapes."""
    mismatched = sorted(report["mismatched_keys"])
    if mismatched:
        name, found, expected = mismatched[0]
        raise ModelError(
            f"{len(mismatched)} weights of the model in {folder} do not fit its config.json, such as {name!r} with "
            f"{tuple(found)} instead of {tuple(expected)}; copy config.json and weights from one source"
        )
    missing = sorted(set(report["missing_keys"]))
    if missing:
        raise ModelError(
            f"the model in {folder} lacks {len(missing)} weights that its config.json asks for, such as "
            f"{missing[0]!r}; download or copy the folder again"
        )
    left_out = sorted(key for key in set(report["unexpected_keys"]) if not key.endswith(_COMPUTED))
    if left_out:
        raise ModelError(
            f"the model in {folder} has {len(left_out)} weights that its config.json leaves out, such as "
            f"{left_out[0]!r}; copy config.json and weights from one source, and merge an adapter into the weights"
        )


def _require_finite(folder: Path, network: nn.Module) -> None:
    for name, weight in network.named_parameters():
        # The sum reads the weights once, and no sum of weights is too large for a float.
        if not weight.detach().sum().isfinite() and not weight.detach().isfinite().all():
            raise ModelError(
                f"the weight {name!r} of the model in {folder} holds numbers that are not finite; download or copy "
                "the folder again"
            )


class CountedTensors(Generic[T]):
    """Iterate over tensors, and log how many have been taken."""

    def __init__(
        self, what: str, tensors: Collection[T], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._tensors = tensors
        self._clock = clock

    def __iter__(self) -> Iterator[T]:
        total = len(self._tensors)
        said, since = 0, self._clock()
        for taken, tensor in enumerate(self._tensors):
            percent = 100 * taken // total
            if percent >= said + STEP_PERCENT and self._clock() - since >= QUIET_SECONDS:
                said, since = percent, self._clock()
                logger.info("%s: %d %% of %d tensors", self._what, percent, total)
            yield tensor


@contextmanager
def counted_loading(what: str) -> Iterator[None]:
    """Log how many tensors transformers has loaded, in place of its progress bar and its tables.

    A node's log is no terminal, and each new class would bring them.
    """

    def hook(factory: Callable[..., object], arguments: tuple[Any, ...], named: dict[str, Any]) -> object:
        if named.get("desc") == "Loading weights" and arguments and isinstance(arguments[0], Collection):
            return CountedTensors(what, arguments[0])
        return factory(*arguments, **named)

    verbosity, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    before = transformers_logging.set_tqdm_hook(hook)
    try:
        yield
    finally:
        transformers_logging.set_tqdm_hook(before)
        transformers_logging.set_verbosity(verbosity)
        if bar:
            transformers_logging.enable_progress_bar()
