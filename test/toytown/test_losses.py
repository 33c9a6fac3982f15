"""Matching and losses."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from activesam_ros.toytown.examples import Answer
from activesam_ros.toytown.losses import LossWeights, assign, prompt_losses
from activesam_ros.toytown.network import Prediction


@pytest.mark.parametrize("targets", [1, 2, 3, 4])
def test_assignment_is_the_cheapest(targets):
    r = np.random.default_rng(targets)
    for _ in range(40):
        cost = r.normal(size=(6, targets))
        rows, columns = assign(cost)
        assert len(set(rows)) == targets and sorted(columns) == list(range(targets))
        cheapest = min(sum(cost[row, t] for t, row in enumerate(p)) for p in permutations(range(6), targets))
        assert cost[rows, columns].sum() == pytest.approx(cheapest)


def test_more_targets_than_queries_are_refused():
    with pytest.raises(ValueError, match="3 targets to 2 queries"):
        assign(np.zeros((2, 3)))


def _prediction(sure: float) -> Prediction:
    """One present prompt (a left-half mask) and one absent, answered right with the given certainty."""
    logits = torch.full((1, 2, 3), -sure)
    logits[0, 0, 1] = sure
    boxes = torch.full((1, 2, 3, 4), 0.9)
    boxes[0, 0, 1] = torch.tensor([0.25, 0.5, 0.5, 1.0])
    half = torch.full((4, 4), -sure)
    half[:, :2] = sure
    masks = torch.full((2, 3, 4, 4), -sure)
    masks[0, 1] = half
    semantic = torch.stack([half, torch.full((4, 4), -sure)])
    return Prediction(boxes, logits, torch.tensor([[sure, -sure]]), torch.arange(2), semantic, masks)


def test_a_right_answer_costs_nothing_and_a_wrong_one_much():
    mask = torch.zeros(4, 4)
    mask[:, :2] = 1
    answers = [Answer(mask, torch.tensor([[0.25, 0.5, 0.5, 1.0]]), mask[None]), None]
    right = prompt_losses(_prediction(12.0), answers, LossWeights())
    assert sum(right.values()).item() < 1e-2
    swapped = [None, answers[0]]
    wrong = prompt_losses(_prediction(12.0), swapped, LossWeights())
    for name in ("presence", "semantic", "fused", "score", "mask", "box"):
        assert wrong[name] > right[name] + 0.5, name
