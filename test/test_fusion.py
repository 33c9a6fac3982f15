"""Streaming fusion against the plain arrays that it avoids."""

import pytest
import torch
from torch.nn import functional as F

from activesam_ros.model.prompt_heads import DecodedPrompt
from activesam_ros.stages.fusion import fuse, query_scores

CPU = torch.device("cpu")


def decoded(instances: int, presence: float, seed: int) -> DecodedPrompt:
    generator = torch.Generator().manual_seed(seed)
    return DecodedPrompt(
        presence=torch.tensor(presence),
        instance_scores=torch.rand(instances, generator=generator) * presence,
        instance_logits=torch.randn(instances, 6, 8, generator=generator) * 4,
        semantic_logits=torch.randn(6, 8, generator=generator) * 4,
    )


@pytest.mark.parametrize("instances", [0, 1, 5])
@pytest.mark.parametrize("size", [(6, 8), (24, 20), (1, 1), (3, 50)])
def test_query_scores_equal_the_formula(instances, size):
    query = decoded(instances, 0.7, seed=instances)
    logits = torch.cat([query.instance_logits, query.semantic_logits[None]])
    masks = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0].sigmoid()
    weights = torch.cat([query.instance_scores, torch.ones(1)])
    expected = (masks * weights[:, None, None]).amax(0) * 0.7
    torch.testing.assert_close(query_scores(query, size), expected)


@pytest.mark.parametrize("owners", [[0], [0, 1, 2, 3], [1, 1, 3], [3], [0, 0, 0], [0, 1], [2, 3, 3]])
def test_streamed_winner_equals_the_full_array(owners):
    classes = 4
    generator = torch.Generator().manual_seed(len(owners))
    planes = torch.rand(len(owners), 5, 7, generator=generator).round(decimals=1)
    full = torch.zeros(classes, 5, 7)
    for owner, plane in zip(owners, planes, strict=True):
        full[owner] = torch.maximum(full[owner], plane)
    top = fuse(zip(owners, planes, strict=True), classes, (5, 7), CPU)
    best, second = full.sort(dim=0, descending=True).values[:2]
    torch.testing.assert_close(top.best, best)
    torch.testing.assert_close(top.second, second)
    first_winner = (full == best).to(torch.uint8).argmax(0)
    assert torch.equal(top.index.long(), first_winner)


def test_one_class_has_no_runner_up():
    plane = torch.rand(3, 3)
    top = fuse([(0, plane)], 1, (3, 3), CPU)
    assert torch.equal(top.best, plane)
    assert torch.count_nonzero(top.second) == 0
    assert torch.count_nonzero(top.index) == 0
