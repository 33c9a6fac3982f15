"""The methods that are compared, the per-class baseline, and the FLOPs that are counted."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from activesam_ros.errors import EvaluationError, ImageError, ModelError, VocabularyError
from activesam_ros.evaluation.methods import (
    METHODS,
    FlopsCounter,
    PerClassSegmenter,
    known_methods,
    paint_instances,
    workload_of,
)
from activesam_ros.model.flops import counted
from activesam_ros.model.prompt_heads import DecodedPrompt, DecodedPrompts, PromptHeads, PromptTokens
from activesam_ros.model.vision_encoder import VisionEncoder
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.segmenter import ActiveSegmenter, SegmenterSettings, StreamMemory
from activesam_ros.settings import CHOICES, PROFILES
from activesam_ros.stages.fusion import ClassFusion
from activesam_ros.toytown import DEMO_CLASSES
from activesam_ros.vocabulary import Vocabulary

GIVEN = SegmenterSettings(
    full_resolution=160,
    preview_resolution=96,
    keep_fraction=0.3,
    max_active=7,
    bucket_size=16,
    background_threshold=0.4,
    neighbor_tokens=1,
    hypernym_tokens=1,
    max_pixels=500_000,
)
WORDS = Vocabulary.from_names(DEMO_CLASSES[:20])

DIFFERENCES = {
    "active": {},
    "paper": {
        "full_resolution": None,
        "preview_resolution": 672,
        "keep_fraction": 0.2,
        "max_active": 40,
        "neighbor_tokens": 2,
        "hypernym_tokens": 2,
    },
    "fast": {"preview_source": "features", "preview_floor": 0.0002, "presence_floor": 0.0005},
    "full-vocabulary": {
        "full_resolution": None,
        "max_active": 65_535,
        "background_threshold": 0.0,
        "neighbor_tokens": 0,
        "hypernym_tokens": 0,
    },
    "per-class": {
        "full_resolution": None,
        "background_threshold": 0.0,
        "neighbor_tokens": 0,
        "hypernym_tokens": 0,
    },
    "realtime": {
        name: value for name, value in PROFILES["realtime"].items() if value != PROFILES["paper"][name]
    },
    "no-expansion": {"neighbor_tokens": 0, "hypernym_tokens": 0},
    "no-preview": {"max_active": 65_535},
    "no-calibration": {"background_threshold": 0.0},
}


@pytest.fixture
def segmenter(toytown_checkpoint):
    return ActiveSegmenter(toytown_checkpoint, GIVEN, TableHypernyms.shipped(), prompt_cache=None)


@pytest.mark.parametrize("name", METHODS)
def test_each_method_changes_what_it_says(segmenter, name):
    labeller = METHODS[name].build(segmenter, WORDS)
    changed = {
        field.name: getattr(labeller.settings, field.name)
        for field in fields(SegmenterSettings)
        if getattr(labeller.settings, field.name) != getattr(GIVEN, field.name)
    }
    assert changed == DIFFERENCES[name]
    method = METHODS[name]
    assert method.name == name and "\n" not in method.description
    assert bool(method.differences) == bool(DIFFERENCES[name])
    assert labeller.prompts.vocabulary == WORDS
    assert labeller.prompts.context.tokens.shape[1] == (
        labeller.settings.neighbor_tokens + labeller.settings.hypernym_tokens
    )


def test_the_methods_on_a_picture(segmenter, street_image):
    results = {name: METHODS[name].build(segmenter, WORDS).segment(street_image) for name in METHODS}
    for name, result in results.items():
        previewed = name in ("active", "fast", "realtime", "no-expansion", "no-calibration")
        assert (result.preview_presence is not None) == previewed, name
        if name not in ("fast", "realtime"):  # a floor decides there
            assert len(result.active_prompts) == (6 if previewed else 20), name
        assert len(result.instance_counts) == len(result.active_prompts), name
        assert result.vocabulary == WORDS and result.labels.shape == (240, 320)
    unlabeled = {name: (result.labels == 255).mean() for name, result in results.items()}
    for name in ("active", "no-expansion", "no-preview", "per-class"):
        assert unlabeled[name] > 0, name
    for name in ("full-vocabulary", "no-calibration"):
        assert unlabeled[name] == 0, name
    calibrated = results["active"].labels != 255
    np.testing.assert_array_equal(
        results["active"].labels[calibrated], results["no-calibration"].labels[calibrated]
    )


def test_the_segmenter_stays_as_it_is(segmenter, toytown_checkpoint):
    segmenter.set_vocabulary(Vocabulary.from_names(["road", "sky"]))
    before = segmenter.prompts
    labeller = METHODS["active"].build(segmenter, WORDS)
    assert isinstance(METHODS["per-class"].build(segmenter, WORDS), PerClassSegmenter)
    assert segmenter.prompts is before and segmenter.settings == GIVEN
    assert labeller.checkpoint is segmenter.checkpoint is toytown_checkpoint


def test_prompts_are_encoded_once_if_nothing_about_them_differs(segmenter):
    segmenter.set_vocabulary(WORDS)
    for name in ("active", "no-preview", "no-calibration"):
        assert METHODS[name].build(segmenter, WORDS).prompts is segmenter.prompts


def test_names_that_are_refused(segmenter):
    with pytest.raises(
        EvaluationError, match="no method 'quick'; expected one of active, paper, fast, realtime, full-vocab"
    ):
        known_methods(["quick"])
    with pytest.raises(EvaluationError, match="'paper' is named twice"):
        known_methods(["paper", "active", "paper"])
    assert [method.name for method in known_methods(["paper", "active"])] == ["paper", "active"]


def test_baselines_run_as_published(segmenter):
    paths = {name: METHODS[name].build(segmenter, WORDS) for name in METHODS if name != "per-class"}
    assert [name for name, labeller in paths.items() if labeller.plain] == ["full-vocabulary"]
    assert all(METHODS[name].plain == labeller.plain for name, labeller in paths.items())
    assert METHODS["per-class"].plain and not segmenter.plain


def test_what_decodes_everything_does_so_on_a_stream_too(toytown_checkpoint, street_image):
    given = replace(GIVEN, **PROFILES["realtime"])
    segmenter = ActiveSegmenter(toytown_checkpoint, given, TableHypernyms.shipped(), prompt_cache=None)
    rolling = [name for name in METHODS if METHODS[name].build(segmenter, WORDS).settings.reuses_frames]
    assert rolling == ["active", "realtime", "no-expansion", "no-calibration"]
    for name in ("full-vocabulary", "no-preview"):
        assert METHODS[name].build(segmenter, WORDS).segment(street_image).active_prompts == tuple(range(20))


CLASS_NAMES = ["road", "car, automobile", "sky", "building", "zebra"]
THRESHOLD = 0.1


@pytest.fixture
def active(toytown_checkpoint):
    """Makes a segmenter over the demo model; a low threshold, so that it paints instances."""

    def make(background=None, **settings):
        segmenter = ActiveSegmenter(
            toytown_checkpoint,
            SegmenterSettings(confidence_threshold=THRESHOLD, **settings),
            TableHypernyms.shipped(),
            prompt_cache=None,
        )
        segmenter.set_vocabulary(Vocabulary.from_names(CLASS_NAMES, background=background))
        return segmenter

    return make


def painted_by_hand(checkpoint, prompts, rgb):
    """Best instance score of every class, float32 [classes, H, W]: all at once, and thresholded as probabilities."""
    vision = VisionEncoder(checkpoint, 192)
    heads = PromptHeads(checkpoint)
    planes = torch.zeros(len(prompts.vocabulary), *rgb.shape[:2])
    with torch.inference_mode():
        image = vision.encode(vision.prepare(rgb))
        runs = heads.decode(image, [PromptTokens(prompts.text, prompts.text_valid)], THRESHOLD)
        answers = [answer for run in runs for answer in run.split()]
        for owner, answer in zip(prompts.vocabulary.prompt_classes, answers, strict=True):
            for score, mask in zip(answer.instance_scores, answer.instance_logits, strict=True):
                resized = torch.nn.functional.interpolate(
                    mask[None, None], rgb.shape[:2], mode="bilinear", align_corners=False
                )[0, 0]
                covered = torch.sigmoid(resized) > 0.5
                planes[owner][covered] = planes[owner][covered].clamp(min=float(score))
    return planes


@pytest.mark.parametrize("background", [None, "building"])
def test_labels_are_those_of_the_best_instance(active, toytown_checkpoint, street_image, background):
    per_class = PerClassSegmenter(active(background, background_threshold=0.5))
    result = per_class.segment(street_image)
    planes = painted_by_hand(toytown_checkpoint, per_class.prompts, street_image)
    best, expected = planes.max(dim=0)
    expected[best == 0] = 255 if background is None else 3
    assert result.labels.dtype == np.uint8
    assert (result.labels == expected.numpy()).mean() > 0.999
    np.testing.assert_allclose(result.confidence, best.numpy(), atol=1e-4)
    # The picture has both instances and pixels that none covers.
    assert 0.05 < (best == 0).float().mean() < 0.95


def test_what_the_result_says(active, street_image):
    result = PerClassSegmenter(active()).segment(street_image)
    assert result.active_prompts == tuple(range(6)) and len(result.instance_counts) == 6
    assert [entry.name for entry in result.active] == ["road", "car", "sky", "building", "zebra"]
    assert sum(entry.pixels for entry in result.active) == np.count_nonzero(result.labels != 255)
    assert result.preview_presence is None
    assert set(result.timings) == {"prepare", "encode", "decode", "fuse", "total"}


def test_the_image_is_encoded_for_every_prompt(active, street_image, monkeypatch):
    per_class = PerClassSegmenter(active())
    passed = []
    encode = VisionEncoder.encode

    def counted(encoder, pixels):
        passed.append(tuple(pixels.shape))
        return encode(encoder, pixels)

    monkeypatch.setattr(VisionEncoder, "encode", counted)
    per_class.segment(street_image)
    assert passed == [(1, 3, 192, 192)] * 6


def test_nothing_of_activesam_is_left(active):
    given = active(background_threshold=0.4, neighbor_tokens=2)
    per_class = PerClassSegmenter(given)
    assert per_class.prompts.context.tokens.shape[1] == 0
    assert per_class.settings.background_threshold == 0
    assert per_class.settings.confidence_threshold == THRESHOLD
    assert given.prompts.context.tokens.shape[1] == 4


def test_the_best_instance_wins_and_no_instance_is_nothing():
    sure = torch.tensor([[5.0, 5.0, -5.0, -5.0]])
    other = torch.tensor([[-5.0, 5.0, 5.0, -5.0]])
    query = DecodedPrompt(
        torch.tensor(0.9), torch.tensor([0.4, 0.7]), torch.stack([sure, other]), torch.full((1, 4), 9.0)
    )
    torch.testing.assert_close(paint_instances(query, (1, 4)), torch.tensor([[0.4, 0.7, 0.7, 0.0]]))
    empty = DecodedPrompt(torch.tensor(0.9), torch.zeros(0), torch.zeros(0, 1, 4), torch.full((1, 4), 9.0))
    assert paint_instances(empty, (2, 3)).tolist() == [[0.0] * 3] * 2


def test_refusals(active, toytown_checkpoint, street_image):
    with pytest.raises(VocabularyError, match="set_vocabulary"):
        PerClassSegmenter(ActiveSegmenter(toytown_checkpoint, prompt_cache=None))
    per_class = PerClassSegmenter(active(max_pixels=1000))
    with pytest.raises(ImageError, match="at most 1000"):
        per_class.segment(street_image)


def test_numbers_that_are_not_finite(active, street_image, monkeypatch):
    def broken(heads, image, tokens, threshold):
        nan = float("nan")
        yield DecodedPrompts(torch.tensor([nan]), (nan,), (0,), torch.ones(1), torch.zeros(1, 4, 4))

    monkeypatch.setattr(PromptHeads, "decode", broken)
    with pytest.raises(ModelError, match="not finite"):
        PerClassSegmenter(active()).segment(street_image)


COUNTED = Vocabulary.from_names([*DEMO_CLASSES[:10], "cargo ship, freight ship"])


@pytest.fixture
def counted_segmenter(toytown_checkpoint):
    return ActiveSegmenter(
        toytown_checkpoint,
        # A low threshold, so that instance masks are kept.
        SegmenterSettings(max_active=6, keep_fraction=0.4, confidence_threshold=0.1),
        TableHypernyms.shipped(),
        prompt_cache=None,
    )


@pytest.fixture
def without_fusing(monkeypatch):
    """The formula is of the model; on a CPU fusing takes matrix products, too."""
    monkeypatch.setattr(ClassFusion, "add", lambda *_: None)


@pytest.fixture(scope="module")
def flops(toytown_checkpoint):
    return FlopsCounter(toytown_checkpoint.config)


@pytest.mark.usefixtures("without_fusing")
@pytest.mark.parametrize("name", METHODS)
def test_the_formula_equals_a_counted_run(counted_segmenter, flops, street_image, name):
    method = METHODS[name]
    labeller = method.build(counted_segmenter, COUNTED)
    # What depends on the resolution alone is worked out once in a program's life.
    labeller.segment(street_image)
    results = []
    with sdpa_kernel(SDPBackend.MATH):
        operations = counted(lambda: results.append(labeller.segment(street_image)))
    assert flops.count(method, labeller, results[0]).total == operations
    assert sum(results[0].instance_counts) > 0


@pytest.mark.usefixtures("without_fusing")
@pytest.mark.parametrize("way", CHOICES["preview_way"])
def test_the_formula_equals_a_counted_video(counted_segmenter, flops, street_image, way):
    rolling = {"preview_way": way, "preview_period": 3, "presence_floor": 0.3}
    video = counted_segmenter.with_settings(replace(counted_segmenter.settings, **rolling))
    video.set_vocabulary(COUNTED)
    video.segment(street_image)
    memory = StreamMemory()
    ways = []
    for _ in range(4):
        results = []
        with sdpa_kernel(SDPBackend.MATH):
            operations = counted(lambda kept=results: kept.append(video.segment(street_image, memory)))
        asked = workload_of(video, results[0])
        ways.append((asked.previewed > 0, asked.presence_only > 0))
        assert flops.count(METHODS["active"], video, results[0]).total == operations
    # First everything, then nothing but what is due.
    assert ways[0] == (True, False)
    assert ((True, False) in ways[1:]) == (way == "sweep") and ((False, True) in ways) == (way == "share")


def test_what_was_asked(counted_segmenter, street_image):
    counted_segmenter.set_vocabulary(COUNTED)
    result = counted_segmenter.segment(street_image)
    asked = workload_of(counted_segmenter, result)
    assert (asked.full_resolution, asked.preview_resolution, asked.encodings) == (192, 128, 1)
    assert asked.previewed == 12
    assert asked.preview_tokens == counted_segmenter.prompts.text.shape[1] + 1
    assert asked.decoded == tuple((asked.preview_tokens + 4, kept) for kept in result.instance_counts)
    assert len(asked.decoded) == len(result.active_prompts) < 12


def test_what_cannot_be_counted(counted_segmenter, street_image):
    counted_segmenter.set_vocabulary(COUNTED)
    result = counted_segmenter.segment(street_image[::4, ::4])
    with pytest.raises(ValueError, match="how many instance masks"):
        workload_of(counted_segmenter, replace(result, instance_counts=None))
    counted_segmenter.set_vocabulary(Vocabulary.from_names(["road"]))
    with pytest.raises(ValueError, match="another vocabulary"):
        workload_of(counted_segmenter, result)
