"""The methods that are compared."""

from dataclasses import fields, replace

import numpy as np
import pytest

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.methods import METHODS, PerClassSegmenter, known_methods
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.segmenter import ActiveSegmenter, SegmenterSettings
from activesam_ros.settings import PROFILES
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
        previewed = name in ("active", "realtime", "no-expansion", "no-calibration")
        assert (result.preview_presence is not None) == previewed, name
        if name != "realtime":  # a floor decides there
            assert len(result.active_prompts) == (6 if previewed else 20), name
        assert len(result.instances) == len(result.active_prompts), name
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
        EvaluationError, match="no method 'fast'; expected one of active, paper, realtime, full-vocab"
    ):
        known_methods(["fast"])
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
