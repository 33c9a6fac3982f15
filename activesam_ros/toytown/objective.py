"""The objective of a training step: its plan, its examples and SAM 3's presence, semantic and instance losses.

Dense pre-training scores every pixel against every prompt; it helps the image and text encoders to agree.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Sam3Model
from transformers.models.sam3.modeling_sam3 import box_cxcywh_to_xyxy

from activesam_ros.toytown import CLASSES
from activesam_ros.toytown.examples import THIN, Batch, Sampler, Target
from activesam_ros.toytown.network import (
    IMAGE_SIZE,
    PREVIEW_SIZE,
    Prediction,
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


class DenseHead(nn.Module):
    """Scores pixel features against pooled text features; used in training only."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.pixels = nn.ModuleList([nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)])
        self.text = nn.Linear(width, width)
        self.scale = nn.Parameter(torch.tensor(2.3))
        thin = torch.zeros(len(CLASSES))
        thin[list(THIN)] = 3.0
        self.register_buffer("emphasis", thin, persistent=False)

    def scores(self, features: Tensor, level: int, text: Tensor, mask: Tensor) -> Tensor:
        """Return logits float [images, prompts, h, w] for the features of one pyramid level."""
        weight = mask[..., None].float()
        prompt = F.normalize(self.text((text * weight).sum(1) / weight.sum(1)), dim=-1)
        pixel = F.normalize(self.pixels[level](features), dim=1)
        return torch.einsum("bchw,nc->bnhw", pixel, prompt) * self.scale.exp()

    def loss(self, pyramid: list[Tensor], text: Tensor, mask: Tensor, dense: Tensor) -> Tensor:
        """Return the cross-entropy over all prompts, the classes first; void pixels do not count."""
        total = dense.new_zeros(())
        for level, features in enumerate(pyramid):
            target = dense if features.shape[-1] == dense.shape[-1] else F.avg_pool2d(dense, 2)
            known = target.sum(1)
            log = self.scores(features, level, text, mask).log_softmax(1)[:, : len(CLASSES)]
            weight = known + (target * self.emphasis[None, :, None, None]).sum(1)
            total = total - ((target * log).sum(1) / known.clamp(min=1e-6) * weight).sum() / weight.sum()
        return total / len(pyramid)


def assign(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Assign every column (target) to a row of its own at the least total cost; return row and column indices.

    Hungarian method with potentials, one augmenting path per target (Kuhn, 1955); needs at least as many rows as
    columns.
    """
    rows, columns = cost.shape
    if columns > rows:
        raise ValueError(f"cannot assign {columns} targets to {rows} queries")
    if columns == 1:
        return np.array([int(cost[:, 0].argmin())]), np.array([0])
    table = cost.T.astype(np.float64)
    row_potential = np.zeros(rows + 1)
    target_potential = np.zeros(columns + 1)
    owner = np.full(rows + 1, -1)
    for target in range(columns):
        owner[rows] = target
        current = rows
        least = np.full(rows, np.inf)
        previous = np.full(rows, rows)
        used = np.zeros(rows + 1, bool)
        while owner[current] != -1:
            used[current] = True
            holder = owner[current]
            reduced = table[holder] - target_potential[holder] - row_potential[:rows]
            better = ~used[:rows] & (reduced < least)
            least[better], previous[better] = reduced[better], current
            candidates = np.where(used[:rows], np.inf, least)
            following = int(candidates.argmin())
            step = candidates[following]
            target_potential[owner[used]] += step
            row_potential[used] -= step
            least[~used[:rows]] -= step
            current = following
        while current != rows:
            owner[current] = owner[previous[current]]
            current = previous[current]
    taken = np.flatnonzero(owner[:rows] >= 0)
    return taken, owner[taken]


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    """Return the generalised IoU (Rezatofighi et al., 2019) of boxes given by corners; shapes broadcast."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inter
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    return inter / (union + 1e-6) - (hull - union) / (hull + 1e-6)


def _dice(probability: Tensor, target: Tensor) -> Tensor:
    p, t = probability.flatten(1), target.flatten(1)
    return 1 - (2 * (p * t).sum(1) + 1) / ((p * p).sum(1) + (t * t).sum(1) + 1)


def _enlarged(logits: Tensor, size: int) -> Tensor:
    """Resize logits [n, h, w] bilinearly, as the segmenter does before it takes their sigmoid; [n, size, size]."""
    return F.interpolate(logits[None], size=(size, size), mode="bilinear", align_corners=False)[0]


def _edge_weights(masks: Tensor, emphasis: float) -> Tensor:
    """Return 1 + ``emphasis`` within two pixels of the edge of masks float [n, H, W], 1 elsewhere."""
    grown, shrunk = F.max_pool2d(masks, 5, 1, 2), -F.max_pool2d(-masks, 5, 1, 2)
    return 1 + emphasis * (grown - shrunk)


def _edge_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean cross-entropy of logits [n, H, W] against masks float [n, H, W]."""
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (entropy * weight).sum() / weight.sum()


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of `prompt_losses`; ``edge`` is what a mask's pixels weigh more at its edge."""

    presence: float = 1.5
    semantic: float = 1.5
    fused: float = 2.0
    absent: float = 0.3
    mask: float = 2.0
    score: float = 1.0
    box: float = 3.0
    overlap: float = 1.0
    edge: float = 5.0


def prompt_losses(out: Prediction, targets: list[Target | None], weights: LossWeights) -> dict[str, Tensor]:
    """Return SAM 3's weighted losses over a batch of prompts.

    Presence counts for every prompt and decoder layer; boxes and scores for present prompts, after matching object
    queries to instances; masks for those that have them. ``fused`` is on nearly what the segmenter returns: the maximum
    of the best instance mask, weighted by its score, and the semantic mask; the segmenter enlarges each mask first,
    this the maximum, which takes a fraction of the memory. Masks are compared at the image's size, with
    more weight at edges. The semantic mask learns from cross-entropy alone, so that it stays a probability; instances
    account for small things.
    """
    layers, prompts, queries = out.logits.shape
    per_layer = torch.tensor([0.4] * (layers - 1) + [1.0])
    there = torch.tensor([float(target is not None) for target in targets])
    presence = F.binary_cross_entropy_with_logits(
        out.presence, there.expand(layers, -1), reduction="none"
    ).mean(1)
    result = {"presence": weights.presence * (presence * per_layer).sum()}
    known = {i: target for i, target in enumerate(targets) if target is not None}
    place = {int(i): at for at, i in enumerate(out.masked)}
    shown = [i for i in known if i in place]
    hidden = [place[i] for i in place if i not in known]
    at = [place[i] for i in shown]
    target = torch.stack([known[i].semantic for i in shown]).float()
    size = target.shape[-1]
    weight = _edge_weights(target, weights.edge)
    semantic = out.semantic[at]
    result["semantic"] = weights.semantic * _edge_entropy(_enlarged(semantic, size), target, weight)
    if hidden:
        result["absent"] = weights.absent * F.softplus(out.semantic[hidden]).mean()
    objects = out.masks[at].sigmoid() * out.logits[-1, shown].sigmoid()[:, :, None, None]
    fused = torch.maximum(objects.amax(1), semantic.detach().sigmoid()).clamp(1e-5, 1 - 1e-5)
    fused = _enlarged(fused.logit(), size)
    result["fused"] = weights.fused * (
        _edge_entropy(fused, target, weight) + _dice(fused.sigmoid(), target).mean()
    )
    matched = [i for i in known if len(known[i].boxes)]
    count = sum(len(known[i].boxes) for i in matched)
    score = box = overlap = out.boxes.new_zeros(())
    for layer in range(layers):
        with torch.no_grad():
            pairs = []
            for i in matched:
                boxes = known[i].boxes
                cost = (
                    5 * torch.cdist(out.boxes[layer, i], boxes, p=1)
                    - 2 * out.logits[layer, i].sigmoid()[:, None]
                    - 2
                    * _overlap(
                        box_cxcywh_to_xyxy(out.boxes[layer, i])[:, None], box_cxcywh_to_xyxy(boxes)[None]
                    )
                )
                pairs.append(assign(cost.numpy()))
        found = list(zip(matched, pairs, strict=True))
        prompt = torch.cat([torch.full((len(rows),), i) for i, (rows, _) in found])
        query = torch.cat([torch.from_numpy(rows) for rows, _ in pairs])
        truth = torch.cat([known[i].boxes[columns] for i, (_, columns) in found])
        guess = out.boxes[layer, prompt, query]
        box = box + per_layer[layer] * (guess - truth).abs().sum(-1).mean()
        overlap = (
            overlap
            + per_layer[layer] * (1 - _overlap(box_cxcywh_to_xyxy(guess), box_cxcywh_to_xyxy(truth))).mean()
        )
        wanted = torch.zeros(prompts, queries)
        wanted[prompt, query] = 1
        logits, wanted = out.logits[layer][matched], wanted[matched]
        entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        miss = torch.where(wanted > 0, 1 - logits.sigmoid(), logits.sigmoid())
        score = (
            score + per_layer[layer] * (entropy * miss**2 * torch.where(wanted > 0, 2.0, 1.0)).sum() / count
        )
    chosen = [(place[i], rows, known[i].masks[columns]) for i, (rows, columns) in found if i in place]
    if chosen:
        shapes = torch.cat([c[2] for c in chosen]).float()
        masks = torch.cat([out.masks[at, torch.from_numpy(rows)] for at, rows, _ in chosen])
        masks = _enlarged(masks, size)
        result["mask"] = weights.mask * (
            _edge_entropy(masks, shapes, _edge_weights(shapes, weights.edge))
            + _dice(masks.sigmoid(), shapes).mean()
        )
    result |= {"score": weights.score * score, "box": weights.box * box, "overlap": weights.overlap * overlap}
    return result


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

    def for_trained_weights(self) -> "TrainSettings":
        """Return the settings that go on from a trained model: no dense pre-training, half the rates."""
        return replace(self, dense_share=0.0, rate=self.rate / 2, matrix_rate=self.matrix_rate / 2)


@dataclass(frozen=True)
class Plan:
    """Configuration of a step, fixed by the seed, the step's number and the training progress."""

    step: int
    stage: int
    size: int
    with_context: bool


def plan(settings: TrainSettings, step: int, progress: float) -> Plan:
    """Return the step's plan at the given progress in 0..1."""
    r = np.random.default_rng([settings.seed, 10, step])
    stage = DENSE if progress < settings.dense_share else PROMPTED
    late = progress >= settings.dense_share + 0.6 * (1 - settings.dense_share)
    size = (
        PREVIEW_SIZE if r.random() < settings.preview_share[int(late and stage == PROMPTED)] else IMAGE_SIZE
    )
    return Plan(step, stage, size, bool(r.random() < settings.context_share[int(size == IMAGE_SIZE)]))


def draw(sampler: Sampler, settings: TrainSettings, chosen: Plan, part: int) -> Batch:
    """Draw the examples of one part of a step; they depend on the seed, the step's number and the part alone."""
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
        """Return the weighted losses of a batch; their sum is to be minimised."""
        set_resolution(self.model, batch.size)
        return self._dense_losses(batch) if chosen.stage == DENSE else self._prompted_losses(batch, chosen)

    def gradient(self, batch: Batch, chosen: Plan) -> dict[str, float]:
        """Add the gradient of a part's losses, as a share of the whole step's, to the gradients so far."""
        losses = self.losses(batch, chosen)
        (sum(losses.values()) / PARTS).backward()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _dense_losses(self, batch: Batch) -> dict[str, Tensor]:
        tokens, mask = pad(batch.vocabulary)
        vision = self.model.vision_encoder(batch.pixels)
        text = text_features(self.model, tokens, mask)
        return {"dense": self.dense_head.loss(list(vision.fpn_hidden_states[:-1]), text, mask, batch.dense)}

    def _prompted_losses(self, batch: Batch, chosen: Plan) -> dict[str, Tensor]:
        model = self.model
        image = image_features(model, batch.pixels)
        vocabulary = pad(batch.vocabulary)
        vocabulary_text = text_features(model, *vocabulary)
        tokens, mask = pad(batch.prompts)
        text = text_features(model, tokens, mask)
        if chosen.with_context:
            context, context_mask = self._context(batch, chosen, *vocabulary, tokens, mask)
            text, mask = torch.cat([text, context], 1), torch.cat([mask, context_mask], 1)
        out = predict(model, image, batch.image_index, text, mask, self._masked(batch, chosen))
        losses = prompt_losses(out, batch.targets, LossWeights())
        dense = self.dense_head.loss(image.pyramid, vocabulary_text, vocabulary[1], batch.dense)
        losses["dense"] = 0.7 * dense
        return losses

    def _masked(self, batch: Batch, chosen: Plan) -> Tensor:
        """Choose the prompts that get masks in this step: most of the present ones and a few absent ones."""
        r = np.random.default_rng([self._seed, 13, chosen.step])
        order = r.permutation(len(batch.targets))
        present = [i for i in order if batch.targets[i] is not None][: 3 * len(batch.pixels)]
        absent = [i for i in order if batch.targets[i] is None][: len(batch.pixels) // 2]
        return torch.tensor(sorted(present + absent), dtype=torch.long)

    def _context(
        self,
        batch: Batch,
        chosen: Plan,
        vocabulary: Tensor,
        vocabulary_mask: Tensor,
        tokens: Tensor,
        mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the prompts' context tokens, as if an image's prompts and some others were the vocabulary."""
        model = self.model
        r = np.random.default_rng([self._seed, 11, chosen.step])
        size = len(vocabulary)
        others = torch.from_numpy(r.permutation(size)[: int(r.integers(3, size))])
        pooled = pooled_embeddings(model, tokens, mask)
        pooled_others = pooled_embeddings(model, vocabulary[others], vocabulary_mask[others])
        hypernyms = torch.zeros(len(tokens), 2, pooled.shape[-1])
        hypernym_mask = torch.zeros(len(tokens), 2).bool()
        flat = [
            (row, column, ids)
            for row, found in enumerate(batch.hypernyms)
            for column, ids in enumerate(found[:2])
        ]
        if flat:
            rows, columns = torch.tensor([f[0] for f in flat]), torch.tensor([f[1] for f in flat])
            hypernyms[rows, columns] = pooled_embeddings(model, *pad([f[2] for f in flat]))
            hypernym_mask[rows, columns] = True
        none = torch.zeros(len(others), 2, pooled.shape[-1])
        no_mask = torch.zeros(len(others), 2).bool()
        contexts, masks = [], []
        for index in range(len(batch.pixels)):
            own = (batch.image_index == index).nonzero()[:, 0]
            context, context_mask = context_tokens(
                model,
                torch.cat([pooled[own], pooled_others]),
                torch.cat([hypernyms[own], none]),
                torch.cat([hypernym_mask[own], no_mask]),
            )
            contexts.append(context[: len(own)])
            masks.append(context_mask[: len(own)])
        return torch.cat(contexts), torch.cat(masks)
