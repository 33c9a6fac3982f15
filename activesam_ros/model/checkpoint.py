"""Load SAM 3 from a folder or the Hugging Face hub, in the format of `transformers`."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import nn

from activesam_ros.errors import ModelError
from activesam_ros.model.config import (
    LITE_TEXT,
    inert,
    read_detector_config,
    read_normalisation,
    require_possible,
)
from activesam_ros.model.folder import (
    first_line,
    require_whole,
    resolve_folder,
    text_fingerprint,
    weight_files,
)
from activesam_ros.system.memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np

logger = logging.getLogger(__name__)

_KEPT_IN_FLOAT32 = (
    "geometry_encoder.",
    "text_projection",
    "detr_decoder.presence_head.",
    "detr_decoder.box_head.",
)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class TextCheckpoint:
    """The text side of a model; its weights stay in their files until they are loaded.

    Attributes:
        tokenizer: the model's tokenizer.
        config: the model's `Sam3Config`.
        text_config: the text encoder's configuration, as the folder has it.
        source: the name that the model was loaded by.
        folder: where its files are.
    """

    tokenizer: Any
    config: Any
    text_config: dict[str, Any]
    source: str
    folder: Path

    @property
    def context_length(self) -> int:
        """Most tokens of a prompt, start and end included, which shorter ones are padded to."""
        return _context_length(self.config)

    @property
    def embedding_sizes(self) -> tuple[int, int]:
        """Length of a projected token feature and of a pooled embedding."""
        return self.config.detr_encoder_config.hidden_size, self.config.text_config.hidden_size

    def load_text_side(self) -> nn.Module:
        """Read the text encoder and its projection into host memory, in float32; raise ModelError if that fails."""
        from activesam_ros.model.parts import Sam3TextSide, load_part

        return load_part("text encoder's weights", Sam3TextSide, self.folder, self.config)

    def load_text_projection(self) -> nn.Module:
        """Read the text projection alone into host memory, in float32; raise ModelError if that fails."""
        from activesam_ros.model.parts import Sam3TextProjection, load_part

        part = load_part("text projection's weights", Sam3TextProjection, self.folder, self.config)
        return part.text_projection

    def text_fingerprint(self, memo: Path | None = None) -> str:
        """Identify the text encoder, see `folder.text_fingerprint`; raise ModelError if it cannot be read."""
        try:
            return text_fingerprint(self.folder, self.text_config, memo)
        except (OSError, SafetensorError) as error:
            raise ModelError(
                f"the model in {self.folder} cannot be read ({first_line(error)}); download or copy the folder again"
            ) from error


@dataclass(frozen=True)
class Checkpoint(TextCheckpoint):
    """A loaded model.

    Attributes:
        model: the `Sam3Model` without its text encoder, in evaluation mode.
        mean, std: normalisation of image channels in [0, 1], RGB.
        device: where it lives.
        dtype: precision of its matrix products and convolutions.
    """

    model: nn.Module
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    device: torch.device
    dtype: torch.dtype

    @property
    def image_size(self) -> int:
        """Side in pixels of the square image that the model was made for."""
        return self.model.config.vision_config.backbone_config.image_size

    @property
    def patch_size(self) -> int:
        """Side in pixels of a patch of the vision encoder."""
        return self.model.config.vision_config.backbone_config.patch_size

    @property
    def dtype_name(self) -> str:
        """`dtype` as `load_checkpoint` takes it."""
        return _name_of(self.dtype)

    def precision(self) -> AbstractContextManager[object]:
        """Make the context for a forward pass.

        In half precision the matrix products run in `dtype`, while normalisation, softmax, positions and reference
        boxes stay in float32.
        """
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def require_finite(self, scores: torch.Tensor | np.ndarray) -> None:
        """Raise ModelError if `scores`, which the model gave, has infinities or NaN."""
        if not torch.as_tensor(scores).isfinite().all():
            raise ModelError(
                f"the model gave numbers that are not finite; its weights are damaged, or {self.dtype} is too coarse "
                "for it, so try dtype 'bfloat16' or 'float32'"
            )


def load_checkpoint(model: str | Path, device: str = "auto", dtype: str = "auto") -> Checkpoint:
    """Load a SAM 3 checkpoint, and log progress and the duration of each step.

    Args:
        model: a folder, a hub id such as `facebook/sam3`, or the name of a bundled model (`toytown`). Plain
            (`sam3`) and video (`sam3_video`) checkpoints are read; of the latter only the detector.
        device: "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", …
        dtype: "auto" (bfloat16 on CUDA, else float32), "float32", "bfloat16" or "float16".

    Raises:
        ModelError: the model is missing, gated, offline, incomplete or of another type, or the device or dtype
            cannot be had.
    """
    started = time.monotonic()
    torch_device = resolve_device(device)
    torch_dtype = resolve_dtype(dtype, torch_device)
    folder = resolve_folder(model)
    require_whole(folder)
    logger.info(
        "loading %s from %s (%s of weights) for %s in %s",
        model,
        folder,
        _weights_on_disk(folder),
        torch_device,
        _name_of(torch_dtype),
    )
    with _step("transformers imported"):
        # It takes seconds, so programs that only read settings do not pay for it.
        from activesam_ros.model.parts import image_part, load_part
    with _step("configuration and tokenizer read"):
        text = _open_text_checkpoint(model, folder)
        mean, std = read_normalisation(folder)
    with _step("weights read"):
        network = load_part("weights", image_part(text.config), folder, text.config)
    with _step(f"weights put on {torch_device}"):
        _move(network, folder, torch_device, torch_dtype)
    logger.info("loaded %s in %.1f s", model, time.monotonic() - started)
    return Checkpoint(**vars(text), model=network, mean=mean, std=std, device=torch_device, dtype=torch_dtype)


def open_text_checkpoint(model: str | Path) -> TextCheckpoint:
    """Open the text side of a SAM 3 checkpoint: read its configuration and tokenizer, and no weights.

    Args:
        model: as for `load_checkpoint`.

    Raises:
        ModelError: the model is missing, gated, offline, incomplete or of another type.
    """
    folder = resolve_folder(model)
    require_whole(folder)
    return _open_text_checkpoint(model, folder)


def _open_text_checkpoint(model: str | Path, folder: Path) -> TextCheckpoint:
    from transformers import CLIPTokenizer, Sam3Config, Sam3LiteTextConfig

    raw_config = read_detector_config(folder)
    plain_config = inert(raw_config, folder)
    try:
        kind = Sam3LiteTextConfig if raw_config.get("model_type") == LITE_TEXT else Sam3Config
        config = kind.from_dict(plain_config)
        require_possible(config.to_dict(), folder / "config.json")
    except ModelError:
        raise
    except Exception as error:  # the configuration's own checks raise many types
        raise ModelError(
            f"{folder / 'config.json'} is no configuration of SAM 3 ({first_line(error)}); download or copy the "
            "folder again"
        ) from error
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        _require_padding(tokenizer, _context_length(config), folder)
    except ModelError:
        raise
    except Exception as error:  # the loader raises a dozen types for damaged files
        raise ModelError(
            f"the tokenizer in {folder} cannot be loaded ({first_line(error)}); download or copy the folder again"
        ) from error
    if len(tokenizer) > config.text_config.vocab_size:
        raise ModelError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, but the model knows "
            f"{config.text_config.vocab_size}; copy the tokenizer that belongs to the model"
        )
    return TextCheckpoint(tokenizer, config, raw_config.get("text_config") or {}, str(model), folder)


def _context_length(config: Any) -> int:
    # LiteText stretches its positions to the length of its input, which its processor pads as SAM 3's own.
    return 32 if config.model_type == LITE_TEXT else int(config.text_config.max_position_embeddings)


def _require_padding(tokenizer: Any, length: int, folder: Path) -> None:
    """Raise ModelError, or anything, unless a prompt's tokens are followed by padding, as SAM 3 was trained."""
    if tokenizer.pad_token is None:
        raise ModelError(
            f"the tokenizer in {folder} has no pad_token; expected the one that belongs to the model, so copy it again"
        )
    words = ["road"]
    plain = tokenizer(words, padding=False, truncation=False, verbose=False)["input_ids"][0][:length]
    padded = tokenizer(words, padding="max_length", truncation=True, max_length=length)
    if padded["attention_mask"][0] != [1] * len(plain) + [0] * (length - len(plain)):
        raise ModelError(
            f"the tokenizer in {folder} puts padding on the {tokenizer.padding_side}; expected it on the right, as "
            "SAM 3 was trained, so copy the tokenizer again"
        )


def _move(network: nn.Module, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
    store_matrices_as(network, dtype)
    try:
        network.to(device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(
            f"the model in {folder} does not fit into the memory of {device}; free memory, or use device 'cpu' or "
            "dtype 'bfloat16'"
        ) from error


def resolve_device(device: str) -> torch.device:
    """Turn a name into a torch device ("auto" prefers CUDA); raise ModelError if there is no such device."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ModelError(f"device is {device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'") from error
    if resolved.type not in ("cpu", "cuda"):
        raise ModelError(f"device is {device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"device is {device!r}, but torch sees {torch.cuda.device_count()} CUDA devices; use 'cpu' or 'auto', or "
            "install a torch build and driver for your GPU"
        )
    return resolved


def resolve_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Turn a name into a dtype ("auto": bfloat16 on CUDA, else float32); raise ModelError if it is unknown."""
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in DTYPES:
        raise ModelError(f"dtype is {dtype!r}; expected 'auto' or one of {', '.join(map(repr, DTYPES))}")
    return DTYPES[dtype]


def store_matrices_as(network: nn.Module, dtype: torch.dtype) -> None:
    """Keep the weights of matrix products and convolutions in `dtype`, everything else in float32.

    Exceptions that stay in float32: the geometry encoder, which is small and whose box pooling has no half precision
    on a CPU, the text projection, since prompts are embedded in float32, and the presence and box heads.
    """
    if dtype is torch.float32:
        return
    for name, module in network.named_modules():
        if name.startswith(_KEPT_IN_FLOAT32):
            continue
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            module.to(dtype)


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Log how long the body took, once it has succeeded."""
    started = time.monotonic()
    yield
    logger.info("%s in %.1f s", what, time.monotonic() - started)


def _weights_on_disk(folder: Path) -> str:
    """Format the size of a model's weights."""
    size = sum(path.stat().st_size for path in weight_files(folder))
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
