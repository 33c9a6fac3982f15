"""Presence preview: score prompts at low resolution, on the image or on pooled features, and select the active set."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from activesam_ros.errors import SettingsError
from activesam_ros.model.prompt_heads import PromptTokens
from activesam_ros.system.device_copies import upload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from activesam_ros.model.prompt_heads import DecodedPrompts
    from activesam_ros.model.vision_encoder import ImageFeatures
    from activesam_ros.prompts.prompt_set import PromptSet
    from activesam_ros.settings import SegmenterSettings


class Heads(Protocol):
    """SAM 3's prompt heads: `PromptHeads` (reference) or `FusedPromptHeads`, each with image features of its own."""

    def prepare(self, image: ImageFeatures, masks: bool) -> Any:
        """Compute what all prompts share of an image; `masks`: `decode` will be called."""

    def cells(self, image: Any) -> int:
        """Return the number of cells of the coarsest feature map of what `prepare` gave."""

    def presence(self, image: Any, prompts: PromptTokens) -> torch.Tensor:
        """Return presence probabilities, float32 [N]."""

    def decode(
        self, image: Any, buckets: Iterable[PromptTokens], confidence_threshold: float, boxes: bool = False
    ) -> Iterator[DecodedPrompts]:
        """Decode buckets, and yield their prompts in order; `boxes`: with the boxes of the instances."""


def resolutions(image_size: int, patch_size: int, settings: SegmenterSettings) -> tuple[int, int]:
    """Return the full and the preview resolution in force, in pixels.

    A preview that is not below the full resolution becomes two thirds of it.

    Args:
        image_size: side in pixels of the images that the model was made for.
        patch_size: side in pixels of a patch of its vision encoder.
        settings: the requested resolutions.

    Raises:
        SettingsError: a resolution is not a whole number of patches.
    """
    full = settings.full_resolution or image_size
    preview = settings.preview_resolution
    if preview >= full:
        preview = max(2, round(full * 2 / 3 / patch_size)) * patch_size
    for name, value in (("full_resolution", full), ("preview_resolution", preview)):
        if value % patch_size or value < 2 * patch_size:
            raise SettingsError(
                f"{name} is {value}; expected a multiple of the model's patch size {patch_size}, at least twice it, "
                f"such as {max(2, round(value / patch_size)) * patch_size}"
            )
    return full, preview


MOST_ON_FULL_SCALE = 400
"""With more prompts to score, the pooled maps get coarser, so that all together have no more cells."""

CLEARLY_PRESENT = 0.9
"""A prompt that reaches this presence on the first pooled map is selected without another look."""

_AHEAD, _FEWEST_AHEAD = 0.2, 16
"""Share of the prompts, or number if that is more, that a GPU scores on the finer map before the host knows which are
uncertain: how many are depends on the scene more than on the vocabulary."""


def map_sides(side: int, count: int, settings: SegmenterSettings) -> tuple[int, int]:
    """Return the sides, in cells, of the pooled maps that prompts are scored on: first all, then uncertain ones.

    Args:
        side: of the feature map at full resolution.
        count: number of prompts to score.
        settings: `preview_scale` and `preview_fine_scale`.
    """
    scale = side * min(1.0, math.sqrt(MOST_ON_FULL_SCALE / max(count, 1)))
    coarse, fine = (
        max(1, round(part * scale)) for part in (settings.preview_scale, settings.preview_fine_scale)
    )
    return coarse, max(coarse, fine)


def uncertain_prompts(
    presence: np.ndarray, indices: Sequence[int], settings: SegmenterSettings
) -> tuple[int, ...]:
    """Return those of the scored prompts that are neither clearly present nor clearly absent, ascending.

    They are at most twice as many as may be decoded: the most present ones.

    Args:
        presence: float32 [P], on the first pooled map.
        indices: the prompts that were scored.
        settings: `preview_floor`, `presence_floor`, `keep_fraction` and `max_active`.
    """
    floor = _uncertain_from(settings)
    scored = np.array(indices, np.int64)
    values = presence[scored]
    # Negated, so that what is not a number stays, and is found.
    doubtful = scored[~(values < floor) & ~(values >= CLEARLY_PRESENT)]
    order = np.argsort(-presence[doubtful], kind="stable")
    return tuple(sorted(doubtful[order[: most_uncertain(len(presence), settings)]].tolist()))


def most_uncertain(count: int, settings: SegmenterSettings) -> int:
    """Return how many of `count` prompts are scored again at most: twice as many as may be decoded."""
    return 2 * min(settings.max_active, math.ceil(settings.keep_fraction * count))


def scored_ahead(scored: int, count: int, settings: SegmenterSettings, device: torch.device) -> int:
    """Return how many of `scored` prompts to score on the finer map before the host has read the first scores.

    A GPU would have nothing to do while the host decides; a CPU would compute what nobody needs, as would a GPU for
    the few prompts of a later frame of a stream.

    Args:
        scored: number of prompts on the coarse map.
        count: number of prompts of the vocabulary.
        settings: `keep_fraction` and `max_active`.
        device: of the model.
    """
    if device.type == "cpu" or scored <= _FEWEST_AHEAD:
        return 0
    return min(max(math.ceil(_AHEAD * scored), _FEWEST_AHEAD), most_uncertain(count, settings))


def most_doubtful(scores: torch.Tensor, number: int, settings: SegmenterSettings) -> torch.Tensor:
    """Return where the `number` most present of the uncertain scores are, int64 [number], ascending.

    Nothing is read by the host. With fewer uncertain ones others fill up.

    Args:
        scores: presence on the first pooled map, float32 [N].
        number: at most N.
        settings: `preview_floor` and `presence_floor`.
    """
    doubtful = ~(scores < _uncertain_from(settings)) & ~(scores >= CLEARLY_PRESENT)
    return scores.where(doubtful, -1).topk(number).indices.sort().values


def _uncertain_from(settings: SegmenterSettings) -> float:
    return min(settings.preview_floor, settings.presence_floor)


def score_presence(
    heads: Heads,
    image: Any,
    prompts: PromptSet,
    indices: Sequence[int] | torch.Tensor,
    bucket_size: int,
) -> torch.Tensor:
    """Return the presence probability of the given prompts, float32 [len(indices)], without context tokens.

    Indices that are a tensor stay on the device.
    """
    tokens = PromptTokens(*prompts_of(prompts, indices, prompts.text, prompts.text_valid))
    scores = [
        heads.presence(image, PromptTokens(tokens.tokens[bucket], tokens.valid[bucket]))
        for bucket in bucket_slices(len(indices), bucket_size)
    ]
    return scores[0] if len(scores) == 1 else torch.cat(scores)


def prompts_of(
    prompts: PromptSet, indices: Sequence[int] | torch.Tensor, *parts: torch.Tensor
) -> list[torch.Tensor]:
    """Return the rows of tensors [Q, ...] of some prompts; of all in order, the tensors themselves."""
    if isinstance(indices, torch.Tensor):
        return [part.index_select(0, indices) for part in parts]
    if len(indices) == len(prompts) and list(indices) == list(range(len(prompts))):
        return list(parts)
    chosen = upload(indices, parts[0].device)
    return [part.index_select(0, chosen) for part in parts]


def bucket_slices(count: int, size: int) -> list[slice]:
    """Split prompts, in order, into the fewest buckets of at most `size`, of sizes as equal as possible."""
    buckets = -(-count // size)
    return [slice(count * one // buckets, count * (one + 1) // buckets) for one in range(buckets)]


def select_active(presence: torch.Tensor, settings: SegmenterSettings) -> tuple[int, ...]:
    """Select the active set of an image by presence (ActiveSAM, arXiv 2606.16996).

    A prompt is selected if its presence reaches the (1 - keep_fraction) quantile of all, provided that there are more
    than `max_active`; it is among the `max_active` most present; and it reaches `presence_floor`.

    Args:
        presence: last known presence of every prompt, float32 [P].
        settings: `keep_fraction`, `max_active` and `presence_floor`.

    Returns:
        Prompt indices, ascending; at least one.
    """
    kept = torch.arange(len(presence), device=presence.device)
    if len(presence) > settings.max_active:
        kept = torch.nonzero(presence >= torch.quantile(presence, 1 - settings.keep_fraction)).flatten()
        if len(kept) == 0:
            # Interpolation may round the quantile to a value above the maximum.
            kept = presence.argmax()[None]
    if len(kept) > settings.max_active:
        order = presence[kept].sort(descending=True, stable=True).indices
        kept = kept[order[: settings.max_active]].sort().values
    if settings.presence_floor > 0:
        above = kept[presence[kept] >= settings.presence_floor]
        kept = above if len(above) else kept[presence[kept].argmax()][None]
    return tuple(kept.tolist())
