from dataclasses import fields
from typing import get_args

import pytest

from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.prompts.text_encoder import Residence
from activesam_ros.ros.parameters import (
    CHANGEABLE,
    DEFAULTS,
    PARAMETERS,
    ModelChoice,
    Policy,
    Setup,
    Takes,
    group_of,
    settings_of,
    typed,
)
from activesam_ros.settings import SegmenterSettings

SPECS = {spec.name: spec for spec in PARAMETERS}


def values(**changes):
    return {**DEFAULTS, **changes}


def test_every_setting_of_the_segmenter_is_a_parameter_with_the_papers_default():
    paper = SegmenterSettings()
    own = {"background_threshold": 0.4, "full_resolution": 0}
    for field in fields(SegmenterSettings):
        assert SPECS[field.name].default == own.get(field.name, getattr(paper, field.name))
        assert SPECS[field.name].takes is Takes.PREPARED


def test_the_defaults_are_accepted():
    assert settings_of(DEFAULTS) == SegmenterSettings(background_threshold=0.4)
    assert all(typed(name, value) == value for name, value in DEFAULTS.items())


@pytest.mark.parametrize(
    ("group", "takes"), [(Setup, Takes.NEVER), (ModelChoice, Takes.INACTIVE), (Policy, Takes.AT_ONCE)]
)
def test_a_group_holds_the_parameters_that_take_effect_together(group, takes):
    names = {spec.name for spec in PARAMETERS if spec.takes is takes}
    assert {field.name for field in fields(group)} == names
    assert not names & set(CHANGEABLE)
    made = group_of(group, DEFAULTS)
    assert {name: getattr(made, name) for name in names} == {name: DEFAULTS[name] for name in names}


def test_every_other_parameter_is_prepared():
    assert tuple(spec.name for spec in PARAMETERS if spec.takes is Takes.PREPARED) == CHANGEABLE
    assert len(CHANGEABLE) == len(PARAMETERS) - sum(
        len(fields(group)) for group in (Setup, ModelChoice, Policy)
    )


def test_the_text_encoder_may_stay_where_the_library_lets_it():
    assert set(SPECS["text_encoder"].choices) == set(get_args(Residence))
    with pytest.raises(SettingsError, match="text_encoder is 'gone'; expected one of release, offload, keep"):
        typed("text_encoder", "gone")


SETTINGS = {field.name for field in fields(SegmenterSettings)}


@pytest.mark.parametrize("name", [name for name in sorted(SETTINGS) if SPECS[name].range])
def test_the_declared_range_is_the_settings_own(name):
    low, high = SPECS[name].range
    settings_of(values(**{name: high}))
    with pytest.raises(SettingsError, match=name):
        settings_of(values(**{name: high + 1}))
    with pytest.raises(SettingsError, match=name):
        settings_of(values(**{name: low - 1}))


@pytest.mark.parametrize("name", [spec.name for spec in PARAMETERS if spec.limits])
def test_the_nodes_own_numbers_keep_within_their_limits(name):
    assert name not in SETTINGS
    low, high = SPECS[name].range
    assert typed(name, low) == low and typed(name, high) == high
    for outside in (low - 1, high + 1):
        with pytest.raises(SettingsError, match=f"{name} is .*; expected {low:g} to {high:g}"):
            typed(name, outside)
    if isinstance(low, float):
        with pytest.raises(SettingsError, match=name):
            typed(name, float("nan"))


@pytest.mark.parametrize("name", [spec.name for spec in PARAMETERS if spec.choices])
def test_a_text_that_is_none_of_the_choices_is_refused_with_them(name):
    assert all(typed(name, choice) == choice for choice in SPECS[name].choices)
    with pytest.raises(SettingsError, match=f"{name} is 'other'; expected one of {SPECS[name].choices[0]}, "):
        typed(name, "other")


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


@pytest.mark.parametrize("given", [[], b"", None, ["front"], ["front", "rear_2", "_x", "X"]])
def test_cameras_are_names(given):
    assert typed("cameras", given) == tuple(given or ())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["front", "rear", "front"], "holds 'front' twice"),
        (["2nd"], "holds '2nd'; expected letters"),
        (["a/b"], "holds 'a/b'"),
        (["front "], "holds 'front '"),
        (["front\n"], "holds 'front"),
        (["a__b"], "holds 'a__b'"),
        (["kamera_größe"], "holds 'kamera_größe'"),
        ([""], "holds ''"),
        ("front", "expected a list of names"),
        ([1, 2], "expected a list of names"),
        (True, "expected a list of names"),
    ],
)
def test_what_cannot_be_part_of_a_topic_is_no_camera(given, said):
    with pytest.raises(SettingsError, match=said):
        typed("cameras", given)
