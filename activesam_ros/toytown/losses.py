"""Training losses: dense words-to-pixels pre-training, and SAM 3's presence, semantic and instance losses."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.sam3.modeling_sam3 import box_cxcywh_to_xyxy

from activesam_ros.toytown import CLASSES
from activesam_ros.toytown.examples import THIN, Answer
from activesam_ros.toytown.network import Prediction


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
        """Logits float [images, words, h, w] of the features of one pyramid level."""
        weight = mask[..., None].float()
        word = F.normalize(self.text((text * weight).sum(1) / weight.sum(1)), dim=-1)
        pixel = F.normalize(self.pixels[level](features), dim=1)
        return torch.einsum("bchw,nc->bnhw", pixel, word) * self.scale.exp()

    def loss(self, pyramid: list[Tensor], text: Tensor, mask: Tensor, dense: Tensor) -> Tensor:
        """Cross-entropy over all words, of which the first are the classes; void pixels do not count."""
        total = dense.new_zeros(())
        for level, features in enumerate(pyramid):
            target = dense if features.shape[-1] == dense.shape[-1] else F.avg_pool2d(dense, 2)
            known = target.sum(1)
            log = self.scores(features, level, text, mask).log_softmax(1)[:, : len(CLASSES)]
            weight = known + (target * self.emphasis[None, :, None, None]).sum(1)
            total = total - ((target * log).sum(1) / known.clamp(min=1e-6) * weight).sum() / weight.sum()
        return total / len(pyramid)


def assign(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Assignment of every column (target) to a row of its own at the least total cost.

    Hungarian method with potentials, one augmenting path per target; needs at least as many rows as columns.
    Returns row and column indices.
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
    """Generalised IoU of boxes given by corners; shapes broadcast."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inter
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    return inter / (union + 1e-6) - (hull - union) / (hull + 1e-6)


def _dice(probability: Tensor, target: Tensor) -> Tensor:
    p, t = probability.flatten(1), target.flatten(1)
    return 1 - (2 * (p * t).sum(1) + 1) / ((p * p).sum(1) + (t * t).sum(1) + 1)


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of `prompt_losses`."""

    presence: float = 1.5
    semantic: float = 1.5
    fused: float = 2.0
    absent: float = 0.3
    mask: float = 2.0
    score: float = 1.0
    box: float = 3.0
    overlap: float = 1.0


def prompt_losses(out: Prediction, answers: list[Answer | None], weights: LossWeights) -> dict[str, Tensor]:
    """SAM 3's losses over a batch of prompts.

    Presence is asked of every prompt and decoder layer; boxes and scores of present ones alone, after
    matching object queries to instances; masks of those that have them. ``fused`` is on what the pipeline
    publishes: the best instance mask, weighted by its score, or the semantic mask, whichever is higher. The
    semantic mask learns from cross-entropy alone: it stays a probability, and instances answer for small
    things.
    """
    layers, prompts, queries = out.logits.shape
    per_layer = torch.tensor([0.4] * (layers - 1) + [1.0])
    there = torch.tensor([float(a is not None) for a in answers])
    presence = F.binary_cross_entropy_with_logits(
        out.presence, there.expand(layers, -1), reduction="none"
    ).mean(1)
    result = {"presence": weights.presence * (presence * per_layer).sum()}
    present = [i for i, a in enumerate(answers) if a is not None]
    place = {int(i): at for at, i in enumerate(out.masked)}
    shown = [i for i in present if i in place]
    hidden = [place[i] for i in place if answers[i] is None]
    at = [place[i] for i in shown]
    target = torch.stack([answers[i].semantic for i in shown])
    semantic = out.semantic[at]
    result["semantic"] = weights.semantic * F.binary_cross_entropy_with_logits(semantic, target)
    if hidden:
        result["absent"] = weights.absent * F.softplus(out.semantic[hidden]).mean()
    objects = out.masks[at].sigmoid() * out.logits[-1, shown].sigmoid()[:, :, None, None]
    fused = torch.maximum(objects.amax(1), semantic.detach().sigmoid()).clamp(1e-5, 1 - 1e-5)
    result["fused"] = weights.fused * (F.binary_cross_entropy(fused, target) + _dice(fused, target).mean())
    matched = [i for i in present if len(answers[i].boxes)]
    count = sum(len(answers[i].boxes) for i in matched)
    score = box = overlap = out.boxes.new_zeros(())
    for layer in range(layers):
        with torch.no_grad():
            pairs = []
            for i in matched:
                boxes = answers[i].boxes
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
        truth = torch.cat([answers[i].boxes[columns] for i, (_, columns) in found])
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
    chosen = [(place[i], rows, answers[i].masks[columns]) for i, (rows, columns) in found if i in place]
    if chosen:
        shapes = torch.cat([c[2] for c in chosen])
        masks = torch.cat([out.masks[at, torch.from_numpy(rows)] for at, rows, _ in chosen])
        result["mask"] = weights.mask * (
            F.binary_cross_entropy_with_logits(masks, shapes) + _dice(masks.sigmoid(), shapes).mean()
        )
    result |= {"score": weights.score * score, "box": weights.box * box, "overlap": weights.overlap * overlap}
    return result
