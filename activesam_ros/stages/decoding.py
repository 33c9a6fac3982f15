"""From an encoded image and prompts to presence and class planes, bucket by bucket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from activesam_ros.model.fused.heads import FusedPromptHeads, PreparedImage
from activesam_ros.model.prompt_heads import PromptHeads, PromptTokens
from activesam_ros.results import EMPTY_SCHEDULE, PreviewSchedule
from activesam_ros.stages.fusion import query_scores
from activesam_ros.stages.temporal_reuse import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from activesam_ros.model.vision_encoder import ImageFeatures
    from activesam_ros.prompts.prompt_set import PromptSet
    from activesam_ros.results import SegmentationResult
    from activesam_ros.stages.timing import StageTimer

Heads = PromptHeads | FusedPromptHeads


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An image that waits for its active prompts to be decoded.

    Attributes:
        features: what the heads share of it at full resolution; the images of a batch share memory, which is free
            when all are dropped.
        size: height and width of the image in pixels.
        prompts: what was asked of it.
        preview: presence of what `plan.schedule` asked, float32 [Q], NaN for other queries; None: nothing was asked.
        active: indices of the queries to decode, ascending.
        timings: seconds per stage so far ("prepare", "preview", "encode") and "total"; those of a batch are shared
            out evenly.
        plan: what was asked of it, in the light of the frames before; None: nothing.
        selected: indices of the queries that presence selected, ascending; the others of `active` stay for their past.
    """

    features: ImageFeatures | PreparedImage
    size: tuple[int, int]
    prompts: PromptSet
    preview: torch.Tensor | None
    active: tuple[int, ...]
    timings: Mapping[str, float]
    plan: Plan | None = None
    selected: tuple[int, ...] = ()

    @property
    def schedule(self) -> PreviewSchedule:
        """What was asked before the active set was known."""
        return EMPTY_SCHEDULE if self.plan is None else self.plan.schedule

    def remember(self, result: SegmentationResult) -> None:
        """Tells the memory of its stream, if it has one, what came out."""
        if self.plan is not None:
            decoded = dict(zip(result.active_prompts, result.prompt_presence, strict=True))
            self.plan.keep(result.preview_presence, self.selected, decoded)


def ask_presence(
    heads: Heads,
    image: ImageFeatures | PreparedImage,
    prompts: PromptSet,
    bucket_size: int,
    queries: Sequence[int] | None = None,
) -> torch.Tensor:
    """Presence of the queries, float32 [len(queries)], None: of all; `image` is what the heads share of it."""
    if queries is None:
        queries = range(len(prompts))
    return torch.cat(
        [
            heads.presence(image, PromptTokens(prompts.text[bucket], prompts.text_valid[bucket]))
            for bucket in _buckets(queries, bucket_size)
        ]
    )


def decode_planes(
    heads: Heads,
    encoded: EncodedImage,
    bucket_size: int,
    confidence_threshold: float,
    presence: dict[int, float],
    clock: StageTimer,
    instances: dict[int, int] | None = None,
) -> Iterator[tuple[int, torch.Tensor]]:
    """Decodes the active queries and yields (class index, scores [H, W]) of each.

    Fills `presence` with the presence of each query on the way, and `instances` with the number of its instance
    masks, and charges the model's part to "decode".
    """
    prompts = encoded.prompts
    owner = prompts.vocabulary.prompt_classes
    for bucket in _buckets(encoded.active, bucket_size):
        tokens = PromptTokens(
            torch.cat([prompts.text[bucket], prompts.context.tokens[bucket]], dim=1),
            torch.cat([prompts.text_valid[bucket], prompts.context.valid[bucket]], dim=1),
        )
        decoded = heads.decode(encoded.features, tokens, confidence_threshold)
        for query in bucket:
            with clock.timed("decode"):
                answer = next(decoded)
                presence[query] = float(answer.presence)
            if instances is not None:
                instances[query] = len(answer.instance_scores)
            yield owner[query], query_scores(answer, encoded.size)


def _buckets(queries: Sequence[int], size: int) -> list[list[int]]:
    """Cuts the queries, in order, into the fewest buckets of at most `size`, as equal in size as can be."""
    count = -(-len(queries) // size)
    bounds = [len(queries) * bucket // count for bucket in range(count)] + [len(queries)]
    return [list(queries[slice(*pair)]) for pair in zip(bounds, bounds[1:], strict=False)]
