"""What is doubtful in a vocabulary, seen without truth: silent words, pairs that fight over pixels, near-duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from activesam_ros.prompts.prompt_set import find_neighbors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activesam_ros.prompts.prompt_set import PromptSet
    from activesam_ros.tuning.evidence import Evidence
    from activesam_ros.vocabulary import Vocabulary

SILENT = 0.1
"""A class whose presence stays below on every frame is silent."""

_CLOSE = 0.8  # A runner-up with so much of the winner's score fights for the pixel.
_SEEN = 0.2  # Below this score nobody has the pixel.
_LEAST_SHARE = 0.002
_MOST_PAIRS = 10


@dataclass(frozen=True)
class Fight:
    """Two classes, and the share of all pixels that both claim with nearly the same score."""

    one: str
    other: str
    share: float


@dataclass(frozen=True)
class Similar:
    """Two prompts of different classes, and the cosine of their embeddings."""

    one: str
    other: str
    similarity: float


@dataclass(frozen=True)
class Doubts:
    """What to look at.

    Attributes:
        silent: classes that no frame shows, by the model's presence, with their highest presence.
        fights: pairs of classes by the share of pixels that they fight over, the largest first.
        similar: the most similar pairs of prompts of different classes.
    """

    silent: tuple[tuple[str, float], ...]
    fights: tuple[Fight, ...]
    similar: tuple[Similar, ...]


def find_doubts(
    vocabulary: Vocabulary, phrases: Sequence[Sequence[int]], evidence: Evidence, prompts: PromptSet
) -> Doubts:
    """Look for what is doubtful.

    Args:
        vocabulary: the classes.
        phrases: for each class the indices of its phrases in the evidence.
        evidence: of the frames.
        prompts: the vocabulary's.
    """
    names = vocabulary.names
    presence = [float(evidence.presence[:, list(found)].max()) for found in phrases]
    silent = tuple((name, high) for name, high in zip(names, presence, strict=True) if high < SILENT)
    maps = np.stack([evidence.scores[:, list(found)].max(axis=1) for found in phrases]).astype(np.float32)
    return Doubts(silent, _fights(names, maps.reshape(len(names), -1)), _similar(vocabulary, prompts))


def _fights(names: Sequence[str], maps: np.ndarray) -> tuple[Fight, ...]:
    if len(names) < 2:
        return ()
    order = np.argpartition(maps, -2, axis=0)[-2:]
    second, best = np.take_along_axis(maps, order, 0)
    close = (best >= _SEEN) & (second >= _CLOSE * best)
    pairs = np.sort(order[:, close], axis=0)
    count = np.bincount(pairs[0] * len(names) + pairs[1], minlength=len(names) ** 2) / maps.shape[1]
    top = np.argsort(-count)[:_MOST_PAIRS]
    return tuple(
        Fight(names[pair // len(names)], names[pair % len(names)], float(count[pair]))
        for pair in top.tolist()
        if count[pair] >= _LEAST_SHARE
    )


def _similar(vocabulary: Vocabulary, prompts: PromptSet) -> tuple[Similar, ...]:
    weight = prompts.text_valid[..., None].float()
    pooled = (prompts.text.float() * weight).sum(1) / weight.sum(1).clamp(min=1)
    near = find_neighbors(torch.as_tensor(pooled).cpu(), min(5, max(1, len(prompts) - 1)))
    owner, texts = vocabulary.prompt_classes, vocabulary.prompts
    found = {
        (min(row, other), max(row, other)): similarity
        for row, (others, similarities, valid) in enumerate(
            zip(near.index.tolist(), near.similarity.tolist(), near.valid.tolist(), strict=True)
        )
        for other, similarity, known in zip(others, similarities, valid, strict=True)
        if known and owner[row] != owner[other]
    }
    best = sorted(found, key=lambda pair: -found[pair])[:_MOST_PAIRS]
    return tuple(Similar(texts[one], texts[other], found[one, other]) for one, other in best)
