"""The reference path: SAM 3's prompt heads as transformers has them, for many prompts on one image.

`activesam_ros.model.fused` gives the same results with less work.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from activesam_ros.model.checkpoint import Checkpoint
    from activesam_ros.model.vision_encoder import ImageFeatures


@dataclass(frozen=True)
class PromptTokens:
    """The tokens of a bucket of prompts: tokens float [N, T, D], valid bool [N, T]."""

    tokens: torch.Tensor
    valid: torch.Tensor

    def with_class_token(self, class_token: torch.Tensor) -> PromptTokens:
        """Append an image's class token, [1, 1, D], to every prompt, as SAM 3 does."""
        count = self.tokens.shape[0]
        token = class_token.expand(count, -1, -1).to(self.tokens.dtype)
        valid = self.valid.new_ones(count, token.shape[1])
        return PromptTokens(torch.cat([self.tokens, token], dim=1), torch.cat([self.valid, valid], dim=1))

    def padded(self, step: int) -> PromptTokens:
        """Pad the prompts to the next multiple of `step` tokens."""
        more = -self.tokens.shape[1] % step
        return PromptTokens(F.pad(self.tokens, (0, 0, 0, more)), F.pad(self.valid, (0, more)))

    def filled(self, step: int) -> PromptTokens:
        """Repeat the last prompt up to the next multiple of `step` prompts."""
        more = -len(self.tokens) % step
        return PromptTokens(
            torch.cat([self.tokens, self.tokens[-1:].expand(more, -1, -1)]),
            torch.cat([self.valid, self.valid[-1:].expand(more, -1)]),
        )


@dataclass(frozen=True)
class DecodedPrompt:
    """The model's output for one prompt.

    Attributes:
        presence: probability that the image shows it, float32 [].
        instance_scores: presence × object score of each kept instance, float32 [K].
        instance_logits: mask logits of those, [K, h, w].
        semantic_logits: logits of the semantic head, [h, w].
        instance_boxes: left, top, right and bottom edge of those instances, as shares of the image's width and height,
            float32 [K, 4]; None if they were not asked for.
    """

    presence: torch.Tensor
    instance_scores: torch.Tensor
    instance_logits: torch.Tensor
    semantic_logits: torch.Tensor
    instance_boxes: torch.Tensor | None = None


@dataclass(frozen=True)
class DecodedPrompts:
    """The model's output for N successive prompts, whose R masks lie one after the other.

    Each prompt has the masks of its kept instances, and then that of the semantic head.

    Attributes:
        presence: probability that the image shows each, float32 [N].
        known_presence: the same in the host's memory.
        counts: number of kept instances of each.
        weights: presence × object score of each instance mask, and 1 for each of the semantic head, float32 [R].
        logits: of the masks, [R, h, w].
        boxes: as `DecodedPrompt.instance_boxes`, of all instances, [R - N, 4]; None if they were not asked for.
    """

    presence: torch.Tensor
    known_presence: tuple[float, ...]
    counts: tuple[int, ...]
    weights: torch.Tensor
    logits: torch.Tensor
    boxes: torch.Tensor | None = None

    def rows(self) -> list[slice]:
        """Return the masks of each prompt."""
        ends = list(accumulate(count + 1 for count in self.counts))
        return [slice(*ends) for ends in pairwise([0, *ends])]

    def split(self) -> Iterator[DecodedPrompt]:
        """Yield each prompt; they share memory."""
        for number, rows in enumerate(self.rows()):
            instances = slice(rows.start, rows.stop - 1)
            boxes = slice(rows.start - number, rows.stop - 1 - number)
            yield DecodedPrompt(
                self.presence[number],
                self.weights[instances],
                self.logits[instances],
                self.logits[rows.stop - 1],
                None if self.boxes is None else self.boxes[boxes],
            )


class PromptHeads:
    """Run buckets of prompts on an encoded image with transformers' own modules."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._model = checkpoint.model

    def prepare(self, image: ImageFeatures, masks: bool) -> ImageFeatures:
        """Return the features as they are: nothing is shared among prompts here."""
        return image

    def cells(self, image: ImageFeatures) -> int:
        """Return the number of cells of the coarsest feature map."""
        return image.levels[-1].shape[-2:].numel()

    def presence(self, image: ImageFeatures, prompts: PromptTokens) -> torch.Tensor:
        """Score presence probabilities, float32 [N], without masks."""
        with self._checkpoint.precision():
            prompts = prompts.with_class_token(image.class_token)
            _, decoded = self._transform(image, prompts)
            return _presence(decoded)

    def decode(
        self,
        image: ImageFeatures,
        buckets: Iterable[PromptTokens],
        confidence_threshold: float,
        boxes: bool = False,
    ) -> Iterator[DecodedPrompts]:
        """Decode buckets and yield their prompts in order, one at a time.

        The mask head runs for one prompt at a time, on the instances above the threshold only, so that memory does
        not grow with the bucket; so does the box head, where boxes are asked for.
        """
        for prompts in buckets:
            yield from self._decode(image, prompts, confidence_threshold, boxes)

    def _decode(
        self, image: ImageFeatures, prompts: PromptTokens, confidence_threshold: float, boxes: bool
    ) -> Iterator[DecodedPrompts]:
        with self._checkpoint.precision():
            prompts = prompts.with_class_token(image.class_token)
            encoded, decoded = self._transform(image, prompts)
            last = decoded.intermediate_hidden_states[-1]
            presence = _presence(decoded)
            logits = self._model.dot_product_scoring(last[None], prompts.tokens, prompts.valid)[0, :, :, 0]
            scores = logits.float().sigmoid() * presence[:, None]
        for index in range(len(presence)):
            kept = scores[index] > confidence_threshold
            one = slice(index, index + 1)
            with self._checkpoint.precision():
                masks = self._model.mask_decoder(
                    decoder_queries=last[one, kept],
                    backbone_features=list(image.levels),
                    encoder_hidden_states=encoded[one],
                    prompt_features=prompts.tokens[one],
                    prompt_mask=prompts.valid[one],
                )
                places = None
                if boxes:
                    offsets = self._model.detr_decoder.box_head(last[index, kept])
                    places = refined_boxes(decoded.reference_boxes[-1][index, kept], offsets)
            weights = scores[index, kept]
            yield DecodedPrompts(
                presence[one],
                (float(presence[index]),),
                (len(weights),),
                torch.cat([weights, weights.new_ones(1)]),
                torch.cat([masks.pred_masks[0], masks.semantic_seg[0]]),
                places if places is None else corners(places),
            )

    def _transform(self, image: ImageFeatures, prompts: PromptTokens) -> tuple[torch.Tensor, Any]:
        """Compute the conditioned features and the output of the DETR decoder."""
        count = prompts.tokens.shape[0]
        encoded = self._model.detr_encoder(
            vision_features=[image.levels[-1].expand(count, -1, -1, -1)],
            text_features=prompts.tokens,
            vision_pos_embeds=[image.position.expand(count, -1, -1, -1)],
            text_mask=prompts.valid,
        )
        decoded = self._model.detr_decoder(
            vision_features=encoded.last_hidden_state,
            text_features=prompts.tokens,
            vision_pos_encoding=encoded.pos_embeds_flattened,
            text_mask=prompts.valid,
            spatial_shapes=encoded.spatial_shapes,
        )
        return encoded.last_hidden_state, decoded


def _presence(decoded: Any) -> torch.Tensor:
    return decoded.presence_logits[-1, :, 0].float().sigmoid()


def refined_boxes(boxes: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Move reference boxes in [0, 1], of any form, by the offsets of the box head, which are logits."""
    least = 1e-3
    before = torch.log(boxes.clamp(min=least) / (1 - boxes).clamp(min=least))
    return (offsets + before).sigmoid()


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """Return the left, top, right and bottom edges of boxes given by centre and size, float32 [..., 4]."""
    centre, size = boxes.float().split(2, dim=-1)
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)
