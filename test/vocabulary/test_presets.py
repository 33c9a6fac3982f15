"""The vocabularies that ship with the package, against the published numbers."""

from dataclasses import dataclass

import numpy as np
import pytest

from activesam_ros.toytown import DEMO_CLASSES
from activesam_ros.vocabulary import Vocabulary
from activesam_ros.vocabulary.canonical import canonical_name, match_key
from activesam_ros.vocabulary.files import load_vocabulary_file, preset_names
from activesam_ros.vocabulary.palette import CITYSCAPES


@dataclass(frozen=True)
class Benchmark:
    classes: int
    queries: int
    threshold: float
    background: str | None = None


BENCHMARKS = {
    "voc20": Benchmark(20, 26, 0.0),
    "voc21": Benchmark(21, 21, 0.4, "background"),
    "context59": Benchmark(59, 59, 0.0),
    "context60": Benchmark(60, 60, 0.1, "background"),
    "coco_object": Benchmark(81, 81, 0.4, "background"),
    "coco_stuff": Benchmark(171, 171, 0.0),
    "cityscapes": Benchmark(19, 23, 0.0),
    "ade20k": Benchmark(150, 150, 0.0),
}
ROBOTS = ("indoor", "outdoor_navigation", "warehouse")
DEMO = ("toytown",)


def prompts_of(preset, name):
    (entry,) = [entry for entry in load_vocabulary_file(preset).classes if entry.name == name]
    return entry.prompts


def test_these_are_all():
    assert preset_names() == tuple(sorted((*BENCHMARKS, *ROBOTS, *DEMO)))


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_vocabulary(name):
    file = load_vocabulary_file(name)
    vocabulary = file.vocabulary()
    assert vocabulary.class_ids == tuple(range(len(vocabulary)))
    assert len(set(vocabulary.colours)) == len(vocabulary)
    assert file.description
    assert file.origin
    owners = {}
    for entry in vocabulary.classes:
        for prompt in entry.prompts:
            assert owners.setdefault(match_key(canonical_name(prompt)), entry.name) == entry.name


def test_the_demo_model_has_its_words():
    assert load_vocabulary_file("toytown").vocabulary() == Vocabulary.from_names(DEMO_CLASSES)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_have_the_published_sizes_and_thresholds(name):
    file, expected = load_vocabulary_file(name), BENCHMARKS[name]
    vocabulary = file.vocabulary()
    assert (len(vocabulary), len(vocabulary.prompts)) == (expected.classes, expected.queries)
    assert file.background_threshold == expected.threshold
    assert file.background == expected.background
    assert vocabulary.background_id == (None if expected.background is None else 0)
    assert not any(entry.members for entry in file.classes)


@pytest.mark.parametrize(
    ("preset", "name", "prompts"),
    [
        ("cityscapes", "vegetation", ("tree", "hedge")),
        ("cityscapes", "terrain", ("grass", "horizontal vegetation", "soil", "sand")),
        ("cityscapes", "traffic sign", ("trafficsign",)),
        ("voc20", "boat", ("boat", "ship")),
        ("voc20", "tvmonitor", ("television monitor", "tv monitor", "monitor", "television", "screen")),
        ("voc21", "boat", ("ship",)),
        ("voc21", "diningtable", ("table",)),
        ("coco_stuff", "hot dog", ("hotdog",)),
        ("coco_object", "hot dog", ("hot dog",)),
        ("ade20k", "swivel chair", ("swivelchair",)),
    ],
)
def test_benchmarks_ask_other_words_than_their_class_names(preset, name, prompts):
    assert prompts_of(preset, name) == prompts


def test_with_and_without_background_are_the_same_classes_otherwise():
    for small, large in (("voc20", "voc21"), ("context59", "context60")):
        names = load_vocabulary_file(large).vocabulary().names
        assert names == ("background", *load_vocabulary_file(small).vocabulary().names)


def test_coco_stuff_begins_with_the_objects():
    objects = load_vocabulary_file("coco_object").vocabulary().names
    assert load_vocabulary_file("coco_stuff").vocabulary().names[:80] == objects[1:]


def test_cityscapes_has_its_training_ids_and_colours():
    vocabulary = load_vocabulary_file("cityscapes").vocabulary()
    assert dict(zip(vocabulary.names, vocabulary.colours, strict=True)) == CITYSCAPES
    assert vocabulary.names == tuple(CITYSCAPES)


def test_voc_has_the_colours_of_its_bit_pattern():
    def colour(index):
        # Bit 3k+c of the index is bit 7-k of channel c.
        channels = [sum((index >> 3 * k + c & 1) << 7 - k for k in range(8)) for c in range(3)]
        return tuple(channels)

    colours = load_vocabulary_file("voc21").vocabulary().colours
    assert colours == tuple(colour(index) for index in range(21))
    assert load_vocabulary_file("voc20").vocabulary().colours == colours[1:]


def test_ade20k_has_its_colours_but_one():
    entries = load_vocabulary_file("ade20k").classes
    assert [entry.name for entry in entries if entry.colour is None] == ["skyscraper"]
    assert entries[0].colour == (120, 120, 120)
    assert entries[-1].colour == (92, 0, 255)


@pytest.mark.parametrize("name", ROBOTS)
def test_vocabularies_for_robots(name):
    file = load_vocabulary_file(name)
    assert 25 <= len(file.classes) <= 60
    assert file.background_threshold == 0.4
    assert any(len(entry.members) > 1 for entry in file.classes)
    assert "person" in file.vocabulary().names


@pytest.mark.parametrize(
    ("preset", "least", "least_colour_blind"),
    [("indoor", 8.5, 5.2), ("outdoor_navigation", 7.7, 4.7), ("warehouse", 8.7, 5.4)],
)
def test_colours_are_apart_for_every_eye(preset, least, least_colour_blind):
    reason = "measured where colour-science is installed: pip install colour-science"
    colour = pytest.importorskip("colour", reason=reason)
    vocabulary = load_vocabulary_file(preset).vocabulary()
    linear = colour.models.eotf_sRGB(np.array(vocabulary.colours) / 255)
    eyes = {"normal": np.eye(3)}
    for kind in ("Protanomaly", "Deuteranomaly", "Tritanomaly"):
        eyes[kind] = colour.blindness.matrix_cvd_Machado2009(kind, 1.0)
    for kind, matrix in eyes.items():
        lab = colour.XYZ_to_Lab(colour.RGB_to_XYZ(np.clip(linear @ matrix.T, 0, 1), "sRGB"))
        distance = colour.delta_E(lab[:, None], lab[None], method="CIE 2000")
        pairs = distance[np.triu_indices(len(distance), 1)]
        assert pairs.min() >= (least if kind == "normal" else least_colour_blind), kind
