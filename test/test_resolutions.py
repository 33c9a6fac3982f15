"""Full and preview resolution."""

import logging

import pytest

from activesam_ros.errors import SettingsError
from activesam_ros.settings import SegmenterSettings
from activesam_ros.stages.resolutions import resolutions


def test_the_published_ones():
    assert resolutions(1008, 14, SegmenterSettings()) == (1008, 672)


def test_a_small_model_is_previewed_at_two_thirds(caplog):
    with caplog.at_level(logging.INFO):
        assert resolutions(192, 8, SegmenterSettings()) == (192, 128)
    assert "previewing at 128" in caplog.text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"full_resolution": 1000}, "full_resolution is 1000.* such as 994"),
        ({"preview_resolution": 670}, "preview_resolution is 670.* such as 672"),
        ({"preview_resolution": 16}, "patch size 14, at least twice it, such as 28"),
    ],
)
def test_resolutions_are_whole_numbers_of_patches(settings, words):
    with pytest.raises(SettingsError, match=words):
        resolutions(1008, 14, SegmenterSettings(**settings))
