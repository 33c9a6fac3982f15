"""Which queries of the presence preview are worth decoding."""

from __future__ import annotations

import torch


def select_active(presence: torch.Tensor, keep_fraction: float, max_active: int) -> tuple[int, ...]:
    """The active set of an image (ActiveSAM, arXiv 2606.16996).

    Args:
        presence: float32 [Q], presence of every query in the preview.
        keep_fraction: a query stays if its presence reaches the (1 − keep_fraction) quantile of all.
        max_active: of those, at most this many stay, by presence.

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
    return tuple(kept.tolist())
