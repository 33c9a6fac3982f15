"""Fusion, calibration and labels against the plain arrays and formulas."""

import math
import weakref

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from activesam_ros.model.prompt_heads import DecodedPrompts
from activesam_ros.settings import SegmenterSettings
from activesam_ros.stages import fusion as fusion_module
from activesam_ros.stages import tiled_fusion
from activesam_ros.stages.calibration import TopClasses, background_mask, label_pixels, lowest_confidence
from activesam_ros.stages.fusion import ClassFusion, class_fusion
from activesam_ros.stages.tiled_fusion import TiledFusion
from activesam_ros.vocabulary import Vocabulary

CPU = torch.device("cpu")


def fuse(planes, size) -> TopClasses:
    fusion = ClassFusion(size, CPU)
    for index, plane in planes:
        fusion.add_scores(index, plane)
    return fusion.finish()


def decoded(instances: int, presence: float, seed: int, cells=(6, 8)) -> DecodedPrompts:
    generator = torch.Generator().manual_seed(seed)
    return DecodedPrompts(
        presence=torch.tensor([presence]),
        known_presence=(presence,),
        counts=(instances,),
        weights=torch.cat([torch.rand(instances, generator=generator) * presence, torch.ones(1)]),
        logits=torch.randn(instances + 1, *cells, generator=generator) * 4,
    )


def together(prompts: list[DecodedPrompts]) -> DecodedPrompts:
    """Several prompts whose masks lie one after the other."""
    return DecodedPrompts(
        torch.cat([one.presence for one in prompts]),
        tuple(one.known_presence[0] for one in prompts),
        tuple(one.counts[0] for one in prompts),
        torch.cat([one.weights for one in prompts]),
        torch.cat([one.logits for one in prompts]),
    )


def written_out(prompt: DecodedPrompts, size) -> torch.Tensor:
    """The score of every pixel by the formula."""
    masks = F.interpolate(prompt.logits[None], size=size, mode="bilinear", align_corners=False)[0].sigmoid()
    return (masks * prompt.weights[:, None, None]).amax(0) * prompt.presence


@pytest.mark.parametrize("instances", [0, 1, 5])
@pytest.mark.parametrize("size", [(6, 8), (24, 20), (1, 1), (3, 50)])
def test_prompt_scores_equal_the_formula(instances, size, monkeypatch):
    # A few masks at a time.
    monkeypatch.setattr(fusion_module, "_SERIAL_BATCH_PIXELS", 2 * size[0] * size[1])
    prompt = decoded(instances, 0.7, seed=instances)
    for fusion in (ClassFusion(size, CPU), TiledFusion(size, SegmenterSettings())):
        fusion.add([0], prompt)
        torch.testing.assert_close(fusion.finish().best, written_out(prompt, size), rtol=0, atol=3e-7)


@pytest.mark.parametrize("masks", [1, 3, 7, 100])
def test_prompts_may_come_together(masks, monkeypatch):
    """However many masks are in memory at once, and whichever prompts come in one piece."""
    size, owners = (24, 20), [0, 1, 1, 3]
    monkeypatch.setattr(fusion_module, "_SERIAL_BATCH_PIXELS", masks * size[0] * size[1])
    prompts = [decoded(count, 0.8, count) for count in (5, 0, 2, 1)]
    for kind in (lambda: ClassFusion(size, CPU), lambda: TiledFusion(size, SegmenterSettings())):
        alone, joined = kind(), kind()
        for owner, prompt in zip(owners, prompts, strict=True):
            alone.add([owner], prompt)
        joined.add(owners, together(prompts))
        for one, other in zip(vars(alone.finish()).values(), vars(joined.finish()).values(), strict=True):
            # How torch rounds a resize depends on the number of maps.
            torch.testing.assert_close(one, other, rtol=0, atol=3e-7)
    assert [len(one.instance_scores) for one in together(prompts).split()] == [5, 0, 2, 1]


@pytest.mark.parametrize("masks", [1, 3, 7, 100])
def test_all_masks_at_once_as_on_a_gpu(masks, monkeypatch):
    """Of equal scores the first class wins, and classes with the score 0 do not."""
    size, owners = (24, 20), [1, 2, 2, 4, 5]
    monkeypatch.setattr(fusion_module, "_SERIAL_BATCH_PIXELS", masks * size[0] * size[1])
    prompts = [decoded(count, 0.8, count) for count in (5, 0, 2, 3)]
    prompts.append(decoded(1, 0.0, 7))
    one, other = ClassFusion(size, CPU, second=False), ClassFusion(size, CPU, second=False)
    other._at_once = True
    for fusion in (one, other):
        fusion.add(owners[:2], together(prompts[:2]))
        fusion.add(owners[2:], together(prompts[2:]))
    expected, found = one.finish(), other.finish()
    torch.testing.assert_close(found.best, expected.best, rtol=0, atol=3e-7)
    assert torch.equal(found.index, expected.index)
    assert set(found.index.unique().tolist()) > {1, 2}
    for prompt, winner in ((prompts[-1], 0), (decoded(0, 0.5, 1), 3)):
        prompt.logits.fill_(0.5)
        equal = ClassFusion(size, CPU, second=False)
        equal._at_once = True
        equal.add([3, 4], together([prompt, prompt]))
        assert equal.finish().index.unique().tolist() == [winner]


def objects(seed: int, count: int = 4, cells=(36, 40)) -> DecodedPrompts:
    """Small objects in front of nothing, which most tiles can leave out."""
    prompt = decoded(count, 0.9, seed, cells)
    for index, logits in enumerate(prompt.logits):
        logits -= 12
        row, column = (seed * 7 + index * 5) % (cells[0] - 6), (seed * 11 + index * 9) % (cells[1] - 7)
        logits[row : row + 6, column : column + 7] += 16
    return prompt


def ground(cells) -> DecodedPrompts:
    """A class that is everywhere."""
    prompt = decoded(2, 1.0, 0, cells)
    prompt.logits[-1].abs_().add_(2)
    return prompt


def check_tiles(size, prompts: list[tuple[int, DecodedPrompts]]) -> None:
    """Labels and confidence of tiles are those of the formula."""
    owners = [owner for owner, _ in prompts]
    planes = torch.zeros(max(owners) + 2, *size)
    for owner, prompt in prompts:
        planes[owner] = torch.maximum(planes[owner], written_out(prompt, size))
    best, second = planes.sort(dim=0, descending=True).values[:2]
    words = Vocabulary.from_names([f"class {index}" for index in range(len(planes))])
    for threshold in (0, 0.2, 0.5, 0.9):
        settings = SegmenterSettings(background_threshold=threshold)
        fusion = TiledFusion(size, settings)
        for owner, prompt in prompts:
            fusion.add([owner], prompt)
        labels, confidence = label_pixels(fusion.finish(), words, settings)
        whole = TopClasses(best.clone(), second, planes.argmax(0).int())
        expected, expected_confidence = label_pixels(whole, words, settings)
        # Where the best two, or the score and the threshold, are within rounding, either is right.
        margin = best * (best - second).sqrt() - lowest_confidence(settings)
        close = ((best - second < 1e-6) | (margin.abs() < 1e-4)).numpy()
        assert np.array_equal(labels[~close], expected[~close])
        np.testing.assert_allclose(confidence[~close], expected_confidence[~close], atol=2e-6)
        assert close.mean() < 0.01 + 2 / close.size


@pytest.mark.parametrize("size", [(240, 320), (300, 333), (37, 500), (20, 30), (1, 1)])
@pytest.mark.parametrize("waiting", [2**25, 1], ids=["together", "one after the other"])
def test_what_tiles_leave_out_changes_nothing(size, waiting, monkeypatch):
    monkeypatch.setattr(tiled_fusion, "_WAITING_CELLS", waiting)
    owners = [1, 1, 2, 4, 5, 5, 7]
    prompts = [decoded(6, 0.3, 100, (36, 40)), *(objects(seed) for seed in range(6))]
    check_tiles(size, list(zip(owners, prompts, strict=True)))


def test_tiles_of_any_maps():
    """Many instances, masks of one cell, maps larger than the image, logits that are flat or extreme."""
    check_tiles((200, 300), [(0, decoded(200, 1.0, 1)), (1, decoded(1, 0.9, 2))])
    check_tiles((200, 300), [(0, decoded(3, 1.0, 1, (1, 1))), (2, decoded(2, 0.9, 2, (1, 1)))])
    check_tiles((60, 90), [(0, decoded(2, 0.9, 3, (288, 100))), (3, objects(5, cells=(288, 100)))])
    flat, extreme = decoded(2, 0.8, 3), decoded(2, 0.9, 4)
    flat.logits.fill_(0.5)
    extreme.logits.mul_(20)
    check_tiles((150, 170), [(0, flat), (1, extreme)])


@pytest.mark.parametrize("seed", range(8))
def test_tiles_of_random_prompts(seed):
    generator = np.random.default_rng(seed)
    size = tuple(map(int, generator.integers(1, 260, 2)))
    cells = tuple(map(int, generator.integers(1, 60, 2)))
    owners = sorted(map(int, generator.integers(0, 6, 7)))
    presence = generator.random(len(owners))
    prompts = [
        decoded(int(generator.integers(0, 5)), float(one), seed * 10 + index, cells)
        for index, one in enumerate(presence)
    ]
    check_tiles(size, list(zip(owners, prompts, strict=True)))


def elements(call) -> tuple[int, int]:
    """Count the elements that torch computes on the way, and the largest tensor that it makes."""
    computed, largest = 0, 0

    class Counted(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, arguments=(), named=None):
            nonlocal computed, largest
            out = operation(*arguments, **(named or {}))
            if isinstance(out, torch.Tensor):
                computed += out.numel() if operation is torch.ops.aten.sigmoid_.default else 0
                largest = max(largest, out.untyped_storage().nbytes() // out.element_size())
            return out

    with Counted():
        call()
    return computed, largest


@pytest.mark.parametrize(("threshold", "most"), [(0, 0.08), (0.4, 0.15)])
def test_most_of_the_image_is_left_out(threshold, most):
    """Pixels that are resized, of seven prompts with three or five maps each."""
    size = (1080, 1920)
    prompts = [ground((36, 40)), *(objects(seed) for seed in range(6))]
    fusion = TiledFusion(size, SegmenterSettings(background_threshold=threshold))
    for owner, prompt in enumerate(prompts):
        fusion.add([owner], prompt)
    computed, _ = elements(fusion.finish)
    assert computed < most * (3 + 6 * 5) * size[0] * size[1]


def test_memory_of_many_instances_is_bounded():
    """200 instances in a 4K image: no tensor is larger than the image, which one mask would be already."""
    size = (2160, 3840)
    fusion = TiledFusion(size, SegmenterSettings(background_threshold=0.4))
    prompts = (ground((288, 288)), objects(1, 200, (288, 288)))

    def fuse():
        for index, prompt in enumerate(prompts):
            fusion.add([index], prompt)
        fusion.finish()

    _, largest = elements(fuse)
    assert largest <= max(size[0] * size[1], 201 * 288 * 288)


def test_maps_wait_within_a_limit(monkeypatch):
    monkeypatch.setattr(tiled_fusion, "_WAITING_CELLS", 3 * 5 * 36 * 40)
    fusion = TiledFusion((240, 320), SegmenterSettings())
    prompts = [weakref.ref(prompt) for prompt in (add_objects(fusion, seed) for seed in range(12))]
    assert sum(prompt() is not None for prompt in prompts) <= 4


def add_objects(fusion: TiledFusion, seed: int) -> torch.Tensor:
    prompt = objects(seed)
    fusion.add([seed], prompt)
    return prompt.logits


@pytest.mark.parametrize(("where", "index"), [("logits", 0), ("logits", -1), ("weights", 0), ("presence", 0)])
@pytest.mark.parametrize("threshold", [0, 0.9])
def test_what_is_not_a_number_is_found(where, index, threshold):
    prompt = objects(3)
    getattr(prompt, where)[index] = math.nan
    settings = SegmenterSettings(background_threshold=threshold)
    for fusion in (ClassFusion((240, 320), CPU, second=False), TiledFusion((240, 320), settings)):
        fusion.add([0], decoded(1, 1.0, 0, (36, 40)))
        fusion.add([1], prompt)
        assert fusion.finish().best.isnan().any()


def test_large_images_are_fused_in_tiles_on_a_cpu():
    settings = SegmenterSettings()
    assert isinstance(class_fusion((1080, 1920), CPU, settings), TiledFusion)
    assert isinstance(class_fusion((240, 320), CPU, settings), ClassFusion)
    assert isinstance(class_fusion((1080, 1920), torch.device("meta"), settings), ClassFusion)


@pytest.mark.parametrize("owners", [[0], [0, 1, 2, 3], [1, 1, 3], [3], [0, 0, 0], [0, 1], [2, 3, 3]])
def test_streamed_winner_equals_the_full_array(owners):
    classes = 4
    generator = torch.Generator().manual_seed(len(owners))
    planes = torch.rand(len(owners), 5, 7, generator=generator).round(decimals=1)
    full = torch.zeros(classes, 5, 7)
    for owner, plane in zip(owners, planes, strict=True):
        full[owner] = torch.maximum(full[owner], plane)
    top = fuse(zip(owners, planes, strict=True), (5, 7))
    best, second = full.sort(dim=0, descending=True).values[:2]
    torch.testing.assert_close(top.best, best)
    torch.testing.assert_close(top.second, second)
    first_winner = (full == best).to(torch.uint8).argmax(0)
    assert torch.equal(top.index.long(), first_winner)


def test_one_class_has_no_runner_up():
    plane = torch.rand(3, 3)
    top = fuse([(0, plane)], (3, 3))
    assert torch.equal(top.best, plane)
    assert torch.count_nonzero(top.second) == 0
    assert torch.count_nonzero(top.index) == 0


@pytest.mark.parametrize(
    ("best", "second", "threshold", "taken"),
    [
        (0.9, 0.0, 0.4, False),
        (0.9, 0.89, 0.4, True),  # 0.9·√0.01 = 0.09 < 0.4^1.25 = 0.318
        (0.5, 0.0, 0.4, False),  # 0.5·√0.5 = 0.354
        (0.45, 0.0, 0.4, True),  # 0.45·√0.45 = 0.302
        (0.0, 0.0, 0.1, True),
        (0.0, 0.0, 0.0, False),
    ],
)
def test_hand_computed_pixels(best, second, threshold, taken):
    least = lowest_confidence(SegmenterSettings(background_threshold=threshold, margin_exponent=1.25))
    mask = background_mask(torch.tensor([[best]]), torch.tensor([[second]]), least)
    assert mask.shape == (1, 1)
    assert mask.item() is taken


def top():
    """The middle pixel's winner is close to the runner-up."""
    return fuse([(0, torch.tensor([[0.9, 0.5, 0.1]])), (1, torch.tensor([[0.1, 0.4999, 0.8]]))], (1, 3))


def test_ids_of_the_vocabulary():
    words = Vocabulary.from_names(["a", "b"]).updated(["c", "b"])
    labels, confidence = label_pixels(top(), words, SegmenterSettings())
    assert labels.dtype == np.uint8 and labels.tolist() == [[2, 2, 1]]
    assert confidence.dtype == np.float32
    np.testing.assert_allclose(confidence, [[0.9, 0.5, 0.8]])


def test_what_the_calibration_takes():
    for background, taken in ((None, 255), ("b", 1)):
        words = Vocabulary.from_names(["a", "b"], background=background)
        labels, confidence = label_pixels(top(), words, SegmenterSettings(background_threshold=0.3))
        assert labels.tolist() == [[0, taken, 1]]
        np.testing.assert_allclose(confidence, [[0.9, 0, 0.8]])


def test_large_ids_need_16_bits():
    words = Vocabulary.from_names([f"word {index}" for index in range(300)])
    labels, _ = label_pixels(top(), words, SegmenterSettings(background_threshold=0.3))
    assert labels.dtype == np.uint16 and labels.tolist() == [[0, 65535, 1]]
