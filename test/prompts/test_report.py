"""What becomes of words, as data, as JSON and as text."""

import json
from pathlib import Path

import pytest
import torch

from activesam_ros.prompts.report import WIDTH, NeighborReport, align, report_of, to_json, to_text
from activesam_ros.settings import SegmenterSettings
from activesam_ros.vocabulary import ClassSpec
from activesam_ros.vocabulary.files import VocabularyFile

FILE = VocabularyFile(
    "v.yaml",
    Path("v.yaml"),
    (
        ClassSpec("road", ("road",), (1, 2, 255)),
        ClassSpec("vehicle", ("car", "plaything"), None, ("car", "toy")),
        ClassSpec("sky", ("open sky",)),
    ),
    background="sky",
    background_threshold=0.25,
    description="For a test.",
    origin="Nowhere.",
)
HYPERNYMS = {"car": ("motor vehicle", "plaything", "third"), "toy": ("artifact",)}


ANGLES = {"road": 0.0, "open sky": 0.0, "car": torch.pi / 3, "toy": torch.pi / 2}


class Model:
    """Phrases as points on a circle: road and open sky coincide, car stands between them and toy."""

    context_length = 5

    def counts(self, phrases):
        return [len(phrase) for phrase in phrases]

    def pooled(self, phrases):
        angles = torch.tensor([ANGLES[phrase] for phrase in phrases])
        return torch.stack([angles.cos(), angles.sin()], dim=1)


def lookup(phrase):
    return HYPERNYMS.get(phrase, ())


@pytest.fixture
def report():
    return report_of(FILE, lookup, Model(), "circle")


def test_every_prompt_is_asked_in_its_canonical_form_with_canonical_hypernyms(report):
    prompts = [prompt for entry in report.classes for prompt in entry.prompts]
    assert [prompt.prompt for prompt in prompts] == ["road", "car", "plaything", "open sky"]
    assert [prompt.canonical for prompt in prompts] == ["road", "car", "toy", "open sky"]
    assert [prompt.hypernyms for prompt in prompts] == [(), ("motor vehicle", "toy"), ("artifact",), ()]
    assert [prompt.tokens for prompt in prompts] == [4, 3, 3, 8]


def test_classes_have_their_ids_colours_and_members(report):
    assert [(entry.class_id, entry.name, entry.members) for entry in report.classes] == [
        (0, "road", ()),
        (1, "vehicle", ("car", "toy")),
        (2, "sky", ()),
    ]
    assert [entry.colour for entry in report.classes] == list(FILE.vocabulary().colours)


def test_neighbours_are_the_most_similar_other_prompts(report):
    road, car = report.classes[0].prompts[0], report.classes[1].prompts[0]
    assert road.neighbors == (NeighborReport("open sky", "sky", 1.0), NeighborReport("car", "vehicle", 0.5))
    assert car.neighbors[0] == NeighborReport("toy", "vehicle", 0.866)


def test_settings_say_how_many():
    settings = SegmenterSettings(neighbor_tokens=1, hypernym_tokens=1)
    report = report_of(FILE, lookup, Model(), "circle", settings)
    car = report.classes[1].prompts[0]
    assert car.hypernyms == ("motor vehicle",)
    assert len(car.neighbors) == 1


def test_a_lone_prompt_has_no_neighbour():
    file = VocabularyFile("one", Path("one"), (ClassSpec("road", ("road",)),))
    assert report_of(file, lookup, Model(), "circle").classes[0].prompts[0].neighbors == ()


def test_json_has_everything(report):
    content = json.loads(to_json(report))
    assert content["source"] == "v.yaml"
    assert content["background"] == "sky"
    assert content["background_threshold"] == 0.25
    assert content["model"] == "circle"
    assert content["classes"][0]["colour"] == [1, 2, 255]
    assert content["classes"][1]["prompts"][1] == {
        "prompt": "plaything",
        "canonical": "toy",
        "hypernyms": ["artifact"],
        "tokens": 3,
        "neighbors": [
            {"prompt": "car", "class_name": "vehicle", "similarity": 0.866},
            {"prompt": "road", "class_name": "road", "similarity": 0.0},
        ],
    }


def test_text_is_a_table(report):
    assert to_text(report).replace(to_hex(report, 1), "#######").replace(to_hex(report, 2), "#######") == (
        "v.yaml: 3 classes, 4 prompts\n"
        "For a test.\n"
        "Nowhere.\n"
        "background: sky; background threshold: 0.25\n"
        "model: circle, which reads at most 5 tokens of a prompt\n"
        "\n"
        "id  colour   class    asks for             hypernyms           tokens  most similar prompts\n"
        " 0  #0102ff  road     road                 -                   4       open sky 1.00, car 0.50\n"
        " 1  #######  vehicle  car                  motor vehicle, toy  3       toy 0.87, road 0.50\n"
        "                      toy (for plaything)  artifact            3       car 0.87, road 0.00\n"
        " 2  #######  sky      open sky             -                   8 > 5   road 1.00, car 0.50\n"
        "\n"
        "vehicle unites car, toy\n"
        "too long for the model, so shorten: 'open sky'\n"
    )


def to_hex(report, index):
    return "#{:02x}{:02x}{:02x}".format(*report.classes[index].colour)


def test_without_a_model_the_columns_are_missing():
    report = report_of(FILE, lookup)
    prompt = report.classes[0].prompts[0]
    assert (report.model, report.context_length, prompt.tokens, prompt.neighbors) == (None, None, None, None)
    text = to_text(report)
    assert "tokens" not in text
    assert "too long" not in text
    assert json.loads(to_json(report))["classes"][0]["prompts"][0]["tokens"] is None


def test_a_file_that_names_no_background():
    file = VocabularyFile("plain.txt", Path("plain.txt"), (ClassSpec("road", ("road",)),))
    assert "background: none; background threshold: not named\n" in to_text(report_of(file, lookup))


def test_numbers_stand_right_and_words_left():
    lines = align(["name", "n"], [["a", "1"], ["bcdef", "10"]])
    assert lines == ["name    n", "a       1", "bcdef  10"]


def test_wide_tables_wrap_at_spaces():
    long = "a sentence of several words"
    lines = align(["x", "y"], [[long, "short"], ["z", long]], width=40)
    assert max(map(len, lines)) <= 40
    assert " ".join(" ".join(line[:17].split()) for line in lines[1:3]).strip() == long
    words = {word for line in lines for word in line.split()}
    assert words == {"x", "y", "z", "short", *long.split()}


def test_a_word_longer_than_the_table_is_broken():
    lines = align(["x"], [["w" * 250]], width=WIDTH)
    assert "".join(lines[1:]) == "w" * 250


def test_a_prompt_that_is_asked_for_as_written_says_so():
    classes = (ClassSpec("mouse", ("=mouse", "mouse")),)
    report = report_of(VocabularyFile("v.yaml", Path("v.yaml"), classes), lookup)
    assert [prompt.canonical for prompt in report.classes[0].prompts] == ["mouse", "computer mouse"]
    rows = to_text(report).splitlines()
    assert " mouse (as written) " in rows[4] and " computer mouse (for mouse) " in rows[5]
