"""The paper's defaults, and refusals by name."""

import dataclasses

import pytest

from activesam_ros.errors import SettingsError, describe, reason
from activesam_ros.settings import (
    BOUNDS,
    CHOICES,
    DESCRIPTIONS,
    GOVERNED,
    PROFILES,
    SegmenterSettings,
    settings_for,
)


def test_defaults_are_the_papers():
    settings = SegmenterSettings()
    assert settings.full_resolution is None
    assert (settings.preview_resolution, settings.keep_fraction, settings.max_active) == (672, 0.2, 40)
    assert (settings.bucket_size, settings.confidence_threshold, settings.background_threshold) == (
        32,
        0.3,
        0.0,
    )
    assert (settings.margin_exponent, settings.neighbor_tokens, settings.hypernym_tokens) == (1.25, 2, 2)
    assert (settings.presence_floor, settings.preview_period) == (0.0, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("full_resolution", 0),
        ("full_resolution", 336.0),
        ("preview_resolution", -672),
        ("preview_resolution", None),
        ("keep_fraction", 0.0),
        ("keep_fraction", 1.01),
        ("keep_fraction", float("nan")),
        ("max_active", 0),
        ("max_active", True),
        ("bucket_size", "32"),
        ("confidence_threshold", -0.1),
        ("background_threshold", 1.5),
        ("margin_exponent", 0),
        ("margin_exponent", float("inf")),
        ("neighbor_tokens", -1),
        ("hypernym_tokens", 2.5),
        ("presence_floor", -0.1),
        ("preview_period", 0),
        ("preview_way", "guess"),
        ("preview_way", None),
        ("leave_after", 0),
        ("encode_every", 0),
        ("change_threshold", 1.1),
        ("max_pixels", 0),
    ],
)
def test_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(SettingsError, match=rf"^{name} is .*; expected "):
        SegmenterSettings(**{name: value})


def test_every_setting_has_bounds_or_choices_and_one_sentence_and_is_frozen():
    names = [field.name for field in dataclasses.fields(SegmenterSettings)]
    assert set(names) == set(BOUNDS) | set(CHOICES) and not set(BOUNDS) & set(CHOICES)
    assert list(DESCRIPTIONS) == names
    assert all(text[0].isupper() and text.endswith(".") for text in DESCRIPTIONS.values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        SegmenterSettings().max_active = 3


def test_limits_themselves_are_taken():
    settings = SegmenterSettings(
        keep_fraction=1, confidence_threshold=0, background_threshold=1, neighbor_tokens=0
    )
    assert settings.keep_fraction == 1 and settings.neighbor_tokens == 0


def test_profiles_govern_the_same_settings_and_paper_is_the_default():
    assert SegmenterSettings(**PROFILES["paper"]) == SegmenterSettings()
    assert {frozenset(values) for values in PROFILES.values()} == {frozenset(PROFILES["paper"])}
    realtime = SegmenterSettings(**PROFILES["realtime"])
    assert realtime.preview_period > 1 and realtime.presence_floor > 0
    assert not SegmenterSettings(**PROFILES["fast"]).reuses_frames
    for profile in ("fast", "realtime"):
        assert 0 < PROFILES[profile]["preview_floor"] <= PROFILES[profile]["presence_floor"]


def test_a_given_value_wins_over_the_profile_even_if_it_equals_the_default():
    realtime = SegmenterSettings(**PROFILES["realtime"])
    assert settings_for("realtime", {}) == realtime
    given = {"presence_floor": SegmenterSettings().presence_floor, "max_active": 7}
    assert settings_for("realtime", given) == dataclasses.replace(realtime, **given)
    assert "presence_floor" in GOVERNED and "max_active" not in GOVERNED
    with pytest.raises(SettingsError, match="profile is 'quick'; expected one of paper, fast, realtime"):
        settings_for("quick", {})
    with pytest.raises(SettingsError, match="no setting 'max_actve'; expected one of full_resolution"):
        settings_for("paper", {"max_actve": 3})


def test_errors_as_one_line():
    assert describe(SettingsError("a\n  b")) == "a b"
    assert describe(KeyError("x")) == "KeyError: 'x'" and describe(ValueError()) == "ValueError"
    assert reason(OSError("disk\nfull")) == "disk full" and reason(MemoryError()) == "MemoryError"
