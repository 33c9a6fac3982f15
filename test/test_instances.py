"""Instances: equal to transformers' own, each thing once, and an id image that agrees with the labels."""

import json
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers_instances import reference, require_equal

from activesam_ros.errors import ActiveSamError
from activesam_ros.instances import MAX_INSTANCES, Instance, draw_ids
from activesam_ros.model.prompt_heads import DecodedPrompt
from activesam_ros.segmenter import ActiveSegmenter, SegmenterSettings
from activesam_ros.stages import instances as collecting
from activesam_ros.stages.instances import InstanceCollector, without_doubles
from activesam_ros.toytown import DEMO_CLASSES
from activesam_ros.toytown.world import World
from activesam_ros.vocabulary import Vocabulary

WORDS = Vocabulary.from_names(["car, automobile", "person"])


@pytest.fixture(scope="module")
def street():
    """A rendered street, uint8 [240, 320, 3]."""
    return World(900_123).render(4.0).rgb


@pytest.fixture(scope="module")
def toytown(toytown_checkpoint):
    segmenter = ActiveSegmenter(
        toytown_checkpoint, SegmenterSettings(background_threshold=0.4), prompt_cache=None
    )
    segmenter.set_vocabulary(Vocabulary.from_names(DEMO_CLASSES))
    return segmenter


@pytest.mark.parametrize("plain", [False, True])
def test_the_demo_models_instances_are_those_of_transformers(plain, toytown, toytown_whole, street):
    segmenter = toytown.with_settings(toytown.settings, plain=plain)
    result = segmenter(street)
    expected = reference(toytown_whole, segmenter, result, street)
    assert sum(len(one["scores"]) for one in expected.values()) >= 5
    require_equal(result, expected)


def test_ids_agree_with_labels_and_masks(toytown, street):
    result = toytown(street)
    ids = result.instance_ids
    assert ids.shape == result.labels.shape and ids.dtype == np.uint16
    assert [one.id for one in result.instances] == list(range(1, len(result.instances) + 1))
    assert sorted((one.score for one in result.instances), reverse=True) == [
        one.score for one in result.instances
    ]
    covered = np.zeros(ids.shape, bool)
    for one in result.instances:
        pixels = ids == one.id
        assert (result.labels[pixels] == one.class_id).all() and one.mask[pixels].all()
        assert one.name == result.vocabulary.names[one.class_id] == DEMO_CLASSES[one.prompt]
        covered |= one.mask & (result.labels == one.class_id)
    assert np.array_equal(ids > 0, covered) and covered.any()


def test_labels_are_the_same_whether_instances_are_asked_for_or_not(toytown, street):
    asked, bare = toytown(street), toytown(street, instances=False)
    for name in ("labels", "confidence"):
        assert np.array_equal(getattr(asked, name), getattr(bare, name)), name
    assert bare.instances is None and bare.instance_counts == asked.instance_counts
    with pytest.raises(ActiveSamError, match="label with instances=True"):
        _ = bare.instance_ids


def test_nobody_asks_nobody_pays(toytown, street):
    (encoded,) = toytown.encode_images([street])
    heads = toytown._checkpoint.model.detr_decoder.box_head

    def counted(instances):
        calls = []
        watch = heads.register_forward_hook(lambda *call: calls.append(call))
        with FlopCounterMode(display=False) as counter:
            toytown.decode(encoded, instances)
        watch.remove()
        return counter.get_total_flops(), len(calls)

    bare, refinements = counted(False)
    asked, boxes = counted(True)
    layers = toytown._checkpoint.config.detr_decoder_config.num_layers
    assert refinements == layers - 1 and boxes == refinements + 1
    assert bare < asked < 1.05 * bare


def test_two_names_of_a_class_find_a_thing_once(toytown_checkpoint):
    street = World(900_159).render(1.0).rgb  # of which four cars

    def found(overlap):
        settings = SegmenterSettings(instance_overlap=overlap)
        segmenter = ActiveSegmenter(toytown_checkpoint, settings, prompt_cache=None)
        segmenter.set_vocabulary(["car, automobile"])
        return {one.score: one for one in segmenter(street).instances}

    def overlap(one, other):
        return (one.mask & other.mask).sum() / (one.mask | other.mask).sum()

    every, once = found(1), found(0.5)
    assert {one.prompt for one in every.values()} == {0, 1} and set(once) < set(every)
    # What went has a double of the other name with a higher score; what stayed has none. The model compares cells.
    for score, one in every.items():
        rivals = (
            overlap(one, other)
            for other in once.values()
            if other.prompt != one.prompt and other.score > score
        )
        double = max(rivals, default=0)
        assert double < 0.6 if score in once else double > 0.4


# Pieces, without a model.


def thing(prompt=0, score=0.5, corner=(0, 0), side=4, class_id=0, number=1):
    """A square of an image of 8 x 8 pixels, with a margin of cells that are not part of it."""
    cells = np.full((10, 10), -9, np.float32)
    cells[corner[0] + 1 : corner[0] + 1 + side, corner[1] + 1 : corner[1] + 1 + side] = 9
    top, left = (max(edge - 1, 0) for edge in corner)
    logits = cells[1:9, 1:9][top : corner[0] + side + 1, left : corner[1] + side + 1]
    box = (corner[1], corner[0], corner[1] + side, corner[0] + side)
    return Instance(class_id, "thing", score, box, prompt, number, (8, 8), (8, 8), (top, left), logits)


def test_doubles_are_of_one_class_and_of_two_prompts():
    one, shifted, far = thing(score=0.9), thing(1, corner=(0, 1)), thing(1, corner=(4, 4))
    # 12 of 20 cells in common.
    assert without_doubles([shifted, one, far], 0.5) == [one, far]
    assert without_doubles([shifted, one, far], 0.6) == [one, shifted, far]
    twice = thing(corner=(0, 1))
    assert without_doubles([one, twice], 0.5) == [one, twice]
    other = thing(1, class_id=1)
    assert without_doubles([one, other], 0.5) == [one, other]


def test_doubles_are_the_same_however_many_are_compared_together(monkeypatch):
    dice = np.random.default_rng(0)
    many = [
        thing(int(prompt), score, tuple(map(int, corner)), side=3)
        for prompt, score, corner in zip(
            dice.integers(0, 3, 40), dice.random(40), dice.integers(0, 5, (40, 2)), strict=True
        )
    ]
    once = without_doubles(many, 0.4)
    assert 5 < len(once) < 35
    for number, one in enumerate(once):
        for other in once[:number]:
            both = np.count_nonzero(one.mask & other.mask)
            assert one.prompt == other.prompt or both <= 0.4 * np.count_nonzero(one.mask | other.mask)
    for together in (1, 7):
        monkeypatch.setattr(collecting, "_COMPARED_TOGETHER", together)
        assert without_doubles(many, 0.4) == once


def test_the_likelier_of_two_instances_has_the_pixel():
    labels = np.zeros((8, 8), np.uint8)
    labels[:, 7] = 1
    ids = draw_ids([thing(score=0.4, number=7, side=8), thing(number=9)], labels)
    assert (ids[:4, :4] == 9).all() and (ids[4:, :7] == 7).all() and not ids[:, 7].any()


def decoded(logits, scores):
    count = len(logits)
    boxes = torch.tensor([0.25, 0.5, 0.75, 1.0]).expand(count, 4)
    return DecodedPrompt(torch.tensor(1.0), torch.tensor(scores), logits, logits.sum(0), boxes)


@pytest.mark.parametrize("size", [(5, 7), (12, 30), (97, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kept_cells_are_all_that_a_mask_needs(size, dtype):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 12, 16, generator=generator) - 1
    logits[0, 4:] = logits[1, :, :9] = logits[2, :, 1:] = -3
    logits = logits.to(dtype)
    collector = InstanceCollector(WORDS, size, 0.5)
    collector.add(2, decoded(logits, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]))
    found = collector.finish().instances
    whole = torch.nn.functional.interpolate(logits.float().sigmoid()[None], size, mode="bilinear")[0] > 0.5
    assert [one.name for one in found] == ["person"] * 6
    for one, mask in zip(found, whole.numpy(), strict=True):
        assert np.count_nonzero(one.mask != mask) == 0
    assert found[0].logits.shape[0] <= 5 and found[1].logits.shape[1] <= 8
    assert found[0].box == pytest.approx((size[1] / 4, size[0] / 2, size[1] * 3 / 4, size[0]))


def test_masks_without_pixels_are_left_out_and_counted():
    logits = torch.full((2, 4, 4), -1.0)
    logits[1, 0, 0] = 1
    collector = InstanceCollector(WORDS, (8, 8), 0.5)
    collector.add(0, decoded(logits, [0.9, 0.8]))
    found = collector.finish()
    assert [one.score for one in found.instances] == [pytest.approx(0.8)]
    assert (found.without_pixels, found.beyond_limit) == (1, 0)


def test_more_instances_than_ids_are_the_best_of_them(monkeypatch):
    assert np.uint16(MAX_INSTANCES) == MAX_INSTANCES
    monkeypatch.setattr(collecting, "MAX_INSTANCES", 3)
    collector = InstanceCollector(WORDS, (8, 8), 0.5)
    for score in (0.3, 0.9, 0.5, 0.7):
        collector.add(0, decoded(torch.ones(2, 4, 4), [score, score / 2]))
    found = collector.finish()
    assert [one.score for one in found.instances] == [pytest.approx(one) for one in (0.9, 0.7, 0.5)]
    assert [one.id for one in found.instances] == [1, 2, 3] and found.beyond_limit == 5


def test_two_hundred_instances_of_a_large_image_stay_small():
    grid, size = 288, (2160, 3840)
    collector = InstanceCollector(WORDS, size, 0.5)
    for prompt in range(3):
        logits = torch.full((70, grid, grid), -5.0)
        for number in range(70):
            row, column = divmod(number, 10)
            logits[number, row * 40 : row * 40 + 36, column * 28 : column * 28 + 24] = 5
        collector.add(prompt, decoded(logits, [0.9 - 0.1 * prompt] * 70))
    found = collector.finish().instances
    # The aliases find the same things.
    assert len(found) == 140
    assert sum(one.logits.nbytes for one in found) < 1_000_000
    ids = draw_ids(found, np.zeros(size, np.uint8))
    assert len(np.unique(ids)) == 71


# What others read.


@pytest.fixture
def found(toytown, street):
    return toytown(street)


def test_supervision_gets_boxes_masks_names_and_ids(found):
    supervision = pytest.importorskip("supervision")
    detections = found.to_supervision()
    assert isinstance(detections, supervision.Detections) and len(detections) == len(found.instances) > 0
    assert list(detections.data["class_name"]) == [one.name for one in found.instances]
    assert detections.tracker_id.tolist() == [one.id for one in found.instances]
    for one, box, mask in zip(found.instances, detections.xyxy, detections.mask, strict=True):
        assert box == pytest.approx(one.box) and np.array_equal(mask, one.mask)
    sure = detections[detections.confidence > 0.9]
    assert 0 < len(sure) < len(detections)
    assert len(replace(found, instances=()).to_supervision()) == 0


def test_coco_results_are_read_by_pycocotools(found):
    coco = pytest.importorskip("pycocotools.mask")
    results = json.loads(json.dumps(found.to_coco(image_id=7)))
    assert len(results) == len(found.instances)
    for one, entry in zip(found.instances, results, strict=True):
        assert (entry["image_id"], entry["category_id"]) == (7, one.class_id)
        assert np.array_equal(coco.decode(entry["segmentation"]).astype(bool), one.mask)
        left, top, width, height = entry["bbox"]
        assert (left, top, left + width, top + height) == pytest.approx(one.box)


def test_a_segmentation_has_a_segment_for_every_labelled_pixel(found):
    made = found.to_segmentation()
    segments = made["segmentation"].numpy()
    assert np.array_equal(segments == 0, found.labels == found.unlabeled_id)
    ids = found.instance_ids
    assert np.array_equal(segments[ids > 0], ids[ids > 0])
    assert {one["id"] for one in made["segments_info"]} == set(np.unique(segments[segments > 0]).tolist())
    for one in made["segments_info"]:
        assert (found.labels[segments == one["id"]] == one["label_id"]).all()
        assert one["was_fused"] == (one["id"] not in ids) and 0 < one["score"] <= 1


@pytest.mark.parametrize(
    ("package", "method"), [("supervision", "to_supervision"), ("pycocotools", "to_coco")]
)
def test_a_missing_package_is_named_with_what_installs_it(found, monkeypatch, package, method):
    for name in (package, f"{package}.mask"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ActiveSamError, match=f"pip install {package}"):
        getattr(found, method)()


def test_boxes_are_drawn_and_ids_are_saved(found, tmp_path):
    paths = found.save(tmp_path, "street", instances=True)
    ids = cv2.imread(str(paths["instances"]), cv2.IMREAD_UNCHANGED)
    assert ids.dtype == np.uint16 and np.array_equal(ids, found.instance_ids)
    plain, boxed = np.asarray(found.plot()), np.asarray(found.plot(instances=True))
    assert plain.shape == boxed.shape and (plain != boxed).any()
    with pytest.raises(ActiveSamError, match="instances=True"):
        replace(found, instances=None).save(tmp_path, "bare", instances=True)
