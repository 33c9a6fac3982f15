"""What each way asks of the model."""

from dataclasses import replace

import pytest

from activesam_ros.benchmarks.cost.ways import WAYS, Inputs, Scale, frames
from activesam_ros.settings import PROFILES, SegmenterSettings

WAY = {way.name: way for way in WAYS}
INPUTS = Inputs(tokens=10, kept=20, shown=11)


def asked(name, words):
    return WAY[name].frames(Scale(words), INPUTS)


@pytest.mark.parametrize(
    "words, previewed, decoded",
    [(19, 0, 19), (40, 0, 40), (59, 59, 12), (150, 150, 30), (171, 171, 35), (1000, 1000, 40)],
)
def test_an_image(words, previewed, decoded):
    for name in ("as published", "paper"):
        (one,) = asked(name, words)
        assert (one.previewed, len(one.decoded), one.presence_only, one.encodings) == (previewed, decoded, 0, 1)
        assert set(one.decoded) == {(10, 20)} and one.preview_tokens == 10
        assert (one.full_resolution, one.preview_resolution) == (1008, 672)
    assert WAY["as published"].plain and not WAY["paper"].plain


def test_the_baselines_decode_everything():
    (whole,) = asked("full-vocabulary", 150)
    assert (whole.previewed, len(whole.decoded), whole.encodings) == (0, 150, 1)
    (each,) = asked("per-class", 150)
    assert (each.previewed, len(each.decoded), each.encodings) == (0, 150, 150)


def test_a_video_asks_every_word_in_a_period():
    settings = SegmenterSettings(**PROFILES["realtime"])
    cycle = frames(settings, Scale(150), INPUTS)
    assert len(cycle) == settings.preview_period > 1
    assert {len(one.decoded) for one in cycle} == {11}
    assert 139 <= sum(one.presence_only + one.previewed for one in cycle) < 139 * len(cycle)
    once = frames(replace(settings, preview_likely=0), Scale(150), INPUTS)
    assert sum(one.presence_only + one.previewed for one in once) == 139


def test_a_sweep_is_counted_at_the_resolution_of_the_preview():
    settings = SegmenterSettings(**{**PROFILES["realtime"], "preview_way": "sweep", "preview_period": 12})
    cycle = frames(settings, Scale(150), INPUTS)
    assert sorted(one.previewed for one in cycle) == [0] * 11 + [139]
    assert not any(one.presence_only for one in cycle)


def test_fewer_words_than_a_video_shows():
    assert {len(one.decoded) for one in asked("realtime", 5)} == {5}


def test_a_small_image_has_a_smaller_preview():
    (one,) = WAY["paper"].frames(Scale(150, 672), INPUTS)
    assert (one.full_resolution, one.preview_resolution) == (672, 448)
