"""What the model knows of one phrase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class PromptEmbedding:
    """The embedding of one phrase; independent of the vocabulary that it is part of.

    Attributes:
        tokens: float32 [T, D], projected features of the phrase's real tokens (start and end included).
        pooled: float32 [E], mean of the token embeddings *before* the text transformer.
    """

    tokens: torch.Tensor
    pooled: torch.Tensor
