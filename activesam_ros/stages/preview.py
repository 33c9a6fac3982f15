"""Which queries of the presence preview are worth decoding."""

from __future__ import annotations

import torch


def select_active(
    presence: torch.Tensor, keep_fraction: float, max_active: int, presence_floor: float = 0.0
) -> tuple[int, ...]:
    """The active set of an image (ActiveSAM, arXiv 2606.16996), and of that what reaches a floor.

    Args:
        presence: float32 [Q], presence of every query in the preview.
        keep_fraction: a query stays if its presence reaches the (1 − keep_fraction) quantile of all.
        max_active: of those, at most this many stay, by presence.
        presence_floor: of those, only these with at least this presence stay, or the first one if none has it.

    Returns:
        Query indices, ascending; never none.
    """
    threshold = torch.quantile(presence, 1 - keep_fraction)
    kept = torch.nonzero(presence >= threshold).flatten()
    if len(kept) == 0:
        # Interpolation may put the quantile above the maximum by rounding.
        kept = presence.argmax()[None]
    if len(kept) > max_active:
        order = presence[kept].sort(descending=True, stable=True).indices
        kept = kept[order[:max_active]].sort().values
    if presence_floor > 0:
        above = kept[presence[kept] >= presence_floor]
        kept = above if len(above) else kept[presence[kept].argmax()][None]
    return tuple(kept.tolist())
