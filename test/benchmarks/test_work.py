"""The counted work and its page."""

import json
from dataclasses import asdict, replace

import pytest

from activesam_ros.benchmarks import work
from activesam_ros.benchmarks.work import VARIANTS, Assumptions, Scale, count_work, workloads
from activesam_ros.cli.bench import main
from activesam_ros.settings import settings_for

TERA = 1e12
VARIANT = {variant.name: variant for variant in VARIANTS}
ASSUMED = Assumptions(tokens=10, kept=20, shown=11)


def asked(name, prompts, **settings):
    variant = VARIANT[name]
    if settings:
        variant = replace(variant, settings=replace(variant.settings, **settings))
    return workloads(variant, Scale(prompts), ASSUMED)


@pytest.mark.parametrize(
    ("prompts", "previewed", "decoded"),
    [(19, 0, 19), (40, 0, 40), (59, 59, 12), (150, 150, 30), (171, 171, 35), (1000, 1000, 40)],
)
def test_an_image(prompts, previewed, decoded):
    for name in ("as published", "paper"):
        (one,) = asked(name, prompts)
        assert (one.previewed, len(one.decoded), one.presence_only, one.encodings) == (
            previewed,
            decoded,
            0,
            1,
        )
        assert set(one.decoded) == {(10, 20)} and one.preview_tokens == 10
        assert (one.full_resolution, one.preview_resolution) == (1008, 672)
    assert VARIANT["as published"].reference and not VARIANT["paper"].reference


def test_the_baselines_decode_everything():
    (whole,) = asked("full-vocabulary", 150)
    assert (whole.previewed, len(whole.decoded), whole.encodings) == (0, 150, 1)
    (each,) = asked("per-class", 150)
    assert (each.previewed, len(each.decoded), each.encodings) == (0, 150, 150)


def test_a_video_asks_every_word_in_a_period():
    cycle = asked("realtime", 150)
    assert 139 <= sum(one.presence_only + one.previewed for one in cycle) < 139 * len(cycle)
    once = asked("realtime", 150, preview_likely=0)
    assert sum(one.presence_only for one in once) == 139 and not any(one.pooled for one in once)
    cycle = asked("realtime", 150, preview_source="features")
    assert len(cycle) == settings_for("realtime", {}).preview_period > 1
    assert {len(one.decoded) for one in cycle} == {11}
    assert 139 <= sum(one.pooled[0][1] for one in cycle) < 139 * len(cycle)
    assert {tuple(side for side, _ in one.pooled) for one in cycle} == {(24, 72)}
    once = asked("realtime", 150, preview_source="features", preview_likely=0)
    assert sum(one.pooled[0][1] for one in once if one.pooled) == 139


@pytest.mark.parametrize(
    ("prompts", "pooled"),
    [(40, ()), (150, ((24, 150), (48, 30))), (400, ((24, 400), (48, 80))), (1000, ((15, 1000), (30, 80)))],
)
def test_a_single_image_in_the_profile_fast(prompts, pooled):
    """Of 1,000 prompts, 200 would be uncertain; twice as many as may be decoded are scored again."""
    (one,) = asked("fast", prompts)
    assert one.pooled == pooled and (one.previewed, one.presence_only) == (0, 0)
    assert len(one.decoded) == (11 if pooled else 40)


def test_a_sweep_is_counted_at_the_resolution_of_the_preview():
    cycle = asked("realtime", 150, preview_way="sweep", preview_period=12)
    assert sorted(one.previewed for one in cycle) == [0] * 11 + [139]
    assert not any(one.presence_only for one in cycle)


def test_fewer_prompts_than_a_video_shows():
    assert {len(one.decoded) for one in asked("realtime", 5)} == {5}


def test_a_small_image_has_a_smaller_preview():
    (one,) = workloads(VARIANT["paper"], Scale(150, 672), ASSUMED)
    assert (one.full_resolution, one.preview_resolution) == (672, 448)


@pytest.fixture(scope="module")
def found():
    return count_work(Assumptions(), lambda text: None, prompts=(20, 150, 1000), sizes=(1008,))


def test_the_headline(found):
    """The figures of docs/performance.md, in 10¹² operations."""
    totals = {one.way: one.total / TERA for one in found.vocabularies if one.scale.words == 150}
    assert totals["full-vocabulary"] == pytest.approx(67.3, abs=0.05)
    assert totals["as published"] == pytest.approx(33.0, abs=0.05)
    assert totals["paper"] <= 28.7
    assert totals["fast"] <= 16 and totals["realtime"] <= 10.5
    assert [one.way for one in found.growing_sizes] == list(VARIANT)
    many = {one.way: one.total / TERA for one in found.growing_words if one.scale.words == 1000}
    assert many["fast"] <= 25
    same = [one for one in found.growing_words if one.scale.words == 150]
    assert list(found.growing_sizes) == same


def test_stages_and_steps_add_up(found):
    for one in found.vocabularies:
        assert one.total == one.work.preview + one.work.encode + one.work.decode
    steps = {step.name: step for step in found.steps}
    image = sum(step.lean for name, step in steps.items() if name.startswith("image at 1008"))
    prompt = sum(step.lean for name, step in steps.items() if name.startswith("each decoded prompt"))
    (paper,) = (one for one in found.vocabularies if (one.way, one.scale.words) == ("paper", 150))
    assert paper.work.encode == image and paper.work.decode == 30 * prompt
    small = sum(step.lean for name, step in steps.items() if name.startswith("image at 672"))
    asked = sum(step.lean for name, step in steps.items() if name.startswith("each prompt at 672"))
    assert paper.work.preview == small + 150 * asked
    (published,) = (one for one in found.vocabularies if (one.way, one.scale.words) == ("as published", 150))
    assert sum(step.saved for step in found.steps) == published.total - paper.total


def test_the_page_and_the_plot(found):
    page = work.to_markdown(found)
    assert "| 150, paper | 150 | 30 |" in page and "| 150, realtime | " in page
    assert work.plot(found).startswith(b"\x89PNG")
    assert json.loads(json.dumps(asdict(found)))["inputs"] == {
        "tokens": 10,
        "kept": 20,
        "shown": 11,
        "uncertain": 0.2,
    }


def test_files(found, tmp_path, monkeypatch, capsys):
    given = []
    monkeypatch.setattr(work, "count_work", lambda inputs, say: given.append(inputs) or found)
    assert main(["work", "--tokens", "12", "--out", str(tmp_path / "new")]) == 0
    assert given == [Assumptions(tokens=12)]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"work.md", "work.json", "work.png"}
    assert capsys.readouterr().out == (tmp_path / "new" / "work.md").read_text()
