"""Tuning of a vocabulary: phrases to try, the choice on made-up evidence, and the command on a rendered drive."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rosbags")

from activesam_ros.cli.vocabulary import main
from activesam_ros.datasets.labelled_bag import write_drive
from activesam_ros.errors import VocabularyError
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.toytown.world import World
from activesam_ros.tuning.doubts import _fights
from activesam_ros.tuning.evidence import Evidence, collect
from activesam_ros.tuning.phrases import Phrases, gather_phrases, read_phrases
from activesam_ros.tuning.search import choose
from activesam_ros.tuning.tune import TuneConfig, _read
from activesam_ros.vocabulary import Vocabulary
from activesam_ros.vocabulary.files import load_vocabulary_file

POOR = """classes:
- {name: road, prompts: [giraffe]}
- {name: sky, prompts: [volcano]}
- building
background_threshold: 0.3
"""


@pytest.mark.parametrize(
    ("prompt", "other"),
    [("car", "cars"), ("cars", "car"), ("bus", "buses"), ("berry", "berries"), ("bench", "benches")],
)
def test_each_prompt_is_tried_in_the_other_number(prompt, other):
    phrases = gather_phrases(Vocabulary.from_names([prompt, "sky"]), {}, wordnet=False)
    assert phrases.own[0] == (0,) and other in [phrases.texts[index] for index in phrases.candidates[0]]


def test_a_file_names_phrases_for_one_class_or_for_all(tmp_path):
    file = tmp_path / "phrases.yaml"
    file.write_text("Car: ['automobile, auto', Sky]\n'*': [thing]\n")
    phrases = gather_phrases(Vocabulary.from_names(["car", "sky"]), *read_phrases(file), wordnet=False)
    car, sky = ({phrases.texts[index] for index in found} for found in phrases.candidates)
    assert {"car", "automobile", "auto", "thing", "sky"} <= car and "automobile" not in sky and "thing" in sky
    assert len(set(phrases.texts)) == len(phrases.texts)


@pytest.mark.parametrize(
    ("text", "what"),
    [("car: 3", "no phrases"), ("[a, [b]]", "no phrases"), ("a: [", "YAML"), ("bus: [x]", "'bus'")],
)
def test_what_is_no_file_of_phrases_is_refused(tmp_path, text, what):
    file = tmp_path / "phrases.yaml"
    file.write_text(text)
    with pytest.raises(VocabularyError, match=what):
        gather_phrases(Vocabulary.from_names(["car"]), *read_phrases(file), wordnet=False)


def evidence(*maps):
    """Make evidence of two frames [1, 4] from the scores of each phrase, the truth being 0 0 1 1 in both."""
    scores = np.array(maps, np.float16)[None, :, None].repeat(2, axis=0)
    return Evidence(
        scores.max(axis=(2, 3)).astype(np.float32), scores, np.array([[[0, 0, 1, 1]]] * 2, np.int16)
    )


def test_the_phrase_that_labels_best_is_chosen_and_one_that_loses_nothing_stays():
    told = evidence([0.1, 0.1, 0.1, 0.1], [0.3, 0.3, 0.6, 0.6], [0.9, 0.9, 0.0, 0.0], [0.9, 0.9, 0.9, 0.9])
    phrases = Phrases(("poor", "good", "better", "greedy"), ((0,), (1,)), ((0, 2, 3), (1, 2)))
    choice = choose(told, phrases, [0, 1], most_phrases=2, exponent=1.25, threshold=0.0)
    assert choice.phrases == ((2,), (1,))
    assert (choice.before, choice.after) == (pytest.approx(0.25), 1.0)
    greedy = next(one for one in choice.tried if one.phrase == 3)
    assert greedy.loser == 1 and greedy.loss == pytest.approx(0.5) and np.isnan(greedy.auc)


def test_several_phrases_are_chosen_where_each_adds_something():
    told = evidence([0.9, 0.0, 0.0, 0.0], [0.3, 0.3, 0.6, 0.6], [0.0, 0.9, 0.0, 0.0])
    phrases = Phrases(("left", "other", "right"), ((0,), (1,)), ((0, 2), (1,)))
    assert choose(told, phrases, [0, 1], 2, 1.25, 0.0).phrases == ((0, 2), (1,))
    assert choose(told, phrases, [0, 1], 1, 1.25, 0.0).phrases == ((0,), (1,))


def test_the_threshold_is_chosen_with_the_phrases():
    # Nobody is sure of what is nothing, so that a threshold frees it.
    told = evidence([0.9, 0.9, 0.0, 0.0], [0.0, 0.0, 0.1, 0.1])
    phrases = Phrases(("a", "b"), ((0,), (1,)), ((0,), (1,)))
    assert choose(told, phrases, [0, 1], 1, 1.25, threshold=0.5).threshold == 0.0
    assert choose(told, phrases, [0, 1], 1, 1.25, threshold=0.0).threshold == 0.0


def test_phrases_of_one_name_are_asked_apart():
    segmenter = ActiveSegmenter.from_pretrained("toytown")
    told = collect(segmenter, ["mouse", "=mouse", "sky"], [World(5, 96, 64).render(0.0).rgb], None)
    assert told.scores.shape[1] == 3 and told.truth is None


def test_frames_are_spread_over_what_is_labelled(tmp_path):
    write_drive(tmp_path / "drive", 5, 15, 1.0, (96, 64))
    config = TuneConfig(tmp_path / "drive", "/ground_truth/labels", frames=8)
    images, truths, _ = _read(Vocabulary.from_names(["road", "sky"]), config)
    world = World(5, 96, 64)
    assert len(images) == len(truths) == 8
    for image, second in zip(images, range(0, 16, 2), strict=True):
        assert np.array_equal(image, world.render(second).rgb)


def test_pairs_that_claim_the_same_pixels_are_told():
    maps = np.array([[0.9, 0.9, 0.9, 0.1], [0.8, 0.1, 0.85, 0.1], [0.0, 0.0, 0.0, 0.09]], np.float32)
    (fight,) = _fights(["road", "street", "sky"], maps)
    assert {fight.one, fight.other} == {"road", "street"} and fight.share == 0.5


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    path = tmp_path_factory.mktemp("tune") / "drive"
    write_drive(path, 10_000_321, 16, 1.0, (160, 120))
    return path


def test_poor_phrases_are_replaced_and_the_file_labels_as_the_page_says(drive, tmp_path, capsys):
    given, pool, out = (tmp_path / name for name in ("poor.yaml", "pool.yaml", "tuned.yaml"))
    given.write_text(POOR)
    pool.write_text("road: [street]\nsky: [clouds, <b>pizza</b>]\n")
    arguments = ["--labels", "/ground_truth/labels", "--vocabulary", str(given), "--model", "toytown"]
    arguments += ["--phrases", str(pool), "--frames", "16", "--no-wordnet", "--out", str(out)]
    assert main(["tune", str(drive), *arguments]) == 0
    printed = capsys.readouterr().out
    assert "road: street" in printed and "8 frames that had no part in the choice" in printed
    tuned = load_vocabulary_file(str(out))
    prompts = {one.name: one.prompts for one in tuned.vocabulary().classes}
    assert (
        prompts["road"][0] == "street" and "clouds" in prompts["sky"] and prompts["building"] == ("building",)
    )
    page = out.with_suffix(".html").read_text()
    assert "giraffe" in page and "<b>pizza" not in page and "&lt;b&gt;pizza" in page


def test_without_truth_only_doubts_are_told(drive, tmp_path, capsys):
    out = tmp_path / "same.yaml"
    words = "road; roadway; giraffe"
    arguments = [
        "--vocabulary",
        words,
        "--model",
        "toytown",
        "--frames",
        "4",
        "--no-wordnet",
        "--out",
        str(out),
    ]
    assert main(["tune", str(drive), *arguments]) == 0
    printed = capsys.readouterr().out
    assert "never fire: giraffe" in printed and "road and roadway" in printed
    assert load_vocabulary_file(str(out)).vocabulary().prompts == ("road", "roadway", "giraffe")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (["--labels", "/nowhere"], "/nowhere"),
        (["--labels", "/ground_truth/labels", "--frames", "4"], "at least 8"),
        (["--out", "tuned.txt"], "suffix"),
        (["--phrases", "nowhere.yaml"], "nowhere.yaml"),
        (["--vocabulary", "outdoor_navigation"], "group"),
    ],
)
def test_what_cannot_be_tuned_is_told_in_one_sentence(drive, tmp_path, monkeypatch, capsys, change, what):
    monkeypatch.chdir(tmp_path)
    arguments = [
        "--vocabulary",
        "road; sky",
        "--model",
        "toytown",
        "--no-wordnet",
        "--out",
        "tuned.yaml",
        *change,
    ]
    try:
        code = main(["tune", str(drive), *arguments])
    except SystemExit as ended:  # of argparse
        code = ended.code
    assert code == 2
    complaint = capsys.readouterr().err
    assert what in complaint and "Traceback" not in complaint
