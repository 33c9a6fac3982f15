from dataclasses import fields

import pytest

from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.ros.parameters import CHANGEABLE, PARAMETERS, wanted
from activesam_ros.settings import SegmenterSettings

SPECS = {spec.name: spec for spec in PARAMETERS}


def values(**changes):
    return {**{name: SPECS[name].default for name in CHANGEABLE}, **changes}


def test_every_setting_of_the_segmenter_is_a_parameter_with_the_papers_default():
    paper = SegmenterSettings()
    own = {"background_threshold": 0.4, "full_resolution": 0}
    for field in fields(SegmenterSettings):
        assert SPECS[field.name].default == own.get(field.name, getattr(paper, field.name))
        assert not SPECS[field.name].read_only


def test_the_defaults_are_accepted():
    request = wanted(values())
    assert request.settings == SegmenterSettings(background_threshold=0.4)
    assert len(request.vocabulary) == 19 and request.vocabulary.background_id is None


def test_the_model_cannot_be_changed_while_the_node_runs():
    assert {spec.name for spec in PARAMETERS if spec.read_only} == {"model", "device", "dtype"}
    assert not {"model", "device", "dtype"} & set(CHANGEABLE)


@pytest.mark.parametrize("spec", [spec for spec in PARAMETERS if spec.range], ids=lambda spec: spec.name)
def test_the_declared_range_is_the_settings_own(spec):
    low, high = spec.range
    wanted(values(**{spec.name: high}))
    with pytest.raises(SettingsError, match=spec.name):
        wanted(values(**{spec.name: high + 1}))
    with pytest.raises(SettingsError, match=spec.name):
        wanted(values(**{spec.name: low - 1}))


def test_full_resolution_zero_is_the_models_own():
    assert wanted(values(full_resolution=0)).settings.full_resolution is None
    assert wanted(values(full_resolution=1008)).settings.full_resolution == 1008


def test_vocabulary_and_background_are_checked_together():
    request = wanted(values(vocabulary=["road", "other, thing"], background_class="other"))
    assert request.vocabulary.background_id == 1
    with pytest.raises(VocabularyError, match="sky"):
        wanted(values(vocabulary=["road", "other"], background_class="sky"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "empty"),
        (b"", "empty"),
        ([b"r"], "quotes"),
        ([True, False], "quotes"),
        ("road", "list"),
        (None, "empty"),
        (3, "list"),
        (["road", " "], "blank"),
        (["car", "Car"], "both"),
    ],
)
def test_a_vocabulary_that_is_none_is_refused_with_the_reason(given, said):
    with pytest.raises(VocabularyError, match=said):
        wanted(values(vocabulary=given))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("keep_fraction", 1),
        ("max_active", 3.0),
        ("max_active", True),
        ("background_class", 7),
        ("keep_fraction", float("nan")),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(name, given):
    with pytest.raises(SettingsError, match=name):
        wanted(values(**{name: given}))


def test_equal_parameters_make_equal_requests():
    assert wanted(values(vocabulary=["a", "b"])) == wanted(values(vocabulary=("a", "b")))
    assert wanted(values(vocabulary=["a", "b"])) != wanted(values(vocabulary=["b", "a"]))
    assert wanted(values(max_active=3)) != wanted(values())
