"""What one training step asks of the network: its plan, its examples and its losses."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Sam3Model

from activesam_ros.toytown.examples import Batch, Sampler
from activesam_ros.toytown.losses import DenseHead, LossWeights, prompt_losses
from activesam_ros.toytown.network import (
    IMAGE_SIZE,
    PREVIEW_SIZE,
    context_tokens,
    image_features,
    pad,
    pooled_embeddings,
    predict,
    set_resolution,
    text_features,
)

PARTS = 2
"""A step's examples are drawn and its gradient is summed in this many parts, one process each at most."""
DENSE, PROMPTED = 0, 1


@dataclass(frozen=True)
class TrainSettings:
    """How to train. Either ``minutes`` of training time or a number of ``steps`` is the goal.

    ``dense_share`` is the share of the goal spent on dense pre-training; ``matrix_rate`` is Muon's learning
    rate for the weight matrices of the layers, ``rate`` AdamW's for all else. ``preview_share`` gives the
    share of steps at preview size in the first 60 % and in the rest of the second stage, ``context_share``
    that of steps with context tokens at preview and at full size. A step's images come in two parts.
    """

    minutes: float | None = 90.0
    steps: int | None = None
    seed: int = 0
    dense_share: float = 0.11
    dense_images: int = 14
    images: int = 8
    rate: float = 1.2e-3
    dense_matrix_rate: float = 8e-3
    matrix_rate: float = 5e-3
    preview_share: tuple[float, float] = (0.65, 0.35)
    context_share: tuple[float, float] = (0.06, 0.75)
    average: float = 0.998
    save_every_seconds: float = 180.0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("give either minutes or steps as the goal of training, not both and not neither")
        if (self.minutes or self.steps or 0) <= 0:
            raise ValueError("the goal of training must be above 0 minutes or steps")


@dataclass(frozen=True)
class Plan:
    """What a step does: fixed by the seed, the step's number and how far training had come."""

    step: int
    stage: int
    size: int
    with_context: bool


def plan(settings: TrainSettings, step: int, progress: float) -> Plan:
    """The step's plan at the given progress in 0..1."""
    r = np.random.default_rng([settings.seed, 10, step])
    stage = DENSE if progress < settings.dense_share else PROMPTED
    late = progress >= settings.dense_share + 0.6 * (1 - settings.dense_share)
    size = (
        PREVIEW_SIZE if r.random() < settings.preview_share[int(late and stage == PROMPTED)] else IMAGE_SIZE
    )
    return Plan(step, stage, size, bool(r.random() < settings.context_share[int(size == IMAGE_SIZE)]))


def draw(sampler: Sampler, settings: TrainSettings, chosen: Plan, part: int) -> Batch:
    """The examples of one part of a step; they depend on the seed, the step's number and the part alone."""
    r = np.random.default_rng([settings.seed, 12, chosen.step, part])
    if chosen.stage == DENSE:
        return sampler.dense(r, settings.dense_images // PARTS, chosen.size)
    return sampler.prompted(r, settings.images // PARTS, chosen.size)


class Objective(nn.Module):
    """The network with the head that dense pre-training adds, and the losses of a step."""

    def __init__(self, model: Sam3Model, seed: int) -> None:
        super().__init__()
        self.model, self.dense_head, self._seed = model, DenseHead(), seed

    def losses(self, batch: Batch, chosen: Plan) -> dict[str, Tensor]:
        """Weighted losses of a batch; their sum is to be minimised."""
        set_resolution(self.model, batch.size)
        return self._dense_losses(batch) if chosen.stage == DENSE else self._prompted_losses(batch, chosen)

    def gradient(self, batch: Batch, chosen: Plan) -> dict[str, float]:
        """Add the gradient of a part's losses, as a share of the whole step's, to the gradients so far."""
        losses = self.losses(batch, chosen)
        (sum(losses.values()) / PARTS).backward()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _dense_losses(self, batch: Batch) -> dict[str, Tensor]:
        tokens, mask = pad(batch.words)
        vision = self.model.vision_encoder(batch.pixels)
        text = text_features(self.model, tokens, mask)
        return {"dense": self.dense_head.loss(list(vision.fpn_hidden_states[:-1]), text, mask, batch.dense)}

    def _prompted_losses(self, batch: Batch, chosen: Plan) -> dict[str, Tensor]:
        model = self.model
        image = image_features(model, batch.pixels)
        words, words_mask = pad(batch.words)
        word_text = text_features(model, words, words_mask)
        tokens, mask = pad(batch.prompts)
        text = text_features(model, tokens, mask)
        if chosen.with_context:
            context, context_mask = self._context(batch, chosen, words, words_mask, tokens, mask)
            text, mask = torch.cat([text, context], 1), torch.cat([mask, context_mask], 1)
        out = predict(model, image, batch.image_index, text, mask, self._masked(batch, chosen))
        losses = prompt_losses(out, batch.answers, LossWeights())
        losses["dense"] = 0.7 * self.dense_head.loss(image.pyramid, word_text, words_mask, batch.dense)
        return losses

    def _masked(self, batch: Batch, chosen: Plan) -> Tensor:
        """Prompts that get masks in this step: most of the present ones and a few absent ones."""
        r = np.random.default_rng([self._seed, 13, chosen.step])
        order = r.permutation(len(batch.answers))
        present = [i for i in order if batch.answers[i] is not None][: 3 * len(batch.pixels)]
        absent = [i for i in order if batch.answers[i] is None][: len(batch.pixels) // 2]
        return torch.tensor(sorted(present + absent), dtype=torch.long)

    def _context(
        self, batch: Batch, chosen: Plan, words: Tensor, words_mask: Tensor, tokens: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Context tokens of the prompts; an image's prompts and some other words are the vocabulary."""
        model = self.model
        r = np.random.default_rng([self._seed, 11, chosen.step])
        others = torch.from_numpy(r.permutation(len(words))[: int(r.integers(3, len(words)))])
        pooled = pooled_embeddings(model, tokens, mask)
        pooled_words = pooled_embeddings(model, words[others], words_mask[others])
        hypernyms, hypernym_mask = (
            torch.zeros(len(tokens), 2, pooled.shape[-1]),
            torch.zeros(len(tokens), 2).bool(),
        )
        flat = [
            (row, column, ids)
            for row, found in enumerate(batch.hypernyms)
            for column, ids in enumerate(found[:2])
        ]
        if flat:
            rows, columns = torch.tensor([f[0] for f in flat]), torch.tensor([f[1] for f in flat])
            hypernyms[rows, columns] = pooled_embeddings(model, *pad([f[2] for f in flat]))
            hypernym_mask[rows, columns] = True
        made = []
        for index in range(len(batch.pixels)):
            own = (batch.image_index == index).nonzero()[:, 0]
            count = len(own)
            room = torch.zeros(len(others), 2, pooled.shape[-1])
            context, context_mask = context_tokens(
                model,
                torch.cat([pooled[own], pooled_words]),
                torch.cat([hypernyms[own], room]),
                torch.cat([hypernym_mask[own], torch.zeros(len(others), 2).bool()]),
            )
            made.append((context[:count], context_mask[:count]))
        return torch.cat([m[0] for m in made]), torch.cat([m[1] for m in made])
