from dataclasses import fields
from typing import get_args

import pytest

from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.ros.parameters import CHANGEABLE, DEFAULTS, PARAMETERS, settings_of, typed
from activesam_ros.settings import SegmenterSettings
from activesam_ros.text.embedder import Residence

SPECS = {spec.name: spec for spec in PARAMETERS}


def values(**changes):
    return {**DEFAULTS, **changes}


def test_every_setting_of_the_segmenter_is_a_parameter_with_the_papers_default():
    paper = SegmenterSettings()
    own = {"background_threshold": 0.4, "full_resolution": 0}
    for field in fields(SegmenterSettings):
        assert SPECS[field.name].default == own.get(field.name, getattr(paper, field.name))
        assert not SPECS[field.name].read_only


def test_the_defaults_are_accepted():
    assert settings_of(DEFAULTS) == SegmenterSettings(background_threshold=0.4)
    assert all(typed(name, value) == value for name, value in DEFAULTS.items())


def test_what_the_model_is_loaded_with_cannot_be_changed_while_the_node_runs():
    fixed = {"model", "device", "dtype", "text_encoder", "prompt_cache"}
    assert {spec.name for spec in PARAMETERS if spec.read_only} == fixed
    assert not fixed & set(CHANGEABLE) and fixed | set(CHANGEABLE) == set(DEFAULTS)


def test_the_text_encoder_may_stay_where_the_library_lets_it():
    assert set(SPECS["text_encoder"].choices) == set(get_args(Residence))
    with pytest.raises(SettingsError, match="text_encoder is 'gone'; expected one of release, offload, keep"):
        typed("text_encoder", "gone")


@pytest.mark.parametrize("spec", [spec for spec in PARAMETERS if spec.range], ids=lambda spec: spec.name)
def test_the_declared_range_is_the_settings_own(spec):
    low, high = spec.range
    settings_of(values(**{spec.name: high}))
    with pytest.raises(SettingsError, match=spec.name):
        settings_of(values(**{spec.name: high + 1}))
    with pytest.raises(SettingsError, match=spec.name):
        settings_of(values(**{spec.name: low - 1}))


def test_full_resolution_zero_is_the_models_own():
    assert settings_of(values(full_resolution=0)).full_resolution is None
    assert settings_of(values(full_resolution=1008)).full_resolution == 1008


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([b"r"], "quotes"),
        ([True, False], "quotes"),
        ("road", "list"),
        (3, "list"),
    ],
)
def test_a_vocabulary_that_is_no_list_of_texts_is_refused_with_the_reason(given, said):
    with pytest.raises(VocabularyError, match=said):
        typed("vocabulary", given)


@pytest.mark.parametrize("given", [[], b"", None])
def test_an_empty_list_arrives_in_several_forms(given):
    assert typed("vocabulary", given) == ()


@pytest.mark.parametrize(
    ("name", "given"),
    [("keep_fraction", 1), ("max_active", 3.0), ("max_active", True), ("background_class", 7)],
)
def test_a_value_of_another_type_is_refused_by_name(name, given):
    with pytest.raises(SettingsError, match=name):
        typed(name, given)


def test_a_number_that_is_none_is_refused_by_name():
    with pytest.raises(SettingsError, match="keep_fraction"):
        settings_of(values(keep_fraction=float("nan")))
